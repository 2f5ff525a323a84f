"""comparison.html: self-contained, and what it shows is what was computed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from compared_runs import IMAGES, answers, compared
from page_reader import Page

from cifarlab.reports.comparison import DETAILED, comparison_json, write_comparison
from cifarlab.reports.comparison_figures import GALLERY
from cifarlab.reports.comparison_rows import compare_runs

PICTURES = np.random.default_rng(0).integers(0, 256, size=(IMAGES, 8, 8, 3), dtype=np.uint8)


def two(tmp_path, **options):
    return compare_runs(
        [
            compared(tmp_path, "first", answers(0.7, seed=1), recipe={"name": "one"}, **options),
            compared(tmp_path, "second", answers(0.85, seed=2), recipe={"name": "other"}, **options),
        ],
        resamples=1000,
    )


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_holds_verdict_tables_and_all_figures(tmp_path):
    found = two(tmp_path)
    path = write_comparison(tmp_path / "out", found, images=PICTURES)
    page = read(path)
    assert found.verdicts[0] in page.text
    assert page.text.strip().startswith("first and second compared")
    for heading in ("Which is better", "Scores", "What differs", "Where they differ: first and second", "Curves", "How it was compared"):
        assert heading in page.text
    figures = tmp_path / "out" / "figures"
    drawn = {str(file.relative_to(figures)) for file in figures.rglob("*.png")}
    expected = {"differences.png", "agreement.png", "accuracy.png", "loss.png"}
    assert drawn == expected | {f"pair_1/{name}.png" for name in ("classes", "first_right", "second_right")}
    assert page.tags.count("img") == len(drawn)


def test_the_page_loads_nothing(tmp_path):
    page = read(write_comparison(tmp_path / "out", two(tmp_path), images=PICTURES))
    assert "script" not in page.tags
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert sources
    assert all(value.startswith(("data:", "#")) for value in sources)


def test_the_galleries_count_the_images_that_one_side_alone_has_right(tmp_path):
    found = two(tmp_path)
    test = found.pairs[0].difference.mcnemar
    text = read(write_comparison(tmp_path / "out", found, images=PICTURES)).text
    for name, number in (("first", test.first_only), ("second", test.second_only)):
        shown = f"{number} images" if number <= GALLERY else f"{GALLERY} of the {number} images"
        assert f"{shown} that {name} has right" in text
    assert test.first_only <= GALLERY < test.second_only, "both ways of saying it are looked at"


def test_without_images_the_page_says_so(tmp_path):
    text = read(write_comparison(tmp_path / "out", two(tmp_path))).text
    assert "The images on which they disagree are not shown" in text


def test_another_number_of_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="10 images were given for 300"):
        write_comparison(tmp_path / "out", two(tmp_path), images=PICTURES[:10])


def test_the_same_runs_give_the_same_page(tmp_path):
    found = two(tmp_path)
    pages = [write_comparison(tmp_path / name, found, images=PICTURES).read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_names_cannot_become_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    found = two(tmp_path)
    object.__setattr__(found.groups[0], "label", evil)
    page = read(write_comparison(tmp_path / "out", found))
    assert "script" not in page.tags
    assert evil in page.text


def test_of_many_pairs_the_nearest_rivals_of_the_best_are_shown(tmp_path):
    runs = [compared(tmp_path, f"r{i}", answers(0.5 + 0.08 * i, seed=i), recipe={"name": f"r{i}"}) for i in range(4)]
    text = read(write_comparison(tmp_path / "out", compare_runs(runs, resamples=1000))).text
    assert text.count("Where they differ:") == DETAILED
    assert "Where they differ: r2 and r3" in text
    assert "Where they differ: r1 and r3" in text
    assert "p-values are corrected for 6 comparisons" in text
    assert "Classes and images are shown for 2 of 6 pairs" in text


def test_json_holds_the_numbers(tmp_path):
    found = two(tmp_path)
    value = json.loads(json.dumps(comparison_json(found), allow_nan=False))
    assert value["split"] == "test"
    assert value["images"] == IMAGES
    assert [run["name"] for run in value["runs"]] == ["first", "second"]
    pair, one = value["pairs"][0], found.pairs[0].difference
    assert pair["difference"] == {"value": one.value, "low": one.low, "high": one.high}
    assert pair["mcnemar"]["first_only"] == one.mcnemar.first_only
    assert pair["verdict"] == found.verdicts[0]
    assert value["differing"] == {"name": ["one", "other"]}
    assert value["page"] is None
