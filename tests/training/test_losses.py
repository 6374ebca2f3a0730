"""The losses: worked by hand, on empty regions, for exclusive labels and key points, and with deep supervision."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from htcnns.image.key_points import key_map
from htcnns.labels import Region
from htcnns.networks.contract import Head
from htcnns.training.losses import (
    LossWeights,
    deep_supervision,
    generalised_dice_losses,
    key_point_losses,
    label_losses,
    region_losses,
)

CERTAIN = 30.0  # a logit whose sigmoid is 1 in float32


def logits_of(truth: torch.Tensor) -> torch.Tensor:
    return CERTAIN * (2 * truth - 1)


def dice_and_cross_entropy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The mean over patches and regions."""
    return region_losses(logits, truth).mean()


def all_known(truth: torch.Tensor) -> torch.Tensor:
    return torch.ones(truth.shape[:2], dtype=torch.bool)


@pytest.fixture
def truth() -> torch.Tensor:
    """Two regions of a cube of 4 voxels per side: one fills half of it, the other is empty."""
    truth = torch.zeros(1, 2, 4, 4, 4)
    truth[:, 0, :2] = 1
    return truth


def test_a_perfect_prediction_costs_nothing(truth: torch.Tensor) -> None:
    assert dice_and_cross_entropy(logits_of(truth), truth).item() == pytest.approx(0, abs=1e-6)


def test_undecided_voxels_worked_by_hand() -> None:
    truth = torch.zeros(1, 1, 2, 2, 2)
    truth[..., 0] = 1  # 4 of 8 voxels, each predicted with 0.5
    dice = (2 * 4 * 0.5 + 1) / (8 * 0.5 + 4 + 1)
    expected = 1 - dice + math.log(2)
    assert dice_and_cross_entropy(torch.zeros(1, 1, 2, 2, 2), truth).item() == pytest.approx(expected)


def test_a_heavier_entropy_worked_by_hand() -> None:
    truth = torch.zeros(1, 1, 2, 2, 2)
    truth[..., 0] = 1
    dice = (2 * 4 * 0.5 + 1) / (8 * 0.5 + 4 + 1)
    loss = region_losses(torch.zeros(1, 1, 2, 2, 2), truth, weights=LossWeights(entropy=4.0))
    assert loss.item() == pytest.approx(1 - dice + 4 * math.log(2))


def _of_an_empty_region(n_predicted: int, empty_share: float, inside: torch.Tensor | None = None) -> float:
    """The Dice loss of a region that a cube of 10 voxels per side lacks, with its first voxels predicted."""
    logits = torch.full((1000,), -CERTAIN)
    logits[:n_predicted] = CERTAIN
    logits = logits.reshape(1, 1, 10, 10, 10)
    weights = LossWeights(entropy=0.0, empty_share=empty_share)
    return region_losses(logits, torch.zeros_like(logits), inside, weights=weights).item()


def test_predicting_the_empty_share_costs_half_and_more_costs_more() -> None:
    assert _of_an_empty_region(0, 0.05) == pytest.approx(0, abs=1e-6)
    assert _of_an_empty_region(50, 0.05) == pytest.approx(0.5)
    assert _of_an_empty_region(200, 0.05) == pytest.approx(0.8)
    assert _of_an_empty_region(1, 0.0) == pytest.approx(0.5)


def test_the_empty_share_is_of_the_voxels_that_count() -> None:
    inside = torch.zeros(1, 1, 10, 10, 10, dtype=torch.bool)
    inside[:, :, :2] = True  # 200 voxels, the first ones
    assert _of_an_empty_region(10, 0.05, inside) == pytest.approx(0.5)


def test_a_region_that_is_present_costs_the_same_whatever_the_empty_share(truth: torch.Tensor) -> None:
    logits = torch.zeros_like(truth)
    plain, wide = (region_losses(logits, truth, weights=LossWeights(empty_share=share)) for share in (0.0, 0.2))
    assert plain[0, 0] == wide[0, 0]
    assert plain[0, 1] > wide[0, 1]


