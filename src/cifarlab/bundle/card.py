"""The model card, README.md of a bundle: front matter as the Hugging Face Hub reads it, then plain facts from bundle.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from cifarlab.files import write_text

CARD: Final = "README.md"
# Published name and the Hub's identifier of the datasets that have one.
DATASETS: Final = {"cifar10": ("CIFAR-10", "uoft-cs/cifar10"), "cifar100": ("CIFAR-100", "uoft-cs/cifar100")}
SPLITS: Final = ("test", "validation")
VIEW_NAMES: Final = {
    "none": "one view",
    "flip": "2 views (the image and its mirror image)",
    "six": "6 views (flip, shift by one pixel)",
    "selective": "selective (2 views where they suffice, else 6)",
}
SCORE_NAMES: Final = {
    "energy": "energy, -logsumexp of the logits ([Liu et al., 2020](https://arxiv.org/abs/2010.03759))",
    "max-probability": "largest softmax probability ([Hendrycks and Gimpel, 2017](https://arxiv.org/abs/1610.02136))",
}


def write_card(folder: Path, description: Mapping[str, Any]) -> Path:
    """Write README.md into the bundle `folder` from its bundle.json's content; returns its path."""
    write_text(folder / CARD, model_card(description))
    return folder / CARD


def model_card(description: Mapping[str, Any]) -> str:
    """The whole text: YAML front matter between two lines of three hyphens, then Markdown."""
    front = yaml.safe_dump(front_matter(description), sort_keys=False, allow_unicode=True, width=1000)
    parts = [_what, _accuracy, _calibration, _formats, _use, _limits, _training, _license]
    body = "\n\n".join(section for part in parts if (section := part(description)))
    return f"---\n{front}---\n\n# {_plain(description['name'])}\n\n{body}\n"


def front_matter(description: Mapping[str, Any]) -> dict[str, Any]:
    """What the Hub indexes: license, library, task, dataset, metrics and the measured results ("model-index")."""
    shown, identifier = DATASETS.get(description["dataset"]["name"], (description["dataset"]["name"], None))
    found: dict[str, Any] = {
        "license": (description["license"] or "unknown").lower(),
        "library_name": "cifarlab",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pytorch", "cifarlab", description["model"]["name"]],
    }
    if identifier:
        found["datasets"] = [identifier]
    found["metrics"] = ["accuracy"]
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"name": shown, "type": identifier or "image-folder", "split": split},
            "metrics": [
                {
                    "type": "accuracy",
                    "value": description["metrics"][split]["accuracy"]["value"],
                    "name": f"Accuracy ({VIEW_NAMES[description['metrics'][split]['tta']]}, n = {description['metrics'][split]['n']})",
                }
            ],
        }
        for split in SPLITS
        if split in description["metrics"]
    ]
    if results:
        found["model-index"] = [{"name": description["name"], "results": results}]
    return found


def _what(description: Mapping[str, Any]) -> str:
    source, data = description["input"], description["dataset"]
    classes = ", ".join(_plain(name) for name in description["classes"])
    color = "RGB" if source["color"] == "rgb" else "RGB, of which the network sees the luma"
    fit = "the central square is scaled to that" if source["resize"] == "crop" else "both sides are scaled to that"
    precision = "large tensors in float16, the others in float32" if description["precision"] == "float16" else "float32"
    return (
        f"An image classifier: the network `{_code(description['model']['name'])}` with {description['parameters']:,} parameters, "
        f"trained by cifarlab with the recipe `{_code(description['recipe']['name'])}` on {_dataset(data['name'])}.\n\n"
        f"- Classes ({len(description['classes'])}): {classes}\n"
        f"- Input: {color}, {source['size']} x {source['size']} pixels; of larger or smaller pictures {fit}. "
        "The whole preprocessing is part of the bundle.\n"
        f"- Test-time augmentation: {VIEW_NAMES[description['tta']]}\n"
        f"- Weights: {precision}; {_size(description)}"
    )


