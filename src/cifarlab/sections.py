"""The sections of a recipe: every field with its default, its range and what it means."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cifarlab.duration import Duration

DurationField = Annotated[Duration, PlainValidator(Duration.parse), PlainSerializer(str)]


def as_number(value: object) -> object:
    """YAML 1.1 reads 1e-3 as a string; people mean the number, also inside lists and mappings."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value.strip()):
        return float(value)
    if isinstance(value, list):
        return [as_number(item) for item in value]
    if isinstance(value, dict):
        return {key: as_number(item) for key, item in value.items()}
    return value


Arguments = Annotated[dict[str, bool | int | float | str | list[int] | list[float] | None], BeforeValidator(as_number)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False, arbitrary_types_allowed=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        # Python would take true for the number 1.
        field = cls.model_fields.get(info.field_name or "")
        if field is not None and field.annotation is bool:
            return value
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, bool):
                raise ValueError(f"must not be {str(item).lower()}; quote it if the text is meant")
        return value


class DataConfig(_Section):
    """Which images, and how the training split is cut. The test split is never cut and never trained on."""

    name: str = Field("cifar10", min_length=1, description="dataset: cifar10, digits, or a path")
    validation: float = Field(0.1, ge=0, lt=1, description="share of the training split set aside for validation")
    validate_on: Literal["train", "test"] = Field(
        "train",
        description="train: validation is carved from the training split; test: it IS the test split, as some published protocols "
        "did, and what it selects is optimistic. Every look is counted, and the report says so",
    )
    train_size: int | None = Field(None, ge=2, description="train on so many images; smaller subsets are contained in larger ones")
    pooled: bool = Field(
        False,
        description="true: train and test are pooled, train_size images of the pool (validation among them) are for training and the rest "
        "is test, as one published protocol does: not comparable with published test accuracies, and the report says so",
    )
    classes: tuple[str, ...] | None = Field(None, description="keep these classes only, renumbered in this order")
    split_seed: int = Field(0, ge=0, description="seed of the validation split and subset, apart from the run's seed")

    @model_validator(mode="after")
    def _fits_together(self) -> DataConfig:
        problems = []
        if self.validate_on == "test" and self.validation:
            problems.append("validate_on=test trains on the whole training split: set data.validation=0 with it, or validate_on=train")
        if self.pooled and self.train_size is None:
            problems.append("pooled=true needs data.train_size: how many images of the pool are for training; the rest is test")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class InputConfig(_Section):
    """From stored pixels to network input, in this order; see cifarlab.data.preprocess.Preprocess."""

    crop: int | None = Field(None, ge=8, le=512, description="keep the central square of so many pixels")
    color: Literal["rgb", "gray"] = Field("rgb", description="gray: luma in all three channels")
    normalization: Literal["standardize", "rescale"] = Field(
        "standardize", description="standardize: mean 0, std 1 per channel, measured on the training images; rescale: to 0..1"
    )
    size: int | None = Field(None, ge=8, le=512, description="resize to so many pixels a side (bilinear)")


class AugmentConfig(_Section):
    """Training augmentation, in this order; see cifarlab.augment."""

    flip: Literal["none", "random", "alternating"] = Field("none", description="left-right flip")
    translate: int = Field(0, ge=0, le=16, description="largest shift, pixels, reflect padding")
    cutout: int = Field(0, ge=0, le=32, description="side of the square cut out, pixels")
    rotate: float = Field(0.0, ge=0, le=180, description="largest rotation to either side, degrees")
    scale: float = Field(0.0, ge=0, lt=1, description="largest change of size: 0.1 means 0.9 to 1.1 times")
    shift: float = Field(0.0, ge=0, lt=1, description="largest shift as a share of the side, to any fraction of a pixel")
    fill: Literal["edge", "zero", "reflect"] = Field("edge", description="what rotate, scale and shift bring in from outside")
    policy: Literal["none", "trivial", "rand"] = Field("none", description="trivial: TrivialAugment (wide); rand: RandAugment")
    policy_operations: int = Field(2, ge=1, le=10, description="RandAugment: operations an image")
    policy_magnitude: int = Field(9, ge=0, le=30, description="RandAugment: their strength")
    erase: float = Field(0.0, ge=0, le=1, description="random erasing: share of the images in which a rectangle is erased")
    mixup: float = Field(0.0, ge=0, le=100, description="mixup: parameter alpha of its Beta distribution; 0: off")
    cutmix: float = Field(0.0, ge=0, le=100, description="CutMix: parameter alpha of its Beta distribution; 0: off")


