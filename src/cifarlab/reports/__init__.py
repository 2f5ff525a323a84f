"""What runs hand over: metrics files, figures, and self-contained HTML pages, all from the files of run directories."""

from cifarlab.reports.baselines import BaselineRow, baseline_summaries, write_baselines
from cifarlab.reports.reproduction import write_reproduction
from cifarlab.reports.reproduction_figures import StudyResult
from cifarlab.reports.reproduction_rows import CellResult
from cifarlab.reports.run_figures import ReportImages
from cifarlab.reports.run_report import write_run_report
from cifarlab.reports.tables import write_metrics

__all__ = [
    "BaselineRow",
    "CellResult",
    "ReportImages",
    "StudyResult",
    "baseline_summaries",
    "write_baselines",
    "write_metrics",
    "write_reproduction",
    "write_run_report",
]
