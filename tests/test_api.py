"""The verbs of `import cifarlab`: what reads the test split and what does not, and where data is found again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cifarlab
from cifarlab.errors import RunError, UsageError
from cifarlab.runs import RunDirectory


def tiny(folder: Path, **overrides: object) -> cifarlab.Run:
    """One step of the smallest network on digits."""
    return cifarlab.train("lab-base", data="digits", runs=folder, report=False, overrides={"train.duration": "1st", **overrides})


def test_looking_for_a_split_does_not_read_the_test_split(tmp_path: Path) -> None:
    run = tiny(tmp_path)
    assert "test" not in run.metrics
    assert list(run.metrics) == ["validation"]
    assert run.metrics.get("nonsense") is None
    assert dict(run.metrics.items()).keys() == {"validation"}
    assert run.status["test_reads"] == 0


def test_naming_the_test_split_reads_it_once(tmp_path: Path) -> None:
    run = tiny(tmp_path)
    first = run.metrics["test"]
    assert run.metrics["test"] == first
    assert run.status["test_reads"] == 1


def test_a_run_without_validation_has_no_validation_metrics(tmp_path: Path) -> None:
    run = tiny(tmp_path, **{"data.validation": 0})
    assert "validation" not in run.metrics
    with pytest.raises(KeyError):
        run.metrics["validation"]


@pytest.mark.parametrize("state", ["preempted", "failed", "running"])
def test_weights_that_may_still_change_are_not_evaluated(tmp_path: Path, state: str) -> None:
    run = tiny(tmp_path)
    run.directory.update_status(state=state)
    with pytest.raises(RunError, match=f"is {state}, not done.*--resume"):
        cifarlab.evaluate(run)
    assert run.status["test_reads"] == 0


def test_data_is_found_again_without_the_variable_that_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.environ.get("CIFARLAB_DATA"):
        pytest.skip("CIFARLAB_DATA is not set: no real CIFAR-10 here")
    settings = {"train.duration": "1st", "data.train_size": 100}
    run = cifarlab.train("lab-base", data="cifar10", runs=tmp_path, report=False, overrides=settings)
    monkeypatch.delenv("CIFARLAB_DATA")
    monkeypatch.setenv("CIFARLAB_CACHE", str(tmp_path / "empty"))
    assert cifarlab.evaluate(run, split="validation", report=False)["n"] == 5000


def test_two_processes_count_every_reading(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "run", recipe_yaml="name: x\n", env={})
    code = (
        "from pathlib import Path; from cifarlab.runs import RunDirectory\n"
        f"for _ in range(30): RunDirectory(Path({str(run.path)!r})).count_test_read()"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    assert run.status()["test_reads"] == 60


def pictures(folder: Path, *, count: int) -> Path:
    """Two classes of `count` flat pictures each."""
    for number, colour in enumerate(("red", "blue")):
        (folder / colour).mkdir(parents=True)
        for shade in range(count):
            values = np.full((32, 32, 3), shade, dtype=np.uint8)
            values[:, :, 2 * number] = 200
            Image.fromarray(values).save(folder / colour / f"{shade:02d}.png")
    return folder


def folder_run(tmp_path: Path) -> cifarlab.Run:
    data = pictures(tmp_path / "pictures", count=20)
    settings = {"train.duration": "1st", "data.validation": 0.25}
    run = cifarlab.train("lab-base", data=str(data), runs=tmp_path / "runs", report=False, overrides=settings)
    run.metrics["test"]
    return run


@pytest.mark.parametrize("change", ["gone", "one picture less"])
def test_a_report_shows_no_pictures_of_other_data(tmp_path: Path, change: str) -> None:
    run = folder_run(tmp_path)
    assert (run.path / "figures" / "predictions.png").exists()
    if change == "gone":
        (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    else:
        (tmp_path / "pictures" / "red" / "03.png").unlink()
    for file in (run.path / "figures").iterdir():
        file.unlink()
    heard: list[str] = []

    page = cifarlab.report(run, note=heard.append)

    assert page.exists()
    assert not (run.path / "figures" / "predictions.png").exists()
    assert len(heard) == 1
    assert "without pictures of the data" in heard[0]


def test_a_folder_that_moved_is_named_with_data_dir(tmp_path: Path) -> None:
    run = folder_run(tmp_path)
    moved = (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="no data at"):
        cifarlab.evaluate(run, split="validation", report=False)
    assert cifarlab.evaluate(run, split="validation", data_dir=moved, report=False)["n"] > 0


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    model = tiny(tmp_path).load(device="cpu")
    with pytest.raises(UsageError, match=r"uint8 array \[H, W, 3\], not int"):
        model.predict([3])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="takes a list of images"):
        model.predict(None)  # type: ignore[arg-type]
