"""Records of finished runs: what is kept, what is left out, and that it reads like the run."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cifarlab.errors import UsageError
from cifarlab.metrics import score_predictions
from cifarlab.runs import Predictions, RunDirectory

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def keep() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("keep_runs")
    sys.path.remove(str(BENCHMARKS))


def make_run(parent: Path, *, state: str = "done") -> RunDirectory:
    env = {"torch": "2", "found_in": "/home/me/data", "command": ["cifarlab", "train", "--runs", "/home/me/runs"]}
    run = RunDirectory.create(parent, "lab-base-published-0", recipe_yaml="name: lab-base\n", env=env)
    run.append_epoch({"epoch": 1, "train_loss": 1.5})
    run.weights_file("last").parent.mkdir()
    run.weights_file("last").write_bytes(bytes(1000))
    rng = np.random.default_rng(0)
    ids = np.array([f"test/{number}" for number in range(50)])
    labels = np.arange(50) % 3
    Predictions(ids, labels, rng.normal(size=(50, 3)).astype(np.float32), None, "none", ("a", "b", "c"), "test", "5f").save(
        run.predictions_file("test")
    )
    run.update_status(state=state, seconds=12.5)
    return run


def test_a_record_scores_as_its_run(keep, tmp_path):
    run = make_run(tmp_path / "runs")
    kept = RunDirectory.open(keep.keep_run(run.path, folder=tmp_path / "kept"))
    before, after = (score_predictions(Predictions.load(each.predictions_file("test"))) for each in (run, kept))
    assert after["accuracy"]["value"] == before["accuracy"]["value"]
    assert after["cross_entropy"] == pytest.approx(before["cross_entropy"], rel=1e-4)
    assert kept.epochs() == run.epochs()
    assert kept.status() == run.status()


def test_rounding_never_changes_which_class_wins(keep):
    logits = np.random.default_rng(0).normal(size=(1000, 10)).astype(np.float32)
    logits[:500, 1] = np.nextafter(logits[:500, 0], np.float32(9))  # as near as two numbers can be
    short = keep.rounded(logits)
    assert (short.argmax(1) == logits.argmax(1)).all()
    np.testing.assert_allclose(short, logits, rtol=2**-12)
    assert (short[500:].view(np.uint32) & 0xFFF == 0).mean() > 0.99


def test_no_weights_and_no_places_of_the_machine_are_kept(keep, tmp_path):
    kept = keep.keep_run(make_run(tmp_path / "runs").path, folder=tmp_path / "kept")
    names = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    assert names == {"recipe.yaml", "env.json", "status.json", "metrics.jsonl", "predictions/test.npz"}
    assert json.loads((kept / "env.json").read_text()) == {"torch": "2", "command": ["cifarlab", "train", "--runs", "runs"]}


def test_an_unfinished_run_is_refused(keep, tmp_path):
    run = make_run(tmp_path / "runs", state="preempted")
    with pytest.raises(UsageError, match="is preempted, not done"):
        keep.keep_run(run.path, folder=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_what_is_no_run_is_passed_over(keep, tmp_path, monkeypatch, capsys):
    make_run(tmp_path / "runs")
    (tmp_path / "runs" / "figures").mkdir()
    monkeypatch.setattr(sys, "argv", ["keep_runs.py", *map(str, sorted((tmp_path / "runs").iterdir())), "-o", str(tmp_path / "kept")])
    assert keep.main() == 0
    assert capsys.readouterr().out == f"{tmp_path / 'kept' / 'lab-base-published-0'}\n"
