"""What is recorded of the published systems, against arithmetic, against itself and against the networks."""

from __future__ import annotations

import itertools
import math
import re
from statistics import mean

import pytest
import torch
import torch.nn.functional as F

from cifarlab.errors import UsageError
from cifarlab.models import measure_model, model_names
from cifarlab.models.summary import blank_model, summarize_model
from cifarlab.published import (
    FIGURES,
    LENET5_LAYERS,
    LENET5_SLIPS,
    PRETRAINED_NETWORKS,
    PUBLISHED_ACCURACIES,
    VERTICAL_EDGES,
    PublishedSystem,
    get_system,
    published_systems,
    slips_of,
)

SYSTEMS = published_systems()
COUNTED = [system for system in SYSTEMS if system.parameters is not None]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def conv(channels_in: int, channels_out: int, *, norm: bool = False) -> int:
    return 9 * channels_in * channels_out + channels_out + (4 * channels_out if norm else 0)


def dense(given: int, units: int) -> int:
    return given * units + units


def chain(*channels: int, norm: bool = False) -> int:
    return sum(conv(a, b, norm=norm) for a, b in itertools.pairwise(channels))


# Total and, of batch norm, running means and variances: from the layers as the reports tell them.
BY_HAND = {
    "thesis18": (chain(3, 32, 32, 64, 64, 128, 128) + 4 * (32 + 64 + 128 + 128) + dense(2048, 128) + dense(128, 10), 2 * 352),
    "report10": (
        chain(3, 32, 32, 64, 64, 128, 128, 128, 256, 256, 256, norm=True) + dense(1024, 300) + dense(300, 100) + dense(100, 10),
        2 * (2 * 32 + 2 * 64 + 3 * 128 + 3 * 256),
    ),
    "slides-m1": (chain(3, 32, 64, 64) + dense(1024, 64) + dense(64, 10), 0),
    "slides-m2": (chain(3, 32, 64, 64) + dense(1024, 64) + dense(64, 10), 0),
    "slides-m3": (chain(3, 64, 128, 256, 256) + dense(4096, 128) + dense(128, 64) + dense(64, 10), 0),
    "slides-final": (chain(3, 64, 128, 256, 512, norm=True) + dense(2048, 128) + dense(128, 64) + dense(64, 10), 2 * 960),
    "lab-base": (chain(3, 16, 16, 32, 32) + dense(800, 10), 0),
    "lab-final": (chain(3, 32, 32, 64, 64, 128, 128, norm=True) + dense(2048, 128) + 4 * 128 + dense(128, 10), 2 * (2 * 224 + 128)),
}


def figures_in(text: str) -> list[int]:
    """ "7 874 right and 2 122 wrong" -> [7874, 2122]: whole numbers, not those with a decimal point."""
    return [int(found.replace(" ", "")) for found in re.findall(r"(?<![.\d])\d[\d ]*(?![.\d])\b", text)]


def names_of(systems: list[PublishedSystem]) -> list[str]:
    return [system.name for system in systems]


# -- the systems --------------------------------------------------------------------------------------------------


def test_the_systems_come_in_the_order_of_the_reports() -> None:
    assert names_of(list(SYSTEMS)) == [
        *("thesis18", "report10", "resnet20", "resnet20-pair"),
        *("slides-m1", "slides-m2", "slides-m3", "slides-final", "lab-base", "lab-final"),
    ]
    assert [system.report for system in SYSTEMS] == ["R1", "R2", "R3", "R3", "R4", "R4", "R4", "R4", "R5", "R5"]


def test_a_system_is_found_by_name_and_a_wrong_name_gets_the_nearest() -> None:
    assert get_system("resnet20-pair").network == "resnet20"
    with pytest.raises(UsageError, match="unknown published system 'thesis-18'; did you mean 'thesis18'"):
        get_system("thesis-18")


def test_only_resnet20_states_no_parameters() -> None:
    assert set(names_of(COUNTED)) == BY_HAND.keys()


