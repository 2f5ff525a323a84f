"""sweep.html and sweep.md: a study's points with their uncertainty, and what they can and cannot show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cifarlab import figures
from cifarlab.errors import RunError
from cifarlab.figures import SeedMean, SweepMark
from cifarlab.figures.studies import MOST_LINES
from cifarlab.files import write_json, write_text
from cifarlab.paired import LEVEL
from cifarlab.reports.document import Block, Bullets, Notice, Paragraph, Picture, Pictures, Section, Table, to_html, to_markdown
from cifarlab.reports.numbers import duration, p_text, points
from cifarlab.reports.seed_noise import compare_points, mean_interval
from cifarlab.reports.sweep_points import (
    SWEEP_FILE,
    SweepFacts,
    SweepPoint,
    SweepResult,
    collect_sweep,
    group_by_line,
    numbers_of,
    value_text,
)
from cifarlab.reports.sweep_text import capitalized, conclusion, lead, method, notices

_NONE = "-"
_FOOTER = "Written by cifarlab sweep from the run directories beside it."


def write_sweep(folder: Path, facts: SweepFacts) -> tuple[SweepResult, Path, Path]:
    """Write sweep.json, sweep.html and sweep.md into `folder`, where the runs lie, and figures into folder/figures.

    Returns what the runs say and the two pages' paths. The same files give the same pages. Raises RunError where a file cannot
    be written.
    """
    write_json(folder / SWEEP_FILE, facts.to_json())
    result = collect_sweep(folder, facts)
    pictures = draw_sweep(result, folder / "figures", "sweep", suffix=".png")
    sections = _sections(result, pictures)
    title = facts.title or f"Sweep of {facts.recipe}"
    paths = folder / "sweep.html", folder / "sweep.md"
    write_text(paths[0], to_html(title, lead(result), sections, footer=f"{_FOOTER} The figures are in the folder figures/ beside it."))
    write_text(paths[1], to_markdown(title, lead(result), sections, footer=_FOOTER, folder=folder))
    return result, *paths


def read_sweep(folder: Path) -> SweepFacts:
    """The description that `write_sweep` left in `folder`; raises RunError where there is none or it is damaged."""
    path = folder / SWEEP_FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: a JSON object was expected")
    return SweepFacts.from_json(value, source=path)


def write_studies(output: Path, folders: Sequence[Path], *, missing: Sequence[str] = ()) -> Path:
    """One Markdown page of several sweeps, each with table, figures and conclusion; SVG figures go to a folder named after `output`.

    missing: names of studies that were not run. Raises RunError where a sweep cannot be read or a file cannot be written.
    """
    sections = []
    for folder in folders:
        facts = read_sweep(folder)
        result = collect_sweep(folder, facts)
        pictures = draw_sweep(result, output.parent / output.stem.lower(), facts.name, suffix=".svg")
        blocks = [Paragraph(lead(result)), *_result_blocks(result, pictures), Bullets(method(result))]
        if lines := _missing(result):
            blocks += [Paragraph("Without a result:"), Bullets(lines)]
        if facts.command:
            blocks.append(Paragraph(f"Command: {facts.command}"))
        sections.append(Section(facts.name, facts.title or facts.name, tuple(blocks)))
    if missing:
        lines = tuple(f"{name}: cifarlab sweep {name}" for name in missing)
        sections.append(Section("missing", "Not run yet", (Bullets(lines),)))
    text = (
        f"{len(folders)} {'study' if len(folders) == 1 else 'studies'}: means over seeds, their intervals, and what they can and cannot "
        "show. Nothing is chosen on the test split."
    )
    footer = "Written by cifarlab sweep from the run directories; make it again with the commands above."
    write_text(output, to_markdown("Studies", text, sections, footer=footer, folder=output.parent))
    return output


def sweep_summary(result: SweepResult) -> dict[str, Any]:
    """A sweep for scripts: what must not be missed of it, its conclusion, the table as shown, and every point with its figures."""
    table = result_table(result)
    points_of = [
        {
            "values": dict(zip(result.facts.keys, point.values, strict=True)),
            "n": len(point.done),
            "best": point is result.best,
            "tied": point in result.tied,
            "accuracy": point.accuracy._asdict() if point.done else None,
            "loss": point.loss._asdict() if point.done else None,
            "accuracies": {str(run.seed): value for run, value in zip(point.done, point.accuracies("validation"), strict=True)},
            **({"test_accuracy": mean_interval(point.accuracies("test"), most=1.0)._asdict()} if result.facts.test and point.done else {}),
            "seconds": point.seconds,
        }
        for point in result.points
    ]
    return {
        "name": result.facts.name,
        "shortened": result.facts.shortened,
        "points": points_of,
        "notices": notices(result),
        "conclusion": conclusion(result),
        "table": {"head": list(table.head), "rows": [list(row) for row in table.rows]},
    }


# -- pictures ------------------------------------------------------------------------------------------------------------


def draw_sweep(result: SweepResult, folder: Path, stem: str, *, suffix: str) -> list[Picture]:
    """The study's picture, on test too where that was read, and the curves of its best point; without a finished run, none."""
    drawn: list[Picture] = []
    facts, best = result.facts, result.best
    if best is None:
        return drawn
    note = capitalized(facts.shortened)
    lines = group_by_line(result)
    if facts.keys and len(lines) <= MOST_LINES:
        for split in ("validation", "test") if facts.test else ("validation",):
            path = folder / f"{stem}{'-test' if split == 'test' else ''}{suffix}"
            _draw_study(result, lines, path, split, note)
            drawn.append(Picture(path, _study_caption(result, split)))
    if any(run.epochs for run in best.done):
        path = folder / f"{stem}-curves{suffix}"
        title = f"Best on validation: {result.named(best)}"
        figures.plot_seed_curves([run.epochs for run in best.done], path, title=title, note=note)
        runs = f"{len(best.done)} runs, thick their mean" if len(best.done) > 1 else "one run"
        drawn.append(Picture(path, f"Accuracy and loss over the epochs of the best point, {result.named(best)}: {runs}."))
    return drawn


