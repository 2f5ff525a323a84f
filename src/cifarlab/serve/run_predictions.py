"""What a run's predictions file says: scores, confusion matrix, reliability, and its predictions one by one.

Every figure is computed by cifarlab.metrics from the one file, as those of report.html are, so that they agree.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import RunError, unknown
from cifarlab.metrics import confusion_matrix, expected_calibration_error, reliability_bins, score_predictions, softmax, wilson_interval
from cifarlab.runs import Predictions
from cifarlab.serve.refusal import RefusedError
from cifarlab.serve.run_folder import LARGEST, Found
from cifarlab.serve.run_reading import DAMAGED, Memo

Json = dict[str, Any]
SPLITS: Final = ("test", "validation")  # the first that there is, where none is asked for: as in a run's report
SORTS: Final = ("confident", "unsure", "index")
UNPACKED: Final = 1 << 30  # bytes of all arrays of a file
MOST_CLASSES: Final = 1000  # of a confusion matrix that is sent
TOP: Final = 5  # classes told of one prediction


@dataclass(frozen=True, eq=False)
class Answers:
    """A checked predictions file. probabilities: float64 [N, K] of the logits that count; predicted: int64 [N]."""

    predictions: Predictions
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.predicted)


def available_splits(found: Found) -> list[str]:
    """The splits that a run has a predictions file of, test first."""
    return [split for split in SPLITS if found.stamp(_file(split)) is not None]


def choose_split(found: Found, asked: str | None) -> str:
    """The split to answer for; raises RefusedError: 422 for one that there cannot be, 404 for one without predictions."""
    if asked is not None and asked not in SPLITS:
        raise RefusedError(422, unknown("split", asked[:60], SPLITS))
    present = available_splits(found)
    if asked is None and present:
        return present[0]
    if asked is None or asked not in present:
        what = "no predictions yet" if asked is None else f"no predictions of the {asked} split"
        command = f"cifarlab evaluate {found.path} --split {asked or 'validation'}"
        raise RefusedError(404, f"run {found.title[:100]!r} has {what}. A finished run of a network gets them with: {command}"[:900])
    return asked


def load_answers(found: Found, split: str, memo: Memo) -> Answers:
    """The predictions of a split, kept while the file stays the same; raises RefusedError (409) for a damaged file, 404 for a lost one."""
    stamp = found.stamp(_file(split))
    if stamp is None:
        raise RefusedError(404, f"run {found.title[:100]!r} has no predictions of the {split} split any more")
    if stamp.size > LARGEST[_file(split)]:
        raise RefusedError(409, f"{_file(split)} is too large to be read here: {stamp.size:,} bytes")
    try:
        return memo.get(("answers", found, split), stamp, lambda: _load(found, split))
    except DAMAGED as error:
        reason = " ".join(str(error).replace(f"{found.path}/", "").split())
        raise RefusedError(409, f"the predictions of run {found.title[:100]!r} cannot be used: {reason[:500]}") from error


def _file(split: str) -> str:
    return f"predictions/{split}.npz"


def _load(found: Found, split: str) -> Answers:
    path = found.path / _file(split)
    _refuse_bombs(found, split)
    loaded = Predictions.load(path)
    n, k = len(loaded.labels) if loaded.labels.ndim == 1 else 0, len(loaded.class_names)
    logits = [loaded.logits, loaded.final_logits]
    fits = all(each.shape == (n, k) and each.dtype.kind == "f" for each in logits) and loaded.labels.dtype.kind in "iu"
    if not (n and k and fits and loaded.sample_ids.shape == (n,) and loaded.sample_ids.dtype.kind == "U"):
        raise RunError(f"{path} is not a readable predictions file: its arrays do not belong together")
    if loaded.split != split:
        raise RunError(f"{path} is of the split {loaded.split[:40]!r}, not {split!r}")
    if int(loaded.labels.min()) < 0 or int(loaded.labels.max()) >= k:
        raise RunError(f"{path} has labels that are none of its {k} classes")
    return Answers(loaded, softmax(loaded.final_logits), loaded.final_logits.argmax(axis=1))


def _refuse_bombs(found: Found, split: str) -> None:
    """Raise RunError for an archive whose arrays would not fit: what it says of their sizes is read before they are unpacked."""
    try:
        with zipfile.ZipFile(found.path / _file(split)) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise RunError(f"{_file(split)} is not a readable predictions file: it is damaged or something else") from error
    if total > UNPACKED:
        raise RunError(f"{_file(split)} unpacks to {total:,} bytes; at most {UNPACKED:,} are read here")


# -- figures ------------------------------------------------------------------------------------------------


def accuracy_of(found: Found, split: str, memo: Memo) -> Json | None:
    """Accuracy with its interval for the table of runs; None without a readable predictions file."""
    stamp = found.stamp(_file(split))
    if stamp is None or stamp.size > LARGEST[_file(split)]:
        return None

    def score() -> Json | None:
        try:
            answers = _load(found, split)
        except DAMAGED:
            return None
        correct, n = int((answers.predicted == answers.predictions.labels).sum()), len(answers)
        return {**wilson_interval(correct, n)._asdict(), "n": n, "views": answers.predictions.tta, "epoch": None}

    return memo.get(("accuracy", found, split), stamp, score)


def confusion(answers: Answers) -> Json:
    """The confusion matrix (rows true, columns predicted) with the split's scores; raises RefusedError (409) for too many classes."""
    names = answers.predictions.class_names
    if len(names) > MOST_CLASSES:
        raise RefusedError(409, f"a matrix of {len(names)} classes is too large to be shown; at most {MOST_CLASSES}")
    score = score_predictions(answers.predictions)
    matrix = confusion_matrix(answers.predictions.labels, answers.predicted, num_classes=len(names))
    keys = ("accuracy", "correct", "errors", "n", "cross_entropy", "calibration_error", "tta")
    per_class = [{key: row[key] for key in ("precision", "recall", "f1", "support")} for row in score["per_class"]]
    return {**{key: score[key] for key in keys}, "classes": list(names), "matrix": matrix.tolist(), "per_class": per_class}


