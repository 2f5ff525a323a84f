"""A bundle -> another bundle of it with more formats: what ships or was pulled as ONNX, without the run that it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from cifarlab.build import arrange
from cifarlab.bundle.card import write_card
from cifarlab.bundle.export import add_formats, check_request, new_bundle
from cifarlab.bundle.manifest import is_bundle, read_description, read_verified, records_of
from cifarlab.bundle.shipped import find_model
from cifarlab.config import Recipe, RecipeError
from cifarlab.data import load_splits
from cifarlab.data.dataset import Dataset
from cifarlab.errors import CifarlabError, UsageError
from cifarlab.files import atomic_writer, write_json

DRAWN: Final = "drawn and noise"  # where the model's own validation images are not at hand
PICTURES: Final = 200
Note = Callable[[str], None]


def find_bundle(given: str | Path) -> Path | None:
    """The folder of the bundle that `given` names (a folder, a shipped name, hf://OWNER/NAME), None where that is something else."""
    folder = find_model(given)
    if not (folder / "bundle.json").is_file() or (folder / "status.json").is_file():
        return None
    return folder if is_bundle(read_description(folder)) else None


def export_bundle(
    source: Path,
    output: Path,
    *,
    to: Sequence[str],
    half: bool = True,
    force: bool = False,
    license: str | None = None,
    data_dir: Path | None = None,
    note: Note | None = None,
) -> Path:
    """Write the bundle `source` into the folder `output` with what `to` names; see `cifarlab.export`.

    Its weights stay as they are, and so does what was measured of them. Formats are compared with PyTorch on the bundle's validation
    images where these are at hand, else on drawn pictures and noise, which the record then says. int8 needs the former.
    """
    with records_of(source):
        return _export(source, output, to=to, half=half, force=force, license=license, data_dir=data_dir, note=note)


def _export(
    source: Path,
    output: Path,
    *,
    to: Sequence[str],
    half: bool,
    force: bool,
    license: str | None,
    data_dir: Path | None,
    note: Note | None,
) -> Path:
    description = read_description(source)
    check_request(output, force=force, to=to, license=license)
    if not half and description["precision"] != "float32":
        raise UsageError(f"{source} holds its weights in half precision already; --no-half needs the run that it was exported from")
    examples, images_from = _examples(description, data_dir, note=note)
    if "int8" in to and images_from == DRAWN:
        raise UsageError(
            f"int8 takes ranges and accuracy from the validation images that {description['name']} was trained beside, and "
            f"{description['dataset']['name']} is not at hand: name its folder with --data-dir or CIFARLAB_DATA, or leave int8 out"
        )
    with new_bundle(output, force=force) as folder:
        for name in description["files"]:
            with atomic_writer(folder / name) as file:
                file.write(read_verified(source, description, name))
        changes = {"name": output.resolve().name, **({} if license is None else {"license": license})}
        write_json(folder / "bundle.json", {**description, **changes})
        add_formats(folder, examples, images_from, to=to, note=note)
        write_card(folder, read_description(folder))
    return output


def _examples(description: dict[str, Any], data_dir: Path | None, *, note: Note | None) -> tuple[Dataset, str]:
    """Images to compare engines on, and what they are: the bundle's own validation images, else drawn ones."""
    try:
        return validation_images(description, data_dir), "validation"
    except CifarlabError as error:
        if data_dir is not None:  # whoever names a folder means it
            raise
        if note is not None:
            reason = str(error).split(";")[0].rstrip(".")
            note(
                f"compared on {PICTURES} pictures, half drawn and half noise, for the model's validation images are not at hand ({reason})"
            )
    return drawn_images(description["input"]["size"], classes=description["classes"]), DRAWN


def validation_images(description: dict[str, Any], data_dir: Path | None = None, *, split: str = "validation") -> Dataset:
    """The validation (or test) images of a bundle's training, found by its recipe; nothing is downloaded.

    Raises DataError or UsageError where the data is not at hand, is other data by its checksum, or there was no such split.
    """
    expected = description["dataset"]["checksums"].get(split)
    if expected is None or (split == "validation" and description["dataset"]["validated_on"] == "test"):
        raise UsageError(f"{description['name']} was trained without a {split} split of its own")
    try:
        recipe = Recipe.model_validate(description["recipe"])
    except (RecipeError, ValueError) as error:
        raise UsageError(f"the recipe in {description['name']}'s bundle.json is of another version of cifarlab") from error
    found: Dataset | None = arrange(recipe, load_splits(recipe.data.name, data_dir=data_dir, download=False))._asdict()[split]
    if found is None or found.checksum != expected:
        raise UsageError(f"the {split} images at hand are not those of {description['name']}: their checksum differs")
    return found


def drawn_images(size: int, *, classes: Sequence[str]) -> Dataset:
    """PICTURES images [size, size, 3], the same every time: soft blots of colour, and noise. Their labels mean nothing."""
    from PIL import Image

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (PICTURES, size, size, 3)).astype(np.uint8)
    for number in range(0, PICTURES, 2):
        blots = Image.fromarray(generator.integers(0, 256, (5, 5, 3)).astype(np.uint8))
        images[number] = np.asarray(blots.resize((size, size), Image.Resampling.BICUBIC))
    ids = np.array([f"drawn/{number:05}" for number in range(PICTURES)])
    labels = np.zeros(PICTURES, dtype=np.int64)
    return Dataset(name=DRAWN, images=images, labels=labels, class_names=tuple(classes), sample_ids=ids)