def _accuracy(description: Mapping[str, Any]) -> str:
    rows = []
    for split in SPLITS:
        if (score := description["metrics"].get(split)) is not None:
            sides = [(VIEW_NAMES[score["tta"]], score)]
            if score["tta"] != "none":
                sides.append((VIEW_NAMES["none"], score["single_view"]))
            rows += [f"| {split} | {views} | {_interval(side['accuracy'])} | {side['errors']} of {side['n']} |" for views, side in sides]
    if not rows:
        return "## Accuracy\n\nNot measured: the run has no evaluated split."
    lines = ["## Accuracy", "", "| split | views | accuracy [95 % interval] | errors |", "|---|---|---|---|", *rows, ""]
    lines.append("The interval is Wilson's, for the images drawn; it does not cover the spread between trainings with other seeds.")
    if "test" not in description["metrics"]:
        lines.append("The test split has not been evaluated.")
    if description["dataset"]["validated_on"] == "test":
        lines.append("**The training looked at the test split after every epoch**, so its accuracy is no honest estimate.")
    per_class = description["metrics"].get("test", {}).get("per_class", [])
    if per_class:
        lines += ["", "| class (test split) | precision | recall | images |", "|---|---|---|---|"]
        lines += [f"| {_plain(row['name'])} | {row['precision']:.3f} | {row['recall']:.3f} | {row['support']} |" for row in per_class]
    return "\n".join(lines)


def _calibration(description: Mapping[str, Any]) -> str:
    fitted = description["calibration"]
    if fitted is None:
        return (
            "## Calibration\n\nNone: the run has no validation split, or one that is too small. Probabilities are the softmax as trained, "
            "and no image is flagged as unlike the training data."
        )
    lines = [
        "## Calibration",
        "",
        f"Fitted on {fitted['n']} validation images that were not trained on; the test split had no part in it. Probabilities are "
        "softmax(logits / temperature) ([Guo et al., 2017](https://arxiv.org/abs/1706.04599)); the temperature changes no label. "
        f"Calibration error: {fitted['bins']} bins.",
        "",
        "| images | views | temperature | calibration error before, after | cross-entropy before, after | flagged as unlike |",
        "|---|---|---|---|---|---|",
    ]
    for where in (fitted, fitted["confirmed"]):
        for views, each in (where or {"views": {}})["views"].items():
            error, loss = each["calibration_error"], each["cross_entropy"]
            lines.append(
                f"| {where['n']} {where['split']} | {VIEW_NAMES[views]} | {fitted['views'][views]['temperature']:.4f} "
                f"| {error['before']:.4f}, {error['after']:.4f} | {loss['before']:.4f}, {loss['after']:.4f} "
                f"| {100 * each['flagged'] / where['n']:.1f} % |"
            )
    if (selective := fitted["views"].get("selective")) is not None:
        lines += ["", _selective(selective, n=fitted["n"])]
    lines += [
        "",
        f"An image is flagged as **unlike the training data** where its score ({SCORE_NAMES[fitted['score']]}) lies beyond that of "
        f"{100 * (1 - fitted['target_share']):g} % of the validation images. So about {100 * fitted['target_share']:g} % of genuine "
        "images are flagged too, and an image that is not flagged may still be of no class that the model knows.",
    ]
    return "\n".join(lines)


def _selective(fitted: Mapping[str, Any], *, n: int) -> str:
    right = fitted["accuracy"]
    return (
        "**Selective views**: an image and its mirror image are looked at first. Where their calibrated top probability reaches "
        f"{fitted['confidence']:.4f}, that is the answer; otherwise four more views are looked at. That confidence is {fitted['rule']}. "
        f"Of the {n} validation images {100 * fitted['stopped'] / n:.1f} % need no more than two views; accuracy there "
        f"{100 * right['selective']:.2f} %, with six views of every image {100 * right['six']:.2f} %; "
        f"{fitted['labels_that_differ']} labels differ. "
        f"On new images from the same source about one label in {n + 1} may, at most, by this rule."
    )