def _draw_study(result: SweepResult, lines: dict[str, list[SweepPoint]], path: Path, split: str, note: str) -> None:
    facts = result.facts
    together = facts.layout == "list" and len(facts.keys) > 1
    if together:  # values side by side belong to each other
        lines = {"": list(result.done)}
    values = {_key(value): value for value in (point.values if together else point.values[0] for point in result.points)}
    numbers = None if together else numbers_of(list(values.values()))
    places = dict(zip(values, numbers if numbers is not None else map(float, range(len(values))), strict=True))
    ticks = {place: value_text(values[key]).removesuffix("ep" if numbers else "") for key, place in places.items()}

    def mark(point: SweepPoint) -> SweepMark:
        place = places[_key(point.values if together else point.values[0])]
        return SweepMark(place, _mean(point.accuracies(split), most=1.0), _mean(point.losses(split)), point is result.best)

    figures.plot_sweep(
        {label: [mark(point) for point in line] for label, line in lines.items()},
        facts.label or ", ".join(result.short_keys if together else result.short_keys[:1]),
        path,
        ticks=ticks,
        split=split,
        title=facts.title,
        note=note,
        numeric=numbers is not None,
    )


def _key(value: object) -> str:
    """A varied value as a key: lists and mappings, such as the parts that freeze, have no hash."""
    return json.dumps(value)


def _mean(values: Sequence[float], *, most: float = float("inf")) -> SeedMean:
    mean = mean_interval(values, most=most)
    return SeedMean(mean.mean, mean.low, mean.high, tuple(values))


def _study_caption(result: SweepResult, split: str) -> str:
    counts = sorted({len(point.done) for point in result.done})
    n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
    bars = (
        "bars: 95 % interval of the mean (Student's t); open dots: single runs; ring: best on validation"
        if counts[-1] > 1
        else "single runs, without intervals"
    )
    short = f" {capitalized(result.facts.shortened)}." if result.facts.shortened else ""
    return f"{split.capitalize()} accuracy and loss against {', '.join(result.short_keys)}: means over the seeds, {n}; {bars}.{short}"


# -- tables --------------------------------------------------------------------------------------------------------------


