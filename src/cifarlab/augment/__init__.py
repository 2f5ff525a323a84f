"""Batched augmentation on the device: training (`geometric`) and test time (`test_time`)."""

from cifarlab.augment.geometric import FLIPS, Geometric
from cifarlab.augment.test_time import VIEWS, predict_views

__all__ = ["FLIPS", "VIEWS", "Geometric", "predict_views"]
