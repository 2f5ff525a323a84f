"""Datasets as NumPy arrays: where they come from, how they are checked, how they are divided. No torch here;
`cifarlab.data.loader`, which puts them on a device, is imported by its own name."""

from cifarlab.data.acquire import download
from cifarlab.data.cifar import CifarFile, CifarReport, check_cifar10, find_cifar10, read_cifar10
from cifarlab.data.dataset import Dataset, Splits, content_checksum
from cifarlab.data.digits import read_digits
from cifarlab.data.folder import read_folder
from cifarlab.data.sources import (
    Place,
    SplitInfo,
    cache_folder,
    dataset_names,
    fetch_cifar10,
    find_named_cifar10,
    load_splits,
    search_places,
    split_info,
)
from cifarlab.data.splits import ArrangedSplits, arrange_splits, carve_validation, nested_subset

__all__ = [
    "ArrangedSplits",
    "CifarFile",
    "CifarReport",
    "Dataset",
    "Place",
    "SplitInfo",
    "Splits",
    "arrange_splits",
    "cache_folder",
    "carve_validation",
    "check_cifar10",
    "content_checksum",
    "dataset_names",
    "download",
    "fetch_cifar10",
    "find_cifar10",
    "find_named_cifar10",
    "load_splits",
    "nested_subset",
    "read_cifar10",
    "read_digits",
    "read_folder",
    "search_places",
    "split_info",
]
