"""Push to and pull from a Hub on 127.0.0.1; what comes from there is verified like any other bundle."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_hub import COMMIT, FakeHub, running_hub

import cifarlab
from cifarlab.bundle import hub as hub_module
from cifarlab.errors import BundleError, MissingDependencyError, UsageError

pytest.importorskip("huggingface_hub", reason="the extra [hub] is not installed")

IMAGES = [np.full((32, 32, 3), value, dtype=np.uint8) for value in (0, 100, 255)]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A Hub with nothing on it; its cache is in a folder of its own."""
    from huggingface_hub import constants

    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield running


@pytest.fixture
def pushed(hub: FakeHub, small_bundle: Path) -> FakeHub:
    hub_module.push(small_bundle, "someone/small")
    return hub


def test_what_is_pushed_is_the_bundle_and_nothing_else(hub: FakeHub, bundle_copy: Path) -> None:
    (bundle_copy / "secret.txt").write_text("not for others")
    assert hub_module.push(bundle_copy, "someone/small") == f"{hub.url}/someone/small"
    kept = hub.repositories["someone/small"]
    assert set(kept) == {"bundle.json", "README.md", "model.safetensors"}
    assert all(content == (bundle_copy / name).read_bytes() for name, content in kept.items())


def test_a_pulled_bundle_gives_the_same_answers(pushed: FakeHub, small_bundle: Path, tmp_path: Path) -> None:
    hub_module.pull("someone/small", tmp_path / "pulled")
    assert {entry.name for entry in (tmp_path / "pulled").iterdir()} == {"bundle.json", "README.md", "model.safetensors"}
    expected = cifarlab.load(small_bundle, device="cpu").predict(IMAGES)
    for model in (cifarlab.load(tmp_path / "pulled", device="cpu"), cifarlab.load("hf://someone/small", device="cpu")):
        np.testing.assert_array_equal(model.predict(IMAGES).probabilities, expected.probabilities)


def test_a_second_load_downloads_no_weights(pushed: FakeHub) -> None:
    cifarlab.load("hf://someone/small", device="cpu")
    pushed.requests.clear()
    cifarlab.load(f"hf://someone/small@{COMMIT}", device="cpu")
    assert not any(request.startswith("GET") and "model.safetensors" in request for request in pushed.requests)


@pytest.mark.parametrize("name", ["bundle.json", "model.safetensors"])
def test_a_pulled_bundle_is_verified(pushed: FakeHub, tmp_path: Path, name: str) -> None:
    kept = pushed.repositories["someone/small"]
    kept[name] = kept[name][:-2] + b"!!"
    with pytest.raises(BundleError, match="is damaged"):
        hub_module.pull("someone/small", tmp_path / "pulled")
    with pytest.raises(BundleError, match="is damaged"):
        cifarlab.load("hf://someone/small")


def test_a_file_that_is_gone_is_told(pushed: FakeHub) -> None:
    del pushed.repositories["someone/small"]["model.safetensors"]
    with pytest.raises(BundleError, match=r"model\.safetensors is missing"):
        cifarlab.load("hf://someone/small")


def test_what_is_no_bundle_is_told(hub: FakeHub) -> None:
    hub.repositories["someone/other"] = {"config.json": b"{}"}
    with pytest.raises(BundleError, match=r"someone/other on the Hub is not a cifarlab bundle: it has no bundle\.json"):
        cifarlab.load("hf://someone/other")


def test_a_damaged_bundle_is_not_pushed(hub: FakeHub, bundle_copy: Path) -> None:
    (bundle_copy / "model.safetensors").write_bytes(b"")
    with pytest.raises(BundleError, match="is damaged"):
        hub_module.push(bundle_copy, "someone/small")
    assert hub.requests == []


def test_a_run_is_not_pushed(hub: FakeHub, small_run: Path) -> None:
    with pytest.raises(UsageError, match=r"is a run directory, not a bundle\. Make one with: cifarlab export"):
        hub_module.push(small_run, "someone/small")


def test_a_wrong_token_is_told(hub: FakeHub, small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(BundleError, match=r"someone/small cannot be written: .*hf auth login"):
        hub_module.push(small_bundle, "someone/small")


def test_a_model_that_is_not_there_is_told(hub: FakeHub) -> None:
    with pytest.raises(BundleError, match="someone/nothing cannot be read: the Hub has no such model"):
        cifarlab.load("hf://someone/nothing")


def test_a_revision_that_is_not_there_is_told(pushed: FakeHub) -> None:
    with pytest.raises(BundleError, match="cannot be read: the Hub has no such revision"):
        cifarlab.load("hf://someone/small@v9")


def test_a_hub_that_cannot_be_reached_is_told(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BundleError) as caught:
        cifarlab.load("hf://someone/small")
    assert (
        str(caught.value)
        == f"someone/small cannot be read: the Hub cannot be reached ({os.strerror(errno.ECONNREFUSED)}). Check the network"
    )


@pytest.mark.parametrize("name", ["small", "", "a/b/c", "../b", "someone/..", "some one/small", "someone/small@"])
def test_a_name_that_cannot_be_one_is_refused(name: str, small_bundle: Path) -> None:
    with pytest.raises(UsageError, match="give OWNER/NAME"):
        cifarlab.load(f"hf://{name.replace('@', '/@')}")
    with pytest.raises(UsageError, match="give OWNER/NAME"):
        hub_module.push(small_bundle, name)


def test_without_the_package_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'cifarlab\[hub\]'"):
        cifarlab.load("hf://someone/small")


def test_the_card_is_one_that_the_hub_reads(small_bundle: Path) -> None:
    from huggingface_hub import ModelCard

    data = ModelCard.load(small_bundle / "README.md").data
    assert data.license == "mit"
    assert data.library_name == "cifarlab"
    metrics = json.loads((small_bundle / "bundle.json").read_text())["metrics"]
    measured = {result.dataset_split: result.metric_value for result in data.eval_results}
    assert measured == {split: metrics[split]["accuracy"]["value"] for split in ("test", "validation")}


def test_what_is_too_large_is_not_downloaded(pushed: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(map(len, pushed.repositories["someone/small"].values()))
    monkeypatch.setattr(hub_module, "MOST_BYTES", size - 1)
    pushed.requests.clear()
    with pytest.raises(BundleError, match=rf"has {size:,} bytes; at most {size - 1:,} are downloaded"):
        hub_module.pull("someone/small", tmp_path / "pulled")
    assert not [request for request in pushed.requests if "/resolve/" in request]
    monkeypatch.setattr(hub_module, "MOST_BYTES", size)
    hub_module.pull("someone/small", tmp_path / "pulled")


def test_what_a_repository_holds_beside_a_bundle_is_not_counted(pushed: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MOST_BYTES", 10_000_000)
    pushed.repositories["someone/small"]["film.mp4"] = bytes(11_000_000)
    hub_module.pull("someone/small", tmp_path / "pulled")
    assert not (tmp_path / "pulled" / "film.mp4").exists()
