"""Recipe -> data, network, optimizer. The only code that reads a Recipe's fields."""

from __future__ import annotations

import contextlib
import fnmatch
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cifarlab.augment import Geometric
from cifarlab.config import Recipe
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.data.loader import Loader
from cifarlab.data.preprocess import Preprocess, channel_statistics
from cifarlab.data.splits import ArrangedSplits, arrange_splits
from cifarlab.errors import BundleError, UsageError, unknown
from cifarlab.models import create_model
from cifarlab.optim import create_optimizer, multiplies_bf16_fast, rate_factor

BUNDLE_VERSION = 1
FIT_IMAGES = 5000  # how many images a network's `fit_to_data` sees at most


@dataclass(frozen=True)
class Plan:
    """Everything that the training loop needs, built. Step counts are optimizer steps."""

    model: nn.Module
    preprocess: Preprocess
    optimizer: torch.optim.Optimizer
    loader: Loader
    device: torch.device
    precision: str  # "fp32" or "bf16"
    total_steps: int
    warmup_steps: int
    schedule: str
    schedule_final: float
    label_smoothing: float
    resolution: tuple[int, ...]
    freeze: tuple[tuple[str, int], ...]  # parameter pattern, step from which it is frozen
    select: str

    @property
    def epochs(self) -> int:
        return -(-self.total_steps // self.loader.steps_per_epoch)

    def rate_factor(self, step: int) -> float:
        """Factor on every group's initial learning rate at `step`."""
        return rate_factor(
            self.schedule, step=step, total_steps=self.total_steps, warmup_steps=self.warmup_steps, final=self.schedule_final
        )

    def image_size(self, epoch: int) -> int | None:
        """Input size in `epoch` (from 0): the phases of `resolution` share the epochs evenly. None: as the data is."""
        if not self.resolution:
            return None
        return self.resolution[min(epoch * len(self.resolution) // self.epochs, len(self.resolution) - 1)]

    def share_done(self, step: int) -> float:
        """Share (0..1) of the whole run's work that `step` steps are: small images cost less, in proportion to their area."""
        per_epoch = self.loader.steps_per_epoch
        areas = [(self.image_size(epoch) or 1) ** 2 for epoch in range(self.epochs)]
        lengths = [min(per_epoch, self.total_steps - epoch * per_epoch) for epoch in range(self.epochs)]
        done = [min(max(step - epoch * per_epoch, 0), lengths[epoch]) for epoch in range(self.epochs)]
        return float(sum(map(operator.mul, areas, done)) / sum(map(operator.mul, areas, lengths)))

    def freeze_parameters(self, step: int) -> None:
        """Stop the gradients of parameters whose time is over at `step`; called at the start of an epoch."""
        for pattern, start in self.freeze:
            if step >= start:
                for name, parameter in self.model.named_parameters():
                    if fnmatch.fnmatchcase(name, pattern):
                        parameter.requires_grad_(False)
                        parameter.grad = None

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")


def arrange(recipe: Recipe, splits: Splits) -> ArrangedSplits:
    """The train, validation and test split that `recipe` asks for; raises UsageError where it asks too much."""
    data = recipe.data
    return arrange_splits(splits, classes=data.classes, validation=data.validation, train_size=data.train_size, seed=data.split_seed)


def build_plan(recipe: Recipe, arranged: ArrangedSplits, *, device: torch.device) -> Plan:
    """Build loader, network and optimizer for training; the global random state is seeded with recipe.seed."""
    torch.manual_seed(recipe.seed)
    train = arranged.train
    images = torch.from_numpy(train.images)
    mean, std = _statistics(recipe, images)
    preprocess = Preprocess(mean=mean, std=std).to(device)
    model = _create(recipe, train)
    _check_sizes(recipe, model, image_size=images.shape[1])
    fit = getattr(model, "fit_to_data", None)
    if callable(fit):
        with torch.no_grad():
            # From the whole of the data: a folder of pictures is sorted by class.
            fit(Preprocess(mean=mean, std=std)(images[:: -(-len(images) // FIT_IMAGES)]))
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    fill = tuple(round(255 * value) for value in mean)
    augmentation = Geometric(
        flip=recipe.augment.flip, translate=recipe.augment.translate, cutout=recipe.augment.cutout, fill=(fill[0], fill[1], fill[2])
    )
    loader = Loader(train, batch_size=recipe.train.batch_size, augmentation=augmentation, seed=recipe.seed, device=device)
    total = max(1, recipe.train.duration.steps(steps_per_epoch=loader.steps_per_epoch))

    def steps(duration: Any) -> int:
        return int(duration.steps(steps_per_epoch=loader.steps_per_epoch, total_steps=total))

    return Plan(
        model=model,
        preprocess=preprocess,
        optimizer=create_optimizer(
            recipe.optim.name, model, lr=recipe.optim.lr, weight_decay=recipe.optim.weight_decay, arguments=recipe.optim.arguments
        ),
        loader=loader,
        device=device,
        precision=resolve_precision(recipe.train.precision, device),
        total_steps=total,
        warmup_steps=steps(recipe.schedule.warmup),
        schedule=recipe.schedule.name,
        schedule_final=recipe.schedule.final,
        label_smoothing=recipe.train.label_smoothing,
        resolution=recipe.train.resolution,
        freeze=tuple((item.parameters, steps(item.after)) for item in recipe.train.freeze),
        select=recipe.train.select,
    )


def check_recipe(recipe: Recipe) -> None:
    """Raise UsageError where a recipe names a network, optimizer or argument that does not exist; takes milliseconds.

    Every problem is reported at once.
    """
    problems = []
    model: nn.Module | None = None
    try:
        with torch.random.fork_rng(devices=[]):
            model = create_model(recipe.model.name, arguments=recipe.model.arguments)
    except UsageError as error:
        problems.append(str(error))
    try:
        optim = recipe.optim
        probe = nn.Linear(1, 1) if model is None else model
        create_optimizer(optim.name, probe, lr=optim.lr, weight_decay=optim.weight_decay, arguments=optim.arguments)
    except UsageError as error:
        problems.append(str(error))
    if model is not None:
        names = [name for name, _ in model.named_parameters()]
        for item in recipe.train.freeze:
            if not any(fnmatch.fnmatchcase(name, item.parameters) for name in names):
                problems.append("train.freeze: no parameter matches; " + unknown("pattern", item.parameters, names))
    if problems:
        raise UsageError("\n".join(problems))


def describe(recipe: Recipe, arranged: ArrangedSplits, plan: Plan) -> dict[str, Any]:
    """What `restore` and a predictor need besides the weights, JSON-ready: the content of bundle.json."""
    preprocess = plan.preprocess
    return {
        "bundle_version": BUNDLE_VERSION,
        "model": {"name": recipe.model.name, "arguments": recipe.model.arguments},
        "classes": list(arranged.train.class_names),
        "input": {
            "size": int(arranged.train.images.shape[1]),
            "mean": [float(value) for value in preprocess.mean],
            "std": [float(value) for value in preprocess.std],
            "resize": "crop",
        },
        "tta": recipe.evaluate.tta,
        "weights": f"weights/{plan.select}.safetensors",
        "recipe": recipe.model_dump(mode="json"),
        "dataset": {"name": arranged.train.name, "train_checksum": arranged.train.checksum, "train_size": len(arranged.train)},
    }


def weights_path(folder: Path, description: dict[str, Any]) -> Path:
    """The weights file that a bundle.json names; raises BundleError where that is not a file name inside `folder`."""
    weights = description.get("weights")
    if not isinstance(weights, str) or not (folder / weights).resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{folder / 'bundle.json'} is damaged: its weights must be a file inside {folder}, not {weights!r}")
    return folder / weights


def restore(description: dict[str, Any], weights: Path) -> tuple[nn.Module, Preprocess]:
    """The network in evaluation mode and its preprocessing, from `describe`'s description and a safetensors file.

    Raises BundleError where either is damaged or they do not fit each other.
    """
    version = description.get("bundle_version")
    if version != BUNDLE_VERSION:
        raise BundleError(f"the model description has version {version!r}; this cifarlab reads version {BUNDLE_VERSION}")
    try:
        source = description["input"]
        model = create_model(
            description["model"]["name"],
            num_classes=len(description["classes"]),
            image_size=source["size"],
            arguments=description["model"]["arguments"],
        )
        preprocess = Preprocess(mean=source["mean"], std=source["std"])
        if len(preprocess.mean) != 3:
            raise ValueError(f"mean and std must have 3 values, not {len(preprocess.mean)}")
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the model description is damaged: {error}") from error
    try:
        model.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise BundleError(f"{weights} does not exist: the training has not come to its end. Continue it with --resume") from None
    except (OSError, SafetensorError, RuntimeError) as error:
        raise BundleError(f"{weights} is damaged or of another network: {str(error).splitlines()[0]}") from error
    return model.eval().to(memory_format=torch.channels_last), preprocess  # type: ignore[call-overload]


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


def resolve_precision(precision: str, device: torch.device) -> str:
    """ "auto" -> "bf16" where the hardware multiplies bfloat16 fast (AVX512-BF16 or AMX; CUDA from Ampere on), else "fp32"."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bf16_fast(device.type) else "fp32"


def _statistics(recipe: Recipe, images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if recipe.input.normalization == "rescale":
        channels = images.shape[3]
        return (0.0,) * channels, (1.0,) * channels
    mean, std = channel_statistics(images)
    # A channel that never varies carries nothing; dividing by its zero would.
    return mean, tuple(float(np.clip(value, 1 / 255, None)) for value in std)


def _check_sizes(recipe: Recipe, model: nn.Module, *, image_size: int) -> None:
    """Raise UsageError where the images are too small for the translation, or `model` cannot take a size of train.resolution."""
    if recipe.augment.translate >= image_size:
        raise UsageError(f"augment.translate={recipe.augment.translate}: allowed is 0 to {image_size - 1} for images of {image_size} px")
    model.eval()  # a probe must not touch batch-norm statistics or draw random numbers
    for size in sorted(set(recipe.train.resolution)):
        try:
            with torch.no_grad():
                model(torch.zeros(1, 3, size, size))
        except RuntimeError as error:
            raise UsageError(
                f"train.resolution={list(recipe.train.resolution)}: {recipe.model.name} built for {image_size} px cannot take "
                f"{size} px ({str(error).splitlines()[0]}). Use larger sizes, or train.resolution=[] for the data's own"
            ) from error
    model.train()


def _create(recipe: Recipe, train: Dataset) -> nn.Module:
    height, width = train.images.shape[1:3]
    if height != width:
        raise UsageError(f"{train.name}: images must be square, not {height} x {width}")
    return create_model(recipe.model.name, num_classes=train.num_classes, image_size=height, arguments=recipe.model.arguments)
