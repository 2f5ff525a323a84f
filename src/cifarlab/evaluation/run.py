"""Evaluate a run on one of its splits."""

from __future__ import annotations

from collections.abc import Callable

import torch

from cifarlab.config import read_recipe
from cifarlab.data.dataset import Dataset
from cifarlab.data.splits import ArrangedSplits
from cifarlab.errors import RunError, UsageError, unknown
from cifarlab.evaluation.logits import predict_with_views
from cifarlab.restore import restore, weights_path
from cifarlab.runs import Predictions, RunDirectory


def evaluate_run(
    run: RunDirectory,
    arranged: ArrangedSplits,
    split: str,
    *,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Predict `split` ("validation" or "test") with the run's selected weights and write its predictions file.

    A reading of the test split is counted before it happens. Raises RunError where the training has not come to its
    end or the split is not the data that the run was set up with, BundleError where its weights cannot be read.
    """
    state = run.status().get("state")
    if state != "done":
        raise RunError(f"{run.path} is {state}, not done: its weights may still change. Finish it with: cifarlab train --resume {run.path}")
    dataset = _split(arranged, split)
    recipe = read_recipe(run.recipe_file)
    description = run.read_json("bundle.json")
    checksum = dataset.checksum
    expected = run.read_json("env.json").get(f"checksum_{split}")
    if expected != checksum:
        raise RunError(
            f"the {split} split is not the one that {run.path} was set up with (checksum {checksum[:12]}, expected {str(expected)[:12]}). "
            "Point --data-dir to the same data"
        )
    model, preprocess = restore(description, weights_path(run.path, description))
    model, preprocess = model.to(device), preprocess.to(device)
    if split == "test":
        run.count_test_read()
    views = description["tta"]
    logits, averaged = predict_with_views(
        model, preprocess, torch.from_numpy(dataset.images), views=views, batch_size=recipe.evaluate.batch_size, progress=progress
    )
    predictions = Predictions(
        sample_ids=dataset.sample_ids,
        labels=dataset.labels,
        logits=logits,
        logits_tta=None if views == "none" else averaged,
        tta=views,
        class_names=dataset.class_names,
        split=split,
        checksum=checksum,
    )
    predictions.save(run.predictions_file(split))
    return predictions


def _split(arranged: ArrangedSplits, name: str) -> Dataset:
    splits = arranged._asdict()
    if name not in splits:
        raise UsageError(unknown("split", name, splits))
    chosen: Dataset | None = splits[name]
    if chosen is None:
        raise UsageError("this run has no validation split (data.validation is 0); use --split test")
    if name == "validation" and chosen is arranged.test:
        raise UsageError("this run validated on the test split (data.validate_on=test); use --split test")
    return chosen
