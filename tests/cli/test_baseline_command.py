"""`cifarlab baseline`: fits, tables, repeats, and refuses everything at once before it computes."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from tiny_run import Outcome

import cifarlab
from cifarlab.cli.main import main
from cifarlab.errors import UsageError

SMALL = ("baseline", "--data", "digits", "--train-size", "120", "--threads", "1")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder with two fitted baselines, and what was printed; made once. Tests take `fitted`, a copy."""
    here = tmp_path_factory.mktemp("baselines")
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setattr(sys, "argv", ["cifarlab", *SMALL, "tree", "knn", "--features", "pixels", "--set", "knn.k=[1,3]"])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with contextlib.suppress(SystemExit):
            main()
    return here / "runs", out.getvalue(), err.getvalue()


@pytest.fixture
def fitted(made: tuple[Path, str, str], command) -> Outcome:
    """As runs/ of the current folder."""
    shutil.copytree(made[0], "runs")
    return Outcome(0, made[1], made[2])


def test_it_prints_a_table_and_leaves_runs_with_reports(fitted):
    for pattern in (r"tree +pixels +[\d.]+ %", r"knn +pixels +[\d.]+ %", "95 % interval"):
        assert re.search(pattern, fitted.out)
    assert "test accuracy" in fitted.err
    for name in ("tree-pixels-0", "knn-pixels-0"):
        run = Path("runs/baselines") / name
        assert json.loads((run / "status.json").read_text())["test_reads"] == 1
        assert {"recipe.yaml", "env.json", "baseline.json", "metrics.json", "report.html"} <= {path.name for path in run.iterdir()}
        assert "A classical baseline, no network" in (run / "report.html").read_text()
    table = Path("runs/baselines/baselines.md").read_text()
    assert "| tree " in table
    command_line = "cifarlab baseline tree knn --data digits --features pixels --seeds 1 --set 'knn.k=[1,3]' --train-size 120"
    assert command_line in " ".join(table.split())


def test_repeated_it_uses_what_is_there(fitted, command):
    before = Path("runs/baselines/tree-pixels-0/env.json").stat().st_mtime_ns
    outcome = command(*SMALL, "tree", "--features", "pixels", "-o", "table.md", "--json")
    assert "was there already" in outcome.err
    assert Path("runs/baselines/tree-pixels-0/env.json").stat().st_mtime_ns == before
    (row,) = json.loads(outcome.out)["baselines"]
    assert row["baseline"] == "tree"
    assert 0 < row["low"] < row["accuracy"] < row["high"] < 1
    assert Path("table.md").read_text() == Path("runs/baselines/baselines.md").read_text()


def test_a_table_of_what_is_there_names_what_is_not(fitted, command, refused):
    outcome = command(*SMALL, "tree", "forest", "--features", "pixels", "--no-fit")
    assert outcome.code == 0, outcome.err
    assert not Path("runs/baselines/forest-pixels-0").exists()
    assert "Not fitted yet: forest-pixels-0." in Path("runs/baselines/baselines.md").read_text()
    assert "leave out --no-fit" in refused(*SMALL, "forest", "--features", "hog", "--no-fit")


def test_evaluate_and_report_take_its_runs(fitted, command):
    outcome = command("evaluate", "runs/baselines/knn-pixels-0", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["test_reads"] == 1  # nothing was read again
    assert "stored predictions" in outcome.err
    assert command("report", "runs/baselines/knn-pixels-0").code == 0


def test_compare_takes_its_runs(fitted, command):
    outcome = command("compare", "runs/baselines/knn-pixels-0", "runs/baselines/tree-pixels-0")
    assert outcome.code == 0, outcome.err
    assert "knn" in outcome.out + outcome.err


def test_predict_and_train_and_export_refuse_its_runs(fitted, refused):
    assert "a classical baseline, which keeps predictions but no network" in refused("predict", "runs/baselines/knn-pixels-0", "x.png")
    assert "cifarlab baseline knn" in refused("train", "runs/baselines/knn-pixels-0/recipe.yaml")


def test_seeds_are_pooled_and_neighbours_have_none(command):
    outcome = command(*SMALL, "knn", "forest", "--features", "pixels", "--seeds", "2", "--set", "forest.trees=10", "--json", "--no-report")
    rows = {row["baseline"]: row for row in json.loads(outcome.out)["baselines"]}
    assert (rows["knn"]["n"], rows["forest"]["n"]) == (1, 2)
    assert rows["forest"]["sd"] is not None
    assert rows["knn"]["sd"] is None


def test_a_networks_run_stands_beside(command, run):
    assert command("evaluate", run, "--no-report").code == 0
    outcome = command(*SMALL, "tree", "--features", "pixels", "--beside", run, "--no-report")
    assert outcome.code == 0, outcome.err
    assert "network: digits" in Path("runs/baselines/baselines.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("knnn",), ["did you mean 'knn'?"]),
        (("knn", "--features", "hogg"), ["did you mean 'hog'?"]),
        (("knn", "--set", "knn.q=3"), ["unknown option 'knn.q'", "knn.k"]),
        (("knn", "--set", "optim.lr=3"), ["unknown option 'optim.lr'"]),
        (("knn", "--set", "knn.k=0"), ["knn.k: must be a whole number of at least 1"]),
        (("knn", "--set", "knn.k=many"), ["given: 'many'"]),
        (("cmeans", "--set", "cmeans.fuzzifier=1"), ["a number above 1"]),
        (("knn", "--set", "knn.k=121"), ["knn.k=121 is more than the 120 training images"]),
        (("kmeans", "--set", "kmeans.clusters=[10,500]"), ["kmeans.clusters=500"]),
        (("knn", "--seeds", "0"), ["seeds=0"]),
        (("nope", "--features", "no", "--set", "a=1", "--seeds", "0"), ["4 problems", "nope", "'no'", "'a'", "seeds=0"]),
        (("knn", "--set", "data.validation=2"), ["data.validation"]),
        (("knn", "--set", "data.classes=[cat,dog]"), ["unknown class 'cat'"]),
        (("knn", "-o", "no/where.md"), ["name a file in a folder that exists"]),
        (("knn", "--beside", "gone"), ["no run at gone"]),
    ],
)
def test_mistakes_are_told_all_at_once_and_nothing_is_made(refused, arguments, words):
    error = refused(*SMALL, *arguments)
    for word in words:
        assert word in error


