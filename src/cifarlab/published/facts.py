"""The kinds of facts that a published system states.

Shapes are (height, width, channels). Accuracies and other shares are fractions in 0..1, times are seconds; None means not stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Slip:
    """A figure that is wrong in print, with the right one. `layer`: name of the registered network's layer that it belongs to."""

    where: str
    printed: str
    right: str
    why: str
    layer: str | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A result as claimed. `split` is what accuracy, loss (cross-entropy in nats) and mse (of the one-hot vector) were measured on,
    whatever the report calls it (`called`); `condition` says which of several runs; a penalized loss holds the L2 penalty."""

    split: str = "test"
    called: str = "test"
    accuracy: float | None = None
    loss: float | None = None
    penalized: bool = False
    mse: float | None = None
    train_accuracy: float | None = None
    train_loss: float | None = None
    epochs: int | None = None
    seconds: float | None = None
    hardware: str | None = None
    condition: str = ""


@dataclass(frozen=True)
class PublishedLayer:
    """One row of a layer table: what it is, its output shape, its parameters (None: not printed), slips put right."""

    kind: str
    output: tuple[int, ...]
    parameters: int | None = None


@dataclass(frozen=True, kw_only=True)
class ParameterCount:
    """Parameters as Keras counts them, with the running statistics of batch norm as `frozen`; `printed`: by the report itself."""

    total: int
    frozen: int = 0
    printed: bool = True

    @property
    def trainable(self) -> int:
        return self.total - self.frozen


@dataclass(frozen=True)
class ClassScore:
    """Precision, recall and F1 of one class, printed with two decimals."""

    name: str
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True)
class Study:
    """One quantity varied, everything else fixed; `test` gives the test images for each value where they change with it."""

    quantity: str
    values: tuple[int, ...]
    best: int | None = None
    accuracy: float | None = None
    test: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PublishedSystem:
    """One system. `name` is its recipe, `network` its registered network, `claims[0]` the result that it is known by.

    `training` is what the report states of the optimization, `protocol` what it measures on. looks_at_test: the test split is
    evaluated while training; selects_on_test: weights or learning rate follow it. `figures` are keys of FIGURES.
    """

    name: str
    network: str
    report: str
    title: str
    source: str
    parameters: ParameterCount | None = None
    layers: tuple[PublishedLayer, ...] = ()
    claims: tuple[Claim, ...]
    per_class: tuple[ClassScore, ...] = ()
    averages: tuple[tuple[str, float], ...] = ()
    studies: tuple[Study, ...] = ()
    training: str
    protocol: str
    looks_at_test: bool
    selects_on_test: bool = False
    figures: tuple[str, ...] = ()
    not_stated: tuple[str, ...] = ()
    slips: tuple[Slip, ...] = ()

    @property
    def headline(self) -> Claim:
        """The result that the system is known by."""
        return self.claims[0]


@dataclass(frozen=True)
class PretrainedNetwork:
    """A row of the thesis's table of networks trained on ImageNet: layers in depth, file size, parameters, input side in pixels."""

    name: str
    depth: int | None
    megabytes: float
    million_parameters: float
    input_size: int


@dataclass(frozen=True, kw_only=True)
class AccuracyRange:
    """A table of accuracies that others published: how many, the lowest and the highest, in 0..1."""

    count: int
    lowest: float
    highest: float


@dataclass(frozen=True)
class ConvolutionExample:
    """An unpadded convolution with stride 1, worked by hand: matrices as rows of numbers; the filter is not flipped."""

    matrix: tuple[tuple[int, ...], ...]
    kernel: tuple[tuple[int, ...], ...]
    result: tuple[tuple[int, ...], ...]


FIGURES: Final = {
    "samples": "random labelled training images",
    "class_counts": "bar chart of images per class",
    "accuracy": "accuracy per epoch, train and validation",
    "loss": "loss per epoch, train and validation",
    "mse": "mean squared error per epoch, train and validation",
    "confusion_matrix": "confusion matrix",
    "confusion_matrix_normalized": "confusion matrix as a heat map, each row adding up to 1",
    "right_wrong": "bar chart of right and wrong counts",
    "error_rate": "chart of the error rate",
    "activations": "what the last dense layer makes of sample images",
    "predictions": "test images with predicted class, confidence and true class",
    "machines": "table of machine, time, epochs and accuracy",
    "study_accuracy": "accuracy against the varied quantity",
    "study_loss": "loss against the varied quantity",
    "per_class": "precision, recall and F1 per class",
}
