"""`cifarlab reproduce` on the command line: what it refuses at once, and a cut-short table on real CIFAR-10."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import Command


def test_names_that_do_not_exist_are_refused_together(refused: Callable[..., str]) -> None:
    message = refused("reproduce", "lab-bas", "thesis18", "reprot10", "--protocol", "corected")
    assert "unknown published system 'lab-bas'; did you mean 'lab-base'" in message
    assert "'reprot10'; did you mean 'report10'" in message
    assert "'corected'; did you mean 'corrected'" in message


@pytest.mark.parametrize("minutes", ["0", "-3", "nan"])
def test_a_budget_of_no_minutes_is_refused(refused: Callable[..., str], minutes: str) -> None:
    assert "give minutes above 0" in refused("reproduce", "lab-base", "--max-minutes", minutes)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [("--epochs", "0", "positive number"), ("--seeds", "0", "seeds=0: at least 1"), ("--seeds", "99999999", "at most 1000")],
)
def test_lengths_and_seeds_start_at_one(refused: Callable[..., str], option: str, value: str, reason: str) -> None:
    assert reason in refused("reproduce", "lab-base", option, value)


def test_an_output_that_cannot_be_written_is_refused_before_training(refused: Callable[..., str]) -> None:
    assert "no such folder" in refused("reproduce", "lab-base", "-o", "nowhere/table.md")


@pytest.mark.parametrize("runs", ["taken", "taken/deeper"])
def test_a_file_in_place_of_the_folder_is_refused_before_training(refused: Callable[..., str], runs: str) -> None:
    Path("taken").write_text("mine")
    assert f"cannot make runs in {runs}: taken is not a folder" in refused("reproduce", "lab-base", "--runs", runs)


@pytest.mark.skipif("CIFARLAB_DATA" not in os.environ, reason="CIFARLAB_DATA is not set: no real CIFAR-10 to read")
def test_a_short_table_on_real_data(command: Command) -> None:
    arguments = ("reproduce", "lab-base", "--epochs", "20st", "--runs", "cells", "--device", "cpu", "--data-dir", DATA)
    estimate = json.loads(command(*arguments, "--estimate", "--json").out)
    assert sorted(estimate) == ["lab-base-corrected-20st-0", "lab-base-published-20st-0"]
    outcome = command(*arguments, "-o", "table.md", "--json")
    assert outcome.code == 0, outcome.err
    made = json.loads(outcome.out)
    assert [run["state"] for run in made["runs"]] == ["done", "done"]
    assert "claimed beside measured" in outcome.err
    with open("table.md", encoding="utf-8") as file:
        table = file.read()
    assert "20 steps in place of 5" in table
    assert "shortened" in table
    assert "lab-base" in table
    assert "64.44" in table


DATA = os.environ.get("CIFARLAB_DATA", "")
