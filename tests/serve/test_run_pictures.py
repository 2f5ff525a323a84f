"""The thread that reads the pictures behind a run's predictions."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from cifarlab.errors import DataError
from cifarlab.serve import run_pictures
from cifarlab.serve.run_pictures import NotAtHandError, PictureStore

READING: Any = None  # what finds the data is replaced here


def test_pictures_that_take_long_are_there_later_and_hold_up_no_server_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    go, pixels = threading.Event(), np.zeros((2, 4, 4, 3), dtype=np.uint8)
    monkeypatch.setattr(run_pictures, "_read_splits", lambda reading: {"sum": pixels} if go.wait(20) else {})
    store, before = PictureStore(), set(threading.enumerate())
    with pytest.raises(NotAtHandError, match="being read") as refused:
        store.pixels(READING, "test", "sum", seconds=0.01)
    assert refused.value.loading
    started = set(threading.enumerate()) - before
    assert [thread.name for thread in started] == ["pictures"]
    assert all(thread.daemon for thread in started)  # the interpreter waits for any other before it ends
    go.set()
    assert store.pixels(READING, "test", "sum", seconds=10) is pixels


def test_one_thread_reads_for_all_runs_and_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(reading: Any) -> Any:
        raise DataError("nothing here")

    store, before = PictureStore(), set(threading.enumerate())
    monkeypatch.setattr(run_pictures, "_read_splits", fail)
    for checksum in "abc":
        with pytest.raises(NotAtHandError, match="nothing here") as refused:
            store.pixels(READING, "test", checksum, seconds=10)
        assert not refused.value.loading
    monkeypatch.setattr(run_pictures, "_read_splits", lambda reading: {"d": np.ones((1, 2, 2, 3), dtype=np.uint8)})
    assert store.pixels(READING, "test", "d", seconds=10).all()
    assert len(set(threading.enumerate()) - before) == 1
