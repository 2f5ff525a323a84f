"""A network and its preprocessing again, from a description (bundle.json) and weights. Loads nothing that only training needs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import BundleError, UsageError, unknown
from cifarlab.models import create_model

BUNDLE_VERSION = 2


def weights_path(folder: Path, description: dict[str, Any]) -> Path:
    """The weights file that a bundle.json names; raises BundleError where that is not a file name inside `folder`."""
    weights = description.get("weights")
    if not isinstance(weights, str) or not (folder / weights).resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{folder / 'bundle.json'} is damaged: its weights must be a file inside {folder}, not {weights!r}")
    return folder / weights


def restore(description: dict[str, Any], weights: Path, *, content: bytes | None = None) -> tuple[nn.Module, Preprocess]:
    """The network in evaluation mode and its preprocessing, from `describe`'s description and a safetensors file.

    content: that file's bytes, where they have been read already. Weights in half precision become float32.
    Raises BundleError where either is damaged or they do not fit each other.
    """
    version = description.get("bundle_version")
    if version != BUNDLE_VERSION:
        raise BundleError(
            f"bundle.json, the model description of {weights}, has version {version!r}; this cifarlab reads version {BUNDLE_VERSION}. "
            "Use the cifarlab release that wrote it, or export the run again"
        )
    try:
        preprocess = restore_preprocess(description)
        network, side = description["model"], preprocess.output_size(description["input"]["size"])
        build = functools.partial(
            create_model, network["name"], num_classes=len(description["classes"]), image_size=side, arguments=network["arguments"]
        )
        if content is not None and (values := _values(build, size=len(content))) > len(content):
            raise ValueError(f"the network has {values:,} weights, which cannot be in a file of {len(content):,} bytes")
        model = build()
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the model description is damaged or does not fit {weights}: {error}") from error
    try:
        tensors = load_file(weights) if content is None else load(content)
        if problem := _unfit(tensors, model.state_dict()):
            raise BundleError(f"{weights} is damaged or of another network: {problem}")
        model.load_state_dict(tensors)
    except FileNotFoundError:
        raise BundleError(f"{weights} does not exist: the training has not come to its end. Continue it with --resume") from None
    except (OSError, SafetensorError, RuntimeError) as error:
        raise BundleError(f"{weights} is damaged or of another network: {str(error).splitlines()[:2][-1].strip()}") from error
    return model.eval().to(memory_format=torch.channels_last), preprocess  # type: ignore[call-overload]


def restore_preprocess(description: Mapping[str, Any]) -> Preprocess:
    """The preprocessing of `describe`'s description; raises KeyError, TypeError or ValueError where that is damaged."""
    source = description["input"]
    if len(source["mean"]) != 3:
        raise ValueError(f"mean and std must have 3 values, not {len(source['mean'])}")
    return Preprocess(
        mean=source["mean"],
        std=source["std"],
        crop=source["center_crop"],
        size=source["network_size"],
        grayscale=source["color"] == "gray",
    )


def _values(build: Callable[[], nn.Module], *, size: int) -> int:
    """How many weights a network has, without memory for them; ValueError early where far too many for a file of `size` bytes."""
    with torch.device("meta"), _WithoutDraws(size):
        return sum(parameter.numel() for parameter in build().parameters())


class _WithoutDraws(TorchFunctionMode):
    """Within it nothing is drawn: on tensors without memory that has no effect, but makes PyTorch load its compiler (2 s).

    ValueError where layers ask for far more values than a file of `size` bytes holds: a thousand million layers never end.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size, self._values = size, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("normal_", "uniform_"):
            return args[0] if args else (kwargs or {})["tensor"]
        made = func(*args, **(kwargs or {}))
        if func is torch.empty:
            self._values += made.numel()
            if self._values > 4 * self._size:
                raise ValueError(f"the network has over {self._values:,} weights, which cannot be in a file of {self._size:,} bytes")
        return made


def _unfit(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> str | None:
    """Why weights cannot be put into a network that `load_state_dict` would put them into, or None."""
    for name in tensors.keys() & expected.keys():
        if tensors[name].is_floating_point() != expected[name].is_floating_point():
            return f"{name} is {tensors[name].dtype}, not {expected[name].dtype}"
        if not torch.isfinite(tensors[name].float()).all():
            return f"{name} has values that are not finite"
    return None


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Within it a GPU computes float32 convolutions and products in float32, not TF32 (10 bits of mantissa).

    With TF32 the answer for an image would depend on the batch it came in by about 1e-3.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def choose_device(name: str) -> torch.device:
    """ "auto", "cpu", "cuda" or "mps" -> a device that is there; raises UsageError otherwise."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if name not in available:
        raise UsageError(unknown("device", name, ["auto", *available]))
    if not available[name]:
        found = ", ".join(kind for kind, there in available.items() if there)
        raise UsageError(f"device {name!r} is not available to PyTorch {torch.__version__} here; available: {found}. Use --device auto")
    return torch.device(name)
