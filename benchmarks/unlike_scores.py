"""Which score tells pictures that are not CIFAR-10's from its validation images: energy or the largest probability?

    python benchmarks/unlike_scores.py runs/fast-0 [--images 500]

For each kind of picture: the share that is flagged at the threshold that flags 5 % of the run's validation images, and the area
under the ROC curve against them. The test split is not read. Needs the extra [baselines] for scikit-image's photographs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from skimage import data as photographs
from sklearn.datasets import load_digits, load_sample_images
from sklearn.metrics import roc_auc_score

import cifarlab
from cifarlab.bundle.calibration import fit_threshold, unlikeness
from cifarlab.runs import Predictions

SCORES = ("energy", "max-probability")
SIDE = 32
Kind = Callable[[np.random.Generator], Any]


def small(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def noise(draw: np.random.Generator) -> Any:
    return draw.integers(0, 256, (SIDE, SIDE, 3))


def blurred_noise(draw: np.random.Generator) -> Any:
    return np.asarray(Image.fromarray(noise(draw).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2)))


def gray(draw: np.random.Generator) -> Any:
    return np.full((SIDE, SIDE, 3), draw.integers(0, 256))


def color(draw: np.random.Generator) -> Any:
    return np.broadcast_to(draw.integers(0, 256, 3), (SIDE, SIDE, 3))


def gradient(draw: np.random.Generator) -> Any:
    first, second = draw.integers(0, 256, (2, 3))
    share = np.linspace(0, 1, SIDE)[:, None, None]
    return np.broadcast_to(first * (1 - share) + second * share, (SIDE, SIDE, 3))


def stripes(draw: np.random.Generator) -> Any:
    first, second = draw.integers(0, 256, (2, 3))
    odd = (np.arange(SIDE) // draw.integers(1, 8)) % 2 == 1
    return np.broadcast_to(np.where(odd[:, None, None], first, second), (SIDE, SIDE, 3))


def digit(draw: np.random.Generator) -> Any:
    images = load_digits().images
    return small(Image.fromarray((images[draw.integers(len(images))] * (255 / 16)).astype(np.uint8)))


def text(draw: np.random.Generator) -> Any:
    image = Image.new("RGB", (64, 64), "white")
    letters = ["".join(chr(97 + each) for each in draw.integers(0, 26, 8)) for _ in range(5)]
    ImageDraw.Draw(image).multiline_text((2, 2), "\n".join(letters), fill="black")
    return small(image)


def shapes(draw: np.random.Generator) -> Any:
    image = Image.new("RGB", (128, 128), tuple(int(each) for each in draw.integers(0, 256, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(draw.integers(2, 6)):
        x, y, width, height = (int(each) for each in (*draw.integers(0, 100, 2), *draw.integers(10, 60, 2)))
        fill = tuple(int(each) for each in draw.integers(0, 256, 3))
        (pen.ellipse if draw.integers(2) else pen.rectangle)([x, y, x + width, y + height], fill=fill)
    return small(image)


def crops(photograph: np.ndarray[Any, Any]) -> Kind:
    whole = photograph if photograph.ndim == 3 else np.repeat(photograph[:, :, None], 3, axis=2)

    def crop(draw: np.random.Generator) -> Any:
        side = int(draw.integers(60, 280))
        top, left = (int(draw.integers(0, extent - side + 1)) for extent in whole.shape[:2])
        return small(Image.fromarray(whole[top : top + side, left : left + side]))

    return crop


def kinds() -> dict[str, Kind]:
    temple, flower = load_sample_images().images
    drawn = {"uniform noise": noise, "blurred noise": blurred_noise, "one gray": gray, "one colour": color, "gradient": gradient}
    drawn |= {"stripes": stripes, "digits, upscaled": digit, "text": text, "shapes": shapes}
    found = {"temple": temple, "flower": flower, **{name: getattr(photographs, name)() for name in ("brick", "grass", "gravel", "coffee")}}
    return {**drawn, **{f"crops: {name}": crops(image) for name, image in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=500, help="of each kind")
    given = parser.parse_args()
    stored = Predictions.load(given.run / "predictions" / "validation.npz")
    model = cifarlab.load(given.run)
    known = {score: unlikeness(score, stored.final_logits) for score in SCORES}
    print(f"{len(stored.labels)} validation images, views: {stored.tta}; {given.images} pictures of each kind")
    print(f"{'':20}" + "".join(f"{score + ': flagged, AUROC':>34}" for score in SCORES))
    rows = []
    for name, kind in kinds().items():
        draw = np.random.default_rng(0)
        pictures = np.stack([np.asarray(kind(draw)).astype(np.uint8) for _ in range(given.images)])
        logits = np.concatenate(
            [model.engine.logits(part, views=stored.tta) for part in np.array_split(pictures, -(-len(pictures) // 100))]
        )
        row = []
        for score in SCORES:
            unknown = unlikeness(score, logits)
            truth = np.r_[np.zeros(len(known[score])), np.ones(len(unknown))]
            row += [(unknown > fit_threshold(known[score])).mean(), roc_auc_score(truth, np.r_[known[score], unknown])]
        rows.append(row)
        print(f"{name:20}" + "".join(f"{100 * row[k]:24.1f} % {row[k + 1]:7.3f}" for k in (0, 2)))
    mean = np.mean(rows, axis=0)
    print(f"{'mean':20}" + "".join(f"{100 * mean[k]:24.1f} % {mean[k + 1]:7.3f}" for k in (0, 2)))


if __name__ == "__main__":
    main()
