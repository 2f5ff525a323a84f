"""figures.style: files whole and repeatable, the user's Matplotlib untouched, text that fits."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarlab import figures
from cifarlab.errors import RunError, UsageError
from cifarlab.figures import plot_right_wrong, style
from cifarlab.figures.style import heading, text_inches


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_content_gives_the_same_file(suffix, tmp_path):
    one, two = (plot_right_wrong(9, 1, tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"'bars\.gif'.*\.png or \.svg"):
        plot_right_wrong(1, 1, tmp_path / "bars.gif")


def test_a_crash_while_drawing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "bars.png"
    path.write_bytes(b"old")

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cifarlab.runs.os.fsync", fail)
    with pytest.raises(RunError, match="No space left"):
        plot_right_wrong(1, 1, path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["bars.png"]


def test_the_users_settings_are_neither_changed_nor_used(tmp_path):
    plain = plot_right_wrong(9, 1, tmp_path / "plain.png").read_bytes()
    with matplotlib.rc_context({"font.size": 40, "text.usetex": True, "savefig.facecolor": "black", "axes.grid": True}):
        before = dict(matplotlib.rcParams)
        assert plot_right_wrong(9, 1, tmp_path / "mine.png").read_bytes() == plain
        assert dict(matplotlib.rcParams) == before


def test_neither_pyplot_nor_torch_is_loaded():
    code = "import sys, cifarlab.figures; print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["False", "False"]


def test_the_public_functions_are_listed():
    assert sorted(name for name in figures.__all__ if name.startswith("plot_")) == sorted(
        name for name in vars(figures) if name.startswith("plot_")
    )


@given(st.text(max_size=60), st.floats(0.3, 4.0))
def test_fitted_text_is_no_wider_than_asked(text, inches):
    assert style.text_inches(style.fit(text, inches=inches, points=10), 10) <= inches


def test_text_that_fits_is_kept_and_longer_text_keeps_both_ends():
    assert style.fit("maple tree", inches=2, points=10) == "maple tree"
    short = style.fit("a very long class name with the number 17", inches=1.5, points=10)
    assert short.startswith("a very")
    assert "…" in short
    assert short.endswith("17")


def test_names_in_other_scripts_and_control_characters_make_valid_svg(tmp_path):
    names = ("猫\x00\x1b[31m\n犬", "ناقة & <b>")
    path = figures.plot_confusion_matrix(np.eye(2, dtype=np.int64), names, tmp_path / "matrix.svg")
    texts = ["".join(node.itertext()).strip() for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert "猫 [31m 犬" in texts
    assert "ناقة & <b>" in texts


@pytest.mark.parametrize("inches", [4.5, 6.0, 9.0])
def test_a_heading_shortens_the_models_name_before_its_own_words(inches):
    title, model = "Output of conv1 (Conv 3x3 same)", "a-run-with-a-very-long-name-of-its-own-0: resnet-preact-56-wide"
    made = heading(title, model, inches=inches, points=12.0)
    assert made.startswith(f"{title} (a")
    assert text_inches(made, 12.0) <= inches
    assert made.endswith(")")


def test_a_heading_with_room_says_all_and_without_a_model_only_its_title():
    assert heading("Filters", "demo: small", inches=9.0, points=12.0) == "Filters (demo: small)"
    assert heading("Filters", "", inches=9.0, points=12.0) == "Filters"


def test_a_heading_too_long_by_itself_still_names_the_model():
    made = heading("Output of " + "layer" * 40, "demo-0: small", inches=4.0, points=12.0)
    assert text_inches(made, 12.0) <= 4.05
    assert "…" in made
    assert made.rstrip(")")[-2:] == "ll"
