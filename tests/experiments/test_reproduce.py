"""Running the cells of a reproduction: neither a kill, a failure nor another process spoils it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_cells import EPOCHS, STEPS, Watch, changed, make_cells, make_splits, run, signal_at

from cifarlab.errors import BusyError, RunError
from cifarlab.experiments import Cell, Outcome, find_outcome, unfinished
from cifarlab.experiments import cells as running
from cifarlab.runs import Predictions, RunDirectory
from cifarlab.training import PreemptedError

DRIVER = Path(__file__).with_name("fake_cells.py")
PUBLISHED, CORRECTED = "lab-base-published-3ep-0", "lab-base-corrected-3ep-0"


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def result(run: RunDirectory) -> tuple[Any, ...]:
    """What must be equal between equal cells: weights, epochs without clock times, predictions."""
    rows = [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")} for row in run.epochs()]
    logits = [Predictions.load(file).logits.tobytes() for file in sorted(run.path.glob("predictions/*.npz"))]
    return run.weights_file("last").read_bytes(), rows, logits


def states(outcomes: list[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    """Cell name -> result of the two cells of lab-base, never interrupted."""
    outcomes = run(make_cells(), tmp_path_factory.mktemp("finished"))
    assert states(outcomes) == ["done", "done"]
    return {outcome.cell.name: result(the_run(outcome)) for outcome in outcomes}


def the_run(outcome: Outcome) -> RunDirectory:
    assert outcome.run is not None
    return outcome.run


# -- run and run again ----------------------------------------------------------------------------------------------------


def test_each_cell_becomes_an_evaluated_run(tmp_path: Path) -> None:
    reported: list[str] = []
    outcomes = run(make_cells(), tmp_path, write_report=lambda run, arranged: reported.append(f"{run.name}: {len(arranged.train)}"))
    assert states(outcomes) == ["done", "done"]
    assert reported == [f"{PUBLISHED}: 100", f"{CORRECTED}: 90"]
    published, corrected = (the_run(outcome) for outcome in outcomes)
    assert [file.name for file in published.path.glob("predictions/*")] == ["test.npz"]
    assert sorted(file.name for file in corrected.path.glob("predictions/*")) == ["test.npz", "validation.npz"]
    assert published.status()["test_reads"] == EPOCHS + 1  # each epoch's look, and the evaluation
    assert corrected.status()["test_reads"] == 1


def test_what_is_done_is_not_touched_again(tmp_path: Path) -> None:
    cells = make_cells()
    run(cells, tmp_path, write_report=lambda run, arranged: run.report_file.write_text("page"))
    before = contents(tmp_path)
    watch, reported = Watch(), list[str]()
    outcomes = run(cells, tmp_path, watch=watch, estimates={}, write_report=lambda run, arranged: reported.append(run.name))
    assert states(outcomes) == ["done", "done"]
    assert (watch.begun, reported) == ([], [])
    assert [outcome.cell.name for outcome in watch.ended] == [PUBLISHED, CORRECTED]
    assert contents(tmp_path) == before
    assert unfinished(cells, folder=tmp_path) == []


def test_a_report_that_a_kill_prevented_is_written_by_the_next_call(tmp_path: Path) -> None:
    (cell,) = make_cells(protocol="corrected")
    run([cell], tmp_path)
    reported: list[str] = []
    assert states(run([cell], tmp_path, estimates={}, write_report=lambda run, arranged: reported.append(run.name))) == ["done"]
    assert reported == [CORRECTED]


def test_what_is_trained_but_not_evaluated_is_evaluated_only(tmp_path: Path, finished: dict[str, tuple[Any, ...]]) -> None:
    (cell,) = make_cells(protocol="corrected")
    run([cell], tmp_path)
    directory = RunDirectory.open(tmp_path / CORRECTED)
    directory.predictions_file("test").unlink()
    weights = directory.weights_file("last").stat().st_mtime_ns
    assert unfinished([cell], folder=tmp_path) == [cell]
    steps: list[int] = []
    assert states(run([cell], tmp_path, watch=Watch(lambda cell, step: steps.append(step)))) == ["done"]
    assert (steps, directory.weights_file("last").stat().st_mtime_ns) == ([], weights)
    assert result(directory) == finished[CORRECTED]


# -- killed -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "step"), [(PUBLISHED, 6), (CORRECTED, 3), (CORRECTED, 7)])
def test_a_signal_saves_and_the_same_call_ends_bit_for_bit_equal(
    tmp_path: Path, finished: dict[str, tuple[Any, ...]], name: str, step: int
) -> None:
    cells = make_cells()
    with pytest.raises(PreemptedError):
        run(cells, tmp_path, watch=signal_at(name, step))
    assert RunDirectory.open(tmp_path / name).status()["state"] == "preempted"
    watch = Watch()
    outcomes = run(cells, tmp_path, watch=watch)
    assert states(outcomes) == ["done", "done"]
    assert watch.begun == ([PUBLISHED, CORRECTED] if name == PUBLISHED else [CORRECTED])
    assert {outcome.cell.name: result(the_run(outcome)) for outcome in outcomes} == finished


def test_a_killed_process_goes_on_where_its_checkpoint_stands(tmp_path: Path, finished: dict[str, tuple[Any, ...]]) -> None:
    command = [sys.executable, str(DRIVER), str(tmp_path), CORRECTED, str(STEPS["corrected"] + 2)]
    assert subprocess.run(command, capture_output=True, timeout=300, check=False).returncode == -signal.SIGKILL
    assert RunDirectory.open(tmp_path / CORRECTED).status()["state"] == "running"
    steps: list[int] = []
    watch = Watch(lambda cell, step: steps.append(step))
    outcomes = run(make_cells(), tmp_path, watch=watch)
    assert watch.begun == [CORRECTED]
    assert steps == list(range(STEPS["corrected"] + 1, EPOCHS * STEPS["corrected"] + 1))
    assert {outcome.cell.name: result(the_run(outcome)) for outcome in outcomes} == finished


def keep(*names: str) -> Callable[[Path], None]:
    """A run directory as it is when only these files have been written."""

    def leave(path: Path) -> None:
        for file in [file for file in path.rglob("*") if file.is_file() and file.name not in names]:
            file.unlink()
        for folder in [folder for folder in path.rglob("*") if folder.is_dir()]:
            folder.rmdir()

    return leave


@pytest.mark.parametrize(
    "written",
    [(), ("recipe.yaml",), ("recipe.yaml", "env.json", ".status.lock"), ("recipe.yaml", "env.json", "status.json", "bundle.json")],
)
def test_a_process_killed_before_its_first_checkpoint_leaves_nothing_in_the_way(
    tmp_path: Path, finished: dict[str, tuple[Any, ...]], written: tuple[str, ...]
) -> None:
    (cell,) = make_cells(protocol="corrected")
    with pytest.raises(PreemptedError):
        run([cell], tmp_path, watch=signal_at(CORRECTED, 1))
    RunDirectory.open(tmp_path / CORRECTED).update_status(state="running")
    keep(*written)(tmp_path / CORRECTED)
    (outcome,) = run([cell], tmp_path)
    assert (outcome.state, result(the_run(outcome))) == ("done", finished[CORRECTED])


# -- failed --------------------------------------------------------------------------------------------------------------


def test_a_failing_cell_is_kept_and_shown_and_ends_nothing_else(tmp_path: Path, finished: dict[str, tuple[Any, ...]]) -> None:
    published, corrected = make_cells()
    cells = [changed(published, optim__lr=1e30), corrected]
    outcomes = run(cells, tmp_path)
    assert states(outcomes) == ["failed", "done"]
    assert "lower the learning rate" in outcomes[0].reason
    assert the_run(outcomes[0]).status()["state"] == "failed"
    assert result(the_run(outcomes[1])) == finished[CORRECTED]

    before = contents(tmp_path)
    watch = Watch()
    again = run(cells, tmp_path, watch=watch, estimates={})
    assert (states(again), watch.begun) == (["failed", "done"], [])
    assert "lower the learning rate" in again[0].reason
    assert contents(tmp_path) == before
    assert unfinished(cells, folder=tmp_path) == []

    assert unfinished(cells, folder=tmp_path, retry=True) == [cells[0]]
    watch = Watch()
    assert states(run(cells, tmp_path, watch=watch, retry=True)) == ["failed", "done"]
    assert watch.begun == [PUBLISHED]


def test_a_retry_of_what_fails_no_more_ends_equal(tmp_path: Path, finished: dict[str, tuple[Any, ...]]) -> None:
    def fail(cell: Cell, step: int) -> None:
        if step == STEPS["corrected"] + 1:
            raise RunError("the disk is full")

    (cell,) = make_cells(protocol="corrected")
    (outcome,) = run([cell], tmp_path, watch=Watch(fail))
    assert (outcome.state, outcome.reason) == ("failed", "the disk is full")
    (outcome,) = run([cell], tmp_path, retry=True)
    assert (outcome.state, result(the_run(outcome))) == ("done", finished[CORRECTED])


@pytest.mark.parametrize("error", [MemoryError("not enough"), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_no_error_of_a_cell_ends_the_rest(tmp_path: Path, error: Exception) -> None:
    def fail(cell: Cell, step: int) -> None:
        if cell.name == PUBLISHED:
            raise error

    outcomes = run(make_cells(train__duration="3ep"), tmp_path, watch=Watch(fail))
    assert states(outcomes) == ["failed", "done"]
    assert outcomes[0].reason == f"{type(error).__name__}: {error}"
    assert the_run(outcomes[0]).status()["state"] == "failed"


def test_a_cell_that_its_data_cannot_give_is_refused_without_a_directory(tmp_path: Path) -> None:
    (cell,) = make_cells(protocol="corrected")
    (outcome,) = run([changed(cell, data__classes=["cat", "unicorn"])], tmp_path)
    assert (outcome.state, outcome.run) == ("failed", None)
    assert "unicorn" in outcome.reason
    assert list(tmp_path.iterdir()) == []


# -- the budget -----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_the_budget_is_skipped_with_its_reason(tmp_path: Path) -> None:
    cells = make_cells()
    estimates = {PUBLISHED: 7200.0, CORRECTED: 5.0}
    outcomes = run(cells, tmp_path, estimates=estimates, max_seconds=600)
    assert states(outcomes) == ["skipped", "done"]
    assert outcomes[0].run is None
    assert outcomes[0].reason.startswith("not run: needs about 120.0 min, ")
    assert [path.name for path in tmp_path.iterdir()] == [CORRECTED]
    assert unfinished(cells, folder=tmp_path) == [cells[0]]
    assert states(run(cells, tmp_path, estimates=estimates)) == ["done", "done"]


def test_the_budget_shrinks_as_time_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 50.0])  # the beginning, before the first cell, before the second
    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    outcomes = run(make_cells(), tmp_path, estimates={PUBLISHED: 60.0, CORRECTED: 60.0}, max_seconds=100)
    assert states(outcomes) == ["done", "skipped"]
    assert outcomes[1].reason == "not run: needs about 1.0 min, 0.8 min of the budget were left"


def test_a_skipped_cell_that_was_begun_shows_its_run(tmp_path: Path) -> None:
    (cell,) = make_cells(protocol="corrected")
    with pytest.raises(PreemptedError):
        run([cell], tmp_path, watch=signal_at(CORRECTED, 2))
    (outcome,) = run([cell], tmp_path, estimates={CORRECTED: 100.0}, max_seconds=10)
    assert (outcome.state, the_run(outcome).name) == ("skipped", CORRECTED)


# -- in the way -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["done", "preempted", "failed"])
def test_a_run_of_another_recipe_is_refused_and_left_untouched(tmp_path: Path, state: str) -> None:
    (cell,) = make_cells(protocol="corrected")
    run([changed(cell, optim__lr=0.5e-3)], tmp_path)
    RunDirectory.open(tmp_path / CORRECTED).update_status(state=state)
    before = contents(tmp_path)
    for retry in (False, True):
        watch = Watch()
        (outcome,) = run([cell], tmp_path, watch=watch, retry=retry)
        assert (outcome.state, outcome.run, watch.begun) == ("failed", None, [])
        assert "was made with another recipe (optim.lr: 0.0005 -> 0.001); remove it, or use another folder" in outcome.reason
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "reason"), [("notes.txt", "already exists; nothing was changed"), ("status.json", "is not a run directory")]
)
def test_what_is_no_run_is_refused_and_left_untouched(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / CORRECTED).mkdir()
    (tmp_path / CORRECTED / content).write_text("mine")
    before = contents(tmp_path)
    (outcome,) = run(make_cells(protocol="corrected"), tmp_path)
    assert (outcome.state, outcome.run) == ("failed", None)
    assert reason in outcome.reason
    assert contents(tmp_path) == before


def test_a_begun_run_of_other_data_is_refused(tmp_path: Path) -> None:
    (cell,) = make_cells(protocol="corrected")
    with pytest.raises(PreemptedError):
        run([cell], tmp_path, watch=signal_at(CORRECTED, 2))
    (outcome,) = run([cell], tmp_path, splits=make_splits(seed=7))
    assert outcome.state == "failed"
    assert "was set up with other data" in outcome.reason
    assert RunDirectory.open(tmp_path / CORRECTED).status()["state"] == "preempted"  # and it can go on with its own


# -- elsewhere ----------------------------------------------------------------------------------------------------------------


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path: Path, finished: dict[str, tuple[Any, ...]]) -> None:
    cells = make_cells()
    with pytest.raises(PreemptedError):
        run(cells, tmp_path, watch=signal_at(PUBLISHED, 2))
    with RunDirectory.open(tmp_path / PUBLISHED).locked():
        before = contents(tmp_path / PUBLISHED)
        outcomes = run(cells, tmp_path)
        assert contents(tmp_path / PUBLISHED) == before
    assert states(outcomes) == ["elsewhere", "done"]
    assert "is being trained by another process" in outcomes[0].reason
    assert result(the_run(run(cells, tmp_path)[0])) == finished[PUBLISHED]


def test_a_run_that_another_process_has_just_begun_is_left_to_it(tmp_path: Path) -> None:
    (cell,) = make_cells(protocol="corrected")
    directory = RunDirectory.create(tmp_path, CORRECTED, recipe_yaml=cell.recipe.to_yaml(), env={})
    with directory.locked():  # before its first checkpoint
        (outcome,) = run([cell], tmp_path)
    assert (outcome.state, the_run(outcome).name) == ("elsewhere", CORRECTED)
    assert directory.status()["state"] == "running"


@pytest.fixture
def other_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Another process makes and locks the run between this one's look and its own attempt."""
    locks: list[Any] = []
    train_run = running.train_run

    def late(recipe: Any, splits: Any, *, runs: Path, name: str, **options: Any) -> RunDirectory:
        lock = RunDirectory.create(runs, name, recipe_yaml=recipe.to_yaml(), env={}).locked()
        lock.__enter__()
        locks.append(lock)
        return train_run(recipe, splits, runs=runs, name=name, **options)

    monkeypatch.setattr(running, "train_run", late)
    yield locks
    for lock in locks:
        lock.__exit__(None, None, None)


