"""The rate at which cifarlab trains one of its networks: the counterpart of keras_networks.py, which training_rate.py runs too.

python cifarlab_networks.py report10 --batch-size 32 --seconds 3 --threads 2 --precision fp32      # -> one line of JSON
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from typing import Any, Final

import numpy as np
import torch

from cifarlab.build import build_plan
from cifarlab.config import Recipe, override
from cifarlab.data.dataset import Dataset
from cifarlab.data.splits import ArrangedSplits
from cifarlab.models.count import measure_model
from cifarlab.plan import Plan
from cifarlab.recipes import get_recipe
from cifarlab.training import State, describe_environment, fit, keep_freed_memory

PROBE_STEPS: Final = 16  # an epoch of warm-up and one to choose the number of steps that are measured
MOST_IMAGES: Final = 50_000  # in memory at once: CIFAR-10's training split


def training_rate(name: str, *, batch_size: int, precision: str, seconds: float) -> dict[str, Any]:
    """Images/s in one epoch of `training.fit` that takes about `seconds`, on random images, after a warm-up.

    Network, loss, optimizer and augmentation are those of the recipe `name`. Raises UsageError where there is no such recipe.
    """
    recipe = override(get_recipe(name), {"train.batch_size": batch_size, "train.precision": precision})
    keep_freed_memory()  # as cifarlab.training.session does before a run
    (_, (probe, _)), _ = time_epochs(override(recipe, {"train.duration": "2ep"}), steps=PROBE_STEPS)
    steps = min(max(PROBE_STEPS, round(PROBE_STEPS * seconds / probe)), MOST_IMAGES // batch_size)
    ((taken, cpu),), plan = time_epochs(override(recipe, {"train.duration": "1ep"}), steps=steps)
    size = measure_model(plan.model)
    return {
        "images_per_second": steps * batch_size / taken,
        "steps": steps,
        "seconds": taken,
        "cpu_seconds": cpu,
        "parameters": size.parameters,
        "trainable": size.trainable,
        "environment": describe_environment(plan.device),
    }


class _Silent:
    def step(self, state: State, plan: Plan) -> None: ...

    def epoch(self, row: dict[str, Any]) -> None: ...


def time_epochs(recipe: Recipe, *, steps: int) -> tuple[list[tuple[float, float]], Plan]:
    """(Seconds, processor seconds of all threads) of each epoch of `steps` full batches, and what was trained.

    Validation, records and checkpoints are the business of the function that `fit` calls after an epoch; here it reads the clock.
    """
    train = random_dataset(steps * recipe.train.batch_size)
    plan = build_plan(recipe, ArrangedSplits(train, None, train), device=torch.device("cpu"))
    marks = [(time.perf_counter(), time.process_time())]
    fit(plan, State(), end_epoch=lambda state, epoch: marks.append((time.perf_counter(), time.process_time())), listener=_Silent())
    return [(after[0] - before[0], after[1] - before[1]) for before, after in itertools.pairwise(marks)], plan


def random_dataset(count: int) -> Dataset:
    """`count` images of noise, uint8 [N, 32, 32, 3], in ten classes; the same on every call."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    ids = np.array([f"noise/{number}" for number in range(count)])
    return Dataset("noise", images, rng.integers(0, 10, count), tuple("abcdefghij"), ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    answer = training_rate(given.name, batch_size=given.batch_size, precision=given.precision, seconds=given.seconds)
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
