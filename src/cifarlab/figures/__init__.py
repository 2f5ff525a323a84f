"""One picture per function, from files and arrays to a PNG or SVG file; never from a live model.

Each function takes what it draws and a path whose suffix, .png or .svg, chooses the format, writes the file
atomically and returns the path. Colours are safe for colour-blind readers, and colour is never the only sign.
"""

from cifarlab.figures.activations import plot_dense_activations
from cifarlab.figures.bars import plot_class_counts, plot_right_wrong
from cifarlab.figures.calibration import plot_reliability
from cifarlab.figures.claims import AccuracyComparison, plot_claims, plot_error_rates, plot_per_class_comparison
from cifarlab.figures.confusion import plot_confusion_matrix
from cifarlab.figures.convolution import Grid, GridRow, plot_matrices
from cifarlab.figures.curves import plot_curve
from cifarlab.figures.filters import plot_filters, plot_layer_activations
from cifarlab.figures.grids import plot_mistakes, plot_predictions, plot_sample_grid
from cifarlab.figures.studies import SeedMean, StudyPoint, SweepMark, plot_seed_curves, plot_study, plot_sweep

__all__ = [
    "AccuracyComparison",
    "Grid",
    "GridRow",
    "SeedMean",
    "StudyPoint",
    "SweepMark",
    "plot_claims",
    "plot_class_counts",
    "plot_confusion_matrix",
    "plot_curve",
    "plot_dense_activations",
    "plot_error_rates",
    "plot_filters",
    "plot_layer_activations",
    "plot_matrices",
    "plot_mistakes",
    "plot_per_class_comparison",
    "plot_predictions",
    "plot_reliability",
    "plot_right_wrong",
    "plot_sample_grid",
    "plot_seed_curves",
    "plot_study",
    "plot_sweep",
]
