"""`reproduction.reproduce` on digits: what it trains, what it uses again, what it refuses and what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarlab.errors import UsageError
from cifarlab.experiments import Outcome, SilentWatcher
from cifarlab.recipes import get_recipe
from cifarlab.reproduction import Reproduction, reproduce
from cifarlab.runs import Predictions, RunDirectory

SHORT = {"data.name": "digits", "train.duration": "3st"}


class Recorder(SilentWatcher):
    """Notes which cells were estimated, begun and ended; `at_begin` runs before each training."""

    def __init__(self, at_begin: Callable[[], object] = lambda: None) -> None:
        self.estimates: list[str] = []
        self.begun: list[str] = []
        self.outcomes: list[Outcome] = []
        self._at_begin = at_begin

    def estimated(self, cell: Any, seconds: float) -> None:
        assert seconds > 0
        self.estimates.append(cell.name)

    def begin(self, cell: Any, number: int, total: int, estimate: float) -> None:
        self.begun.append(cell.name)
        self._at_begin()

    def end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def short(tmp_path: Path, *systems: str, **options: Any) -> Reproduction:
    return reproduce(systems or ("lab-base",), overrides=SHORT, folder=tmp_path / "cells", device="cpu", **options)


def test_both_protocols_are_trained_and_written_into_one_table(tmp_path: Path) -> None:
    watcher = Recorder()
    result = short(tmp_path, watcher=watcher, output=tmp_path / "docs.md", command="cifarlab reproduce lab-base")
    assert watcher.begun == watcher.estimates == ["lab-base-published-3st-0", "lab-base-corrected-3st-0"]
    assert [outcome.state for outcome in result.outcomes] == ["done", "done"]
    assert result.html is not None
    assert result.markdown is not None
    page = result.markdown.read_text()
    assert "as published" in page
    assert "corrected" in page
    assert "64.44" in page  # what the report claims
    assert "cifarlab reproduce lab-base" in page
    assert (tmp_path / "docs.md").read_text() == page
    assert "<html" in result.html.read_text()
    for name in watcher.begun:
        assert (tmp_path / "cells" / name / "report.html").exists()


def test_what_is_done_is_used_again(tmp_path: Path) -> None:
    short(tmp_path)
    weights = tmp_path / "cells" / "lab-base-corrected-3st-0" / "weights" / "last.safetensors"
    before = weights.stat().st_mtime_ns
    watcher = Recorder()
    result = short(tmp_path, watcher=watcher)
    assert watcher.begun == watcher.estimates == []
    assert [outcome.state for outcome in result.outcomes] == ["done", "done"]
    assert weights.stat().st_mtime_ns == before


def test_a_stop_leaves_a_table_and_the_next_call_goes_on(tmp_path: Path) -> None:
    def stop_at_second() -> None:
        if len(watcher.begun) == 2:
            raise KeyboardInterrupt

    watcher = Recorder(stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        short(tmp_path, watcher=watcher)
    page = (tmp_path / "cells" / "reproduction.md").read_text()
    assert "lab-base, corrected, seed 0: not run" in page
    again = Recorder()
    short(tmp_path, watcher=again)
    assert again.begun == ["lab-base-corrected-3st-0"]
    assert "not run" not in (tmp_path / "cells" / "reproduction.md").read_text()


def test_a_dry_run_estimates_and_makes_nothing(tmp_path: Path) -> None:
    result = short(tmp_path, dry_run=True, seeds=2)
    assert len(result.estimates) == 4
    assert all(seconds > 0 for seconds in result.estimates.values())
    assert (result.outcomes, result.html) == ((), None)
    assert not (tmp_path / "cells").exists()


def test_a_budget_too_small_for_any_run_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--max-minutes 1e-07 is too little for any run that is left: lab-base-.* needs about"):
        short(tmp_path, max_minutes=1e-7)
    assert not (tmp_path / "cells").exists()


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_a_budget_is_above_zero(tmp_path: Path, minutes: float) -> None:
    with pytest.raises(UsageError, match="give minutes above 0"):
        short(tmp_path, max_minutes=minutes)


def test_unknown_names_are_refused_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        short(tmp_path, "lab-bse", "thesis81", protocol="publshed", seeds=0)
    message = str(caught.value)
    for part in ("'lab-bse'; did you mean 'lab-base'", "'thesis81'", "'publshed'; did you mean 'published'", "seeds=0"):
        assert part in message


def test_failed_runs_are_shown_and_none_ends_the_rest(tmp_path: Path) -> None:
    changes = {**SHORT, "optim.lr": 1e30}
    result = reproduce(["lab-base", "slides-m1"], overrides=changes, folder=tmp_path / "cells", device="cpu", protocol="corrected")
    states = {outcome.cell.system: outcome.state for outcome in result.outcomes}
    assert states == {"lab-base": "failed", "slides-m1": "failed"}  # the second was reached
    assert result.markdown is not None
    assert "lower the learning rate" in " ".join(result.markdown.read_text().split())


def test_without_training_the_tables_are_written_from_what_is_there(tmp_path: Path) -> None:
    short(tmp_path, protocol="published")
    watcher = Recorder()
    result = short(tmp_path, train=False, watcher=watcher)
    assert watcher.begun == watcher.estimates == []
    assert result.markdown is not None
    page = result.markdown.read_text()
    assert "1 of 2 runs finished" in page
    assert "lab-base, corrected, seed 0: not run" in page


def test_damaged_predictions_are_made_again(tmp_path: Path) -> None:
    short(tmp_path, protocol="published")
    file = tmp_path / "cells" / "lab-base-published-3st-0" / "predictions" / "test.npz"
    file.write_bytes(file.read_bytes()[:100])
    result = short(tmp_path, protocol="published")
    assert [outcome.state for outcome in result.outcomes] == ["done"]
    assert result.markdown is not None
    assert "1 of 1 run finished" in result.markdown.read_text()


def test_a_run_with_a_damaged_status_is_named_with_the_remedy_and_left_alone(tmp_path: Path) -> None:
    short(tmp_path, protocol="published")
    file = tmp_path / "cells" / "lab-base-published-3st-0" / "status.json"
    file.write_text("{")
    (outcome,) = short(tmp_path, protocol="published", retry=True).outcomes
    assert outcome.state == "failed"
    assert "status.json is damaged" in outcome.reason
    assert "Remove" in outcome.reason
    assert file.read_text() == "{"


def test_a_later_call_keeps_the_whole_runs_that_an_earlier_one_showed(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    run = RunDirectory.create(folder, "lab-base-published-0", recipe_yaml=get_recipe("lab-base-published").to_yaml(), env={})
    run.update_status(state="done", selected="last", epochs=5)
    labels = np.arange(20) % 10
    right = np.eye(10, dtype=np.float32)[labels]
    ids = np.array([f"test/{i}" for i in range(20)])
    names = tuple("abcdefghij")
    Predictions(ids, labels, right, None, "none", names, "test", "0" * 64).save(run.predictions_file("test"))
    result = short(tmp_path, "slides-m1")
    assert [outcome.cell.system for outcome in result.outcomes] == ["slides-m1"]
    assert result.markdown is not None
    page = " ".join(result.markdown.read_text().split())
    assert "2 systems, 2 of 2 runs finished" in page
    assert "100.00" in page
