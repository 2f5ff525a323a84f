"""Every study that comes with cifarlab loads, its recipe resolves, its points fit CIFAR-10, and its cells can be built."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from fake_cells import CLASSES, make_dataset

from cifarlab.build import arrange, build_plan, unknown_names
from cifarlab.config import override
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.experiments.study import make_study
from cifarlab.experiments.study_files import find_plan, shipped_studies
from cifarlab.experiments.sweep import fit_to_data, plan_sweep

PAPER = {
    "pair-train-size": ("resnet20-pair", "data.train_size", [6000, 7000, 8000, 9000, 10000]),
    "train-size": ("resnet20", "data.train_size", [30000, 35000, 40000, 45000, 50000]),
    "batch-size": ("resnet20", "train.batch_size", [32, 64, 128, 256, 512]),
    "epochs": ("resnet20", "train.duration", ["100ep", "200ep", "300ep", "400ep", "500ep"]),
}


@pytest.fixture(scope="module")
def counted_as_cifar() -> Splits:
    """CIFAR-10's numbers of images, one pixel each."""

    def part(name: str, count: int) -> Dataset:
        ids = np.array([f"{name}/{n:05d}" for n in range(count)])
        labels = (np.arange(count) % 10).astype(np.int64)
        return Dataset("cifar10", np.zeros((count, 1, 1, 3), dtype=np.uint8), labels, CLASSES, ids)

    return Splits(part("train", 50_000), part("test", 10_000))


def test_the_four_studies_of_the_course_paper_are_there() -> None:
    assert set(shipped_studies()) == set(PAPER)


@pytest.mark.parametrize("name", shipped_studies())
def test_a_shipped_study_has_the_papers_values_and_three_seeds(name: str, counted_as_cifar: Splits) -> None:
    study = fit_to_data(make_study(find_plan(name), unknown_names), counted_as_cifar)
    recipe, key, values = PAPER[name]
    assert study.points[0].recipe.name == recipe
    assert study.keys == (key,)
    assert [point.values[key] for point in study.points] == values
    assert study.seeds == (0, 1, 2)
    assert study.shortened == ""
    assert len({cell.name for cell in plan_sweep(study)}) == 15
    assert study.plan.title
    assert study.plan.label


@pytest.mark.parametrize("name", ["pair-train-size", "train-size"])
def test_the_rest_of_the_pool_is_test(name: str, counted_as_cifar: Splits) -> None:
    pool = 12_000 if name == "pair-train-size" else 60_000
    for point in make_study(find_plan(name)).points:
        arranged = arrange(point.recipe, counted_as_cifar)
        assert arranged.validation is not None
        assert len(arranged.train) + len(arranged.validation) == point.recipe.data.train_size
        assert len(arranged.test) == pool - point.values["data.train_size"]


@pytest.mark.parametrize("name", shipped_studies())
def test_the_cells_of_a_shipped_study_build_when_it_is_shortened(name: str) -> None:
    splits = Splits(make_dataset(100, seed=0), make_dataset(20, seed=1))
    study = make_study(dataclasses.replace(find_plan(name), scale=0.2))
    for point in (study.points[0], study.points[-1]):
        recipe = override(point.recipe, {"data.train_size": 16 if name == "pair-train-size" else 60, "data.validation": 0.25})
        plan = build_plan(recipe, arrange(recipe, splits), device=torch.device("cpu"))
        assert plan.total_steps >= 2
        assert list(plan.schedule.milestones) == sorted(set(plan.schedule.milestones))