def test_batch_and_regions_are_averaged(truth: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(3, 2, 4, 4, 4, generator=generator)
    truths = truth.expand(3, -1, -1, -1, -1)
    each = [dice_and_cross_entropy(logits[b : b + 1, r : r + 1], truth[:, r : r + 1]) for b in range(3) for r in (0, 1)]
    torch.testing.assert_close(dice_and_cross_entropy(logits, truths), torch.stack(each).mean())


def test_every_voxel_predicted_in_an_empty_region_costs_more(truth: torch.Tensor) -> None:
    one, two = logits_of(truth), logits_of(truth)
    one[0, 1, 0, 0, 0] = CERTAIN
    two[0, 1, 0, 0, :2] = CERTAIN
    losses = [dice_and_cross_entropy(logits, truth).item() for logits in (logits_of(truth), one, two)]
    assert losses == sorted(losses)
    assert len(set(losses)) == 3


def test_an_inverted_prediction_is_worse_than_an_undecided_one(truth: torch.Tensor) -> None:
    undecided = dice_and_cross_entropy(torch.zeros_like(truth), truth)
    assert dice_and_cross_entropy(-logits_of(truth), truth) > undecided


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_flips_do_not_change_the_loss(axis: int, truth: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(1, 2, 4, 4, 4, generator=generator)
    flipped = dice_and_cross_entropy(logits.flip(axis), truth.flip(axis))
    torch.testing.assert_close(flipped, dice_and_cross_entropy(logits, truth))


def test_half_precision_logits_are_summed_in_float32(truth: torch.Tensor) -> None:
    logits = logits_of(truth).to(torch.bfloat16)
    assert dice_and_cross_entropy(logits, truth).dtype == torch.float32


def test_gradient_points_from_a_wrong_voxel_to_the_truth(truth: torch.Tensor) -> None:
    logits = torch.zeros_like(truth, requires_grad=True)
    dice_and_cross_entropy(logits, truth).backward()
    assert (logits.grad[truth == 1] < 0).all()
    assert (logits.grad[truth == 0] > 0).all()


def test_a_single_output_is_not_left_out(truth: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(1, 2, 4, 4, 4, generator=generator)
    torch.testing.assert_close(
        deep_supervision([logits], truth, all_known(truth)), dice_and_cross_entropy(logits, truth)
    )


def test_resolutions_weigh_one_then_a_half_and_the_lowest_nothing(generator: torch.Generator) -> None:
    truth = (torch.rand(1, 3, 8, 8, 8, generator=generator) > 0.5).float()
    outputs = [torch.randn(1, 3, edge, edge, edge, generator=generator) for edge in (8, 4, 2)]
    full = dice_and_cross_entropy(outputs[0], truth)
    half = dice_and_cross_entropy(outputs[1], truth[..., ::2, ::2, ::2])
    torch.testing.assert_close(deep_supervision(outputs, truth, all_known(truth)), (2 * full + half) / 3)


def test_truth_at_lower_resolutions_is_the_nearest_voxel(generator: torch.Generator) -> None:
    coarse = (torch.rand(1, 1, 4, 4, 4, generator=generator) > 0.5).float()
    truth = F.interpolate(coarse, scale_factor=2, mode="nearest")
    outputs = [logits_of(truth), logits_of(coarse), torch.zeros(1, 1, 2, 2, 2)]
    assert deep_supervision(outputs, truth, all_known(truth)).item() == pytest.approx(0, abs=1e-6)


def test_each_patch_and_region_has_its_own_loss(truth: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(3, 2, 4, 4, 4, generator=generator)
    truths = truth.expand(3, -1, -1, -1, -1)
    losses = region_losses(logits, truths)
    for b, r in itertools.product(range(3), range(2)):
        alone = region_losses(logits[b : b + 1, r : r + 1], truths[b : b + 1, r : r + 1])
        torch.testing.assert_close(losses[b, r], alone[0, 0])


def test_a_truth_of_bools_costs_the_same(truth: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(1, 2, 4, 4, 4, generator=generator)
    torch.testing.assert_close(region_losses(logits, truth.bool()), region_losses(logits, truth))


def test_unknown_regions_have_no_loss_and_no_gradient(truth: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(1, 2, 4, 4, 4, generator=generator, requires_grad=True)
    loss = deep_supervision([logits], truth, torch.tensor([[True, False]]))
    torch.testing.assert_close(loss, region_losses(logits, truth)[0, 0])
    loss.backward()
    assert logits.grad[0, 0].any()
    assert not logits.grad[0, 1].any()


def test_a_batch_without_known_regions_costs_nothing(truth: torch.Tensor) -> None:
    logits = torch.zeros(1, 2, 4, 4, 4, requires_grad=True)
    loss = deep_supervision([logits], truth, torch.zeros(1, 2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_the_loss_is_also_divided_by_known_regions_of_other_processes(
    truth: torch.Tensor, generator: torch.Generator
) -> None:
    logits = torch.randn(1, 2, 4, 4, 4, generator=generator)
    alone = deep_supervision([logits], truth, all_known(truth))
    torch.testing.assert_close(deep_supervision([logits], truth, all_known(truth), n_known=6), alone / 3)


def test_voxels_outside_have_no_loss_and_no_gradient(truth: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(1, 2, 4, 4, 4, generator=generator, requires_grad=True)
    inside = torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool)
    inside[..., :2] = True
    losses = region_losses(logits, truth, inside)
    torch.testing.assert_close(losses, region_losses(logits[..., :2], truth[..., :2]))
    losses.sum().backward()
    assert logits.grad[..., :2].all()
    assert not logits.grad[..., 2:].any()


def test_with_nothing_inside_the_loss_and_its_gradient_are_zero(truth: torch.Tensor) -> None:
    logits = torch.zeros(1, 2, 4, 4, 4, requires_grad=True)
    losses = region_losses(logits, truth, torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool))
    losses.sum().backward()
    assert not losses.any()
    assert not logits.grad.any()


def test_lower_resolutions_also_count_only_voxels_inside(generator: torch.Generator) -> None:
    truth = (torch.rand(1, 1, 8, 8, 8, generator=generator) > 0.5).float()
    outputs = [torch.randn(1, 1, edge, edge, edge, generator=generator, requires_grad=True) for edge in (8, 4, 2)]
    inside = torch.zeros(1, 1, 8, 8, 8, dtype=torch.bool)
    inside[:, :, :4] = True
    deep_supervision(outputs, truth, all_known(truth), inside=inside).backward()
    assert outputs[1].grad[:, :, :2].all()
    assert not outputs[1].grad[:, :, 2:].any()
    assert outputs[2].grad is None


@pytest.fixture
def labels() -> torch.Tensor:
    """Three labels of a cube of 4 voxels per side: the last two fill a plane each, the first the rest."""
    labels = torch.zeros(1, 3, 4, 4, 4)
    labels[:, 1, 0], labels[:, 2, 1], labels[:, 0, 2:] = 1, 1, 1
    return labels


def test_exclusive_labels_worked_by_hand() -> None:
    """Two voxels of each label; the second label is predicted with 3/4 in all four."""
    truth = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]]).reshape(1, 2, 4, 1, 1)
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1, 1).expand(1, 2, 4, 1, 1)
    dice = [(2 * 2 * 0.25 + 1) / (4 * 0.25 + 2 + 1), (2 * 2 * 0.75 + 1) / (4 * 0.75 + 2 + 1)]
    entropy = -(2 * math.log(0.25) + 2 * math.log(0.75)) / 4
    losses = label_losses(logits, truth, weights=LossWeights(entropy=2.0))
    assert losses.mean().item() == pytest.approx(1 - sum(dice) / 2 + 2 * entropy)
    assert losses[0].tolist() == pytest.approx([1 - dice[0] - 2 * math.log(0.25), 1 - dice[1] - 2 * math.log(0.75)])


def test_the_entropy_of_exclusive_labels_is_torchs(labels: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(1, 3, 4, 4, 4, generator=generator)
    both, dice = (label_losses(logits, labels, weights=LossWeights(entropy=share)).mean() for share in (1.0, 0.0))
    torch.testing.assert_close(both - dice, F.cross_entropy(logits, labels.argmax(1)))


def test_right_labels_cost_nothing_and_wrong_ones_more(labels: torch.Tensor) -> None:
    assert label_losses(logits_of(labels), labels).mean().item() == pytest.approx(0, abs=1e-6)
    wrong = labels.clone()
    wrong[:, 1, 0, 0], wrong[:, 2, 0, 0] = 0, 1
    assert label_losses(logits_of(wrong), labels).mean() > 1


@pytest.mark.parametrize(("head", "losses"), [(Head.SIGMOID, region_losses), (Head.SOFTMAX, label_losses)])
def test_the_head_decides_which_loss_is_used(
    labels: torch.Tensor, generator: torch.Generator, head: Head, losses: Callable[..., torch.Tensor]
) -> None:
    logits = torch.randn(1, 3, 4, 4, 4, generator=generator)
    found = deep_supervision([logits], labels, all_known(labels), weights=LossWeights(head=head))
    torch.testing.assert_close(found, losses(logits, labels).mean())


def test_voxels_outside_cost_nothing_for_any_label(labels: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(1, 3, 4, 4, 4, generator=generator)
    inside = torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool)
    inside[..., :2] = True
    torch.testing.assert_close(label_losses(logits, labels, inside), label_losses(logits[..., :2], labels[..., :2]))


def test_generalised_dice_worked_by_hand() -> None:
    """Regions of four and of one of eight voxels, each predicted with 1/2: the larger one is weighted by 1/16."""
    truth = torch.zeros(1, 2, 2, 2, 2)
    truth[0, 0, 0], truth[0, 1, 0, 0, 0] = 1, 1
    losses = generalised_dice_losses(torch.full_like(truth, 0.5), truth, all_known(truth))
    shared, total = 2 / 16 + 0.5, (4 + 4) / 16 + (4 + 1)
    assert losses.tolist() == [[pytest.approx(1 - (2 * shared + 1) / (total + 1))]]


def test_generalised_dice_of_the_truth_is_zero_and_small_regions_cost_more_than_large_ones() -> None:
    truth = torch.zeros(1, 2, 6, 6, 6)
    truth[0, 0, :3], truth[0, 1, :2, :2, :2] = 1, 1  # 108 voxels and 8
    without = [truth.clone(), truth.clone()]
    for region, prediction in enumerate(without):
        prediction[0, region, 0, 0, 0] = 0
    known = all_known(truth)
    right, large, small = (generalised_dice_losses(each, truth, known).item() for each in (truth, *without))
    assert right == 0
    assert small > 10 * large > 0


def test_an_empty_region_weighs_like_the_smallest_in_generalised_dice(truth: torch.Tensor) -> None:
    prediction = truth.clone()
    prediction[0, 1, 0, 0] = 1  # four voxels of an empty region
    losses = generalised_dice_losses(prediction, truth, all_known(truth))
    assert losses.item() == pytest.approx(1 - (2 * 32 + 1) / (32 + 32 + 4 + 1))
    nothing = generalised_dice_losses(prediction[:, 1:], truth[:, 1:], all_known(truth)[:, 1:])
    assert nothing.item() == pytest.approx(1 - 1 / (4 + 1))


def test_unknown_regions_and_voxels_outside_do_not_count_in_generalised_dice(truth: torch.Tensor) -> None:
    prediction = torch.rand(truth.shape, generator=torch.Generator().manual_seed(1))
    known = torch.tensor([[True, False]])
    alone = generalised_dice_losses(prediction[:, :1], truth[:, :1], known[:, :1])
    torch.testing.assert_close(generalised_dice_losses(prediction, truth, known), alone)
    inside = torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool)
    inside[..., :2] = True
    cut = generalised_dice_losses(prediction[..., :2], truth[..., :2], known)
    torch.testing.assert_close(generalised_dice_losses(prediction, truth, known, inside), cut)


def test_patches_have_a_generalised_dice_of_their_own(truth: torch.Tensor, generator: torch.Generator) -> None:
    logits = torch.randn(2, 2, 4, 4, 4, generator=generator)
    truths = torch.cat([truth, truth.flip(2)])
    weights = LossWeights(dice=0.0, entropy=0.0, generalised_dice=3.0)
    each = generalised_dice_losses(logits.sigmoid(), truths, all_known(truths))
    found = deep_supervision([logits], truths, all_known(truths), weights=weights)
    torch.testing.assert_close(found, 3 * each.mean())


def test_the_key_point_loss_is_the_share_that_is_missed() -> None:
    keys = torch.zeros(1, 2, 4, 4, 4, dtype=torch.bool)
    keys[0, 0, 1, 1] = True
    prediction = torch.zeros(1, 2, 4, 4, 4)
    prediction[0, 0, 1, 1, :2] = 0.75
    assert key_point_losses(prediction, keys).tolist() == [[1 - 2 * 0.75 / 4, 0.0]]
    inside = torch.ones(1, 1, 4, 4, 4, dtype=torch.bool)
    inside[..., 0] = False
    assert key_point_losses(prediction, keys, inside).tolist() == [[1 - 0.75 / 3, 0.0]]


def bitten(truth: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """The truth without what lies near its key points."""
    return truth * ~keys


@pytest.fixture
def cube() -> tuple[torch.Tensor, torch.Tensor]:
    """A cube of six voxels per side, and the parts of it around a corner and around the middle of a face."""
    mask = np.zeros((12, 12, 12), bool)
    mask[3:9, 3:9, 3:9] = True
    balls = key_map({Region.WT: np.array([[3, 3, 3], [8, 5, 5]])}, np.zeros(3, int), np.array(mask.shape)) > 0
    return torch.from_numpy(mask)[None, None].float(), torch.from_numpy(balls & mask)[None, None]


def test_the_loss_falls_when_a_boundary_is_corrected(cube: tuple[torch.Tensor, torch.Tensor]) -> None:
    truth, keys = cube
    weights = LossWeights(dice=0.0, entropy=0.0, key_points=1.0)
    half = bitten(truth, keys)
    half[..., :5, :, :] = truth[..., :5, :, :]  # the corner is fixed, the face is not
    losses = [
        deep_supervision([logits_of(each)], truth, all_known(truth), keys=keys, weights=weights).item()
        for each in (bitten(truth, keys), half, truth)
    ]
    assert losses == pytest.approx([1, (keys & (half == 0)).sum().item() / keys.sum().item(), 0])
    assert 0 < losses[1] < 1


@pytest.mark.parametrize("grown", [(2, 9), (3, 10)], ids=str)
def test_marking_beyond_a_boundary_costs_more_with_key_points_too(
    cube: tuple[torch.Tensor, torch.Tensor], grown: tuple[int, int]
) -> None:
    truth, keys = cube
    weights = LossWeights(dice=0.0, entropy=0.0, generalised_dice=1.0, key_points=0.1)
    larger = truth.clone()
    larger[..., slice(*grown), slice(*grown), slice(*grown)] = 1
    right, wrong = (
        deep_supervision([logits_of(each)], truth, all_known(truth), keys=keys, weights=weights)
        for each in (truth, larger)
    )
    assert right < wrong


def test_the_key_point_loss_has_a_gradient_only_near_key_points(cube: tuple[torch.Tensor, torch.Tensor]) -> None:
    truth, keys = cube
    logits = torch.zeros_like(truth, requires_grad=True)
    weights = LossWeights(dice=0.0, entropy=0.0, key_points=1.0)
    deep_supervision([logits], truth, all_known(truth), keys=keys, weights=weights).backward()
    assert (logits.grad[keys] < 0).all()
    assert not logits.grad[~keys].any()


def test_without_key_points_or_their_weight_nothing_changes(cube: tuple[torch.Tensor, torch.Tensor]) -> None:
    truth, keys = cube
    logits = torch.zeros_like(truth)
    plain = deep_supervision([logits], truth, all_known(truth))
    for given, weights in ((keys, LossWeights()), (None, LossWeights(key_points=1.0))):
        assert deep_supervision([logits], truth, all_known(truth), keys=given, weights=weights) == plain
