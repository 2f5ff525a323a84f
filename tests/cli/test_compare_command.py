"""`cifarlab compare` and `cifarlab.compare`: what it prints, makes and refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cifarlab
from cifarlab.errors import UsageError
from cifarlab.runs import Predictions, RunDirectory


def change_recipe(run: Path, old: str, new: str) -> Path:
    text = (run / "recipe.yaml").read_text()
    assert old in text
    (run / "recipe.yaml").write_text(text.replace(old, new))
    return run


def change_predictions(run: Path, split: str = "validation", **changes: object) -> Path:
    file = run / "predictions" / f"{split}.npz"
    dataclasses.replace(Predictions.load(file), **changes).save(file)
    return run


def flip(run: Path, share: float, *, split: str = "validation", seed: int = 0) -> Path:
    """Give some of a run's images the answer of the class before."""
    made = Predictions.load(run / "predictions" / f"{split}.npz")
    logits = made.final_logits.copy()
    chosen = np.random.default_rng(seed).random(len(logits)) < share
    logits[chosen] = np.roll(logits[chosen], 1, axis=1)
    return change_predictions(run, split, logits=logits, logits_tta=None)


@pytest.fixture
def other(run: Path) -> Path:
    """A copy of the tiny run with another recipe, and worse."""
    copy = Path(shutil.copytree(run, run.parent / "other"))
    return flip(change_recipe(copy, "lr: 0.001", "lr: 0.002"), 0.5)


@pytest.fixture
def sister(run: Path) -> Path:
    """A copy of the tiny run with another seed."""
    return flip(change_recipe(Path(shutil.copytree(run, run.parent / "sister")), "\nseed: 0", "\nseed: 1"), 0.1)


# -- what it prints and makes -------------------------------------------------------------------------------------


def test_tables_and_verdict_on_stdout(command, run, other):
    outcome = command("compare", run, other, "--split", "validation", "--resamples", 1000)
    assert outcome.code == 0, outcome.err
    assert "Validation split, 144 images." in outcome.out
    assert "optim.lr" in outcome.out
    assert "tiny is better than other by" in outcome.out.replace("\n ", "")
    assert "-o DIR" in outcome.err
    assert not list(Path().glob("**/comparison.html"))


def test_help_names_the_allowed_draws(command):
    from cifarlab.comparison import LEAST_RESAMPLES, MOST_RESAMPLES

    assert f"{LEAST_RESAMPLES} to {MOST_RESAMPLES}" in " ".join(command("compare", "--help").out.replace("│", " ").split())


def test_json_alone_on_stdout(command, run, other):
    outcome = command("compare", run, other, "--split", "validation", "--resamples", 1000, "--json")
    value = json.loads(outcome.out)
    pair = value["pairs"][0]
    assert pair["better"] == "first"
    assert pair["difference"]["low"] > 0
    assert pair["verdict"].startswith("tiny is better than other by")


def test_a_page_with_pictures_of_the_data(command, run, other):
    outcome = command("compare", run, other, "--split", "validation", "--resamples", 1000, "-o", "page")
    assert outcome.code == 0, outcome.err
    assert "without pictures" not in outcome.err
    assert Path("page/comparison.html").stat().st_size > 50_000
    assert Path("page/figures/pair_1/first_right.png").exists()


def test_data_that_has_gone_leaves_the_pictures_out(command, run, other):
    for each in (run, other):
        change_recipe(each, "name: digits\n  validation", "name: /nowhere\n  validation")
    outcome = command("compare", run, other, "--split", "validation", "--resamples", 1000, "-o", "page")
    assert outcome.code == 0, outcome.err
    assert "the page is made without pictures of the data" in outcome.err
    assert "are not shown" in Path("page/comparison.html").read_text()


def test_seeds_are_pooled_and_the_baseline_may_be_named_alone(command, run, sister, other):
    outcome = command("compare", run, sister, "--baseline", other, "--split", "validation", "--resamples", 1000, "--json")
    value = json.loads(outcome.out)
    assert [group["runs"] for group in value["groups"]] == [["tiny", "sister"], ["other"]]
    assert [(pair["first"], pair["second"]) for pair in value["pairs"]] == [("digits", "other")]
    assert value["pairs"][0]["seeds"] == [2, 1]
    assert "other has one seed only" in value["pairs"][0]["verdict"]


def test_a_recipe_written_before_a_field_existed_is_the_same_recipe(command, run, sister, other):
    text = (sister / "recipe.yaml").read_text()
    assert "  cutout: 0\n" in text
    (sister / "recipe.yaml").write_text(text.replace("  cutout: 0\n", ""))
    outcome = command("compare", run, sister, other, "--split", "validation", "--resamples", 1000, "--json")
    assert [group["runs"] for group in json.loads(outcome.out)["groups"]] == [["tiny", "sister"], ["other"]]


