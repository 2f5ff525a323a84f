"""What the training loop needs, built: the network and all that acts on it, step by step."""

from __future__ import annotations

import fnmatch
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cifarlab.augment import Mixing
from cifarlab.data.loader import Loader, seeded_generator
from cifarlab.data.preprocess import Preprocess
from cifarlab.optim import (
    L2Penalty,
    WeightAverage,
    apply_masks,
    epochs_without_improvement,
    plateau_factor,
    prune_smallest,
    rate_factor,
    zero_masks,
)

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate over the steps, as a share of its highest value; see cifarlab.optim.rate_factor and plateau_factor."""

    name: str = "constant"
    total_steps: int
    warmup_steps: int = 0
    final: float = 0.0
    milestones: tuple[int, ...] = ()
    factors: tuple[float, ...] = ()
    cycle_steps: int = 0
    patience: int = 5
    factor: float = 0.1

    def at(self, step: int, history: Sequence[float], *, higher_is_better: bool) -> float:
        """Factor at `step` after epochs whose monitored values are `history`."""
        factor = rate_factor(
            self.name,
            step=step,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            final=self.final,
            milestones=self.milestones,
            factors=self.factors,
            cycle_steps=self.cycle_steps,
        )
        if self.name == "plateau":
            cut = plateau_factor(
                history, patience=self.patience, factor=self.factor, smallest=self.final, higher_is_better=higher_is_better
            )
            return factor * cut
        return factor


@dataclass(frozen=True)
class Phase:
    """Steps start <= step < end of dense-sparse-dense training; see cifarlab.sections.PhaseConfig."""

    start: int
    end: int
    sparsity: float
    threshold: float
    rate: float

    @property
    def sparse(self) -> bool:
        return self.sparsity > 0 or self.threshold > 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the training loop needs. Step counts are optimizer steps; epochs count from 0."""

    model: nn.Module
    preprocess: Preprocess
    optimizer: torch.optim.Optimizer
    loss: Callable[[Tensor, Tensor], Tensor]  # logits float32 [B, K], labels int64 [B] or targets float32 [B, K] -> scalar
    loader: Loader
    device: torch.device
    precision: str  # "fp32" or "bf16"
    total_steps: int
    schedule: Schedule
    resolution: tuple[int, ...]
    freeze: tuple[tuple[str, int], ...]  # parameter pattern, step from which it is frozen
    phases: tuple[Phase, ...]
    select: str  # "best" or "last"
    monitor: str  # "accuracy" or "loss"
    patience: int | None
    num_classes: int
    mixing: Mixing | None = None
    penalty: L2Penalty | None = None
    average: WeightAverage | None = None

    @property
    def epochs(self) -> int:
        return -(-self.total_steps // self.loader.steps_per_epoch)

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and saved: the average of the weights where one is kept."""
        return self.model if self.average is None else self.average.module

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    # -- before a step --------------------------------------------------------------------------------

    def image_size(self, epoch: int) -> int | None:
        """Input size in `epoch`: the phases of `resolution` share the epochs evenly. None: as the data is."""
        if not self.resolution:
            return None
        return self.resolution[min(epoch * len(self.resolution) // self.epochs, len(self.resolution) - 1)]

    def prepare(self, step: int, rows: Rows) -> None:
        """Set the learning rate of `step` and, at the start of a sparse phase, the smallest weights to zero.

        Depends on the step and the finished epochs' `rows` alone, so that a resume needs no state of its own.
        """
        phase = self._phase(step)
        history = self._history(rows) if self.schedule.name == "plateau" else []
        factor = self.schedule.at(step, history, higher_is_better=self.monitor == "accuracy")
        if phase is not None:
            factor *= phase.rate
            if phase.sparse and step == phase.start:
                prune_smallest(self.model, share=phase.sparsity or None, threshold=phase.threshold or None)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def mix(self, inputs: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Network input [B, C, H, W] and what it is to answer: the labels, or mixed targets float32 [B, K]."""
        if self.mixing is None:
            return inputs, labels
        return self.mixing(inputs, labels, num_classes=self.num_classes, generator=seeded_generator(self.loader.seed, step, "mix"))

    def freeze_parameters(self, step: int) -> None:
        """Stop the gradients of parameters whose time is over at `step`; called at the start of an epoch."""
        for pattern, start in self.freeze:
            if step >= start:
                for name, parameter in self.model.named_parameters():
                    if fnmatch.fnmatchcase(name, pattern):
                        parameter.requires_grad_(False)
                        parameter.grad = None

    # -- after the gradients ----------------------------------------------------------------------------

    def update(self, step: int) -> None:
        """Change the weights by the gradients at hand, which are used up: penalty, optimizer, zeros kept, average."""
        if self.penalty is not None:
            self.penalty.add_gradients()
        phase = self._phase(step)
        masks = zero_masks(self.model) if phase is not None and phase.sparse else None
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if masks is not None:
            apply_masks(masks)
        if self.average is not None:
            self.average.update()

    # -- after an epoch -----------------------------------------------------------------------------------

    def improves(self, row: Mapping[str, Any], best: Mapping[str, Any] | None) -> bool:
        """Whether the epoch `row` is better on validation than `best`; False without validation."""
        value = row[f"validation_{self.monitor}"]
        if value is None or best is None:
            return value is not None
        held = best[f"validation_{self.monitor}"]
        return bool(value > held if self.monitor == "accuracy" else value < held)

    def stops_early(self, rows: Rows) -> bool:
        """Whether `patience` epochs have passed without improvement on validation."""
        if self.patience is None:
            return False
        return epochs_without_improvement(self._history(rows), higher_is_better=self.monitor == "accuracy") >= self.patience

    def share_done(self, step: int) -> float:
        """Share (0..1) of the whole run's work that `step` steps are: small images cost less, in proportion to their area."""
        per_epoch = self.loader.steps_per_epoch
        areas = [(self.image_size(epoch) or 1) ** 2 for epoch in range(self.epochs)]
        lengths = [min(per_epoch, self.total_steps - epoch * per_epoch) for epoch in range(self.epochs)]
        done = [min(max(step - epoch * per_epoch, 0), lengths[epoch]) for epoch in range(self.epochs)]
        return float(sum(map(operator.mul, areas, done)) / sum(map(operator.mul, areas, lengths)))

    def _phase(self, step: int) -> Phase | None:
        return next((phase for phase in self.phases if phase.start <= step < phase.end), None)

    def _history(self, rows: Rows) -> list[float]:
        values = (row[f"validation_{self.monitor}"] for row in rows)
        return [math.nan if value is None else float(value) for value in values]
