"""`cifarlab models`: the networks that recipes can name, and one of them layer by layer."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from cifarlab.cli.options import AsJson
from cifarlab.errors import nearest

if TYPE_CHECKING:
    from cifarlab.models.summary import LayerRow
    from cifarlab.published import Slip

LARGEST_SIDE = 512  # pixels, as in a recipe
MOST_CLASSES = 10_000
GAP = 3  # blanks between the columns of a table
READABLE = 90  # columns of a terminal under which what a network is would stand in a column of a few words


class _NameOrCommand(TyperGroup):
    """`cifarlab models lab-base` is `cifarlab models show lab-base`, as `cifarlab recipes fast` shows a recipe."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and nearest(args[0], self.commands) is None:
            args = ["show", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_NameOrCommand, invoke_without_command=True)


@app.callback()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the networks with their size at 32 x 32 pixels and 10 classes, or show one layer by layer."""
    if context.invoked_subcommand is not None:
        return
    from cifarlab.cli.terminal import note, write_json_out, write_table
    from cifarlab.models import measure_model, model_arguments, model_names, model_summary
    from cifarlab.models.arithmetic import grouped
    from cifarlab.models.summary import blank_model

    rows: list[dict[str, Any]] = []
    with _one_thread():
        sizes = {name: measure_model(blank_model(name)) for name in model_names()}
    for name, size in sizes.items():
        rows.append(
            {
                "name": name,
                "parameters": size.parameters,
                "trainable": size.trainable,
                "multiply_adds": size.multiply_adds,
                "depth": size.depth,
                "arguments": model_arguments(name),
                "summary": model_summary(name),
            }
        )
    if as_json:
        write_json_out(rows)
        return
    columns = ["name", "parameters", "multiply-adds", "depth", "what it is"]
    rows.sort(key=lambda row: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", row["name"])])
    cells = [
        [r["name"], grouped(r["parameters"]), grouped(r["multiply_adds"]), str(r["depth"]), _without_count(r["summary"])] for r in rows
    ]
    if _columns() < READABLE:
        _drop_last(columns, cells)
    write_table(columns, cells, right=("parameters", "multiply-adds", "depth"))
    if len(columns) < 5:
        note("what they are: in a wider terminal, or with: cifarlab models show NAME")


@app.command("show")
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Network, as `cifarlab models` lists it.")],
    explain: Annotated[bool, typer.Option("--explain", help="Add the arithmetic of each layer, and what is wrong in print.")] = False,
    image_size: Annotated[int, typer.Option("--image-size", metavar="N", min=1, max=LARGEST_SIDE, help="Side of the images, pixels.")] = 32,
    classes: Annotated[int, typer.Option("--classes", metavar="N", min=1, max=MOST_CLASSES, help="Number of classes.")] = 10,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one argument of the network, such as width=4; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a network layer by layer: output shape (height x width x channels), parameters, receptive field, multiply-adds."""
    from cifarlab.cli.terminal import write_json_out
    from cifarlab.config import parse_assignments
    from cifarlab.models import model_arguments, model_summary
    from cifarlab.models.summary import blank_model, summarize_model
    from cifarlab.published import slips_of

    arguments = parse_assignments(settings or [])
    with _one_thread():
        model = blank_model(name, num_classes=classes, image_size=image_size, arguments=arguments)
        rows = summarize_model(model, image_size=image_size)
    slips = slips_of(name) if explain else ()
    if as_json or (context.parent is not None and context.parent.params.get("as_json")):
        head = {"name": name, "summary": model_summary(name), "arguments": {**model_arguments(name), **arguments}}
        write_json_out({**head, "image_size": image_size, "classes": classes, **_as_json(rows, slips, explain=explain)})
        return
    _print_wrapped(f"{name}: {model_summary(name)}")
    changed = "".join(f", {key}={value}" for key, value in arguments.items())
    _print_layers(f"input {image_size}x{image_size}x3, {classes} class{'es' if classes != 1 else ''}{changed}", rows)
    _print_totals(rows, _published_total(name) if (image_size, classes, arguments) == (32, 10, {}) else "")
    if explain:
        _print_arithmetic(rows, slips)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one core: one image gains nothing from more, and beside a training they would wait for each other for minutes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _totals(rows: list[LayerRow]) -> dict[str, int]:
    """What Keras prints below its summary, and what measure_model counts besides."""
    return {
        "parameters": sum(row.parameters for row in rows),
        "trainable": sum(row.trainable for row in rows),
        "non_trainable": sum(row.frozen for row in rows),
        "multiply_adds": sum(row.multiply_adds for row in rows),
        "depth": sum(row.multiply_adds > 0 for row in rows),
    }


