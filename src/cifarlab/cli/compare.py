"""`cifarlab compare`: which of several runs is better, and does that hold?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarlab.cli.options import AsJson, DataDir, Device, Threads, use_threads

WIDE = 120  # characters of a terminal that holds every column
MOST_SENTENCES = 10  # more pairs than these are told in the table only

if TYPE_CHECKING:
    from cifarlab.reports.comparison_rows import Comparison


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories; seeds of one recipe count together.")],
    split: Annotated[str, typer.Option("--split", metavar="test|validation", help="On which images.")] = "test",
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="RUN", help="Compare every recipe with this run's only (default: all pairs).")
    ] = None,
    resamples: Annotated[int, typer.Option("--resamples", metavar="N", help="Draws of the bootstrap, 1000 to 1000000.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the bootstrap.")] = 0,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Make missing predictions of the test split, too; each reading is counted.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write comparison.html with its figures into this folder.")
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Compare finished runs on the same images: scores side by side, and for each pair a tested difference with its 95 % interval.

    Runs whose recipes differ in the seed alone are one group, and its accuracy is their mean.
    """
    use_threads(threads)
    from cifarlab.cli.terminal import note, write_json_out
    from cifarlab.comparison import compare as compare_runs

    with _Bars() as bars:
        result = compare_runs(
            runs,
            split=split,
            baseline=baseline,
            resamples=resamples,
            seed=seed,
            output=output,
            evaluate=evaluate,
            data_dir=data_dir,
            device=device,
            note=note,
            progress=bars.follow,
        )
    if as_json:
        from cifarlab.reports.comparison import comparison_json

        write_json_out(comparison_json(result))
    else:
        _print(result)
    note(f"page: {result.page}" if result.page is not None else "for a page with figures, add: -o DIR")


class _Bars:
    """A bar for each evaluation, one after the other."""

    def __enter__(self) -> _Bars:
        import contextlib

        self._stack = contextlib.ExitStack()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def follow(self, name: str) -> Any:
        """A callback (done, total) for the evaluation of `name`."""
        from cifarlab.cli.progress import count_progress

        self._stack.close()
        return self._stack.enter_context(count_progress(f"evaluating {name}"))


def _print(result: Comparison) -> None:
    import shutil
    import sys
    import textwrap

    from cifarlab.cli.terminal import write_table
    from cifarlab.reports.comparison_tables import difference_table, notes, pair_table, score_table

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    scores, differing, pairs = score_table(result), difference_table(result), pair_table(result)
    # On a narrow terminal every column would lose its end; the page and --json have all of them.
    dropped = ("better",) if width >= WIDE else ("better", "MSE", "only first right", "only second right")
    head, rows = _without(dropped, scores.head, scores.rows)
    write_table(["ECE" if name == "calibration error" else name for name in head], rows, title=scores.caption, right=[*head[2:], "ECE"])
    write_table(differing.head, differing.rows, title="What differs")
    head, rows = _without(dropped, pairs.head, pairs.rows)
    rows = [[row[0].replace(" − ", "\n− "), *row[1:]] for row in rows]
    write_table(head, rows, title=pairs.caption, right=[name for name in head if name != "pair"])
    said = list(result.verdicts) if len(result.pairs) == 1 else [pair.sentence for pair in result.pairs[:MOST_SENTENCES]]
    if len(said) < len(result.pairs):
        said.append(f"{len(result.pairs) - len(said)} more pairs are in the table; --baseline RUN compares with one run only.")
    for sentence in [*said, *(f"Note: {line}" for line in notes(result))]:
        lines = textwrap.fill(sentence, width=min(100, width), break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")
        typer.echo(lines)


def _without(dropped: Sequence[str], head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    kept = [place for place, name in enumerate(head) if name not in dropped]
    return [head[place] for place in kept], [[row[place] for place in kept] for row in rows]
