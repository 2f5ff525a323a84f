"""Time to accuracy: the order of the runs, the table's arithmetic, and one short measurement from beginning to end."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from benchmark_files import load

timing = load("time_to_accuracy")


def results() -> list[object]:
    rows = [("fast", 0, 0.941, 300.0, 2e14), ("airbench94", 0, 0.940, 700.0, 4e14), ("fast", 1, 0.939, 310.0, 2e14)]
    return [
        timing.Result(recipe=recipe, seed=seed, accuracy=accuracy, one_view=accuracy - 0.01, seconds=s, operations=o, peak=1e12, load=0.1)
        for recipe, seed, accuracy, s, o in rows
    ]


ABOUT = dict.fromkeys((*timing.SAME, "date", "command"), "x")


def test_the_reference_runs_in_between_and_not_at_an_end() -> None:
    options = timing.parse(["fast", "--seeds", "4", "--reference", "airbench94", "-o", "x.md"])
    assert options.plan() == [("fast", 0), ("fast", 1), ("airbench94", 0), ("fast", 2), ("fast", 3)]


def test_the_table_states_mean_spread_interval_ratio_and_share_of_the_peak() -> None:
    options = timing.parse(["fast", "--target", "94", "--seeds", "2", "--reference", "airbench94", "-o", "x.md"])
    page = timing.render(results(), options, ABOUT)
    # Student's t with one degree of freedom: 12.706 x sd / sqrt(2)
    half = 100 * 12.7062 * statistics.stdev([0.941, 0.939]) / 2**0.5
    assert f"| `fast` | 2 | 94.00 % | 0.14 | {94 - half:.2f} to {94 + half:.2f} | 93.00 % | 305 | 7 | 0.2 | 66 % |" in page
    assert "`fast` reaches 94 % on the mean of its seeds." in page
    assert f"Against `airbench94`: {305 / 700:.3f} times its seconds, 0.500 times its operations." in page


def test_a_mean_below_the_target_is_said_to_be_below() -> None:
    options = timing.parse(["fast", "--target", "94.1", "-o", "x.md"])
    assert "`fast` does not reach 94.1 %" in timing.render(results(), options, ABOUT)


@pytest.mark.parametrize("words", [["nosuch"], ["fast", "--seeds", "0"], ["fast", "--target", "120"], ["fast", "--reference", "fast"]])
def test_a_wrong_command_ends_with_2(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        timing.main([*words, "-o", str(tmp_path / "x.md")])
    assert ended.value.code == 2


def test_a_measurement_from_beginning_to_end_which_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["digits", "--target", "50", "--seeds", "1", "--data", "digits", "--set", "train.duration=2ep"]
    words += ["--runs", str(tmp_path / "runs"), "-o", str(tmp_path / "out.md")]
    assert timing.main(words) == 0
    first = json.loads((tmp_path / "out.json").read_text())
    assert first["results"][0]["operations"] > 1e10
    assert "`digits` reaches 50 %" in (tmp_path / "out.md").read_text()
    trained = (tmp_path / "runs" / "digits-0" / "weights" / "last.safetensors").stat().st_mtime_ns
    assert timing.main(words) == 0
    assert (tmp_path / "runs" / "digits-0" / "weights" / "last.safetensors").stat().st_mtime_ns == trained
    assert json.loads((tmp_path / "runs" / "digits-0" / "status.json").read_text())["test_reads"] == 1
    capsys.readouterr()
    # Another recipe of that name is not taken for this one.
    assert timing.main([*words, "--set", "optim.lr=0.01"]) == 1
    assert "trained with another recipe" in capsys.readouterr().err
