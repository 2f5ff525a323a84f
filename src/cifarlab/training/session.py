"""One run from recipe to weights on disk: start or resume, validate, record, save."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.build import arrange, build_plan, check_recipe, describe
from cifarlab.config import Recipe, differences, parse_recipe, read_recipe
from cifarlab.data.dataset import Splits
from cifarlab.data.preprocess import Preprocess
from cifarlab.data.splits import ArrangedSplits
from cifarlab.errors import CifarlabError, RunError, TrainingError, UsageError
from cifarlab.files import write_json
from cifarlab.metrics import accuracy, cross_entropy, mse, softmax
from cifarlab.models import measure_model
from cifarlab.optim import sparsity
from cifarlab.plan import Plan
from cifarlab.runs import RunDirectory
from cifarlab.training.checkpoint import load_checkpoint, restore_state, save_checkpoint, save_weights
from cifarlab.training.cost import convolution_peak, training_operations
from cifarlab.training.environment import describe_environment
from cifarlab.training.loop import Listener, State, epoch_means, fit
from cifarlab.training.memory import keep_freed_memory
from cifarlab.training.signals import StopRequest

WORTH_A_PEAK = 60.0  # seconds of training from which the machine's convolution peak is measured beside it


class PredictLogits(Protocol):
    """The evaluate function that training receives: uint8 [N, H, W, C] -> logits float32 [N, K]."""

    def __call__(
        self, model: nn.Module, preprocess: Preprocess, images: Tensor, *, batch_size: int, precision: str
    ) -> NDArray[np.float32]: ...


class PreemptedError(CifarlabError):
    """A signal stopped the training after a step; its state is saved. exit_code is 128 + the signal's number."""

    def __init__(self, run: RunDirectory, *, signal_number: int, step: int, total_steps: int) -> None:
        self.exit_code = 128 + signal_number
        self.run = run
        self.saved = f"stopped after step {step} of {total_steps}; saved"
        super().__init__(f"{self.saved}. Go on with: cifarlab train --resume {run.path}")


class SilentListener:
    """Hears everything, says nothing."""

    def step(self, state: State, plan: Plan) -> None:
        pass

    def epoch(self, row: dict[str, Any]) -> None:
        pass


def train_run(
    recipe: Recipe,
    splits: Splits,
    *,
    runs: Path,
    name: str,
    device: torch.device,
    predict: PredictLogits,
    found_in: Path | None = None,
    listener: Listener | None = None,
    on_stop: Callable[[int], None] = lambda number: None,
) -> RunDirectory:
    """Train `recipe` on `splits` into a new run directory `runs/name`.

    Everything that can be refused is refused before the directory is made. `found_in` is where the data was found, for
    those who need it again. Raises UsageError, TrainingError,
    RunError, or PreemptedError after SIGINT or SIGTERM.
    """
    check_recipe(recipe)
    arranged = arrange(recipe, splits)
    begun = time.perf_counter()
    plan = build_plan(recipe, arranged, device=device)
    environment = {
        **describe_environment(device),
        "precision": plan.precision,
        "seed": recipe.seed,
        "dataset": recipe.data.name,
        "validated_on": recipe.data.validate_on,
        **({"pooled": True} if recipe.data.pooled else {}),
        "found_in": None if found_in is None else str(found_in.absolute()),
        **_checksums(arranged),
        "sizes": {"train": len(arranged.train), "validation": len(arranged.validation or ()), "test": len(arranged.test)},
    }
    run = RunDirectory.create(runs, name, recipe_yaml=recipe.to_yaml(), env=environment)
    with run.locked():
        write_json(run.path / "bundle.json", describe(recipe, arranged, plan))
        state = State(seconds=time.perf_counter() - begun)
        return _Session(run, recipe, arranged, plan, predict, listener or SilentListener()).run_to_end(state, on_stop)