@pytest.mark.parametrize("system", COUNTED, ids=names_of(COUNTED))
def test_parameters_equal_hand_arithmetic(system: PublishedSystem) -> None:
    assert system.parameters is not None
    assert (system.parameters.total, system.parameters.frozen) == BY_HAND[system.name]


@pytest.mark.parametrize("system", COUNTED, ids=names_of(COUNTED))
def test_the_registered_network_has_the_published_parameters(system: PublishedSystem) -> None:
    size = measure_model(blank_model(system.network))
    assert system.parameters is not None
    assert (size.parameters, size.trainable, size.frozen) == (
        system.parameters.total,
        system.parameters.trainable,
        system.parameters.frozen,
    )


def test_every_network_is_registered() -> None:
    assert {system.network for system in SYSTEMS} <= set(model_names())


@pytest.mark.parametrize("name", ["thesis18", "slides-m1", "lab-base"])
def test_the_registered_network_has_the_published_layers(name: str) -> None:
    rows = summarize_model(blank_model(name))
    layers = get_system(name).layers
    assert [(row.kind, row.output_shape) for row in rows] == [(layer.kind, layer.output) for layer in layers]
    assert all(layer.parameters in (None, row.parameters) for row, layer in zip(rows, layers, strict=True))


@pytest.mark.parametrize("name", ["thesis18", "lab-base"])
def test_the_layers_of_a_table_add_up_to_its_total(name: str) -> None:
    system = get_system(name)
    assert system.parameters is not None
    assert sum(layer.parameters or 0 for layer in system.layers) == system.parameters.total


@pytest.mark.parametrize("system", SYSTEMS, ids=names_of(list(SYSTEMS)))
def test_a_system_is_told_in_full(system: PublishedSystem) -> None:
    assert system.headline is system.claims[0]
    assert set(system.figures) <= FIGURES.keys()
    assert len(set(system.figures)) == len(system.figures)
    assert system.title
    assert system.source
    assert system.training
    assert system.protocol.endswith(".")
    for claim in system.claims:
        shares = [claim.accuracy, claim.train_accuracy, claim.mse]
        assert claim.accuracy is not None
        assert all(0 < share < 1 for share in shares if share is not None)
        assert claim.split == "test"  # whatever the report calls it


def test_every_kind_of_figure_is_shown_by_some_report() -> None:
    assert FIGURES.keys() == {figure for system in SYSTEMS for figure in system.figures}


def test_who_looks_at_the_test_split_while_training() -> None:
    looking = {system.name for system in SYSTEMS if system.looks_at_test}
    assert looking == {"thesis18", "report10", "resnet20", "resnet20-pair", "lab-base", "lab-final"}
    assert {system.name for system in SYSTEMS if system.selects_on_test} == {"resnet20", "resnet20-pair"}
    # What a report calls validation while it measures on the test split, it looked at.
    assert {system.name for system in SYSTEMS if any(claim.called != "test" for claim in system.claims)} <= looking


# -- results ------------------------------------------------------------------------------------------------------


def test_each_f1_is_that_of_precision_and_recall_within_rounding() -> None:
    scores = get_system("slides-final").per_class
    assert tuple(score.name for score in scores) == CLASSES

    def f1(precision: float, recall: float) -> float:
        return 2 * precision * recall / (precision + recall)

    for score in scores:  # F1 grows with both, and each printed figure is off by up to 0.005
        assert f1(score.precision - 0.005, score.recall - 0.005) <= score.f1 + 0.005
        assert f1(score.precision + 0.005, score.recall + 0.005) >= score.f1 - 0.005


def test_the_averages_are_those_of_the_classes() -> None:
    system = get_system("slides-final")
    averages = [mean(values) for values in zip(*((s.precision, s.recall, s.f1) for s in system.per_class), strict=True)]
    assert dict(system.averages).keys() == {"macro", "weighted"}
    for _, printed in system.averages:  # classes of equal size: weighted and macro are one
        assert all(abs(average - printed) <= 0.01 for average in averages)
    accuracy = system.headline.accuracy
    assert accuracy is not None
    assert abs(averages[1] - accuracy) <= 0.005  # with equal classes, mean recall is accuracy


