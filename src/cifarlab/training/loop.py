"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.errors import TrainingError
from cifarlab.plan import Plan

CHECK_EVERY = 20  # steps between looks at the loss on a GPU, where each look waits for the device


@dataclass
class State:
    """Where training stands. step: optimizer steps done. sums: float64 [4] over the running epoch: cross-entropy,
    right answers, squared error of the probabilities, samples. rows: finished epochs. seconds: training time so far."""

    step: int = 0
    sums: Tensor = field(default_factory=lambda: torch.zeros(4, dtype=torch.float64))
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_accuracy: float = -1.0
    seconds: float = 0.0


class Listener(Protocol):
    """Who watches a training; every method returns at once."""

    def step(self, state: State, plan: Plan) -> None: ...

    def epoch(self, row: dict[str, Any]) -> None: ...


def fit(
    plan: Plan,
    state: State,
    *,
    end_epoch: Callable[[State, int], None],
    listener: Listener,
    stop_requested: Callable[[], bool] = lambda: False,
) -> bool:
    """Train `plan.model` from `state` to the end, or to where it stops early.

    True when done, False when `stop_requested` ended it after a step (after the epoch's end where that step was its last).
    `end_epoch(state, epoch)` is called after each epoch (from 0): it validates, records and saves. Raises
    TrainingError, naming the step, where the loss is not finite; the step is then not taken (on a GPU it may be
    noticed up to CHECK_EVERY steps late).
    """
    model, per_epoch = plan.model, plan.loader.steps_per_epoch
    # Apple's GPUs have no float64; float32 keeps the sums of an epoch to about six digits.
    state.sums = state.sums.to(plan.device, torch.float32 if plan.device.type == "mps" else torch.float64)
    while state.step < plan.total_steps and not (state.step % per_epoch == 0 and plan.stops_early(state.rows)):
        epoch, start = divmod(state.step, per_epoch)
        plan.freeze_parameters(epoch * per_epoch)
        size = plan.image_size(epoch)
        model.train()
        for images, labels in plan.loader.epoch(epoch, start=start):
            plan.prepare(state.step, state.rows)
            with plan.autocast():
                inputs, targets = plan.mix(plan.preprocess(images, size), labels, state.step)  # uint8 [B, H, W, C] -> [B, C, H, W]
                logits = model(inputs)  # [B, K]
            logits = logits.float()
            loss = plan.loss(logits, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            state.sums += _batch_sums(logits.detach(), labels).to(state.sums.dtype)
            if (plan.device.type == "cpu" or state.step % CHECK_EVERY == 0) and not torch.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss.item()} at step {state.step + 1} (epoch {epoch + 1}); lower the learning rate (--lr). "
                    "The checkpoint of the last whole epoch is kept"
                )
            plan.update(state.step)
            state.step += 1
            listener.step(state, plan)
            if state.step >= plan.total_steps:
                break
            if state.step % per_epoch and stop_requested():
                return False
        end_epoch(state, epoch)
        state.sums.zero_()
        # A stop at an epoch's last step waits until here: a resume begins with the next epoch and would not close this one.
        if state.step < plan.total_steps and stop_requested():
            return False
    return True


def epoch_means(state: State) -> dict[str, float]:
    """Cross-entropy (nats), accuracy (0..1) and MSE over the samples of the running epoch, without label smoothing."""
    loss, right, squared, samples = state.sums.tolist()
    return {"train_loss": loss / samples, "train_accuracy": right / samples, "train_mse": squared / samples}


def _batch_sums(logits: Tensor, labels: Tensor) -> Tensor:
    """float32 [4]: see State.sums. The squared error is the mean over the K classes of each sample."""
    log_probabilities = F.log_softmax(logits, dim=1)
    own = log_probabilities.gather(1, labels[:, None]).squeeze(1)  # [B, K] -> [B]
    probabilities = log_probabilities.exp()
    # |p - onehot|^2 = |p|^2 - 2 p_y + 1, without building the one-hot matrix
    squared = probabilities.square().sum(1) - 2 * own.exp() + 1
    right = (logits.argmax(1) == labels).sum()
    samples = torch.tensor(len(labels), device=logits.device)
    return torch.stack([-own.sum(), right, squared.sum() / logits.shape[1], samples])
