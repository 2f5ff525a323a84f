"""baselines.methods: each predicts what scikit-learn's own classifier predicts, and its logits are finite and in order."""

from __future__ import annotations

import numpy as np
import pytest

from cifarlab.baselines import baseline_arguments, baseline_names, baseline_summary
from cifarlab.baselines.methods import Task, as_floats, find_method, vote_logits
from cifarlab.errors import UsageError
from cifarlab.metrics import softmax


def silent(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training features uint8 [300, 12] of three overlapping classes, labels, and as many to predict."""
    random = np.random.default_rng(0)
    labels = np.arange(600) % 3
    features = np.clip(random.normal(90 + 35 * labels[:, None], 45, size=(600, 12)), 0, 255).astype(np.uint8)
    return features[:300], labels[:300], features[300:], labels[300:]


def fitted(name: str, blobs, arguments: dict | None = None, *, classes: int = 3, seed: int = 0):
    features, labels, _, _ = blobs
    given = find_method(name).candidates(arguments or {}, images=1000)[0]
    task = Task(features, labels, classes, seed, 1)
    return find_method(name).fit(task, given)


SMALL = {
    "knn": {"k": 7},
    "svm": {"epochs": 3},
    "tree": {"max_depth": 4},
    "forest": {"trees": 25},
    "kmeans": {"clusters": 12},
    "cmeans": {"clusters": 12, "fuzzifier": 1.2},
}


def test_the_table_of_small_arguments_covers_every_method():
    assert set(SMALL) == set(baseline_names())


@pytest.mark.parametrize("name", baseline_names())
def test_logits_are_finite_better_than_chance_and_one_a_class(name, blobs):
    logits = fitted(name, blobs, SMALL[name]).logits(blobs[2], silent)
    assert logits.dtype == np.float32
    assert logits.shape == (300, 3)
    assert np.isfinite(logits).all()
    assert (logits.argmax(axis=1) == blobs[3]).mean() > 0.5


@pytest.mark.parametrize("name", baseline_names())
def test_a_seed_gives_the_same_again_and_the_features_stay_as_they_were(name, blobs):
    before = blobs[0].copy()
    first = fitted(name, blobs, SMALL[name], seed=3).logits(blobs[2], silent)
    np.testing.assert_array_equal(first, fitted(name, blobs, SMALL[name], seed=3).logits(blobs[2], silent))
    np.testing.assert_array_equal(blobs[0], before)


def test_float_features_are_never_written_to(blobs):
    floats = as_floats(blobs[0])
    before = floats.copy()
    task = Task(floats, blobs[1], 3, 0, 1)
    find_method("svm").fit(task, {"alpha": 1e-3, "epochs": 1})
    np.testing.assert_array_equal(floats, before)


def test_neighbours_vote_as_in_scikit_learn(blobs):
    from sklearn.neighbors import KNeighborsClassifier

    expected = KNeighborsClassifier(7, algorithm="brute").fit(as_floats(blobs[0]), blobs[1])
    logits = fitted("knn", blobs, {"k": 7}).logits(blobs[2], silent)
    np.testing.assert_array_equal(logits.argmax(axis=1), expected.predict(as_floats(blobs[2])))
    shares = expected.predict_proba(as_floats(blobs[2]))
    np.testing.assert_allclose(softmax(logits), (7 * shares + 1 / 3) / 8, rtol=1e-5)


def test_candidates_of_k_share_one_search_and_change_nothing(blobs):
    features, labels, others, _ = blobs
    task = Task(features, labels, 3, 0, 1)
    task.shared["candidates"] = find_method("knn").candidates({"k": [1, 5, 9]}, images=1000)
    for k in (1, 5, 9):
        together = find_method("knn").fit(task, {"k": k}).logits(others, silent)
        np.testing.assert_array_equal(together, fitted("knn", blobs, {"k": k}).logits(others, silent))


def test_a_forest_grown_by_tens_is_that_grown_at_once(blobs):
    from sklearn.ensemble import RandomForestClassifier

    expected = RandomForestClassifier(25, random_state=5).fit(as_floats(blobs[0]), blobs[1])
    logits = fitted("forest", blobs, {"trees": 25}, seed=5).logits(blobs[2], silent)
    shares = expected.predict_proba(as_floats(blobs[2]))
    np.testing.assert_allclose(softmax(logits), (25 * shares + 1 / 3) / 26, rtol=1e-4)


def test_a_tree_gives_the_shares_in_its_leaf(blobs):
    from sklearn.tree import DecisionTreeClassifier

    expected = DecisionTreeClassifier(max_depth=4, min_samples_leaf=10, random_state=0).fit(as_floats(blobs[0]), blobs[1])
    floats = as_floats(blobs[2])
    leaf = expected.apply(floats)
    sizes = np.array([(expected.apply(as_floats(blobs[0])) == one).sum() for one in leaf])[:, None]
    probabilities = softmax(fitted("tree", blobs, {"max_depth": 4}).logits(blobs[2], silent))
    np.testing.assert_allclose(probabilities, (sizes * expected.predict_proba(floats) + 1 / 3) / (sizes + 1), rtol=1e-4)


def test_clusters_predict_their_majority(blobs):
    features, labels, others, _ = blobs
    model = fitted("kmeans", blobs, {"clusters": 12})
    place, mine = model.assign(as_floats(others)), model.assign(as_floats(features))
    majority = np.array([np.bincount(labels[mine == cluster], minlength=3).argmax() for cluster in range(12)])
    np.testing.assert_array_equal(model.logits(others, silent).argmax(axis=1), majority[place])


def test_the_linear_machine_separates_what_can_be_separated():
    random = np.random.default_rng(1)
    labels = np.arange(200) % 2
    features = (random.normal(size=(200, 5)) + 8 * labels[:, None]).astype(np.float32)
    task = Task(features, labels, 2, 0, 1)
    logits = find_method("svm").fit(task, {"alpha": 1e-3, "epochs": 5}).logits(features, silent)
    assert logits.shape == (200, 2)  # two classes, too
    assert (logits.argmax(axis=1) == labels).all()


def test_votes_by_hand():
    # 3 of 4 votes for the first of two classes, and one vote spread evenly: 3.5 and 1.5 of 5.
    np.testing.assert_allclose(np.exp(vote_logits(np.array([[0.75, 0.25]]), 4)), [[0.7, 0.3]], rtol=1e-6)
    np.testing.assert_allclose(np.exp(vote_logits(np.array([[0.0, 0.0]]), 0)), [[0.5, 0.5]], rtol=1e-6)  # an empty cluster


@pytest.mark.parametrize("name", baseline_names())
def test_every_method_has_a_summary_and_arguments(name):
    assert len(baseline_summary(name)) > 10
    assert baseline_arguments(name)
    with pytest.raises(UsageError, match=f"did you mean '{name}'"):
        find_method(name + "s")


def test_default_counts_above_the_images_are_left_out_and_the_largest_stands_in_where_none_is_left():
    kmeans, cmeans = find_method("kmeans"), find_method("cmeans")
    assert [one["clusters"] for one in kmeans.candidates({}, images=60)] == [10, 50]
    assert kmeans.left_out({}, images=60) == {"clusters": (200,)}
    assert {one["clusters"] for one in cmeans.candidates({}, images=60)} == {60}
    assert [one["clusters"] for one in kmeans.candidates({"clusters": [200]}, images=60)] == [200]  # given: left to the check
    assert kmeans.left_out({"clusters": [200]}, images=60) == {}
    assert find_method("svm").left_out({}, images=2) == {}
