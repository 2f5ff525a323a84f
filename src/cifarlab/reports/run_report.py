"""report.html: everything about one run on one self-contained page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from cifarlab.errors import RunError
from cifarlab.files import write_text
from cifarlab.reports import markup
from cifarlab.reports.numbers import duration, grouped, interval, is_number, percent
from cifarlab.reports.page import page
from cifarlab.reports.run_figures import Drawn, ReportImages, draw_run_figures
from cifarlab.reports.tables import load_predictions, metrics_of
from cifarlab.runs import Predictions, RunDirectory

POOLED: Final = (
    "Train and test pooled: the images of both published splits were put together and cut anew, so that the accuracy on what is called "
    "test here is not comparable with published test accuracies."
)


@dataclass(frozen=True)
class _Facts:
    """What the files of a run say, read once. `split` is the one reported on, `score` its metrics."""

    run: RunDirectory
    status: Mapping[str, Any]
    env: Mapping[str, Any]
    recipe_yaml: str
    predictions: Mapping[str, Predictions]
    scores: Mapping[str, Any]
    split: str

    @property
    def score(self) -> Mapping[str, Any]:
        return self.scores[self.split]  # type: ignore[no-any-return]

    @property
    def recipe_name(self) -> str:
        try:
            recipe = yaml.safe_load(self.recipe_yaml)
        except yaml.YAMLError:
            return self.run.name
        name = recipe.get("name") if isinstance(recipe, dict) else None
        return str(name) if name else self.run.name

    @property
    def weights(self) -> str:
        """Which weights were evaluated, "best" (on validation) or "last" (of training); "" where the run does not say."""
        selected = self.status.get("selected")
        return selected if selected in ("best", "last") else ""

    @property
    def validated_on_test(self) -> bool:
        """Whether the run looked at the test split in place of a validation split (recipe field data.validate_on)."""
        return self.env.get("validated_on") == "test"

    @property
    def pooled(self) -> bool:
        """Whether train and test were pooled and cut anew (recipe field data.pooled)."""
        return self.env.get("pooled") is True

    @property
    def dataset(self) -> str:
        return str(self.env.get("dataset") or "unnamed dataset")


def write_run_report(run: RunDirectory, *, images: ReportImages | None = None) -> Path:
    """Draw the figures of `run`, write its metrics files and report.html, and return the path of the last.

    The report is about the test split, or about validation as long as the test split was not evaluated. It reads the files
    of the run, shows what is there, and is the same for the same files and images. Raises RunError where the run has no
    predictions or a file cannot be read or written, ValueError where images and predictions do not belong together.
    """
    images = images if images is not None else ReportImages()
    predictions = load_predictions(run)
    split = next(iter(predictions))
    facts = _Facts(
        run=run,
        status=run.status(),
        env=run.read_json("env.json") if (run.path / "env.json").exists() else {},
        recipe_yaml=_read_recipe(run),
        predictions=predictions,
        scores=metrics_of(run, predictions),
        split=split,
    )
    drawn = draw_run_figures(run, predictions[split], images, validation_is_test=facts.validated_on_test)
    write_text(run.report_file, _document(facts, drawn))
    return run.report_file


def _read_recipe(run: RunDirectory) -> str:
    try:
        return run.recipe_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read {run.recipe_file}: {error}") from error


def _document(facts: _Facts, drawn: Sequence[Drawn]) -> str:
    sections = {
        "protocol": ("Protocol", markup.bullets(_protocol(facts))),
        "results": ("Results", _figures(drawn, "results")),
        "classes": ("Scores per class", _class_table(facts.score)),
        "training": ("Training", _training(drawn)),
        "images": ("Predictions", _figures(drawn, "images")),
        "data": ("Data", _figures(drawn, "data")),
        "recipe": ("Recipe", markup.code_block(facts.recipe_yaml)),
        "command": ("Command", _command(facts)),
        "environment": ("Environment", _environment(facts)),
    }
    kept = {anchor: pair for anchor, pair in sections.items() if pair[1]}
    accuracy = facts.score["accuracy"]["value"]
    return page(
        f"{facts.recipe_name} on {facts.dataset}: {percent(accuracy)} {facts.split} accuracy",
        f"Run {facts.run.name}. Every figure on this page is drawn from the run's prediction files and epoch log.",
        links={anchor: heading for anchor, (heading, _) in kept.items()},
        content=[_warnings(facts), _headline(facts), *(markup.section(anchor, *pair) for anchor, pair in kept.items())],
        footer="Written by cifarlab. The same figures are in the folder figures/ of the run, charts also as SVG; "
        "the numbers in metrics.json, classification_report.txt and confusion_matrix.csv.",
    )


def _figures(drawn: Sequence[Drawn], section: str) -> str:
    shown = "".join(markup.picture(figure.png, figure.caption) for figure in drawn if figure.section == section)
    return f'<div class="figures">{shown}</div>' if shown else ""


def _training(drawn: Sequence[Drawn]) -> str:
    curves = _figures(drawn, "training")
    text = "Train figures are taken during each epoch, on augmented images where the recipe augments; validation figures at its end."
    return markup.paragraph(text) + curves if curves else ""


# -- headline and protocol ----------------------------------------------------------------------------------


def _headline(facts: _Facts) -> str:
    score, status = facts.score, facts.status
    single = score["single_view"]
    augmented = score["tta"] != "none"
    views = f", test-time augmentation: {score['tta']}" if augmented else ", no test-time augmentation"
    name = facts.split.capitalize()
    tiles = [
        markup.tile(
            f"{name} accuracy", percent(score["accuracy"]["value"]), f"{interval(score)}, n = {grouped(score['n'])}{views}", main=True
        ),
        markup.tile(
            "Without test-time augmentation",
            percent(single["accuracy"]["value"]),
            interval(single) if augmented else "the same: the recipe uses none",
        ),
        markup.tile("Errors", grouped(score["errors"]), f"of {grouped(score['n'])} {facts.split} images"),
        markup.tile("Cross-entropy", f"{score['cross_entropy']:.4f}", "nats per image"),
        markup.tile("Mean squared error", f"{score['mse']:.5f}", "probabilities against one-hot, mean over classes"),
        markup.tile("Calibration error", percent(score["calibration_error"]), "15 bins"),
    ]
    if is_number(status.get("seconds")):
        epochs = status.get("epochs")
        length = f"{epochs} epoch{'' if epochs == 1 else 's'}" if epochs is not None else ""
        tiles.append(markup.tile("Training time", duration(float(status["seconds"])), length))
    if is_number(status.get("parameters")):
        tiles.append(markup.tile("Parameters", grouped(int(status["parameters"]))))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _warnings(facts: _Facts) -> str:
    texts = []
    state = facts.status.get("state")
    if state != "done":
        texts.append(f"This run is not finished: its state is {state!r}.")
    if facts.validated_on_test:
        texts.append("This run looked at the test split while it trained, as the protocol that it repeats did.")
    if facts.pooled:
        texts.append(POOLED)
    if facts.split != "test":
        chosen = {"best": ", which chose the weights", "last": ""}.get(facts.weights, ", which may have chosen the weights")
        texts.append(f"The test split was not evaluated: the figures on this page are of the validation split{chosen}.")
    return "".join(map(markup.warning, texts))


def _protocol(facts: _Facts) -> list[str]:
    reads = int(facts.status.get("test_reads") or 0)
    lines = [f"Test split read {reads} time{'' if reads == 1 else 's'}."]
    if reads > 1:
        lines.append("A test split that is read more than once can influence choices; take its figures with that in mind.")
    if facts.pooled:
        lines.append(POOLED)
    lines.append(_validation(facts))
    lines += _weights(facts)
    lines.append(f"Figures are of the {facts.split} split: {grouped(facts.score['n'])} images, SHA-256 {facts.score['checksum']}.")
    lines.append(
        "Intervals are 95 % Wilson score intervals; they hold the uncertainty from the number of images, not that from the training seed."
    )
    return lines


def _weights(facts: _Facts) -> list[str]:
    """Which weights the figures are of, and what part validation had in that."""
    if facts.run.baseline_file.exists():
        return [_baseline(facts.run.read_json("baseline.json"))]
    best = facts.status.get("best_epoch")
    known = f": best validation epoch {best}" if is_number(best) else ""
    if facts.weights == "best":
        judge = "the TEST split" if facts.validated_on_test else "validation"
        return [f"Evaluated weights: those of the epoch that was best on {judge}{known}."]
    if facts.weights == "last":
        return [f"Evaluated weights: the last ones of training; validation chose nothing{f' (its{known[1:]})' if known else ''}."]
    return [f"Which weights were evaluated is not recorded with this run{known}."]


def _baseline(description: Mapping[str, Any]) -> str:
    """What a classical baseline is, how it was chosen, and what its logits mean."""
    arguments = ", ".join(f"{key}={value:g}" for key, value in description["arguments"].items())
    choice = description["chosen_by"] if len(description["candidates"]) < 2 else f"chosen by {description['chosen_by']}"
    features = description["features"]["kind"]
    what = f"A classical baseline, no network: {description['summary']}, on {features} features; {arguments}, {choice}."
    return f"{what} Logits: {description['logits']}."


def _validation(facts: _Facts) -> str:
    """Where validation comes from; that it is apart from test is checked on the sample ids, not taken for granted."""
    if facts.validated_on_test:
        return (
            "No validation split: as in the protocol it repeats, this run trained on all training images and looked at the TEST split "
            "after every epoch. Whatever was chosen by that is optimistic; the corrected protocol stands beside this one."
        )
    validation, test = facts.predictions.get("validation"), facts.predictions.get("test")
    if validation is not None:
        size = len(validation.labels)
    else:
        sizes = facts.env.get("sizes")
        recorded = sizes.get("validation") if isinstance(sizes, dict) else None
        if not isinstance(recorded, int):
            return "The size of the validation split is not recorded with this run."
        size = recorded
    if size == 0:
        return "No validation split: all training images were trained on."
    if validation is not None and test is not None:
        shared = len(np.intersect1d(validation.sample_ids, test.sample_ids))
        if shared:
            return (
                f"Validation shares {grouped(shared)} of its {grouped(size)} images with the test split: the test figures are optimistic."
            )
        return f"Validation: {grouped(size)} images carved from the training split; none of them is in the test split."
    return f"Validation: {grouped(size)} images carved from the training split."


# -- tables ---------------------------------------------------------------------------------------------------


def _class_table(score: Mapping[str, Any]) -> str:
    def cells(name: str, row: Mapping[str, Any]) -> list[str]:
        return [name, *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")), grouped(row["support"])]

    return markup.table(
        ["Class", "Precision", "Recall", "F1", "Images"],
        [cells(row["name"], row) for row in score["per_class"]],
        footer=[cells("Macro average", score["macro"]), cells("Weighted average", score["weighted"])],
    )


def _command(facts: _Facts) -> str:
    command = facts.env.get("command")
    if not command:
        return ""
    return markup.code_block(shlex.join(map(str, command)) if isinstance(command, list) else str(command))


def _environment(facts: _Facts) -> str:
    # The command has a section of its own; where the data lay (an absolute path) is nothing to hand on with a page.
    rows = [(key.replace("_", " "), _plain(value)) for key, value in facts.env.items() if key not in ("command", "found_in")]
    return markup.pairs(rows) if rows else ""


def _plain(value: object) -> str:
    if value is None:
        return "not recorded"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
