"""`cifarlab sweep` on the command line: what it refuses at once, what it prints, and a small sweep on digits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import Command

SMALL = ("sweep", "lab-base", "--data", "digits", "--vary", "batch_size=32,64", "--seeds", "2", "--threads", "1", "--device", "cpu")
SHORT = ("--epochs", "1", "--set", "train_size=64", "--set", "train.precision=fp32")


def test_all_mistakes_are_told_together(refused: Callable[..., str]) -> None:
    message = refused(
        *("sweep", "lab-base", "--vary", "batchsize=1,2", "--vary", "lr=fast", "--set", "optim.naem=sgd", "--seeds", "0"),
        *("--max-minutes", "0", "-o", "nowhere/x.md", "--fixed", "stpes"),
    )
    for part in (
        "'batchsize'; did you mean",
        "'optim.naem'",
        "optim.lr",
        "seeds=0",
        "minutes above 0",
        "no such folder",
        "did you mean 'steps'",
    ):
        assert part in message, part


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "give a study or a recipe"),
        (("--no-train",), "give a study or a recipe"),
        (("bach-size",), "did you mean 'batch-size'"),
        (("lab-base", "--vary", "batch_size"), "write KEY=VALUE,VALUE"),
        (("lab-base", "--vary", "batch_size="), "no value to vary it over"),
        (("lab-base", "--vary", "batch_size=32,32"), "stands twice"),
        (("lab-base", "--estimate", "--no-train"), "give one of them"),
        (("lab-base", "--vary", "lr=1,0.1", "--name", "a/b"), "use 1 to 100 letters"),
        (("lab-base-published", "--vary", "lr=1,0.1"), "chooses by validation"),
        (("lab-base", "--data", "digits", "--vary", "train_size=100,5000"), "training size 5000: digits has"),
        (("lab-base", "--data", "digits", "--vary", "data.classes=['1', '2'],['3', thirteen]"), "unknown class 'thirteen'"),
        (("resnet20",), "nothing varies: give --vary KEY=V1,V2"),
        (("nowhere.yaml",), "cannot read the study or recipe"),
        (("--no-train", "-o", "x.md"), "no sweep in"),
    ],
)
def test_what_makes_no_sweep_is_refused(refused: Callable[..., str], arguments: tuple[str, ...], reason: str) -> None:
    assert reason in refused("sweep", *arguments)


@pytest.mark.parametrize("runs", ["taken", "taken/deeper"])
def test_a_file_in_place_of_the_folder_is_refused_before_the_estimate(refused: Callable[..., str], runs: str) -> None:
    Path("taken").write_text("mine")
    said = refused(*SMALL, "--runs", runs)
    assert f"cannot make runs in {runs}: taken is not a folder" in said
    assert "estimate:" not in said
    assert Path("taken").read_text() == "mine"


def test_a_file_in_place_of_the_sweep_is_refused_before_the_estimate(refused: Callable[..., str]) -> None:
    Path("mine").mkdir()
    Path("mine/sizes").write_text("mine")
    assert "cannot make runs in mine/sizes: mine/sizes is not a folder" in refused(*SMALL, "--runs", "mine", "--name", "sizes")


def test_the_shipped_studies_are_listed(command: Command) -> None:
    outcome = command("sweep", "--list-studies")
    assert outcome.code == 0
    for word in ("pair-train-size", "train-size", "batch-size", "epochs", "Deer against dog"):
        assert word in outcome.out
    assert len(json.loads(command("sweep", "--list-studies", "--json").out)) == 4


def test_a_sweep_prints_its_table_and_is_not_trained_again(command: Command) -> None:
    estimate = json.loads(command(*SMALL, *SHORT, "--estimate", "--json").out)
    assert len(estimate) == 4
    assert not Path("runs").exists()
    outcome = command(*SMALL, *SHORT)
    assert outcome.code == 0, outcome.err
    assert "batch_size is train.batch_size" in outcome.err
    assert "shortened: 1 epoch in place of 5 epochs" in outcome.err
    assert "Best on validation" in outcome.err
    assert re.search(r"estimate: batch_size-64-seed-1 about .*\n(.*\n)?together about \d+:\d\d(:\d\d)? for 4 runs\n\[1/4\]", outcome.err)
    assert "(best)" in outcome.out
    folder = Path("runs/sweeps/lab-base-batch_size-1ep")
    assert "cifarlab sweep lab-base --vary batch_size=32,64" in (folder / "sweep.html").read_text()
    before = (folder / "sweep.md").read_text()
    again = command(*SMALL, *SHORT, "-o", "STUDIES.md", "--json")
    assert again.code == 0, again.err
    made = json.loads(again.out)
    assert [point["n"] for point in made["points"]] == [2, 2]
    assert "epoch 1/1" not in again.err
    assert (folder / "sweep.md").read_text() == before
    assert "studies/lab-base-batch_size-1ep.svg" in Path("STUDIES.md").read_text()
    env = folder / "batch_size-64-seed-1" / "env.json"
    env.write_text(env.read_text().replace('"threads": 1', '"threads": 2'))
    assert "The runs were not all trained alike: 3 runs with" in command(*SMALL, *SHORT, "--no-train").err
    collected = command("sweep", "--no-train", "-o", "STUDIES.md")
    assert collected.code == 0
    assert "all sweeps of runs/sweeps: STUDIES.md" in collected.err
