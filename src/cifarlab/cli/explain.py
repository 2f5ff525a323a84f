"""`cifarlab explain`: how a convolution computes, and what a trained network's filters and layers look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarlab.cli.options import AsJson, DataDir

if TYPE_CHECKING:
    from cifarlab.explain import ConvolutionExample

app = typer.Typer(no_args_is_help=True)

Model = Annotated[str, typer.Argument(metavar="RUN", help="Run directory or bundle, such as runs/demo.")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for the picture (default: figures/ of the run).")
]


@app.callback()
def explain() -> None:
    """See how a convolutional network works: the arithmetic, and a trained network's filters and layers."""


@app.command("conv")
def conv(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the pictures.")] = Path("explain"),
    as_json: AsJson = False,
) -> None:
    """Filters, padding, stride, volumes and pooling on a 6 x 6 matrix: every number, and pictures.

    The matrix and the result of the vertical filter are those of a published report. PyTorch's layers compute all of it.
    """
    from cifarlab.cli.terminal import note, write_json_out
    from cifarlab.teaching import explain_convolution

    lesson = explain_convolution(output)
    if as_json:
        write_json_out(_as_json(lesson))
    else:
        _print_lesson(lesson)
    for picture in lesson.pictures:
        note(f"picture: {picture}")


@app.command("filters")
def filters(
    run: Model,
    layer: Annotated[str | None, typer.Option("--layer", metavar="NAME", help="A convolution (default: the first one).")] = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Draw the filters of a trained network's first convolution: RGB tiles where it sees colours. Print the picture's path."""
    from cifarlab.teaching import explain_filters

    _say(explain_filters(run, layer=layer, output=output), as_json=as_json)


@app.command("activations")
def activations(
    run: Model,
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="NAME", help="A layer of `cifarlab models show` (default: the last dense one).")
    ] = None,
    images: Annotated[
        list[str] | None, typer.Option("--images", metavar="FILE", help="An image file; repeatable (default: from the run's validation).")
    ] = None,
    output: Output = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Draw what a layer of a trained network answers to images, channel by channel. Print the picture's path."""
    from cifarlab.cli.terminal import note
    from cifarlab.teaching import explain_activations

    picture = explain_activations(run, layer=layer, images=images or [], output=output, data_dir=data_dir, note=note)
    _say(picture, as_json=as_json)


def _say(picture: Any, *, as_json: bool) -> None:
    from cifarlab.cli.terminal import write_json_out

    if not as_json:
        typer.echo(str(picture.path))
        return
    values = picture.values
    summary = {"smallest": float(values.min()), "mean": float(values.mean()), "largest": float(values.max())}
    write_json_out({"layer": picture.layer, "shape": list(values.shape), **summary, "picture": str(picture.path)})


# -- the worked example as text -----------------------------------------------------------------------------------


def _print_lesson(lesson: Any) -> None:
    typer.echo("Cross-correlation, as in every convolutional network: the kernel is laid on the")
    typer.echo("input as it is, not turned by 180 degrees; the products are added up.")
    _print_heading("Filters: no padding (valid), stride 1")
    for example in lesson.filters:
        _print_convolution(example)
    _print_heading("Padding and stride: (W - F + 2P)/S + 1")
    for example in lesson.windows:
        _print_convolution(example)
    _print_heading("Volumes: 6x6x3, red is the matrix, green its transpose, blue its mirror image")
    for example in lesson.volumes:
        _print_volume(example)
    typer.echo("\nTwo filters give two matrices: an output of 4x4x2.")
    _print_heading("Pooling")
    for pool in lesson.pooling:
        typer.echo(f"\n{pool.name}: {pool.meaning}" + (f"; side {pool.size}" if pool.size else ""))
        typer.echo("\n".join("    " + line for line in _lines(pool.output)))


def _print_heading(text: str) -> None:
    typer.echo(f"\n{text}\n{'=' * len(text)}")


def _print_convolution(example: ConvolutionExample) -> None:
    typer.echo(f"\n{example.name}: {example.meaning}")
    typer.echo(_beside([_lines(example.padded[0]), _lines(example.kernel[0]), _lines(example.output)], "*="))
    typer.echo(f"    side: {example.size}")
    _print_sum(example)


def _print_volume(example: ConvolutionExample) -> None:
    typer.echo(f"\n{example.name}: {example.meaning}")
    for colour, image, kernel, part in zip(("red", "green", "blue"), example.image, example.kernel, example.parts, strict=True):
        typer.echo(f"  {colour}")
        typer.echo(_beside([_lines(image), _lines(kernel), _lines(part)], "*="))
    typer.echo("  sum of the three")
    typer.echo("\n".join("    " + line for line in _lines(example.output)))


def _print_sum(example: ConvolutionExample) -> None:
    """The sum behind the first number, wrapped into 80 columns at its plus signs."""
    import textwrap

    whole = example.first.replace(" + ", "\N{NO-BREAK SPACE}+ ")
    lines = textwrap.wrap(whole, width=76, initial_indent="    first: ", subsequent_indent=" " * 11, break_on_hyphens=False)
    typer.echo("\n".join(lines).replace("\N{NO-BREAK SPACE}", " "))


def _lines(matrix: Any) -> list[str]:
    """A matrix as lines of equal width, its columns right-aligned."""
    from cifarlab.explain.convolution import number

    texts = [[number(float(value)) for value in row] for row in matrix]
    decimals = max(len(text.partition(".")[2]) for row in texts for text in row)
    cells = [[f"{float(text):.{decimals}f}" for text in row] for row in texts]
    width = max(len(cell) for row in cells for cell in row)
    return [" ".join(cell.rjust(width) for cell in row) for row in cells]


def _beside(blocks: Sequence[list[str]], signs: str) -> str:
    """Blocks of lines side by side, centred from top to bottom, with a sign between each two."""
    tall = max(len(block) for block in blocks)
    rows = []
    for line in range(tall):
        parts = []
        for index, block in enumerate(blocks):
            place = line - (tall - len(block)) // 2
            parts.append(block[place] if 0 <= place < len(block) else " " * len(block[0]))
            if index < len(signs):
                parts.append(signs[index] if line == (tall - 1) // 2 else " ")
        rows.append("    " + "  ".join(parts).rstrip())
    return "\n".join(rows)


def _as_json(lesson: Any) -> dict[str, Any]:
    def convolution(one: ConvolutionExample) -> dict[str, Any]:
        return {
            "name": one.name,
            "input": one.image.tolist(),
            "kernel": one.kernel.tolist(),
            "stride": one.stride,
            "padding": one.padding,
            "parts": one.parts.tolist(),
            "output": one.output.tolist(),
            "size": one.size,
            "first": one.first,
        }

    groups = {"filters": lesson.filters, "padding_and_stride": lesson.windows, "volumes": lesson.volumes}
    return {
        "operation": "cross-correlation",
        **{name: [convolution(one) for one in examples] for name, examples in groups.items()},
        "pooling": [{"name": one.name, "output": one.output.tolist(), "size": one.size} for one in lesson.pooling],
        "pictures": [str(picture) for picture in lesson.pictures],
    }
