"""metrics: every figure against scikit-learn, SciPy, PyTorch or arithmetic done by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, log_loss, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from cifarlab import metrics
from cifarlab.runs import Predictions

NAMES = ("ant", "bee", "cat", "dog")
RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(300, 4)) * 2.0
LABELS = RNG.integers(0, 4, size=300)


# -- probabilities and losses


@given(arrays(np.float64, (5, 3), elements=st.floats(-1e300, 1e300)))
def test_softmax_sums_to_one_however_large_the_logits(logits):
    probabilities = metrics.softmax(logits)
    assert np.isfinite(probabilities).all()
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0)


def test_softmax_equals_torch():
    np.testing.assert_allclose(metrics.softmax(LOGITS), torch.softmax(torch.from_numpy(LOGITS), dim=1).numpy(), rtol=1e-12)


def test_softmax_of_float32_is_computed_in_float64():
    assert metrics.softmax(LOGITS.astype(np.float32)).dtype == np.float64


def test_cross_entropy_equals_sklearn_log_loss():
    assert metrics.cross_entropy(LOGITS, LABELS) == pytest.approx(log_loss(LABELS, metrics.softmax(LOGITS), labels=range(4)), rel=1e-9)


def test_cross_entropy_of_a_hopeless_prediction_is_the_margin_and_not_infinite():
    # softmax would round the probability of class 1 to 0; logsumexp(2000, 0) - 0 = 2000
    assert metrics.cross_entropy([[2000.0, 0.0]], [1]) == 2000.0


@given(arrays(np.float64, (6, 4), elements=st.floats(-1e4, 1e4)))
def test_cross_entropy_equals_torch(logits):
    labels = np.array([0, 1, 2, 3, 0, 1])
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert metrics.cross_entropy(logits, labels) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_mse_is_the_mean_over_samples_and_classes():
    # rows against one-hot: (0.2^2 + 0.2^2) and (0.5^2 + 0.5^2), over 2 samples x 2 classes
    assert metrics.mse([[0.8, 0.2], [0.5, 0.5]], [0, 1]) == pytest.approx((0.08 + 0.5) / 4)


def test_mse_is_sklearns_brier_score_over_the_number_of_classes():
    probabilities = metrics.softmax(LOGITS)
    expected = brier_score_loss(LABELS, probabilities, labels=[0, 1, 2, 3], scale_by_half=False) / 4
    assert metrics.mse(probabilities, LABELS) == pytest.approx(expected)


def test_accuracy_counts_the_highest_score():
    assert metrics.accuracy([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [1, 0, 0, 1]) == 0.75


# -- uncertainty


@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (9404, 10_000), (1, 7), (499, 500)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_interval_equals_scipy(correct, n, confidence):
    expected = binomtest(correct, n).proportion_ci(confidence_level=confidence, method="wilson")
    interval = metrics.wilson_interval(correct, n, confidence)
    assert interval.value == correct / n
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.999))
def test_wilson_interval_holds_its_value_within_0_and_1(counts, confidence):
    interval = metrics.wilson_interval(*counts, confidence)
    assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0


def test_wilson_interval_narrows_with_n():
    narrow, wide = metrics.wilson_interval(9000, 10_000), metrics.wilson_interval(90, 100)
    assert narrow.high - narrow.low < wide.high - wide.low


def test_summarize_gives_the_sample_standard_deviation():
    assert metrics.summarize([1.0, 2.0, 3.0, 4.0]) == pytest.approx((2.5, math.sqrt(5 / 3), 4))


def test_summarize_one_value_has_no_spread():
    assert metrics.summarize([0.94]) == (0.94, None, 1)


# -- calibration


def test_calibration_error_by_hand():
    # Bin (9/15, 10/15]: confidence 0.65, 0.65, one of two right -> gap 0.15; bin (13/15, 14/15]: 0.9, right -> gap 0.1
    probabilities = [[0.65, 0.35], [0.65, 0.35], [0.1, 0.9]]
    assert metrics.expected_calibration_error(probabilities, [0, 1, 1]) == pytest.approx((2 * 0.15 + 1 * 0.1) / 3)


def test_calibration_error_equals_a_loop_over_the_bins():
    probabilities = metrics.softmax(LOGITS)
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == LABELS
    expected = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    assert metrics.expected_calibration_error(probabilities, LABELS) == pytest.approx(expected, rel=1e-12)


def test_sure_and_right_is_perfectly_calibrated():
    assert metrics.expected_calibration_error(np.eye(3), [0, 1, 2]) == 0.0


def test_reliability_bins_hold_every_sample_once():
    grouped = metrics.reliability_bins(metrics.softmax(LOGITS), LABELS)
    assert grouped.counts.sum() == len(LABELS)
    assert len(grouped.edges) == 16
    assert np.isnan(grouped.accuracy[grouped.counts == 0]).all()


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    assert metrics.reliability_bins([[0.5, 0.5]], [0], bins=2).counts.tolist() == [1, 0]


# -- per class


def test_confusion_matrix_equals_sklearn():
    predicted = LOGITS.argmax(axis=1)
    matrix = metrics.confusion_matrix(LABELS, predicted, num_classes=4)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, sklearn_confusion_matrix(LABELS, predicted, labels=range(4)))


def test_confusion_matrix_has_true_classes_as_rows():
    assert metrics.confusion_matrix([0, 0, 1], [1, 1, 1], num_classes=3).tolist() == [[0, 2, 0], [0, 1, 0], [0, 0, 0]]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_classification_report_equals_sklearn(pairs):
    labels, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    report = metrics.classification_report(metrics.confusion_matrix(labels, predicted, num_classes=4), NAMES)
    expected = precision_recall_fscore_support(labels, predicted, labels=range(4), zero_division=0)
    for position, key in enumerate(("precision", "recall", "f1", "support")):
        assert [row[key] for row in report["per_class"]] == pytest.approx(list(expected[position]))
    for average in ("macro", "weighted"):
        wanted = precision_recall_fscore_support(labels, predicted, labels=range(4), zero_division=0, average=average)
        assert [report[average][key] for key in ("precision", "recall", "f1")] == pytest.approx(list(wanted[:3]))


def test_the_text_report_has_a_line_per_class_and_the_averages():
    report = metrics.classification_report(np.array([[8, 2], [0, 0]]), ("a cat", "dog"))
    lines = metrics.format_classification_report(report, digits=2).splitlines()
    assert lines[0].split() == ["precision", "recall", "f1", "support"]
    assert lines[1].split() == ["a", "cat", "1.00", "0.80", "0.89", "10"]
    assert lines[2].split() == ["dog", "0.00", "0.00", "0.00", "0"]
    assert lines[-2].split() == ["macro", "average", "0.50", "0.40", "0.44", "10"]
    assert lines[-1].split() == ["weighted", "average", "1.00", "0.80", "0.89", "10"]
    assert len({len(line) for line in lines if line}) == 1


# -- everything at once


def test_score_agrees_with_its_parts_and_is_json():
    result = json.loads(json.dumps(metrics.score(LOGITS, LABELS, NAMES), allow_nan=False))
    correct = int((LOGITS.argmax(axis=1) == LABELS).sum())
    assert (result["correct"], result["errors"], result["n"]) == (correct, 300 - correct, 300)
    assert result["accuracy"] == pytest.approx(dict(metrics.wilson_interval(correct, 300)._asdict()))
    assert result["cross_entropy"] == metrics.cross_entropy(LOGITS, LABELS)
    assert result["mse"] == metrics.mse(metrics.softmax(LOGITS), LABELS)
    assert [row["name"] for row in result["per_class"]] == list(NAMES)


def predictions(logits_tta):
    return Predictions(
        sample_ids=np.array(["test/0", "test/1"]),
        labels=np.array([0, 1]),
        logits=np.array([[2, 0], [2, 0]], dtype=np.float32),
        logits_tta=logits_tta,
        tta="none" if logits_tta is None else "flip",
        class_names=("cat", "dog"),
        split="test",
        checksum="ab",
    )


def test_score_predictions_states_accuracy_with_and_without_tta():
    result = metrics.score_predictions(predictions(np.array([[2, 0], [0, 2]], dtype=np.float32)))
    assert (result["split"], result["tta"], result["checksum"], result["n"]) == ("test", "flip", "ab", 2)
    assert result["accuracy"]["value"] == 1.0
    assert result["single_view"]["accuracy"]["value"] == 0.5
    assert "per_class" not in result["single_view"]


def test_without_tta_both_sides_are_equal():
    result = metrics.score_predictions(predictions(None))
    assert result["single_view"]["accuracy"] == result["accuracy"]


# -- bad input


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.accuracy(np.zeros((0, 3)), np.zeros(0, dtype=int)),
        lambda: metrics.accuracy(np.zeros((2, 3)), [0]),
        lambda: metrics.accuracy(np.zeros(3), [0]),
        lambda: metrics.cross_entropy([[np.nan, 0.0]], [0]),
        lambda: metrics.cross_entropy([[0.0, 0.0]], [2]),
        lambda: metrics.cross_entropy([[0.0, 0.0]], [-1]),
        lambda: metrics.mse([[0.5, 0.5]], [0.0]),
        lambda: metrics.softmax([np.inf, 0.0]),
        lambda: metrics.softmax(np.float64(1.0)),
        lambda: metrics.wilson_interval(3, 2),
        lambda: metrics.wilson_interval(0, 0),
        lambda: metrics.wilson_interval(1, 2, 1.0),
        lambda: metrics.expected_calibration_error([[3.0, -1.0]], [0]),
        lambda: metrics.reliability_bins([[0.5, 0.5]], [0], bins=0),
        lambda: metrics.confusion_matrix([0], [0, 1], num_classes=2),
        lambda: metrics.confusion_matrix([0], [2], num_classes=2),
        lambda: metrics.classification_report(np.zeros((2, 2), dtype=np.int64), ("one",)),
        lambda: metrics.score([[0.0, 1.0]], [0], ("one",)),
        lambda: metrics.summarize([]),
        lambda: metrics.summarize([math.nan]),
    ],
)
def test_wrong_input_is_refused(call):
    with pytest.raises(ValueError, match=r"must|need|at least|but there are|differ"):
        call()
