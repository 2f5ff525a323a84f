from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from cifarlab.data.dataset import Splits


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Equal runs need equal threads, and these are too small to share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def tiny_splits() -> Splits:
    """100 training and 20 test images that can be learnt."""
    from fake_cells import make_splits

    return make_splits()