def test_two_processes_that_begin_a_cell_at_once_do_not_call_it_failed(tmp_path: Path, other_process: list[Any]) -> None:
    (outcome,) = run(make_cells(protocol="corrected"), tmp_path)
    assert len(other_process) == 1
    assert (outcome.state, the_run(outcome).name) == ("elsewhere", CORRECTED)
    assert "begun by another process" in outcome.reason
    with pytest.raises(BusyError), RunDirectory.open(tmp_path / CORRECTED).locked():
        pass


def test_a_cell_without_a_run_has_no_outcome(tmp_path: Path) -> None:
    (cell,) = make_cells(protocol="corrected")
    assert find_outcome(cell, folder=tmp_path / "nowhere") is None


def test_different_seeds_give_different_results(tmp_path: Path) -> None:
    outcomes = run(make_cells(protocol="corrected", seeds=2), tmp_path)
    weights = {the_run(outcome).weights_file("last").read_bytes() for outcome in outcomes}
    assert len(weights) == 2
    first, second = (Predictions.load(the_run(outcome).predictions_file("test")) for outcome in outcomes)
    assert np.array_equal(first.sample_ids, second.sample_ids)


def test_a_stop_names_one_way_on_that_of_all_cells(tmp_path: Path) -> None:
    with pytest.raises(PreemptedError) as caught:
        run(make_cells(), tmp_path, watch=signal_at(CORRECTED, 2))
    total = EPOCHS * STEPS["corrected"]
    assert str(caught.value) == f"{CORRECTED}: stopped after step 2 of {total}; saved. The same command goes on from there"