def _as_json(rows: list[LayerRow], slips: tuple[Slip, ...], *, explain: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from cifarlab.models.arithmetic import explain_layer

    layers = []
    for row in rows:
        layer: dict[str, Any] = {
            "name": row.name,
            "type": row.type,
            "output_shape": list(row.output_shape),
            "parameters": row.parameters,
            "trainable": row.trainable,
            "non_trainable": row.frozen,
            "receptive_field": row.receptive_field,
            "multiply_adds": row.multiply_adds,
        }
        layers.append(layer | ({"arithmetic": explain_layer(row)} if explain else {}))
    return {"layers": layers, **_totals(rows), **({"wrong_in_print": [asdict(slip) for slip in slips]} if explain else {})}


def _without_count(summary: str) -> str:
    """A network's summary without its number of parameters, which has a column of its own."""
    return re.sub(r"[:;,] (about )?[\d ]+(million )?parameters[^;.]*", "", summary)


def _columns() -> int:
    """Width of the terminal; unlimited where the output goes to a pipe or file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000


def _drop_last(columns: list[str], cells: list[list[str]]) -> None:
    for line in (columns, *cells):
        line.pop()


def _print_layers(title: str, rows: list[LayerRow]) -> None:
    from cifarlab.cli.terminal import note, write_table
    from cifarlab.models.arithmetic import grouped

    columns = ["", "layer", "type", "output", "params", "field", "multiply-adds"]
    cells, around = [], ""
    for number, row in enumerate(rows, start=1):
        outer, dot, inner = row.name.partition(".")
        if dot and outer != around:
            cells.append(["", outer, *[""] * 5])
        around = outer
        figures = [grouped(row.parameters), str(row.receptive_field), grouped(row.multiply_adds)]
        cells.append([str(number), f" {inner}" if dot else outer, row.type, _shape(row), *figures])
    width = sum(max(map(len, column)) + GAP for column in zip(columns, *cells, strict=True))
    if width > _columns():
        _drop_last(columns, cells)
    write_table(columns, cells, title=title, right=("", *columns[4:]))
    if len(columns) < 7:
        note("multiply-adds of each layer: in a wider terminal, or with --explain or --json")


def _shape(row: LayerRow) -> str:
    return "x".join(map(str, row.output_shape))


def _published_total(name: str) -> str:
    """The count of parameters that a report prints of this network, where one does."""
    from cifarlab.models.arithmetic import grouped
    from cifarlab.published import published_systems

    for system in published_systems():
        if system.network == name and system.parameters is not None and system.parameters.printed:
            count = system.parameters
            frozen = f", {grouped(count.frozen)} of them non-trainable" if count.frozen else ""
            return f"{grouped(count.total)}{frozen} ({system.source})"
    return ""


def _print_totals(rows: list[LayerRow], published: str) -> None:
    from cifarlab.models.arithmetic import grouped

    totals = _totals(rows)
    lines = [
        ("total parameters", f"{grouped(totals['parameters'])} ({4 * totals['parameters'] / 2**20:.2f} MiB in float32)"),
        ("trainable", grouped(totals["trainable"])),
        ("non-trainable", grouped(totals["non_trainable"])),
        *([("published", published)] if published else []),
        ("multiply-adds", f"{grouped(totals['multiply_adds'])} an image"),
        ("depth", f"{totals['depth']} layers with weights (convolutions and dense)"),
    ]
    for label, text in lines:
        typer.echo(f"{label:<18}{text}")
    typer.echo("field: receptive field, side in pixels of what one position sees, or the image")


def _print_arithmetic(rows: list[LayerRow], slips: tuple[Slip, ...]) -> None:
    from cifarlab.models.arithmetic import explain_layer

    typer.echo("\noutput: (W - F + 2P)/S + 1 with width W, kernel F, padding P on each side, stride S")
    typer.echo("receptive field: r + (F - 1)*j with the r of the layer before and j pixels between its neighbours")
    for number, row in enumerate(rows, start=1):
        typer.echo(f"\n{number:3}  {row.name}: {row.type} -> {_shape(row)}")
        for label, text in explain_layer(row).items():
            _print_under(label, text)
        for slip in slips:
            if slip.layer == row.name:
                _print_under("wrong in print", _told(slip))
    names = {row.name for row in rows}
    for slip in slips:
        if slip.layer not in names:  # of the whole, or of a layer that this variant does not have
            typer.echo()
            _print_under("wrong in print", f"{slip.where}: {_told(slip)}")


def _told(slip: Slip) -> str:
    return f"{slip.printed}; right: {slip.right}. {slip.why[0].upper()}{slip.why[1:]}"


def _print_under(label: str, text: str) -> None:
    _print_wrapped(text, first=f"     {label:<15}  ")


def _print_wrapped(text: str, *, first: str = "") -> None:
    """A line that begins with `first`; on a terminal it is wrapped under the end of that beginning, numbers left whole."""
    whole = re.sub(r"(?<=\d) (?=\d{3}\b|%)", "\N{NO-BREAK SPACE}", text)
    lines = textwrap.fill(whole, width=max(_columns(), 60), initial_indent=first, subsequent_indent=" " * len(first))
    typer.echo(lines.replace("\N{NO-BREAK SPACE}", " "))
