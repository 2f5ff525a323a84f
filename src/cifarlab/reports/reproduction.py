"""reproduction.html and reproduction.md: published systems, claimed figure beside measured figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cifarlab.files import write_text
from cifarlab.reports.document import Block, Bullets, Entries, Paragraph, Pictures, Section, Table, to_html, to_markdown
from cifarlab.reports.numbers import counted
from cifarlab.reports.reproduction_figures import ImagesOf, StudyResult, checked_study, draw_overview, draw_system
from cifarlab.reports.reproduction_rows import CellResult, FinishedRun, Row, collect_rows
from cifarlab.reports.reproduction_tables import class_table, main_table, protocol_table, runs_table, slips_table
from cifarlab.reports.reproduction_text import METHOD, protocol_sentences, why

_TITLE = "Published systems, claimed and measured"
_FOOTER = "Written by cifarlab reproduce from the run directories named above."


def write_reproduction(
    folder: Path,
    cells: Iterable[CellResult],
    *,
    images_of: ImagesOf | None = None,
    studies: Sequence[StudyResult] = (),
    command: str = "",
) -> tuple[Path, Path]:
    """Write reproduction.html and reproduction.md into `folder`, figures into folder/figures/<system>; returns the two paths.

    cells: every cell of the reproduction, finished or not; see `CellResult`. images_of: what a report may show of a run's data;
    without it the figures that need images are left out and named. studies: runs of the reports' parameter studies. command: how
    to repeat it. The same files give the same pages. Raises ValueError without a cell and as `collect_rows` does, RunError where
    a file cannot be written.
    """
    rows = collect_rows(cells)
    studies = [checked_study(study) for study in studies]
    if not rows:
        raise ValueError("a reproduction needs at least one cell")
    systems: dict[str, list[Row]] = {}
    for row in rows:
        systems.setdefault(row.system.name, []).append(row)
    sections = _sections(folder / "figures", rows, systems, images_of, studies, command)
    lead = _lead(rows)
    paths = folder / "reproduction.html", folder / "reproduction.md"
    write_text(paths[0], to_html(_TITLE, lead, sections, footer=f"{_FOOTER} The figures are in the folder figures/ beside it."))
    write_text(paths[1], to_markdown(_TITLE, lead, sections, footer=f"{_FOOTER} reproduction.html holds the figures, too."))
    return paths


def _sections(
    folder: Path,
    rows: Sequence[Row],
    systems: Mapping[str, Sequence[Row]],
    images_of: ImagesOf | None,
    studies: Sequence[StudyResult],
    command: str,
) -> list[Section]:
    missing = _missing(rows, studies)
    protocols = _protocols(systems)
    slips = slips_table(own[0].system for own in systems.values())
    return [
        Section("table", "Claimed and measured", (main_table(rows),)),
        Section("missing", "Without a result", (Bullets(tuple(missing)),) if missing else ()),
        Section("overview", "Overview", (Pictures(tuple(draw_overview(folder, systems))),)),
        Section("verdicts", "Why", (Entries(tuple(_named_why(row) for row in rows if row.done)),)),
        Section("protocols", "What looking at the test split was worth", protocols),
        *(_system_section(folder / name, own, images_of, studies) for name, own in systems.items()),
        Section("slips", "Wrong in print", (slips,) if slips is not None else ()),
        Section("method", "How it was measured", (Bullets(METHOD), *((Paragraph(f"Command: {command}"),) if command else ()))),
    ]


def _lead(rows: Sequence[Row]) -> str:
    done = sum(len(row.done) for row in rows)
    total = done + sum(len(row.missing) for row in rows)
    verdicts = [row.verdict for row in rows if row.verdict is not None]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ("agrees", "higher", "lower") if word in verdicts)
    found = f" Measured against claimed: {counts}." if counts else ""
    return f"{counted(len({row.system.name for row in rows}), 'system')}, {done} of {counted(total, 'run')} finished.{found}"


def _named_why(row: Row) -> tuple[str, str]:
    return f"{row.system.name}, {row.protocol_name}: {row.verdict_name}.", why(row)


def _missing(rows: Sequence[Row], studies: Sequence[StudyResult]) -> list[str]:
    lines = [f"{row.system.name}, {row.protocol_name}, seed {cell.seed}: {cell.reason}" for row in rows for cell in row.missing]
    failed = [study for study in studies if study.reason]
    return lines + [f"{study.system}, {study.quantity} {study.value:g}: {study.reason}" for study in failed]


def _protocols(systems: Mapping[str, Sequence[Row]]) -> tuple[Block, ...]:
    table = protocol_table(systems.values())
    if table is None:
        return ()
    said = {name: protocol_sentences(own) for name, own in systems.items()}
    return (table, Entries(tuple((f"{name}.", " ".join(sentences)) for name, sentences in said.items() if sentences)))


def _system_section(folder: Path, rows: Sequence[Row], images_of: ImagesOf | None, studies: Sequence[StudyResult]) -> Section:
    system = rows[0].system
    facts = [
        f"{system.report}, {system.source}. {system.training}.",
        f"Protocol of the report: {system.protocol}",
    ]
    if system.not_stated:
        facts.append(f"Not stated: {', '.join(system.not_stated)}.")
    first = next((run for row in rows for run in row.done), None)
    if first is not None:
        facts.append(f"Run as: {_recipe_line(first)}.")
    drawn, absent = draw_system(folder, rows, images_of=images_of, studies=studies)
    tables: list[Table | None] = [runs_table(rows), *(class_table(system, row) for row in rows)]
    blocks: list[Block] = [Bullets(tuple(facts)), *(table for table in tables if table is not None)]
    if drawn:
        blocks.append(Pictures(tuple(drawn)))
    if absent:
        blocks.append(Paragraph("Figures of the report that are not here: " + "; ".join(absent) + "."))
    return Section(system.name, f"{system.name}: {system.title}", tuple(blocks), link=system.name)


def _recipe_line(run: FinishedRun) -> str:
    """The choices of a run's recipe that a reader compares first."""
    parts = [f"{run.option('optim.name')}, learning rate {run.option('optim.lr'):g}", f"batch {run.option('train.batch_size')}"]
    parts.append(str(run.option("train.duration")))
    schedule = run.option("schedule.name")
    parts.append(f"schedule {schedule}" if schedule != "constant" else "constant rate")
    for key, name in (("optim.weight_decay", "weight decay"), ("optim.l2", "L2 penalty"), ("train.patience", "patience")):
        if run.option(key):
            parts.append(f"{name} {run.option(key):g}")
    augment = run.option("augment") or {}
    used = [
        f"{key} {value}"
        for key, value in augment.items()
        if key in ("flip", "translate", "shift", "rotate", "scale") and value not in (0, "none")
    ]
    parts.append("augmentation: " + ", ".join(used) if used else "no augmentation")
    precision = run.env.get("precision")
    if precision:
        parts.append(f"precision {precision}")
    parts.append(f"weights: {'best on validation' if run.option('train.select') == 'best' else 'last'}")
    return "; ".join(parts)