@pytest.mark.parametrize(("name", "pool"), [("resnet20", 60_000), ("resnet20-pair", 12_000)])
def test_what_is_not_trained_on_is_tested_on(name: str, pool: int) -> None:
    study = next(study for study in get_system(name).studies if study.quantity == "training images")
    assert {train + test for train, test in zip(study.values, study.test, strict=True)} == {pool}


@pytest.mark.parametrize("name", ["resnet20", "resnet20-pair"])
def test_the_best_of_each_study_is_among_its_values_and_claimed(name: str) -> None:
    system = get_system(name)
    claimed = {claim.accuracy for claim in system.claims}
    assert all(study.best is None or study.best in study.values for study in system.studies)
    assert {study.accuracy for study in system.studies if study.accuracy is not None} == claimed


# -- slips --------------------------------------------------------------------------------------------------------


def test_right_and_wrong_of_the_thesis_do_not_add_up() -> None:
    slip = slips_of("thesis18")[1]
    right, wrong = figures_in(slip.printed)
    assert right + wrong == 9_996
    assert sum(figures_in(slip.right)[:2]) == 10_000
    accuracy = get_system("thesis18").headline.accuracy
    assert accuracy is not None
    assert right == round(10_000 * accuracy)
    assert wrong == round(10_000 * 0.2122)


def test_slides_m2_counts_the_optimizer_as_well() -> None:
    slip = slips_of("slides-m2")[0]
    (printed,), (right,) = figures_in(slip.printed), figures_in(slip.right)
    assert printed == 3 * right + 2
    assert right == BY_HAND["slides-m2"][0]


def test_the_figures_of_lenet5_equal_hand_arithmetic() -> None:
    expected = [5 * 5 * 1 * 6 + 6, 2 * 6, 5 * 5 * 6 * 16 + 16, 2 * 16, None, 120 * 84 + 84, 84 * 10 + 10]
    assert [layer.parameters for layer in LENET5_LAYERS] == expected
    first, last = LENET5_SLIPS
    assert figures_in(first.printed) == [5 * 5 * 16 + 16]
    assert figures_in(first.right) == [expected[2]]
    assert figures_in(last.printed) == [84 * (10 + 1)]
    assert figures_in(last.right) == [expected[6]]


def test_the_network_has_the_right_figure_where_a_slip_belongs_to_a_layer() -> None:
    checked = 0
    for network in ("lenet5", *dict.fromkeys(system.network for system in SYSTEMS)):
        rows = {row.name: row for row in summarize_model(blank_model(network))}
        for slip in slips_of(network):
            if slip.layer is not None:
                row = rows[slip.layer]
                what = row.output_shape if "shape" in slip.where else (row.parameters,)
                assert tuple(figures_in(slip.right.replace(",", "; "))) == what
                assert tuple(figures_in(slip.printed.replace(",", "; "))) != what
                checked += 1
    assert checked == 3


def test_a_network_without_slips_has_none() -> None:
    assert slips_of("speednet") == ()


# -- background ---------------------------------------------------------------------------------------------------


def test_the_files_of_pretrained_networks_have_four_bytes_a_parameter() -> None:
    assert len({network.name for network in PRETRAINED_NETWORKS}) == 15
    for network in PRETRAINED_NETWORKS:
        assert network.megabytes == pytest.approx(4 * network.million_parameters, rel=0.15)
        told = re.fullmatch(r"(?:vgg|resnet|densenet)(\d+)", network.name)
        assert told is None or network.depth == int(told[1])


def test_the_worked_convolution_is_right() -> None:
    matrix, kernel, result = (torch.tensor(rows, dtype=torch.float64)[None, None] for rows in vars(VERTICAL_EDGES).values())
    assert torch.equal(F.conv2d(matrix, kernel), result)


def test_the_accuracies_of_others() -> None:
    assert PUBLISHED_ACCURACIES.count == 29
    assert math.isclose(PUBLISHED_ACCURACIES.highest - PUBLISHED_ACCURACIES.lowest, 0.0603)
