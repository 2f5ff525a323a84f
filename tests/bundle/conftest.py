"""A small trained run and bundles of it, made once; tests that damage one take a copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_settings import SETTINGS
from untrained_bundles import Change, pictures, write_untrained

import cifarlab
from cifarlab.bundle.manifest import record_file


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits with 144 validation images, evaluated on both splits. Not to be changed."""
    run = cifarlab.train("digits", overrides=SETTINGS, name="small", runs=tmp_path_factory.mktemp("runs"), device="cpu", report=False)
    cifarlab.evaluate(run, split="test", device="cpu", report=False)
    return run.path


@pytest.fixture(scope="session")
def small_bundle(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle in half precision. Not to be changed."""
    return cifarlab.export(small_run, tmp_path_factory.mktemp("bundles") / "small", license="mit", device="cpu")


@pytest.fixture
def run_copy(small_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "small-run"))


@pytest.fixture
def bundle_copy(small_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_bundle, tmp_path / "small"))


@pytest.fixture
def change(bundle_copy: Path) -> Change:
    """Edit the copy's bundle.json; returns the copy. Files are recorded anew: whoever forges one forges its hash as well."""

    def edit(how: Callable[[dict[str, Any]], object]) -> Path:
        file = bundle_copy / "bundle.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content["files"] = {name: record_file(bundle_copy / name) for name in content["files"] if (bundle_copy / name).exists()}
        how(content)
        file.write_text(json.dumps(content), encoding="utf-8")
        return bundle_copy

    return edit


@pytest.fixture(scope="session")
def onnx_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an untrained network with model.onnx and model.int8.onnx, six views. Not to be changed."""
    from cifarlab.bundle.onnx_export import write_onnx
    from cifarlab.bundle.quantize import write_int8

    folder = write_untrained(tmp_path_factory.mktemp("onnx") / "untrained")
    write_onnx(folder, images=pictures(16))
    write_int8(folder, calibration=pictures(16, seed=1), images=pictures(30), labels=np.arange(30) % 3)
    return folder


@pytest.fixture
def onnx_copy(onnx_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(onnx_bundle, tmp_path / "copy"))
