"""Random patches: shapes, places, flips, poses, intensities, and tumours without enhancement."""

from dataclasses import replace

import numpy as np
import pytest
from prepared import phantom_case

from htcnns.labels import REGIONS, SEQUENCES, Label, Region, Sequence, region_mask
from htcnns.scores.metrics import dice
from htcnns.training import samples
from htcnns.training.campaign import ROUNDS
from htcnns.training.samples import (
    TrainingCase,
    Variety,
    change_pose,
    change_scanner,
    draw,
    quench_enhancement,
    thicken_slices,
    vary_intensities,
)

T1N, T1C = SEQUENCES.index(Sequence.T1N), SEQUENCES.index(Sequence.T1C)
ET = REGIONS.index(Region.ET)
PLAIN, TUMOUR, BRAIN = Variety(quench_share=0.0), Variety(tumour_share=1.0), Variety(tumour_share=0.0)
SLOPES = (0.6, 1.5)


@pytest.fixture(scope="module")
def phantom() -> TrainingCase:
    return phantom_case()


@pytest.fixture(scope="module")
def healthy() -> TrainingCase:
    return phantom_case(with_tumour=False)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches of PLAIN variety are cut and flipped, and nothing else."""
    monkeypatch.setattr(samples, "vary_intensities", lambda array, _: array)


def addressed(shape: tuple[int, int, int]) -> TrainingCase:
    """A case of which every voxel holds another number, and a random half of them a label."""
    numbers = 1 + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    label_map = np.random.default_rng(1).choice(np.uint8([Label.BACKGROUND, Label.ED]), shape)
    return TrainingCase("addressed", np.stack([numbers] * 4), label_map)


@pytest.mark.parametrize("edge", [8, 16, 32, 48])
def test_patches_have_the_edge_asked_for(phantom: TrainingCase, edge: int, rng: np.random.Generator) -> None:
    array, truth = draw(phantom, edge, rng, variety=PLAIN)
    assert (array.shape, array.dtype) == ((4, edge, edge, edge), np.float32)
    assert (truth.shape, truth.dtype) == ((3, edge, edge, edge), np.float32)
    assert array.flags.c_contiguous
    assert truth.flags.c_contiguous


def test_truth_holds_zeros_and_ones_that_nest(phantom: TrainingCase, rng: np.random.Generator) -> None:
    wt, tc, et = draw(phantom, 32, rng, variety=PLAIN)[1]
    assert set(np.unique([wt, tc, et])) == {0, 1}
    assert (wt >= tc).all()
    assert (tc >= et).all()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("seed", range(5))
def test_a_larger_patch_holds_the_whole_case(phantom: TrainingCase, seed: int) -> None:
    array, truth = draw(phantom, 48, np.random.default_rng(seed), variety=PLAIN)
    assert np.count_nonzero(array) == np.count_nonzero(phantom.array)
    expected = [region_mask(phantom.label_map, region).sum() for region in REGIONS]
    np.testing.assert_array_equal(truth.sum((1, 2, 3)), expected)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("seed", range(5))
def test_a_patch_lies_inside_a_case_that_is_larger(seed: int) -> None:
    array, _ = draw(addressed((20, 24, 28)), 16, np.random.default_rng(seed), variety=PLAIN)
    assert (array > 0).all()
    assert len(np.unique(array)) == 16**3


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("seed", range(10))
def test_flips_turn_intensities_and_truth_alike(seed: int) -> None:
    case = addressed((20, 24, 28))
    array, truth = draw(case, 16, np.random.default_rng(seed), variety=PLAIN)
    label_of = region_mask(case.label_map, Region.WT).ravel()
    np.testing.assert_array_equal(truth[0], label_of[array[0].astype(int) - 1])


@pytest.mark.usefixtures("plain")
def test_every_axis_is_flipped_now_and_then() -> None:
    steps = [
        np.sign(np.diff(draw(addressed((8, 8, 8)), 8, np.random.default_rng(seed), variety=PLAIN)[0][0], axis=0))
        for seed in range(20)
    ]
    assert {step.min() for step in steps} == {step.max() for step in steps} == {-1, 1}


@pytest.mark.parametrize("variety", [each.variety for each in ROUNDS])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_generator_gives_the_same_patch(phantom: TrainingCase, seed: int, variety: Variety) -> None:
    first, second = (draw(phantom, 16, np.random.default_rng(seed), variety=variety) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_another_seed_gives_another_patch(phantom: TrainingCase) -> None:
    first, second = (draw(phantom, 16, np.random.default_rng(seed), variety=PLAIN)[0] for seed in (7, 8))
    assert not np.array_equal(first, second)


def test_drawing_leaves_the_case_as_it_was(phantom: TrainingCase) -> None:
    before = phantom.array.copy(), phantom.label_map.copy()
    patches = [draw(phantom, 16, np.random.default_rng(seed), variety=PLAIN) for seed in range(10)]
    assert len(patches) == 10
    np.testing.assert_array_equal(phantom.array, before[0])
    np.testing.assert_array_equal(phantom.label_map, before[1])


def test_a_case_without_tumour_gives_patches_of_brain(healthy: TrainingCase, rng: np.random.Generator) -> None:
    array, truth = draw(healthy, 16, rng, variety=PLAIN)
    assert array.any()
    assert not truth.any()


def test_labels_that_do_not_occur_are_never_looked_for(healthy: TrainingCase) -> None:
    assert set(healthy.places) == {Label.BACKGROUND}


def test_places_are_the_voxels_of_each_label(phantom: TrainingCase) -> None:
    assert set(phantom.places) == set(Label) - {Label.RC, Label.CC}
    found = phantom.label_map.ravel()[phantom.places[Label.ET]]
    assert set(found) == {Label.ET}
    assert len(found) == (phantom.label_map == Label.ET).sum()


def test_every_tumour_patch_holds_a_voxel_of_a_small_tumour() -> None:
    label_map = np.zeros((64, 64, 64), np.uint8)
    label_map[50, 3, 31] = Label.ED
    case = TrainingCase("small", np.ones((4, 64, 64, 64), np.float16), label_map)
    sums = [draw(case, 16, np.random.default_rng(seed), variety=TUMOUR)[1][0].sum() for seed in range(20)]
    assert sums == [1] * 20


@pytest.mark.parametrize("seed", range(8))
def test_background_stays_0_and_brain_changes(phantom: TrainingCase, seed: int) -> None:
    array = phantom.array.astype(np.float32)
    varied = vary_intensities(array, np.random.default_rng(seed))
    assert varied.dtype == np.float32
    assert (varied[array == 0] == 0).all()
    assert (varied[array != 0] != array[array != 0]).mean() > 0.99


@pytest.mark.parametrize("seed", range(8))
def test_variation_is_mild(phantom: TrainingCase, seed: int) -> None:
    array = phantom.array.astype(np.float32)
    varied = vary_intensities(array, np.random.default_rng(seed))
    together = np.corrcoef(varied[0][array[0] != 0], array[0][array[0] != 0])[0, 1]
    assert together > 0.9


def test_shift_and_scale_stay_below_a_tenth(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(samples, "GAMMA_SHARE", 0)
    monkeypatch.setattr(samples, "NOISE_SHARE", 0)
    array = np.stack([np.linspace(1, 2, 64).reshape(4, 4, 4)] * 4)
    varied = vary_intensities(array, rng)
    slopes = (varied[:, -1, -1, -1] - varied[:, 0, 0, 0]) / 1
    assert (np.abs(slopes - 1) <= 0.1).all()
    assert (np.abs(varied[:, 0, 0, 0] - slopes) <= 0.1 + 1e-6).all()
    assert len(np.unique(slopes)) == 4


def test_without_enhancement_no_et_is_left_and_the_core_stays(phantom: TrainingCase) -> None:
    array = phantom.array.astype(np.float32)
    _, quenched = quench_enhancement(array, phantom.label_map)
    assert quenched.dtype == np.uint8
    assert not region_mask(quenched, Region.ET).any()
    np.testing.assert_array_equal(region_mask(quenched, Region.TC), region_mask(phantom.label_map, Region.TC))
    np.testing.assert_array_equal(region_mask(quenched, Region.WT), region_mask(phantom.label_map, Region.WT))


def test_without_enhancement_t1c_is_t1n_deep_inside_and_itself_far_outside(rng: np.random.Generator) -> None:
    array = rng.normal(size=(4, 24, 24, 24)).astype(np.float32)
    label_map = np.zeros((24, 24, 24), np.uint8)
    label_map[8:16, 8:16, 8:16] = Label.ET
    quenched, _ = quench_enhancement(array, label_map)
    inside = (slice(8, 16),) * 3  # but for the corners, half of the 5-cube around each voxel is tumour
    np.testing.assert_allclose(quenched[T1C][9:15, 9:15, 9:15], array[T1N][9:15, 9:15, 9:15], rtol=1e-5, atol=1e-6)
    far = np.ones((24, 24, 24), bool)
    far[6:18, 6:18, 6:18] = False
    np.testing.assert_array_equal(quenched[T1C][far], array[T1C][far])
    assert not np.array_equal(quenched[T1C][inside], array[T1C][inside])


def test_without_enhancement_the_other_sequences_stay(phantom: TrainingCase) -> None:
    array = phantom.array.astype(np.float32)
    quenched, _ = quench_enhancement(array, phantom.label_map)
    others = [index for index in range(4) if index != T1C]
    np.testing.assert_array_equal(quenched[others], array[others])


def test_without_enhancement_nothing_changes_where_there_is_no_tumour(healthy: TrainingCase) -> None:
    array = healthy.array.astype(np.float32)
    quenched, label_map = quench_enhancement(array, healthy.label_map)
    np.testing.assert_array_equal(quenched, array)
    assert not label_map.any()


def test_as_many_patches_as_asked_for_have_no_enhancement(phantom: TrainingCase) -> None:
    truth = draw(phantom, 32, np.random.default_rng(1), variety=Variety(quench_share=1.0))[1]
    assert not truth[ET].any()
    assert truth[0].any()
    assert draw(phantom, 32, np.random.default_rng(1), variety=Variety(quench_share=0.0))[1][ET].any()


def test_patches_of_brain_alone_rarely_hold_a_small_tumour() -> None:
    label_map = np.zeros((64, 64, 64), np.uint8)
    label_map[50, 3, 31] = Label.ED
    case = TrainingCase("small", np.ones((4, 64, 64, 64), np.float16), label_map)
    sums = [draw(case, 16, np.random.default_rng(seed), variety=BRAIN)[1][0].sum() for seed in range(20)]
    assert sum(sums) < 5


@pytest.mark.parametrize(
    ("change", "variety"),
    [("thicken_slices", replace(PLAIN, thick_share=1.0)), ("change_scanner", replace(PLAIN, contrast_share=1.0))],
)
def test_variety_changes_the_patch_and_never_its_truth(
    phantom: TrainingCase, monkeypatch: pytest.MonkeyPatch, change: str, variety: Variety
) -> None:
    monkeypatch.setattr(samples, "vary_intensities", lambda array, _: array)
    monkeypatch.setattr(samples, change, lambda array, _, **__: 2 * array)
    plain, varied = (draw(phantom, 48, np.random.default_rng(4), variety=each) for each in (PLAIN, variety))
    assert varied[0].sum() == pytest.approx(2 * plain[0].sum(), rel=1e-4)
    assert varied[1].sum() == plain[1].sum()


@pytest.mark.parametrize("seed", range(8))
def test_thick_slices_keep_background_and_mean_and_lose_detail(seed: int, rng: np.random.Generator) -> None:
    array = rng.normal(5, 1, (4, 24, 24, 24)).astype(np.float32)
    array[:, :2] = array[:, :, :2] = array[..., :2] = 0
    before = array.copy()
    thick = thicken_slices(array, np.random.default_rng(seed))
    np.testing.assert_array_equal(array, before)
    assert thick.shape == array.shape
    assert thick.dtype == np.float32
    assert (thick[array == 0] == 0).all()
    changed = [sequence for sequence in range(4) if not np.array_equal(thick[sequence], array[sequence])]
    assert changed
    inner = (changed, slice(8, -4), slice(4, -4), slice(4, -4))
    assert thick[inner].mean() == pytest.approx(array[inner].mean(), abs=0.1)
    assert thick[inner].std() < 0.8 * array[inner].std()


@pytest.mark.parametrize("seed", range(8))
def test_thick_slices_of_a_slope_are_the_slope(seed: int) -> None:
    array = np.broadcast_to(1 + np.arange(24, dtype=np.float32), (4, 24, 24, 24))
    thick = thicken_slices(array, np.random.default_rng(seed))
    np.testing.assert_allclose(thick[..., 4:-4], array[..., 4:-4], rtol=1e-4)


def test_a_part_of_the_sequences_may_keep_their_slices(rng: np.random.Generator) -> None:
    array = rng.normal(5, 1, (4, 12, 12, 12)).astype(np.float32)
    kept = [
        sum(
            np.array_equal(a, b) for a, b in zip(array, thicken_slices(array, np.random.default_rng(seed)), strict=True)
        )
        for seed in range(40)
    ]
    assert min(kept) == 0
    assert max(kept) > 0
    assert sum(kept) < 60


@pytest.mark.parametrize("seed", range(8))
def test_another_scanner_keeps_background_and_order_of_magnitude(seed: int, rng: np.random.Generator) -> None:
    array = rng.normal(0, 1, (4, 16, 16, 16)).astype(np.float32)
    array[:, :2] = 0
    before = array.copy()
    changed = change_scanner(array, np.random.default_rng(seed), slopes=SLOPES)
    np.testing.assert_array_equal(array, before)
    assert changed.dtype == np.float32
    assert (changed[:, :2] == 0).all()
    inner = (slice(None), slice(2, None))
    assert abs(changed[inner].mean()) < 1
    assert 0.5 < changed[inner].std() < 1.8
    assert not np.allclose(changed[inner], array[inner], atol=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_without_shading_another_contrast_rises_where_the_first_does(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "SHADE", 0)
    array = np.linspace(-3.9, 7.9, 4096, dtype=np.float32).reshape(16, 16, 16)
    changed = change_scanner(np.stack([array] * 4), np.random.default_rng(seed), slopes=SLOPES)
    slopes = np.diff(changed.reshape(4, -1), axis=1) / np.diff(array.ravel())
    assert slopes.min() > 0.55
    assert slopes.max() < 1.55
    assert (slopes.max(axis=1) / slopes.min(axis=1) > 1.05).all()
    assert not np.allclose(changed[0], changed[1])


def test_without_another_contrast_shading_is_a_smooth_factor() -> None:
    array = np.ones((4, 24, 24, 24), np.float32)
    changed = change_scanner(array, np.random.default_rng(3), slopes=(1, 1))
    steps = [np.abs(np.diff(changed, axis=axis)).max() for axis in (1, 2, 3)]
    assert max(steps) < 0.5
    assert changed.std(axis=(1, 2, 3)).min() > 0
    assert changed.std(axis=(1, 2, 3)).max() < 1


def ball(edge: int, radius: float) -> np.ndarray:
    """(edge, edge, edge) uint8: a round enhancing tumour in the middle."""
    axes = np.arange(edge) - (edge - 1) / 2
    i, j, k = np.meshgrid(axes, axes, axes, indexing="ij")
    return np.where(i**2 + j**2 + k**2 <= radius**2, np.uint8(Label.ET), np.uint8(Label.BACKGROUND))


@pytest.mark.parametrize("edge", [16, 20])
def test_a_pose_without_turn_and_zoom_is_the_middle(
    edge: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(samples, "TURN", 0)
    monkeypatch.setattr(samples, "ZOOM", 1)
    array = rng.normal(5, 1, (4, 20, 20, 20)).astype(np.float32)
    label_map = rng.choice(np.uint8([Label.BACKGROUND, Label.ED, Label.ET]), (20, 20, 20))
    posed, labels = change_pose(array, label_map, edge, rng)
    margin = (20 - edge) // 2
    middle = (slice(margin, margin + edge),) * 3
    np.testing.assert_allclose(posed, array[:, *middle], atol=1e-4)
    np.testing.assert_array_equal(labels, label_map[middle])


@pytest.mark.parametrize("seed", range(8))
def test_a_pose_moves_intensities_and_truth_alike_and_keeps_background(seed: int) -> None:
    label_map = np.zeros((44, 44, 44), np.uint8)
    label_map[12:26, 14:36, 9:30] = Label.ET
    array = np.where(label_map > 0, np.float32(9), np.float32(1))[None].repeat(4, axis=0)
    array[:, :12] = 0
    posed, labels = change_pose(array, label_map, 32, np.random.default_rng(seed))
    assert (posed.shape, posed.dtype, labels.shape, labels.dtype) == ((4, 32, 32, 32), np.float32, (32,) * 3, np.uint8)
    assert set(np.unique(labels)) == {Label.BACKGROUND, Label.ET}
    assert ((posed[0] > 5) == (labels == Label.ET)).mean() > 0.98
    assert (posed == 0).mean() > 0.02
    assert not labels[posed[0] == 0].any()
    assert ((posed > 0) & (posed < 0.4)).mean() < 1e-3  # lines alone give a fringe between background and brain


def test_zoom_makes_a_tumour_larger_and_smaller_by_no_more_than_its_cube() -> None:
    label_map = ball(45, 9)
    array = np.ones((4, 45, 45, 45), np.float32)
    sizes = [(change_pose(array, label_map, 33, np.random.default_rng(seed))[1] > 0).sum() for seed in range(20)]
    share = np.array(sizes) / (label_map > 0).sum()
    assert 1.25**-3 * 0.97 < share.min() < 0.8
    assert 1.2 < share.max() < 1.25**3 * 1.03


def test_a_turn_leaves_a_ball_and_moves_a_plate_by_no_more_than_its_angles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "ZOOM", 1)
    array = np.ones((4, 45, 45, 45), np.float32)
    around = [change_pose(array, ball(45, 9), 33, np.random.default_rng(seed))[1] for seed in range(4)]
    assert min(dice(each > 0, ball(33, 9) > 0) for each in around) > 0.95
    plate = np.zeros((45, 45, 45), np.uint8)
    plate[22] = Label.ED
    turned = [change_pose(array, plate, 33, np.random.default_rng(seed))[1] for seed in range(8)]
    reach = [np.ptp(np.flatnonzero(each.any(axis=(1, 2)))) for each in turned]
    assert 4 < max(reach) < 15


def test_patches_are_turned_and_zoomed_as_often_as_asked_for(
    phantom: TrainingCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = []

    def note(array: np.ndarray, label_map: np.ndarray, edge: int, rng: np.random.Generator) -> tuple:
        edges.append((array.shape[1], edge))
        return change_pose(array, label_map, edge, rng)

    monkeypatch.setattr(samples, "change_pose", note)
    shapes = {
        draw(phantom, 20, np.random.default_rng(seed), variety=Variety(pose_share=0.5))[0].shape for seed in range(20)
    }
    assert shapes == {(4, 20, 20, 20)}
    assert set(edges) == {(28, 20)}
    assert 5 <= len(edges) <= 15


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("seed", range(6))
def test_a_posed_patch_has_its_own_truth(seed: int) -> None:
    label_map = np.zeros((40, 44, 48), np.uint8)
    label_map[14:26, 12:30, 20:34] = Label.ED
    array = np.where(label_map > 0, np.float32(9), np.float32(1))[None].repeat(4, axis=0)
    case = TrainingCase("block", array, label_map)
    posed, truth = draw(case, 20, np.random.default_rng(seed), variety=replace(PLAIN, tumour_share=1.0, pose_share=1.0))
    assert truth[0].any()
    assert ((posed[0] > 5) == (truth[0] > 0)).mean() > 0.98


def test_a_scanner_is_as_strange_as_asked_for(phantom: TrainingCase, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []
    monkeypatch.setattr(samples, "change_scanner", lambda array, _, *, slopes: asked.append(slopes) or array)
    draw(phantom, 16, np.random.default_rng(1), variety=Variety(contrast_share=1.0, slopes=(0.4, 2.5)))
    assert asked == [(0.4, 2.5)]
