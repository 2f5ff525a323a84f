"""The page of a sweep from hand-made runs: what it concludes, and what it leaves open."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarlab.errors import RunError
from cifarlab.reports import SweepFacts, SweepRun, read_sweep, sweep_summary, write_studies, write_sweep
from cifarlab.reports.sweep_points import numbers_of, value_text
from cifarlab.runs import Predictions, RunDirectory

IMAGES = 1000


def make_run(
    folder: Path, name: str, accuracy: float, *, split_accuracy: dict[str, float] | None = None, checksum: str = "5f" * 32
) -> None:
    """A finished run whose predictions have exactly these accuracies."""
    run = RunDirectory.create(folder, name, recipe_yaml="name: made\n", env={"processor": "A processor", "device": "cpu", "threads": 1})
    for split, value in {"validation": accuracy, **(split_accuracy or {})}.items():
        labels = np.arange(IMAGES, dtype=np.int64) % 2
        guess = labels.copy()
        guess[: round((1 - value) * IMAGES)] ^= 1
        logits = np.zeros((IMAGES, 2), dtype=np.float32)
        logits[np.arange(IMAGES), guess] = 2.0
        ids = np.array([f"{split}/{n}" for n in range(IMAGES)])
        Predictions(ids, labels, logits, None, "none", ("a", "b"), split, checksum).save(run.predictions_file(split))
        if split == "test":
            run.count_test_read()
    run.append_epoch({"epoch": 1, "train_accuracy": 0.5, "validation_accuracy": accuracy, "train_loss": 1.0, "validation_loss": 1.1})
    run.append_epoch({"epoch": 2, "train_accuracy": 0.6, "validation_accuracy": accuracy, "train_loss": 0.9, "validation_loss": 1.0})
    run.update_status(state="done", seconds=12.0, epochs=2, selected="best")


def make_sweep(folder: Path, accuracies: Sequence[Sequence[float]], **given: Any) -> SweepFacts:
    """A sweep of batch size 32, 64, ...; one list of accuracies a point, one run a value."""
    runs = []
    for point, values in enumerate(accuracies):
        for seed, value in enumerate(values):
            name = f"batch_size-{32 * 2**point}-seed-{seed}"
            make_run(folder, name, value, split_accuracy={"test": 0.99 - value / 2} if given.get("test") else None)
            runs.append(SweepRun(name, point, seed))
    facts: dict[str, Any] = {
        "study": "made",
        "name": "made",
        "title": "Which batch size?",
        "label": "Batch size",
        "note": "",
        "recipe": "resnet20",
        "keys": ("train.batch_size",),
        "points": tuple((32 * 2**point,) for point in range(len(accuracies))),
        "runs": tuple(runs),
    }
    return SweepFacts(**{**facts, **given})


CLEAR = ([0.900, 0.902, 0.901], [0.899, 0.903, 0.900], [0.800, 0.802, 0.801])


def page_of(folder: Path, facts: SweepFacts) -> str:
    """The Markdown page as one line of words, so that line breaks do not matter."""
    _, _, markdown = write_sweep(folder, facts)
    return " ".join(markdown.read_text().replace("\n> ", "\n").split())


def test_a_clear_difference_is_shown_and_a_small_one_is_left_open(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_sweep(tmp_path, CLEAR))
    assert "Best on validation: batch_size 32, 90.10 % accuracy (mean of 3 seeds, 95 % interval 89.85 to 90.35 %)." in page
    assert "Shown to be worse than that: batch_size 128 (−10.00 points" in page
    assert "Not told apart from it by these seeds, which does not say that they are equal: batch_size 64" in page
    assert "differences below about" in page
    assert "same 1 000 validation images" in page.replace("\u00a0", " ")
    assert "The test split was not read." in page
    assert "| 32 (best) | 3 | 90.10 | 0.10 | 89.85 to 90.35 |" in page


@pytest.mark.parametrize(
    ("keys", "points", "layout"),
    [
        (("data.classes",), ((["deer", "dog"],), (["cat", "ship"],)), "grid"),
        (("train.freeze",), (([],), ([{"parameters": "*", "after": "1ep"}],)), "grid"),
        (("model.arguments",), (({"width": 16},), ({"width": 32},)), "grid"),
        (("data.classes", "seed"), ((["deer", "dog"], 1), (["cat", "ship"], 2)), "list"),
    ],
)
def test_values_that_are_lists_or_mappings_have_their_place(tmp_path: Path, keys: Any, points: Any, layout: str) -> None:
    facts = make_sweep(tmp_path, CLEAR[1:], keys=keys, points=points, layout=layout)
    _, html, _ = write_sweep(tmp_path, facts)
    assert html.exists()
    assert (tmp_path / "figures" / "sweep.png").exists()
    assert write_sweep(tmp_path, read_sweep(tmp_path))[1] == html  # as it comes back from sweep.json, too


def test_one_run_a_point_concludes_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_sweep(tmp_path, ([0.9], [0.5])))
    assert "this sweep cannot say whether any of these values is better than another" in page
    assert "Shown to be worse" not in page
    assert "Differences between points" not in page


def test_seeds_that_agree_to_the_last_image_measure_no_noise(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_sweep(tmp_path, ([1.0, 1.0, 1.0], [0.99, 0.99, 0.99])))
    assert "Best on validation: batch_size 32, 100.00 % accuracy (the same with each of 3 seeds)." in page
    assert "The seeds of every point gave equal accuracies. That does not measure the noise between seeds" in page
    assert "here 1 000)" in page.replace("\u00a0", " ")
    assert "| 32 (best) | 3 | 100.00 | 0.00 | - |" in page
    assert "100.00 to 100.00" not in page
    assert "differences below about" not in page


def test_one_point_with_a_spread_is_enough_to_know_of_it(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_sweep(tmp_path, ([1.0, 1.0, 1.0], [0.98, 0.99, 0.97])))
    assert "(the same with each of 3 seeds)" in page
    assert "gave equal accuracies" not in page
    assert "differences below about" in page


def test_an_exact_tie_is_named_as_one(tmp_path: Path) -> None:
    facts = make_sweep(tmp_path, ([0.9, 0.92, 0.91], [0.92, 0.91, 0.9], [0.8, 0.81, 0.82]))  # the same three, added in another order
    page = page_of(tmp_path, facts)
    assert "Tied for best on validation: batch_size 32; batch_size 64, each with a mean accuracy of 91.00 %" in page
    assert "Best on validation: batch_size 32, 91" not in page
    assert "(tied)" in page
    assert "(best, tied)" in page
    result, _, _ = write_sweep(tmp_path, facts)
    assert [point["tied"] for point in sweep_summary(result)["points"]] == [True, True, False]


def test_of_tied_points_that_of_the_lower_loss_is_marked(tmp_path: Path) -> None:
    facts = make_sweep(tmp_path, ([0.9], [0.9]))
    assert "batch_size 32 is marked as best for being named first: the losses are equal, too" in page_of(tmp_path, facts)
    run = RunDirectory.open(tmp_path / "batch_size-64-seed-0")
    made = Predictions.load(run.predictions_file("validation"))
    surer = np.where((made.logits.argmax(axis=1) == made.labels)[:, None], 2 * made.logits, made.logits)
    dataclasses.replace(made, logits=surer).save(run.predictions_file("validation"))
    assert "batch_size 64 is marked as best for its lower loss" in page_of(tmp_path, facts)


def test_one_point_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    assert "nothing to compare it with" in page_of(tmp_path, make_sweep(tmp_path, ([0.9, 0.91],)))


def test_the_best_point_is_named_by_validation_where_test_says_otherwise(tmp_path: Path) -> None:
    facts = make_sweep(tmp_path, CLEAR, test=True)  # on test the third point is best
    result, _, _ = write_sweep(tmp_path, facts)
    assert result.best is result.points[0]
    assert np.mean(result.points[2].accuracies("test")) > np.mean(result.points[0].accuracies("test"))
    page = page_of(tmp_path, facts)
    assert "The test split was read 9 times by the 9 runs of this sweep" in page
    assert "Test accuracy %" in page
    assert (tmp_path / "figures" / "sweep-test.png").exists()


def test_a_shortened_sweep_says_so_in_lead_table_and_caption(tmp_path: Path) -> None:
    short = "shortened: 6 epochs in place of 200 epochs"
    facts = make_sweep(tmp_path, CLEAR, shortened=short, note="In full: 200 epochs.")
    assert page_of(tmp_path, facts).count("Shortened: 6 epochs in place of 200 epochs") >= 4
    assert "not those of the study in full. In full: 200 epochs." in page_of(tmp_path, facts)


def test_pooled_data_and_other_validation_images_are_told(tmp_path: Path) -> None:
    facts = make_sweep(tmp_path, CLEAR, pooled=True, nested=True)
    make_run(tmp_path, "other", 0.9, checksum="00" * 32)
    facts = dataclasses.replace(facts, runs=(*facts.runs, SweepRun("other", 2, 3)))
    page = page_of(tmp_path, facts)
    assert "not comparable with published test accuracies" in page
    assert "judged on different validation images" in page
    assert "Training sets are nested" in page


def set_env(folder: Path, facts: SweepFacts, number: int, **env: Any) -> None:
    """Other words in the env.json of one run."""
    file = folder / facts.runs[number].name / "env.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **env}))


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"threads": 2}, "8 runs with A processor, 1 thread; 1 run with A processor, 2 threads"),
        ({"processor": "Another"}, "8 runs with A processor, 1 thread; 1 run with Another, 1 thread"),
        ({"precision": "bf16"}, "8 runs with A processor, 1 thread; 1 run with A processor, 1 thread, precision bf16"),
    ],
)
def test_runs_that_were_not_trained_alike_are_told_of_before_the_result(tmp_path: Path, env: dict[str, Any], told: str) -> None:
    facts = make_sweep(tmp_path, CLEAR)
    set_env(tmp_path, facts, 8, **env)
    page = page_of(tmp_path, facts)
    assert f"The runs were not all trained alike: {told}." in page
    assert page.index("not all trained alike") < page.index("Best on validation")
    (notice,) = sweep_summary(write_sweep(tmp_path, facts)[0])["notices"]
    assert "not all trained alike" in notice


def test_runs_that_were_trained_alike_or_vary_in_precision_need_no_notice(tmp_path: Path) -> None:
    facts = make_sweep(tmp_path, CLEAR)
    assert "trained alike" not in page_of(tmp_path, facts)
    set_env(tmp_path, facts, 8, precision="bf16")
    varied = dataclasses.replace(facts, keys=("train.precision",), points=(("fp32",), ("tf32",), ("bf16",)))
    assert "trained alike" not in page_of(tmp_path, varied)


def test_runs_without_a_result_are_named_with_their_reason(tmp_path: Path) -> None:
    facts = make_sweep(tmp_path, CLEAR)
    RunDirectory.create(tmp_path, "begun", recipe_yaml="name: made\n", env={})
    (tmp_path / "half").mkdir()
    more = (SweepRun("begun", 0, 3), SweepRun("half", 1, 3), SweepRun("skipped", 2, 3, "not run: too long"))
    page = page_of(tmp_path, dataclasses.replace(facts, runs=(*facts.runs, *more)))
    assert "begun: not finished: its state is running" in page
    assert "half" in page
    assert "skipped: not run: too long" in page
    assert "9 of 12 runs finished" in page


def test_a_sweep_without_a_finished_run_has_a_page_too(tmp_path: Path) -> None:
    facts = dataclasses.replace(make_sweep(tmp_path, CLEAR), runs=(SweepRun("none", 0, 0, "not run"),))
    page = page_of(tmp_path, facts)
    assert "No run is finished" in page
    assert "none: not run" in page


def test_the_description_is_read_back_equal_and_damage_is_told(tmp_path: Path) -> None:
    facts = make_sweep(tmp_path, CLEAR, changed=("a=b",), test=False)
    write_sweep(tmp_path, facts)
    assert read_sweep(tmp_path) == facts
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(RunError, match="not a description of a sweep"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text("[")
    with pytest.raises(RunError, match="cannot read"):
        read_sweep(tmp_path)


def test_the_same_files_give_the_same_page(tmp_path: Path) -> None:
    facts = make_sweep(tmp_path, CLEAR)
    first = [path.read_bytes() for path in write_sweep(tmp_path, facts)[1:]]
    assert [path.read_bytes() for path in write_sweep(tmp_path, facts)[1:]] == first


def test_the_summary_for_scripts_holds_every_seed(tmp_path: Path) -> None:
    result, _, _ = write_sweep(tmp_path, make_sweep(tmp_path, CLEAR))
    first = sweep_summary(result)["points"][0]
    assert first["values"] == {"train.batch_size": 32}
    assert (first["n"], first["best"]) == (3, True)
    assert first["accuracies"] == {"0": 0.9, "1": 0.902, "2": 0.901}


def test_a_second_varied_field_makes_lines(tmp_path: Path) -> None:
    facts = make_sweep(tmp_path, ([0.9, 0.91], [0.8, 0.81], [0.7, 0.71], [0.6, 0.61]))
    both = dataclasses.replace(facts, keys=("train.batch_size", "optim.lr"), points=((32, 0.1), (32, 0.2), (64, 0.1), (64, 0.2)))
    page = page_of(tmp_path, both)
    assert "batch_size 32, lr 0.1, 90.50 %" in page
    assert (tmp_path / "figures" / "sweep.png").stat().st_size > 10_000


def test_several_sweeps_on_one_page_with_figures_as_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_sweep(tmp_path / name, make_sweep(tmp_path / name, CLEAR, name=name, title=f"Study {name}", command=f"cifarlab sweep {name}"))
    page = write_studies(tmp_path / "docs" / "STUDIES.md", [tmp_path / "one", tmp_path / "two"], missing=["epochs"])
    text = page.read_text()
    assert text.count("(best)") == 2
    for part in ("## Study one", "## Study two", "](studies/one.svg)", "](studies/two-curves.svg)", "epochs: cifarlab sweep epochs"):
        assert part in text, part
    assert "<svg" in (tmp_path / "docs" / "studies" / "one.svg").read_text()


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ((32, 64.5), [32.0, 64.5]),
        (("2ep", "4.5ep"), [2.0, 4.5]),
        (("2ep", "4st"), None),
        ((2, "4ep"), None),
        (("sgd", "adam"), None),
        ((True, False), None),
        ((None, 3), None),
    ],
)
def test_which_values_are_quantities(values: tuple[object, ...], numbers: list[float] | None) -> None:
    assert numbers_of(values) == numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10000, "10\u00a0000"),
        (512, "512"),
        (0.1, "0.1"),
        (None, "none"),
        (True, "true"),
        (("deer", "dog"), "deer, dog"),
        ([], "none"),
        ({"width": 16}, "width: 16"),
    ],
)
def test_values_as_words(value: object, text: str) -> None:
    assert value_text(value) == text
