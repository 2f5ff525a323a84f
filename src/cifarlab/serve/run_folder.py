"""The folder of runs that a server was started with: which runs lie in it, under which names.

Names map to folders by a table that is made by looking into the folder, so no path that a client sends reaches the file system.
Links are not followed on the way down, and a file of a run that is a link out of the folder counts as missing.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from cifarlab.errors import nearest
from cifarlab.serve.refusal import RefusedError

DEPTH: Final = 4  # folders below the one given: sweeps/STUDY/RUN takes three
MOST_RUNS: Final = 2000
MOST_FOLDERS: Final = 20_000  # looked into, with runs or without
FRESH: Final = 1.0  # seconds for which a look into the folder is used again
JOINT: Final = "~"  # stands for "/" in a name: needs no escape in a URL, and no name that `cifarlab train` gives has it
# What is read of a run, each with the most bytes that are taken.
LARGEST: Final = {
    "status.json": 1 << 20,
    "env.json": 1 << 20,
    "recipe.yaml": 1 << 18,
    "metrics.jsonl": 64 << 20,
    "baseline.json": 4 << 20,
    "predictions/validation.npz": 512 << 20,
    "predictions/test.npz": 512 << 20,
}
SMALL: Final = ("status.json", "env.json", "recipe.yaml", "metrics.jsonl", "baseline.json")


class Stamp(NamedTuple):
    """What tells one content of a file from another: modification time in nanoseconds, bytes, inode."""

    modified: int
    size: int
    inode: int


@dataclass(frozen=True)
class Found:
    """A run in the folder. name: in URLs; title: its path below the folder, with "/"; root: the folder itself, links resolved."""

    name: str
    title: str
    path: Path
    root: str

    def stamp(self, file: str) -> Stamp | None:
        """The stamp of one of the run's files; None where it is missing, no plain file, or a link out of the folder."""
        path = os.path.join(self.path, file)
        try:
            real = os.path.realpath(path, strict=True)
            found = os.stat(real)
            inside = os.path.commonpath([self.root, real]) == self.root  # ValueError on Windows: another drive
        except (OSError, ValueError):
            return None
        return Stamp(found.st_mtime_ns, found.st_size, found.st_ino) if inside and stat.S_ISREG(found.st_mode) else None

    def stamps(self) -> tuple[Stamp | None, ...]:
        """The stamps of the small files, in the order of SMALL."""
        return tuple(self.stamp(file) for file in SMALL)


class RunFolder:
    """The runs below `root`, looked for again when they are asked for; None for a server without such a folder."""

    def __init__(self, root: Path | None) -> None:
        self.shown = None if root is None else str(root)  # as it was given: commands that are shown begin with it
        self._root = root
        self._lock = threading.Lock()
        self._table: dict[str, Found] = {}
        self._complete = True
        self._looked = -FRESH

    def table(self) -> Mapping[str, Found]:
        """Every run by its name. A folder that is gone has none."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= FRESH:
                self._table, self._complete = _look(self._root)
                self._looked = now
            return self._table

    @property
    def exists(self) -> bool:
        """Whether the folder is there."""
        return self._root is not None and self._root.is_dir()

    @property
    def complete(self) -> bool:
        """Whether the last look came to its end; more runs or folders than are looked for are left out."""
        return self._complete

    def find(self, name: str) -> Found:
        """The run of that name; raises RefusedError (404) where there is none."""
        table = self.table()
        if name in table:
            return table[name]
        if self.shown is None:
            raise RefusedError(404, "this server shows no runs: start it with --runs DIR")
        match = nearest(name[:200], table)
        hint = f" Did you mean {match!r}?" if match else ""
        raise RefusedError(404, f"there is no run {name[:100]!r} in {self.shown}.{hint} GET /runs lists them")


def _look(root: Path | None) -> tuple[dict[str, Found], bool]:
    """Every run below `root`, sorted by title, and whether none was left out."""
    if root is None:
        return {}, True
    real = os.path.realpath(root)
    found: list[tuple[str, ...]] = []
    waiting: list[tuple[str, ...]] = [()]
    folders = 0
    while waiting:
        parts = waiting.pop()
        folders += 1
        if folders > MOST_FOLDERS or len(found) >= MOST_RUNS:
            return _named(root, real, found), False
        files, inner = _entries(os.path.join(real, *parts))
        if "status.json" in files or ("recipe.yaml" in files and ("env.json" in files or "metrics.jsonl" in files)):
            found.append(parts)
        elif len(parts) < DEPTH:
            waiting += [(*parts, name) for name in inner]
    return _named(root, real, found), True


def _entries(folder: str) -> tuple[set[str], list[str]]:
    """Names of the plain files and of the folders in `folder`; hidden ones, links and unprintable names are left out."""
    files, folders = set(), []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.name.isprintable():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file():
                    files.add(entry.name)
    except OSError:  # gone since, or not to be read
        pass
    return files, sorted(folders, reverse=True)  # the last is looked into first


def _named(root: Path, real: str, found: list[tuple[str, ...]]) -> dict[str, Found]:
    table: dict[str, Found] = {}
    for parts in sorted(found):
        parts_or_own = parts or (os.path.basename(real) or "run",)  # the folder given is a run itself
        wanted = name = JOINT.join(parts_or_own)
        number = 1
        while name in table:  # a folder with "~" in its own name
            number += 1
            name = f"{wanted}{JOINT}{number}"
        table[name] = Found(name, "/".join(parts_or_own), root.joinpath(*parts), real)
    return table
