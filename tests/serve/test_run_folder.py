"""Looking into the folder of runs: names, links, depth, limits, and files that are not what they should be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_folders import digits, fill, make_run, predictions_of
from test_any_bytes import check

from cifarlab.runs import RunDirectory
from cifarlab.serve import Service, create_app, run_folder, runs_routes
from cifarlab.serve.refusal import RefusedError
from cifarlab.serve.run_folder import RunFolder


def bare_run(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "status.json").write_text('{"schema": 1, "state": "done"}')
    (path / "recipe.yaml").write_text("model: {name: speednet}\n")
    return path


def test_names_of_nested_runs_need_no_slash(tmp_path: Path) -> None:
    for place in ("a", "b/c", "b~c", "sweeps/x/y/z", "too/deep/for/this/one", ".hidden/a", "b/c/inside-a-run"):
        bare_run(tmp_path / place)
    table = RunFolder(tmp_path).table()
    assert {name: found.title for name, found in table.items()} == {"a": "a", "b~c": "b/c", "b~c~2": "b~c", "sweeps~x~y~z": "sweeps/x/y/z"}


def test_the_folder_may_be_a_run_itself(tmp_path: Path) -> None:
    table = RunFolder(bare_run(tmp_path / "only")).table()
    assert [(name, found.path) for name, found in table.items()] == [("only", tmp_path / "only")]


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = bare_run(tmp_path / "outside")
    inside = bare_run(tmp_path / "runs" / "inside")
    (tmp_path / "runs" / "link").symlink_to(outside)
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    (inside / "env.json").symlink_to("/etc/hostname")
    (inside / "metrics.jsonl").symlink_to(inside / "status.json")
    table = RunFolder(tmp_path / "runs").table()
    assert list(table) == ["inside"]
    assert table["inside"].stamp("env.json") is None
    assert table["inside"].stamp("metrics.jsonl") is not None  # a link that stays in the folder


def test_a_pipe_in_place_of_a_file_does_not_hold_up_the_server(service: Service, tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes on this system")
    run = make_run(tmp_path, "one", splits=())
    (run.path / "metrics.jsonl").unlink()
    os.mkfifo(run.path / "metrics.jsonl")
    assert Client(create_app(service, runs=tmp_path)).get("/runs/one").json()["rows"] == []


def test_runs_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "FRESH", 0.0)
    folder = RunFolder(tmp_path / "runs")
    assert (folder.exists, dict(folder.table())) == (False, {})
    bare_run(tmp_path / "runs" / "new")
    assert folder.find("new").title == "new"
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(RefusedError, match="there is no run 'new'"):
        folder.find("new")


def test_more_runs_than_are_looked_for_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "MOST_RUNS", 3)
    for number in range(5):
        bare_run(tmp_path / f"run-{number}")
    folder = RunFolder(tmp_path)
    assert (list(folder.table()), folder.complete) == (["run-0", "run-1", "run-2"], False)


def test_a_table_that_takes_long_is_told_in_parts(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        bare_run(tmp_path / f"run-{number}")
    monkeypatch.setattr(runs_routes, "READ_FOR", -1.0)
    client = Client(create_app(service, runs=tmp_path))
    assert [row["state"] for row in client.get("/runs").json()["runs"]] == ["unread"] * 3
    monkeypatch.setattr(runs_routes, "READ_FOR", 10.0)
    assert [row["state"] for row in client.get("/runs").json()["runs"]] == ["done"] * 3


def test_changed_files_are_read_anew(service: Service, tmp_path: Path) -> None:
    run = make_run(tmp_path, "one")
    client = Client(create_app(service, runs=tmp_path))
    before = client.get("/runs/one/confusion").json()["correct"]
    data = digits().test
    perfect = np.eye(data.num_classes, dtype=np.float32)[data.labels]
    predictions_of(data, "test", logits=perfect, logits_tta=None).save(run.predictions_file("test"))
    run.append_epoch({"epoch": 4})
    assert client.get("/runs/one/confusion").json()["correct"] == len(data) > before
    assert len(client.get("/runs/one").json()["rows"]) == 4
    run.predictions_file("test").unlink()
    assert client.get("/runs/one/confusion?split=test").status_code == 404


@pytest.mark.parametrize(
    "more",
    [
        {"labels": np.full(len(digits().test), 10)},
        {"labels": np.zeros(3, dtype=np.int64)},
        {"logits": np.zeros((len(digits().test), 9), dtype=np.float32)},
        {"logits": np.full((len(digits().test), 10), np.nan, dtype=np.float32), "logits_tta": None},
        {"logits_tta": np.zeros((2, 10), dtype=np.float32)},
        {"sample_ids": np.array(["a"])},
        {"class_names": ()},
    ],
)
def test_predictions_that_do_not_hold_together_are_refused(service: Service, tmp_path: Path, more: dict[str, Any]) -> None:
    run = make_run(tmp_path, "one", splits=())
    predictions_of(digits().test, "test", **more).save(run.predictions_file("test"))
    client = Client(create_app(service, runs=tmp_path))
    for route in ("confusion", "reliability", "errors"):
        assert client.get(f"/runs/one/{route}").status_code == 409
    assert client.get("/runs").json()["runs"][0]["test"] is None


def test_predictions_of_another_split_are_refused(service: Service, tmp_path: Path) -> None:
    run = make_run(tmp_path, "one", splits=())
    predictions_of(digits().test, "validation").save(run.predictions_file("test"))
    assert "not 'test'" in Client(create_app(service, runs=tmp_path)).get("/runs/one/confusion").json()["error"]


def test_predictions_that_unpack_to_too_much_are_refused(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cifarlab.serve import run_predictions

    make_run(tmp_path, "one", splits=("test",))
    monkeypatch.setattr(run_predictions, "UNPACKED", 1000)
    response = Client(create_app(service, runs=tmp_path)).get("/runs/one/confusion")
    assert response.status_code == 409
    assert "unpacks to" in response.json()["error"]


# -- whatever is asked, whatever lies there -------------------------------------------------------------------------

GENTLE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = st.sampled_from(["good", "bare", "killed", "cut", "torn", "odd", "other-data", "baselines~knn", "sweeps~lr~seed-1"])
TEXT = st.text(max_size=12) | st.sampled_from(
    ["3", "8", "test", "validation", "confident", "-1", "99999999999999999999", "../..", "%00", "~"]
)


@pytest.fixture(scope="module")
def asked(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(create_app(service, runs=fill(tmp_path_factory.mktemp("any") / "runs")))


@GENTLE
@given(
    name=NAMES | TEXT,
    tail=st.sampled_from(["", "/confusion", "/errors", "/reliability", "/events", "/images/test/0"])
    | TEXT.map(lambda text: f"/images/test/{text}"),
    query=st.dictionaries(st.sampled_from(["true", "predicted", "split", "sort", "offset", "limit", "after"]) | TEXT, TEXT, max_size=3),
)
def test_any_name_and_query(asked: Client, name: str, tail: str, query: dict[str, str]) -> None:
    from urllib.parse import quote

    given_query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in query.items())
    response = asked.get(f"/runs/{quote(name, safe='')}{quote(tail, safe='/')}?{given_query}")
    if not response.headers["content-type"].startswith(("text/event-stream", "image/png")):
        check(response)


@pytest.fixture(scope="module")
def asked_about_one(service: Service, tmp_path_factory: pytest.TempPathFactory) -> tuple[Client, RunDirectory]:
    run = make_run(tmp_path_factory.mktemp("content"), "one", splits=("test",), epochs=1)
    return Client(create_app(service, runs=run.path.parent)), run


@GENTLE
@given(
    file=st.sampled_from(["status.json", "env.json", "recipe.yaml", "metrics.jsonl", "predictions/test.npz", "baseline.json"]),
    content=st.binary(max_size=60)
    | st.sampled_from(
        [b"{}", b"[" * 3000, b'{"state": "done", "seconds": 1e999}', b"NaN", b"model: {name: &a [*a]}", b"PK\x03\x04", b"1\n2\n"]
    )
    | st.integers(0, 200).map(
        lambda cut: b'{"schema": 1, "state": "running", "test_reads": {"a": 1}, "seconds": -1, "epochs": null}'[:cut]
    ),
)
def test_any_content_of_a_runs_files(asked_about_one: tuple[Client, RunDirectory], file: str, content: bytes) -> None:
    client, run = asked_about_one
    path = run.path / file
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    try:
        for route in ("/runs", "/runs/one", "/runs/one/confusion", "/runs/one/errors", "/runs/one/reliability"):
            check(client.get(route))
    finally:
        path.unlink() if before is None else path.write_bytes(before)
