"""What a run hands over: metrics files, figures, and one self-contained HTML page, all from the files of its run directory."""

from cifarlab.reports.run_figures import ReportImages
from cifarlab.reports.run_report import write_run_report
from cifarlab.reports.tables import write_metrics

__all__ = ["ReportImages", "write_metrics", "write_run_report"]
