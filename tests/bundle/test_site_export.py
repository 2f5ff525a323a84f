"""`export --to site` from what people have: a run, a bundle with and without ONNX; the package is made up, and there is no network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import cifarlab
from cifarlab.bundle.ort_web import SCRIPT, VARIABLE, WASM, Package
from cifarlab.cli.main import app
from cifarlab.errors import UsageError

CONTENT = {SCRIPT: b"export const env = {};\n", WASM: b"\0asm" + bytes(100)}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package that counts as the pinned one."""
    folder = tmp_path / "node_modules" / "onnxruntime-web"
    for name, data in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    package = Package("onnxruntime-web", "0.0.1", "", {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()})
    monkeypatch.setattr("cifarlab.exporting.PACKAGE", package)
    monkeypatch.delenv(VARIABLE, raising=False)
    return folder


def facts(folder: Path) -> Any:
    return json.loads((folder / "bundle.json").read_text(encoding="utf-8"))


def test_a_runs_model_is_written_on_the_way(small_run: Path, installed: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    site = cifarlab.export(small_run, tmp_path / "site", to="site", device="cpu", license="mit", ort_web=installed, note=notes.append)
    assert [note.split(" ")[0] for note in notes] == ["writing", "comparing", "writing"], "what takes long is told beforehand"
    found = facts(site)
    assert found["name"] == small_run.name
    assert found["license"] == "mit"
    assert found["input"] == {"size": 32, "resize": "crop", "center_crop": None, "color": "rgb"}
    assert found["site"]["examples"] == [], "no drawn picture shows a digit"
    assert (site / "model.onnx").stat().st_size == found["site"]["files"]["model"]["download"]
    assert {path.name for path in tmp_path.iterdir()} == {"site", "node_modules"}


def test_a_bundles_own_onnx_is_taken(onnx_bundle: Path, installed: Path, tmp_path: Path) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in onnx_bundle.iterdir()}
    site = cifarlab.export(onnx_bundle, tmp_path / "site", to=["site"], ort_web=installed)
    assert (site / "model.onnx").read_bytes() == (onnx_bundle / "model.onnx").read_bytes()
    assert {file.name: file.stat().st_mtime_ns for file in onnx_bundle.iterdir()} == before


def test_every_problem_of_the_request_is_told(onnx_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.txt").write_text("")
    with pytest.raises(UsageError) as caught:
        cifarlab.export(onnx_bundle, tmp_path, to=["site", "int8", "sight"], license="my own", ort_web=tmp_path / "none.tgz")
    text = str(caught.value)
    for expected in ("unknown format 'sight'; did you mean 'site'?", "not with --to int8", "'my own'", "holds no site", "none.tgz"):
        assert expected in text


def test_a_misspelt_site_is_recognized(onnx_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'site'"):
        cifarlab.export(onnx_bundle, tmp_path / "site", to="sit")


def test_the_command_says_how_to_look_at_it(onnx_bundle: Path, installed: Path, tmp_path: Path) -> None:
    output = tmp_path / "my site"
    done = CliRunner().invoke(app, ["export", str(onnx_bundle), "--to", "site", "-o", str(output), "--ort-web", str(installed)])
    assert done.exit_code == 0, done.output
    assert "model.onnx" in done.stdout
    assert f"python -m http.server --bind 127.0.0.1 --directory '{output}'" in done.stderr


def test_the_command_tells_sizes_as_json(onnx_bundle: Path, installed: Path, tmp_path: Path) -> None:
    output = tmp_path / "site"
    done = CliRunner().invoke(app, ["export", str(onnx_bundle), "--to", "site", "-o", str(output), "--ort-web", str(installed), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["site"]["files"]["model"]["path"] == "model.onnx"
    assert told["folder"] == str(output)
    assert told["bytes"]["model.onnx"] == (output / "model.onnx").stat().st_size
