from __future__ import annotations

import os
from pathlib import Path

import pytest
from cifar_copies import Copy, make_copy


@pytest.fixture(scope="session")
def copy() -> Copy:
    return make_copy()


@pytest.fixture(scope="session")
def real_cifar10() -> Path:
    """The folder that CIFARLAB_DATA names, as it was when the tests began."""
    chosen = os.environ.get("CIFARLAB_DATA")
    if not chosen:
        pytest.skip("CIFARLAB_DATA is not set: no real CIFAR-10 to read")
    return Path(chosen).resolve()


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No dataset anywhere: an empty cache and nothing in the environment. Returns the cache folder."""
    monkeypatch.delenv("CIFARLAB_DATA", raising=False)
    monkeypatch.setenv("CIFARLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
