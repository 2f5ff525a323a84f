"""baselines.cmeans: Bezdek's two steps, against hand arithmetic and loops that follow the equations letter by letter."""

from __future__ import annotations

import numpy as np
import pytest

from cifarlab.baselines import fuzzy_c_means, memberships


def naive_memberships(samples: np.ndarray, centres: np.ndarray, m: float) -> np.ndarray:
    u = np.zeros((len(samples), len(centres)))
    for k, x in enumerate(samples):
        distances = [np.sqrt(sum((a - b) ** 2 for a, b in zip(x, v, strict=True))) for v in centres]
        for i in range(len(centres)):
            u[k, i] = 1 / sum((distances[i] / distances[j]) ** (2 / (m - 1)) for j in range(len(centres)))
    return u


def naive_centres(samples: np.ndarray, u: np.ndarray, m: float) -> np.ndarray:
    centres = np.zeros((u.shape[1], samples.shape[1]))
    for i in range(u.shape[1]):
        weights = [u[k, i] ** m for k in range(len(samples))]
        centres[i] = sum(w * x for w, x in zip(weights, samples, strict=True)) / sum(weights)
    return centres


def naive_objective(samples: np.ndarray, centres: np.ndarray, m: float) -> float:
    u = naive_memberships(samples, centres, m)
    return sum(u[k, i] ** m * ((samples[k] - centres[i]) ** 2).sum() for k in range(len(samples)) for i in range(len(centres)))


@pytest.fixture
def samples() -> np.ndarray:
    random = np.random.default_rng(0)
    return np.concatenate([random.normal(centre, 1.0, size=(20, 3)) for centre in (0, 4, 9)])


def test_memberships_by_hand():
    # x = 1 between centres 0 and 4: distances 1 and 3. m = 2: u_1 = 1 / (1 + (1/3)^2) = 0.9; m = 3: 1 / (1 + 1/3) = 0.75.
    x, centres = np.array([[1.0]]), np.array([[0.0], [4.0]])
    np.testing.assert_allclose(memberships(x, centres, 2.0), [[0.9, 0.1]])
    np.testing.assert_allclose(memberships(x, centres, 3.0), [[0.75, 0.25]])


def test_one_step_of_the_centres_by_hand():
    # Two samples are the two centres: each belongs to its own alone, and the centres stay.
    found = fuzzy_c_means(np.array([[0.0], [4.0]]), clusters=2, fuzzifier=2.0)
    assert sorted(found.centres.ravel()) == [0.0, 4.0]
    assert found.objective[-1] == 0.0
    assert found.converged


@pytest.mark.parametrize("m", [1.1, 1.5, 2.0, 3.0])
def test_memberships_are_those_of_the_loops(samples, m):
    centres = np.array([[0.1, 0.2, 0.3], [4.0, 3.0, 5.0], [9.0, 9.0, 8.0], [5.0, 1.0, 1.0]])
    u = memberships(samples, centres, m)
    np.testing.assert_allclose(u, naive_memberships(samples, centres, m), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(u.sum(axis=1), 1.0)


@pytest.mark.parametrize("m", [1.2, 2.0])
def test_the_whole_algorithm_is_that_of_the_loops(samples, m):
    start = samples[np.random.default_rng(5).choice(len(samples), size=3, replace=False)]
    centres = start + 1e-3  # the loops cannot have a sample on a centre
    for _ in range(150):
        centres = naive_centres(samples, naive_memberships(samples, centres, m), m)
    found = fuzzy_c_means(samples, clusters=3, fuzzifier=m, iterations=200, tolerance=1e-9, seed=5)
    np.testing.assert_allclose(np.sort(found.centres, axis=0), np.sort(centres, axis=0), rtol=1e-4, atol=1e-4)
    assert found.converged


def test_the_objective_is_that_of_the_equation(samples):
    before = fuzzy_c_means(samples, clusters=3, fuzzifier=1.6, iterations=4, tolerance=0.0, seed=6).centres
    found = fuzzy_c_means(samples, clusters=3, fuzzifier=1.6, iterations=5, tolerance=0.0, seed=6)
    assert found.objective[-1] == pytest.approx(naive_objective(samples, before, 1.6))


def test_the_objective_never_grows(samples):
    found = fuzzy_c_means(samples, clusters=4, fuzzifier=1.7, iterations=40, tolerance=0.0, seed=2)
    assert len(found.objective) == 40
    assert not found.converged
    assert all(after <= before * (1 + 1e-9) for before, after in zip(found.objective, found.objective[1:], strict=False))


def test_near_one_it_is_k_means(samples):
    from sklearn.cluster import KMeans

    found = fuzzy_c_means(samples, clusters=3, fuzzifier=1.01, iterations=100, seed=1)
    fitted = KMeans(3, n_init=5, random_state=0).fit(samples)
    np.testing.assert_allclose(np.sort(found.centres, axis=0), np.sort(fitted.cluster_centers_, axis=0), rtol=1e-3)
    assert memberships(samples, found.centres, 1.01).max(axis=1).min() > 0.99


def test_float32_and_pieces_give_the_same(samples, monkeypatch):
    whole = fuzzy_c_means(samples, clusters=3, seed=3)
    monkeypatch.setattr("cifarlab.baselines.cmeans.ROWS", 7)
    pieces = fuzzy_c_means(samples.astype(np.float32), clusters=3, seed=3)
    assert pieces.centres.dtype == np.float32
    np.testing.assert_allclose(pieces.centres, whole.centres, rtol=1e-3, atol=1e-3)


def test_a_seed_gives_the_same_centres_again_and_watch_hears_each_iteration(samples):
    heard: list[tuple[int, int]] = []
    first = fuzzy_c_means(samples, clusters=3, seed=4, iterations=5, tolerance=0.0, watch=lambda done, total: heard.append((done, total)))
    np.testing.assert_array_equal(first.centres, fuzzy_c_means(samples, clusters=3, seed=4, iterations=5, tolerance=0.0).centres)
    assert heard == [(number, 5) for number in range(1, 6)]


@pytest.mark.parametrize("wrong", [{"clusters": 61}, {"clusters": 0}, {"clusters": 2, "fuzzifier": 1.0}, {"clusters": 2, "iterations": 0}])
def test_what_cannot_be_is_refused(samples, wrong):
    with pytest.raises(ValueError, match=r"clusters|fuzzifier"):
        fuzzy_c_means(samples, **wrong)
