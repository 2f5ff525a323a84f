"""Early stopping and the best weights: what is looked at, what is kept, and that a resume changes none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scripted import VALIDATION, Script, Weights, plain_recipe, same
from small_runs import CPU, STEPS_PER_EPOCH, CrashError, Watcher, make_splits, outcome, resume, signal_at, train

from cifarlab.config import Recipe
from cifarlab.restore import restore, weights_path
from cifarlab.runs import RunDirectory
from cifarlab.training import Listener, PreemptedError, resume_run, session, train_run


def follow(runs: Path, name: str, recipe: Recipe, script: Script, listener: Listener | None = None) -> RunDirectory:
    return train_run(recipe, make_splits(), runs=runs, name=name, device=CPU, predict=script, listener=listener)


def go_on(run: RunDirectory, script: Script, listener: Listener | None = None) -> RunDirectory:
    return resume_run(run.path, make_splits(), device=CPU, predict=script, listener=listener)


# -- when it stops ------------------------------------------------------------------------------------------------


# Accuracy is best in epoch 2, loss in epoch 3: there the margins are small, so that wrong answers cost little.
RIGHT = [20, 28, 26, 27, 25, 20, 20, 20]
MARGINS = [1.5, 9.0, 1.5, 9.0, 9.0, 9.0, 9.0, 9.0]


@pytest.mark.parametrize(
    ("monitor", "patience", "best", "epochs"),
    [("accuracy", 1, 2, 3), ("accuracy", 3, 2, 5), ("loss", 1, 1, 2), ("loss", 2, 3, 5), ("accuracy", 7, 2, 8)],
)
def test_it_stops_after_so_many_epochs_without_a_better_value(tmp_path: Path, monitor: str, patience: int, best: int, epochs: int) -> None:
    recipe = plain_recipe(train__duration="8ep", train__patience=patience, train__monitor=monitor)
    run = follow(tmp_path, "run", recipe, Script(RIGHT, MARGINS))
    rows, status = run.epochs(), run.status()
    values = [row[f"validation_{monitor}"] for row in rows]
    assert best - 1 == int(np.argmax(values) if monitor == "accuracy" else np.argmin(values))
    assert len(rows) == status["epochs"] == epochs
    assert status["steps"] == epochs * STEPS_PER_EPOCH
    assert (status["state"], status["best_epoch"], status["stopped_early"]) == ("done", best, epochs < 8)
    assert status["best_validation_accuracy"] == RIGHT[best - 1] / VALIDATION


def test_an_equal_value_is_no_improvement(tmp_path: Path) -> None:
    run = follow(tmp_path, "run", plain_recipe(train__duration="8ep", train__patience=2), Script([20] * 8))
    assert (run.status()["best_epoch"], run.status()["epochs"]) == (1, 3)


def test_without_patience_it_does_not_stop(tmp_path: Path) -> None:
    run = follow(tmp_path, "run", plain_recipe(train__duration="6ep"), Script([20] * 6))
    assert (run.status()["epochs"], run.status()["stopped_early"]) == (6, False)


# -- the best weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("patience", "epochs"), [(2, 4), (None, 6)])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_weights_of_the_best_epoch_are_kept_whether_it_stops_or_not(
    tmp_path: Path, patience: int | None, epochs: int, ema: float
) -> None:
    weights = Weights()
    recipe = plain_recipe(train__duration="6ep", train__patience=patience, optim__ema=ema)
    run = follow(tmp_path, "run", recipe, Script([20, 28, 26, 27, 20, 20]), weights)
    assert len(weights.at) == epochs
    assert not same(weights.at[1], weights.at[2])
    assert same(load_file(run.weights_file("best")), weights.at[2])
    assert same(load_file(run.weights_file("last")), weights.at[epochs])


@pytest.mark.parametrize("select", ["best", "last"])
def test_what_is_evaluated_is_what_the_recipe_selects(tmp_path: Path, select: str) -> None:
    weights = Weights()
    recipe = plain_recipe(train__duration="6ep", train__patience=1, train__select=select)
    run = follow(tmp_path, "run", recipe, Script([20, 28, 26]), weights)
    description = run.read_json("bundle.json")
    model, _ = restore(description, weights_path(run.path, description))
    assert same(model.state_dict(), weights.at[2 if select == "best" else 3])
    assert run.status()["selected"] == select


def test_loss_and_accuracy_choose_different_weights(tmp_path: Path) -> None:
    weights = Weights()
    for monitor, best in (("accuracy", 2), ("loss", 3)):
        run = follow(tmp_path, monitor, plain_recipe(train__monitor=monitor), Script(RIGHT[:3], MARGINS[:3]), weights)
        assert same(load_file(run.weights_file("best")), weights.at[best])


# -- interrupted ------------------------------------------------------------------------------------------------------


PATIENT: dict[str, Any] = {"train__duration": "8ep", "train__patience": 3}
RISING_THEN_NOT = [20, 28, 26, 27, 25, 30, 30, 30]  # stops after epoch 5; without patience, epoch 6 would be better


@pytest.mark.parametrize("step", [2, 2 * STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH + 1, 4 * STEPS_PER_EPOCH, 5 * STEPS_PER_EPOCH])
def test_an_interruption_does_not_make_it_wait_longer(tmp_path: Path, step: int) -> None:
    whole = follow(tmp_path, "whole", plain_recipe(**PATIENT), Script(RISING_THEN_NOT))
    script = Script(RISING_THEN_NOT)
    with pytest.raises(PreemptedError):
        follow(tmp_path, "run", plain_recipe(**PATIENT), script, signal_at(step))
    run = go_on(RunDirectory.open(tmp_path / "run"), script)
    assert outcome(run) == outcome(whole)
    expected = (5, 2, True)
    assert tuple(run.status()[key] for key in ("epochs", "best_epoch", "stopped_early")) == expected


def test_a_crash_after_the_stop_and_a_resume_train_no_step_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = follow(tmp_path, "whole", plain_recipe(**PATIENT), Script(RISING_THEN_NOT))

    def crash(*args: object) -> None:
        raise CrashError

    monkeypatch.setattr(session._Session, "_finish", crash)
    with pytest.raises(CrashError):
        follow(tmp_path, "run", plain_recipe(**PATIENT), Script(RISING_THEN_NOT))
    monkeypatch.undo()
    steps: list[int] = []
    run = go_on(RunDirectory.open(tmp_path / "run"), Script([]), Watcher(steps.append))
    assert steps == []
    assert outcome(run) == outcome(whole)
    assert run.status()["stopped_early"]


def test_a_run_that_stopped_early_is_finished(tmp_path: Path) -> None:
    run = follow(tmp_path, "run", plain_recipe(**PATIENT), Script(RISING_THEN_NOT))
    before = outcome(run)
    go_on(run, Script([]))
    assert outcome(run) == before


def test_patience_on_real_validation_resumes_bit_for_bit(tmp_path: Path) -> None:
    # A large rate makes validation go up and down.
    recipe = plain_recipe(train__duration="12ep", train__patience=2, train__monitor="loss", optim__lr=0.02)
    whole = train(tmp_path, "whole", recipe)
    assert whole.status()["stopped_early"]
    end = whole.status()["steps"]
    with pytest.raises(PreemptedError):
        train(tmp_path, "run", recipe, watcher=signal_at(end - STEPS_PER_EPOCH - 1))
    torch.rand(5)
    with pytest.raises(PreemptedError):
        resume(tmp_path / "run", watcher=signal_at(end - STEPS_PER_EPOCH))
    assert outcome(resume(tmp_path / "run")) == outcome(whole)
