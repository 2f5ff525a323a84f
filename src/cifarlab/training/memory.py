"""Memory between the steps of a training on a CPU."""

from __future__ import annotations

import ctypes
import sys

# <malloc.h> of the GNU C library
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for good; True where that was possible (Linux with the GNU C library).

    Each step of a training asks for the same large blocks again. glibc gives every block of more than 32 MiB, and often smaller
    ones, back to the system at once, which then has to clear it page by page for the next step: a fifth to a third of a step.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_MMAP_MAX, 0) and library.mallopt(_TRIM_THRESHOLD, _NEVER))
