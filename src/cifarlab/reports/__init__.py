"""What runs hand over: metrics files, figures, and self-contained HTML pages, all from the files of run directories."""

from cifarlab.reports.baselines import BaselineRow, baseline_summaries, write_baselines
from cifarlab.reports.reproduction import write_reproduction
from cifarlab.reports.reproduction_figures import StudyResult
from cifarlab.reports.reproduction_rows import CellResult
from cifarlab.reports.run_figures import ReportImages
from cifarlab.reports.run_report import write_run_report
from cifarlab.reports.sweep import read_sweep, sweep_summary, write_studies, write_sweep
from cifarlab.reports.sweep_points import SWEEP_FILE, SweepFacts, SweepResult, SweepRun
from cifarlab.reports.tables import write_metrics

__all__ = [
    "SWEEP_FILE",
    "BaselineRow",
    "CellResult",
    "ReportImages",
    "StudyResult",
    "SweepFacts",
    "SweepResult",
    "SweepRun",
    "baseline_summaries",
    "read_sweep",
    "sweep_summary",
    "write_baselines",
    "write_metrics",
    "write_reproduction",
    "write_run_report",
    "write_studies",
    "write_sweep",
]
