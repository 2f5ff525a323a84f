"""The fast family: a frozen whitening layer, three convolution groups, global max pool, one dense layer.

It follows the public line of CIFAR-10 speed records: Page, "How to Train Your ResNet" (2018), and Jordan,
"94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498, sections 3.1 to 3.3 and appendix A).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.models.registry import register

NULL_SHARE = 1e-6  # a direction with less than this share of the largest variance carries no signal


@register("speednet")
def speednet(*, num_classes: int = 10, image_size: int = 32, widths: tuple[int, ...] = (64, 256, 256)) -> nn.Module:
    """Whitening, three convolution groups, global max pool: about 2 million parameters, any input of 16 px or more.

    float [N, 3, S, S], standardized -> logits [N, K]. `widths` are the channels of the three groups.
    """
    if image_size < 16:
        raise ValueError(f"image_size must be at least 16, not {image_size}")
    if len(widths) != 3 or min(widths) < 8:
        raise ValueError(f"widths must be three numbers of at least 8, not {list(widths)}")
    return SpeedNet(num_classes=num_classes, widths=(widths[0], widths[1], widths[2]))


class SpeedNet(nn.Module):
    """See `speednet`. `fit_to_data` sets the whitening filters; without it they stay at their random start."""

    def __init__(self, *, num_classes: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        nn.init.zeros_(self.whiten.bias)  # type: ignore[arg-type]
        self.group1 = ConvGroup(24, widths[0])
        self.group2 = ConvGroup(widths[0], widths[1])
        self.group3 = ConvGroup(widths[1], widths[2])
        self.head = nn.Linear(widths[2], num_classes, bias=False)
        # Small logits at the start; the record line reaches the same by dividing the head's output by its width.
        nn.init.normal_(self.head.weight, std=1.0 / widths[2])

    def forward(self, images: Tensor) -> Tensor:
        x = F.gelu(self.whiten(images))  # [N, 3, S, S] -> [N, 24, S-1, S-1]
        x = self.group1(x)  # 32 px: [N, 24, 31, 31] -> [N, 64, 15, 15]
        x = self.group2(x)  # -> [N, 256, 7, 7]
        x = self.group3(x)  # -> [N, 256, 3, 3]
        x = x.amax(dim=(2, 3))  # a global pool: any input size works
        return self.head(x)  # type: ignore[no-any-return]  # [N, 256] -> [N, K]

    @torch.no_grad()
    def fit_to_data(self, images: Tensor, *, epsilon: float = 5e-4) -> None:
        """Set the whitening filters from training images, float [M, 3, S, S], standardized.

        The 12 eigenvectors of the covariance of all 2x2 patches, each divided by sqrt(eigenvalue + epsilon),
        and their negatives (arXiv 2404.00498, section 3.1): the outputs are decorrelated with variance near 1.
        """
        patches = F.unfold(images.float(), kernel_size=2)  # [M, 3, S, S] -> [M, 12, (S-1)^2]
        patches = patches.transpose(1, 2).reshape(-1, 12)
        covariance = patches.T.double() @ patches.double() / len(patches)  # [12, 12]
        eigenvalues, eigenvectors = torch.linalg.eigh(covariance)  # ascending
        filters = (eigenvectors / torch.sqrt(eigenvalues + epsilon)).T.reshape(12, 3, 2, 2)
        # Gray pictures have no variance in their colour directions. Such a channel would stay constant all the way up
        # the dirac path, and every batch norm on it would multiply its gradient by 1 / sqrt(0 + eps). The directions
        # that do vary take its place.
        varying = filters[eigenvalues > NULL_SHARE * eigenvalues[-1]]
        if 0 < len(varying) < 12:
            filters = varying[torch.arange(12) % len(varying)]
        self.whiten.weight.copy_(torch.cat([filters, -filters]))


class ConvGroup(nn.Module):
    """conv 3x3, max pool 2, batch norm, GELU, conv 3x3, batch norm, GELU: [N, C, H, W] -> [N, D, H//2, W//2]."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels_in, channels_out)
        self.norm1 = _bias_norm(channels_out)
        self.conv2 = _conv3x3(channels_out, channels_out)
        self.norm2 = _bias_norm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x), 2)
        x = F.gelu(self.norm1(x))
        return F.gelu(self.norm2(self.conv2(x)))


def _conv3x3(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A padded 3x3 convolution without bias whose first filters pass their input on unchanged (dirac, section 3.2)."""
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight[: min(channels_in, channels_out)])
    return conv


def _bias_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with a trained bias and a scale fixed at 1, its statistics following within a few steps."""
    # The record line uses epsilon 1e-12, which turns a channel without variance into infinite gradients.
    norm = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm
