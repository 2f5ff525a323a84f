"""`cifarlab models`: the list, one network layer by layer, the arithmetic, and what is wrong in print."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable

import pytest
import torch
from tiny_run import Command

from cifarlab.models import create_model, measure_model, model_names, model_summary

Refused = Callable[..., str]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let stdout look like a terminal of so many columns."""

    def become(columns: int) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setattr(shutil, "get_terminal_size", lambda *args: os.terminal_size((columns, 24)))

    return become


def table_row(out: str, layer: str) -> list[str]:
    """The cells of the row of `layer`: number, layer, type, output, params, field, multiply-adds."""
    line = next(line for line in out.splitlines() if re.match(rf"\s+\d+\s+{re.escape(layer)}\s", line))
    return re.split(r"\s{2,}", line.strip())


def layer_text(out: str, number: int) -> str:
    """What --explain says of one layer, in one line."""
    found = re.search(rf"\n +{number}  \S+: .*?\n\n", out + "\n\n", re.DOTALL)
    assert found is not None
    return " ".join(found[0].split())


# -- the list -----------------------------------------------------------------------------------------------------


def test_the_list_has_every_network_with_its_measured_size(command: Command) -> None:
    listed = {row["name"]: row for row in json.loads(command("models", "--json").out)}
    assert set(listed) == set(model_names())
    for name in ("lab-base", "speednet", "thesis18"):
        size = measure_model(create_model(name))
        told = {key: listed[name][key] for key in ("parameters", "trainable", "multiply_adds", "depth")}
        assert told == {key: getattr(size, key) for key in told}


def test_the_list_counts_as_people_do_and_gives_each_number_once(command: Command) -> None:
    lines = command("models").out.splitlines()
    names = [line.split()[0] for line in lines[2:] if line.strip()]
    assert sorted(names) == list(model_names())
    assert names.index("resnet18") < names.index("resnet20") < names.index("resnet110")
    assert not re.search(r"\d parameters", "\n".join(lines))  # they have a column
    lenet = next(line for line in lines if line.split()[:1] == ["lenet5"])
    assert "62 050" in lenet
    assert "LeNet-5 with trainable subsampling, for colour images" in lenet


def test_looking_leaves_the_number_of_threads_alone(command: Command) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        command("models", "lab-base")
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_narrow_terminal_gets_the_numbers_and_a_hint(command: Command, terminal: Callable[[int], None]) -> None:
    terminal(80)
    outcome = command("models")
    assert "24 666" in outcome.out
    assert "what it is" not in outcome.out
    assert "cifarlab models show NAME" in outcome.err


# -- one network --------------------------------------------------------------------------------------------------


def test_a_network_is_shown_layer_by_layer(command: Command) -> None:
    out = command("models", "show", "lab-base").out
    assert out.startswith(f"lab-base: {model_summary('lab-base')}\n")
    # The published table of this network: shapes and parameters.
    assert table_row(out, "conv1")[3:5] == ["30x30x16", "448"]
    assert table_row(out, "pool1")[3:5] == ["14x14x16", "0"]
    assert table_row(out, "conv4")[2:] == ["conv 3x3 valid, ReLU", "10x10x32", "9 248", "14", "921 600"]
    assert table_row(out, "dense")[3:6] == ["10", "8 010", "image"]
    assert "published         24 666 (lab report)" in out


def test_totals_are_told_as_keras_tells_them(command: Command) -> None:
    out = command("models", "show", "thesis18").out
    assert re.search(r"total parameters +551 978 \(2\.11 MiB in float32\)\n", out)  # 551 978 * 4 / 2^20
    assert re.search(r"trainable +551 274\nnon-trainable +704\n", out)
    assert re.search(r"published +551 978, 704 of them non-trainable \(master's thesis\)\n", out)


def test_the_layers_of_a_block_stand_under_its_name(command: Command) -> None:
    lines = [line.split() for line in command("models", "show", "resnet20").out.splitlines()]
    block = lines.index(["stage2_block1"])
    assert [cells[1] for cells in lines[block + 1 : block + 7]] == ["shortcut", "conv1", "norm1", "conv2", "norm2", "add"]
    assert lines.count(["stage2_block1"]) == 1


def test_json_gives_what_the_table_shows(command: Command) -> None:
    shown = json.loads(command("models", "show", "lenet5", "--json").out)
    by_name = {layer["name"]: layer for layer in shown["layers"]}
    assert by_name["c3"]["output_shape"] == [10, 10, 16]
    assert by_name["c3"]["parameters"] == 2416
    assert by_name["c5"]["receptive_field"] == 32
    assert by_name["head"]["receptive_field"] == "image"
    size = measure_model(create_model("lenet5"))
    assert (shown["parameters"], shown["non_trainable"], shown["multiply_adds"]) == (size.parameters, size.frozen, size.multiply_adds)
    assert "arithmetic" not in by_name["c3"]
    assert shown["arguments"] == {"sparse": False}


def test_a_name_alone_shows_the_network(command: Command) -> None:
    assert command("models", "lab-base").out == command("models", "show", "lab-base").out
    assert command("models", "--json", "lab-base").out == command("models", "show", "lab-base", "--json").out