def _formats(description: Mapping[str, Any]) -> str:
    lines = []
    if (parity := description.get("parity")) is not None:
        lines.append(
            f"- `model.safetensors` holds the large tensors in half precision. Against the float32 weights, on {parity['n']} "
            f"{parity['images']} images: largest difference of a probability {parity['max_abs_probability_difference']:.5f}, "
            f"the same label for {parity['labels_equal']} of {parity['n']}."
        )
    for name, made in (description.get("onnx") or {}).items():
        checked = made.get("parity", {})
        difference = checked.get("max_abs_probability_difference")
        told = f": opset {made.get('opset')}" + (", preprocessing inside" if made.get("preprocessing") else "")
        if isinstance(difference, float):
            told += f"; against PyTorch on {checked.get('n')} {checked.get('images')} images: "
            told += f"largest difference of a probability {difference:.2g}"
        if (right := made.get("accuracy")) is not None:
            told += f"; accuracy {100 * right['before']:.2f} % before and {100 * right['after']:.2f} % after, "
            told += f"on {right['n']} {right['images']} images"
        if (same := made.get("agreement")) is not None:
            told += f"; there the same label as `model.onnx` for {100 * same['labels_equal'] / same['n']:.2f} %, "
            told += f"largest difference of a probability {same['max_abs_probability_difference']:.2g}"
        if (error := made.get("calibration_error")) is not None:
            told += f", calibration error {error['before']:.4f} before and {error['after']:.4f} after"
        lines.append(f"- `{_code(name)}`{told}.")
    return "\n".join(["## Files", "", *lines]) if lines else ""


def _use(description: Mapping[str, Any]) -> str:
    return (
        "## How to use\n\n"
        "With cifarlab installed:\n\n```\ncifarlab predict --model PATH/TO/THIS/FOLDER photo.jpg\n```\n\n"
        "```python\nimport cifarlab\n\n"
        'model = cifarlab.load("PATH/TO/THIS/FOLDER")  # or "hf://OWNER/NAME" from the Hugging Face Hub\n'
        'predicted = model.predict(["photo.jpg"])\n'
        "predicted.labels, predicted.probabilities, predicted.unlike\n```\n\n"
        "Every file is checked against the SHA-256 in `bundle.json` when it is loaded; loading runs no code from this folder."
    )


def _limits(description: Mapping[str, Any]) -> str:
    size = description["input"]["size"]
    return (
        "## Intended use and limits\n\n"
        f"For teaching, benchmarks and experiments with {_dataset(description['dataset']['name'])} and pictures like it. "
        f"It knows {len(description['classes'])} classes and gives one of them for every picture, whatever it shows. It sees "
        f"{size} x {size} pixels: what is small in a photograph is lost, and what lies outside the central part may be cut off. "
        "Accuracy was measured on images from the same source as the training images; on other pictures expect less. "
        "It has not been examined for bias, robustness or safety: do not let it decide anything about people, or anything that matters."
    )


def _training(description: Mapping[str, Any]) -> str:
    data, made = description["dataset"], description["trained_with"]
    recipe = description["recipe"]
    sizes = ", ".join(f"{count:,} {split}" for split, count in data["sizes"].items())
    versions = ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in made.items() if value is not None)
    return (
        "## Training\n\n"
        f"```\n{_code(description['command']) or '(started from Python)'}\n```\n\n"
        f"- Data: {_dataset(data['name'])}; {sizes} images. SHA-256 of each split's pixels and labels: in `bundle.json`\n"
        f"- Length {recipe['train']['duration']}, batch size {recipe['train']['batch_size']}, optimizer {_plain(recipe['optim']['name'])}, "
        f"seed {recipe['seed']}; the complete recipe is in `bundle.json`\n"
        f"- With {versions}\n"
        f"- Readings of the test split in that run: {description['test_reads']}"
    )


def _license(description: Mapping[str, Any]) -> str:
    given = f"The weights are published under {_plain(description['license'])}." if description["license"] else "No licence was stated."
    return f"## Licence\n\n{given} The images that they were trained on are not part of this bundle and have terms of their own."


def _dataset(name: str) -> str:
    return _plain(DATASETS.get(name, (name, None))[0])


def _size(description: Mapping[str, Any]) -> str:
    return f"{description['files']['model.safetensors']['bytes'] / 1e6:.1f} MB"


def _interval(accuracy: Mapping[str, float]) -> str:
    return f"{100 * accuracy['value']:.2f} % [{100 * accuracy['low']:.2f}, {100 * accuracy['high']:.2f}]"


def _plain(value: object) -> str:
    """A name as Markdown text: in one line, and nothing in it is markup."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in text)


def _code(value: object) -> str:
    """Text for between backticks, which must not end there."""
    return " ".join(str(value).split()).replace("`", "'")
