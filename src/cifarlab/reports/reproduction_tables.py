"""The tables of a reproduction: claimed beside measured for all systems, and what belongs to one system alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from cifarlab.published import Claim, PublishedSystem
from cifarlab.reports.document import PerFormat, Table
from cifarlab.reports.numbers import between, duration, grouped, percent, points
from cifarlab.reports.reproduction_rows import FinishedRun, Row, difference_of_protocols

NONE = "-"  # not stated, not measured
_SHORT = 18  # characters
_SCORES = ("precision", "recall", "f1")


def main_table(rows: Sequence[Row]) -> PerFormat:
    """Claimed beside measured: one table with cells of several lines in HTML, three narrow ones in Markdown."""
    return PerFormat(html=(_wide_table(rows),), markdown=(_accuracy_table(rows), _loss_table(rows), _cost_table(rows)))


def _wide_table(rows: Sequence[Row]) -> Table:
    head = (
        "System",
        "Protocol",
        "Claimed accuracy",
        "Measured accuracy",
        "Verdict",
        "Claimed loss",
        "Measured loss",
        "Claimed time",
        "Measured time",
    )
    return Table(head, tuple(tuple(map(_unbroken, _wide_row(row))) for row in rows), kind="lines")


def _wide_row(row: Row) -> tuple[str, ...]:
    claim = row.system.headline
    identity = _lines(row.system.name, row.system.title, _parameters(row))
    claimed_loss = _lines(_loss(claim), f"MSE {claim.mse:.4f}" if claim.mse is not None else "")
    claimed_time = _lines(_time(claim.seconds), claim.hardware or "", f"{claim.epochs} epochs" if claim.epochs else "")
    start = (identity, row.protocol_name, _percent(claim.accuracy))
    if not row.done:
        return (*start, "no result", NONE, claimed_loss, NONE, claimed_time, NONE)
    summary, expected = row.accuracy, row.expected
    spread = f"sd {100 * summary.sd:.2f}, n = {summary.n}" if summary.sd is not None else "n = 1"
    accuracy = _lines(percent(summary.mean), spread, between(expected.low, expected.high))
    loss = _lines(f"{row.loss:.4f}", _penalized(row, "with L2: {}"), f"MSE {row.mse:.4f}")
    time = _lines(_time(row.seconds), row.machine, _epochs(row))
    return (*start, accuracy, row.verdict_name, claimed_loss, loss, claimed_time, time)


def _accuracy_table(rows: Sequence[Row]) -> Table:
    head = ("System", "Protocol", "Network", "Parameters", "Claimed %", "Measured %", "sd", "n", "95 % interval", "Verdict")
    body = []
    for row in rows:
        parameters = grouped(row.parameters) if row.parameters is not None else NONE
        start = (row.system.name, row.protocol_name, row.system.network, parameters, _share(row.system.headline.accuracy))
        if row.done:
            summary, expected = row.accuracy, row.expected
            sd = f"{100 * summary.sd:.2f}" if summary.sd is not None else NONE
            interval = between(expected.low, expected.high).removesuffix(" %")
            body.append((*start, _share(summary.mean), sd, str(summary.n), interval, row.verdict_name))
        else:
            body.append((*start, "no result", NONE, "0", NONE, NONE))
    return Table(head, tuple(body), caption="Test accuracy:")


def _loss_table(rows: Sequence[Row]) -> Table:
    head = ("System", "Protocol", "Loss claimed", "Loss measured", "with L2", "MSE claimed", "MSE measured")
    body = []
    for row in rows:
        claim = row.system.headline
        mse = f"{claim.mse:.4f}" if claim.mse is not None else NONE
        measured = (f"{row.loss:.4f}", _penalized(row, "{}") or NONE, mse, f"{row.mse:.4f}") if row.done else (NONE, NONE, mse, NONE)
        body.append((row.system.name, row.protocol_name, _loss(claim), *measured))
    return Table(
        head, tuple(body), caption="Loss (cross-entropy in nats; with L2: the penalty added) and mean squared error on the test split:"
    )


def _cost_table(rows: Sequence[Row]) -> Table:
    head = ("System", "Protocol", "Epochs claimed", "Epochs run", "Time claimed", "Time measured", "Machine claimed", "Machine measured")
    body = []
    for row in rows:
        claim = row.system.headline
        measured = (row.length, _time(row.seconds), row.machine) if row.done else (NONE, NONE, NONE)
        epochs = str(claim.epochs) if claim.epochs is not None else NONE
        cells = (epochs, measured[0], _time(claim.seconds), measured[1], claim.hardware or NONE, measured[2])
        body.append((row.system.name, row.protocol_name, *cells))
    return Table(head, tuple(body), caption="Length and cost of training (times on different machines are not a comparison):")


def protocol_table(systems: Iterable[Sequence[Row]]) -> Table | None:
    """Published beside corrected accuracy with the paired difference, a line for each system that has both; None without any."""
    body = []
    for rows in systems:
        by_protocol = {row.protocol: row for row in rows if row.done}
        if set(by_protocol) != {"published", "corrected"}:
            continue
        difference = difference_of_protocols(rows)
        cells = (NONE, NONE, NONE)
        if difference is not None:
            interval = f"{points(difference.low)} to {points(difference.high)}"
            cells = (points(difference.value), interval, str(difference.seeds))
        body.append((rows[0].system.name, *(percent(by_protocol[name].accuracy.mean) for name in ("published", "corrected")), *cells))
    head = ("System", "As published", "Corrected", "Difference, points", "95 % interval", "Seeds")
    return Table(head, tuple(tuple(map(_unbroken, cells)) for cells in body)) if body else None


def runs_table(rows: Sequence[Row]) -> Table:
    """Machine, time, epochs and accuracy: every claim of the report, then every finished run."""
    head = ("Run", "Machine", "Time", "Epochs", "Train accuracy", "Test accuracy", "Test loss")
    body = [_claim_cells(claim) for claim in rows[0].system.claims]
    for row in rows:
        body += [_run_cells(run) for run in row.done]
    return Table(head, tuple(tuple(map(_unbroken, cells)) for cells in body), caption="Machine, time, epochs and accuracy")


def _claim_cells(claim: Claim) -> tuple[str, ...]:
    name = f"claimed: {claim.condition}" if claim.condition else "claimed"
    called = f' (called "{claim.called}")' if claim.called != claim.split else ""
    epochs = str(claim.epochs) if claim.epochs is not None else NONE
    return (
        name + called,
        claim.hardware or NONE,
        _time(claim.seconds),
        epochs,
        _percent(claim.train_accuracy),
        _percent(claim.accuracy),
        _loss(claim),
    )


def _run_cells(run: FinishedRun) -> tuple[str, ...]:
    last = run.epochs[-1].get("train_accuracy") if run.epochs else None
    train = _percent(float(last) if last is not None else None)
    return (run.run.name, run.machine, _time(run.seconds), run.length, train, percent(run.accuracy), f"{run.loss:.4f}")


def class_table(system: PublishedSystem, row: Row) -> Table | None:
    """The printed per-class report beside the mean over the runs of `row`; None where none is printed or the classes are others."""
    if not system.per_class or not row.done or {score.name for score in system.per_class} != set(row.done[0].predictions.class_names):
        return None
    body = []
    for score in system.per_class:
        cells = [cell for key in _SCORES for cell in (f"{getattr(score, key):.2f}", f"{row.class_score(score.name, key):.3f}")]
        body.append((score.name, *cells))
    footer = []
    for name, claimed in system.averages:
        cells = [cell for key in _SCORES for cell in (f"{claimed:.2f}", f"{np.mean([run.score[name][key] for run in row.done]):.3f}")]
        footer.append((f"{name} average", *cells))
    head = ("Class", *(text for key in ("Precision", "Recall", "F1") for text in (f"{key} claimed", "measured")))
    return Table(head, tuple(body), tuple(footer), caption=f"Scores per class, claimed and measured ({row.protocol_name}, {row.origin})")


def slips_table(systems: Iterable[PublishedSystem]) -> Table | None:
    """What is wrong in print beside what is right; None where nothing is."""
    body = [(system.name, slip.where, slip.printed, slip.right, slip.why) for system in systems for slip in system.slips]
    return Table(("System", "Where", "Printed", "Right", "Why"), tuple(body), kind="text") if body else None


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _unbroken(cell: str) -> str:
    """`cell` with its short lines kept whole; longer ones may break where the page is narrow."""
    return "\n".join(line.replace(" ", "\u00a0") if len(line) <= _SHORT else line for line in cell.split("\n"))


def _epochs(row: Row) -> str:
    count, parenthesis, rest = row.length.partition(" (")
    return f"{count} epochs{parenthesis}{rest}"


def _parameters(row: Row) -> str:
    return f"{grouped(row.parameters)} parameters" if row.parameters is not None else ""


def _percent(share: float | None) -> str:
    return percent(share) if share is not None else NONE


def _share(share: float | None) -> str:
    return f"{100 * share:.2f}" if share is not None else NONE


def _time(seconds: float | None) -> str:
    return duration(seconds) if seconds is not None else NONE


def _loss(claim: Claim) -> str:
    if claim.loss is None:
        return NONE
    return f"{claim.loss:.4f}{' with L2' if claim.penalized else ''}"


def _penalized(row: Row, form: str) -> str:
    return form.format(f"{row.penalized_loss:.4f}") if row.penalized_loss is not None else ""
