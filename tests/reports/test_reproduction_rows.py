"""reports.reproduction_rows: what the run directories say, gathered."""

from __future__ import annotations

import numpy as np
import pytest
from reproduced_runs import IMAGES, make_cell, make_predictions

from cifarlab.errors import UsageError
from cifarlab.metrics import cross_entropy, mse, softmax
from cifarlab.published import published_systems
from cifarlab.reports import CellResult
from cifarlab.reports.reproduction_rows import collect_rows, difference_of_protocols


def test_rows_stand_in_the_order_of_the_reports_published_first(tmp_path):
    cells = [CellResult(system.name, protocol, 0, None) for system in published_systems() for protocol in ("corrected", "published")]
    assert cells
    found = [(row.system.name, row.protocol) for row in collect_rows(reversed(cells))]
    assert found == [(system.name, protocol) for system in published_systems() for protocol in ("published", "corrected")]


def test_a_row_is_the_mean_of_its_seeds(tmp_path):
    cells = [make_cell(tmp_path, "lab-base", seed=seed, accuracy=accuracy) for seed, accuracy in ((1, 0.70), (0, 0.60), (2, 0.65))]
    (row,) = collect_rows(cells)
    assert [run.cell.seed for run in row.done] == [0, 1, 2]
    assert (row.accuracy.mean, row.accuracy.sd, row.accuracy.n) == (pytest.approx(0.65), pytest.approx(0.05), 3)
    assert row.images == IMAGES
    assert row.seconds == pytest.approx(61.0)
    logits = [run.predictions.logits for run in row.done]
    labels = row.done[0].predictions.labels
    assert row.loss == pytest.approx(np.mean([cross_entropy(one, labels) for one in logits]))
    assert row.mse == pytest.approx(np.mean([mse(softmax(one), labels) for one in logits]))
    assert row.mean_of("train_accuracy", -1) == pytest.approx(0.9)
    assert row.mean_of("validation_mse", -1) is None


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.645, "agrees"), (0.9, "higher"), (0.3, "lower")])
def test_the_verdict_compares_with_the_claimed_accuracy(accuracy, verdict, tmp_path):
    (row,) = collect_rows([make_cell(tmp_path, "lab-base", accuracy=accuracy)])
    assert row.verdict == verdict


def test_cells_without_a_result_keep_their_reason(tmp_path):
    failed = make_cell(tmp_path, "lab-base", seed=1)
    damaged = make_cell(tmp_path, "lab-base", seed=2)
    assert failed.run is not None
    assert damaged.run is not None
    damaged.run.predictions_file("test").write_bytes(b"nothing")
    cells = [
        make_cell(tmp_path, "lab-base"),
        CellResult("lab-base", "published", 1, failed.run, "the loss is nan at step 3"),
        damaged,
        CellResult("lab-base", "published", 3, None),
    ]
    (row,) = collect_rows(cells)
    assert [run.cell.seed for run in row.done] == [0]
    reasons = {cell.seed: cell.reason for cell in row.missing}
    assert reasons[1] == "the loss is nan at step 3"
    assert "is not a readable predictions file" in reasons[2]
    assert reasons[3] == "not run"


def test_a_row_without_a_finished_run_has_no_verdict():
    (row,) = collect_rows([CellResult("resnet20", "published", 0, None, "too long")])
    assert row.verdict is None
    assert row.parameters is None


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        ([CellResult("lab-bas", "published", 0, None)], UsageError, "did you mean 'lab-base'"),
        ([CellResult("lab-base", "as told", 0, None)], ValueError, "allowed: published, corrected"),
        ([CellResult("lab-base", "published", 0, None)] * 2, ValueError, "two results for lab-base, published, seed 0"),
    ],
)
def test_cells_that_do_not_exist_are_refused(cells, error, message):
    with pytest.raises(error, match=message):
        collect_rows(cells)


@pytest.mark.parametrize(
    ("planned", "recipe", "status", "said", "shortened"),
    [
        ("", {}, {}, "3", False),
        ("3ep", {}, {}, "3", False),
        ("200ep", {}, {}, "3 of 200", True),
        ("", {"train": {"duration": "40ep"}}, {"stopped_early": True}, "3 of 40 (stopped early)", False),
    ],
)
def test_shortened_and_stopped_runs_say_so(planned, recipe, status, said, shortened, tmp_path):
    (row,) = collect_rows([make_cell(tmp_path, "lab-base", planned=planned, recipe=recipe, status=status)])
    assert (row.length, row.shortened) == (said, shortened)


def test_the_penalized_loss_adds_the_penalty_of_the_evaluated_weights(tmp_path):
    rows = [{"epoch": i, "train_accuracy": 0.5, "validation_accuracy": 0.5, "l2_penalty": 0.1 * i} for i in (1, 2, 3)]
    best = {"selected": "best", "best_epoch": 2}
    cells = [
        make_cell(tmp_path, "slides-m1", rows=rows),
        make_cell(tmp_path, "slides-m2", rows=rows, status=best),
        make_cell(tmp_path, "slides-final"),
    ]
    last, chosen, without = collect_rows(cells)
    assert [round(row.penalized_loss - row.loss, 6) for row in (last, chosen)] == [0.3, 0.2]
    assert without.penalized_loss is None


def test_machines_name_the_threads_of_a_processor_and_the_gpu_alone(tmp_path):
    on_gpu = {"processor": "A GPU", "device": "cuda"}
    (row,) = collect_rows([make_cell(tmp_path, "lab-base"), make_cell(tmp_path, "lab-base", seed=1, env=on_gpu)])
    assert row.machine == "A processor, 2 threads; A GPU"


def test_protocols_are_compared_over_the_seeds_that_both_have(tmp_path):
    cells = [make_cell(tmp_path, "lab-base", "published", seed, accuracy=0.7) for seed in (0, 1, 2)]
    cells += [make_cell(tmp_path, "lab-base", "corrected", seed, accuracy=0.6) for seed in (1, 2, 3)]
    difference = difference_of_protocols(collect_rows(cells))
    assert difference is not None
    assert difference.value == pytest.approx(0.1)
    assert (difference.seeds, difference.images) == (2, IMAGES)


def test_other_test_images_are_not_compared(tmp_path):
    other = make_predictions(0.6)
    other.sample_ids[:] = [f"x/{i:05d}"[:10] for i in range(IMAGES)]
    cells = [make_cell(tmp_path, "lab-base", "published"), make_cell(tmp_path, "lab-base", "corrected", predictions=other)]
    assert difference_of_protocols(collect_rows(cells)) is None


def test_one_protocol_alone_has_no_difference(tmp_path):
    assert difference_of_protocols(collect_rows([make_cell(tmp_path, "lab-base")])) is None


def test_what_the_test_split_chose_is_read_from_the_recipe(tmp_path):
    choices = [
        ("lab-base", "published", {}, False),
        ("lab-final", "published", {"train": {"select": "best"}}, True),
        ("thesis18", "published", {"train": {"patience": 5}}, True),
        ("report10", "published", {"schedule": {"name": "plateau"}}, True),
        ("resnet20", "corrected", {"train": {"select": "best"}}, False),
    ]
    cells = [make_cell(tmp_path, system, protocol, recipe=recipe) for system, protocol, recipe, _ in choices]
    found = {row.system.name: row.done[0].selected_on_test for row in collect_rows(cells)}
    assert found == {system: chosen for system, _, _, chosen in choices}
