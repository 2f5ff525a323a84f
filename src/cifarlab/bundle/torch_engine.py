"""Logits by PyTorch, in float32."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.augment.test_time import average_views, image_views
from cifarlab.bundle.manifest import WEIGHTS, is_bundle, read_verified
from cifarlab.bundle.packed import packed
from cifarlab.data.preprocess import Preprocess
from cifarlab.restore import choose_device, full_float32, restore, weights_path

# Images that go through a network at once on a CPU. Few: each convolution then finds its input in the cache. Not too few: a lone
# image takes longer than its share of several. 48 gave the most images/s for speednet on a Zen 5 core, 24 nearly as many.
PIECE: Final = 48


class TorchEngine:
    """See `cifarlab.bundle.engines.Engine`. model, preprocess: as `cifarlab.build.restore` gives them."""

    name = "torch"

    def __init__(self, model: nn.Module, preprocess: Preprocess, *, device: torch.device) -> None:
        self.model = model.to(device).eval()
        self._network: nn.Module = self.model  # what answers; `model` keeps its gradients for explanations
        self.preprocess = preprocess.to(device)
        self.device = str(device)
        self._device = device
        self._pool: ThreadPoolExecutor | None = None
        self._threads = 1

    @classmethod
    def open(cls, folder: Path, description: Mapping[str, Any], *, device: str | torch.device = "auto") -> TorchEngine:
        """From a bundle or run directory; raises BundleError where its weights are damaged or of another network."""
        chosen = device if isinstance(device, torch.device) else choose_device(device)
        described = dict(description)
        if is_bundle(described):
            model, preprocess = restore(described, folder / WEIGHTS, content=read_verified(folder, described, WEIGHTS))
        else:
            model, preprocess = restore(described, weights_path(folder, described))
        return cls(model, preprocess, device=chosen)

    def split_over(self, threads: int) -> None:
        """From now on share the views of a batch out among `threads` threads, each of which computes on one core.

        For servers on a CPU. PyTorch's own way, all threads in every operation, has them wait for the slowest after each one;
        where other work takes a core now and then, as a server's does, that is most of the time. It is switched off for the process.
        The weights are packed as well, which takes longer than one answer gains by it.
        """
        if self._device.type == "cpu":
            self._network = packed(self.model)
        if self._device.type == "cpu" and threads > 1:
            torch.set_num_threads(1)
            self._threads = threads
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="network")

    @torch.no_grad()
    def logits(self, images: NDArray[np.uint8], *, views: str) -> NDArray[np.float32]:
        """See `Engine.logits`. float32 arithmetic: the answer does not depend on the images beside it beyond rounding."""
        batch = torch.from_numpy(images).to(self._device)  # [B, size, size, 3]
        with full_float32():
            seen = image_views(self.preprocess(batch), views=views)  # V of [B, 3, S, S]
            averaged = average_views(self._all_views(seen))
        logits: NDArray[np.float32] = averaged.float().cpu().numpy()
        return logits

    def _all_views(self, seen: list[Tensor]) -> list[Tensor]:
        """The network's logits for each view; on a CPU the views of few images go through it together, those of many in pieces."""
        if self._device.type != "cpu":
            return [self._network(view) for view in seen]
        stacked = torch.cat(seen).contiguous(memory_format=torch.channels_last)  # [V * B, 3, S, S]
        pieces = torch.split(stacked, piece_size(len(stacked), threads=self._threads))
        outputs = [self._forward(piece) for piece in pieces] if self._pool is None else list(self._pool.map(self._forward, pieces))
        return list(torch.split(torch.cat(outputs), len(seen[0])))

    @torch.no_grad()
    def _forward(self, piece: Tensor) -> Tensor:
        # Without gradients here too: that setting belongs to a thread.
        return self._network(piece)  # type: ignore[no-any-return]


def piece_size(images: int, *, threads: int) -> int:
    """Images of one piece: two pieces for each thread, so that one that is held up leaves work to the others; at most PIECE.

    A few images are one piece for each thread.
    """
    if threads == 1:
        return min(images, PIECE)
    fair = math.ceil(images / threads)
    return min(PIECE, fair if fair <= PIECE // 2 else max(PIECE // 2, math.ceil(fair / 2)))
