"""Where a model is: a folder, the name of one that ships with cifarlab, or one on the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cifarlab.errors import nearest

DEFAULT: Final = "cifar10-fast"
HUB: Final = "hf://"
_FOLDER: Final = Path(__file__).parents[1] / "weights"


def shipped_names() -> tuple[str, ...]:
    """Names of the bundles that are part of this installation, sorted."""
    return tuple(sorted(file.parent.name for file in _FOLDER.glob("*/bundle.json")))


def default_model() -> Path:
    """The folder of the model that answers where none is named: the shipped one, whatever the current folder holds."""
    return _FOLDER / DEFAULT


def name_of(folder: Path) -> str:
    """What a user would give for the model in `folder`: its shipped name, else the path."""
    return folder.name if folder.parent == _FOLDER else str(folder)


def find_model(given: str | Path) -> Path:
    """The folder of a model: a path that exists, else a shipped name, else "hf://owner/name" or "hf://owner/name@revision", downloaded.

    Whatever else was given comes back as a path, for `read_description` to refuse with the reason.
    """
    text = str(given)
    if text.startswith(HUB):
        from cifarlab.bundle.hub import cached

        return cached(text.removeprefix(HUB))
    if text in shipped_names() and not os.path.lexists(text):
        return _FOLDER / text
    return Path(given)


def is_model(given: str) -> bool:
    """Whether `given`, among words that may be image files too, names a model."""
    return given.startswith(HUB) or os.path.isfile(os.path.join(given, "bundle.json")) or given in shipped_names()


def no_model(path: Path) -> str:
    """What to say of a path that is not a model: the reason, the nearest that is one, and what to give."""
    siblings = [found.parent.name for found in path.parent.glob("*/bundle.json")] if path.parent.is_dir() else []
    reason = "it is a file, not a folder" if path.exists() else "there is no such folder"
    if path.is_dir():
        reason = "it has no bundle.json"
    if (path / "baseline.json").is_file():
        reason = "it is a classical baseline, which keeps predictions but no network"
    match = nearest(path.name, siblings)
    near = str(path.parent / match) if match else nearest(str(path), shipped_names())
    hint = f" Did you mean {near}?" if near else ""
    shipped = f", or a shipped model: {', '.join(shipped_names())}" if shipped_names() else ""
    return (
        f"{path} is not a trained model: {reason}.{hint} "
        f"Give a bundle or a run directory such as runs/demo (train one with: cifarlab demo){shipped}"
    )
