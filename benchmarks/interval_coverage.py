"""How often do 95 % intervals for the difference of two recipes hold a known difference?

python benchmarks/interval_coverage.py                  # about two minutes on one core
python benchmarks/interval_coverage.py --trials 2000

Two recipes are simulated, each trained with several seeds and tested on the same images. A run is right on an image with the probability
sigmoid(ability of the image for the recipe + luck of the seed); abilities of an image for the two recipes are alike, and the seeds' luck is
normal. The difference that is to be held is that of the expected accuracies over all images and seeds, by numerical integration.

Three intervals are compared: cifarlab's (cifarlab.paired), the plain two-level bootstrap that draws seeds and images with replacement, and
the bootstrap of the images alone, which takes the trained models for the recipes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from cifarlab.paired import compare_groups, resample_accuracies

METHODS: Final = ("cifarlab", "two-level", "images alone")
CASES: Final = [  # images, seeds of each recipe, standard deviation of the seeds' luck in logits
    *((2000, (3, 3), luck) for luck in (0.0, 0.03, 0.1, 0.4)),
    *((10_000, (3, 3), luck) for luck in (0.0, 0.1)),
    (2000, (2, 2), 0.1),
    (2000, (5, 5), 0.1),
    (2000, (5, 2), 0.1),
    (2000, (3, 1), 0.1),
]
BETTER: Final = 0.1  # by how much, in logits, the first recipe is better


def simulate(images: int, seeds: tuple[int, int], luck: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Correctness [S, N] of all runs, those of the first recipe first."""
    shared = generator.normal(2.2, 3.0, size=images)
    rows = []
    for count, shift in zip(seeds, (BETTER, 0.0), strict=True):
        ability = shared + generator.normal(size=images) + shift
        chances = expit(ability + luck * generator.normal(size=(count, 1)))
        rows.append(generator.random((count, images)) < chances)
    return np.concatenate(rows)


def true_difference(luck: float) -> float:
    """Expected accuracy of the first recipe minus that of the second: all of an ability's parts and the luck are normal."""
    places = norm.ppf((np.arange(20_000) + 0.5) / 20_000) * np.sqrt(9.0 + 1.0 + luck**2) + 2.2
    return float(expit(places + BETTER).mean() - expit(places).mean())


def intervals(correct: NDArray[np.bool_], seeds: tuple[int, int], resamples: int, seed: int) -> Iterator[tuple[float, float]]:
    """The 95 % interval of each of `METHODS`."""
    first, second = list(range(seeds[0])), list(range(seeds[0], sum(seeds)))
    found = compare_groups(correct, [first, second], [(0, 1)], resamples=resamples, seed=seed)[0]
    yield found.low, found.high
    runs = resample_accuracies(correct, [[row] for row in range(len(correct))], resamples=resamples, seed=seed)  # [B, S]
    generator = np.random.default_rng([seed, 7])
    sides = [np.take_along_axis(runs, generator.choice(own, size=(resamples, len(own))), axis=1).mean(axis=1) for own in (first, second)]
    low, high = np.quantile(sides[0] - sides[1], [0.025, 0.975])
    yield float(low), float(high)
    low, high = np.quantile(runs[:, first].mean(axis=1) - runs[:, second].mean(axis=1), [0.025, 0.975])
    yield float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=500, metavar="N", help="simulated comparisons of each case")
    parser.add_argument("--resamples", type=int, default=500, metavar="N", help="bootstrap draws of each")
    options = parser.parse_args()
    print(f"Coverage in % (mean width in points) of 95 % intervals, {options.trials} trials; binomial sd about 1 at 500 trials\n")
    print(f"| images | seeds | luck | {' | '.join(METHODS)} |")
    print(f"|---|---|---|{'---|' * len(METHODS)}")
    for images, seeds, luck in CASES:
        generator = np.random.default_rng([images, *seeds, int(1000 * luck)])
        truth = true_difference(luck)
        made = [
            list(intervals(simulate(images, seeds, luck, generator), seeds, options.resamples, trial)) for trial in range(options.trials)
        ]
        ends = np.array(made)  # [T, M, 2]
        held = 100 * ((ends[..., 0] <= truth) & (truth <= ends[..., 1])).mean(axis=0)
        widths = 100 * (ends[..., 1] - ends[..., 0]).mean(axis=0)
        cells = " | ".join(f"{share:.1f} ({width:.2f})" for share, width in zip(held, widths, strict=True))
        print(f"| {images} | {seeds[0]} and {seeds[1]} | {luck:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
