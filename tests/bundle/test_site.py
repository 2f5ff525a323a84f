"""The site's folder: what is in it, what is refused, what a package from npm must be. No network: the package is made up here."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import shutil
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
from untrained_bundles import pictures, write_untrained

from cifarlab.bundle import load_predictor, ort_web
from cifarlab.bundle.manifest import update_description
from cifarlab.bundle.onnx_engine import COUNTS, open_session
from cifarlab.bundle.onnx_export import write_onnx
from cifarlab.bundle.ort_web import ORT_WEB, SCRIPT, VARIABLE, WASM, Package, read_package
from cifarlab.bundle.site import PAGE, POLICY, WRITTEN, check_site_request, page_files, write_site
from cifarlab.bundle.site_graph import with_choice
from cifarlab.errors import BundleError, DownloadError, UsageError

CONTENT = {SCRIPT: b"export const env = {};\n", WASM: b"\0asm" + bytes(5000)}


def pack(file: Path, content: dict[str, bytes]) -> Path:
    """An npm package: a .tgz whose files lie in package/."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("npm") / "onnxruntime-web.tgz", CONTENT)


@pytest.fixture(scope="module")
def package(archive: Path) -> Package:
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    return Package("onnxruntime-web", "0.0.1", integrity, {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()})


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def without_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing-here"))


