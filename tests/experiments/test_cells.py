"""Which cells are planned, and what they will cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_cells import CPU, STEPS, Watch, changed, make_cells, make_splits, run

from cifarlab.config import differences
from cifarlab.data.dataset import Splits
from cifarlab.errors import ConfigError, UsageError
from cifarlab.experiments import Cell, estimate_cells, estimate_seconds, plan_cells, reproduce
from cifarlab.experiments import cells as running
from cifarlab.experiments.cells import refuse_mixed_data
from cifarlab.published import published_systems
from cifarlab.recipes import get_recipe

PUBLISHED, CORRECTED = "lab-base-published-3ep-0", "lab-base-corrected-3ep-0"


# -- planned --------------------------------------------------------------------------------------------------------


def test_cells_are_systems_by_protocols_by_seeds_first_seeds_first() -> None:
    names = [cell.name for cell in plan_cells(["slides-m1", "lab-base"], seeds=2)]
    first = ["slides-m1-published-0", "lab-base-published-0", "lab-base-corrected-0"]
    assert names == [*first, *(name[:-1] + "1" for name in first)]


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        ("published", ["lab-base-published-0", "slides-m1-published-0"]),
        # The slides' own protocol never looked at test: there is nothing to correct.
        ("corrected", ["lab-base-corrected-0", "slides-m1-published-0"]),
    ],
)
def test_one_protocol_can_be_chosen(protocol: str, names: list[str]) -> None:
    assert [cell.name for cell in plan_cells(["lab-base", "slides-m1", "lab-base"], protocol=protocol)] == names


def test_without_names_every_system_is_planned() -> None:
    cells = plan_cells(protocol="published")
    assert [cell.system for cell in cells] == [system.name for system in published_systems()]
    assert len({cell.name for cell in plan_cells(seeds=3)}) == len(plan_cells(seeds=3))


def test_a_cell_trains_the_recipe_of_its_protocol_and_seed() -> None:
    cells = plan_cells(["report10", "slides-final"], seeds=2)
    recipes = {
        ("report10", "published"): "report10-published",
        ("report10", "corrected"): "report10",
        ("slides-final", "published"): "slides-final",
    }
    for cell in cells:
        expected = get_recipe(recipes[cell.system, cell.protocol])
        assert differences(expected, cell.recipe) == ([] if cell.seed == 0 else ["seed: 0 -> 1"])
        assert not cell.shortened


def test_a_changed_length_stands_in_the_name() -> None:
    (cell,) = plan_cells(["lab-base"], protocol="published", changes={"train.duration": "0.5ep"})
    assert (cell.name, cell.shortened, cell.planned) == ("lab-base-published-0.5ep-0", True, "5ep")
    (cell,) = plan_cells(["lab-base"], protocol="published", changes={"train.duration": 5})
    assert (cell.name, cell.shortened) == ("lab-base-published-0", False)


def test_everything_unknown_is_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        plan_cells(["lab-bas", "lab-base", "yolo"], protocol="correct", seeds=0)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("unknown published system 'lab-bas'; did you mean 'lab-base'?")
    assert lines[1].startswith("unknown published system 'yolo'; allowed: thesis18")
    assert lines[2].startswith("unknown protocol 'correct'; did you mean 'corrected'?")
    assert lines[3] == "seeds=0: at least 1 and at most 1000"


def test_changes_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'train\.length'"):
        plan_cells(["lab-base"], changes={"train.length": "1ep"})
    with pytest.raises(ConfigError, match=r"set data\.validation=0"):
        plan_cells(["lab-base"], protocol="published", changes={"data.validation": 0.5})


# -- on which data --------------------------------------------------------------------------------------------------


def test_cells_of_several_datasets_are_refused_before_any_is_trained(tmp_path: Path) -> None:
    cells = make_cells(protocol="corrected", seeds=2)
    watch = Watch()
    with pytest.raises(UsageError, match=r"several datasets \(fake, digits\)"):
        run([cells[0], changed(cells[1], data__name="digits")], tmp_path, watch=watch)
    assert (watch.begun, list(tmp_path.iterdir())) == ([], [])


def test_cells_of_other_data_than_is_loaded_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"loaded is 'fake', but the recipes ask for data\.name=digits"):
        run(make_cells(protocol="corrected", data__name="digits"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("named", "loaded"), [("/data/good", "good"), ("/data/batches.tar.gz", "cifar10"), ("cifar10", "cifar10")])
def test_a_path_is_known_by_its_last_part_or_by_what_it_holds(named: str, loaded: str) -> None:
    splits = Splits(*(dataclasses.replace(part, name=loaded) for part in make_splits()))
    refuse_mixed_data(make_cells(data__name=named), splits)
    with pytest.raises(UsageError, match="loaded is"):
        refuse_mixed_data(make_cells(data__name="digits"), splits)


# -- what it will cost --------------------------------------------------------------------------------------------------


def test_an_estimate_is_of_the_whole_length_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ticks = iter(range(1000))
    monkeypatch.setattr(running, "time", SimpleNamespace(perf_counter=lambda: 0.1 * next(ticks)))
    (cell,) = make_cells(protocol="corrected", train__duration="50ep")
    # A tenth of a second a step, 50 epochs of 3 steps, and the margin for what comes on top.
    assert estimate_seconds(cell, make_splits(), device=CPU) == pytest.approx(0.1 * 50 * STEPS["corrected"] * running.ESTIMATE_MARGIN)
    assert list(tmp_path.iterdir()) == []


def test_a_real_estimate_is_a_time() -> None:
    (cell,) = make_cells(protocol="corrected")
    assert 0 < estimate_seconds(cell, make_splits(), device=CPU) < 600


def test_a_training_that_fails_at_once_costs_nothing() -> None:
    (cell,) = make_cells(protocol="corrected", optim__lr=1e30)
    assert estimate_seconds(cell, make_splits(), device=CPU) == 0


def test_memory_that_runs_out_in_the_estimate_is_left_to_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(running, "fit", fail)
    (cell,) = make_cells(protocol="corrected")
    assert estimate_seconds(cell, make_splits(), device=CPU) == 0


def test_what_cannot_be_built_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(UsageError, match=r"input\.crop=40: allowed is 8 to 32"):
        estimate_cells(make_cells(input__crop=40), make_splits(), device=CPU)


def test_seeds_share_one_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(cell: Cell, splits: object, *, device: object) -> float:
        measured.append(cell.name)
        return float(len(measured))

    monkeypatch.setattr(reproduce, "estimate_seconds", measure)
    cells = make_cells(seeds=3)
    estimates = estimate_cells(cells, make_splits(), device=CPU)
    assert measured == [PUBLISHED, CORRECTED]
    assert estimates == {cell.name: 1.0 if cell.protocol == "published" else 2.0 for cell in cells}
