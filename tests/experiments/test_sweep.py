"""`cifarlab.sweep` on digits: trained once, killed and restarted, refused, and written into a page."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sweep_driver import NAMES, run_sweep

from cifarlab import sweeps
from cifarlab.errors import ConfigError, UsageError
from cifarlab.experiments import SilentWatcher
from cifarlab.runs import Predictions, RunDirectory
from cifarlab.sweeps import Sweep, collect_studies

DRIVER = Path(__file__).with_name("sweep_driver.py")


class Begun(SilentWatcher):
    """Notes which runs are begun."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def begin(self, cell: Any, number: int, total: int, estimate: float) -> None:
        self.names.append(cell.name)


def shown(result: Sweep) -> list[Any]:
    """The table but for its times."""
    assert result.result is not None
    points = (
        dataclasses.asdict(result.result.facts)["points"],
        [
            (point.values, point.accuracies("validation"), point.losses("validation"), point.accuracy, point.loss)
            for point in result.result.points
        ],
    )
    return [*points, result.result.named(result.result.best) if result.result.best else None]


def table_lines(result: Sweep) -> list[str]:
    """The Markdown table as written, without the column of times."""
    assert result.markdown is not None
    rows = [line for line in result.markdown.read_text().splitlines() if line.startswith("| ")]
    return [line.rpartition("|")[0].rpartition("|")[0] for line in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The sweep, never interrupted."""
    return run_sweep(tmp_path_factory.mktemp("finished"))


def test_every_point_has_its_runs_and_the_page_is_written(finished: Sweep) -> None:
    assert [outcome.state for outcome in finished.outcomes] == ["done"] * 4
    assert [outcome.cell.name for outcome in finished.outcomes] == list(NAMES)
    assert finished.result is not None
    assert [(point.values, len(point.done)) for point in finished.result.points] == [((32,), 2), ((64,), 2)]
    assert finished.html is not None
    assert "<html" in finished.html.read_text()
    assert (finished.html.parent / "figures" / "sweep.png").exists()
    assert "data.train_size=96" in finished.html.read_text()


def test_the_table_holds_what_the_prediction_files_say(finished: Sweep) -> None:
    assert finished.result is not None
    assert finished.html is not None
    for point, size in zip(finished.result.points, (32, 64), strict=True):
        for seed, value in enumerate(point.accuracies("validation")):
            made = Predictions.load(finished.html.parent / f"batch_size-{size}-seed-{seed}" / "predictions" / "validation.npz")
            assert value == float((made.logits.argmax(1) == made.labels).mean())


def test_the_test_split_is_not_read(finished: Sweep) -> None:
    for outcome in finished.outcomes:
        assert outcome.run is not None
        assert outcome.run.status()["test_reads"] == 0
        assert not outcome.run.predictions_file("test").exists()


def test_a_sweep_killed_three_times_ends_with_the_table_of_an_unbroken_one(tmp_path: Path, finished: Sweep) -> None:
    for name, step in ((NAMES[0], 2), (NAMES[1], 5), (NAMES[3], 3)):  # 3 and 2 steps an epoch
        command = [sys.executable, str(DRIVER), str(tmp_path), name, str(step)]
        assert subprocess.run(command, capture_output=True, timeout=500, check=False).returncode == -signal.SIGKILL
        assert RunDirectory.open(tmp_path / "sizes" / name).status()["state"] == "running"
    begun = Begun()
    result = run_sweep(tmp_path, watcher=begun)
    assert begun.names == [NAMES[3]]
    assert shown(result) == shown(finished)
    assert table_lines(result) == table_lines(finished)
    for mine, other in zip(result.outcomes, finished.outcomes, strict=True):
        assert mine.run is not None
        assert other.run is not None
        assert mine.run.weights_file("last").read_bytes() == other.run.weights_file("last").read_bytes()


def test_what_is_done_is_used_again_and_more_seeds_go_on(finished: Sweep, tmp_path: Path) -> None:
    assert finished.html is not None
    copy = tmp_path / "sizes"
    subprocess.run(["cp", "-a", str(finished.html.parent), str(copy)], check=True)
    begun = Begun()
    again = run_sweep(tmp_path, watcher=begun)
    assert (begun.names, shown(again)) == ([], shown(finished))
    heard: list[str] = []
    fewer = run_sweep(tmp_path, seeds=1, train=False, note=heard.append)
    assert fewer.result is not None
    assert [len(point.done) for point in fewer.result.points] == [1, 1]
    assert any("2 runs that were on this sweep's page will not be" in line for line in heard)
    estimates = run_sweep(tmp_path, seeds=3, dry_run=True).estimates
    assert set(estimates) == {"batch_size-32-seed-2", "batch_size-64-seed-2"}
    with pytest.raises(UsageError, match=r"holds another sweep \(optim\.lr: 0\.001 -> 0\.002\); nothing was changed"):
        run_sweep(tmp_path, overrides={**_changes(), "optim.lr": 0.002})
    with pytest.raises(UsageError, match=r"varied: train\.batch_size -> optim\.lr"):
        run_sweep(tmp_path, vary={"optim.lr": [0.001]}, overrides={**_changes(), "batch_size": 32})


def test_asking_for_test_reads_it_once_a_run_and_the_page_counts_it(finished: Sweep, tmp_path: Path) -> None:
    assert finished.html is not None
    subprocess.run(["cp", "-a", str(finished.html.parent), str(tmp_path / "sizes")], check=True)
    result = run_sweep(tmp_path, test=True)
    assert result.markdown is not None
    assert result.result is not None
    assert [len(point.accuracies("test")) for point in result.result.points] == [2, 2]
    page = " ".join(result.markdown.read_text().replace("> ", "").split())
    assert "The test split was read 4 times by the 4 runs of this sweep" in page
    assert shown(result)[-1] == shown(finished)[-1]
    later = run_sweep(tmp_path, train=False)  # what was read stays said
    assert later.result is not None
    assert later.result.test_reads == 4


def _changes() -> dict[str, Any]:
    from sweep_driver import CHANGES

    return dict(CHANGES)


# -- failures and budgets ------------------------------------------------------------------------------------------------------


def test_a_failing_point_is_shown_and_ends_nothing_else(tmp_path: Path) -> None:
    result = run_sweep(tmp_path, vary={"optim.lr": [1e30, 1e-3]}, seeds=1)
    assert [outcome.state for outcome in result.outcomes] == ["failed", "done"]
    assert result.markdown is not None
    page = result.markdown.read_text()
    assert "Without a result" in page
    assert "lower the learning rate" in " ".join(page.split())
    assert result.result is not None
    assert result.result.best is result.result.points[1]


def test_a_budget_for_no_run_is_refused_and_one_for_some_leaves_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "estimate_sweep", lambda cells, *a, **k: {cell.name: 60.0 * (1 + cell.point) for cell in cells})
    with pytest.raises(UsageError, match="too little for any run"):
        run_sweep(tmp_path, max_minutes=0.5)
    assert not list(tmp_path.glob("sizes/batch*"))
    result = run_sweep(tmp_path, max_minutes=1.5, seeds=1)
    assert [outcome.state for outcome in result.outcomes] == ["done", "skipped"]
    assert result.markdown is not None
    assert "of the budget were left" in " ".join(result.markdown.read_text().split())


def test_all_that_is_wrong_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run_sweep(tmp_path, vary={"batch_siz": [1]}, max_minutes=-1, output=tmp_path / "nowhere" / "x.md", fixed="stepps")
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError, match=r"training size 1000000: digits has"):
        run_sweep(tmp_path, vary={"data.train_size": [96, 10**6]}, overrides={"train.duration": "1ep"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"vary": {"batch_size": 64}}, r"vary\['batch_size'\] must be a list of values such as \[64, 128\], not 64"),
        ({"vary": {"batch_size": "64,128"}}, r"must be a list of values such as \[64, 128\], not '64,128'"),
        ({"vary": ["batch_size=64,128"]}, "vary must be a mapping of recipe fields such as"),
        ({"vary": "batch_size=64,128"}, "vary must be a mapping of recipe fields such as"),
        ({"vary": {3: [1, 2]}}, "a recipe field is a name such as 'batch_size', not 3"),
        ({"overrides": ["optim.lr=0.1"]}, "overrides must be a mapping"),
        ({"epochs": [1]}, "epochs must be a number of epochs"),
        ({"epochs": True}, "epochs must be a number of epochs"),
        ({"epochs": -1}, "the length must be|a duration is"),
        ({"scale": "half"}, "scale must be a factor"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused_with_what_is_allowed(given: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        run_sweep(tmp_path, **given)


@pytest.mark.parametrize("study", [None, 3, ["digits"]])
def test_what_names_no_study_is_refused(study: Any) -> None:
    with pytest.raises(UsageError, match="the name of a study or recipe, a YAML file or a Recipe, not"):
        sweeps.sweep(study, vary={"batch_size": [64, 128]})


def test_a_number_of_epochs_is_a_length_in_epochs(tmp_path: Path) -> None:
    heard: list[str] = []
    for epochs in (1, 1.0, "1ep"):
        run_sweep(tmp_path, overrides=None, epochs=epochs, train=False, note=heard.append)
    assert heard.count("shortened: 1 epoch in place of 5 epochs; schedules follow in proportion") == 3


# -- pooled, and all studies on one page ---------------------------------------------------------------------------------------


def test_a_pooled_sweep_says_so_on_every_page(tmp_path: Path) -> None:
    changes = {"data.pooled": True, "train.duration": "1ep"}
    result = run_sweep(tmp_path, vary={"data.train_size": [100, 200]}, overrides=changes, seeds=1, reports=True)
    assert result.html is not None
    said = "Train and test pooled"
    assert said in result.html.read_text()
    assert "Training sets are nested" in result.html.read_text()
    assert said in (result.html.parent / "train_size-100-seed-0" / "report.html").read_text()
    env = json.loads((result.html.parent / "train_size-100-seed-0" / "env.json").read_text())
    assert env["pooled"] is True
    assert env["sizes"] == {"train": 90, "validation": 10, "test": 1697}


def test_all_sweeps_of_a_folder_come_onto_one_page(finished: Sweep, tmp_path: Path) -> None:
    assert finished.html is not None
    page = collect_studies(tmp_path / "STUDIES.md", runs=finished.html.parent.parent)
    text = page.read_text()
    assert "## sizes" in text.lower()
    assert "studies/sizes.svg" in text
    assert (tmp_path / "studies" / "sizes.svg").exists()
    assert "batch-size: cifarlab sweep batch-size" in text  # a shipped study that was not run
    with pytest.raises(UsageError, match="no sweep in"):
        collect_studies(tmp_path / "STUDIES.md", runs=tmp_path / "empty")
    with pytest.raises(UsageError, match="no such folder"):
        collect_studies(tmp_path / "nowhere" / "STUDIES.md", runs=finished.html.parent.parent)
