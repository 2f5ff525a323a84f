"""The program that runs an ONNX model in a browser: onnxruntime-web, of one version, taken from npm and verified.

It is not part of cifarlab: a site takes it along when it is exported. Whatever a registry, a mirror or a folder gives is used only
where its SHA-512 (the package) or SHA-256 (each file) is the one below.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cifarlab.errors import DownloadError, UsageError

VARIABLE: Final = "CIFARLAB_ORT_WEB"
LONGEST: Final = 600  # seconds that npm may take
MOST_BYTES: Final = 200_000_000  # of a package that is given as a file
_NODE: Final = "https://nodejs.org"


@dataclass(frozen=True)
class Package:
    """One version of an npm package. integrity: of its .tgz as npm states it; files: SHA-256 of those that a site needs."""

    name: str
    version: str
    integrity: str
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the public registry has its .tgz."""
        return f"https://registry.npmjs.org/{self.name}/-/{self.name}-{self.version}.tgz"


SCRIPT: Final = "dist/ort.wasm.bundle.min.mjs"  # WebAssembly only: no WebGL, no WebGPU
WASM: Final = "dist/ort-wasm-simd-threaded.wasm"  # the only build without these; with one thread it needs no special headers
ORT_WEB: Final = Package(
    "onnxruntime-web",
    "1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    {
        SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    },
)


def find_package(given: str | Path | None) -> Path | None:
    """`given`, else what the environment variable CIFARLAB_ORT_WEB names; None where npm is to fetch it.

    Raises UsageError where it is neither a folder nor a file, DownloadError where neither it nor npm is there.
    """
    named = given if given is not None else os.environ.get(VARIABLE) or None
    if named is None:
        if shutil.which("npm") is None:
            raise DownloadError(
                f"a site takes along {ORT_WEB.name} {ORT_WEB.version}, which npm fetches (33 MB), and there is no npm here. "
                f"Install Node.js, which brings npm ({_NODE}). Or: {_remedy(ORT_WEB)}"
            )
        return None
    path = Path(named)
    if not path.exists():
        source = "--ort-web" if given else VARIABLE
        raise UsageError(
            f"{source} {path}: there is no such file or folder. Give the .tgz of {ORT_WEB.name} {ORT_WEB.version}, or its folder"
        )
    return path


def read_package(path: Path | None, *, package: Package = ORT_WEB) -> dict[str, bytes]:
    """The files of `package` that a site needs, by their names in it, verified.

    path: its .tgz or the folder that it was unpacked or installed to; None fetches it by npm. Raises DownloadError where that fails,
    UsageError where what is there is not this version.
    """
    if path is None:
        with tempfile.TemporaryDirectory(prefix="cifarlab-npm-") as folder:
            return _from_archive(_fetch(Path(folder), package), package)
    if path.is_dir():
        return _from_folder(path, package)
    return _from_archive(path, package)


def _from_folder(folder: Path, package: Package) -> dict[str, bytes]:
    """From node_modules/NAME, a folder with node_modules in it, or an unpacked .tgz, whose files lie in package/."""
    places = [folder, folder / "package", folder / package.name, folder / "node_modules" / package.name]
    found = {}
    for name, expected in package.files.items():
        file = next((place / name for place in places if (place / name).is_file()), None)
        if file is None:
            raise UsageError(f"{folder} has no {name}: it is not {package.name} {package.version}. {_remedy(package)}")
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise UsageError(f"{file} is not the file of {package.name} {package.version}: its SHA-256 differs. {_remedy(package)}")
        found[name] = content
    return found


def _from_archive(file: Path, package: Package) -> dict[str, bytes]:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"{file} is not {package.name} {package.version}: it has more than {MOST_BYTES >> 20} MiB. {_remedy(package)}")
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha512").digest()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
    if "sha512-" + base64.b64encode(digest).decode() != package.integrity:
        raise UsageError(f"{file} is not the .tgz of {package.name} {package.version}: its SHA-512 differs. {_remedy(package)}")
    found = {}
    with tarfile.open(file, "r:gz") as archive:  # read, never unpacked
        for name in package.files:
            member = archive.extractfile(f"package/{name}")
            if member is None:
                raise UsageError(f"{file} has no {name}: {package.name} {package.version} should. {_remedy(package)}")
            found[name] = member.read()
    return found


def _fetch(folder: Path, package: Package) -> Path:
    """The .tgz of `package` in `folder`, fetched by npm, which keeps a copy in its own cache; raises DownloadError."""
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(f"npm, which fetches {package.name}, is not here. {_remedy(package)}")
    command = [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", str(folder), "--ignore-scripts", "--prefer-offline"]
    what = f"npm cannot fetch {package.name} {package.version}"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"{what}: no answer within {LONGEST} seconds. {_remedy(package)}") from error
    except OSError as error:
        raise DownloadError(f"{what}: {error.strerror or error}. {_remedy(package)}") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise DownloadError(f"{what}: {_reason(done.stderr)}. {_remedy(package)}")
    return archives[0]


def _reason(output: str) -> str:
    """The first thing that npm calls an error, with its code."""
    # "npm ERR!" is how npm up to 10.6 begins such a line.
    lines = [found[1].strip() for line in output.splitlines() if (found := re.match(r"npm (?:error|ERR!) (.*)", line))]
    told = [line.removeprefix("code ") for line in lines if line and "complete log" not in line]
    return ": ".join(told[:2])[:300] or "it gave no reason"


def _remedy(package: Package) -> str:
    return f"Download {package.url} where there is a network, and name the file with --ort-web FILE or {VARIABLE}"


def packed(content: bytes) -> bytes:
    """gzip of `content`, the same bytes every time."""
    return gzip.compress(content, compresslevel=9, mtime=0)
