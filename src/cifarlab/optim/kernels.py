"""The kernels of a network: the weights that penalties and pruning act on, biases and batch norm left out."""

from __future__ import annotations

from typing import Final

from torch import nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
LAYERS: Final[dict[str, tuple[type[nn.Module], ...]]] = {"convolutions": _CONVOLUTIONS, "kernels": (*_CONVOLUTIONS, nn.Linear)}


def named_kernels(model: nn.Module, *, on: str = "kernels") -> list[tuple[str, nn.Parameter]]:
    """Names and weights of the convolutions ("convolutions"), or of the dense layers too ("kernels"); a shared one once.

    Raises ValueError for another `on`.
    """
    if on not in LAYERS:
        raise ValueError(f"on must be one of {', '.join(LAYERS)}, not {on!r}")
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for name, module in model.named_modules():
        if isinstance(module, LAYERS[on]):
            weight = module.get_parameter("weight")
            found.setdefault(id(weight), (f"{name}.weight" if name else "weight", weight))
    return list(found.values())
