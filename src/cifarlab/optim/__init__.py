"""Optimizers and learning-rate schedules."""

from cifarlab.optim.muon import Muon, orthogonalize
from cifarlab.optim.registry import create_optimizer, optimizer_names
from cifarlab.optim.schedules import SCHEDULES, rate_factor

__all__ = ["SCHEDULES", "Muon", "create_optimizer", "optimizer_names", "orthogonalize", "rate_factor"]
