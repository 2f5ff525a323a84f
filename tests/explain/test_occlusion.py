"""explain.occlusion: against captum, by hand, and what it refuses."""

from __future__ import annotations

import captum.attr
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import UsageError
from cifarlab.explain import occlusion_map
from cifarlab.models import create_model

PREPROCESS = Preprocess(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def redness(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Class 1: the share of red, class 0: the rest."""
    red = images[..., 0].mean(axis=(1, 2)) / 255
    return np.stack([1 - red, red], axis=1)


def test_it_is_captums():
    torch.manual_seed(0)
    model = create_model("speednet", image_size=16, arguments={"widths": [8, 8, 8]}).eval()
    torch.nn.init.normal_(model.head.weight)

    def probabilities(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.softmax(model(PREPROCESS(images)), dim=1)

    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    found = occlusion_map(
        lambda images: probabilities(torch.from_numpy(images)).numpy(), image, target=4, patch=4, stride=2, fill=(9, 8, 7)
    )
    fill = torch.tensor([9, 8, 7], dtype=torch.uint8)[None, None, None]
    reference = captum.attr.Occlusion(probabilities).attribute(
        torch.from_numpy(image[None]), sliding_window_shapes=(4, 4, 3), strides=(2, 2, 3), target=4, baselines=fill
    )
    expected = reference[0, :, :, 0].numpy()
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(found.resized, expected, atol=1e-6)
    assert found.probability == pytest.approx(float(probabilities(torch.from_numpy(image[None]))[0, 4]))


def test_drops_by_hand():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[0, 0, 0] = 255  # one red pixel of sixteen
    found = occlusion_map(redness, image, target=1, patch=2, stride=1, fill=(0, 0, 0))
    assert found.probability == pytest.approx(1 / 16)
    assert found.tops.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.drops, [[1 / 16, 0, 0], [0, 0, 0], [0, 0, 0]])
    # The pixel (0, 1) is covered by the patches at columns 0 and 1, the pixel (1, 1) by four.
    np.testing.assert_allclose(found.resized[:2, :3], np.array([[1, 1 / 2, 0], [1 / 2, 1 / 4, 0]]) / 16)


def test_hiding_can_help_a_class():
    found = occlusion_map(redness, np.zeros((4, 4, 3), dtype=np.uint8), target=1, patch=2, stride=2, fill=(255, 0, 0))
    np.testing.assert_allclose(found.drops, -np.full((2, 2), 4 / 16))


def test_every_pixel_is_covered_where_the_stride_does_not_fit():
    found = occlusion_map(redness, np.zeros((10, 10, 3), dtype=np.uint8), target=0, patch=4, stride=4)
    assert found.tops.tolist() == [0, 4, 6]
    assert np.isfinite(found.resized).all()


def test_the_patch_is_a_quarter_and_moves_by_half_of_itself_in_batches():
    sizes = []

    def counting(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        sizes.append(len(images))
        return redness(images)

    found = occlusion_map(counting, np.zeros((32, 32, 3), dtype=np.uint8), target=0)
    assert (found.patch, found.tops.tolist()) == (8, [0, 4, 8, 12, 16, 20, 24])
    assert sizes == [1, 49]
    occlusion_map(counting, np.zeros((32, 32, 3), dtype=np.uint8), target=0, stride=2)
    assert sizes[2:] == [1, 64, 64, 41]


def test_the_picture_is_left_as_it_was():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    before = image.copy()
    occlusion_map(redness, image, target=0)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"patch": 0}, "patch 0: allowed is 1 to 8"),
        ({"patch": 9}, "patch 9: allowed is 1 to 8"),
        ({"patch": 4, "stride": 5}, "stride 5: allowed is 1 to 4"),
        ({"stride": 0}, "stride 0"),
        ({"target": 2}, "class 2: the classifier has the classes 0 to 1"),
    ],
)
def test_what_does_not_fit_is_told(given, said):
    with pytest.raises(UsageError, match=said):
        occlusion_map(redness, np.zeros((8, 8, 3), dtype=np.uint8), **{"target": 0, **given})


@pytest.mark.parametrize("image", [np.zeros((8, 6, 3), dtype=np.uint8), np.zeros((8, 8, 3))])
def test_another_image_is_refused(image):
    with pytest.raises(ValueError, match="must be"):
        occlusion_map(redness, image, target=0)
