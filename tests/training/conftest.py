from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_runs import train

from cifarlab.models import registry
from cifarlab.runs import RunDirectory


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Equal runs need equal threads, and these are too small to share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The small run, trained without interruption."""
    with one_thread():
        return train(tmp_path_factory.mktemp("unbroken"), "run")


@pytest.fixture
def register_model(monkeypatch: pytest.MonkeyPatch) -> Any:
    """register_model(name, factory): known for this test alone."""
    return lambda name, factory: monkeypatch.setitem(registry._FACTORIES, name, factory)
