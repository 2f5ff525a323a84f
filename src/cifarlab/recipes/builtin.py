"""The recipes that ship with cifarlab."""

from __future__ import annotations

from cifarlab.config import (
    AugmentConfig,
    DataConfig,
    Duration,
    EvaluateConfig,
    FreezeConfig,
    InputConfig,
    ModelConfig,
    OptimConfig,
    Recipe,
    ScheduleConfig,
    TrainConfig,
)
from cifarlab.recipes.registry import register


@register("digits")
def digits() -> Recipe:
    """Handwritten digits (1 797 images inside scikit-learn): no download, seconds on any CPU."""
    return Recipe(
        name="digits",
        data=DataConfig(name="digits"),
        model=ModelConfig(name="speednet", arguments={"widths": [16, 32, 64]}),
        augment=AugmentConfig(translate=2),
        optim=_muon(batch_size=64, head_lr=0.005),
        schedule=ScheduleConfig(name="linear"),
        train=TrainConfig(duration=Duration(8, "ep"), batch_size=64, select="last"),
    )


@register("lab-base")
def lab_base() -> Recipe:
    """A lab report's first CNN: 24 666 parameters, Adam, batch 64, 5 epochs, no augmentation."""
    return Recipe(
        name="lab-base",
        model=ModelConfig(name="lab-base"),
        input=InputConfig(normalization="rescale"),
        # Keras's epsilon for Adam; PyTorch's default is 1e-8.
        optim=OptimConfig(name="adam", lr=1e-3, arguments={"epsilon": 1e-7}),
        train=TrainConfig(duration=Duration(5, "ep"), batch_size=64, select="last"),
    )


@register("fast")
def fast() -> Recipe:
    """94 % on CIFAR-10 in minutes on two CPU cores: speednet, Muon, 24 to 32 px."""
    return Recipe(
        name="fast",
        data=DataConfig(validation=0.02),
        model=ModelConfig(name="speednet"),
        augment=AugmentConfig(flip="alternating", translate=2),
        optim=_muon(batch_size=512),
        schedule=ScheduleConfig(name="linear"),
        train=TrainConfig(
            duration=Duration(9, "ep"),
            batch_size=512,
            label_smoothing=0.2,
            resolution=(24, 28, 32),
            freeze=(FreezeConfig(parameters="whiten.*", after=Duration(3, "ep")),),
            select="last",
        ),
        evaluate=EvaluateConfig(tta="six"),
    )


def _muon(*, batch_size: int, head_lr: float | None = None) -> OptimConfig:
    # Per-sample rates of the record line at batch 2 000, carried over linearly for the SGD groups.
    return OptimConfig(
        name="muon",
        lr=0.24 * (batch_size / 2000) ** 0.5,
        weight_decay=2e-6 * batch_size,
        arguments={"momentum": 0.6, "bias_lr": 0.053 * batch_size, "head_lr": head_lr or 1.02e-5 * batch_size},
    )
