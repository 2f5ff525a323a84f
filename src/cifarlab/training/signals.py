"""SIGINT and SIGTERM ask a training to stop after its step; a second one leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Context manager; `received` is the signal's number once one has come, else None.

    `on_request` is called with the number at the first signal. Outside the main thread, where Python allows no
    handlers, nothing is installed and the caller's own handling stays in force.
    """

    def __init__(self, on_request: Callable[[int], None] = lambda number: None) -> None:
        self.received: int | None = None
        self._on_request = on_request
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        self._on_request(number)