def _sections(result: SweepResult, pictures: Sequence[Picture]) -> list[Section]:
    facts = result.facts
    missing = _missing(result)
    how: list[Block] = [Bullets(method(result))]
    if facts.command:
        how.append(Paragraph(f"Command: {facts.command}"))
    differences = difference_table(result)
    return [
        Section("result", "Result", _result_blocks(result, pictures)),
        Section("differences", "Differences between points", (differences,) if differences is not None else ()),
        Section("missing", "Without a result", (Bullets(missing),) if missing else ()),
        Section("method", "How it was measured", tuple(how)),
    ]


def _missing(result: SweepResult) -> tuple[str, ...]:
    return tuple(f"{run.name}: {run.reason or 'not run'}" for point in result.points for run in point.missing)


def _result_blocks(result: SweepResult, pictures: Sequence[Picture]) -> tuple[Block, ...]:
    shown = [Pictures(tuple(pictures))] if pictures else []
    told = [Paragraph(text) for text in ([result.facts.note] if result.facts.note and not result.facts.shortened else [])]
    warned = [Notice(text) for text in notices(result)]
    return (*warned, *told, Bullets(tuple(conclusion(result))), *shown, result_table(result))


def result_table(result: SweepResult) -> Table:
    """One row a point: n, mean, sd and interval of the accuracy, loss, and seconds of a run; test figures where they were read."""
    facts = result.facts
    head = [*(result.short_keys or ("recipe",)), "n", "Accuracy %", "sd", "95 % interval", "Loss", "Loss sd"]
    head += ["Test accuracy %", "Test sd", "Test loss"] if facts.test else []
    head.append("Time a run")
    rows = []
    for point in result.points:
        cells = [value_text(value) for value in point.values] or [facts.recipe]
        if point is result.best:
            cells[0] += " (best, tied)" if result.tied else " (best)"
        elif point in result.tied:
            cells[0] += " (tied)"
        rows.append((*cells, *_row(point, test=facts.test)))
    caption = "Validation figures; the best point has the highest mean accuracy on validation."
    short = f" {capitalized(facts.shortened)}." if facts.shortened else ""
    return Table(tuple(head), tuple(rows), caption=caption + short)


def _row(point: SweepPoint, *, test: bool) -> list[str]:
    if not point.done:
        return ["0", *[_NONE] * (9 if test else 6)]
    accuracy, loss = point.accuracy, point.loss
    interval = _NONE
    if accuracy.low is not None and accuracy.high is not None and accuracy.sd:  # seeds that agree measure no noise
        interval = f"{100 * accuracy.low:.2f} to {100 * accuracy.high:.2f}"
    cells = [str(accuracy.n), f"{100 * accuracy.mean:.2f}", _sd(accuracy.sd, 100), interval, f"{loss.mean:.4f}", _sd(loss.sd, 1)]
    if test:
        on_test, its_loss = mean_interval(point.accuracies("test"), most=1.0), mean_interval(point.losses("test"))
        cells += [f"{100 * on_test.mean:.2f}", _sd(on_test.sd, 100), f"{its_loss.mean:.4f}"]
    return [*cells, duration(point.seconds) if point.seconds is not None else _NONE]


def _sd(value: float | None, scale: float) -> str:
    return _NONE if value is None else f"{scale * value:.{2 if scale == 100 else 4}f}"


def difference_table(result: SweepResult) -> Table | None:
    """Every pair of points that were compared, largest difference first; None where none was."""
    done = result.done
    corrected = compare_points([point.accuracies("validation") for point in done])
    if not corrected:
        return None
    rows = []
    for (i, j), p in corrected.items():
        high, low = (done[i], done[j]) if done[i].accuracy.mean >= done[j].accuracy.mean else (done[j], done[i])
        gap = high.accuracy.mean - low.accuracy.mean
        rows.append((gap, (f"{result.named(high)} above {result.named(low)}", points(gap), p_text(p), "yes" if p < LEVEL else "no")))
    rows.sort(key=lambda row: -row[0])
    caption = f"Differences of mean validation accuracy, in points; shown at {100 * LEVEL:.0f} % for all pairs together (Welch, Holm)."
    return Table(("Pair", "Points", "p, corrected", "Shown"), tuple(row for _, row in rows), caption=caption)
