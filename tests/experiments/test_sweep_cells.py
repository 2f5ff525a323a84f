"""The cells of a study, and what is refused before the first begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cells import make_splits

from cifarlab.data.dataset import Splits
from cifarlab.errors import ConfigError
from cifarlab.experiments import unfinished
from cifarlab.experiments.study import Study, StudyPlan, make_study
from cifarlab.experiments.study_files import find_plan, parse_study
from cifarlab.experiments.sweep import estimate_sweep, fit_to_data, plan_sweep, refuse_taken
from cifarlab.recipes import get_recipe
from cifarlab.runs import RunDirectory

CPU = torch.device("cpu")


def study(**given: Any) -> Study:
    return make_study(StudyPlan("made", get_recipe("lab-base"), **{"changes": {"data.name": "fake"}, "length": "2ep", **given}))


def refusal(action: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        action()
    return caught.value.problems


# -- cells -----------------------------------------------------------------------------------------------------------------


def test_first_seeds_come_first_and_names_tell_the_values() -> None:
    cells = plan_sweep(study(vary={"batch_size": [32, 64], "lr": [0.01]}, seeds=2))
    assert [cell.name for cell in cells] == [
        f"batch_size-{size}-lr-0.01-seed-{seed}" for seed, size in ((0, 32), (0, 64), (1, 32), (1, 64))
    ]
    assert [(cell.recipe.seed, cell.point) for cell in cells] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_values_that_are_no_file_names_are_cleaned_and_stay_different() -> None:
    classes = [["deer", "dog"], ["dog", "deer"], ["deer dog", "x"]]
    cells = plan_sweep(study(vary={"data.classes": classes}, seeds=1))
    assert len({cell.name for cell in cells}) == 3
    for cell in cells:
        RunDirectory.check_free(Path("nowhere"), cell.name)


def test_the_test_split_is_read_only_where_it_is_asked_for() -> None:
    made = study(vary={"batch_size": [32]})
    assert {cell.splits for cell in plan_sweep(made)} == {("validation",)}
    assert {cell.splits for cell in plan_sweep(made, test=True)} == {("validation", "test")}


# -- refused with the data ---------------------------------------------------------------------------------------------------


def test_every_point_that_its_data_cannot_give_is_told(tiny_splits: Splits) -> None:
    made = study(vary={"data.classes": [["cat", "dgo"], ["unicorn", "dog"]], "data.train_size": [10, 5000]})
    said = "\n".join(refusal(lambda: fit_to_data(made, tiny_splits)))
    assert "'dgo'; did you mean 'dog'" in said
    assert "'unicorn'" in said
    assert refusal(lambda: fit_to_data(study(vary={"data.train_size": [50, 500, 5000]}), tiny_splits)) == [
        f"training size {size}: fake has 90 training images of 10 classes; choose 10 to 90" for size in (500, 5000)
    ]


def test_points_that_cannot_be_built_are_told_together(tiny_splits: Splits) -> None:
    cells = plan_sweep(study(vary={"input.crop": [32, 40, 48]}, seeds=1))
    assert len(refusal(lambda: estimate_sweep(cells, tiny_splits, device=CPU))) == 2


def test_fixed_steps_count_the_first_points_images(tiny_splits: Splits) -> None:
    made = fit_to_data(
        study(vary={"data.train_size": [80, 40]}, changes={"data.name": "fake", "batch_size": 32}, fixed="steps"), tiny_splits
    )
    assert [str(point.recipe.train.duration) for point in made.points] == ["6st", "6st"]  # 2 epochs of 3 batches


def test_what_lies_in_the_way_is_told_together_and_left(tmp_path: Path) -> None:
    cells = plan_sweep(study(vary={"batch_size": [32, 64, 128]}, seeds=1))
    (tmp_path / cells[0].name).mkdir()
    (tmp_path / cells[0].name / "notes.txt").write_text("mine")
    RunDirectory.create(tmp_path, cells[1].name, recipe_yaml=get_recipe("digits").to_yaml(), env={})
    (tmp_path / cells[2].name).mkdir()
    (tmp_path / cells[2].name / "recipe.yaml").write_text("half made")  # a kill left it: no problem
    said = refusal(lambda: refuse_taken(cells, tmp_path))
    assert len(said) == 2
    assert "is not a run directory" in said[0]
    assert "was made with another recipe" in said[1]
    assert (tmp_path / cells[0].name / "notes.txt").read_text() == "mine"


# -- the estimate ------------------------------------------------------------------------------------------------------------


def test_equal_steps_are_timed_once_and_costs_follow_their_number(tiny_splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    import cifarlab.experiments.sweep as module

    timed: list[int] = []
    monkeypatch.setattr(module, "step_seconds", lambda plan: timed.append(plan.total_steps) or 0.5)
    cells = plan_sweep(study(vary={"train.duration": ["2ep", "4ep"], "optim.lr": [0.1, 0.2]}, length=None, seeds=3))
    estimates = estimate_sweep(cells, tiny_splits, device=CPU)
    assert len(timed) == 1
    assert len(estimates) == 12
    first, last = estimates[cells[0].name], estimates[cells[3].name]
    assert first == pytest.approx(0.5 * 4 * module.ESTIMATE_MARGIN)  # 90 images in batches of 64
    assert last == pytest.approx(2 * first)


def test_what_was_never_run_is_unfinished(tmp_path: Path) -> None:
    cells = plan_sweep(study(vary={"batch_size": [32]}))
    assert unfinished(cells, folder=tmp_path) == cells


# -- study files ---------------------------------------------------------------------------------------------------------------

GOOD = """
title: Which rate?
recipe: lab-base
set: {batch_size: 32}
vary: {optim.lr: [1e-3, 1e-2]}
seeds: [3, 4]
label: Learning rate
"""


def test_a_study_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rates.yaml"
    file.write_text(GOOD)
    made = make_study(find_plan(str(file)))
    assert [point.values["optim.lr"] for point in made.points] == [1e-3, 1e-2]
    assert (made.plan.name, made.seeds, made.points[0].recipe.train.batch_size) == ("rates", (3, 4), 32)


def test_a_study_may_name_a_recipe_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(get_recipe("lab-base").to_yaml())
    (tmp_path / "study.yaml").write_text(GOOD.replace("lab-base", "mine.yaml"))
    assert find_plan(tmp_path / "study.yaml").recipe == get_recipe("lab-base")


def test_a_recipe_file_is_a_study_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(get_recipe("digits").to_yaml())
    plan = find_plan(tmp_path / "mine.yaml")
    assert (plan.recipe, plan.vary) == (get_recipe("digits"), {})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "recipe: lab-bse\nvry: {}\nseeds: many\ntitle: 3",
            ["did you mean 'lab-base'", "did you mean 'vary'", "seeds must be", "title must"],
        ),
        ("recipe: lab-base\nvary: {optim.lr: 0.1}\nset: [1]", ["vary.optim.lr must be a list", "set must be a mapping"]),
        ("vary: {optim.lr: [1]}", ["recipe is missing"]),
        ("recipe: lab-base\nvary: {1: [2]}\nset: {3: 4}", ["a recipe field is a name, not 3", "a recipe field is a name, not 1"]),
        ("- 1", ["a study is a mapping"]),
        ("a: [", ["not YAML"]),
    ],
)
def test_a_study_file_with_mistakes_is_refused_with_all_of_them(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_study(text, name="bad", source="bad.yaml")
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_name_that_is_neither_recipe_nor_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'batch-size'"):
        find_plan("bach-size")
    with pytest.raises(ValueError, match="cannot read the study or recipe"):
        find_plan(tmp_path / "nowhere.yaml")


def test_the_splits_fixture_is_what_the_tests_count_on() -> None:
    assert [len(part) for part in make_splits()] == [100, 20]
