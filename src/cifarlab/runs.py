"""The run directory: its layout, and the only code that writes or reads its files.

    runs/<name>/
      recipe.yaml  env.json  status.json  metrics.jsonl  results.csv
      checkpoint.pt  checkpoint.previous.pt  weights/{best,last}.safetensors
      predictions/{validation,test}.npz
      metrics.json  classification_report.txt  confusion_matrix.csv
      figures/*.png, *.svg  report.html

Everything that replaces a file does so atomically (cifarlab.files): a reader sees the old file or the new one, whole.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import BusyError, RunError, UsageError, nearest
from cifarlab.files import atomic_writer, try_lock, write_json, write_text

SCHEMA_VERSION: Final = 1
STATES: Final = ("running", "done", "failed", "preempted")
BASELINE_PREFIX: Final = "baseline-"  # of a recipe's model.name, where the run is a classical baseline and no network
_LOCK_TRIES: Final = 5
_REMEDY: Final = "Restore it from a copy, train again, or remove the run's folder"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said about one split: the one source of every metric, table and picture of a run.

    sample_ids: str [N]; labels: int64 [N]; logits: float32 [N, K] of one plain view;
    logits_tta: the same under test-time augmentation, or None; tta: its name ("none" without);
    class_names: K names; split: "validation" or "test"; checksum: SHA-256 of the split's pixels and labels.
    """

    sample_ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    logits_tta: NDArray[np.float32] | None
    tta: str
    class_names: tuple[str, ...]
    split: str
    checksum: str

    @property
    def final_logits(self) -> NDArray[np.float32]:
        """The logits that count, float32 [N, K]: with test-time augmentation where the recipe has it."""
        return self.logits if self.logits_tta is None else self.logits_tta

    def save(self, path: Path) -> None:
        """Write to `path` (.npz, no pickled objects) atomically."""
        arrays: dict[str, NDArray[Any]] = {
            "sample_ids": self.sample_ids,
            "labels": self.labels,
            "logits": self.logits,
            "class_names": np.array(self.class_names),
            "tta": np.array(self.tta),
            "split": np.array(self.split),
            "checksum": np.array(self.checksum),
        }
        if self.logits_tta is not None:
            arrays["logits_tta"] = self.logits_tta
        with atomic_writer(path) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote; raises RunError where the file is missing or not a predictions file."""
        try:
            # NumPy leaves a file open that it cannot read, so it gets one that is closed here.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                return cls(
                    sample_ids=file["sample_ids"],
                    labels=file["labels"],
                    logits=file["logits"],
                    logits_tta=file.get("logits_tta"),
                    tta=str(file["tta"]),
                    class_names=tuple(str(name) for name in file["class_names"]),
                    split=str(file["split"]),
                    checksum=str(file["checksum"]),
                )
        except FileNotFoundError:
            raise RunError(f"{path} does not exist. Make it with: cifarlab evaluate {path.parent.parent}") from None
        # Damaged archives make zipfile and NumPy raise nearly anything: BadZipFile, zlib.error, EOFError, ...
        except Exception as error:
            # NumPy's own words for a damaged file advise unsafe loading; only what it misses is passed on.
            reason = str(error.args[0]) if isinstance(error, KeyError) and error.args else "it is damaged or something else"
            raise RunError(
                f"{path} is not a readable predictions file: {reason}. "
                f"Make it again with: cifarlab evaluate {path.parent.parent} --split {path.stem}"
            ) from error


@dataclass(frozen=True)
class RunDirectory:
    """One run on disk. `create` makes a new one, `open` an existing one; both check before they touch anything."""

    path: Path

    # -- where things are ---------------------------------------------------------------------------
    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def checkpoint_file(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def previous_checkpoint_file(self) -> Path:
        return self.path / "checkpoint.previous.pt"

    @property
    def baseline_file(self) -> Path:
        """What a classical baseline keeps in place of bundle.json and weights."""
        return self.path / "baseline.json"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def report_file(self) -> Path:
        return self.path / "report.html"

    def weights_file(self, which: str) -> Path:
        """`which` is "best" or "last"."""
        return self.path / "weights" / f"{which}.safetensors"

    def predictions_file(self, split: str) -> Path:
        return self.path / "predictions" / f"{split}.npz"

    # -- life -----------------------------------------------------------------------------------------
    @staticmethod
    def check_free(parent: Path, name: str) -> None:
        """Raise UsageError where `create` would refuse `name`: before a download or a long preparation, too."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"run name {name!r}: use 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit")
        if os.path.lexists(parent / name):
            raise UsageError(_taken(parent / name))

    @classmethod
    def create(cls, parent: Path, name: str, *, recipe_yaml: str, env: Json) -> RunDirectory:
        """Make `parent/name` with its recipe and environment; a name that is taken or unsafe is refused."""
        cls.check_free(parent, name)
        path = parent / name
        try:
            path.mkdir(parents=True)
        except FileExistsError:  # since the check, by another process
            raise UsageError(_taken(path)) from None
        except OSError as error:
            raise RunError(f"cannot create {path}: {error.strerror or error}. Choose another place with --runs DIR") from error
        run = cls(path)
        try:
            write_text(run.recipe_file, recipe_yaml)
            write_json(path / "env.json", env)
            run.update_status(schema=SCHEMA_VERSION, state="running", test_reads=0)
        except RunError:
            shutil.rmtree(path, ignore_errors=True)  # half a run would only keep its name taken
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run; raises UsageError where `path` is none, RunError where another version wrote it."""
        if not os.path.isdir(path):
            match = nearest(path.name, _siblings(path))
            hint = f" Did you mean {path.parent / match}?" if match else ""
            raise UsageError(f"no run at {path}: {_why_no_folder(path)}.{hint}")
        run = cls(path)
        if missing := [name for name in ("status.json", "recipe.yaml") if not os.path.exists(path / name)]:
            raise UsageError(f"{path} is not a run directory: it has no {' and no '.join(missing)}")
        schema = run.status().get("schema")
        if schema != SCHEMA_VERSION:
            raise RunError(
                f"{path} was written in version {schema!r} of the run directory; this cifarlab reads version {SCHEMA_VERSION}. "
                "Use the cifarlab release that wrote it, or train again from its recipe.yaml"
            )
        return run

    # -- small JSON files -------------------------------------------------------------------------------
    def read_json(self, name: str) -> Json:
        """A JSON object of this run, such as "env.json"; raises RunError where it is missing or damaged."""
        path = self.path / name
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path} does not exist") from None
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror or error}. Check its permissions and the disk") from error
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path} is damaged (cut off or edited?). {_REMEDY} (the parser says: {error})") from error
        if not isinstance(value, dict):
            raise RunError(f"{path} is damaged: a JSON object was expected. {_REMEDY}")
        return value

    def status(self) -> Json:
        """state, test_reads, schema and, after training, seconds, epochs and the like."""
        return self.read_json("status.json")

    def discard_results(self) -> None:
        """Remove predictions and what was made of them: they speak of weights that are about to change.

        The count of test reads stays.
        """
        files = [*self.path.glob("predictions/*.npz"), *self.figures.glob("*"), self.report_file]
        files += [self.path / name for name in ("metrics.json", "classification_report.txt", "confusion_matrix.csv")]
        for file in files:
            file.unlink(missing_ok=True)

    def update_status(self, **changes: object) -> Json:
        """Merge `changes` into status.json atomically and return the whole."""
        with self._status_lock():
            return self._merge_status(changes)

    def _merge_status(self, changes: Json) -> Json:
        path = self.path / "status.json"
        current = self.status() if path.exists() else {}
        updated = {**current, **changes}
        if updated.get("state") not in STATES:
            raise ValueError(f"state must be one of {STATES}, not {updated.get('state')!r}")
        write_json(path, updated)
        return updated

    @contextlib.contextmanager
    def _status_lock(self) -> Iterator[None]:
        """Reading, changing and writing status.json is one act: two evaluations at once must count as two readings."""
        with self._lock_file(".status.lock") as file:
            while not try_lock(file):
                time.sleep(0.01)
            yield

    def _lock_file(self, name: str) -> IO[bytes]:
        try:
            return (self.path / name).open("a+b")
        except OSError as error:
            raise RunError(f"cannot write {self.path / name}: {error.strerror or error}") from error

    def mark_failed(self, reason: str) -> None:
        """Record that training failed; a disk too full even for that must not hide the first error."""
        with contextlib.suppress(RunError):
            self.update_status(state="failed", error=reason)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for writing; raises BusyError where another process is training it."""
        with self._lock_file(".lock") as file:
            for _ in range(_LOCK_TRIES):  # `in_use` holds it for a moment
                if try_lock(file):
                    break
                time.sleep(0.01)
            else:
                raise BusyError(f"{self.path} is being trained by another process; wait for it or stop it first")
            yield

    def in_use(self) -> bool:
        """Whether a process is training this run now; a state of "running" alone may be what a killed one left. Writes nothing."""
        lock = self.path / ".lock"
        try:
            if not stat.S_ISREG(lock.stat().st_mode):  # opening a pipe would never end
                return False
            with lock.open("rb") as file:
                return not try_lock(file)
        except FileNotFoundError:
            return False
        except OSError:  # no permission, or a file system without locks: what status.json says has to do
            return True

    def count_test_read(self) -> int:
        """Count one reading of the test split, before it happens; returns the new count."""
        with self._status_lock():
            reads = int(self.status().get("test_reads", 0)) + 1
            self._merge_status({"test_reads": reads})
            return reads

    # -- epochs -------------------------------------------------------------------------------------------
    def append_epoch(self, row: Mapping[str, object]) -> None:
        """Add one line to metrics.jsonl; it is on disk when this returns."""
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(
                f"cannot write {path}: {error.strerror or error}. The last checkpoint is whole; free some space and use --resume"
            ) from error

    def epochs(self) -> list[Json]:
        """The rows of metrics.jsonl. A last line cut short by a crash is dropped; damage elsewhere raises RunError."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()  # bytes that are no text fail as JSON
        rows: list[Json] = []
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                if number == len(lines):
                    break
                raise RunError(f"{path}, line {number}, is damaged: {error}") from error
        return rows

    def rewrite_epochs(self, rows: list[Json]) -> None:
        """Replace metrics.jsonl by `rows` and write results.csv, the same for spreadsheets."""
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
        if rows:
            table = io.StringIO()
            writer = csv.DictWriter(table, fieldnames=list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            write_text(self.path / "results.csv", table.getvalue())


def _siblings(path: Path) -> list[str]:
    """The runs beside `path`."""
    try:
        return [entry.name for entry in path.parent.iterdir() if os.path.exists(entry / "status.json")]
    except OSError:
        return []


def _why_no_folder(path: Path) -> str:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such folder"
    except OSError as error:
        return f"it cannot be looked at ({error.strerror or error})"
    return "it is a file, not a folder"


def _taken(path: Path) -> str:
    return f"{path} already exists; nothing was changed. Choose another --name, continue it with --resume {path}, or remove it"
