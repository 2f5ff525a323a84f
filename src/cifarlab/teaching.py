"""`cifarlab explain` as functions: how a convolution computes, and what a trained network's filters and layers look like.

The package's own name `explain` is that of the arithmetic beneath (cifarlab.explain); these functions are taken from here:

    from cifarlab.teaching import explain_activations, explain_convolution, explain_filters
    lesson = explain_convolution("explain")                     # the worked example: numbers and pictures
    explain_filters("runs/demo").path                           # figures/filters_conv1.png of the run
    explain_activations("runs/demo", layer="conv1").values      # float32 [images, channels, height, width]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.api import Note, Run, arranged_again, load
from cifarlab.bundle import Predictor
from cifarlab.bundle.torch_engine import TorchEngine
from cifarlab.errors import ImageError, RunError, UsageError
from cifarlab.explain import (
    ConvolutionExample,
    PoolingExample,
    dense_activations,
    filter_examples,
    first_filters,
    pooling_examples,
    row_activations,
    volume_examples,
    window_examples,
)
from cifarlab.explain.convolution import INPUT, POOL
from cifarlab.figures import Grid, GridRow, plot_dense_activations, plot_filters, plot_layer_activations, plot_matrices
from cifarlab.runs import RunDirectory

IMAGES: Final = 3  # images of a run whose activations are shown where none are named
STRIPS: Final = 12  # images beside the outputs of the last dense layer
MOST_IMAGES: Final = 12
COLOURS: Final = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class ConvolutionLesson:
    """The worked example, and the pictures of it."""

    filters: Sequence[ConvolutionExample]
    windows: Sequence[ConvolutionExample]
    volumes: Sequence[ConvolutionExample]
    pooling: Sequence[PoolingExample]
    pictures: Sequence[Path]


@dataclass(frozen=True, eq=False)
class LayerPicture:
    """A picture of a layer: what is in it, float arrays, and where it lies."""

    layer: str
    values: NDArray[np.float32]
    path: Path


def explain_convolution(output: str | Path | None = None) -> ConvolutionLesson:
    """The 6 x 6 example: filters, padding and stride, a volume, pooling; with `output`, a folder, as pictures too."""
    filters, windows, volumes, pooling = filter_examples(), window_examples(), volume_examples(), pooling_examples()
    pictures: list[Path] = []
    if output is not None:
        folder = _folder(output)
        pictures = [
            plot_matrices([_row(one) for one in filters], folder / "filters.png", title="Four filters on one matrix"),
            plot_matrices([_row(one) for one in windows], folder / "padding_and_stride.png", title="Padding and stride"),
            plot_matrices(
                [row for one in volumes for row in _volume_rows(one)],
                folder / "volumes.png",
                title="Convolution over a volume of 6 x 6 x 3",
            ),
            plot_matrices(_pooling_rows(pooling), folder / "pooling.png", title="Pooling"),
        ]
    return ConvolutionLesson(filters, windows, volumes, pooling, pictures)


def explain_filters(model: str | Path, *, layer: str | None = None, output: str | Path | None = None) -> LayerPicture:
    """Draw the kernels of the first convolution (or of `layer`) of a run or bundle into the folder `output`, figures/ of a run without it.

    Raises UsageError for an unknown layer or a network without convolutions.
    """
    engine, predictor = _engine(model)
    name, weights = first_filters(engine.model, layer=layer)
    channels, height, width = weights.shape[1:]
    title = f"Filters of {name}, {height}x{width} over {channels} channels"
    path = plot_filters(weights, _place(model, output) / f"filters_{_safe(name)}.png", title=title, model=_title(model, predictor))
    return LayerPicture(name, weights, path)


def explain_activations(
    model: str | Path,
    *,
    layer: str | None = None,
    images: Sequence[str | Path] = (),
    output: str | Path | None = None,
    data_dir: str | Path | None = None,
    note: Note | None = None,
) -> LayerPicture:
    """Draw what a layer answers to images into the folder `output`, figures/ of a run without it.

    layer: a name of `cifarlab models show`; its values are those after the activation in its row. Without it, the outputs of the last
    dense layer, one strip an image. images: files; without them, images drawn from the run's validation split, or from its training
    split where it has none. Raises UsageError for an unknown layer, images that cannot be read.
    """
    engine, predictor = _engine(model)
    if layer is None and images:
        raise UsageError(
            "without --layer the strips of the last dense layer are drawn beside true classes, which image files do not have: name a layer"
        )
    if images:
        pixels, captions, labels = _read_images(predictor, images), [Path(image).name for image in images], None
    else:
        pixels, labels = _run_images(model, STRIPS if layer is None else IMAGES, data_dir, note)
        captions = [predictor.class_names[label] for label in labels]
    folder = _place(model, output)
    if layer is None:
        assert labels is not None
        return _strips(engine, predictor, pixels, labels, folder, _title(model, predictor))
    values, row = row_activations(engine.model, engine.preprocess, pixels, layer=layer)
    if values.ndim == 4 and values.shape[2] * values.shape[3] > 1:
        shape = f"{values.shape[2]}x{values.shape[3]}x{values.shape[1]}"
    else:  # without height and width, a unit is a channel of one position: [N, F] -> [N, F, 1, 1]
        values = values.reshape(len(values), -1, 1, 1)
        shape = f"{values.shape[1]} units"
    kind = layer if row is None else f"{layer} ({row.type})"
    path = folder / f"activations_{_safe(layer)}.png"
    plot_layer_activations(pixels, values, path, captions=captions, title=f"Output of {kind}, {shape}", model=_title(model, predictor))
    return LayerPicture(layer, values, path)


def _strips(
    engine: TorchEngine, predictor: Predictor, pixels: NDArray[np.uint8], labels: NDArray[np.int64], folder: Path, title: str
) -> LayerPicture:
    """The last dense layer's outputs beside the images; only where there is one a class."""
    try:
        values = dense_activations(engine.model, engine.preprocess, pixels)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if values.shape[1] != len(predictor.class_names):
        raise UsageError(f"the last dense layer has {values.shape[1]} outputs, not one a class; name a layer with --layer")
    path = plot_dense_activations(pixels, values, labels, predictor.class_names, folder / "activations_dense.png", model=title)
    return LayerPicture("dense", values, path)


