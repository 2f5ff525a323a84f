"""The PyTorch engine gives the same logits however a batch and its views are shared out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cifarlab.augment import predict_views
from cifarlab.bundle.torch_engine import PIECE, TorchEngine, piece_size
from cifarlab.data.preprocess import Preprocess
from cifarlab.models import create_model


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def engine() -> TorchEngine:
    torch.manual_seed(0)
    model = create_model("speednet", num_classes=5, image_size=20, arguments={"widths": (8, 8, 8)})
    return TorchEngine(model, Preprocess(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3)), device=torch.device("cpu"))


def images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 20, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("views", ["none", "flip", "six"])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_logits_are_those_of_one_view_after_the_other(engine: TorchEngine, views: str, count: int) -> None:
    with torch.no_grad():
        expected = predict_views(engine.model, engine.preprocess(torch.from_numpy(images(count))), views=views)[1]
    for threads in (1, 2, 3):
        engine.split_over(threads)
        np.testing.assert_allclose(engine.logits(images(count), views=views), expected.numpy(), atol=1e-5)


def test_shared_out_work_keeps_no_gradients(engine: TorchEngine) -> None:
    engine.split_over(2)
    assert not engine._forward(torch.zeros(1, 3, 20, 20)).requires_grad
    assert any(parameter.requires_grad for parameter in engine.model.parameters())


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_pieces_keep_every_thread_busy_and_stay_small(threads: int) -> None:
    for count in range(1, 400):
        size = piece_size(count, threads=threads)
        assert 1 <= size <= PIECE
        if count % threads == 0:
            assert -(-count // size) >= threads
    assert piece_size(6, threads=2) == 3  # a lone image in six views, on two cores