def test_size_classes_and_arguments_change_the_network(command: Command) -> None:
    shown = command("models", "wrn-16-4", "--set", "width=2", "--set", "dropout=0.3", "--image-size", "48", "--classes", "3", "--json")
    told = json.loads(shown.out)
    size = measure_model(create_model("wrn-16-4", num_classes=3, image_size=48, arguments={"width": 2, "dropout": 0.3}), image_size=48)
    assert (told["parameters"], told["multiply_adds"]) == (size.parameters, size.multiply_adds)
    assert told["arguments"] == {"depth": 16, "width": 2, "dropout": 0.3}
    assert "dropout 0.3" in {layer["type"] for layer in told["layers"]}


def test_a_changed_network_is_not_held_against_the_published_one(command: Command) -> None:
    out = command("models", "show", "lab-base", "--classes", "3").out
    assert "published" not in out
    assert "input 32x32x3, 3 classes" in out


def test_a_narrow_terminal_drops_the_column_that_does_not_fit(command: Command, terminal: Callable[[int], None]) -> None:
    terminal(80)
    outcome = command("models", "show", "lab-base")
    assert table_row(outcome.out, "conv4")[2:] == ["conv 3x3 valid, ReLU", "10x10x32", "9 248", "14"]
    assert "multiply-adds of each layer: in a wider terminal" in outcome.err
    terminal(100)
    assert table_row(command("models", "show", "lab-base").out, "conv4")[-1] == "921 600"


# -- arithmetic and slips -----------------------------------------------------------------------------------------


def test_explain_puts_the_numbers_into_the_formulas(command: Command) -> None:
    text = layer_text(command("models", "show", "lab-base", "--explain").out, 4)
    assert "output (14 - 3 + 2*0)/1 + 1 = 12" in text
    assert "parameters 3*3*16*32 + 32 = 4 640" in text
    assert "multiply-adds 3*3*16*32 * 12*12 = 663 552" in text
    assert "receptive field 6 + (3 - 1)*2 = 10 px" in text


def test_without_explain_there_is_neither_arithmetic_nor_slip(command: Command) -> None:
    out = command("models", "show", "thesis18").out
    assert "wrong in print" not in out
    assert "(32 - 3" not in out


def test_the_misprint_of_the_thesis_stands_beside_the_right_shape(command: Command) -> None:
    out = command("models", "show", "thesis18", "--explain").out
    assert "conv6: conv 3x3 same, ReLU -> 8x8x128" in layer_text(out, 10)
    assert "wrong in print 4,4,128; right: 8,8,128." in layer_text(out, 10)
    assert out.count("wrong in print") == 2
    assert re.search(r"wrong in print +test images, right and wrong: 7 874 right and 2 122 wrong .*7 874 \+ 2 122 = 9 996", out)


@pytest.mark.parametrize(
    ("network", "layer", "printed", "right"),
    [("lenet5", 3, "416", "2 416"), ("lenet5", 8, "924", "850"), ("slides-m2", 9, "367 712", "122 570")],
)
def test_other_slips_stand_beside_the_right_figure(command: Command, network: str, layer: int, printed: str, right: str) -> None:
    out = command("models", "show", network, "--explain").out
    text = layer_text(out, layer) if network == "lenet5" else out
    assert f"{printed}; right: {right}." in text


def test_a_slip_is_told_where_the_variant_lacks_its_layer(command: Command) -> None:
    out = command("models", "show", "lenet5", "--explain", "--set", "sparse=true").out
    assert "second convolution, parameters: 416; right: 2 416." in out


def test_explained_json_holds_arithmetic_and_slips(command: Command) -> None:
    shown = json.loads(command("models", "show", "thesis18", "--explain", "--json").out)
    assert shown["layers"][0]["arithmetic"]["parameters"] == "3*3*3*32 + 32 = 896"
    assert [slip["layer"] for slip in shown["wrong_in_print"]] == ["conv6", None]


def test_lines_are_wrapped_to_the_terminal_with_numbers_whole(command: Command, terminal: Callable[[int], None]) -> None:
    terminal(72)
    explained = command("models", "show", "slides-m2", "--explain").out.partition("wrong in print")[2]
    lines = explained.splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 72 for line in lines[1:])
    assert all(line.startswith(" " * 22) for line in lines[1:] if line)
    assert re.search(r"367 712(.|\n)*122 570", explained)
    assert not re.search(r"\d\n +\d{3}\b", explained)


# -- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "lab-bse"], "unknown model 'lab-bse'; did you mean 'lab-base'?"),
        (["lab-bse"], "unknown model 'lab-bse'; did you mean 'lab-base'?"),
        (["shwo", "lab-base"], "No such command 'shwo'. Did you mean 'show'?"),
        (["show"], "Missing argument 'NAME'"),
        (["show", "lab-base", "resnet20"], "unexpected extra argument"),
        (["show", "lab-base", "--image-size", "8"], "image_size must be at least 16, not 8"),
        (["show", "lab-base", "--image-size", "513"], "Invalid value for '--image-size'"),
        (["show", "lab-base", "--classes", "0"], "Invalid value for '--classes'"),
        (["show", "wrn-16-4", "--set", "widht=2"], "unknown argument 'widht'; did you mean 'width'?"),
        (["show", "wrn-16-4", "--set", "width=many"], "argument width"),
        (["show", "wrn-16-4", "--set", "width"], "write KEY=VALUE"),
    ],
)
def test_mistakes_are_named(refused: Refused, arguments: list[str], message: str) -> None:
    assert message in refused("models", *arguments)
