"""Checks that several networks make on their arguments."""

from __future__ import annotations


def require_image_size(image_size: int, *, least: int) -> None:
    """Raise ValueError if images of `image_size` pixels a side are smaller than a network can take."""
    if image_size < least:
        raise ValueError(f"image_size must be at least {least}, not {image_size}")


def require_positive(**counts: int) -> None:
    """Raise ValueError for the first of `counts` (channels, units) that is below 1, with its name."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")


def require_dropout(dropout: float) -> None:
    """Raise ValueError unless `dropout`, the share of activations set to zero in training, is in [0, 1)."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and less than 1, not {dropout}")
