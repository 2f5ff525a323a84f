"""Recipe -> data, network, optimizer. The only code that reads a Recipe's fields."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cifarlab.augment import Affine, Compose, Geometric, Mixing, RandAugment, RandomErasing, Stage, TrivialAugment
from cifarlab.config import Recipe
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.data.loader import Augmentation, Loader
from cifarlab.data.preprocess import Preprocess, channel_statistics
from cifarlab.data.splits import ArrangedSplits, arrange_splits
from cifarlab.duration import Duration
from cifarlab.errors import UsageError, unknown
from cifarlab.losses import balanced_class_weights, create_loss
from cifarlab.models import create_model
from cifarlab.optim import L2Penalty, WeightAverage, check_schedule, create_optimizer, multiplies_bf16_fast
from cifarlab.plan import Phase, Plan, Schedule
from cifarlab.restore import BUNDLE_VERSION
from cifarlab.runs import BASELINE_PREFIX

FIT_IMAGES = 5000  # how many images a network's `fit_to_data` sees at most


def arrange(recipe: Recipe, splits: Splits) -> ArrangedSplits:
    """The train, validation and test split that `recipe` asks for; raises UsageError where it asks too much."""
    data = recipe.data
    arranged = arrange_splits(
        splits, classes=data.classes, validation=data.validation, train_size=data.train_size, pooled=data.pooled, seed=data.split_seed
    )
    return arranged._replace(validation=arranged.test) if data.validate_on == "test" else arranged


def build_plan(recipe: Recipe, arranged: ArrangedSplits, *, device: torch.device) -> Plan:
    """Build loader, network and optimizer for training; the global random state is seeded with recipe.seed."""
    torch.manual_seed(recipe.seed)
    train = arranged.train
    images = torch.from_numpy(train.images)
    preprocess = _preprocess(recipe, images)
    size = preprocess.output_size(_side(train))
    model = create_model(recipe.model.name, num_classes=train.num_classes, image_size=size, arguments=recipe.model.arguments)
    _check_sizes(recipe, model, stored=_side(train), image_size=size)
    fit = getattr(model, "fit_to_data", None)
    if callable(fit):
        with torch.no_grad():
            # From the whole of the data: a folder of pictures is sorted by class.
            fit(preprocess(images[:: -(-len(images) // FIT_IMAGES)]))
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optim, augment = recipe.optim, recipe.augment
    loader = Loader(
        train, batch_size=recipe.train.batch_size, augmentation=_augmentation(recipe, preprocess), seed=recipe.seed, device=device
    )
    total = max(1, recipe.train.duration.steps(steps_per_epoch=loader.steps_per_epoch))

    def steps(duration: Duration) -> int:
        return duration.steps(steps_per_epoch=loader.steps_per_epoch, total_steps=total)

    return Plan(
        model=model,
        preprocess=preprocess.to(device),
        optimizer=create_optimizer(optim.name, model, lr=optim.lr, weight_decay=optim.weight_decay, arguments=optim.arguments),
        loss=_loss(recipe, train, device),
        loader=loader,
        device=device,
        precision=resolve_precision(recipe.train.precision, device),
        total_steps=total,
        schedule=_schedule(recipe, steps, total_steps=total),
        resolution=recipe.train.resolution,
        freeze=_freeze(recipe, model, steps, per_epoch=loader.steps_per_epoch, total_steps=total),
        phases=_phases(recipe, steps, total_steps=total),
        select=recipe.train.select,
        monitor=recipe.train.monitor,
        patience=recipe.train.patience,
        num_classes=train.num_classes,
        mixing=Mixing(mixup=augment.mixup, cutmix=augment.cutmix) if augment.mixup or augment.cutmix else None,
        penalty=L2Penalty(model, strength=optim.l2, on=optim.l2_on) if optim.l2 else None,
        average=WeightAverage(model, decay=optim.ema) if optim.ema else None,
    )


def check_recipe(recipe: Recipe) -> None:
    """Raise UsageError where a recipe names a network, loss, optimizer or argument that does not exist; takes milliseconds.

    Every problem is reported at once.
    """
    if problems := unknown_names(recipe):
        raise UsageError("\n".join(problems))


def unknown_names(recipe: Recipe) -> list[str]:
    """Every problem that `check_recipe` raises, one line each."""
    problems = []
    if recipe.model.name.startswith(BASELINE_PREFIX):
        name = recipe.model.name.removeprefix(BASELINE_PREFIX)
        return [f"{recipe.model.name} is a classical baseline, not a network: it is not trained, but fitted with: cifarlab baseline {name}"]
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
    try:
        create_loss(recipe.loss.name, label_smoothing=recipe.loss.label_smoothing)
    except UsageError as error:
        problems.append(str(error))
    if model is not None:
        names = [name for name, _ in model.named_parameters()]
        for item in recipe.train.freeze:
            if not any(fnmatch.fnmatchcase(name, item.parameters) for name in names):
                problems.append("train.freeze: no parameter matches; " + unknown("pattern", item.parameters, names))
    return problems


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
            "center_crop": recipe.input.crop,
            "network_size": recipe.input.size,
            "color": recipe.input.color,
        },
        "tta": recipe.evaluate.tta,
        "weights": f"weights/{plan.select}.safetensors",
        "recipe": recipe.model_dump(mode="json"),
        "dataset": {"name": arranged.train.name, "train_checksum": arranged.train.checksum, "train_size": len(arranged.train)},
    }


def resolve_precision(precision: str, device: torch.device) -> str:
    """ "auto" -> "bf16" where the hardware multiplies bfloat16 fast (AVX512-BF16 or AMX; CUDA from Ampere on), else "fp32"."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bf16_fast(device.type) else "fp32"


