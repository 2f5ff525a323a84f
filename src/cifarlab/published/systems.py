"""The systems, in the order of their reports: R1 a master's thesis, R2 a final project report, R3 a course paper, R4 a presentation,
R5 a lab report. Every number is the authors'; what is wrong in print stands in `slips`, with the right figure beside it."""

from __future__ import annotations

from typing import Final

from cifarlab.published.facts import Claim, ClassScore, ParameterCount, PublishedLayer, PublishedSystem, Slip, Study

_THESIS18_LAYERS = (
    PublishedLayer("conv", (32, 32, 32), 896),
    PublishedLayer("batch norm", (32, 32, 32), 128),
    PublishedLayer("conv", (32, 32, 32), 9_248),
    PublishedLayer("max pool", (16, 16, 32), 0),
    PublishedLayer("conv", (16, 16, 64), 18_496),
    PublishedLayer("conv", (16, 16, 64), 36_928),
    PublishedLayer("batch norm", (16, 16, 64), 256),
    PublishedLayer("max pool", (8, 8, 64), 0),
    PublishedLayer("conv", (8, 8, 128), 73_856),
    PublishedLayer("conv", (8, 8, 128), 147_584),
    PublishedLayer("batch norm", (8, 8, 128), 512),
    PublishedLayer("max pool", (4, 4, 128), 0),
    PublishedLayer("dropout", (4, 4, 128), 0),
    PublishedLayer("flatten", (2_048,), 0),
    PublishedLayer("dense", (128,), 262_272),
    PublishedLayer("batch norm", (128,), 512),
    PublishedLayer("dropout", (128,), 0),
    PublishedLayer("dense", (10,), 1_290),
)
_SLIDES_M1_LAYERS = (
    PublishedLayer("conv", (30, 30, 32)),
    PublishedLayer("max pool", (15, 15, 32)),
    PublishedLayer("conv", (13, 13, 64)),
    PublishedLayer("max pool", (6, 6, 64)),
    PublishedLayer("conv", (4, 4, 64)),
    PublishedLayer("flatten", (1_024,)),
    PublishedLayer("dense", (64,)),
    PublishedLayer("dense", (10,)),
)
_LAB_BASE_LAYERS = (
    PublishedLayer("conv", (30, 30, 16), 448),
    PublishedLayer("conv", (28, 28, 16), 2_320),
    PublishedLayer("max pool", (14, 14, 16), 0),
    PublishedLayer("conv", (12, 12, 32), 4_640),
    PublishedLayer("conv", (10, 10, 32), 9_248),
    PublishedLayer("max pool", (5, 5, 32), 0),
    PublishedLayer("flatten", (800,), 0),
    PublishedLayer("dense", (10,), 8_010),
)

_THESIS18 = PublishedSystem(
    name="thesis18",
    network="thesis18",
    report="R1",
    title="18-layer CNN",
    source="master's thesis",
    parameters=ParameterCount(total=551_978, frozen=704),
    layers=_THESIS18_LAYERS,
    claims=(
        Claim(accuracy=0.7874, epochs=20, seconds=5_502, hardware="laptop (i5-4200H, GTX 850M)", condition="laptop"),
        Claim(accuracy=0.7791, epochs=20, seconds=660, hardware="Colab GPU", condition="Colab"),
    ),
    training="20 epochs on all 50 000 training images",
    # That the validation curves show the test split is inferred: nothing else is left.
    protocol="All 50 000 training images are trained on, 10 000 are the test set; the validation curves can only show the test set.",
    looks_at_test=True,
    figures=("samples", "accuracy", "loss", "confusion_matrix", "right_wrong", "error_rate", "activations", "predictions", "machines"),
    not_stated=("optimizer", "batch size", "learning rate", "both dropout rates", "which images validate", "time without batch norm"),
    slips=(
        Slip(
            where="layer 10, output shape",
            printed="4,4,128",
            right="8,8,128",
            why="a padded convolution keeps the 8x8 of layer 9, and the next layer has 8,8,128",
            layer="conv6",
        ),
        Slip(
            where="test images, right and wrong",
            printed="7 874 right and 2 122 wrong (error rate 21.22 %)",
            right="7 874 right and 2 126 wrong (21.26 %), if the accuracy of 78.74 % holds",
            why="7 874 + 2 122 = 9 996, but the test set has 10 000 images",
        ),
    ),
)