def with_npm(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """An `npm` of our own before the others on PATH, which does what `script` says."""
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


# -- the folder -----------------------------------------------------------------------------------------------


def test_site_holds_page_model_runtime_and_facts(onnx_bundle: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    output = tmp_path / "site"
    facts = write_site(onnx_bundle, output, ort_web=archive, package=package)
    assert json.loads((output / "bundle.json").read_text(encoding="utf-8")) == facts
    assert (output / "model.onnx").read_bytes() == (onnx_bundle / "model.onnx").read_bytes()
    assert (output / "runtime" / "ort.wasm.js").read_bytes() == CONTENT[SCRIPT]
    assert gzip.decompress((output / "runtime" / "ort.wasm.gz").read_bytes()) == CONTENT[WASM]
    for file in facts["site"]["files"].values():
        assert (output / file["path"]).stat().st_size == file["download"]
    assert facts["site"]["files"]["wasm"]["bytes"] == len(CONTENT[WASM])
    assert facts["classes"] == ["red", "green", "blue"]
    assert facts["calibration"]["views"]["six"] == {"temperature": 0.9, "threshold": 0.0}
    assert not list(tmp_path.glob(".site*")), "something temporary was left"


def test_every_file_that_the_page_names_is_there(onnx_bundle: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    output = tmp_path / "site"
    write_site(onnx_bundle, output, ort_web=archive, package=package)
    index = (output / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:href|src)="([^"#]+)"', index)
    assert "page/js/app.js" in named
    assert all((output / name).is_file() for name in named)
    for script in (output / "page" / "js").rglob("*.js"):
        text = script.read_text(encoding="utf-8")
        for imported in re.findall(r'(?:from|import\() ?"(\.[^"]+)"', text):
            assert (script.parent / imported).is_file(), f"{script.name} imports {imported}"
        for style in re.findall(r'[\w-]+\.css(?=")', text):
            assert (output / "page" / "css" / style).is_file(), f"{script.name} shows {style}"


def test_page_is_the_servers_but_for_policy_and_config(onnx_bundle: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    output = tmp_path / "site"
    write_site(onnx_bundle, output, ort_web=archive, package=package)
    for name in page_files(PAGE):
        assert (output / "page" / name).read_bytes() == (PAGE / name).read_bytes()
    config = (output / "page" / "js" / "config.js").read_text(encoding="utf-8")
    keys = re.findall(r"^\s+(\w+):", (PAGE / "js" / "config.js").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert keys
    assert all(f'"{key}":' in config for key in keys), "the server's page is configured by more than the site's"
    assert '"onnx"' in config
    index = (output / "index.html").read_text(encoding="utf-8")
    assert f'http-equiv="Content-Security-Policy" content="{POLICY}"' in index
    assert "unsafe" not in POLICY.replace("'wasm-unsafe-eval'", "")
    assert "curl" not in index


def test_nothing_is_asked_for_ahead_that_is_not_there(onnx_bundle: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    page = Path(shutil.copytree(PAGE, tmp_path / "page"))
    index = (page / "index.html").read_text(encoding="utf-8")
    more = '<link rel="modulepreload" href="page/js/model-http.js">\n</head>'
    (page / "index.html").write_text(index.replace("</head>", more), encoding="utf-8")
    write_site(onnx_bundle, tmp_path / "site", ort_web=archive, package=package, page=page)
    written = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "model-http.js" not in written
    assert 'rel="modulepreload" href="page/js/config.js"' in written


def test_panels_without_a_server_stay_at_home() -> None:
    names = page_files(PAGE)
    assert "js/panels/try.js" in names
    assert "js/panels/poke.js" in names
    assert "js/onnx-worker.js" in names
    assert not {"js/panels/runs.js", "js/panels/errors.js", "js/panels/why.js", "js/model-http.js"} & set(names)


def test_no_name_of_a_class_becomes_markup(onnx_copy: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    update_description(onnx_copy, {"name": "<script>alert(1)</script>"})
    write_site(onnx_copy, tmp_path / "site", ort_web=archive, package=package)
    assert "<script>alert" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in (tmp_path / "site" / "README.md").read_text(encoding="utf-8")


def test_facts_tell_nothing_of_the_machine(onnx_copy: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    update_description(onnx_copy, {"command": "train --data /home/ada", "trained_with": {"processor": "secret"}})
    write_site(onnx_copy, tmp_path / "site", ort_web=archive, package=package)
    text = (tmp_path / "site" / "bundle.json").read_text(encoding="utf-8")
    assert "ada" not in text
    assert "secret" not in text


def test_readme_adds_up_the_sizes(onnx_bundle: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    output = tmp_path / "site"
    write_site(onnx_bundle, output, ort_web=archive, package=package)
    text = (output / "README.md").read_text(encoding="utf-8")
    visited = [file for file in output.rglob("*") if file.is_file() and file.name not in ("README.md", "_headers", ".nojekyll")]
    assert f"| {len(visited)} | {sum(file.stat().st_size for file in visited):,} |" in text
    assert f"{(onnx_bundle / 'model.onnx').stat().st_size:,}" in text


# -- refused ----------------------------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_left_alone(onnx_bundle: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not empty and holds no site"):
        write_site(onnx_bundle, tmp_path, force=True, ort_web=archive, package=package)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_site_is_replaced_only_by_force(onnx_bundle: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    output = tmp_path / "site"
    write_site(onnx_bundle, output, ort_web=archive, package=package)
    (output / "page" / "js" / "old.js").write_text("of the site before")
    with pytest.raises(UsageError, match="--force"):
        write_site(onnx_bundle, output, ort_web=archive, package=package)
    write_site(onnx_bundle, output, force=True, ort_web=archive, package=package)
    assert not (output / "page" / "js" / "old.js").exists()
    assert not list(tmp_path.glob(".site*"))
    assert {entry.name for entry in output.iterdir()} == WRITTEN


def test_what_somebody_put_into_a_site_is_not_replaced_with_it(onnx_bundle: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    output = tmp_path / "site"
    write_site(onnx_bundle, output, ort_web=archive, package=package)
    (output / ".git").mkdir()
    (output / ".git" / "HEAD").write_text("years of work")
    with pytest.raises(UsageError, match=r"what no export wrote \(\.git\)"):
        write_site(onnx_bundle, output, force=True, ort_web=archive, package=package)
    assert (output / ".git" / "HEAD").read_text() == "years of work"


def test_a_bundle_without_onnx_is_refused(tmp_path: Path, archive: Path, package: Package) -> None:
    bundle = write_untrained(tmp_path / "bundle")
    with pytest.raises(UsageError, match=r"no model\.onnx.*--to onnx"):
        write_site(bundle, tmp_path / "site", ort_web=archive, package=package)
    assert not (tmp_path / "site").exists()


def test_a_graph_without_preprocessing_is_refused(tmp_path: Path, archive: Path, package: Package) -> None:
    bundle = write_untrained(tmp_path / "bundle", views="none")
    write_onnx(bundle, images=pictures(4), preprocessing=False)
    with pytest.raises(UsageError, match="prepared outside"):
        write_site(bundle, tmp_path / "site", ort_web=archive, package=package)


def test_a_damaged_model_is_refused(onnx_copy: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    with (onnx_copy / "model.onnx").open("r+b") as file:
        file.write(b"damage")
    with pytest.raises(BundleError, match="SHA-256"):
        write_site(onnx_copy, tmp_path / "site", ort_web=archive, package=package)
    assert not (tmp_path / "site").exists()


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError) as caught:
        check_site_request(tmp_path / "taken", ort_web=tmp_path / "missing.tgz")
    assert "is not a folder" in str(caught.value)
    assert "missing.tgz: there is no such file" in str(caught.value)


# -- the package ------------------------------------------------------------------------------------------------


def test_only_the_pinned_package_is_taken(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"not the .tgz of onnxruntime-web {re.escape(ORT_WEB.version)}: its SHA-512 differs"):
        read_package(archive)
    shutil.unpack_archive(archive, tmp_path, "gztar", filter="data")
    with pytest.raises(UsageError, match="its SHA-256 differs"):
        read_package(tmp_path)


@pytest.mark.parametrize("place", ["", "package", "onnxruntime-web", "node_modules/onnxruntime-web"])
def test_an_installed_package_is_found(tmp_path: Path, package: Package, place: str) -> None:
    for name, data in CONTENT.items():
        file = tmp_path / place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    assert read_package(tmp_path, package=package) == CONTENT


def test_a_folder_without_the_files_is_refused(tmp_path: Path, package: Package) -> None:
    with pytest.raises(UsageError, match=re.escape(f"has no {SCRIPT}")):
        read_package(tmp_path, package=package)


def test_the_variable_names_the_package(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_npm(monkeypatch, tmp_path)
    monkeypatch.setenv(VARIABLE, str(archive))
    assert check_site_request(tmp_path / "site") == archive


def test_without_npm_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_npm(monkeypatch, tmp_path)
    with pytest.raises(DownloadError, match=r"nodejs\.org.*registry\.npmjs\.org.*--ort-web"):
        check_site_request(tmp_path / "site")


def test_what_npm_fetches_is_verified(tmp_path: Path, archive: Path, package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    with_npm(monkeypatch, tmp_path / "bin", f'test "$2" = onnxruntime-web@0.0.1 && cp {archive} "$4/onnxruntime-web-0.0.1.tgz"')
    assert read_package(None, package=package) == CONTENT
    other = Package("onnxruntime-web", "0.0.1", ORT_WEB.integrity, package.files)
    with pytest.raises(UsageError, match="SHA-512 differs"):
        read_package(None, package=other)


@pytest.mark.parametrize("word", ["error", "ERR!"])
def test_what_npm_says_is_passed_on(tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    with_npm(monkeypatch, tmp_path / "bin", f"echo 'npm {word} code ENOTFOUND' >&2; echo 'npm {word} network request failed' >&2; exit 1")
    with pytest.raises(DownloadError, match=r"ENOTFOUND: network request failed.*--ort-web"):
        read_package(None, package=package)


def test_a_registry_that_never_answers_ends(tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_web, "LONGEST", 0.2)
    with_npm(monkeypatch, tmp_path / "bin", "exec sleep 30")
    with pytest.raises(DownloadError, match="no answer within"):
        read_package(None, package=package)


def test_records_that_are_not_there_are_told(onnx_copy: Path, tmp_path: Path, archive: Path, package: Package) -> None:
    description = json.loads((onnx_copy / "bundle.json").read_text())
    (onnx_copy / "bundle.json").write_text(json.dumps({**description, "metrics": {"test": {}}}))
    with pytest.raises(BundleError, match=r"bundle\.json is damaged or incomplete: KeyError: 'accuracy'"):
        write_site(onnx_copy, tmp_path / "site", ort_web=archive, package=package)
    assert not (tmp_path / "site").exists()


# -- selective views --------------------------------------------------------------------------------------------


def test_views_can_be_chosen_at_each_run(onnx_bundle: Path) -> None:
    session = open_session(with_choice((onnx_bundle / "model.onnx").read_bytes()), threads=1)
    images = pictures(1, seed=3)
    torch = load_predictor(onnx_bundle, device="cpu").engine
    for name, first, last in [("none", 0, 1), ("flip", 0, 2), ("six", 0, 6)]:
        feeds = {"images": images, "first_view": np.array([first]), "last_view": np.array([last])}
        found = np.asarray(session.run(["view_logits"], feeds)[0])
        assert found.shape == (COUNTS[name], 3)
        if name != "six":  # whose views do not all count the same
            np.testing.assert_allclose(found.mean(axis=0), torch.logits(images, views=name)[0], atol=1e-4)


def test_selective_views_need_six(tmp_path: Path) -> None:
    bundle = write_untrained(tmp_path / "bundle", views="flip")
    write_onnx(bundle, images=pictures(4))
    with pytest.raises(BundleError, match="six views"):
        with_choice((bundle / "model.onnx").read_bytes())
