"""reports.reproduction: one page and one Markdown file that say the same, with every figure of every report."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
from page_reader import Page
from reproduced_runs import IMAGES, make_cell

from cifarlab.published import FIGURES, get_system
from cifarlab.reports import CellResult, ReportImages, StudyResult, write_reproduction
from cifarlab.reports.reproduction_rows import collect_rows

COMMAND = "cifarlab reproduce --seeds 2"


def images_of(run) -> ReportImages:
    rng = np.random.default_rng(1)
    return ReportImages(
        class_counts={"train": np.full(10, 425), "validation": np.full(10, 75)},
        samples=rng.integers(0, 256, size=(36, 8, 8, 3), dtype=np.uint8),
        sample_labels=np.arange(36) % 10,
        evaluated={"test": rng.integers(0, 256, size=(IMAGES, 8, 8, 3), dtype=np.uint8)},
    )


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    parent = tmp_path_factory.mktemp("runs")
    mse = [
        {"epoch": i, "train_accuracy": 0.3 * i, "validation_accuracy": 0.25 * i, "train_loss": 2 / i, "train_mse": 0.1} for i in (1, 2, 3)
    ]
    kept = {"status": {"selected": "best", "best_epoch": 2}, "recipe": {"train": {"select": "best"}}}
    kept_rows = [
        {"epoch": i, "train_accuracy": 0.9, "validation_accuracy": value, "train_loss": 1.0} for i, value in ((1, 0.8), (2, 0.9), (3, 0.88))
    ]
    return [
        make_cell(parent, "thesis18", "published", accuracy=0.8),
        make_cell(parent, "thesis18", "corrected", accuracy=0.79),
        make_cell(parent, "report10", "published", accuracy=0.4, rows=mse),
        make_cell(parent, "resnet20", "published", planned="200ep", rows=kept_rows, **kept),
        make_cell(parent, "resnet20", "corrected", planned="200ep", rows=kept_rows),
        make_cell(parent, "slides-final", "published", 0, rows=[{**row, "l2_penalty": 0.25} for row in mse]),
        make_cell(parent, "slides-final", "published", 1, rows=[{**row, "l2_penalty": 0.25} for row in mse]),
        CellResult("lab-final", "published", 0, None, "needs about 9.0 min, <3.0> were left"),
        CellResult("slides-final", "published", 2, None, "the loss is nan"),
    ]


@pytest.fixture(scope="module")
def written(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    studies = [StudyResult("resnet20", "batch size", 128, cells[3].run), StudyResult("resnet20", "batch size", 32, None, "too long")]
    html, markdown = write_reproduction(folder, cells, images_of=images_of, studies=studies, command=COMMAND)
    return folder, Page(html.read_text(encoding="utf-8")), markdown.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(written):
    return written[1]


@pytest.fixture(scope="module")
def prose(written):
    """The Markdown with its line breaks and escapes undone."""
    return re.sub(r"\s+", " ", re.sub(r"\\([\\`*<|])", r"\1", written[2]))


def test_the_page_is_self_contained(written, page):
    loaded = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in loaded)
    assert not {"script", "link", "iframe"} & set(page.tags)
    anchors = {value for name, value in page.attributes if name == "id"}
    assert {value[1:] for name, value in page.attributes if name == "href"} == anchors


def test_every_picture_in_the_folder_is_in_the_page(written, page):
    folder = written[0]
    embedded = [base64.b64decode(value.partition(",")[2]) for name, value in page.attributes if name == "src"]
    assert sorted(embedded) == sorted(file.read_bytes() for file in (folder / "figures").rglob("*.png"))
    assert all(value for name, value in page.attributes if name == "alt")


@pytest.mark.parametrize("system", ["thesis18", "report10", "slides-final"])
def test_every_figure_of_a_report_is_drawn(system, written):
    drawn = {file.stem for file in (written[0] / "figures" / system).iterdir()}
    curves = {"accuracy": "accuracy_published", "loss": "loss_published", "mse": "mse_published"}
    wanted = {curves.get(key, key) for key in get_system(system).figures} - {"machines"}
    assert wanted <= drawn
    assert {"accuracies.png", "error_rates.png"} <= {file.name for file in (written[0] / "figures").iterdir()}


def test_figures_that_cannot_be_drawn_are_named_with_the_reason(cells, tmp_path):
    html, _ = write_reproduction(tmp_path, [cells[0], CellResult("lab-final", "published", 0, None, "later")])
    text = Page(html.read_text()).text
    assert f"{FIGURES['samples']}: the images are not at hand" in text
    assert f"{FIGURES['activations']}: the images are not at hand" in text
    assert f"{FIGURES['accuracy']}: no finished run" in text
    assert f"{FIGURES['confusion_matrix']}:" not in text


def test_both_files_hold_claimed_and_measured_figures(cells, page, prose):
    for row in collect_rows(cells):
        for text in (page.text, prose):
            assert f"{100 * row.system.headline.accuracy:.2f}" in text
            if row.done:
                assert f"{100 * row.accuracy.mean:.2f}" in text
                assert f"{100 * row.expected.low:.2f} to {100 * row.expected.high:.2f}" in text.replace("\xa0", " ")
                assert f"{row.loss:.4f}" in text
                assert f"{row.mse:.4f}" in text
                assert row.done[0].machine in text
                assert f"{row.system.name}, {row.protocol_name}: {row.verdict_name}." in text


def test_loss_stands_with_and_without_the_penalty(cells, page, prose):
    row = next(row for row in collect_rows(cells) if row.system.name == "slides-final")
    assert f"with L2: {row.loss + 0.25:.4f}" in page.text.replace("\xa0", " ")
    assert f"{row.loss + 0.25:.4f}" in prose


def test_cells_without_a_result_are_shown_with_their_reason(page, prose):
    for text in (page.text, prose):
        assert "lab-final, as published, seed 0: needs about 9.0 min, <3.0> were left" in text
        assert "slides-final, as published, seed 2: the loss is nan" in text
        assert "resnet20, batch size 32: too long" in text
        assert "5 systems, 7 of 9 runs finished" in text


def test_shortened_runs_are_marked(page, prose):
    assert "3 of 200 epochs" in page.text.replace("\xa0", " ")
    assert "Trained for 3 of 200 epochs only, which says nothing of the claimed" in prose


def test_what_choosing_on_the_test_split_was_worth_is_said(page, prose):
    for text in (page.text, prose):
        assert "let the test split choose" in text
        assert "has 90.00 %, the last one 88.00 %: keeping the best by the test split, not the last, was worth +2.00 points" in text
        assert "thesis18. The published protocol trained on 50\xa0000 images and looked at the test split" in text.replace(
            "50 000", "50\xa0000"
        ).replace("**", "")
        assert "from one seed nobody can tell" in text or "no more than chance explains" in text


def test_the_per_class_report_stands_beside_the_printed_one(cells, written, page):
    row = next(row for row in collect_rows(cells) if row.system.name == "slides-final")
    for score in get_system("slides-final").per_class:
        ours = [
            np.mean([line[key] for run in row.done for line in run.score["per_class"] if line["name"] == score.name])
            for key in ("precision", "recall", "f1")
        ]
        cells_of = " ".join(f"{told:.2f} {own:.3f}" for told, own in zip((score.precision, score.recall, score.f1), ours, strict=True))
        assert f"{score.name} {cells_of}" in page.text
    assert "macro average 0.86" in page.text
    assert "mean of 2 runs" in page.text


def test_the_thesis_has_its_table_of_machines(page):
    text = page.text.replace("\xa0", " ")
    assert "claimed: laptop laptop (i5-4200H, GTX 850M) 1 h 31 min 20 - 78.74 %" in text
    assert "claimed: Colab Colab GPU 11 min 00 s 20 - 77.91 %" in text
    assert "thesis18-published-0 A processor, 2 threads 1 min 00 s 3 90.00 % 80.00 %" in text


def test_slips_stand_beside_what_is_right(page, prose):
    for slip in get_system("thesis18").slips:
        for text in (page.text, prose):
            assert slip.printed in text
            assert slip.right in text
            assert slip.why in text


def test_markdown_tables_are_aligned_and_have_the_same_columns_in_every_line(written):
    blocks = re.findall(r"(?:^\|.*\|\n)+", written[2], flags=re.MULTILINE)
    assert len(blocks) > 5
    for block in blocks:
        lines = block.splitlines()
        assert len({len(line) for line in lines}) == 1
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert set(lines[1]) <= set("|-:")


def test_the_markdown_can_be_read_in_a_terminal(written):
    prose_lines = [line for line in written[2].splitlines() if not line.startswith("|")]
    assert max(map(len, prose_lines)) <= 120
    assert "<br" not in written[2]
    assert COMMAND in written[2]


def test_the_same_files_give_the_same_pages(cells, tmp_path):
    chosen = [cells[5], cells[7]]
    contents = []
    for name in ("a", "b"):
        contents.append([path.read_bytes() for path in write_reproduction(tmp_path / name, chosen, images_of=images_of)])
    assert contents[0] == contents[1]


def test_a_reproduction_needs_a_cell_and_known_studies(cells, tmp_path):
    with pytest.raises(ValueError, match="at least one cell"):
        write_reproduction(tmp_path, [])
    with pytest.raises(ValueError, match="did you mean 'batch size'"):
        write_reproduction(tmp_path, cells, studies=[StudyResult("resnet20", "batch sizes", 32, None)])