_REPORT10 = PublishedSystem(
    name="report10",
    network="report10",
    report="R2",
    title="Ten-convolution CNN",
    source="final project report",
    parameters=ParameterCount(total=2_253_906, frozen=2_688),
    claims=(Claim(accuracy=0.8633, loss=0.4653, mse=0.0205, train_accuracy=0.92, epochs=20, seconds=600, hardware="Colab TPU"),),
    training="Pixels / 255, one-hot labels, Adamax at 3e-3, categorical cross-entropy, batch size Keras' default (32), 20 epochs",
    protocol="All 50 000 training images are trained on; the test set is the validation data of every epoch.",
    looks_at_test=True,
    figures=("samples", "class_counts", "accuracy", "loss", "mse", "predictions", "confusion_matrix_normalized"),
)

_SCHEDULE = "Batch 128, 200 epochs, rate cut after epochs 80, 120, 160 and 180 down to 0.5e-6, random shifts and left-right flip"
_RESNET_CURVES = ("accuracy", "loss", "study_accuracy", "study_loss")
_RESNET_OPEN = ("optimizer", "initial learning rate", "size of the shifts", "weight decay", "shortcut type", "times and hardware")

_RESNET20 = PublishedSystem(
    name="resnet20",
    network="resnet20",
    report="R3",
    title="ResNet-20, all ten classes",
    source="course paper",
    claims=(
        Claim(called="validation", accuracy=0.9137, epochs=200, condition="batch 128, 50 000 training images"),
        Claim(called="validation", accuracy=0.917, epochs=200, condition="batch 32"),
    ),
    studies=(
        Study(
            quantity="training images",
            values=(30_000, 35_000, 40_000, 45_000, 50_000),
            test=(30_000, 25_000, 20_000, 15_000, 10_000),
            best=50_000,
            accuracy=0.9137,
        ),
        Study(quantity="batch size", values=(32, 64, 128, 256, 512), best=32, accuracy=0.917),
        Study(quantity="epochs", values=(100, 200, 300, 400, 500), best=200),
    ),
    training=_SCHEDULE,
    protocol="The test images are the validation data: the weights best on them are kept, and early stopping and rate look at them.",
    looks_at_test=True,
    selects_on_test=True,
    figures=_RESNET_CURVES,
    not_stated=(*_RESNET_OPEN, "losses"),
)

_RESNET20_PAIR = PublishedSystem(
    name="resnet20-pair",
    network="resnet20",
    report="R3",
    title="ResNet-20, deer against dog",
    source="course paper",
    claims=(Claim(called="validation", accuracy=0.9685, loss=0.4477, epochs=200, condition="best of five training sizes, each figure"),),
    studies=(
        Study(
            quantity="training images",
            values=(10_000, 9_000, 8_000, 7_000, 6_000),
            test=(2_000, 3_000, 4_000, 5_000, 6_000),
            accuracy=0.9685,
        ),
    ),
    training=f"{_SCHEDULE}; overfits after about 80 epochs",
    protocol="12 000 images of two classes pooled from train and test; those not trained on are test and validation in one and select.",
    looks_at_test=True,
    selects_on_test=True,
    figures=_RESNET_CURVES,
    not_stated=(*_RESNET_OPEN, "which training size gave the best accuracy"),
)

_SLIDES_PROTOCOL = "42 500 training, 7 500 validation (15 %) and 10 000 test images; the test set is read at the end."
_SLIDES_FIGURES = ("class_counts", "accuracy", "loss")
_SLIDES_OPEN = ("optimizer", "learning rate", "batch size", "times and hardware")

_SLIDES_M1 = PublishedSystem(
    name="slides-m1",
    network="slides-m1",
    report="R4",
    title="First network: overfits",
    source="presentation",
    parameters=ParameterCount(total=122_570),
    layers=_SLIDES_M1_LAYERS,
    claims=(Claim(accuracy=0.6877, loss=1.1005),),
    training="Pixels / 255, one-hot labels, categorical cross-entropy",
    protocol=_SLIDES_PROTOCOL,
    looks_at_test=False,
    figures=_SLIDES_FIGURES,
    not_stated=(*_SLIDES_OPEN, "epochs"),
)

