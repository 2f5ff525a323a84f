"""Bundles on the Hugging Face Hub: push one, pull one. What comes from there is verified like any other bundle.

The package huggingface_hub does the talking: token, cache, proxy and endpoint are as it is set up (hf auth login, HF_HOME, HF_ENDPOINT).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cifarlab.bundle.card import CARD
from cifarlab.bundle.manifest import FILES, is_bundle, read_description, read_verified
from cifarlab.errors import BundleError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CONTENT: Final = ("bundle.json", CARD, *FILES)  # all that is ever uploaded or downloaded
MOST_BYTES: Final = 1 << 30  # of a bundle's files that are downloaded
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def push(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload the bundle `folder` as the model repository `name` ("owner/name"), made where it is not there; returns its address.

    The bundle is verified first. Raises UsageError for a name or folder that cannot be one, BundleError where it is damaged or
    the Hub refuses, MissingDependencyError without huggingface_hub.
    """
    _check_name(name)
    verify(folder)
    api = _api()
    with _refusals(f"{name} cannot be written"):
        api.create_repo(name, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, allow_patterns=list(CONTENT), commit_message="Upload a cifarlab bundle")
    return f"{api.endpoint}/{name}"


def pull(name: str, folder: Path) -> None:
    """Download the bundle `name` ("owner/name" or "owner/name@revision") into the empty `folder` and verify it; raises as `push`."""
    _download(name, local_dir=folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # huggingface_hub's notes on the download
    verify(folder)


def cached(name: str) -> Path:
    """The folder of the bundle `name`, downloaded into the Hub's cache where it is not there or has changed; raises as `push`."""
    folder = _download(name)
    verify(folder)
    return folder


def verify(folder: Path) -> dict[str, Any]:
    """Check every file that a bundle lists; returns its description. Raises UsageError where `folder` is none, BundleError."""
    description = read_description(folder)
    if not is_bundle(description):
        raise UsageError(f"{folder} is a run directory, not a bundle. Make one with: cifarlab export {folder} -o DIR")
    for name in description["files"]:
        read_verified(folder, description, name)
    return description


def _download(name: str, **where: Any) -> Path:
    plain, _, revision = name.partition("@")
    _check_name(plain)
    api = _api()
    with _refusals(f"{name} cannot be read"):
        _check_size(api, plain, revision or None)
        folder = Path(api.snapshot_download(plain, revision=revision or None, allow_patterns=list(CONTENT), **where))
    if not (folder / "bundle.json").exists():
        raise BundleError(f"{plain} on the Hub is not a cifarlab bundle: it has no bundle.json")
    return folder


def _check_size(api: HfApi, name: str, revision: str | None) -> None:
    """Raise BundleError where the Hub says that a bundle's files are larger than `MOST_BYTES`, before anything is downloaded."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        files = list(api.list_repo_tree(name, revision=revision))
    except HfHubHTTPError:
        raise
    except Exception:  # no network: what is in the cache may still do, and the download itself says why where it does not
        return
    size = sum(getattr(file, "size", 0) for file in files if file.path in CONTENT)
    if size > MOST_BYTES:
        raise BundleError(
            f"{name} on the Hub has {size:,} bytes; at most {MOST_BYTES:,} are downloaded. If that is wanted: hf download {name} "
            "--local-dir DIR, then give DIR"
        )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not the name of a model on the Hub: give OWNER/NAME, such as hf://someone/cifar10-fast")


def _api() -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingDependencyError("huggingface_hub", extra="hub", purpose="the Hugging Face Hub") from error
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="cifarlab")


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Errors of the Hub and of the network as one BundleError in one line."""
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except BundleError:
        raise
    except RevisionNotFoundError as error:
        raise BundleError(f"{what}: the Hub has no such revision. Leave @REVISION out for the newest") from error
    except RepositoryNotFoundError as error:
        raise BundleError(f"{what}: the Hub has no such model, or it is private. Check the name, or log in with: hf auth login") from error
    except HfHubHTTPError as error:
        refusal = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(f"{what}: {refusal}. Log in with: hf auth login") from error
    # Network, proxy, certificate, cache: huggingface_hub and what it stands on have errors of many families.
    except Exception as error:
        raise BundleError(f"{what}: {_reason(error)}. Check the network") from error


def _reason(error: BaseException) -> str:
    """Why it failed, in few words: the libraries' texts hold those of all errors before them."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ConnectionError, socket.gaierror, TimeoutError)):
            return f"the Hub cannot be reached ({cause.strerror or cause or 'timeout'})"
        cause = cause.__cause__ or cause.__context__
    first = (str(error).splitlines() or [""])[0].strip(" .")
    return first[:200] or type(error).__name__
