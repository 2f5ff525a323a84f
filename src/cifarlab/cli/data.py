"""`cifarlab data`: get, show and check datasets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarlab.cli.options import AsJson, DataDir, split_names
from cifarlab.cli.progress import download_progress
from cifarlab.cli.terminal import note, write_json_out, write_table

if TYPE_CHECKING:
    from cifarlab.data import ArrangedSplits, CifarReport, SplitInfo

app = typer.Typer(help="Get, show and check datasets.", no_args_is_help=True)


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Dataset to fetch: cifar10.")] = "cifar10",
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Where to put it (default: ~/.cache/cifarlab).")
    ] = None,
) -> None:
    """Download a dataset, verified and resumable; print where it is."""
    from cifarlab.data import dataset_names, fetch_cifar10, find_cifar10, read_cifar10
    from cifarlab.data.cifar import ARCHIVE_NAMES
    from cifarlab.data.sources import cache_folder
    from cifarlab.errors import DataError, UsageError, unknown

    if name not in dataset_names():
        raise UsageError(unknown("dataset", name, dataset_names()))
    if name != "cifar10":
        note(f"{name} comes with the installation; there is nothing to fetch")
        return
    folder = data_dir.expanduser() if data_dir is not None else cache_folder()
    found = find_cifar10(folder)
    if found is not None:
        try:
            read_cifar10(found)
            note("already there and verified")
            typer.echo(str(found))
            return
        except DataError as error:
            # A folder that somebody unpacked or gathered is theirs to mend; a damaged download is ours.
            if found not in [folder / archive for archive in ARCHIVE_NAMES]:
                raise
            note(f"{error}")
            note("fetching the archive again; the damaged one stays until the new one is verified")
    with download_progress() as progress:
        typer.echo(str(fetch_cifar10(data_dir, progress=progress, note=note)))


@app.command("show")
def show(
    data: Annotated[str, typer.Option("--data", metavar="NAME|PATH", help="cifar10, digits, or a path.")] = "cifar10",
    data_dir: DataDir = None,
    classes: Annotated[str | None, typer.Option("--classes", metavar="A,B,...", help="Keep these classes only, in this order.")] = None,
    train_size: Annotated[int | None, typer.Option("--train-size", metavar="N", help="Keep N training images, stratified.")] = None,
    validation: Annotated[float, typer.Option("--validation", metavar="FRACTION", help="Share of train held out, 0 to < 1.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the selections and of the sample grid.")] = 0,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the PNG files.")] = Path("data-show"),
    as_json: AsJson = False,
) -> None:
    """Show class counts, sample images and channel statistics; write class_counts.png and samples.png."""
    from cifarlab.data import arrange_splits, load_splits, split_info

    with download_progress() as progress:
        splits = load_splits(data, data_dir=data_dir, progress=progress, note=note)
    arranged = arrange_splits(splits, classes=split_names(classes), validation=validation, train_size=train_size, seed=seed)
    infos = {name: split_info(part) for name, part in arranged._asdict().items() if part is not None}
    figures = _draw(arranged, infos, output, seed=seed)
    if as_json:
        write_json_out(_as_json(arranged, infos, figures))
    else:
        _print_tables(arranged, infos)
    for path in figures:
        note(f"wrote {path}")


@app.command("check")
def check(
    data: Annotated[str, typer.Argument(metavar="NAME|PATH", help="cifar10, digits, or a path.")] = "cifar10",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Verify a dataset file by file; exit code 1 where something is wrong."""
    from cifarlab.data import check_cifar10, find_cifar10, find_named_cifar10, load_splits
    from cifarlab.errors import DataError

    try:
        path = find_named_cifar10(data_dir, note=note) if data == "cifar10" else Path(data).expanduser()
        if path is None:
            raise DataError("CIFAR-10 is not on this machine. Fetch it with: cifarlab data get cifar10")
        if os.path.isfile(path) or (os.path.isdir(path) and find_cifar10(path) is not None):
            report = check_cifar10(path)
        else:  # no published sums: that everything decodes is the check
            train, test = load_splits(data, data_dir=data_dir, download=False, note=note)
            sums = {"train_checksum": train.checksum, "test_checksum": test.checksum}
            _print_readable({"ok": True, "name": train.name, "train": len(train), "test": len(test), **sums}, as_json=as_json)
            return
    except DataError as error:
        if not as_json:
            raise
        write_json_out({"ok": False, "problem": str(error)})
        raise typer.Exit(1) from None
    _print_report(report, as_json=as_json)
    if not report.ok:
        raise typer.Exit(1)