def reliability(answers: Answers) -> Json:
    """How often predictions of a given confidence are right (Guo et al., 2017): 15 bins, null where one is empty."""
    labels = answers.predictions.labels
    bins = reliability_bins(answers.probabilities, labels)

    def or_null(values: NDArray[np.float64]) -> list[float | None]:
        return [None if np.isnan(value) else float(value) for value in values]

    return {
        "n": len(answers),
        "calibration_error": expected_calibration_error(answers.probabilities, labels),
        "edges": bins.edges.tolist(),
        "counts": bins.counts.tolist(),
        "confidence": or_null(bins.confidence),
        "accuracy": or_null(bins.accuracy),
    }


# -- one by one -----------------------------------------------------------------------------------------------


def select_rows(answers: Answers, *, true: str | None, predicted: str | None, sort: str) -> NDArray[np.int64]:
    """Indices of the predictions asked for: those of a cell of the confusion matrix, or the mistakes of a row, a column, or all.

    sort: "confident" puts the highest probability of the predicted class first, as a report's mistakes are, "unsure" the
    lowest; equals keep the order of the split. Raises RefusedError (422) for a class or an order that there is not.
    """
    if sort not in SORTS:
        raise RefusedError(422, unknown("sort", sort[:60], SORTS))
    labels, names = answers.predictions.labels, answers.predictions.class_names
    chosen = np.ones(len(answers), dtype=bool)
    for values, name, what in ((labels, true, "true"), (answers.predicted, predicted, "predicted")):
        if name is not None:
            chosen &= values == _class(names, name, what)
    if true is None or predicted is None:
        chosen &= labels != answers.predicted
    indices = np.flatnonzero(chosen)
    if sort == "index":
        return indices
    confidence = answers.probabilities[indices].max(axis=1)
    return indices[np.argsort(-confidence if sort == "confident" else confidence, kind="stable")]


def _class(names: Sequence[str], name: str, parameter: str) -> int:
    if name not in names:
        shown = list(names[:12]) + (["..."] if len(names) > 12 else [])
        raise RefusedError(422, unknown(f"class for {parameter}", name[:60], [each[:40] for each in shown]))
    return list(names).index(name)


def describe_rows(answers: Answers, indices: NDArray[np.int64]) -> list[Json]:
    """One object for each prediction: index in the split, sample id, true and predicted class, the most probable classes."""
    names = answers.predictions.class_names
    rows = []
    for index in indices.tolist():
        probabilities = answers.probabilities[index]
        best = (-probabilities).argsort(kind="stable")[:TOP]
        true, predicted = int(answers.predictions.labels[index]), int(answers.predicted[index])
        rows.append(
            {
                "index": index,
                "sample_id": str(answers.predictions.sample_ids[index]),
                "true": names[true],
                "predicted": names[predicted],
                "probability": float(probabilities[predicted]),
                "probability_true": float(probabilities[true]),
                "predictions": [{"label": names[each], "probability": float(probabilities[each])} for each in best],
            }
        )
    return rows