def test_two_seeds_of_one_recipe(command, run, sister):
    outcome = command("compare", run, sister, "--split", "validation", "--resamples", 1000)
    assert "both are of one recipe" in outcome.out.replace("\n ", "")


def test_missing_validation_predictions_are_made(command, run, other):
    (run / "predictions" / "validation.npz").unlink()
    outcome = command("compare", run, other, "--split", "validation", "--resamples", 1000)
    assert outcome.code == 0, outcome.err
    assert "tiny has no predictions of the validation split: making them" in outcome.err
    assert (run / "predictions" / "validation.npz").exists()
    assert RunDirectory.open(run).status()["test_reads"] == 0


def test_missing_test_predictions_are_made_when_asked_and_counted(command, run, other):
    outcome = command("compare", run, other, "--evaluate", "--resamples", 1000)
    assert outcome.code == 0, outcome.err
    assert "this reading is counted in the run" in outcome.err
    assert [RunDirectory.open(each).status()["test_reads"] for each in (run, other)] == [1, 1]
    assert command("compare", run, other, "--evaluate", "--resamples", 1000).code == 0
    assert RunDirectory.open(run).status()["test_reads"] == 1  # what is there is not read again


def test_runs_without_weights_are_comparable_by_their_predictions(command, run, other):
    """As classical baselines leave them."""
    shutil.rmtree(other / "weights")
    (other / "bundle.json").unlink()
    for name in ("checkpoint.pt", "metrics.jsonl", "results.csv"):
        (other / name).unlink(missing_ok=True)
    assert command("compare", run, other, "--split", "validation", "--resamples", 1000, "-o", "page").code == 0


def test_what_is_there_is_compared_without_pytorch(command, run, other):
    code = "import sys, cifarlab; cifarlab.compare(sys.argv[1:], split='validation', resamples=1000); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code, str(run), str(other)], check=True, timeout=300, capture_output=True, text=True)
    assert ended.stdout == "False\n"


# -- Python ---------------------------------------------------------------------------------------------------


def test_python_takes_paths_and_runs_and_gives_a_frozen_result(run, other):
    found = cifarlab.compare([cifarlab.Run(run), str(other)], split="validation", resamples=1000)
    assert found.pairs[0].judgement == "first"
    assert found.verdicts[0] == found.pairs[0].verdict
    assert found.page is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.split = "test"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ("runs/a", {}, "runs must be a list of run directories, such as ['runs/a', 'runs/b'] (given: 'runs/a')"),
        (Path("runs/a"), {}, "runs must be a list of run directories"),
        (5, {}, "(given: 5)"),
        (None, {}, "(given: None)"),
        ([None], {}, "this is no run directory: None"),
        (["runs/a", "runs/b"], {"resamples": "x"}, "resamples 'x': allowed is a whole number from 1000"),
        (["runs/a", "runs/b"], {"resamples": 1e4}, "resamples 10000.0: allowed is a whole number"),
        (["runs/a", "runs/b"], {"seed": None}, "seed None: allowed is a whole number from 0"),
        (["runs/a", "runs/b"], {"baseline": 5}, "baseline must be a run directory"),
        (["runs/a", "runs/b"], {"output": 5}, "output must be a folder or None (given: 5)"),
    ],
)
def test_python_is_told_what_its_arguments_are(arguments, options, words):
    with pytest.raises(UsageError) as caught:
        cifarlab.compare(arguments, **options)
    assert words in str(caught.value)


def test_python_raises_usage_errors(run):
    with pytest.raises(UsageError, match="at least two runs"):
        cifarlab.compare([run])


# -- what it refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/tiny"], "a comparison needs at least two runs; given: only runs/tiny"),
        (["runs/tiny", "runs/tiny"], "runs/tiny is given twice: a run compared with itself says nothing"),
        (["runs/tiny", "./runs/../runs/tiny"], "(as runs/tiny, too)"),
        (["runs/tiny", "runs/tinny"], "no run at runs/tinny: there is no such folder. Did you mean runs/tiny?"),
        (["runs/tiny", "runs"], "runs is not a run directory"),
        (["runs/tiny", "runs/other", "--split", "tset"], "unknown split 'tset'; did you mean 'test'?"),
        (["runs/tiny", "runs/other", "--resamples", "10"], "resamples 10: allowed is a whole number from 1000 to 1000000"),
        (["runs/tiny", "runs/other", "--seed", "-1"], "seed -1"),
        (["runs/tiny", "runs/other", "-o", "runs/tiny/recipe.yaml"], "it is a file"),
        (["runs/tiny", "runs/other", "-o", "runs/tiny"], "it is a run directory"),
        (["runs/tiny", "runs/other", "-o", "no/such"], "no such folder as no"),
        (["runs/tiny", "runs/other"], "cifarlab evaluate runs/tiny --split test (or --evaluate here)"),
        (["runs/tiny", "runs/other", "--baseline", "runs/nope"], "no run at runs/nope"),
        ([], "Missing argument 'RUN RUN...'"),
    ],
)
def test_mistakes(refused, run, other, arguments, message):
    assert message in refused("compare", *arguments)


