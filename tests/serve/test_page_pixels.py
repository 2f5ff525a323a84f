"""The page's arithmetic on pixels and logits, run by Node.js, against Pillow, SciPy and the predictor."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy import ndimage

from cifarlab.bundle.calibration import unlikeness
from cifarlab.data.images import fit_image
from cifarlab.metrics import softmax

PAGE = Path(__file__).parents[2] / "src" / "cifarlab" / "serve" / "page" / "js"
Pixels = NDArray[np.uint8]
# Reads [[function, pixels or value, ...arguments], ...] and writes what each call gives.
PROGRAM = """
import * as resize from "./resize.js";
import * as operations from "./operations.js";
import * as judge from "./judge.js";
import fs from "fs";
const functions = { ...resize, ...operations, ...judge };
const unpack = (value) => (value?.base64 ? { ...value, data: new Uint8ClampedArray(Buffer.from(value.base64, "base64")) } : value);
const coded = (data) => Buffer.from(data).toString("base64");
const pack = (value) => (value?.data ? { width: value.width, height: value.height, base64: coded(value.data) } : value);
const calls = JSON.parse(fs.readFileSync(0, "utf8"));
console.log(JSON.stringify(calls.map(([name, ...given]) => pack(functions[name](...given.map(unpack))))));
"""
SIZES = [  # height, width -> height, width
    ((32, 32), (32, 32)),
    ((64, 64), (32, 32)),
    ((33, 33), (32, 32)),
    ((31, 31), (32, 32)),
    ((5, 5), (32, 32)),
    ((1, 1), (8, 8)),
    ((333, 333), (32, 32)),
    ((7, 300), (20, 32)),
    ((641, 641), (96, 96)),
    ((8, 8), (224, 224)),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs `PROGRAM`. The modules are copied beside a package.json that says that they are modules."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("no Node.js on PATH, which runs the page's modules here")
    folder = tmp_path_factory.mktemp("page")
    (folder / "package.json").write_text('{"type": "module"}')
    for name in ("resize.js", "operations.js", "judge.js", "weak_spot.js"):
        shutil.copy(PAGE / name, folder)
    (folder / "program.js").write_text(PROGRAM)
    return [found, str(folder / "program.js")]


def run(node: list[str], calls: list[list[Any]]) -> list[Any]:
    """What the page's functions give: pictures as arrays [H, W, 3], all else as it is."""
    given = json.dumps([[call[0], *map(_packed, call[1:])] for call in calls])
    done = subprocess.run(node, input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [_unpacked(value) for value in json.loads(done.stdout)]


def _packed(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    opaque = np.dstack([value, np.full(value.shape[:2], 255, np.uint8)])
    return {"width": value.shape[1], "height": value.shape[0], "base64": base64.b64encode(opaque.tobytes()).decode()}


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict) or "base64" not in value:
        return value
    pixels = np.frombuffer(base64.b64decode(value["base64"]), np.uint8).reshape(value["height"], value["width"], 4)
    assert (pixels[:, :, 3] == 255).all(), "a pixel is not opaque"
    return pixels[:, :, :3]


def contrasty(height: int, width: int, *, seed: int = 0) -> Pixels:
    """Black and white at random: overshoot and rounding show everywhere."""
    found: Pixels = (np.random.default_rng(seed).integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)
    return found


def picture(height: int, width: int, *, seed: int = 0) -> Pixels:
    """Of middling values, so that few of them end at 0 or 255."""
    found: Pixels = np.random.default_rng(seed).integers(40, 200, (height, width, 3)).astype(np.uint8)
    return found


def largest_difference(found: Pixels, expected: NDArray[Any]) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found.astype(float) - expected).max())