_SLIDES_M2 = PublishedSystem(
    name="slides-m2",
    network="slides-m2",
    report="R4",
    title="Flip and dropout",
    source="presentation",
    parameters=ParameterCount(total=122_570, printed=False),
    claims=(Claim(accuracy=0.7556, loss=0.8183),),
    training="As slides-m1, with a random horizontal flip in front and dropout after the dense layer of 64",
    protocol=_SLIDES_PROTOCOL,
    looks_at_test=False,
    figures=_SLIDES_FIGURES,
    not_stated=(*_SLIDES_OPEN, "epochs", "dropout rate"),
    slips=(
        Slip(
            where="parameters",
            printed="367 712",
            right="122 570",
            why="Adam's two moments of every weight and two scalars are counted too: 3 * 122 570 + 2 = 367 712",
        ),
    ),
)

_SLIDES_M3 = PublishedSystem(
    name="slides-m3",
    network="slides-m3",
    report="R4",
    title="Wider, with L2 penalty",
    source="presentation",
    parameters=ParameterCount(total=1_494_218),
    claims=(Claim(accuracy=0.8169, loss=0.8241, penalized=True),),
    training="As slides-m1, with a random horizontal flip and an L2 penalty of 0.001",
    protocol=_SLIDES_PROTOCOL,
    looks_at_test=False,
    figures=_SLIDES_FIGURES,
    not_stated=(*_SLIDES_OPEN, "epochs", "which layers bear the penalty"),
)

_SLIDES_FINAL = PublishedSystem(
    name="slides-final",
    network="slides-final",
    report="R4",
    title="Batch norm, dropout, L2, early stopping",
    source="presentation",
    parameters=ParameterCount(total=1_825_994, frozen=1_920, printed=False),
    claims=(Claim(accuracy=0.8637, loss=0.7141, epochs=40, condition="about 40 epochs"),),
    per_class=(
        ClassScore("airplane", 0.87, 0.87, 0.87),
        ClassScore("automobile", 0.94, 0.91, 0.93),
        ClassScore("bird", 0.85, 0.81, 0.83),
        ClassScore("cat", 0.79, 0.69, 0.74),
        ClassScore("deer", 0.83, 0.87, 0.85),
        ClassScore("dog", 0.83, 0.79, 0.81),
        ClassScore("frog", 0.84, 0.94, 0.88),
        ClassScore("horse", 0.90, 0.90, 0.90),
        ClassScore("ship", 0.86, 0.94, 0.90),
        ClassScore("truck", 0.92, 0.90, 0.91),
    ),
    averages=(("macro", 0.86), ("weighted", 0.86)),
    training="Random horizontal flip, L2 on every convolution, early stopping, learning-rate scheduling, about 40 epochs",
    protocol=_SLIDES_PROTOCOL,
    looks_at_test=False,
    figures=(*_SLIDES_FIGURES, "per_class"),
    not_stated=(*_SLIDES_OPEN, "L2 factor", "patience and schedule", "total of parameters", "whether the loss holds the penalty"),
)

_LAB_BASE = PublishedSystem(
    name="lab-base",
    network="lab-base",
    report="R5",
    title="A first CNN",
    source="lab report",
    parameters=ParameterCount(total=24_666),
    layers=_LAB_BASE_LAYERS,
    claims=(Claim(called="validation", accuracy=0.6444, loss=1.0134, train_accuracy=0.6464, train_loss=1.0118, epochs=5, seconds=80.6),),
    training="Pixels rescaled to 0..1, Adam with its defaults, batch 64, cross-entropy, 5 epochs",
    protocol="All 50 000 training images are trained on; the validation data of every epoch is the test set.",
    looks_at_test=True,
    figures=("accuracy", "loss"),
    not_stated=("hardware",),
)

_LAB_FINAL = PublishedSystem(
    name="lab-final",
    network="lab-final",
    report="R5",
    title="The first CNN improved",
    source="lab report",
    parameters=ParameterCount(total=552_874, frozen=1_152),
    claims=(Claim(called="validation", accuracy=0.7417, loss=0.7499, train_accuracy=0.7174, train_loss=0.8121, epochs=5, seconds=470.1),),
    training="Pixels rescaled to 0..1, augmentation, 5 epochs",
    protocol="All 50 000 training images are trained on; the validation data of every epoch is the test set.",
    looks_at_test=True,
    figures=("accuracy", "loss"),
    not_stated=("hardware", "dropout rates", "kinds of augmentation", "optimizer and batch size (those of lab-base are likely)"),
)

SYSTEMS: Final = (
    *(_THESIS18, _REPORT10, _RESNET20, _RESNET20_PAIR),
    *(_SLIDES_M1, _SLIDES_M2, _SLIDES_M3, _SLIDES_FINAL),
    *(_LAB_BASE, _LAB_FINAL),
)
