"""comparison.html: runs side by side, which is better, and where they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.files import write_text
from cifarlab.paired import LEVEL, PairedDifference
from cifarlab.reports.comparison_figures import draw_classes, draw_curves, draw_disagreements, draw_overview
from cifarlab.reports.comparison_rows import Comparison, Pair, class_differences
from cifarlab.reports.comparison_tables import class_table, difference_table, notes, pair_table, score_table
from cifarlab.reports.document import Block, Bullets, Paragraph, Pictures, Section, to_html
from cifarlab.reports.numbers import counted, grouped

MOST_DETAILED: Final = 4  # pairs that all get their classes and images shown
DETAILED: Final = 2  # of more pairs, those that do
_FOOTER: Final = (
    "Written by cifarlab compare from the predictions of the runs. The figures are in the folder figures/ beside it, charts also as SVG."
)


def write_comparison(folder: Path, comparison: Comparison, *, images: NDArray[np.uint8] | None = None) -> Path:
    """Write comparison.html into `folder` and its figures into folder/figures; returns the page's path.

    images: those that were compared, uint8 [N, H, W, 3], in the order of the predictions; without them no picture of them is shown.
    The same runs give the same page. Raises RunError where a file cannot be written, ValueError for another number of images.
    """
    if images is not None and len(images) != len(comparison.labels):
        raise ValueError(f"{len(images)} images were given for {len(comparison.labels)} predictions")
    names = [group.label for group in comparison.groups]
    title = f"{names[0]} and {names[1]} compared" if len(names) == 2 else f"{len(names)} models compared"
    page = folder / "comparison.html"
    write_text(page, to_html(title, _lead(comparison), _sections(folder / "figures", comparison, images), footer=_FOOTER))
    return page


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """The figures of a comparison for a script: runs, groups, pairs with verdicts, fields that differ, notes."""
    runs = [
        {
            "name": run.label,
            "path": str(run.directory.path),
            "seed": run.recipe.get("seed"),
            "parameters": run.parameters,
            "training_images": run.training_images,
            "seconds": run.seconds,
            **{key: run.score[key] for key in ("accuracy", "cross_entropy", "mse", "calibration_error")},
        }
        for run in comparison.runs
    ]
    groups = [{"name": g.label, "runs": [run.label for run in g.runs], **g.accuracy._asdict()} for g in comparison.groups]
    return {
        "split": comparison.split,
        "images": len(comparison.labels),
        "runs": runs,
        "groups": groups,
        "pairs": [_pair_json(pair) for pair in comparison.pairs],
        "differing": {name: list(values) for name, values in comparison.differing.items()},
        "notes": notes(comparison),
        "resamples": comparison.resamples,
        "seed": comparison.seed,
        "page": None if comparison.page is None else str(comparison.page),
    }


def _pair_json(pair: Pair) -> Mapping[str, Any]:
    one: PairedDifference = pair.difference
    return {
        "first": pair.first.label,
        "second": pair.second.label,
        "difference": {"value": one.value, "low": one.low, "high": one.high},
        "p_value": one.p_value,
        "p_value_holm": pair.corrected_p,
        "mcnemar": None if one.mcnemar is None else one.mcnemar._asdict(),
        "seeds": list(one.seeds),
        "standard_deviation_over_seeds": one.seed_sd,
        "detectable": one.detectable(),
        "better": pair.judgement,
        "verdict": pair.verdict,
    }


def _lead(comparison: Comparison) -> str:
    runs, images = counted(len(comparison.runs), "run"), counted(len(comparison.labels), "image")
    shown = sum(pair.judgement != "none" for pair in comparison.pairs)
    pairs = counted(len(comparison.pairs), "pair")
    return f"{runs} on the {images} of the {comparison.split} split. A difference is shown for {shown} of {pairs}."


def _sections(folder: Path, comparison: Comparison, images: NDArray[np.uint8] | None) -> list[Section]:
    said = notes(comparison)
    sentences = comparison.verdicts if len(comparison.pairs) == 1 else tuple(pair.sentence for pair in comparison.pairs)
    verdicts: list[Block] = [Paragraph(sentences[0]) if len(sentences) == 1 else Bullets(sentences), pair_table(comparison)]
    detailed = _detailed(comparison)
    return [
        Section("verdicts", "Which is better", tuple(verdicts)),
        Section("notes", "To know before taking these figures", (Bullets(tuple(said)),) if said else ()),
        Section("overview", "Differences and agreement", (Pictures(tuple(draw_overview(folder, comparison))),)),
        Section("scores", "Scores", (score_table(comparison),)),
        Section("differing", "What differs", (difference_table(comparison),)),
        *(_pair_section(folder / f"pair_{number}", comparison, pair, number, images) for number, pair in enumerate(detailed, start=1)),
        Section("curves", "Curves", _pictures(draw_curves(folder, comparison))),
        Section("method", "How it was compared", (Bullets(_method(comparison, len(detailed))),)),
    ]


def _detailed(comparison: Comparison) -> list[Pair]:
    """The pairs whose classes and images are shown: all of few; of many those of the most accurate group, its nearest rivals first."""
    pairs = list(comparison.pairs)
    if len(pairs) <= MOST_DETAILED:
        return pairs
    best = max(comparison.groups, key=lambda group: group.accuracy.mean)
    own = [pair for pair in pairs if best in (pair.first, pair.second)]
    return sorted(own, key=lambda pair: abs(pair.difference.value))[:DETAILED]


def _pair_section(folder: Path, comparison: Comparison, pair: Pair, number: int, images: NDArray[np.uint8] | None) -> Section:
    classes = class_differences(comparison, pair)
    blocks: list[Block] = [Paragraph(pair.verdict)] if len(comparison.pairs) > 1 else []
    blocks.append(class_table(pair, classes))
    drawn = draw_classes(folder, pair, classes)
    if images is not None:
        drawn += draw_disagreements(folder, comparison, pair, images)
    blocks.append(Pictures(tuple(drawn)))
    if images is None:
        blocks.append(Paragraph("The images on which they disagree are not shown: the data was not found, or has changed."))
    names = f"{pair.first.label} and {pair.second.label}"
    return Section(f"pair-{number}", f"Where they differ: {names}", tuple(blocks), link=names)


def _pictures(drawn: Sequence[Any]) -> tuple[Block, ...]:
    return (Pictures(tuple(drawn)),) if drawn else ()


def _method(comparison: Comparison, detailed: int) -> tuple[str, ...]:
    lines = [
        "All runs answered the same images (equal sample ids and checksum), so that each pair is compared image by image.",
        f"Intervals: {grouped(comparison.resamples)} bootstrap draws of the images, the same for all runs "
        "(percentiles; Efron and Tibshirani, 1993).",
    ]
    if any(len(group.runs) > 1 for group in comparison.groups):
        lines.append(
            "Runs whose recipes differ in the seed alone count as one group with their mean accuracy. The interval then holds the spread "
            "over seeds, too: Student's t with the standard deviation of the accuracy over the seeds, pooled over the two sides of a pair."
        )
    if any(pair.difference.mcnemar is not None for pair in comparison.pairs):
        lines.append(
            "p-values of single runs: McNemar's test (1947; mid-p) on the images that one of the two alone has right. "
            "It holds for the trained models (Dietterich, 1998)."
        )
    if len(comparison.pairs) > 1:
        lines.append(f"p-values are corrected for {len(comparison.pairs)} comparisons (Holm, 1979); the intervals are not.")
    lines.append(f"A difference is shown where its interval leaves out 0 and its corrected p-value is below {100 * LEVEL:.0f} %.")
    if detailed < len(comparison.pairs):
        lines.append(
            f"Classes and images are shown for {detailed} of {len(comparison.pairs)} pairs: the most accurate model and its nearest rivals."
        )
    return tuple(lines)
