"""Mixup and CutMix against their formulas; lambda against the Beta distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from cifarlab.augment import Mixing

BATCH = 16
ON = {"mixup": Mixing(mixup=0.4), "cutmix": Mixing(cutmix=1.0), "both": Mixing(mixup=0.4, cutmix=1.0)}
every_kind = pytest.mark.parametrize("mixing", ON.values(), ids=ON)


def make_images(*, height: int = 12, width: int = 10) -> Tensor:
    images = torch.randn(BATCH, 3, height, width, generator=torch.Generator().manual_seed(1))
    return images.to(memory_format=torch.channels_last)


def mix(mixing: Mixing, images: Tensor, *, seed: int = 0, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Each image is of a class of its own, so that targets [B, B] show partners and shares."""
    labels = torch.arange(len(images)) if labels is None else labels
    return mixing(images, labels, num_classes=BATCH, generator=torch.Generator().manual_seed(seed))


def partners(targets: Tensor) -> tuple[Tensor, float]:
    """Each image's partner (itself, where the permutation left it alone), and lambda."""
    own = float(targets.diagonal().min())
    others = targets.clone().fill_diagonal_(0)
    return torch.where(others.sum(1) > 0, others.argmax(1), torch.arange(len(targets))), own


@pytest.mark.parametrize("seed", range(5))
def test_mixup_is_the_convex_combination_of_two_images(seed: int) -> None:
    images = make_images()
    mixed, targets = mix(ON["mixup"], images, seed=seed)
    partner, own = partners(targets)
    assert sorted(partner.tolist()) == list(range(BATCH))
    torch.testing.assert_close(mixed, own * images + (1 - own) * images[partner], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_pastes_one_rectangle_and_counts_its_area(seed: int) -> None:
    images = make_images()
    mixed, targets = mix(ON["cutmix"], images, seed=seed)
    partner, own = partners(targets)
    kept = (mixed == images).all(1)  # [B, H, W]
    pasted = (mixed == images[partner]).all(1)
    assert (kept | pasted).all()
    place = ~kept[partner != torch.arange(BATCH)]
    assert (place == place[0]).all()  # one place for the whole batch
    rows, columns = place[0].any(1), place[0].any(0)
    assert torch.equal(place[0], rows[:, None] & columns)  # rows times columns ...
    assert all("0" not in "".join(str(int(value)) for value in line).strip("0") for line in (rows, columns))  # ... without gaps
    assert own == pytest.approx(1 - int(place[0].sum()) / (12 * 10))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_lambda_of_mixup_follows_the_beta_distribution(alpha: float) -> None:
    images = torch.zeros(BATCH, 1, 1, 1)
    drawn = [partners(mix(Mixing(mixup=alpha), images, seed=seed)[1])[1] for seed in range(600)]
    # An alpha below 1 gives values that float32 cannot tell from 1 as often as it gives values near 0.
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_cutmix_keeps_as_much_as_the_papers_boxes_do() -> None:
    random, size, shares = np.random.default_rng(0), 32, []
    for _ in range(4000):
        half = size * math.sqrt(1 - random.beta(1, 1)) / 2
        spans = [np.clip([c - half, c + half], 0, size) for c in random.uniform(0, size, 2)]
        shares.append(1 - np.prod([end - begin for begin, end in spans]) / size**2)
    images = torch.zeros(BATCH, 1, size, size)
    drawn = [partners(mix(Mixing(cutmix=1), images, seed=seed)[1])[1] for seed in range(800)]
    error = math.hypot(np.std(shares) / math.sqrt(4000), np.std(drawn) / math.sqrt(800))
    assert abs(np.mean(drawn) - np.mean(shares)) < 4 * error


def test_where_both_are_on_each_has_about_half_of_the_batches() -> None:
    images = make_images()
    cut = sum(bool((mix(ON["both"], images, seed=seed)[0] == images).flatten(1).any(1).all()) for seed in range(300))
    assert 110 <= cut <= 190  # within 4.6 standard deviations of a fair coin


@every_kind
def test_targets_are_distributions_over_the_classes(mixing: Mixing) -> None:
    for seed in range(20):
        mixed, targets = mix(mixing, make_images(), seed=seed, labels=torch.arange(BATCH) % 5)
        assert mixed.shape == (BATCH, 3, 12, 10)
        assert mixed.dtype == targets.dtype == torch.float32
        assert targets.shape == (BATCH, BATCH)
        assert (targets >= 0).all()
        assert not targets[:, 5:].any()
        torch.testing.assert_close(targets.sum(1), torch.ones(BATCH))


@every_kind
def test_values_stay_in_the_range_of_the_batch(mixing: Mixing) -> None:
    images = make_images()
    for seed in range(20):
        mixed, _ = mix(mixing, images, seed=seed)
        assert float(mixed.min()) >= float(images.min())
        assert float(mixed.max()) <= float(images.max())


@every_kind
def test_the_result_is_a_pure_function_of_the_generator(mixing: Mixing) -> None:
    images = make_images()
    first = mix(mixing, images, seed=3)
    torch.rand(7)  # the global states take no part
    np.random.seed(4)
    again, other = mix(mixing, images, seed=3), mix(mixing, images, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@every_kind
def test_the_input_is_left_alone_and_the_memory_format_kept(mixing: Mixing) -> None:
    images = make_images()
    before = images.clone()
    for seed in range(4):
        mixed, _ = mix(mixing, images, seed=seed)
        assert torch.equal(images, before)
        assert mixed.is_contiguous(memory_format=torch.channels_last)


@every_kind
def test_a_single_image_mixes_with_itself(mixing: Mixing) -> None:
    images = make_images()[:1]
    mixed, targets = mix(mixing, images)
    torch.testing.assert_close(mixed, images)
    torch.testing.assert_close(targets, torch.eye(BATCH)[:1])


def test_without_an_alpha_nothing_is_mixed() -> None:
    images = make_images()
    mixed, targets = mix(Mixing(), images)
    assert torch.equal(mixed, images)
    assert torch.equal(targets, torch.eye(BATCH))


@pytest.mark.parametrize("alpha", [1e-6, 1e6])
def test_extreme_alphas_give_finite_results(alpha: float) -> None:
    for mixing in (Mixing(mixup=alpha), Mixing(cutmix=alpha)):
        for seed in range(20):
            assert all(bool(torch.isfinite(part).all()) for part in mix(mixing, make_images(), seed=seed))


@pytest.mark.parametrize("arguments", [{"mixup": -0.1}, {"cutmix": float("inf")}, {"mixup": float("nan")}])
def test_alphas_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be an alpha of at least 0"):
        Mixing(**arguments)