class ModelConfig(_Section):
    name: str = Field(description="network, as in `cifarlab models`")
    arguments: Arguments = Field(default_factory=dict, description="its own keyword arguments")


class LossConfig(_Section):
    name: str = Field("cross-entropy", description="cross-entropy, binary-cross-entropy, mse, msle or mae (of the probabilities)")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    class_weights: Literal["none", "balanced"] | tuple[Annotated[float, Field(gt=0)], ...] = Field(
        "none", description="balanced: in inverse proportion to the number of training images; or one weight per class"
    )


class OptimConfig(_Section):
    name: str = Field("adam", description="optimizer: adagrad, adam, adamax, adamw, muon, rmsprop, sgd")
    lr: float = Field(1e-3, gt=0, le=1e38, description="learning rate, for the mean loss of a batch of train.batch_size")
    weight_decay: float = Field(0.0, ge=0, description="weight decay")
    l2: float = Field(
        0.0, ge=0, description="L2 penalty: l2 times the sum of squared weights is added to the loss (as in Keras, not halved)"
    )
    l2_on: Literal["kernels", "convolutions"] = Field(
        "kernels", description="kernels of convolutions and dense layers, or convolutions only"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay a step of the exponential moving average of the weights; 0: none")
    arguments: Arguments = Field(default_factory=dict, description="the optimizer's own keyword arguments")


class ScheduleConfig(_Section):
    name: Literal["constant", "linear", "cosine", "steps", "triangular", "plateau"] = Field(
        "constant", description="shape of the learning rate after warm-up"
    )
    warmup: DurationField = Field(Duration(0, "%"), description="linear climb at the start")
    final: float = Field(0.0, ge=0, le=1, description="rate at the end, as a share of the highest; plateau: the smallest rate")
    milestones: tuple[DurationField, ...] = Field((), description="steps: times, from the start, after which the rate changes")
    factors: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (), description="steps: the rate after each of them, as a share of the highest"
    )
    cycle: DurationField = Field(Duration(100, "%"), description="triangular: length of one rise and fall")
    patience: int = Field(5, ge=1, description="plateau: epochs without improvement before the rate is cut")
    factor: float = Field(0.1, gt=0, lt=1, description="plateau: what each cut multiplies the rate by")

    @model_validator(mode="after")
    def _one_climb(self) -> ScheduleConfig:
        if self.name == "triangular" and self.warmup.value:
            raise ValueError(f"the schedule 'triangular' climbs by itself: set warmup=0% with it, not {str(self.warmup)!r}")
        return self

    @model_validator(mode="after")
    def _a_factor_for_each_milestone(self) -> ScheduleConfig:
        if len(self.milestones) != len(self.factors) or (self.name == "steps" and not self.milestones):
            raise ValueError(
                "the schedule 'steps' needs milestones and as many factors, for example milestones=[80ep, 120ep] factors=[0.1, 0.01]; "
                f"given: {len(self.milestones)} and {len(self.factors)}"
            )
        return self


class FreezeConfig(_Section):
    parameters: str = Field(description="shell pattern of parameter names, such as 'whiten.*'")
    after: DurationField = Field(description="trained for this long, then frozen (from the next epoch on)")


