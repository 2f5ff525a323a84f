"""Every mistake that a user makes: one clear error, the right exit code, no traceback, nothing made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Refused = Callable[..., str]

MISTAKES = [
    # names
    (["digit"], "unknown recipe 'digit'; did you mean 'digits'?"),
    ([""], "unknown recipe ''; allowed: airbench94, digits, fast, lab-base"),
    (["dïgits"], "unknown recipe 'dïgits'; did you mean 'digits'?"),
    (["digits", "--set", "model.name=speednt"], "unknown model 'speednt'; did you mean 'speednet'?"),
    (["digits", "--set", "optim.name=adm"], "unknown optimizer 'adm'; did you mean 'adam'?"),
    (["digits", "--set", "optim.arguments.foo=1"], "optimizer muon: unknown argument 'foo'"),
    (["digits", "--set", "opt.lr=1"], "unknown option 'opt.lr'; did you mean 'optim.lr'?"),
    (["digits", "--classes", "3,eleven"], "unknown class 'eleven'; allowed: 0, 1"),
    (["digits", "--classes", "3"], "name at least two different ones"),
    (["digits", "--classes", "3,3"], "name at least two different ones"),
    (["digits", "--classes", ""], "name at least two different ones"),
    (["digits", "--device", "gpu"], "unknown device 'gpu'; did you mean 'cpu'?"),
    (["digits", "--device", ""], "unknown device ''"),
    (["digits", "--data", "digit"], "unknown dataset 'digit'; did you mean 'digits'?"),
    (["digits", "--data", ""], "data.name"),
    (["digits", "--data", "./nope"], "there is no such file or folder"),
    (["digits", "--name", ""], "run name ''"),
    (["digits", "--name", "../x"], "run name '../x': use 1 to 100 letters"),
    (["digits", "--name", "ñ"], "run name 'ñ'"),
    # values
    (["digits", "--set", "optim.lr=fast"], "optim.lr: Input should be a valid number"),
    (["digits", "--set", "optim.lr=nan"], "optim.lr: Input should be a finite number"),
    (["digits", "--set", "optim.lr=-1"], "optim.lr: Input should be greater than 0 (given: -1)"),
    (["digits", "--set", "optim.lr=1e400"], "optim.lr: Input should be a finite number"),
    (["digits", "--set", "optim.lr=true"], "optim.lr: must not be true"),
    (["digits", "--set", "train=3"], "train is a section, not a value"),
    (["digits", "--set", "model.arguments.widths=[8]"], "widths must be three numbers"),
    (["digits", "--set", "model.arguments={1: 2}"], "model.arguments: the names of arguments are text (given: 1)"),
    (["digits", "--set", "name=2024-13-45"], "the value is not YAML (month must be in 1..12); quote it"),
    (["digits", "--set", "name=" + "[" * 2_000], "the value is not YAML (it is nested too deeply)"),
    (["digits", "--data", "./" + "x" * 300], "there is no such file or folder"),
    (["digits", "--set", "="], "'=': write KEY=VALUE"),
    (["digits", "--set", "optim.lr"], "'optim.lr': write KEY=VALUE"),
    (["digits", "--set", "optim.lr=[1"], "the value is not YAML"),
    (["digits", "--lr", "inf"], "optim.lr: Input should be a finite number"),
    (["digits", "--lr", "abc"], "Invalid value for '--lr'"),
    (["digits", "--epochs", "0"], "duration must be a positive number of epochs"),
    (["digits", "--epochs", "abc"], "not 'abc'"),
    (["digits", "--epochs", "-1"], "not '-1'"),
    (["digits", "--epochs", ""], "not ''"),
    (["digits", "--epochs", "nan"], "not 'nan'"),
    (["digits", "--epochs", "9" * 30], "a duration is at most 1000000"),
    (["digits", "--epochs", "5%"], "duration must be a positive number of epochs"),
    (["digits", "--batch-size", "0"], "train.batch_size: Input should be greater than or equal to 1 (given: 0)"),
    (["digits", "--batch-size", "1.5"], "Invalid value for '--batch-size'"),
    (["digits", "--train-size", "1000000"], "training size 1000000: digits has 1294 training images"),
    (["digits", "--train-size", "-1"], "data.train_size"),
    (["digits", "--validation", "1.5"], "data.validation: Input should be less than 1 (given: 1.5)"),
    (["digits", "--validation", "nan"], "data.validation"),
    (["digits", "--validation", "0", "--set", "train.select=best"], "needs a validation split"),
    (["digits", "--validation", "0.999"], "leaves no training image"),
    (["digits", "--seed", "-1"], "--seed"),
    (["digits", "--seed", "9" * 30], "seed: Input should be less than"),
    (["digits", "--threads", "0"], "--threads"),
    (["digits", "--threads", "99999999"], "--threads 99999999: allowed is 1 to 1024"),
    # the command itself
    ([], "give a recipe (airbench94, digits, fast, lab-base, lab-base-published, "),
    (["digits", "--epoch", "3"], "No such option: --epoch"),
    (["digits", "more"], "unexpected extra argument"),
    (["nope.yaml"], "cannot read the recipe nope.yaml: No such file or directory"),
    (["./"], "cannot read the recipe .: Is a directory"),
    (["--resume", "runs/nope"], "no run at runs/nope: there is no such folder"),
    (["--resume", "."], "is not a run directory"),
    (["--resume", "x", "--name", "y"], "--name cannot go with --resume"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "")
def test_train_refuses(refused: Refused, arguments: list[str], message: str) -> None:
    assert message in refused("train", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["--nope"], "No such option: --nope"),
        (["evaluate", "runs/nope"], "no run at runs/nope"),
        (["evaluate", "x" * 300], "it cannot be looked at (File name too long)"),
        (["evaluate"], "Missing argument 'RUN'"),
        (["report", "runs/nope"], "no run at runs/nope"),
        (["predict", "runs/nope", "a.png"], "runs/nope is not a trained model: there is no such folder"),
        (["predict", "runs/nope"], "runs/nope is not a trained model: there is no such folder"),
        (["predict"], "Missing argument '[MODEL] IMAGES...'"),
        (["recipes", "fsat"], "unknown recipe 'fsat'; did you mean 'fast'?"),
        (["demo", "--data", "digit"], "unknown dataset 'digit'; did you mean 'digits'?"),
        (["demo", "--name", "../x"], "run name '../x'"),
    ],
)
def test_other_commands_refuse(refused: Refused, arguments: list[str], message: str) -> None:
    assert message in refused(*arguments)


def test_several_problems_are_all_listed(refused: Refused) -> None:
    error = refused("train", "digits", "--set", "opt.lr=1", "--batch-size", "0", "--validation", "2", "--set", "augment.flip=up")
    assert "4 problems" in error
    for part in ("unknown option 'opt.lr'", "train.batch_size", "data.validation", "augment.flip"):
        assert part in error


def test_unknown_model_and_optimizer_are_both_named(refused: Refused) -> None:
    error = refused("train", "digits", "--set", "model.name=a", "--set", "optim.name=b")
    assert "unknown model 'a'" in error
    assert "unknown optimizer 'b'" in error


def test_a_setting_runs_no_code(refused: Refused) -> None:
    refused("train", "digits", "--set", "optim.lr=!!python/object/apply:os.mkdir [canary]")
    assert not Path("canary").exists()


def test_a_missing_data_folder_is_a_failure(refused: Refused) -> None:
    assert "--data-dir is nope, but there is no such file or folder" in refused("train", "fast", "--data-dir", "nope", code=1)


def test_a_file_in_place_of_the_runs_folder_is_a_failure(refused: Refused) -> None:
    Path("runs").write_text("a file")
    assert "cannot create runs/x" in refused("train", "digits", "--name", "x", code=1)
    assert Path("runs").read_text() == "a file"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "cannot read the recipe bad.yaml"),
        (b"[1, 2]", "a recipe is a mapping of sections"),
        (b"model: " + b"[" * 2_000, "bad.yaml: 1 problem\n  - not YAML: it is nested too deeply"),
        (b"model: [", "bad.yaml: 1 problem\n  - not YAML"),
        (b"model: {name: lab-base}\nepochs: 3", "unknown option 'epochs'"),
        (b"model: {name: lab-bse}", "unknown model 'lab-bse'; did you mean 'lab-base'?"),
        (b"", "not NoneType"),
    ],
)
def test_a_bad_recipe_file_is_refused(refused: Refused, content: bytes, message: str) -> None:
    Path("bad.yaml").write_bytes(content)
    assert message in refused("train", "bad.yaml")


# -- runs that are there ------------------------------------------------------------------------------------------------


def test_a_taken_name_is_refused(run: Path, refused: Refused) -> None:
    error = refused("train", "digits", "--name", "tiny")
    assert "runs/tiny already exists; nothing was changed. Choose another --name, continue it with --resume runs/tiny" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "0.5"], "optim.lr: 0.001 -> 0.5"),
        (["--seed", "3"], "seed: 0 -> 3"),
        (["--data", "cifar10"], "data.name: 'digits' -> 'cifar10'"),
        (["--epochs", "9"], "train.duration: '1ep' -> '9ep'"),
    ],
)
def test_resume_with_a_changed_recipe_is_refused(run: Path, refused: Refused, arguments: list[str], message: str) -> None:
    error = refused("train", "--resume", run, *arguments)
    assert message in error
    assert "cannot be resumed with a changed recipe; nothing was changed" in error


def test_resume_with_another_recipe_is_refused(run: Path, refused: Refused) -> None:
    assert "model.name: 'lab-base' -> 'speednet'" in refused("train", "digits", "--resume", run)


@pytest.mark.parametrize("split", ["tset", "train", ""])
def test_an_unknown_split_is_refused_and_no_test_read_counted(run: Path, refused: Refused, split: str) -> None:
    assert f"unknown split {split!r}" in refused("evaluate", run, "--split", split)
    assert json.loads((run / "status.json").read_text())["test_reads"] == 0


@pytest.mark.parametrize("arguments", [["evaluate"], ["report"], ["train", "--resume"]])
def test_a_run_of_another_version_is_refused(run: Path, refused: Refused, arguments: list[str]) -> None:
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "schema": 99}))
    assert "was written in version 99" in refused(*arguments, run, code=1)


def test_damaged_weights_are_refused(run: Path, refused: Refused) -> None:
    for file in (run / "weights").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert "is damaged or of another network" in refused("evaluate", run, code=1)
    assert "is damaged or of another network" in refused("predict", run, "a.png", code=1)


def test_the_nearest_run_is_named(run: Path, refused: Refused) -> None:
    assert "Did you mean runs/tiny?" in refused("evaluate", "runs/tinny")
    assert "Did you mean runs/tiny?" in refused("predict", "runs/tinny", "a.png")
