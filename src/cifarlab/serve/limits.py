"""What one server takes on at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from cifarlab.errors import UsageError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds of a server; raises UsageError, with every problem, for one that cannot be kept.

    max_bytes: of a request's body. bodies: bytes of all bodies at a time; beyond it a request is refused with 429. max_pixels: of an
    image, read from its header before it is decoded. queue: images accepted and not yet answered, by model; beyond it a request is
    refused with 429. batch: images of one inference at most.
    deadline: seconds for headers to arrive, for a body, and again for its answer. decoders: threads that decode images.
    """

    max_bytes: int = 10 * MIB
    max_pixels: int = 25_000_000
    queue: int = 128
    batch: int = 16
    deadline: float = 10.0
    bodies: int = 256 * MIB
    decoders: int = max(1, min(4, os.cpu_count() or 1))

    def __post_init__(self) -> None:
        most = {
            "max_bytes": 1024 * MIB,
            "bodies": 1 << 40,
            "max_pixels": 178_956_970,  # where Pillow refuses whatever is asked for
            "queue": 100_000,
            "batch": 4096,
            "deadline": 3600,
            "decoders": 256,
        }
        least = {"max_bytes": 1024, "bodies": 1024, "deadline": 0.01}
        problems = []
        for field in fields(self):
            value, low, high = getattr(self, field.name), least.get(field.name, 1), most[field.name]
            if not low <= value <= high:
                problems.append(f"{field.name.replace('_', ' ')} {value:g}: allowed is {low:g} to {high}")
        if problems:
            raise UsageError("\n".join(problems))