def _draw(arranged: ArrangedSplits, infos: dict[str, SplitInfo], folder: Path, *, seed: int) -> list[Path]:
    import numpy as np

    from cifarlab.errors import DataError
    from cifarlab.figures import plot_class_counts, plot_sample_grid

    train = arranged.train
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror or error}. Choose another one with -o DIR") from error
    chosen = train.take(np.random.default_rng(seed).permutation(len(train))[:36])
    return [
        plot_class_counts({name: info.counts for name, info in infos.items()}, train.class_names, folder / "class_counts.png"),
        plot_sample_grid(chosen.images, chosen.labels, chosen.class_names, folder / "samples.png", title=f"{train.name}: training images"),
    ]


def _print_tables(arranged: ArrangedSplits, infos: dict[str, SplitInfo]) -> None:
    names = arranged.train.class_names
    rows = [[name, *(str(info.counts[k]) for info in infos.values())] for k, name in enumerate(names)]
    rows.append(["total", *(str(info.images) for info in infos.values())])
    write_table(["class", *infos], rows, title=f"{arranged.train.name}: images per class", right=list(infos))
    statistics = [
        [split, quantity, *(f"{value:.4f}" for value in values)]
        for split, info in infos.items()
        for quantity, values in (("mean", info.mean), ("std", info.std))
    ]
    channels = ["red", "green", "blue"]
    write_table(["split", "", *channels], statistics, title="channels, pixels scaled to 0..1", right=channels)


def _as_json(arranged: ArrangedSplits, infos: dict[str, SplitInfo], figures: list[Path]) -> dict[str, Any]:
    names = arranged.train.class_names
    return {
        "dataset": arranged.train.name,
        "class_names": list(names),
        "splits": {
            split: {
                "images": info.images,
                "class_counts": dict(zip(names, info.counts.tolist(), strict=True)),
                "mean": info.mean.tolist(),
                "std": info.std.tolist(),
                "checksum": info.checksum,
            }
            for split, info in infos.items()
        },
        "figures": [str(path) for path in figures],
    }


def _print_readable(outcome: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        write_json_out(outcome)
    else:
        write_table(["", ""], [[key, str(value)] for key, value in outcome.items()], title="every image can be read")


def _print_report(report: CifarReport, *, as_json: bool) -> None:
    every = [*([report.archive] if report.archive is not None else []), *report.files]
    sums = (("train", report.train_checksum, report.train_official), ("test", report.test_checksum, report.test_official))
    if as_json:
        files = [file._asdict() for file in report.files]
        archive = None if report.archive is None else report.archive._asdict()
        contents = {split: {"checksum": checksum, "official": official} for split, checksum, official in sums}
        head = {"ok": report.ok, "path": str(report.path), "packing": report.packing}
        write_json_out({**head, "archive": archive, "files": files, "content": contents})
        return
    rows = [
        [file.name, str(file.size), file.md5, "published" if file.known else "unknown", "official" if file.official else "WRONG"]
        for file in every
    ]
    write_table(["file", "bytes", "MD5", "packing", "content"], rows, title=str(report.path), right=["bytes"])
    write_table(
        ["split", "SHA-256 of pixels and labels", "content"],
        [[split, checksum, "official" if official else "WRONG"] for split, checksum, official in sums],
    )
