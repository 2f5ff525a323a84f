"""Shapes of what the routes of runs answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from cifarlab.serve.schemas import ClassProbability, ErrorBody


class Accuracy(BaseModel):
    """A share of right answers."""

    value: float = Field(ge=0, le=1)
    low: float | None = Field(description="Of the 95 % Wilson interval; null for a value from the curve.")
    high: float | None
    n: int | None = Field(description="Images; null for a value from the curve.")
    views: str = Field(description="Test-time augmentation of these predictions.")
    epoch: int | None = Field(description="The epoch whose validation this is, where there is no predictions file yet.")


class RunRow(BaseModel):
    """One run in the table."""

    name: str = Field(description="What the run is called in URLs.")
    title: str = Field(description="Its folder below the folder of runs.")
    state: str = Field(description="done, running, interrupted, preempted, failed, half-written, or unread (ask again).")
    problems: list[str] = Field(description="What is missing or damaged, or why it failed.")
    kind: str = Field(description="network or baseline.")
    recipe: str | None
    data: str | None
    network: str | None
    seed: int | None
    epochs: int = Field(description="Epochs done.")
    epochs_planned: float | None
    validation: Accuracy | None
    test: Accuracy | None
    validated_on: str = Field(description="train: validation was carved from train; test: what is called validation is the test split.")
    test_reads: int | None = Field(description="How often the test split was read.")
    started: str | None = Field(description="When env.json was written, UTC.")
    seconds: float | None
    parameters: int | None


class RunTable(BaseModel):
    """The runs below the folder that the server was started with."""

    folder: str | None = Field(description="As it was given; null for a server without --runs.")
    exists: bool
    complete: bool = Field(description="False where there are more runs than are looked for.")
    runs: list[RunRow]


class Change(BaseModel):
    """A key in which a run's recipe differs from the named recipe that it began from."""

    key: str
    base: Any
    value: Any


class Commands(BaseModel):
    """To copy into a terminal."""

    repeat: str | None
    resume: str | None
    evaluate: str | None


class RunDetail(RunRow):
    """One run with its epochs and its recipe."""

    rows: list[dict[str, float | int | None]] = Field(description="One object for each epoch, as in metrics.jsonl.")
    values: dict[str, Any] = Field(description="The recipe, by dotted key.")
    base: str | None = Field(description="The named recipe that it began from.")
    changed: list[Change]
    commands: Commands
    splits: list[str] = Field(description="Splits with predictions.")


class ClassScores(BaseModel):
    """Scores of one class."""

    precision: float
    recall: float
    f1: float
    support: int


class Share(BaseModel):
    """A share with its 95 % Wilson interval."""

    value: float
    low: float
    high: float


class OfSplit(BaseModel):
    """What an answer is about."""

    name: str
    split: str
    splits: list[str] = Field(description="Splits with predictions.")


class Confusion(OfSplit):
    """Confusion matrix and scores of a split."""

    classes: list[str]
    matrix: list[list[int]] = Field(description="Images; rows are true classes, columns predicted ones.")
    per_class: list[ClassScores]
    accuracy: Share
    correct: int
    errors: int
    n: int
    cross_entropy: float
    calibration_error: float
    tta: str


class ErrorRow(BaseModel):
    """One prediction."""

    index: int
    sample_id: str
    true: str
    predicted: str
    probability: float = Field(description="Of the predicted class.")
    probability_true: float
    predictions: list[ClassProbability] = Field(description="The most probable classes.")
    url: str | None = Field(description="Of the picture, relative to the server's root; null where it is not at hand.")


class ErrorPage(OfSplit):
    """Predictions of a cell of the confusion matrix, or mistakes."""

    total: int
    offset: int
    rows: list[ErrorRow]
    pictures: str = Field(description="here, loading (ask again) or missing.")
    pictures_note: str | None = Field(description="Why they are not here, and what helps.")


class Reliability(OfSplit):
    """Predictions grouped by confidence (Guo et al., 2017)."""

    n: int
    calibration_error: float
    edges: list[float]
    counts: list[int]
    confidence: list[float | None] = Field(description="Mean of each bin; null where it is empty.")
    accuracy: list[float | None]


REASONS: Final = {
    400: "The request is malformed",
    404: "There is no such run, split or picture",
    409: "A file of the run is damaged, or its pictures are not at hand",
    413: "The request is too large",
    415: "An encoded body",
    422: "A parameter is not allowed",
    429: "Too many at a time; Retry-After says when to try again",
    503: "The server is stopping",
    504: "No answer before the deadline",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Entries of a route's `responses` for what can be refused."""
    return {status: {"model": ErrorBody, "description": REASONS[status]} for status in statuses}