def _engine(model: str | Path) -> tuple[TorchEngine, Predictor]:
    if (Path(model) / "status.json").exists():
        _check_weights(RunDirectory.open(Path(model)))
    predictor = load(model, device="cpu")
    assert isinstance(predictor.engine, TorchEngine)
    return predictor.engine, predictor


def _check_weights(run: RunDirectory) -> None:
    """Raise RunError where a run has come to its end, and its weights have been removed since."""
    there = any(run.weights_file(which).exists() for which in ("best", "last"))
    if run.status().get("state") == "done" and not there and not run.baseline_file.exists():
        raise RunError(
            f"{run.path} is done, but its weights file is missing: {run.weights_file('last')} does not exist. "
            "Put it back from a copy, or train again from its recipe.yaml"
        )


def _read_images(predictor: Predictor, images: Sequence[str | Path]) -> NDArray[np.uint8]:
    """uint8 [N, S, S, 3]; every file that cannot be read is named."""
    if len(images) > MOST_IMAGES:
        raise UsageError(f"{len(images)} images are too many for one picture; give at most {MOST_IMAGES}")
    read, problems = [], []
    for image in images:
        try:
            read.append(predictor.read(image))
        except ImageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return np.stack(read)


def _run_images(
    model: str | Path, count: int, data_dir: str | Path | None, note: Note | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images and labels of a run's validation split (of train without one), never of test, drawn at random with seed 0."""
    if not (Path(model) / "status.json").exists():
        raise UsageError(f"{model} is not a run directory, and so has no data of its own; name image files with --images")
    arranged = arranged_again(Run(model), data_dir, note=note)
    validation = arranged.validation
    dataset = arranged.train if validation is None or validation is arranged.test else validation
    chosen = np.sort(np.random.default_rng(0).permutation(len(dataset))[:count])
    return dataset.images[chosen], dataset.labels[chosen]


def _place(model: str | Path, output: str | Path | None) -> Path:
    """The folder that pictures go to."""
    if output is not None:
        return _folder(output)
    if (Path(model) / "status.json").exists():
        return Path(model) / "figures"
    raise UsageError(f"{model} is not a run directory: say with -o DIR where the picture is to go")


def _folder(output: str | Path) -> Path:
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"cannot write into {folder}: it is a file; -o takes a folder")
    return folder


