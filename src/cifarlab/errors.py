"""Every error that cifarlab raises on purpose.

An error for a user says four things: what was given, what is allowed, the nearest match, and the
remedy. The command line prints `str(error)` and leaves with `error.exit_code`: 2 for usage (the
command can be corrected and run again), 1 for failure (something outside the command is wrong).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class CifarlabError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line leaves with."""

    exit_code: int = 1


class UsageError(CifarlabError, ValueError):
    """A value that the user gave is not allowed: unknown name, wrong type, impossible combination."""

    exit_code = 2


class ConfigError(UsageError):
    """A recipe does not hold. `problems` lists every one of them, not only the first."""

    def __init__(self, problems: Sequence[str], *, source: str = "recipe") -> None:
        self.problems = list(problems)
        count = len(self.problems)
        head = f"{source}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  - {problem}" for problem in self.problems)]))


class DataError(CifarlabError):
    """A dataset is missing, truncated, corrupted or not what it claims to be."""


class DownloadError(DataError):
    """A file could not be fetched; the message holds each source with its reason."""


class ImageError(DataError):
    """One image cannot be read."""


class ImageFormatError(ImageError):
    """It is no image, or one of a format that is not read."""


class ImageSizeError(ImageError):
    """It has more pixels than allowed; none was decoded."""


class RunError(CifarlabError):
    """A run directory cannot be created, read or continued."""


class BusyError(RunError):
    """Another process is training this run."""


class BundleError(CifarlabError):
    """A trained model on disk cannot be read."""


class TrainingError(CifarlabError):
    """Training stopped by itself, for example at a loss that is not finite."""


class MissingDependencyError(CifarlabError, ImportError):
    """An optional dependency is not installed; the message names the install line."""

    def __init__(self, module: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {module!r}, which is not installed. Install it with: pip install 'cifarlab[{extra}]'"
        )


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed name closest to `given`, or None where nothing is close."""
    names = list(allowed)
    lowered = {name.lower(): name for name in reversed(names)}
    found = difflib.get_close_matches(given.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def unknown(kind: str, given: object, allowed: Iterable[str], *, remedy: str = "") -> str:
    """One line for an unknown name: what was given, the nearest match, what is allowed, the remedy."""
    names = list(allowed)
    match = nearest(str(given), names)
    parts = [f"unknown {kind} {str(given)!r}"]
    if match is not None:
        parts.append(f"did you mean {match!r}?")
    parts.append(f"allowed: {', '.join(names) if names else '(none)'}")
    if remedy:
        parts.append(remedy)
    return "; ".join(parts)
