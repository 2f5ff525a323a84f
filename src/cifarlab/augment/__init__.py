"""Batched augmentation on the device: training (`Compose` of `Geometric` and stages; `Mixing` of whole batches) and test time."""

from typing import Final

from cifarlab.augment.affine import FILLS, Affine
from cifarlab.augment.erasing import RandomErasing
from cifarlab.augment.geometric import FLIPS, Geometric
from cifarlab.augment.mixing import Mixing
from cifarlab.augment.operations import OPERATIONS
from cifarlab.augment.pipeline import Compose, Stage
from cifarlab.augment.policy import RandAugment, TrivialAugment
from cifarlab.augment.test_time import VIEWS, predict_views

STAGES: Final = (Affine, TrivialAugment, RandAugment, RandomErasing)

__all__ = [
    "FILLS",
    "FLIPS",
    "OPERATIONS",
    "STAGES",
    "VIEWS",
    "Affine",
    "Compose",
    "Geometric",
    "Mixing",
    "RandAugment",
    "RandomErasing",
    "Stage",
    "TrivialAugment",
    "predict_views",
]
