"""An exported bundle says what its run says; what an export refuses, and that it leaves nothing then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from small_settings import SETTINGS

import cifarlab
from cifarlab.bundle import read_description
from cifarlab.bundle.export import new_bundle
from cifarlab.data import load_splits
from cifarlab.errors import BundleError, RunError, UsageError
from cifarlab.runs import Predictions, RunDirectory


def images(n: int = 60) -> list[Any]:
    return list(load_splits("digits").test.images[:n])


def small(folder: Path, **overrides: object) -> Path:
    """One step of a small network."""
    settings = {**SETTINGS, "train.duration": "1st", **overrides}
    return cifarlab.train("digits", overrides=settings, name="other", runs=folder, device="cpu", report=False).path


# -- what it holds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-6), (True, 1e-3)])
def test_a_bundle_gives_what_the_run_gives_at_its_temperature(small_run: Path, tmp_path: Path, half: bool, tolerance: float) -> None:
    model = cifarlab.load(cifarlab.export(small_run, tmp_path / "b", half=half, device="cpu"), device="cpu")
    stored = Predictions.load(small_run / "predictions" / "test.npz")
    for views, logits in (("six", stored.final_logits), ("none", stored.logits)):
        temperature = model.description["calibration"]["views"][views]["temperature"]
        predicted = model.predict(images(), tta=views)
        expected = softmax(logits[:60].astype(np.float64) / temperature, axis=1)
        np.testing.assert_allclose(predicted.probabilities, expected, atol=tolerance)
        assert predicted.labels == [stored.class_names[k] for k in logits[:60].argmax(1)]


def test_recorded_parity_is_what_the_two_files_give(small_run: Path, small_bundle: Path) -> None:
    parity = read_description(small_bundle)["parity"]
    run, bundle = cifarlab.load(small_run, device="cpu"), cifarlab.load(small_bundle, device="cpu")
    stored = Predictions.load(small_run / "predictions" / "validation.npz")
    train = load_splits("digits").train
    wanted = [int(np.flatnonzero(train.sample_ids == name)[0]) for name in stored.sample_ids]
    temperature = bundle.description["calibration"]["views"]["six"]["temperature"]
    full = run.engine.logits(train.images[wanted], views="six").astype(np.float64) / temperature
    half = bundle.engine.logits(train.images[wanted], views="six").astype(np.float64) / temperature
    assert parity["max_abs_probability_difference"] == pytest.approx(np.abs(softmax(full, 1) - softmax(half, 1)).max(), abs=1e-6)
    assert (parity["n"], parity["images"]) == (144, "validation")
    assert parity["labels_equal"] == (full.argmax(1) == half.argmax(1)).sum()
    assert 0 < parity["max_abs_probability_difference"] < 1e-3


def test_only_large_tensors_are_halved(small_run: Path, small_bundle: Path) -> None:
    full = load_file(small_run / read_description(small_run)["weights"])
    stored = load_file(small_bundle / "model.safetensors")
    assert stored.keys() == full.keys()
    for name, value in stored.items():
        assert (value.dtype == torch.float16) == (full[name].is_floating_point() and full[name].numel() >= 4096)
        torch.testing.assert_close(value.to(full[name].dtype), full[name], rtol=1e-3, atol=1e-6)
    assert any(value.dtype == torch.float16 for value in stored.values())


def test_full_precision_is_the_runs_own(small_run: Path, tmp_path: Path) -> None:
    folder = cifarlab.export(small_run, tmp_path / "b", half=False, device="cpu")
    full, stored = load_file(small_run / read_description(small_run)["weights"]), load_file(folder / "model.safetensors")
    assert all(torch.equal(stored[name], full[name]) for name in full)
    assert read_description(folder)["parity"] is None


def test_the_description_tells_where_the_model_comes_from(small_run: Path, small_bundle: Path) -> None:
    description = read_description(small_bundle)
    metrics, env = (json.loads((small_run / name).read_text()) for name in ("metrics.json", "env.json"))
    for split in ("validation", "test"):
        assert description["metrics"][split]["accuracy"] == metrics[split]["accuracy"]
        assert description["dataset"]["checksums"][split] == env[f"checksum_{split}"]
    assert description["trained_with"]["torch"] == torch.__version__
    assert description["recipe"]["optim"]["lr"] == SETTINGS["optim.lr"]
    assert description["license"] == "mit"
    assert description["calibration"]["checksum"] == env["checksum_validation"]


def test_the_test_split_changes_no_calibration(run_copy: Path, small_bundle: Path, tmp_path: Path) -> None:
    reads = RunDirectory.open(run_copy).status()["test_reads"]
    (run_copy / "predictions" / "test.npz").unlink()
    fitted = read_description(cifarlab.export(run_copy, tmp_path / "b", device="cpu"))["calibration"]
    before = read_description(small_bundle)["calibration"]
    assert fitted.pop("confirmed") is None
    assert before.pop("confirmed")["split"] == "test"
    assert fitted == before
    assert RunDirectory.open(run_copy).status()["test_reads"] == reads


def test_missing_validation_predictions_are_made(run_copy: Path, small_bundle: Path, tmp_path: Path) -> None:
    (run_copy / "predictions" / "validation.npz").unlink()
    folder = cifarlab.export(run_copy, tmp_path / "b", device="cpu")
    fitted, before = (read_description(each)["calibration"]["views"]["six"]["temperature"] for each in (folder, small_bundle))
    assert fitted == pytest.approx(before, rel=1e-4)


def test_about_the_target_share_is_unlike(small_run: Path, small_bundle: Path) -> None:
    model = cifarlab.load(small_bundle, device="cpu")
    predicted = model.predict(images(300))
    assert predicted.unlike is not None
    assert predicted.score is not None
    assert 0.005 < predicted.unlike.mean() < 0.15  # 5 % of the 144 validation images; these are others
    np.testing.assert_array_equal(predicted.unlike, predicted.score > model.description["calibration"]["views"]["six"]["threshold"])


@pytest.mark.parametrize(
    "overrides", [{"data.validation": 0}, {"data.validate_on": "test", "data.validation": 0}, {"data.validation": 0.02}]
)
def test_without_a_validation_split_of_its_own_nothing_is_calibrated(tmp_path: Path, overrides: dict[str, object]) -> None:
    run = small(tmp_path, **overrides)
    notes: list[str] = []
    model = cifarlab.load(cifarlab.export(run, tmp_path / "b", device="cpu", note=notes.append), device="cpu")
    assert any(note.startswith("no calibration: ") for note in notes)
    assert model.description["calibration"] is None
    assert model.description["parity"]["images"] == ("validation" if overrides == {"data.validation": 0.02} else "train")
    predicted = model.predict(images(3))
    assert predicted.unlike is None
    assert predicted.score is None
    np.testing.assert_allclose(predicted.probabilities, cifarlab.load(run, device="cpu").predict(images(3)).probabilities, atol=1e-3)
    assert (
        "No calibration" in (tmp_path / "b" / "README.md").read_text()
        or "Calibration\n\nNone" in (tmp_path / "b" / "README.md").read_text()
    )


# -- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [True, False])
def test_weights_whose_answers_overflow_are_refused(run_copy: Path, tmp_path: Path, half: bool) -> None:
    file = run_copy / read_description(run_copy)["weights"]
    values = load_file(file)
    small = {name for name, value in values.items() if value.is_floating_point() and value.numel() < 4096}
    save_file({name: torch.full_like(value, 3e38) if name in small else value for name, value in values.items()}, file)
    with pytest.raises(BundleError, match="values that are not finite"):
        cifarlab.export(run_copy, tmp_path / "b", half=half, device="cpu")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("state", ["running", "preempted", "failed"])
def test_an_unfinished_run_is_refused(run_copy: Path, tmp_path: Path, state: str) -> None:
    RunDirectory.open(run_copy).update_status(state=state)
    with pytest.raises(RunError, match=f"is {state}, not done.*--resume"):
        cifarlab.export(run_copy, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_folder_with_something_in_it_is_refused(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(UsageError, match=r"not empty and holds what no export wrote \(thesis.tex\)"):
            cifarlab.export(small_run, tmp_path, force=force)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("given", [".", "..", "/", ""])
def test_a_folder_without_a_name_is_refused(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UsageError, match="no name of a folder"):
        cifarlab.export(small_run, given)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["empty"]


def test_an_empty_folder_is_taken(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    assert cifarlab.export(small_run, tmp_path / "b", half=False, device="cpu") == tmp_path / "b"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_a_bundle_is_replaced_only_by_force(small_run: Path, bundle_copy: Path) -> None:
    before = (bundle_copy / "bundle.json").read_bytes()
    with pytest.raises(UsageError, match="--force"):
        cifarlab.export(small_run, bundle_copy)
    assert (bundle_copy / "bundle.json").read_bytes() == before
    cifarlab.export(small_run, bundle_copy, half=False, force=True, device="cpu")
    assert read_description(bundle_copy)["precision"] == "float32"
    assert [entry.name for entry in bundle_copy.parent.iterdir()] == [bundle_copy.name]


def test_a_file_in_the_place_is_refused(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("")
    with pytest.raises(UsageError, match="exists and is not a folder"):
        cifarlab.export(small_run, tmp_path / "b", force=True)


def test_every_problem_of_a_request_is_told_at_once(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("")
    with pytest.raises(UsageError) as caught:
        cifarlab.export(small_run, tmp_path / "b", to=["onx"], license="my own!")
    for part in ("unknown format 'onx'; did you mean 'onnx'?", "licence 'my own!'", "exists and is not a folder"):
        assert part in str(caught.value)


def test_what_half_precision_cannot_hold_is_refused(run_copy: Path, tmp_path: Path) -> None:
    file = run_copy / read_description(run_copy)["weights"]
    tensors = load_file(file)
    largest = max(tensors, key=lambda name: tensors[name].numel())
    tensors[largest].view(-1)[0] = 1e6
    save_file(tensors, file)
    with pytest.raises(BundleError, match=f"{largest} has values beyond 65504.*--no-half"):
        cifarlab.export(run_copy, tmp_path / "b", device="cpu")
    assert [entry.name for entry in tmp_path.iterdir()] == [run_copy.name]
    assert cifarlab.export(run_copy, tmp_path / "b", half=False, device="cpu").is_dir()


def test_what_half_precision_changes_too_much_is_refused(run_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifarlab.bundle.export.MOST_DIFFERENCE", 1e-9)
    with pytest.raises(BundleError, match="half precision changes a probability by"):
        cifarlab.export(run_copy, tmp_path / "b", device="cpu")
    assert [entry.name for entry in tmp_path.iterdir()] == [run_copy.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, RunError])
def test_an_export_that_breaks_off_leaves_what_was_there(bundle_copy: Path, error: type[BaseException]) -> None:
    before = (bundle_copy / "bundle.json").read_bytes()

    def break_off() -> None:
        with new_bundle(bundle_copy, force=True) as folder:
            (folder / "bundle.json").write_text("{}")
            raise error

    with pytest.raises(error):
        break_off()
    assert (bundle_copy / "bundle.json").read_bytes() == before
    assert [entry.name for entry in bundle_copy.parent.iterdir()] == [bundle_copy.name]


def test_a_run_whose_data_has_changed_is_refused(run_copy: Path, tmp_path: Path) -> None:
    env = json.loads((run_copy / "env.json").read_text())
    (run_copy / "env.json").write_text(json.dumps({**env, "checksum_validation": "0" * 64}))
    with pytest.raises(RunError, match="checksum of the validation images differs"):
        cifarlab.export(run_copy, tmp_path / "b", device="cpu")
    assert not (tmp_path / "b").exists()


def test_a_bundle_needs_nothing_of_its_run(small_bundle: Path, bundle_copy: Path) -> None:
    (bundle_copy / "README.md").unlink()
    np.testing.assert_array_equal(
        cifarlab.load(bundle_copy, device="cpu").predict(images(3)).probabilities,
        cifarlab.load(small_bundle, device="cpu").predict(images(3)).probabilities,
    )


def test_a_single_format_needs_no_list(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown format 'onxx'") as caught:
        cifarlab.export(tmp_path, tmp_path / "b", to="onxx")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["inner", "new/inner"])
def test_a_folder_inside_a_bundle_is_refused(small_run: Path, bundle_copy: Path, name: str) -> None:
    with pytest.raises(UsageError, match="lies inside the bundle"):
        cifarlab.export(small_run, bundle_copy / name, device="cpu", force=True)
    assert not (bundle_copy / name.split("/")[0]).exists()
