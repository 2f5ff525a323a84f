from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifarlab.data import load_splits
from cifarlab.data.folder import read_folder
from cifarlab.data.images import fit_image, read_image
from cifarlab.errors import DataError


def _save(path: Path, *, colour: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (40, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def _divided(root: Path) -> Path:
    for split, count in (("train", 3), ("test", 2)):
        for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
            for number in range(count):
                _save(root / split / name / f"{number}.png", colour=colour)
    return root


def test_train_and_test_folders_are_read(tmp_path: Path) -> None:
    train, test = read_folder(_divided(tmp_path))
    assert train.class_names == test.class_names == ("blue", "red")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.sample_ids.tolist() == ["test/blue/0.png", "test/blue/1.png", "test/red/0.png", "test/red/1.png"]
    assert train.images.shape == (6, 32, 32, 3)
    assert train.images[0, 5, 5].tolist() == [0, 0, 255]


def test_class_folders_alone_are_divided_stratified_and_seeded(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(10):
            _save(tmp_path / name / f"{number}.jpg")
    first, again, other = read_folder(tmp_path), read_folder(tmp_path), read_folder(tmp_path, seed=1)
    assert first.test.class_counts().tolist() == [2, 2]
    assert first.train.class_counts().tolist() == [8, 8]
    assert first.test.sample_ids.tolist() == again.test.sample_ids.tolist()
    assert first.test.sample_ids.tolist() != other.test.sample_ids.tolist()


def test_images_are_read_as_prediction_reads_them(tmp_path: Path) -> None:
    _divided(tmp_path)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (50, 67, 4), dtype=np.uint8)
    made = {
        "alpha.png": Image.fromarray(noise),
        "grey16.png": Image.fromarray((rng.integers(0, 65536, (45, 40))).astype(np.uint16)),
        "palette.gif": Image.fromarray(noise[..., :3]).quantize(16),
        "tall.bmp": Image.fromarray(noise[..., :3]).rotate(90, expand=True),
        "same.png": Image.fromarray(noise[:32, :32, :3]),
    }
    for name, image in made.items():
        image.save(tmp_path / "train" / "red" / name)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(noise[..., :3]).save(tmp_path / "train" / "red" / "turned.jpg", exif=exif)
    train = read_folder(tmp_path).train
    for name in [*made, "turned.jpg"]:
        row = train.sample_ids.tolist().index(f"train/red/{name}")
        expected = fit_image(read_image(tmp_path / "train" / "red" / name), size=32)
        assert np.array_equal(train.images[row], expected), name


def test_unreadable_images_are_listed_up_to_five(tmp_path: Path) -> None:
    _divided(tmp_path)
    for number in range(7):
        (tmp_path / "train" / "red" / f"broken{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(DataError, match=r"7 of 13 images cannot be read") as caught:
        read_folder(tmp_path)
    assert str(caught.value).count("broken") >= 5
    assert "broken4.png" in str(caught.value)
    assert "broken5.png" not in str(caught.value)
    assert str(caught.value).endswith("... and 2 more")


def test_too_many_pixels_are_refused_on_the_header(tmp_path: Path) -> None:
    _divided(tmp_path)
    Image.new("1", (8000, 8000)).save(tmp_path / "train" / "red" / "huge.png")
    with pytest.raises(DataError, match=r"huge\.png: too large: 8000 x 8000 pixels"):
        read_folder(tmp_path)


def test_different_classes_in_train_and_test_are_told(tmp_path: Path) -> None:
    _divided(tmp_path)
    _save(tmp_path / "test" / "green" / "0.png")
    with pytest.raises(DataError, match="only in train: none; only in test: green"):
        read_folder(tmp_path)


def test_fewer_than_two_classes_are_refused(tmp_path: Path) -> None:
    _save(tmp_path / "only" / "0.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found 1 folder with images, and a classifier needs at least two classes"):
        read_folder(tmp_path)
    (tmp_path / "only" / "0.png").unlink()
    with pytest.raises(DataError, match="found 0 folders with images"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        (("train", "val"), "train, val look like splits"),
        (("train", "valid"), "train, valid look like splits"),
        (("train", "validation"), "train, validation look like splits"),
        (("Train", "Test"), "Test, Train look like splits"),
        (("test",), "test looks like splits"),
    ],
)
def test_splits_without_both_train_and_test_are_no_classes(splits: tuple[str, ...], told: str, tmp_path: Path) -> None:
    for split in splits:
        for name in ("cat", "dog"):
            _save(tmp_path / split / name / "0.png")
    with pytest.raises(DataError, match=rf"{told}.*both train and test are needed.*train/<class>/<image> and test/<class>/<image>"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_a_validation_folder_beside_train_and_test_is_not_left_out_silently(name: str, tmp_path: Path) -> None:
    _divided(tmp_path)
    _save(tmp_path / name / "red" / "0.png")
    with pytest.raises(
        DataError, match=rf"holds train, test and {name}.*Move its images into train: validation is carved from the training"
    ):
        read_folder(tmp_path)


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    for name in ("car", "train"):
        for number in range(5):
            _save(tmp_path / name / f"{number}.png")
    assert read_folder(tmp_path).train.class_names == ("car", "train")


def test_hidden_folders_are_no_classes(tmp_path: Path) -> None:
    _divided(tmp_path)
    for place in (".ipynb_checkpoints", "red/.ipynb_checkpoints"):
        _save(tmp_path / "train" / place / "0-checkpoint.png")
    train = read_folder(tmp_path).train
    assert train.class_names == ("blue", "red")
    assert len(train) == 6


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _divided(tmp_path)
    genuine = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("red"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return genuine(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"red: the directory cannot be listed \(Permission denied\); check its permissions"):
        read_folder(tmp_path)


@pytest.mark.parametrize("is_divided", [True, False])
def test_a_class_folder_without_images_is_noted(is_divided: bool, tmp_path: Path) -> None:
    if is_divided:
        _divided(tmp_path)
    else:
        for name in ("blue", "red"):
            for number in range(5):
                _save(tmp_path / name / f"{number}.png")
    told: list[str] = []
    load_splits(str(tmp_path), note=told.append)
    assert told == []
    empty = tmp_path / "train" / "green" if is_divided else tmp_path / "green"
    empty.mkdir()
    assert load_splits(str(tmp_path), note=told.append).train.class_names == ("blue", "red")
    assert len(told) == 1
    assert told[0].startswith(f"left out, without images: {empty} (images end in .jpg")