class PhaseConfig(_Section):
    """A part of the training with a sparsity and a rate of its own (dense-sparse-dense training, arXiv 1607.04381)."""

    until: DurationField = Field(description="end of the phase, from the start of training")
    sparsity: float = Field(0.0, ge=0, lt=1, description="share of each layer's smallest weights held at zero")
    threshold: float = Field(0.0, ge=0, description="or: weights below this magnitude are held at zero")
    rate: float = Field(1.0, gt=0, le=1, description="factor on the learning rate")

    @model_validator(mode="after")
    def _one_rule(self) -> PhaseConfig:
        if self.sparsity and self.threshold:
            raise ValueError("a phase has a sparsity or a threshold, not both")
        return self


class TrainConfig(_Section):
    duration: DurationField = Field(Duration(10, "ep"), description="length of training")
    batch_size: int = Field(64, ge=1, description="images per optimizer step")
    resolution: tuple[Annotated[int, Field(ge=8, le=512)], ...] = Field(
        (), description="input sizes in pixels of equal phases of training; empty: the data's own size"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the hardware multiplies it fast, else fp32")
    freeze: tuple[FreezeConfig, ...] = Field((), description="parameters that stop training before the end")
    phases: tuple[PhaseConfig, ...] = Field((), description="dense-sparse-dense training: its phases, one after the other")
    select: Literal["best", "last"] = Field("best", description="weights kept: best on validation, or the last ones")
    monitor: Literal["accuracy", "loss"] = Field("accuracy", description="what 'best', patience and plateau look at, on validation")
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without improvement on validation")
    target: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="validation accuracy aimed at: the end of training tells when it was reached",
    )

    @model_validator(mode="after")
    def _length_is_absolute(self) -> TrainConfig:
        if self.duration.unit == "%" or self.duration.value <= 0:
            raise ValueError(f"duration must be a positive number of epochs ('8ep') or steps ('500st'), not {str(self.duration)!r}")
        return self


class EvaluateConfig(_Section):
    tta: Literal["none", "flip", "six"] = Field("none", description="test-time augmentation: number of views of each image")
    batch_size: int = Field(500, ge=1, description="images at once")


class Recipe(_Section):
    """One training run, whole. Fields are read by cifarlab.build alone."""

    name: str = Field("custom", description="name of the recipe")
    model: ModelConfig
    data: DataConfig = Field(default_factory=DataConfig)
    input: InputConfig = Field(default_factory=InputConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    seed: int = Field(0, ge=0, lt=2**63, description="seed of initial weights, order and augmentation")

    @model_validator(mode="after")
    def _selection_has_a_judge(self) -> Recipe:
        if self.data.validation == 0 and self.data.validate_on == "train":
            needs = [
                ("train.select=best", "train.select=last", self.train.select == "best"),
                ("train.patience", "train.patience=null", self.train.patience is not None),
                ("schedule.name=plateau", "another schedule", self.schedule.name == "plateau"),
            ]
            if asked := [(name, remedy) for name, remedy, given in needs if given]:
                names, remedies = (" and ".join(texts) for texts in zip(*asked, strict=True))
                verb = "needs" if len(asked) == 1 else "need"
                raise ValueError(f"{names} {verb} a validation split: set data.validation above 0, or choose {remedies}")
        return self

    @model_validator(mode="after")
    def _zeros_stay_zeros(self) -> Recipe:
        if self.optim.ema and any(phase.sparsity or phase.threshold for phase in self.train.phases):
            raise ValueError("optim.ema does not go with a sparse phase of train.phases: the average of sparse and dense weights is dense")
        return self

    def to_yaml(self) -> str:
        """The whole recipe as YAML; `parse_recipe` reads it back equal."""
        values = self.model_dump(mode="json")
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
        # PyYAML writes Unicode's own line breaks as they are and reads them back as spaces; escaped they survive.
        escape = any(mark in text for mark in "\x85\u2028\u2029")
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=False, width=120) if escape else text