def test_default_candidates_that_exceed_the_data_are_left_out_and_told_of(command):
    outcome = command("baseline", "--data", "digits", "--train-size", "40", "--threads", "1", "--features", "pixels", "--no-report")
    assert outcome.code == 0, outcome.err
    for line in (
        "kmeans.clusters=200, 50 left out: more than the 40 training images; tried instead: 10",
        "cmeans.clusters=100 left out: more than the 40 training images; tried instead: 40",
        "knn.k=50 left out: more than the 40 training images; tried instead: 10, 1, 5, 20",
    ):
        assert outcome.err.count(line) == 1
    tried = json.loads(Path("runs/baselines/kmeans-pixels-0/baseline.json").read_text())["candidates"]
    assert [one["arguments"]["clusters"] for one in tried] == [10]
    assert not re.search("(tree|forest|svm).* left out", outcome.err)


def test_candidates_that_were_given_are_refused_and_not_left_out(refused):
    assert "kmeans.clusters=200 is more than the 40 training images" in refused(
        "baseline", "--data", "digits", "--train-size", "40", "--features", "pixels", "--set", "kmeans.clusters=[10,200]"
    )


@pytest.mark.parametrize("runs", ["file", "file/below"])
def test_a_file_in_place_of_the_folder_is_refused_before_anything_starts(refused, command, runs):
    Path("file").write_text("kept")
    assert "file is a file; name a folder" in refused(*SMALL, "tree", "--features", "pixels", "--runs", runs)
    assert Path("file").read_text() == "kept"


def test_python_takes_one_name_as_one_name(fitted):
    found = cifarlab.baseline("tree", data="digits", train_size=120, features="pixels", threads=1, report=False)
    assert [run.path.name for run in found.runs] == ["tree-pixels-0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope",), "unknown baseline 'nope'"),
        ((5,), "names must be a list of baselines, such as ['knn', 'svm'] (given: 5)"),
        (([None],), "(given: [None])"),
        ((None,), "(given: None)"),
    ],
)
def test_python_is_told_what_names_are(command, arguments, words):
    with pytest.raises(UsageError) as caught:
        cifarlab.baseline(*arguments, data="digits")
    assert words in str(caught.value)
    assert str(caught.value).count("unknown baseline") <= 1


@pytest.mark.parametrize(("wrong", "words"), [({"seeds": "x"}, "seeds='x'"), ({"beside": 5}, "beside must be a list of run directories")])
def test_python_is_told_what_other_arguments_are(command, wrong, words):
    with pytest.raises(UsageError, match=words):
        cifarlab.baseline("tree", data="digits", **wrong)


def test_a_differing_run_is_one_problem_on_one_line(fitted, refused):
    error = refused(*SMALL, "knn", "--features", "pixels", "--set", "knn.k=3")
    assert "1 problem\n" in error
    (line,) = [line for line in error.splitlines() if line.startswith("  - ")]
    assert "model.arguments.k: [1, 3] -> 3" in line
    assert line.endswith("--runs DIR")


def test_another_run_at_its_place_is_kept(fitted, refused):
    assert "data.train_size: 120 -> 100" in refused(
        "baseline", "tree", "--data", "digits", "--train-size", "100", "--features", "pixels", "--threads", "1"
    )


def test_a_network_without_test_predictions_cannot_stand_beside(run, refused):
    (run / "predictions" / "test.npz").unlink(missing_ok=True)
    assert "cifarlab evaluate" in refused(*SMALL, "tree", "--features", "pixels", "--beside", run)
