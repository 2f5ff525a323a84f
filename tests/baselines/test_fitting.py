"""baselines.fitting: the run directory of a baseline, the choice on validation, the single reading of test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cifarlab.api import Run
from cifarlab.baselines import FeatureStore, baseline_recipe, check_fit, estimate_seconds, finished_baseline, fit_baseline
from cifarlab.config import differences, read_recipe
from cifarlab.data import ArrangedSplits, Splits, arrange_splits
from cifarlab.errors import BusyError, ConfigError, UsageError
from cifarlab.metrics import cross_entropy
from cifarlab.runs import Predictions, RunDirectory

DATA = {"name": "stripes", "validation": 0.2}
ENV = {"threads": 1}


def recipe_of(name: str, features: str = "pixels", *, seed: int = 0, **arguments):
    return baseline_recipe(name, features, data=DATA, arguments=arguments, seed=seed)


def fit(recipe, arranged: ArrangedSplits, runs: Path, name: str = "one") -> RunDirectory:
    return fit_baseline(recipe, FeatureStore(arranged, threads=1), runs=runs, name=name, env=ENV)


def test_a_run_holds_what_it_is_and_predictions_of_both_splits(arranged, tmp_path):
    recipe = recipe_of("knn", "hog", k=3)
    run = RunDirectory.open(fit(recipe, arranged, tmp_path).path)
    assert run.status()["state"] == "done"
    assert run.status()["test_reads"] == 1
    assert not differences(read_recipe(run.recipe_file), recipe)
    for split in ("validation", "test"):
        predictions = Predictions.load(run.predictions_file(split))
        dataset = arranged._asdict()[split]
        assert predictions.checksum == dataset.checksum
        np.testing.assert_array_equal(predictions.sample_ids, dataset.sample_ids)
        assert (predictions.final_logits.argmax(axis=1) == predictions.labels).mean() > 0.9
    described = run.read_json("baseline.json")
    assert described["features"] == {"kind": "hog", "dimensions": 1764}
    assert described["arguments"] == {"k": 3}
    assert described["chosen_by"] == "fixed in advance"
    assert min(described["seconds"].values()) >= 0
    assert described["peak_memory_bytes"] > 10_000_000


def test_the_recipe_says_nothing_of_training(arranged, tmp_path):
    text = fit(recipe_of("tree"), arranged, tmp_path).recipe_file.read_text()
    assert "optim" not in text
    assert "augment" not in text


def test_validation_chooses_and_the_test_split_does_not(arranged, tmp_path, monkeypatch):
    swapped = arranged._replace(test=arranged.test.take(np.arange(30)))
    chosen = [
        fit(recipe_of("knn", k=[40, 1, 3]), given, tmp_path, name).read_json("baseline.json")
        for name, given in (("a", arranged), ("b", swapped))
    ]
    assert chosen[0]["arguments"] == chosen[1]["arguments"]
    tried = {one["arguments"]["k"]: one["validation_accuracy"] for one in chosen[0]["candidates"]}
    assert set(tried) == {40, 1, 3}
    assert tried[chosen[0]["arguments"]["k"]] == max(tried.values())


def test_without_validation_the_first_candidate_is_taken(splits: Splits, tmp_path):
    recipe = baseline_recipe("knn", "pixels", data={"name": "stripes", "validation": 0}, arguments={"k": [40, 1]}, seed=0)
    run = fit(recipe, arrange_splits(splits, validation=0), tmp_path)
    described = run.read_json("baseline.json")
    assert described["arguments"] == {"k": 40}
    assert described["candidates"] == [{"arguments": {"k": 40}, "validation_accuracy": None}]
    assert not run.predictions_file("validation").exists()


def test_margins_are_scaled_where_the_cross_entropy_on_validation_is_smallest(arranged, tmp_path):
    run = fit(recipe_of("svm", alpha=1e-3), arranged, tmp_path)
    factor = run.read_json("baseline.json")["logit_factor"]
    validation = Predictions.load(run.predictions_file("validation"))
    at = cross_entropy(validation.logits, validation.labels)
    for other in (0.5, 0.9, 1.1, 2.0):
        if 1e-3 < factor * other < 1e3:
            assert cross_entropy(validation.logits * other, validation.labels) >= at - 1e-6


def test_a_finished_run_is_found_again_and_another_is_refused(arranged, tmp_path):
    recipe = recipe_of("tree")
    assert finished_baseline(tmp_path / "one", recipe, arranged) is None
    fit(recipe, arranged, tmp_path)
    found = finished_baseline(tmp_path / "one", recipe, arranged)
    assert found is not None
    with pytest.raises(UsageError, match=r"seed: 0 -> 1\. .*--runs DIR"):
        finished_baseline(tmp_path / "one", recipe_of("tree", seed=1), arranged)
    with pytest.raises(UsageError, match="fitted to other data"):
        finished_baseline(tmp_path / "one", recipe, arranged._replace(test=arranged.test.take(np.arange(10))))


@pytest.mark.parametrize(("error", "state"), [(KeyboardInterrupt, "preempted"), (RuntimeError, "failed")])
def test_a_broken_off_fit_is_begun_anew_and_its_reading_of_test_stays_counted(arranged, tmp_path, monkeypatch, error, state):
    recipe = recipe_of("tree")
    with monkeypatch.context() as patch:

        def fail(self: object, path: Path) -> None:
            if path.stem == "test":
                raise error

        patch.setattr(Predictions, "save", fail)
        with pytest.raises(error):
            fit(recipe, arranged, tmp_path)
    status = RunDirectory(tmp_path / "one").status()
    assert (status["state"], status["test_reads"]) == (state, 1)
    assert finished_baseline(tmp_path / "one", recipe, arranged) is None
    assert fit(recipe, arranged, tmp_path).status()["test_reads"] == 2


def test_a_run_that_another_process_fits_is_left_alone(arranged, tmp_path):
    recipe = recipe_of("tree")
    run = fit(recipe, arranged, tmp_path)
    run.update_status(state="running")
    with run.locked(), pytest.raises(BusyError):
        fit(recipe, arranged, tmp_path)
    assert run.predictions_file("test").exists()


def test_features_are_computed_once(arranged, monkeypatch):
    calls: list[int] = []
    import cifarlab.baselines.fitting as fitting

    original = fitting.hog_features
    monkeypatch.setattr(fitting, "hog_features", lambda images, **named: calls.append(len(images)) or original(images, **named))
    store = FeatureStore(arranged, threads=1)
    first, seconds = store.get("hog", "test", lambda stage, done, total: None)
    again, same = store.get("hog", "test", lambda stage, done, total: None)
    assert calls == [60]
    assert first is again
    assert seconds == same > 0


def test_what_does_not_fit_is_told_with_numbers(arranged):
    assert "knn.k=500 is more than the 120 training images" in check_fit(recipe_of("knn", k=500), arranged)[0]
    assert "kmeans.clusters=200" in check_fit(recipe_of("kmeans", clusters=[10, 200]), arranged)[0]
    only = arranged._replace(train=arranged.train.take(np.flatnonzero(arranged.train.labels != 1)))
    assert any("no training image of down" in line for line in check_fit(recipe_of("tree"), only))
    assert check_fit(recipe_of("tree"), arranged) == []


def test_pixels_too_many_for_the_memory_are_refused(arranged, monkeypatch):
    monkeypatch.setattr("cifarlab.baselines.fitting.MOST_BYTES", 1000)
    assert "use --features hog" in check_fit(recipe_of("tree"), arranged)[0]
    assert check_fit(recipe_of("tree", "hog"), arranged) == []


def test_small_data_is_not_estimated_and_large_data_is(arranged, monkeypatch):
    recipe = recipe_of("tree")
    assert estimate_seconds(recipe, FeatureStore(arranged, threads=1)) is None
    monkeypatch.setattr("cifarlab.baselines.fitting.PROBE_IMAGES", 12)
    estimate = estimate_seconds(recipe, FeatureStore(arranged, threads=1))
    assert estimate is not None
    assert estimate > 0


def test_a_recipe_names_a_baseline_and_features(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'knn'"):
        recipe_of("knnn")
    with pytest.raises(UsageError, match="unknown features 'pixel'"):
        recipe_of("knn", "pixel")
    with pytest.raises(ConfigError, match=r"data\.validation"):
        baseline_recipe("knn", "hog", data={"validation": 2}, arguments={}, seed=0)


def test_train_and_load_say_that_a_baseline_is_no_network(arranged, tmp_path):
    import cifarlab

    run = fit(recipe_of("tree"), arranged, tmp_path)
    with pytest.raises(UsageError, match=r"baseline-tree is a classical baseline, not a network.*cifarlab baseline tree"):
        cifarlab.train(run.recipe_file, runs=tmp_path / "other")
    with pytest.raises(UsageError, match="a classical baseline, which keeps predictions but no network"):
        cifarlab.load(run.path)
    with pytest.raises(UsageError, match="classical baseline, which is not trained"):
        cifarlab.resume(run.path)
    assert Run(run.path).is_baseline
