"""The commands where all is well: what they print, where, and what a script reads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny_run import TINY, Command

from cifarlab.errors import UsageError
from cifarlab.recipes import get_recipe, recipe_names


def test_version(command: Command) -> None:
    outcome = command("--version")
    assert re.fullmatch(r"cifarlab \d+\.\d+\.\d+\S*\n", outcome.out)
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize("name", ["demo", "data", "recipes", "models", "train", "evaluate", "predict", "reproduce", "report"])
def test_every_command_helps(command: Command, name: str) -> None:
    assert name in command("--help").out
    outcome = command(name, "--help")
    assert outcome.code == 0
    assert f"cifarlab {name}" in outcome.out


def test_models_as_json(command: Command) -> None:
    shown = json.loads(command("models", "--json").out)
    parameters = {model["name"]: model["parameters"] for model in shown}
    assert parameters["lab-base"] == 24666
    assert parameters["speednet"] > 1_000_000
    assert "lab-base" in command("models").out


def test_recipes_as_json(command: Command) -> None:
    shown = json.loads(command("recipes", "--json").out)
    assert [each["name"] for each in shown] == list(recipe_names())
    assert all(each["summary"] and each["recipe"]["model"]["name"] for each in shown)


def test_a_recipe_is_printed_as_the_yaml_that_train_reads(command: Command) -> None:
    outcome = command("recipes", "fast")
    assert yaml.safe_load(outcome.out) == get_recipe("fast").model_dump(mode="json")
    assert json.loads(command("recipes", "fast", "--json").out) == get_recipe("fast").model_dump(mode="json")


def test_train_makes_a_run_and_tells_what_is_next(command: Command) -> None:
    outcome = command(*TINY, "--name", "one")
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert "trained 24 666 parameters for 1 epoch in" in outcome.err
    assert re.search(r"validation accuracy \d+\.\d\d % \(95 % interval", outcome.err)
    assert "next: cifarlab evaluate runs/one --split test" in outcome.err
    assert json.loads(Path("runs/one/status.json").read_text())["test_reads"] == 0


def test_train_as_json_from_a_recipe_file_elsewhere(command: Command) -> None:
    recipe = get_recipe("lab-base").model_dump(mode="json")
    recipe |= {"name": "mine"}
    recipe["data"] |= {"name": "digits", "train_size": 100}
    recipe["train"] |= {"duration": "2st"}
    Path("mine.yaml").write_text(yaml.safe_dump(recipe))
    outcome = command("train", "mine.yaml", "--runs", "else/where", "--seed", "7", "--threads", "1", "--no-report", "--json")
    assert outcome.code == 0, outcome.err
    shown = json.loads(outcome.out)
    assert shown["run"] == "else/where/mine-7"
    assert (shown["state"], shown["steps"], shown["test_reads"]) == ("done", 2, 0)
    assert set(shown["validation"]["accuracy"]) == {"value", "low", "high"}
    assert yaml.safe_load(Path("else/where/mine-7/recipe.yaml").read_text())["seed"] == 7
    assert not Path("runs").exists()


def test_default_names_are_numbered(command: Command) -> None:
    for name in ("digits-0", "digits-0-2"):
        assert command(*TINY).code == 0
        assert Path("runs", name, "status.json").is_file()


def test_threads_are_set(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    assert command("train", "digits", "--threads", "3", "--device", "gpu").code == 2
    assert seen == [3]


def test_a_folder_called_like_the_dataset_does_not_hide_it(command: Command) -> None:
    Path("digits").mkdir()
    assert command(*TINY, "--data", "digits", "--name", "one").code == 0
    assert yaml.safe_load(Path("runs/one/recipe.yaml").read_text())["data"]["name"] == "digits"


def test_resume_of_a_finished_run_changes_nothing(command: Command, run: Path) -> None:
    before = {path: path.read_bytes() for path in (run / "weights").iterdir()} | {run / "status.json": (run / "status.json").read_bytes()}
    outcome = command("train", "--resume", run, "--no-report")
    assert outcome.code == 0
    assert "runs/tiny is finished already; nothing to do" in outcome.err
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_of_an_older_version_has_no_costs_to_tell(command: Command, run: Path) -> None:
    status = json.loads((run / "status.json").read_text())
    kept = {key: value for key, value in status.items() if key not in ("operations", "convolution_peak")}
    (run / "status.json").write_text(json.dumps(kept))
    outcome = command("train", "--resume", run, "--no-report")
    assert outcome.code == 0, outcome.err
    assert "trained" in outcome.err
    assert "FLOP" not in outcome.err


def test_evaluate_as_json(command: Command, run: Path) -> None:
    outcome = command("evaluate", run, "--json", "--no-report")
    assert outcome.code == 0, outcome.err
    shown = json.loads(outcome.out)
    accuracy = shown["accuracy"]
    assert set(accuracy) == {"value", "low", "high"}
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    assert (shown["split"], shown["n"], shown["test_reads"]) == ("test", 359, 1)
    assert json.loads(command("evaluate", run, "--json", "--no-report").out)["test_reads"] == 2


def test_evaluate_of_validation_reads_no_test_image(command: Command, run: Path) -> None:
    outcome = command("evaluate", run, "--split", "validation", "--no-report")
    assert outcome.code == 0
    assert "accuracy" in outcome.out
    assert "test split read 0 times in this run" in outcome.err


def test_report_prints_its_path_alone(command: Command, run: Path) -> None:
    outcome = command("report", run)
    assert (outcome.code, outcome.out) == (0, "runs/tiny/report.html\n")
    assert Path("runs/tiny/report.html").stat().st_size > 10_000


def test_debug_shows_where_an_error_comes_from(command: Command) -> None:
    with pytest.raises(UsageError, match="unknown recipe 'nope'"):
        command("--debug", "train", "nope")


def test_a_fault_of_ours_is_called_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr("cifarlab.cli.main.app", broken)
    outcome = command("models")
    assert outcome.code == 1
    assert outcome.err == "error: internal error (RuntimeError: oops). This is a fault in cifarlab; run again with --debug and report it\n"


def test_what_the_system_refuses_is_no_fault_of_ours(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise PermissionError(13, "Permission denied", "/private/runs")

    monkeypatch.setattr("cifarlab.cli.main.app", refused)
    outcome = command("models")
    assert outcome.code == 1
    assert outcome.err == "error: /private/runs: Permission denied. Check the path, its permissions and the disk\n"


def test_an_interrupt_leaves_with_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cifarlab.cli.main.app", interrupted)
    assert command("models") == (130, "", "error: interrupted\n")


# -- in a process of its own ------------------------------------------------------------------------------------------


def test_the_traceback_is_shown_with_debug_only(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "cifarlab", *arguments], capture_output=True, text=True, check=False, cwd=tmp_path)

    plain, debug = run("recipes", "nope"), run("--debug", "recipes", "nope")
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr.startswith("error: unknown recipe 'nope'")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert debug.returncode != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["recipes", "recipes --json", "recipes fast"])
def test_a_reader_that_leaves_early_is_no_error(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -u -m cifarlab {command} | head -n 1"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.slow
def test_demo(command: Command) -> None:
    outcome = command("demo", "--json")
    assert outcome.code == 0, outcome.err
    shown = json.loads(outcome.out)
    assert shown["run"] == "runs/demo"
    assert shown["accuracy"]["value"] >= 0.97
    assert "report: runs/demo/report.html" in outcome.err
    assert re.search(r"test accuracy \d+\.\d\d %", outcome.err)
    page = Path("runs/demo/report.html").read_text(encoding="utf-8")
    assert "Test split read 1 time." in re.sub(r"<[^>]+>", "", page)


def test_a_published_protocol_says_that_it_reads_the_test_split(command: Command) -> None:
    options = ("--data", "digits", "--epochs", "1", "--train-size", "200", "--threads", "1", "--device", "cpu", "--no-report")
    outcome = command("train", "lab-base-published", *options, "--name", "one")
    assert outcome.code == 0, outcome.err
    assert "warning: lab-base-published looks at the TEST split after every epoch" in outcome.err
    assert re.search(r"test accuracy \d+\.\d\d % \(95 % interval", outcome.err)
    assert "next: cifarlab evaluate" not in outcome.err
    assert json.loads(Path("runs/one/status.json").read_text())["test_reads"] == 2  # the epoch's look and the evaluation