def _preprocess(recipe: Recipe, images: Tensor) -> Preprocess:
    """From the recipe and, where it standardizes, the statistics of `images` (uint8 [N, H, W, C])."""
    given = recipe.input
    side = int(images.shape[1])
    if given.crop is not None and given.crop > side:
        raise UsageError(f"input.crop={given.crop}: allowed is 8 to {side} for images of {side} px")
    options: dict[str, Any] = {"crop": given.crop, "size": given.size, "grayscale": given.color == "gray"}
    channels = images.shape[3]
    if given.normalization == "rescale":
        return Preprocess(mean=(0.0,) * channels, std=(1.0,) * channels, **options)
    if given.crop is not None or given.color == "gray":
        # The statistics of what the network sees, in the pixels' own scale.
        plain = Preprocess(mean=(0.0,) * channels, std=(1.0,) * channels, **{**options, "size": None})
        parts = [plain(part).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1) for part in torch.split(images, 1000)]
        images = torch.cat(parts)
    mean, std = channel_statistics(images)
    # A channel that never varies carries nothing; dividing by its zero would.
    return Preprocess(mean=mean, std=tuple(max(value, 1 / 255) for value in std), **options)


def _augmentation(recipe: Recipe, preprocess: Preprocess) -> Augmentation:
    """The stages that the recipe asks for; flip, translation and cutout alone are one gather."""
    augment = recipe.augment
    red, green, blue = (min(round(255 * value), 255) for value in preprocess.mean.tolist())
    first = Geometric(flip=augment.flip, translate=augment.translate, cutout=augment.cutout, fill=(red, green, blue))
    stages: list[Stage] = []
    if augment.rotate or augment.scale or augment.shift:
        stages.append(Affine(rotate=augment.rotate, scale=augment.scale, shift=augment.shift, fill=augment.fill))
    if augment.policy == "trivial":
        stages.append(TrivialAugment())
    elif augment.policy == "rand":
        stages.append(RandAugment(operations=augment.policy_operations, magnitude=augment.policy_magnitude))
    if augment.erase:
        stages.append(RandomErasing(probability=augment.erase, fill=(red, green, blue)))
    return Compose(first, tuple(stages)) if stages else first


def _loss(recipe: Recipe, train: Dataset, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    given = recipe.loss.class_weights
    weights: Tensor | None = None
    if given == "balanced":
        weights = balanced_class_weights(train.class_counts().tolist())
    elif isinstance(given, tuple):
        if len(given) != train.num_classes:
            raise UsageError(f"loss.class_weights has {len(given)} values; {train.name} has {train.num_classes} classes")
        weights = torch.tensor(given, dtype=torch.float32)
    weights = None if weights is None else weights.to(device)
    return create_loss(recipe.loss.name, label_smoothing=recipe.loss.label_smoothing, class_weights=weights)


def _schedule(recipe: Recipe, steps: Callable[[Duration], int], *, total_steps: int) -> Schedule:
    given = recipe.schedule
    milestones = tuple(steps(milestone) for milestone in given.milestones)
    warmup, cycle = steps(given.warmup), max(1, steps(given.cycle))
    check_schedule(given.name, warmup_steps=warmup, milestones=milestones, factors=given.factors, cycle_steps=cycle)
    return Schedule(
        name=given.name,
        total_steps=total_steps,
        warmup_steps=warmup,
        final=given.final,
        milestones=milestones,
        factors=given.factors,
        cycle_steps=cycle,
        patience=given.patience,
        factor=given.factor,
    )


def _freeze(
    recipe: Recipe, model: nn.Module, steps: Callable[[Duration], int], *, per_epoch: int, total_steps: int
) -> tuple[tuple[str, int], ...]:
    """Patterns with the step from which they are frozen; raises UsageError where an epoch would have nothing left to train."""
    freeze = tuple((item.parameters, steps(item.after)) for item in recipe.train.freeze)
    starts = [
        min((start for pattern, start in freeze if fnmatch.fnmatchcase(name, pattern)), default=total_steps)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    epoch = -(-max(starts, default=total_steps) // per_epoch)  # frozen at an epoch's start
    if epoch * per_epoch < total_steps:
        raise UsageError(f"train.freeze leaves nothing to train from epoch {epoch + 1} on; freeze less, or end the training there")
    return freeze


def _phases(recipe: Recipe, steps: Callable[[Duration], int], *, total_steps: int) -> tuple[Phase, ...]:
    ends = [steps(phase.until) for phase in recipe.train.phases]
    if any(end <= start for start, end in itertools.pairwise([0, *ends])):
        raise UsageError(f"train.phases: each must end after the one before, not after {ends} steps")
    if ends and ends[-1] > total_steps:
        raise UsageError(f"train.phases: the last ends after {ends[-1]} steps, but the training has {total_steps}; end it earlier")
    given = zip([0, *ends], ends, recipe.train.phases, strict=False)
    return tuple(Phase(start, end, sparsity=p.sparsity, threshold=p.threshold, rate=p.rate) for start, end, p in given)


def _check_sizes(recipe: Recipe, model: nn.Module, *, stored: int, image_size: int) -> None:
    """Raise UsageError where the images are too small for the translation, or `model` cannot take a size of train.resolution."""
    if recipe.augment.translate >= stored:
        raise UsageError(f"augment.translate={recipe.augment.translate}: allowed is 0 to {stored - 1} for images of {stored} px")
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


def _side(train: Dataset) -> int:
    height, width = train.images.shape[1:3]
    if height != width:
        raise UsageError(f"{train.name}: images must be square, not {height} x {width}")
    return int(height)