def broken(other: Path, kind: str) -> None:
    """Spoil a run in one way."""
    made = Predictions.load(other / "predictions" / "validation.npz")
    n = len(made.labels)
    changes = {
        "ids": {"sample_ids": np.array([f"train/{i:05d}" for i in range(n)])},
        "fewer": {"sample_ids": made.sample_ids[:-1], "labels": made.labels[:-1], "logits": made.logits[:-1], "logits_tta": None},
        "pixels": {"checksum": "00" * 32},
        "labels": {"labels": (made.labels + 1) % 10},
        "order": {"sample_ids": made.sample_ids[::-1]},
        "classes": {"class_names": tuple("abcdefghij")},
        "class order": {"class_names": made.class_names[::-1]},
        "nan": {"logits": np.full_like(made.logits, np.nan), "logits_tta": None},
        "shape": {"logits": made.logits[:, :5], "logits_tta": None},
    }
    if kind in changes:
        change_predictions(other, **changes[kind])
    elif kind == "split":
        file = other / "predictions" / "validation.npz"
        dataclasses.replace(made, split="test").save(file)
    elif kind == "running":
        RunDirectory.open(other).update_status(state="preempted")
    elif kind == "half a file":
        (other / "predictions" / "validation.npz").write_bytes(b"PK")
    elif kind == "no env":
        (other / "env.json").unlink()
    elif kind == "recipe":
        (other / "recipe.yaml").write_text("a: [1")
    elif kind == "no weights":
        (other / "predictions" / "validation.npz").unlink()
        shutil.rmtree(other / "weights")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ids", "have other sample ids: their validation splits hold 144 and 144 images, "),
        ("fewer", "have other sample ids: their validation splits hold 143 and 144 images, 143 of them in both"),
        ("pixels", "have other data: the pixels of their validation splits differ, though the sample ids are the same"),
        ("labels", "have other labels: 144 of 144 validation images differ in their class"),
        ("order", "have the same validation images in another order"),
        ("classes", "have other classes: a, b, c, ... (10) and 0, 1, 2, ... (10)"),
        ("class order", "have other classes: the same classes in another order"),
        ("split", "holds predictions of the test split, not of validation"),
        ("nan", "is damaged"),
        ("shape", "is damaged"),
        ("running", "runs/other is preempted, not done. Finish it with: cifarlab train --resume runs/other"),
        ("half a file", "is not a readable predictions file"),
        ("no env", "env.json does not exist"),
        ("recipe", "recipe.yaml cannot be read"),
        ("no weights", "has no predictions of the validation split, and no weights to make them with"),
    ],
)
def test_runs_that_cannot_be_compared(refused, run, other, kind, message):
    broken(other, kind)
    assert message in refused("compare", run, other, "--split", "validation")


def test_a_copy_is_no_second_run(refused, run):
    shutil.copytree(run, "runs/copy")
    assert "are copies of one run" in refused("compare", "runs/tiny", "runs/copy", "--split", "validation")


def test_a_copy_of_any_run_is_found(refused, run, other):
    shutil.copytree(other, "runs/copy")
    told = refused("compare", "runs/tiny", "runs/other", "runs/copy", "--split", "validation")
    assert "runs/copy and runs/other are copies of one run" in told


def test_another_validation_split_says_which_field_made_it(refused, run, other):
    change_recipe(other, "split_seed: 0", "split_seed: 5")
    broken(other, "ids")
    assert "They differ in data.split_seed: 5 and 0" in refused("compare", run, other, "--split", "validation")


def test_other_data_is_refused_before_anything_is_evaluated(refused, run, other):
    env = json.loads((other / "env.json").read_text())
    (other / "env.json").write_text(json.dumps({**env, "checksum_test": "00" * 32}))
    assert "the checksums of their test splits differ" in refused("compare", run, other, "--evaluate")
    assert RunDirectory.open(run).status()["test_reads"] == 0


def test_a_run_without_a_validation_split_is_told_of(refused, run, other):
    (other / "predictions" / "validation.npz").unlink()
    env = json.loads((other / "env.json").read_text())
    (other / "env.json").write_text(json.dumps({**env, "sizes": {"train": 10, "validation": 0, "test": 10}}))
    assert "has no validation split (data.validation is 0); compare it with --split test" in refused(
        "compare", run, other, "--split", "validation"
    )


def test_all_problems_at_once(refused, run, other):
    broken(other, "running")
    error = refused("compare", run, run, other, "runs/nope", "--split", "validation", "--resamples", "1", "-o", "no/such")
    assert "compare: 5 problems" in error
    for part in ("resamples 1", "no such folder as no", "is given twice", "runs/other is preempted", "no run at runs/nope"):
        assert part in error
