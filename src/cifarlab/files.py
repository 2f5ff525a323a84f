"""Files that survive a crash: atomic replacement and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from cifarlab.errors import RunError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)  # Windows has no quota error


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes `path`'s place when the block ends without an error.

    Temporary file in the same folder, fsync, rename, fsync of the folder: after a crash or a full disk
    `path` holds what it held before. Raises RunError where the system refuses (disk full, permission).
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile.mkstemp, which gives 0600: these files are read by others as any other file is (the umask decides).
        chosen = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        descriptor = os.open(chosen, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
        temporary = chosen
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        replace_durably(temporary, path)
        temporary = None
    except OSError as error:
        remedy = "free some space or choose another place" if error.errno in _FULL else "choose another place"
        raise RunError(f"cannot write {path}: {error.strerror or error}. What was there before is untouched; {remedy}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` atomically."""
    with atomic_writer(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON to `path` atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def replace_durably(source: Path, destination: Path) -> None:
    """Rename `source` over `destination` and wait until the folder has it on disk; raises OSError."""
    os.replace(source, destination)
    if os.name != "posix":  # Windows cannot open a folder; its rename is already durable
        return
    descriptor = os.open(destination.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_folder(source: Path, destination: Path) -> None:
    """Put the folder `source` in the place of `destination`, new or not; raises OSError.

    Whatever ends this early, an interrupt too: the folder that was there is there again, or lies beside as NAME.old where even that fails.
    """
    aside = source.with_suffix(".old")
    try:
        if os.path.lexists(destination):
            os.replace(destination, aside)
        replace_durably(source, destination)
    except BaseException:
        if os.path.lexists(aside) and not os.path.lexists(destination):
            os.replace(aside, destination)
        raise
    finally:
        if os.path.lexists(destination):
            shutil.rmtree(aside, ignore_errors=True)


if sys.platform == "win32":
    import msvcrt

    def try_lock(file: IO[bytes]) -> bool:
        """Lock an open file against other processes without waiting; False where another one holds it.

        The system lets go of the lock when the file is closed or its process ends, however it ends.
        """
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(file: IO[bytes]) -> bool:
        """Lock an open file against other processes without waiting; False where another one holds it.

        The system lets go of the lock when the file is closed or its process ends, however it ends.
        """
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
