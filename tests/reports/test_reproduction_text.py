"""reports.reproduction_text: the sentences follow from the runs."""

from __future__ import annotations

import pytest
from reproduced_runs import make_cell

from cifarlab.reports.reproduction_rows import collect_rows
from cifarlab.reports.reproduction_text import protocol_sentences, why


def curve(*validation: float, train: float = 0.7) -> list[dict[str, float]]:
    return [{"epoch": i, "train_accuracy": train, "validation_accuracy": value} for i, value in enumerate(validation, start=1)]


def said(tmp_path, protocol="published", **changes) -> str:
    system = changes.pop("system", "lab-base")
    (row,) = collect_rows([make_cell(tmp_path, system, protocol, **changes)])
    return why(row)


def test_a_claim_inside_the_interval_agrees(tmp_path):
    assert said(tmp_path, accuracy=0.645).startswith("The claimed 64.44 % lies in the interval, ")


@pytest.mark.parametrize(("accuracy", "gap"), [(0.9, "+25.56"), (0.4, "\u221224.44")])
def test_a_claim_outside_it_is_told_with_the_gap(accuracy, gap, tmp_path):
    assert said(tmp_path, accuracy=accuracy).startswith(f"Measured minus claimed is {gap} points; the claimed 64.44 % lies outside")


def test_train_accuracy_stands_beside_test_accuracy(tmp_path):
    text = said(tmp_path, accuracy=0.4, rows=curve(0.3, 0.4, train=0.99))
    assert "Train accuracy in the last epoch is 99.00 % (claimed 64.64 %), test accuracy 40.00 %." in text


@pytest.mark.parametrize(("best_epoch", "told"), [(3, True), (2, False)])
def test_training_that_was_still_improving_is_named(best_epoch, told, tmp_path):
    text = said(tmp_path, accuracy=0.4, status={"best_epoch": best_epoch})
    assert ("more epochs might have given more" in text) is told


def test_an_end_at_a_low_point_is_named_where_the_last_weights_are_kept(tmp_path):
    swinging = curve(0.5, 0.7, 0.4)
    text = said(tmp_path, accuracy=0.4, rows=swinging)
    assert "Accuracy on the test split, used as validation, is 40.00 % after the last epoch, whose weights are kept," in text
    assert "and 70.00 % after the best one" in text
    assert "low point" not in said(tmp_path / "steady", accuracy=0.4, rows=curve(0.3, 0.395, 0.39))
    best = {"selected": "best", "best_epoch": 2}
    assert "low point" not in said(tmp_path / "kept", accuracy=0.4, rows=swinging, status=best)
    assert "low point" not in said(tmp_path / "high", accuracy=0.9, rows=swinging)


def test_the_corrected_protocol_names_its_handicaps(tmp_path):
    text = said(tmp_path, "corrected", system="resnet20", accuracy=0.5)
    assert "It trains on 45\u00a0000 images, for validation is carved from them." in text
    assert "The claimed figure is the best of many looks at the test split; this one was read once." in text


def test_one_seed_is_said_to_know_no_spread(tmp_path):
    assert "One seed: the spread between seeds is not in the interval." in said(tmp_path)
    (row,) = collect_rows([make_cell(tmp_path / "two", "lab-base", seed=seed) for seed in (0, 1)])
    assert "One seed" not in why(row)


@pytest.mark.parametrize(
    ("accuracies", "seeds", "ending"),
    [
        ((0.9, 0.3), (0,), "from one seed nobody can tell how much of it is the seed."),
        ((0.9, 0.3), (0, 1, 2), "That is more than chance explains."),
        ((0.65, 0.65), (0,), "That is no more than chance explains."),
    ],
)
def test_how_sure_a_difference_of_protocols_is(accuracies, seeds, ending, tmp_path):
    cells = [
        make_cell(tmp_path, "lab-base", protocol, seed, accuracy=accuracy)
        for protocol, accuracy in zip(("published", "corrected"), accuracies, strict=True)
        for seed in seeds
    ]
    sentences = protocol_sentences(collect_rows(cells))
    assert any(sentence.endswith(ending) for sentence in sentences)
    assert any("chose nothing by it" in sentence for sentence in sentences)


def test_one_protocol_alone_is_not_compared(tmp_path):
    assert protocol_sentences(collect_rows([make_cell(tmp_path, "lab-base")])) == []