def resume_run(
    path: Path,
    splits: Splits,
    *,
    device: torch.device,
    predict: PredictLogits,
    recipe: Recipe | None = None,
    listener: Listener | None = None,
    note: Callable[[str], None] | None = None,
    on_stop: Callable[[int], None] = lambda number: None,
) -> RunDirectory:
    """Continue the run at `path` from its last checkpoint; on a CPU it ends with the weights of an unbroken run.

    `splits`: the data of its recipe. `recipe`, where given, must equal the run's own: a changed recipe is a
    new run, and so is changed data. `note` hears where an older checkpoint had to be used. A run that is done is returned as it is.
    """
    run = RunDirectory.open(path)
    own = read_recipe(run.recipe_file)
    if recipe is not None and (changed := differences(own, recipe)):
        raise UsageError(_changed_recipe(path, changed))
    with run.locked():
        if run.status().get("state") == "done":
            return run
        content = load_checkpoint(run, note=note)
        if changed := differences(parse_recipe(content["recipe"], source="checkpoint"), own):
            raise UsageError(_changed_recipe(path, changed))
        arranged = arrange(own, splits)
        refuse_other_data(run, arranged, train_checksum=content["data_checksum"])
        plan = build_plan(own, arranged, device=device)
        state = restore_state(content, plan)
        run.rewrite_epochs(state.rows)
        run.discard_results()
        run.update_status(state="running", error=None)
        return _Session(run, own, arranged, plan, predict, listener or SilentListener()).run_to_end(state, on_stop)


