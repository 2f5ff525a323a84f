"""`cifarlab export` and `cifarlab hub`: what they print, what they refuse, with which exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import Command

Refused = Callable[..., str]


@pytest.fixture
def bundle(command: Command, run: Path) -> Path:
    outcome = command("export", run, "-o", "out/tiny", "--device", "cpu")
    assert outcome.code == 0, outcome
    return Path("out/tiny")


def test_the_summary_is_a_table_and_the_next_step(command: Command, run: Path) -> None:
    outcome = command("export", run, "-o", "b", "--device", "cpu")
    assert outcome.code == 0
    for part in ("validation accuracy", "half precision", "temperature", "unlike the training data", "b/README.md"):
        assert part in outcome.out
    assert outcome.err == "next: cifarlab predict --model b IMAGE...\n"


def test_json_is_the_description(command: Command, run: Path) -> None:
    outcome = command("export", run, "--output", "b", "--no-half", "--license", "cc-by-4.0", "--device", "cpu", "--json")
    shown = json.loads(outcome.out)
    assert shown.pop("bundle") == "b"
    assert shown == json.loads(Path("b/bundle.json").read_text(encoding="utf-8"))
    assert (shown["precision"], shown["license"]) == ("float32", "cc-by-4.0")


def test_a_bundle_predicts_as_its_run(command: Command, run: Path, bundle: Path) -> None:
    from PIL import Image

    Image.new("RGB", (50, 40), (200, 30, 90)).save("a.png")
    asked = [json.loads(command("predict", model, "a.png", "--json").out)["images"][0] for model in (run, bundle)]
    assert asked[0]["predictions"][0]["label"] == asked[1]["predictions"][0]["label"]
    assert [each["unlike"] is None for each in asked] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/nope", "-o", "b"], "no run at runs/nope"),
        (["runs/tinny", "-o", "b"], "Did you mean runs/tiny?"),
        (["runs/tiny"], "Missing option '--output'"),
        (["runs/tiny", "-o", "b", "--to", "onx"], "unknown format 'onx'; did you mean 'onnx'?"),
        (["runs/tiny", "-o", "b", "--license", "??"], "licence '??'"),
        (["runs/tiny", "-o", "runs"], "not empty and holds what no export wrote (tiny)"),
        (["runs/tiny", "-o", "runs/tiny", "--force"], "holds what no export wrote"),
        (["runs/tiny", "-o", "b", "--device", "gpu"], "unknown device 'gpu'"),
    ],
)
def test_mistakes_are_usage_errors(run: Path, refused: Refused, arguments: list[str], message: str) -> None:
    assert message in refused("export", *arguments)


def test_an_interrupt_is_one_line_and_leaves_nothing(command: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cifarlab.bundle.export.add_formats", interrupted)
    assert command("export", run, "-o", "b", "--device", "cpu") == (130, "", "interrupted: nothing was written to b\n")
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_an_unfinished_run_is_a_failure(run: Path, refused: Refused) -> None:
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "preempted"}))
    assert "is preempted, not done" in refused("export", run, "-o", "b", code=1)


def test_a_bundle_is_replaced_only_by_force(command: Command, run: Path, bundle: Path) -> None:
    refusal = command("export", run, "-o", bundle)
    assert (refusal.code, refusal.out) == (2, "")
    assert "--force" in refusal.err
    assert command("export", run, "-o", bundle, "--force", "--device", "cpu").code == 0


@pytest.mark.parametrize("how", [lambda content: content[:-1], lambda content: content[:-1] + b"\0"])
def test_a_damaged_bundle_is_a_failure(bundle: Path, refused: Refused, how: Callable[[bytes], bytes]) -> None:
    file = bundle / "model.safetensors"
    file.write_bytes(how(file.read_bytes()))
    assert "model.safetensors is damaged" in refused("predict", bundle, "a.png", code=1)


def test_a_bundle_is_copied_with_what_is_asked_for(command: Command, bundle: Path) -> None:
    outcome = command("export", bundle, "-o", "copy", "--license", "mit")
    assert outcome.code == 0, outcome
    before, after = (json.loads((folder / "bundle.json").read_text()) for folder in (bundle, Path("copy")))
    assert {**before, "name": "copy", "license": "mit"} == after
    assert (Path("copy") / "model.safetensors").read_bytes() == (bundle / "model.safetensors").read_bytes()
    assert "published under mit" in (Path("copy") / "README.md").read_text()


def test_the_shipped_model_says_how_it_becomes_onnx(run: Path, refused: Refused) -> None:
    told = refused("predict", "a.png", "--engine", "onnx")
    assert "cifarlab export cifar10-fast -o my-model --to onnx" in " ".join(told.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["push", "runs/tiny", "someone/small"], "is a run directory, not a bundle"),
        (["push", "out/tiny", "small"], "give OWNER/NAME"),
        (["push", "nope", "someone/small"], "nope is not a trained model"),
        (["pull", "small", "-o", "new"], "give OWNER/NAME"),
        (["pull", "someone/small", "-o", "runs"], "holds what no export wrote"),
    ],
)
def test_hub_mistakes_are_usage_errors(bundle: Path, refused: Refused, arguments: list[str], message: str) -> None:
    assert message in refused("hub", *arguments)
