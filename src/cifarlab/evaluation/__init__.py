"""From a trained network to a predictions file."""

from cifarlab.evaluation.logits import predict_logits, predict_with_views
from cifarlab.evaluation.run import evaluate_run

__all__ = ["evaluate_run", "predict_logits", "predict_with_views"]
