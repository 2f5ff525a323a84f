"""Optimizers, learning-rate schedules, weight averaging, L2 penalty and pruning."""

from cifarlab.optim.averaging import WeightAverage
from cifarlab.optim.muon import Muon, orthogonalize
from cifarlab.optim.penalty import L2Penalty
from cifarlab.optim.precision import multiplies_bf16_fast
from cifarlab.optim.registry import create_optimizer, optimizer_names, optimizer_summary
from cifarlab.optim.schedules import SCHEDULES, check_schedule, epochs_without_improvement, plateau_factor, rate_factor
from cifarlab.optim.sparsity import apply_masks, prunable_weights, prune_smallest, sparsity, zero_masks

__all__ = [
    "SCHEDULES",
    "L2Penalty",
    "Muon",
    "WeightAverage",
    "apply_masks",
    "check_schedule",
    "create_optimizer",
    "epochs_without_improvement",
    "multiplies_bf16_fast",
    "optimizer_names",
    "optimizer_summary",
    "orthogonalize",
    "plateau_factor",
    "prunable_weights",
    "prune_smallest",
    "rate_factor",
    "sparsity",
    "zero_masks",
]