def test_scaling_equals_pillows_bicubic(node: list[str]) -> None:
    for make in (contrasty, picture):
        given = [make(*before) for before, _ in SIZES]
        found = run(node, [["resample", pixels, after[1], after[0]] for pixels, (_, after) in zip(given, SIZES, strict=True)])
        for pixels, (before, after), scaled in zip(given, SIZES, found, strict=True):
            expected = np.asarray(Image.fromarray(pixels).resize((after[1], after[0]), Image.Resampling.BICUBIC))
            assert largest_difference(scaled, expected) == 0, f"{make.__name__} {before} -> {after}"


@pytest.mark.parametrize("size", [32, 45])
def test_what_the_model_sees_is_what_python_gives_it(node: list[str], size: int) -> None:
    given = [contrasty(60, 91), contrasty(91, 60), contrasty(47, 32), picture(200, 133), picture(size, size)]
    found = run(node, [["fit", pixels, {"size": size, "rule": "crop"}] for pixels in given])
    for pixels, fitted in zip(given, found, strict=True):
        assert largest_difference(fitted, fit_image(pixels, size=size, resize="crop")) == 0, pixels.shape


def test_squashed_pictures_differ_by_rounding_alone(node: list[str]) -> None:
    # Rows are scaled before columns here; Pillow chooses the order by the shape from some version on.
    given = [ndimage.gaussian_filter(picture(*shape), (2, 2, 0)) for shape in [(60, 91), (200, 31), (31, 200)]]
    found = run(node, [["fit", pixels, {"size": 32, "rule": "squash"}] for pixels in given])
    for pixels, fitted in zip(given, found, strict=True):
        assert largest_difference(fitted, fit_image(pixels, size=32, resize="squash")) <= 1, pixels.shape


def test_shift_turn_and_scale_equal_scipys_affine_mapping(node: list[str]) -> None:
    pixels = picture(24, 24)
    cases = [
        {"x": 0.25, "y": 0, "rotate": 0, "scale": 1},
        {"x": 0, "y": -0.1, "rotate": 0, "scale": 1},
        {"x": 0, "y": 0, "rotate": 90, "scale": 1},
        {"x": 0.1, "y": 0.2, "rotate": -33, "scale": 1.7},
        {"x": -0.3, "y": 0.05, "rotate": 170, "scale": 0.5},
    ]
    for how, moved in zip(cases, run(node, [["move", pixels, how] for how in cases]), strict=True):
        turn = np.deg2rad(how["rotate"])
        # Clockwise on a screen, whose y grows downward; rows first, as arrays have them.
        forward = how["scale"] * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        backward, middle = np.linalg.inv(forward), np.array([11.5, 11.5])
        offset = middle - backward @ (middle + 24 * np.array([how["y"], how["x"]]))
        planes = [ndimage.affine_transform(pixels[:, :, c].astype(float), backward, offset, order=1, mode="reflect") for c in range(3)]
        assert largest_difference(moved, np.dstack(planes)) <= 0.51, how


def test_a_shift_goes_right_and_down_and_a_turn_clockwise(node: list[str]) -> None:
    pixels = np.zeros((9, 9, 3), np.uint8)
    pixels[4, 6] = 255  # right of the middle
    moved, turned = run(
        node,
        [
            ["move", pixels, {"x": 1 / 9, "y": 2 / 9, "rotate": 0, "scale": 1}],
            ["move", pixels, {"x": 0, "y": 0, "rotate": 90, "scale": 1}],
        ],
    )
    assert np.argwhere(moved[:, :, 0] > 128).tolist() == [[6, 7]]
    assert np.argwhere(turned[:, :, 0] > 128).tolist() == [[6, 4]]


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.3])
def test_blur_equals_scipys_gaussian(node: list[str], sigma: float) -> None:
    pixels = contrasty(20, 20)
    (found,) = run(node, [["blurred", pixels, sigma]])
    expected = ndimage.gaussian_filter(pixels.astype(float), (sigma, sigma, 0), mode="reflect", truncate=3)
    assert largest_difference(found, expected) <= 0.51


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.6, 2.5])
def test_brightness_and_contrast_equal_pillows(node: list[str], factor: float) -> None:
    pixels = picture(16, 16)
    bright, contrast = run(node, [["brightened", pixels, factor], ["contrasted", pixels, factor]])
    image = Image.fromarray(pixels)
    assert largest_difference(bright, np.asarray(ImageEnhance.Brightness(image).enhance(factor))) <= 1
    # Pillow rounds the luma of each pixel before it takes the mean.
    assert largest_difference(contrast, np.asarray(ImageEnhance.Contrast(image).enhance(factor))) <= 1 + abs(1 - factor)


