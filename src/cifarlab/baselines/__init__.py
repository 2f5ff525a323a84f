"""Classical classifiers on pixels and on HOG features, kept as runs, so that a network can be set beside them. No torch here."""

from cifarlab.baselines.cmeans import FuzzyClusters, fuzzy_c_means, memberships
from cifarlab.baselines.features import FEATURES, hog_features
from cifarlab.baselines.fitting import (
    FeatureStore,
    baseline_recipe,
    check_fit,
    estimate_seconds,
    finished_baseline,
    fit_baseline,
    left_out_candidates,
)
from cifarlab.baselines.methods import baseline_arguments, baseline_names, baseline_summary, is_seeded

__all__ = [
    "FEATURES",
    "FeatureStore",
    "FuzzyClusters",
    "baseline_arguments",
    "baseline_names",
    "baseline_recipe",
    "baseline_summary",
    "check_fit",
    "estimate_seconds",
    "finished_baseline",
    "fit_baseline",
    "fuzzy_c_means",
    "hog_features",
    "is_seeded",
    "left_out_candidates",
    "memberships",
]
