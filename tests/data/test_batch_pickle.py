"""A batch file is data: whatever its bytes are, nothing in it runs, and nothing but DataError comes out."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cifar_copies import Copy, make_copy, pickled, python2_pickled, python_files, write_folder
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cifarlab.data.batch_pickle import load_batch_pickle, to_array
from cifarlab.data.cifar import read_cifar10
from cifarlab.errors import DataError

COPY = make_copy()


class _Runs:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function: Callable[..., Any], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


def _attacks(canary: Path) -> dict[str, bytes]:
    touch = f"touch {canary}"
    write = f"open({str(canary)!r}, 'w').close()"
    objects = {
        "os.system": _Runs(os.system, touch),
        "builtins.eval": _Runs(builtins.eval, write),
        "builtins.exec": _Runs(builtins.exec, write),
        "builtins.getattr": _Runs(getattr, os, "system"),
        "subprocess": _Runs(subprocess.check_call, ["touch", str(canary)]),
        "numpy.load": _Runs(np.load, str(canary)),
        "numpy.save": _Runs(np.save, str(canary), [1]),
        "open": _Runs(builtins.open, str(canary), "w"),
    }
    made = {}
    for name, value in objects.items():
        for protocol in (0, 2, 4):
            with io.BytesIO() as stream:
                pickler = pickle.Pickler(stream, protocol)
                if name == "builtins.getattr":
                    value = _Runs(getattr, "text", "upper")  # modules cannot be pickled; any getattr is refused
                pickler.dump({"labels": [0], "data": value})
                made[f"{name}, protocol {protocol}"] = stream.getvalue()
    shell = touch.encode()
    made["INST opcode"] = b"(S'" + shell + b"'\nios\nsystem\n."
    made["OBJ opcode"] = b"(cos\nsystem\nS'" + shell + b"'\no."
    made["a submodule through an allowed module"] = b"cnumpy\ncore.multiarray._reconstruct.__globals__\n."
    made["an attribute of an allowed name (protocol 4)"] = b"\x80\x04\x8c\x05numpy\x8c\x14ndarray.__reduce_ex__\x93."
    made["numpy run_module helper"] = b"cnumpy.testing._private.utils\nrunstring\n(S'" + write.encode() + b"'\n}tR."
    made["numpy exec helper"] = b"cnumpy.f2py.crackfortran\nmyeval\n(S'" + write.encode() + b"'\ntR."
    made["an object array that hides a call"] = pickle.dumps({"labels": [0], "data": np.array([_Runs(os.system, touch)])})
    made["state for a stand-in"] = b"cnumpy\ndtype\n}S'__call__'\ncos\nsystem\nsb."
    return made


ATTACKS = sorted(_attacks(Path("x")))


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(name: str, known: bool, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(DataError, match="data_batch_1"):
        load_batch_pickle(_attacks(canary)[name], source="data_batch_1", known=known)
    assert not canary.exists()


def test_the_attacks_would_work_on_a_plain_unpickler(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(_attacks(canary)["os.system, protocol 2"])  # noqa: S301 - shows that the canary is alive
    assert canary.exists()


def test_the_refusal_names_the_call_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"refused, nothing of it was run.*posix\.system.*cifarlab data get cifar10"):
        load_batch_pickle(_attacks(tmp_path / "x")["os.system, protocol 2"], source="data_batch_1")


def test_a_malicious_file_among_good_ones_is_refused(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    files = {**python_files(COPY), "data_batch_2": _attacks(canary)["builtins.eval, protocol 2"]}
    with pytest.raises(DataError, match=r"data_batch_2: refused"):
        read_cifar10(write_folder(tmp_path / "copy", files), layout=COPY.layout)
    assert not canary.exists()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x80\x02}r\xff\xff\xff\x7f.", id="memo index of 2 billion"),
        pytest.param(b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b".", id="string of 4 exabytes"),
        pytest.param(b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"Ns.", id="tuple nested 200 000 deep as a key"),
        pytest.param(b"\x80\x02\x82\x01.", id="extension registry"),
        pytest.param(b"P0\n.", id="persistent id"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80\x02}", id="no end"),
    ],
)
def test_absurd_pickles_are_refused_without_eating_memory(raw: bytes) -> None:
    with pytest.raises(DataError, match="damaged or something else"):
        load_batch_pickle(raw, source="test_batch")


def _expect_data_or_data_error(raw: bytes) -> None:
    try:
        batch = load_batch_pickle(raw, source="test_batch")
        for value in batch.values():
            to_array(value, source="test_batch")
    except DataError as error:
        assert str(error).startswith("test_batch: ")  # noqa: PT017 - either outcome is right


@given(raw=st.binary(max_size=400))
@example(raw=b"\x80\x02}(U\x04dataNu.")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_bytes_raise_nothing_but_data_errors(raw: bytes) -> None:
    _expect_data_or_data_error(raw)


def _short(raw: bytes) -> bytes:
    """A batch without its pixels, so that mutations meet the structure and not the 12 000 bytes inside."""
    pixels = COPY.planes["test_batch"].tobytes()
    return raw.replace(b"T" + len(pixels).to_bytes(4, "little") + pixels, b"U\x04abcd")


SEEDS = [_short(python2_pickled(COPY, "test_batch")), python_files(COPY)["batches.meta"]] + [
    pickle.dumps({"labels": [1, 2], "data": np.arange(6, dtype=np.uint8).reshape(2, 3)}, protocol=protocol) for protocol in (0, 2, 4, 5)
]


@given(data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_batches_raise_nothing_but_data_errors(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        if not raw:
            break
    _expect_data_or_data_error(bytes(raw))


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_cut_anywhere_is_damaged(cut: float) -> None:
    raw = pickled(COPY, "test_batch")
    with pytest.raises(DataError, match="damaged or something else"):
        load_batch_pickle(raw[: int(cut * len(raw))], source="test_batch")


def test_arrays_equal_what_a_plain_unpickler_gives(copy: Copy) -> None:
    raw = pickled(copy, "data_batch_1")
    reference = pickle.loads(raw)  # noqa: S301 - the test's own bytes
    found = load_batch_pickle(raw, source="data_batch_1")
    assert np.array_equal(to_array(found["data"], source="x"), reference[b"data"])
    assert to_array(found["labels"], source="x").tolist() == reference[b"labels"]