def test_neutral_settings_change_nothing(node: list[str]) -> None:
    pixels = picture(16, 16)
    neutral = {"x": 0, "y": 0, "rotate": 0, "scale": 1, "blur": 0, "brightness": 1, "contrast": 1, "quality": 100}
    same, yes, no = run(node, [["poke", pixels, neutral], ["isNeutral", neutral], ["isNeutral", {**neutral, "blur": 0.01}]])
    assert largest_difference(same, pixels) == 0
    assert yes is True
    assert no is False


@pytest.mark.parametrize("score", ["energy", "max-probability"])
def test_judgement_equals_the_predictors(node: list[str], score: str) -> None:
    logits = np.random.default_rng(0).normal(0, 4, (6, 5)).astype(np.float32)
    expected = unlikeness(score, logits)
    threshold = float(np.median(expected))
    described = {
        "classes": list("abcde"),
        "tta": "six",
        "calibration": {"score": score, "views": {"six": {"temperature": 0.6, "threshold": threshold}}},
    }
    found = run(node, [["judge", row.tolist(), described] for row in logits])
    for row, value, judged in zip(logits, expected, found, strict=True):
        assert judged["score"] == pytest.approx(value, abs=1e-12)
        assert judged["unlike"] == bool(value > threshold)
        wanted = softmax(row.astype(np.float64)[None] / 0.6)[0]
        given = {one["label"]: one["probability"] for one in judged["predictions"]}
        assert [given[name] for name in "abcde"] == pytest.approx(wanted.tolist(), abs=1e-12)
        assert judged["label"] == "abcde"[int(row.argmax())]
        assert [one["probability"] for one in judged["predictions"]] == sorted(given.values(), reverse=True)


def test_the_smallest_change_is_found(node: list[str]) -> None:
    program = """
    import { findWeakSpot } from "./weak_spot.js";
    const [x, turn] = [["x", -12, 12, 1], ["rotate", -180, 180, 1]].map(([name, min, max, step]) => ({ name, min, max, step, neutral: 0 }));
    const asked = [];
    const find = (ask) => findWeakSpot({
        specs: [x, turn], first: "cat", progress: (share) => asked.push(share), signal: new AbortController().signal,
        ask: async (name, value) => ask(name, value),
    });
    // A shift by 6 of 12 is half of the way, a turn by 50 of 180 less than a third.
    const found = await find((name, value) => (name === "x" ? (value >= 6 ? "dog" : "cat") : value <= -50 ? "ship" : "cat"));
    const none = await find(() => "cat");
    console.log(JSON.stringify({ name: found.spec.name, value: found.value, label: found.label, none, last: asked.at(-1) }));
    """
    (folder := Path(node[1]).parent).joinpath("spot.js").write_text(program)
    done = subprocess.run([node[0], str(folder / "spot.js")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["name"], found["label"]) == ("rotate", "ship")
    assert -52 <= found["value"] <= -50
    assert found["none"] is None
    assert found["last"] == 1


def test_without_calibration_nothing_is_judged_unlike(node: list[str]) -> None:
    (judged,) = run(node, [["judge", [0.0, 1.0], {"classes": ["a", "b"], "tta": "none", "calibration": None}]])
    assert judged["unlike"] is None
    assert judged["predictions"][0]["probability"] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-12)
