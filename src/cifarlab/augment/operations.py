"""The fourteen operations of the augmentation policies, each for a whole batch; results as Pillow's, within one grey level.

Every operation takes images (uint8 [B, H, W, 3]) and one amount an image (float32 [B]) and returns images of that shape and
type; nothing changes in place. Positions outside the image are black, sampling is by nearest neighbour, as Pillow's defaults are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

Operation = Callable[[Tensor, Tensor], Tensor]


def identity(images: Tensor, amount: Tensor) -> Tensor:
    """The images as they are."""
    return images


def shear_x(images: Tensor, amount: Tensor) -> Tensor:
    """Row y, counted from the top edge, moved left by `amount` times y."""
    return _resample(images, [1, amount, 0, 0, 1, 0])


def shear_y(images: Tensor, amount: Tensor) -> Tensor:
    """Column x, counted from the left edge, moved up by `amount` times x."""
    return _resample(images, [1, 0, 0, amount, 1, 0])


def translate_x(images: Tensor, amount: Tensor) -> Tensor:
    """Moved left by `amount` pixels."""
    return _resample(images, [1, 0, amount, 0, 1, 0])


def translate_y(images: Tensor, amount: Tensor) -> Tensor:
    """Moved up by `amount` pixels."""
    return _resample(images, [1, 0, 0, 0, 1, amount])


def rotate(images: Tensor, amount: Tensor) -> Tensor:
    """Turned counter-clockwise about the centre by `amount` degrees."""
    height, width = images.shape[1:3]
    cosine, sine = torch.deg2rad(amount).cos(), torch.deg2rad(amount).sin()
    x, y = width / 2, height / 2
    return _resample(images, [cosine, -sine, x - x * cosine + y * sine, sine, cosine, y - x * sine - y * cosine])


def brightness(images: Tensor, amount: Tensor) -> Tensor:
    """Blended with black: 0 is black, 1 the image, above 1 brighter."""
    return _blend(torch.zeros((), device=images.device), images, amount)


def color(images: Tensor, amount: Tensor) -> Tensor:
    """Blended with its own grey image: 0 is grey, 1 the image, above 1 more colourful."""
    return _blend(_luma(images)[..., None].float(), images, amount)


def contrast(images: Tensor, amount: Tensor) -> Tensor:
    """Blended with the mean of its grey image, a whole number: 0 is plain grey, 1 the image, above 1 more contrast."""
    luma = _luma(images).flatten(1)  # [B, H * W]
    mean = (2 * luma.sum(1) + luma.shape[1]) // (2 * luma.shape[1])  # rounded half up
    return _blend(mean[:, None, None, None].float(), images, amount)


def sharpness(images: Tensor, amount: Tensor) -> Tensor:
    """Blended with a smoothed copy (3 x 3, the centre weighs 5 of 13; border pixels as they are): 0 is that copy, 1 the image."""
    smooth = images.float()
    if min(images.shape[1:3]) >= 3:
        rows = smooth[:, :-2] + smooth[:, 1:-1] + smooth[:, 2:]  # [B, H - 2, W, C]
        total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * smooth[:, 1:-1, 1:-1]  # [B, H - 2, W - 2, C]
        smooth[:, 1:-1, 1:-1] = (total / 13 + 0.5).floor_()
    return _blend(smooth, images, amount)


def posterize(images: Tensor, amount: Tensor) -> Tensor:
    """The upper `amount` bits (0..8) of every value kept, the others 0."""
    kept = torch.bitwise_left_shift(torch.full_like(amount, 255, dtype=torch.int64), 8 - amount.long()) & 255
    return images & kept.to(torch.uint8)[:, None, None, None]


def solarize(images: Tensor, amount: Tensor) -> Tensor:
    """Values of at least `amount` (0..256) inverted."""
    return torch.where(images < amount[:, None, None, None], images, 255 - images)


def autocontrast(images: Tensor, amount: Tensor) -> Tensor:
    """Each channel stretched so that its smallest value is 0 and its largest 255; a channel of one value stays as it is."""
    x = images.int()
    low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)  # [B, 1, 1, C]
    stretched = (x - low) * 255 // (high - low).clamp_min(1)
    return torch.where(high > low, stretched, x).to(torch.uint8)


def equalize(images: Tensor, amount: Tensor) -> Tensor:
    """The histogram of each channel made as even as a mapping of values can: a channel of hardly more than one value stays."""
    batch, height, width, channels = images.shape
    # One row of 256 bins for each image and channel.
    row = torch.arange(batch * channels, device=images.device).view(batch, 1, 1, channels) * 256
    bins = row + images  # int64 [B, H, W, C]
    counts = torch.bincount(bins.flatten(), minlength=batch * channels * 256).view(-1, 256)
    values = torch.arange(256, device=images.device)
    last = torch.where(counts > 0, values, 0).amax(1, keepdim=True)  # the largest value that occurs
    # As Pillow does: the largest value's pixels take no part in the width of a step.
    step = (height * width - counts.gather(1, last)) // 255
    before = counts.cumsum(1) - counts
    mapped = ((before + step // 2) // step.clamp_min(1)).clamp_max(255)
    table = torch.where(step > 0, mapped, values).to(torch.uint8)
    return table.flatten()[bins]


OPERATIONS: Final[dict[str, Operation]] = {
    "identity": identity,
    "shear-x": shear_x,
    "shear-y": shear_y,
    "translate-x": translate_x,
    "translate-y": translate_y,
    "rotate": rotate,
    "brightness": brightness,
    "color": color,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
}


def _resample(images: Tensor, matrix: list[Tensor | float]) -> Tensor:
    """The pixel (x, y) of the result is the one at (a x + b y + c, d x + e y + f) for `matrix` = [a, b, c, d, e, f]."""
    batch, height, width, channels = images.shape
    a, b, c, d, e, f = (torch.as_tensor(part, dtype=torch.float32, device=images.device).view(-1, 1, 1) for part in matrix)
    x = torch.arange(width, device=images.device) + 0.5  # pixel centres
    y = torch.arange(height, device=images.device)[:, None] + 0.5
    column, row = (a * x + b * y + c).floor().long(), (d * x + e * y + f).floor().long()  # [B, H, W] or [1, H, W]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    first = torch.arange(batch, device=images.device).view(-1, 1, 1) * (height * width)
    # A black pixel behind the last stands for all that is outside.
    flat = torch.where(inside, first + row * width + column, batch * height * width)  # [B, H, W]
    pixels = torch.cat([images.reshape(-1, channels), images.new_zeros(1, channels)])
    return pixels.index_select(0, flat.flatten()).view(images.shape)


def _blend(start: Tensor, images: Tensor, amount: Tensor) -> Tensor:
    """start + amount (images - start), cut off at 0 and 255; fractions are dropped, as in Pillow's ImageEnhance."""
    out = start + amount[:, None, None, None] * (images - start)
    return out.clamp_(0, 255).to(torch.uint8)


def _luma(images: Tensor) -> Tensor:
    """ITU-R BT.601 luma in 16-bit fixed point, rounded: uint8 [B, H, W, 3] -> int32 [B, H, W]."""
    red, green, blue = images.int().unbind(3)
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