def _title(model: str | Path, predictor: Predictor) -> str:
    """The run's name and its network."""
    return f"{Path(model).resolve().name}: {predictor.description['model']['name']}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


# -- pictures of the worked example -------------------------------------------------------------------------------


def _row(example: ConvolutionExample) -> GridRow:
    side, padding = example.kernel.shape[1], example.padding
    border = f" and a border of {padding}" if padding else ""
    grids = [
        Grid(example.padded[0], f"input {_times(example.image[0])}{border}", "image", border=padding, frame=(0, 0, side, side)),
        Grid(example.kernel[0], f"kernel {_times(example.kernel[0])}", "kernel", sign="∗"),
        Grid(example.output, f"output {_times(example.output)}", "output", sign="=", frame=(0, 0, 1, 1)),
    ]
    return GridRow(f"{example.name}: {example.meaning}", f"framed: {example.first}\nside: {example.size}", grids)


def _volume_rows(example: ConvolutionExample) -> list[GridRow]:
    """A row a channel, and the sum."""
    side = example.kernel.shape[1]
    rows = []
    for channel, colour in enumerate(COLOURS):
        grids = [
            Grid(example.image[channel], colour, "image", frame=(0, 0, side, side)),
            Grid(example.kernel[channel], f"kernel for {colour}", "kernel", sign="∗"),
            Grid(example.parts[channel], f"what {colour} adds", "output", sign="=", frame=(0, 0, 1, 1)),
        ]
        if channel == len(COLOURS) - 1:
            grids.append(Grid(example.output, "sum of the three", "output", sign="Σ", frame=(0, 0, 1, 1)))
        rows.append(GridRow(f"{example.name}: {colour}" if channel == 0 else colour, example.meaning if channel == 0 else "", grids))
    return rows


def _pooling_rows(examples: Sequence[PoolingExample]) -> list[GridRow]:
    local = [one for one in examples if one.size]
    wide = [one for one in examples if not one.size]
    image = np.array(INPUT, dtype=np.float64)
    first = Grid(image, f"input {_times(image)}", "image", frame=(0, 0, POOL, POOL))
    peak = float(image.max())  # one scale for all: a pooled number has the colour that it has in the input

    def results(pools: Sequence[PoolingExample], frame: tuple[int, int, int, int] | None) -> list[Grid]:
        signs = ["→", *[""] * (len(pools) - 1)]
        named = zip(pools, signs, strict=True)
        return [Grid(one.output, one.name.removeprefix("global "), "image", sign=sign, frame=frame, peak=peak) for one, sign in named]

    return [
        GridRow(f"{POOL} x {POOL} windows, stride {POOL}", f"side: {local[0].size}", [first, *results(local, (0, 0, 1, 1))]),
        GridRow("global pooling", wide[0].meaning, [Grid(image, "input", "image", frame=(0, 0, *image.shape)), *results(wide, None)]),
    ]


def _times(matrix: NDArray[Any]) -> str:
    return "x".join(map(str, matrix.shape))
