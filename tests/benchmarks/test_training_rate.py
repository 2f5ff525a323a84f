"""The benchmark of training rates: its arithmetic, its table, its command line; and cifarlab's side of it on a few images."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cifarlab.models import create_model
from cifarlab.models.count import measure_model
from cifarlab.published import published_systems
from cifarlab.recipes import get_recipe
from cifarlab.training import memory

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def rate() -> ModuleType:
    return importlib.import_module("training_rate")


@pytest.fixture
def row(rate: ModuleType) -> Any:
    """Three rounds; in the second the machine was half as quick for both."""
    rates = {"keras-fp32": [100.0, 50.0, 110.0], "cifarlab-fp32": [200.0, 125.0, 330.0]}
    rates |= {"keras-fp32-kept": [150.0, 60.0, 150.0], "keras-bf16": [200.0] * 3, "cifarlab-bf16": [400.0] * 3}
    return rate.Row("report10", 2_253_906, 32, rates)


def about() -> dict[str, Any]:
    names = ("cifarlab", "torch", "numpy", "python", "processor", "cpu_capability", "git_revision")
    values = {"environment": {name: f"<{name}>" for name in names}, "rounds": 3, "seconds": 3.0, "threads": 2, "load": 0.04}
    values |= {"keras_versions": dict.fromkeys(("tensorflow", "keras", "numpy", "python"), "1.2.3"), "keras_jit_compile": False}
    return values | {"date": "2026-01-02 03:04 UTC", "command": "python this"}


# -- figures --------------------------------------------------------------------------------------------------------


def test_a_rate_is_the_median_with_lowest_and_highest(rate: ModuleType, row: Any) -> None:
    assert row.rate("keras-fp32") == rate.Spread(100.0, 50.0, 110.0)


def test_a_ratio_is_taken_within_each_round(rate: ModuleType, row: Any) -> None:
    # 200/100, 125/50, 330/110; the ratio of the medians would be 2.0
    assert row.ratio("cifarlab-fp32", "keras-fp32") == rate.Spread(2.5, 2.0, 3.0)


def test_every_ratio_is_of_cifarlab_over_keras(rate: ModuleType) -> None:
    assert rate.RATIOS
    assert all(rate.KINDS[under].keras and not rate.KINDS[over].keras for over, under in rate.RATIOS)


# -- the table ------------------------------------------------------------------------------------------------------


def cells(page: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]


def test_the_page_holds_rates_and_ratios(rate: ModuleType, row: Any) -> None:
    page = rate.render([row], about(), tuple(rate.KINDS))
    rates_head, _, rates, ratios_head, _, ratios = cells(page)
    assert dict(zip(rates_head, rates, strict=True)) == {
        "network": "report10",
        "parameters": "2 253 906",
        "batch": "32",
        "Keras fp32": "100 (50 to 110)",
        "Keras fp32, memory kept": "150 (60 to 150)",
        "Keras bf16": "200 (200 to 200)",
        "cifarlab fp32": "200 (125 to 330)",
        "cifarlab bf16": "400 (400 to 400)",
    }
    assert dict(zip(ratios_head, ratios, strict=True)) == {
        "network": "report10",
        "cifarlab fp32 / Keras fp32": "2.50 (2.00 to 3.00)",
        "cifarlab fp32 / Keras fp32, memory kept": "2.08 (1.33 to 2.20)",
        "cifarlab bf16 / Keras bf16": "2.00 (2.00 to 2.00)",
        "cifarlab bf16 / Keras fp32": "4.00 (3.64 to 8.00)",
    }


def test_the_page_says_what_was_measured_with_what(rate: ModuleType, row: Any) -> None:
    page = rate.render([row], about(), tuple(rate.KINDS))
    for fact in (
        "<processor>",
        "threads of each measurement: 2",
        "0.04",
        "torch <torch>",
        "tensorflow 1.2.3",
        "MALLOC_MMAP_MAX_=0",
        "2026-01-02",
        "`python this`",
    ):
        assert fact in page


def test_without_keras_the_page_holds_no_ratio_and_no_word_of_keras(rate: ModuleType, row: Any) -> None:
    page = rate.render([row], about(), ("cifarlab-fp32", "cifarlab-bf16"))
    assert len(cells(page)) == 3
    assert "Keras" not in page


# -- the measurements -----------------------------------------------------------------------------------------------


def answer(images_per_second: float, **changes: Any) -> dict[str, Any]:
    values = {"images_per_second": images_per_second, "steps": 16, "seconds": 1.0, "cpu_seconds": 2.0, "parameters": 5, "trainable": 4}
    return values | {"environment": {}, "versions": {}, "jit_compile": False} | changes


def test_kinds_take_turns_and_every_second_round_goes_backwards(rate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, int]] = []

    def fake(kind: str, name: str, *, batch_size: int, options: Any) -> dict[str, Any]:
        asked.append((kind, name, batch_size))
        return answer(float(len(asked)))

    monkeypatch.setattr(rate, "run_kind", fake)
    rows, seen = rate.measure(rate.parse(["report10", "lab-base", "--rounds", "2", "--no-keras", "-o", "a.md"]))
    forward = [("cifarlab-fp32", "report10", 32), ("cifarlab-bf16", "report10", 32)]
    assert asked[:2] == forward
    assert asked[2:4] == [("cifarlab-fp32", "lab-base", 64), ("cifarlab-bf16", "lab-base", 64)]
    assert asked[4:6] == forward[::-1]
    assert rows[0].rates == {"cifarlab-fp32": [1.0, 6.0], "cifarlab-bf16": [2.0, 5.0]}
    assert [(item["round"], item["images_per_second"]) for item in seen["measurements"]][:2] == [(1, 1.0), (1, 2.0)]


def test_networks_that_differ_are_refused(rate: ModuleType) -> None:
    assert rate.same_parameters("x", {"keras-fp32": answer(1.0), "cifarlab-fp32": answer(1.0)}) == 5
    with pytest.raises(RuntimeError, match="not the same network"):
        rate.same_parameters("x", {"keras-fp32": answer(1.0), "cifarlab-fp32": answer(1.0, trainable=3)})


@pytest.mark.parametrize("text", ["", "Killed", '{"steps": 3}', "[1]", '{"images_per_second": 0}', '{"images_per_second": NaN}'])
def test_a_measurement_without_a_result_is_an_error(rate: ModuleType, text: str) -> None:
    with pytest.raises(RuntimeError, match="the measurement"):
        rate.parse_answer(text)


def test_the_result_is_the_last_line(rate: ModuleType) -> None:
    assert rate.parse_answer('a warning\n{"images_per_second": 3.5}\n') == {"images_per_second": 3.5}


def test_a_failed_measurement_shows_its_error(rate: ModuleType, tmp_path: Path) -> None:
    options = rate.parse(["--keras-venv", str(tmp_path), "-o", "a.md"])
    python = rate.python_of(tmp_path)
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho no such thing >&2\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(RuntimeError, match=r"lab-base, Keras fp32: exit code 3\nno such thing"):
        rate.run_kind("keras-fp32", "lab-base", batch_size=64, options=options)


def test_the_users_malloc_settings_reach_no_measurement(rate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "5")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.mmap_max=5")
    found = {kind: rate.environment_of(rate.KINDS[kind], threads=2) for kind in rate.KINDS}
    assert {environment["OMP_NUM_THREADS"] for environment in found.values()} == {"2"}
    malloc = {kind: {key for key in environment if "MALLOC" in key or "GLIBC" in key} for kind, environment in found.items()}
    assert malloc.pop("keras-fp32-kept") == set(rate.KEEP_MEMORY)
    assert set(map(len, malloc.values())) == {0}


def test_keras_is_given_what_cifarlab_sets_for_itself(rate: ModuleType) -> None:
    assert {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(memory._NEVER)} == rate.KEEP_MEMORY


# -- networks -------------------------------------------------------------------------------------------------------


def test_the_networks_are_those_of_the_published_systems(rate: ModuleType) -> None:
    assert set(rate.NETWORKS) == {system.network for system in published_systems()}
    assert {get_recipe(name).model.name for name in rate.NETWORKS} == set(rate.NETWORKS)


def test_cifarlabs_side_counts_whole_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    side = importlib.import_module("cifarlab_networks")
    kept: list[bool] = []
    monkeypatch.setattr(side, "keep_freed_memory", lambda: kept.append(True))  # it would last for all later tests
    found = side.training_rate("lab-base", batch_size=2, precision="fp32", seconds=1e-3)
    assert kept == [True]
    assert found["steps"] == side.PROBE_STEPS  # never fewer
    assert found["images_per_second"] == pytest.approx(2 * side.PROBE_STEPS / found["seconds"])
    assert (found["parameters"], found["trainable"]) == (24_666, 24_666)


def test_kerass_side_is_the_same_networks(rate: ModuleType) -> None:
    venv = Path(os.environ.get("CIFARLAB_KERAS_VENV", rate.KERAS_VENV))
    if not rate.python_of(venv).exists():
        pytest.skip(f"no venv with TensorFlow in {venv}; benchmarks/training_rate.py makes it, or name one with CIFARLAB_KERAS_VENV")
    command = [str(rate.python_of(venv)), str(BENCHMARKS / "keras_networks.py"), "--count"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed.splitlines()[-1]) == {name: measure_model(create_model(name)).parameters for name in rate.NETWORKS}


# -- Keras' venv ----------------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_venv_is_left_alone(rate: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RuntimeError, match="no venv with tensorflow-cpu"):
        rate.provide_keras(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_another_tensorflow_is_refused(rate: ModuleType, tmp_path: Path) -> None:
    python = rate.python_of(tmp_path)
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho 2.1.0\n")
    python.chmod(0o755)
    with pytest.raises(RuntimeError, match=r"has tensorflow-cpu 2\.1\.0, not"):
        rate.provide_keras(tmp_path)


# -- command line ---------------------------------------------------------------------------------------------------


def test_the_defaults(rate: ModuleType) -> None:
    options = rate.parse(["-o", "a.md"])
    assert options.names == ("report10", "lab-base")
    assert options.batch_size is None
    assert options.rounds == 3
    assert options.keras_venv == BENCHMARKS / ".venv-keras"
    assert options.kinds == tuple(rate.KINDS)


def test_the_command_that_is_recorded_gives_the_same_options(rate: ModuleType) -> None:
    words = ["thesis18", "--batch-size", "16", "--seconds", "2.5", "--rounds", "4", "--threads", "1", "--no-keras", "-o"]
    options = rate.parse([*words, str(BENCHMARKS / "a.md")])
    recorded = shlex.split(options.command())
    assert recorded == ["python", "benchmarks/training_rate.py", *words, "benchmarks/a.md"]


def test_a_recorded_command_tells_no_place_outside_the_project(rate: ModuleType, tmp_path: Path) -> None:
    options = rate.parse(["--keras-venv", str(tmp_path), "-o", str(tmp_path / "a.md")])
    assert str(tmp_path) not in options.command()


def test_all_problems_are_told_at_once(rate: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [
        "raport10",
        "lab-base",
        "lab-base",
        "--batch-size",
        "1",
        "--seconds",
        "0",
        "--rounds",
        "0",
        "--threads",
        "100000",
        "-o",
        "a.txt",
    ]
    with pytest.raises(SystemExit) as stop:
        rate.parse(wrong)
    assert stop.value.code == 2
    told = capsys.readouterr().err
    for problem in ("report10", "lab-base is named twice", "--batch-size 1", "--seconds 0", "--rounds 0", "--threads 100000", "-o a.txt"):
        assert problem in told
