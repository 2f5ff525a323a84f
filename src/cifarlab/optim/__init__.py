"""Optimizers and learning-rate schedules."""

from cifarlab.optim.muon import Muon, orthogonalize
from cifarlab.optim.precision import multiplies_bf16_fast
from cifarlab.optim.registry import create_optimizer, optimizer_names
from cifarlab.optim.schedules import SCHEDULES, rate_factor

__all__ = ["SCHEDULES", "Muon", "create_optimizer", "multiplies_bf16_fast", "optimizer_names", "orthogonalize", "rate_factor"]
