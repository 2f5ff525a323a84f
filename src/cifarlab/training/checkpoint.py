"""Checkpoints: the whole state of a training, written atomically, the previous one kept."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from cifarlab.errors import RunError
from cifarlab.files import atomic_writer, replace_durably
from cifarlab.plan import Plan
from cifarlab.runs import RunDirectory
from cifarlab.training.loop import State

CHECKPOINT_VERSION = 2
_KEYS = {
    "version",
    "recipe",
    "data_checksum",
    "model",
    "optimizer",
    "average",
    "step",
    "sums",
    "rows",
    "best_epoch",
    "best_accuracy",
    "seconds",
    "random",
    "random_cuda",
}


def save_checkpoint(run: RunDirectory, plan: Plan, state: State, *, recipe_yaml: str, data_checksum: str) -> None:
    """Write checkpoint.pt; the one before becomes checkpoint.previous.pt. At every moment at least one is whole."""
    content = {
        "version": CHECKPOINT_VERSION,
        "recipe": recipe_yaml,
        "data_checksum": data_checksum,
        "model": plan.model.state_dict(),
        "optimizer": plan.optimizer.state_dict(),
        "average": None if plan.average is None else plan.average.state_dict(),
        "step": state.step,
        "sums": state.sums.cpu(),
        "rows": json.dumps(state.rows),
        "best_epoch": state.best_epoch,
        "best_accuracy": state.best_accuracy,
        "seconds": state.seconds,
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state() if plan.device.type == "cuda" else None,
    }
    _keep_previous(run)
    # Not straight into the file: torch.save turns a full disk's OSError into a RuntimeError of its zip writer.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_writer(run.checkpoint_file) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(run: RunDirectory, *, note: Callable[[str], None] | None = None) -> dict[str, Any]:
    """The newest whole checkpoint (weights_only: no code in it is run). Raises RunError where none is left.

    A damaged checkpoint.pt gives way to checkpoint.previous.pt, which takes its place (so that the next save keeps the
    good one); training then repeats the steps between them, and `note` hears of it.
    """
    problems = []
    for path in (run.checkpoint_file, run.previous_checkpoint_file):
        try:
            _check_archive(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            problems.append(f"{path.name}: not there")
        except Exception as error:  # zipfile and torch.load raise nearly anything on damaged bytes, IndexError and struct.error too
            problems.append(f"{path.name}: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}")
        else:
            if isinstance(content, dict) and content.get("version") == CHECKPOINT_VERSION and content.keys() >= _KEYS:
                if path == run.previous_checkpoint_file:
                    _take_previous(run, "; ".join(problems), note)
                return content
            problems.append(f"{path.name}: not a checkpoint of version {CHECKPOINT_VERSION}")
    raise RunError(
        f"{run.path} has no checkpoint to continue from ({'; '.join(problems)}). Train again with: cifarlab train {run.recipe_file}"
    )


def restore_state(content: dict[str, Any], plan: Plan) -> State:
    """Put a checkpoint's weights, optimizer and random state into `plan` and return its State; raises RunError."""
    try:
        plan.model.load_state_dict(content["model"])
        plan.optimizer.load_state_dict(content["optimizer"])
        if plan.average is not None:
            plan.average.load_state_dict(content["average"])
        torch.set_rng_state(content["random"])
        if plan.device.type == "cuda" and content["random_cuda"] is not None:
            torch.cuda.set_rng_state(content["random_cuda"])
        return State(
            step=int(content["step"]),
            sums=content["sums"],
            rows=json.loads(content["rows"]),
            best_epoch=int(content["best_epoch"]),
            best_accuracy=float(content["best_accuracy"]),
            seconds=float(content["seconds"]),
        )
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"the checkpoint does not fit this recipe: {error}") from error


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the network's state as safetensors, atomically, contiguous (channels_last is put back at loading)."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_writer(path) as file:
        file.write(save(tensors))


def _check_archive(path: Path) -> None:
    """Raise BadZipFile where a byte has changed: torch.load does not look at the checksums inside its own format."""
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"damaged at {damaged}")


def _take_previous(run: RunDirectory, reason: str, note: Callable[[str], None] | None) -> None:
    if note is not None:
        note(f"the newest checkpoint of {run.path} cannot be used ({reason}); going on from the one before it")
    try:
        replace_durably(run.previous_checkpoint_file, run.checkpoint_file)
    except OSError as error:
        raise RunError(f"cannot write in {run.path}: {error.strerror or error}; nothing was changed") from error


def _keep_previous(run: RunDirectory) -> None:
    """Give the present checkpoint a second name, so that replacing the first loses nothing."""
    if not run.checkpoint_file.exists():
        return
    temporary = run.previous_checkpoint_file.with_suffix(".tmp")
    try:
        temporary.unlink(missing_ok=True)
        try:
            os.link(run.checkpoint_file, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(run.checkpoint_file, temporary)
        os.replace(temporary, run.previous_checkpoint_file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunError(f"cannot keep the previous checkpoint in {run.path}: {error.strerror or error}") from error