@dataclass
class _Session:
    """One process's part of a run."""

    run: RunDirectory
    recipe: Recipe
    arranged: ArrangedSplits
    plan: Plan
    predict: PredictLogits
    listener: Listener

    def run_to_end(self, state: State, on_stop: Callable[[int], None]) -> RunDirectory:
        """Train from `state` until done, stopped or failed; the status says which."""
        self._clock = time.perf_counter() - state.seconds  # as if all of it had run in this process
        self._checksum = self.arranged.train.checksum
        self._epoch_begun = state.seconds
        self._samples_before = float(state.sums[3])  # of the running epoch, by an earlier process
        if self.plan.device.type == "cpu":
            keep_freed_memory()
        try:
            with StopRequest(on_stop) as stop:
                if state.step == 0:
                    self._save(state)
                done = fit(
                    self.plan, state, end_epoch=self._end_epoch, listener=self.listener, stop_requested=lambda: stop.received is not None
                )
                if not done:
                    self._refuse_non_finite({"step": state.step, "epoch": state.step // self.plan.loader.steps_per_epoch + 1})
                    self._save(state)
                    self.run.update_status(state="preempted", step=state.step)
                    assert stop.received is not None
                    raise PreemptedError(self.run, signal_number=stop.received, step=state.step, total_steps=self.plan.total_steps)
                self._finish(state)
        except PreemptedError:
            raise
        except BaseException as error:
            self.run.mark_failed(f"{type(error).__name__}: {error}")
            raise
        return self.run

    def _end_epoch(self, state: State, epoch: int) -> None:
        """Validate, write the row, keep the best weights, save. The checkpoint comes last: it vouches for the rest."""
        trained = time.perf_counter() - self._clock - self._epoch_begun
        samples = float(state.sums[3]) - self._samples_before
        self._samples_before = 0.0
        row: dict[str, Any] = {"epoch": epoch + 1, "step": state.step, "learning_rate": self.plan.optimizer.param_groups[0]["lr"]}
        row |= epoch_means(state) | self._validate()
        if self.plan.penalty is not None:
            row["l2_penalty"] = float(self.plan.penalty.value())
        if self.plan.phases:
            row["sparsity"] = sparsity(self.plan.model)
        self._refuse_non_finite(row)
        state.seconds = self._epoch_begun = time.perf_counter() - self._clock
        row |= {"seconds": round(state.seconds, 3), "images_per_second": round(samples / trained, 1)}
        state.rows.append(row)
        best = state.rows[state.best_epoch - 1] if state.best_epoch else None
        if self.plan.improves(row, best):
            state.best_accuracy, state.best_epoch = row["validation_accuracy"], epoch + 1
            save_weights(self.plan.judged, self.run.weights_file("best"))
        self.run.append_epoch(row)
        sums, state.sums = state.sums, torch.zeros_like(state.sums)  # the checkpoint stands at the next epoch's start
        self._save(state)
        state.sums = sums
        self.listener.epoch(row)

    def _validate(self) -> dict[str, float | None]:
        validation = self.arranged.validation
        if validation is None:
            return {"validation_loss": None, "validation_accuracy": None, "validation_mse": None}
        if self.recipe.data.validate_on == "test":
            self.run.count_test_read()
        logits = self.predict(
            self.plan.judged,
            self.plan.preprocess,
            torch.from_numpy(validation.images),
            batch_size=self.recipe.evaluate.batch_size,
            precision=self.plan.precision,
        )
        if not np.isfinite(logits).all():
            return dict.fromkeys(("validation_loss", "validation_accuracy", "validation_mse"), float("nan"))
        return {
            "validation_loss": cross_entropy(logits, validation.labels),
            "validation_accuracy": accuracy(logits, validation.labels),
            "validation_mse": mse(softmax(logits), validation.labels),
        }

    def _refuse_non_finite(self, row: dict[str, Any]) -> None:
        """Before anything is recorded: the loss of a step cannot show what that step itself has done to the weights."""
        finite = [torch.isfinite(tensor).all() for tensor in self.plan.model.state_dict().values()]
        if not torch.stack(finite).all() or not all(np.isfinite(value) for value in row.values() if value is not None):
            raise TrainingError(
                f"the weights or their answers are not finite after step {row['step']} (epoch {row['epoch']}); "
                "lower the learning rate (--lr). The checkpoint of the last whole epoch is kept"
            )

    def _save(self, state: State) -> None:
        state.seconds = time.perf_counter() - self._clock
        save_checkpoint(self.run, self.plan, state, recipe_yaml=self.recipe.to_yaml(), data_checksum=self._checksum)

    def _finish(self, state: State) -> None:
        save_weights(self.plan.judged, self.run.weights_file("last"))
        self.run.rewrite_epochs(state.rows)
        seconds = time.perf_counter() - self._clock
        side = self.plan.preprocess.output_size(self.arranged.train.images.shape[1])
        size = measure_model(self.plan.model, image_size=side)
        # A second's measurement, where it is short beside the training.
        peak = convolution_peak(self.plan.device, precision=self.plan.precision) if seconds > WORTH_A_PEAK else None
        self.run.update_status(
            state="done",
            seconds=round(seconds, 3),
            operations=training_operations(self.plan, state.rows, image_size=side),
            convolution_peak=peak,
            epochs=len(state.rows),
            steps=state.step,
            parameters=size.parameters,
            multiply_adds=size.multiply_adds,
            best_epoch=state.best_epoch or None,
            best_validation_accuracy=state.best_accuracy if state.best_epoch else None,
            selected=self.plan.select,
            stopped_early=state.step < self.plan.total_steps,
            **({"sparsity": max(row["sparsity"] for row in state.rows)} if self.plan.phases and state.rows else {}),
        )


def _checksums(arranged: ArrangedSplits) -> dict[str, str]:
    checksums = {"checksum_train": arranged.train.checksum, "checksum_test": arranged.test.checksum}
    if arranged.validation is not None:
        checksums["checksum_validation"] = arranged.validation.checksum
    return checksums


def refuse_other_data(run: RunDirectory, arranged: ArrangedSplits, *, train_checksum: str | None = None) -> None:
    """Raise RunError where a split of `arranged` is not the one that `run` was set up with.

    `train_checksum`: what else vouches for the training images, in place of env.json.
    """
    recorded = run.read_json("env.json")
    if train_checksum is not None:
        recorded["checksum_train"] = train_checksum
    for key, checksum in _checksums(arranged).items():
        if recorded.get(key) != checksum:
            split = key.removeprefix("checksum_")
            raise RunError(
                f"{run.path} was set up with other data: the checksum of the {split} images differs. Nothing was changed; "
                "point --data-dir to the same data, or start a new run with --name"
            )


def _changed_recipe(path: Path, changed: list[str]) -> str:
    lines = "\n".join(f"  - {line}" for line in changed)
    return (
        f"{path} cannot be resumed with a changed recipe; nothing was changed. It differs in\n{lines}\n"
        "Start a new run with --name, or resume without these changes"
    )
