"""The routes of runs: what they tell is what the files say, and agrees with the run's report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from asking import Client, error_of
from PIL import Image
from run_folders import digits, fill, make_run, predictions_of

from cifarlab.config import override, parse_assignments
from cifarlab.metrics import score_predictions
from cifarlab.recipes import get_recipe
from cifarlab.reports import write_metrics
from cifarlab.runs import Predictions, RunDirectory
from cifarlab.serve import Service, create_app


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("serve") / "runs")


@pytest.fixture(scope="module")
def asked(service: Service, folder: Path) -> Client:
    return Client(create_app(service, runs=folder))


def rows_of(asked: Client) -> dict[str, Any]:
    for _ in range(50):
        rows = {row["name"]: row for row in asked.get("/runs").json()["runs"]}
        if all(row["state"] != "unread" for row in rows.values()):
            return rows
    raise AssertionError("the runs are never all read")


# -- the table and one run --------------------------------------------------------------------------------------


def test_a_state_that_there_is_not_is_told(service: Service, tmp_path: Path) -> None:
    for name, state in {"list": [1], "word": "finished"}.items():
        (make_run(tmp_path, name, splits=()).path / "status.json").write_text(json.dumps({"state": state}))
    runs = Client(create_app(service, runs=tmp_path)).get("/runs").json()["runs"]
    assert {row["state"] for row in runs} == {"half-written"}
    assert all("its state is" in row["problems"][0] and "none of running, done" in row["problems"][0] for row in runs)


def test_the_table_has_every_run_with_its_state(asked: Client) -> None:
    states = {name: row["state"] for name, row in rows_of(asked).items()}
    assert states == {
        "good": "done",
        "sweeps~lr~seed-1": "done",
        "baselines~knn": "done",
        "bare": "done",
        "killed": "interrupted",
        "cut": "half-written",
        "torn": "done",
        "odd": "half-written",
        "other-data": "done",
    }


def test_a_row_tells_what_the_files_say(asked: Client, folder: Path) -> None:
    row = rows_of(asked)["good"]
    scores = {
        split: score_predictions(Predictions.load(folder / "good" / "predictions" / f"{split}.npz")) for split in ("validation", "test")
    }
    for split, score in scores.items():
        assert {key: row[split][key] for key in ("value", "low", "high")} == score["accuracy"]
        assert (row[split]["n"], row[split]["views"]) == (score["n"], "flip")
    assert (row["epochs"], row["epochs_planned"], row["seconds"], row["parameters"], row["test_reads"]) == (3, 8.0, 12.5, 24_666, 1)
    assert (row["recipe"], row["network"], row["data"], row["seed"], row["kind"]) == ("digits", "speednet", "digits", 0, "network")


def test_without_predictions_validation_is_the_curves(asked: Client) -> None:
    row = rows_of(asked)["killed"]
    assert (row["validation"]["value"], row["validation"]["epoch"], row["validation"]["low"]) == (pytest.approx(0.8), 3, None)
    assert row["test"] is None
    assert row["epochs_planned"] == pytest.approx(500 / 21, abs=0.01)  # 1294 images in batches of 64


def test_damage_is_told_in_the_row(asked: Client) -> None:
    rows = rows_of(asked)
    assert rows["cut"]["problems"] == ["status.json is missing"]
    assert rows["cut"]["epochs"] == 2  # the line that was cut short is left out
    assert len(rows["odd"]["problems"]) == 2  # status.json and recipe.yaml
    assert rows["odd"]["problems"][0].startswith("status.json is damaged: a JSON object was expected. Restore it from a copy, train again,")
    assert rows["torn"]["test"] is None
    assert rows["good"]["problems"] == []


def test_a_half_written_file_is_told_in_plain_words_first(service: Service, tmp_path: Path) -> None:
    (make_run(tmp_path, "half", splits=()).path / "status.json").write_text('{"schema": 1, "sta')
    (problem,) = rows_of(Client(create_app(service, runs=tmp_path)))["half"]["problems"]
    words, _, parser = problem.partition(" (the parser says: ")
    assert words == "status.json is damaged (cut off or edited?). Restore it from a copy, train again, or remove the run's folder"
    assert parser.startswith("Unterminated string")


def test_one_run_with_rows_recipe_and_commands(asked: Client, folder: Path) -> None:
    found = asked.get("/runs/sweeps~lr~seed-1").json()
    assert found["rows"] == RunDirectory(folder / "sweeps" / "lr" / "seed-1").epochs()
    assert found["values"]["optim.lr"] == 0.1
    assert (found["base"], found["splits"]) == ("digits", ["validation"])
    assert {"key": "optim.lr", "base": 0.043, "value": 0.1} in found["changed"]
    assert found["commands"]["repeat"] == "cifarlab train digits --seed 1 --set optim.lr=0.1"
    assert found["commands"]["evaluate"] == f"cifarlab evaluate {folder}/sweeps/lr/seed-1 --split test"
    assert asked.get("/runs/good").json()["commands"]["evaluate"] is None  # test is not to be read again
    assert asked.get("/runs/killed").json()["commands"]["resume"] == f"cifarlab train --resume {folder}/killed"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 3, "data.name": "/some where/pictures"},
        {"data.classes": ["3", "no", "1e3", "a b"], "train.freeze": [{"parameters": "whiten.*", "after": "3ep"}]},
        {"model.arguments": {"widths": [8, 8, 8]}, "optim.name": "adam", "schedule.warmup": "5%", "train.patience": 2},
    ],
)
def test_the_command_repeats_the_recipe(service: Service, tmp_path: Path, changes: dict[str, object]) -> None:
    import shlex

    run = make_run(tmp_path, "one", changes=changes, splits=(), epochs=0)
    words = shlex.split(Client(create_app(service, runs=tmp_path)).get("/runs/one").json()["commands"]["repeat"])
    assert words[:2] == ["cifarlab", "train"]
    given = list(zip(words[3::2], words[4::2], strict=True))
    named = {"--seed": "seed", "--data": "data.name"}
    settings = {**parse_assignments([value for option, value in given if option == "--set"])}
    settings |= {named[option]: value for option, value in given if option in named}
    repeated = override(get_recipe(words[2]), settings)
    assert repeated.to_yaml() == run.recipe_file.read_text()


def test_what_options_cannot_say_is_repeated_from_the_recipe_file(service: Service, tmp_path: Path) -> None:
    lacking = get_recipe("digits").model_copy(update={"optim": get_recipe("digits").optim.model_copy(update={"arguments": {}})})
    make_run(tmp_path, "one", recipe=lacking, splits=(), epochs=0)
    command = Client(create_app(service, runs=tmp_path)).get("/runs/one").json()["commands"]["repeat"]
    assert command == f"cifarlab train {tmp_path}/one/recipe.yaml"


def test_a_baseline_has_its_recorded_command_and_no_curve(asked: Client) -> None:
    found = asked.get("/runs/baselines~knn").json()
    assert (found["kind"], found["rows"], found["epochs_planned"], found["base"]) == ("baseline", [], None, None)
    assert found["commands"] == {"repeat": "cifarlab baseline knn", "resume": None, "evaluate": None}
    assert found["test"]["n"] == len(digits().test)


# -- predictions ------------------------------------------------------------------------------------------------


def test_the_confusion_matrix_is_the_reports(asked: Client, folder: Path) -> None:
    run = RunDirectory(folder / "good")
    score = write_metrics(run)["test"]
    found = asked.get("/runs/good/confusion").json()
    table = list(csv.reader(io.StringIO((run.path / "confusion_matrix.csv").read_text())))
    assert found["classes"] == table[0][1:]
    assert found["matrix"] == [[int(count) for count in row[1:]] for row in table[1:]]
    for key in ("accuracy", "correct", "errors", "n", "cross_entropy", "calibration_error", "tta"):
        assert found[key] == score[key], key
    assert found["per_class"][3]["recall"] == score["per_class"][3]["recall"]
    assert asked.get("/runs/good/confusion?split=validation").json()["n"] == len(digits().validation or ())


def test_cells_of_the_matrix_lead_to_as_many_rows(asked: Client) -> None:
    confusion = asked.get("/runs/good/confusion").json()
    for row, column in ((3, 8), (5, 5), (0, 1)):
        query = f"true={confusion['classes'][row]}&predicted={confusion['classes'][column]}&limit=200"
        found = asked.get(f"/runs/good/errors?{query}").json()
        assert found["total"] == len(found["rows"]) == confusion["matrix"][row][column]
        assert {(each["true"], each["predicted"]) for each in found["rows"]} <= {(confusion["classes"][row], confusion["classes"][column])}
    assert asked.get("/runs/good/errors").json()["total"] == confusion["errors"]


def test_mistakes_come_in_the_order_of_the_report(asked: Client, folder: Path) -> None:
    predictions = Predictions.load(folder / "good" / "predictions" / "test.npz")
    shifted = np.exp(predictions.final_logits - predictions.final_logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != predictions.labels)
    confident = asked.get("/runs/good/errors?limit=200").json()["rows"]
    shown = [row["probability"] for row in confident]
    assert shown == sorted(shown, reverse=True)
    np.testing.assert_allclose(shown[0], probabilities[wrong].max(), rtol=1e-5)
    assert {row["index"] for row in confident} <= set(wrong.tolist())
    in_order = asked.get("/runs/good/errors?sort=index&limit=5&offset=2").json()["rows"]
    assert [row["index"] for row in in_order] == wrong[2:7].tolist()
    assert (
        asked.get("/runs/good/errors?sort=unsure&limit=1").json()["rows"][0]["probability"]
        == min(
            row["probability"]
            for row in asked.get(f"/runs/good/errors?sort=index&limit=200&offset={max(0, len(wrong) - 200)}").json()["rows"]
        )
        or len(wrong) > 200
    )


def test_reliability_adds_up(asked: Client) -> None:
    found = asked.get("/runs/good/reliability").json()
    assert sum(found["counts"]) == found["n"] == len(digits().test)
    assert [value is None for value in found["accuracy"]] == [count == 0 for count in found["counts"]]
    right = sum(count * share for count, share in zip(found["counts"], found["accuracy"], strict=True) if share is not None)
    assert round(right) == asked.get("/runs/good/confusion").json()["correct"]


# -- pictures ---------------------------------------------------------------------------------------------------


def errors_with_pictures(asked: Client, path: str) -> Any:
    import time

    for _ in range(100):
        found = asked.get(path).json()
        if found["pictures"] != "loading":
            return found
        time.sleep(0.05)
    raise AssertionError("the pictures are never read")


@pytest.mark.parametrize("split", ["test", "validation"])
def test_the_pictures_are_those_of_the_data(asked: Client, split: str) -> None:
    data = digits().test if split == "test" else digits().validation
    assert data is not None
    found = errors_with_pictures(asked, f"/runs/good/errors?split={split}&limit=3")
    assert (found["pictures"], found["pictures_note"]) == ("here", None)
    for row in found["rows"]:
        response = asked.get(f"/{row['url']}")
        assert response.headers["content-type"] == "image/png"
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(response.content))), data.images[row["index"]])
        assert row["sample_id"] == data.sample_ids[row["index"]]
    assert "counted from 0" in error_of(asked.get(f"/runs/good/images/{split}/{len(data)}"), 404)


def test_data_that_is_not_at_hand_is_told_and_the_words_remain(asked: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CIFARLAB_DATA", str(tmp_path))
    monkeypatch.setenv("CIFARLAB_CACHE", str(tmp_path))
    found = errors_with_pictures(asked, "/runs/other-data/errors?limit=2")
    assert found["pictures"] == "missing"
    assert "Set CIFARLAB_DATA" in found["pictures_note"]
    assert [row["url"] for row in found["rows"]] == [None, None]
    assert "not at hand" in error_of(asked.get("/runs/other-data/images/test/0"), 409)


def test_data_with_another_fingerprint_is_not_shown(service: Service, tmp_path: Path) -> None:
    run = make_run(tmp_path, "one", splits=())
    predictions_of(digits().test, "test", checksum="0" * 64).save(run.predictions_file("test"))
    found = errors_with_pictures(Client(create_app(service, runs=tmp_path)), "/runs/one/errors?limit=1")
    assert found["pictures"] == "missing"
    assert "checksum differs" in found["pictures_note"]


# -- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/runs/goood", 404, "Did you mean 'good'?"),
        ("/runs/" + "x" * 3000, 404, "there is no run"),
        ("/runs/..%2f..%2fetc", 404, ""),
        ("/runs/bare/confusion", 404, "has no predictions yet"),
        ("/runs/sweeps~lr~seed-1/reliability?split=test", 404, "cifarlab evaluate"),
        ("/runs/torn/confusion?split=test", 409, "not a readable predictions file"),
        ("/runs/good/errors?true=cta", 422, "unknown class for true 'cta'"),
        ("/runs/good/errors?sort=size", 422, "sort"),
        ("/runs/good/errors?limit=0", 422, "limit"),
        ("/runs/good/errors?offset=-1", 422, "offset"),
        ("/runs/good/errors?ture=3", 422, "Did you mean 'true'?"),
        ("/runs/good/errors?true=3&true=4", 422, "given 2 times"),
        ("/runs/good/confusion?split=train", 422, "split"),
        ("/runs/good/images/train/0", 422, "split"),
        ("/runs/good/images/test/-1", 422, "index"),
        ("/runs/good/images/test/x", 422, "index"),
        ("/runs/good/events?after=-1", 422, "after"),
        ("/runs?x=1", 422, "unknown query parameter"),
    ],
)
def test_what_cannot_be_is_refused(asked: Client, path: str, status: int, said: str) -> None:
    assert said in error_of(asked.get(path), status)


def test_without_a_folder_the_table_says_so(client: Client) -> None:
    assert client.get("/runs").json() == {"folder": None, "exists": False, "complete": True, "runs": []}
    assert "--runs DIR" in error_of(client.get("/runs/good"), 404)


def test_runs_need_the_token_too(service: Service, folder: Path) -> None:
    guarded = Client(create_app(service, runs=folder, token="a-token-of-more-than-16"))
    for path in ("/runs", "/runs/good", "/runs/good/events", "/runs/good/images/test/0"):
        assert "a token is needed" in error_of(guarded.get(path), 401)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/runs", "/runs"),
        *[(f"/runs/{name}", "/runs/{name}") for name in ("good", "baselines~knn", "odd", "cut", "killed")],
        ("/runs/good/confusion", "/runs/{name}/confusion"),
        ("/runs/good/reliability", "/runs/{name}/reliability"),
        ("/runs/good/errors?limit=2", "/runs/{name}/errors"),
        ("/runs/other-data/errors?limit=2", "/runs/{name}/errors"),
    ],
)
def test_answers_fit_their_schemas(asked: Client, path: str, route: str) -> None:
    document = asked.get("/openapi.json").json()
    content = document["paths"][route]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    schema = {**content, "components": document["components"]}
    response = asked.get(path)
    assert response.status_code == 200
    jsonschema_rs.validate(schema, response.json())
    # It can fail: an answer without its last field does not fit.
    whole = json.loads(response.text)
    whole.popitem()
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(schema, whole)
