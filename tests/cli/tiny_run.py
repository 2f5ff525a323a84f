"""Words that the command's tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# A small network that learns from 200 images in a second.
TINY = (
    *("train", "digits", "--threads", "1", "--device", "cpu", "--epochs", "1", "--train-size", "200", "--no-report"),
    *("--set", "model.name=lab-base", "--set", "model.arguments={}"),
    *("--set", "optim.name=adam", "--set", "optim.arguments={}", "--lr", "1e-3"),
)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]
