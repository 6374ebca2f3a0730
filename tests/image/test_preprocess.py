"""From sequences to what networks see and back: hand-worked cases, every orientation, strange backgrounds."""

import itertools

import nibabel as nib
import numpy as np
import pytest

from htcnns.errors import InputError, SettingsError
from htcnns.image import plausibility
from htcnns.image.phantom import make_phantom
from htcnns.image.preprocess import Prepared, PreprocessSettings, Undo, pad, preprocess
from htcnns.image.resample import resample
from htcnns.volume import bounding_box, turn

Orientation = tuple[tuple[int, int, int], tuple[int, int, int]]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TIGHT = PreprocessSettings(window=(1, 1, 1))
WINDOW = PreprocessSettings(window=(32, 32, 32))
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
each_orientation = pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
TILT = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.25, -0.2, 0.15), (5.0, -3.0, 8.0))


def cube_head(shape: tuple[int, int, int] = (24, 24, 24), *, low: int = 6, high: int = 18) -> np.ndarray:
    """(4, *shape) float32: a cube of distinct positive values in zeros."""
    head = np.zeros((4, *shape), np.float32)
    inside = (slice(low, high),) * 3
    size = (high - low) ** 3
    values = 100 + np.random.default_rng(1).permutation(size).reshape(head[0][inside].shape)
    for number, sequence in enumerate(head):
        sequence[inside] = values + 10 * number
    return head


def spaced(*spacing_mm: float) -> np.ndarray:
    """The affine of a case stored as LPS with that spacing."""
    return LPS @ np.diag([*spacing_mm, 1])


def oriented(sequences: np.ndarray, affine: np.ndarray, orientation: Orientation) -> tuple[np.ndarray, np.ndarray]:
    """The same head in the same place, its voxel axes permuted and reversed."""
    order, signs = orientation
    turned = sequences.transpose(0, *(1 + axis for axis in order))[
        (slice(None), *(slice(None, None, s) for s in signs))
    ]
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
        change[old, new] = sign
        change[old, 3] = 0 if sign > 0 else sequences.shape[1 + old] - 1
    return turned, affine @ change


@pytest.fixture(autouse=True)
def _small_heads_are_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heads here have only a few ml; notes on that are left to test_plausibility."""
    monkeypatch.setattr(plausibility, "SMALLEST_BRAIN_ML", 0.0)
    monkeypatch.setattr(plausibility, "THINNEST_BRAIN_MM", 0.0)


@pytest.fixture(scope="module")
def phantom_sequences() -> np.ndarray:
    return make_phantom((28, 32, 26), seed=1).sequences


@pytest.fixture(scope="module")
def prepared(phantom_sequences: np.ndarray) -> Prepared:
    return preprocess(phantom_sequences, LPS, WINDOW)


def test_two_voxels_worked_by_hand() -> None:
    head = np.zeros((4, 4, 4, 4), np.float32)
    head[:, 1, 1, 1], head[:, 2, 1, 1] = 10, 30  # mean 20, deviation 10
    prepared = preprocess(head, LPS, TIGHT)
    np.testing.assert_allclose(prepared.array, np.broadcast_to([[[-1.0]], [[1.0]]], (4, 2, 1, 1)), rtol=1e-6)
    assert prepared.brain.all()
    assert prepared.undo.box == (slice(1, 3), slice(1, 2), slice(1, 2))
    assert len(prepared.notes) == 6 + 4  # every pair is identical, each holds only two values


def test_types_and_shapes_are_those_promised(prepared: Prepared) -> None:
    assert prepared.array.dtype == np.float32
    assert prepared.brain.dtype == bool
    assert prepared.array.shape == (4, *prepared.brain.shape)


def test_every_sequence_has_mean_0_and_deviation_1_in_its_own_mask(phantom_sequences: np.ndarray) -> None:
    sequences = phantom_sequences.copy()
    sequences[2, :14] = 0  # half of t2w is missing
    array = preprocess(sequences, LPS, TIGHT).array
    means = [sequence[sequence != 0].mean() for sequence in array]
    deviations = [sequence[sequence != 0].std() for sequence in array]
    np.testing.assert_allclose(means, 0, atol=1e-4)
    np.testing.assert_allclose(deviations, 1, atol=1e-4)
    assert np.count_nonzero(array[2]) < 0.7 * np.count_nonzero(array[1])


def test_outside_the_brain_is_zero(prepared: Prepared) -> None:
    assert (prepared.array[:, ~prepared.brain] == 0).all()


def test_brain_is_the_union_over_the_sequences() -> None:
    head = cube_head()
    head[0, :12] = 0
    head[1:, 12:] = 0
    prepared = preprocess(head, LPS, TIGHT)
    assert prepared.brain.shape == (12, 12, 12)
    assert prepared.brain.all()


def test_scaling_and_shifting_intensities_inside_the_head_changes_nothing(phantom_sequences: np.ndarray) -> None:
    changed = np.where(phantom_sequences > 0, 3 * phantom_sequences + 50, 0).astype(np.float32)
    expected = preprocess(phantom_sequences, LPS, TIGHT).array
    np.testing.assert_allclose(preprocess(changed, LPS, TIGHT).array, expected, atol=1e-3)


def test_the_input_stays_as_it_was(phantom_sequences: np.ndarray) -> None:
    before = phantom_sequences.copy()
    preprocess(phantom_sequences, LPS, WINDOW)
    np.testing.assert_array_equal(phantom_sequences, before)


@each_orientation
def test_networks_see_the_same_however_a_case_is_stored(
    phantom_sequences: np.ndarray, prepared: Prepared, orientation: Orientation
) -> None:
    turned = preprocess(*oriented(phantom_sequences, LPS, orientation), WINDOW)
    np.testing.assert_allclose(turned.array, prepared.array, atol=1e-5)
    np.testing.assert_array_equal(turned.brain, prepared.brain)


@each_orientation
@pytest.mark.parametrize("affine", [LPS, LPS @ TILT], ids=["straight", "oblique"])
def test_a_label_map_comes_back_exactly(orientation: Orientation, affine: np.ndarray, rng: np.random.Generator) -> None:
    sequences, turned_affine = oriented(cube_head((20, 24, 28)), affine, orientation)
    undo = preprocess(sequences, turned_affine, WINDOW).undo
    truth = (rng.integers(0, 4, sequences.shape[1:]) * (sequences[0] > 0)).astype(np.uint8)
    there = turn(truth[None], undo.order, undo.flips)[(slice(None), *undo.box)]
    back = undo(pad(there, WINDOW.least)[0])
    np.testing.assert_array_equal(back, truth[None], strict=True)


@each_orientation
def test_undoing_the_brain_returns_where_the_signal_was(orientation: Orientation) -> None:
    sequences, affine = oriented(cube_head((20, 24, 28)), LPS @ TILT, orientation)
    prepared = preprocess(sequences, affine, WINDOW)
    np.testing.assert_array_equal(prepared.undo(prepared.brain[None])[0], sequences[0] > 0)


def test_undoing_keeps_the_type_where_nothing_was_resampled(prepared: Prepared) -> None:
    assert prepared.undo(prepared.brain[None]).dtype == bool
    assert prepared.undo(prepared.array).dtype == np.float32


def test_undoing_the_intensities_keeps_voxels_in_place(phantom_sequences: np.ndarray, prepared: Prepared) -> None:
    back = prepared.undo(prepared.array)
    inside = phantom_sequences[0] > 0
    assert np.corrcoef(back[0][inside], phantom_sequences[0][inside])[0, 1] == pytest.approx(1, abs=1e-5)
    assert (back[:, ~inside] == 0).all()


def test_undone_arrays_are_contiguous(prepared: Prepared) -> None:
    assert prepared.undo(prepared.array).flags.c_contiguous


@pytest.mark.parametrize("spacing", [(2.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.5, 1.5, 2.0)], ids=str)
@pytest.mark.parametrize("orientation", ORIENTATIONS[::7], ids=str)
def test_networks_see_a_millimetre_grid(spacing: tuple[float, float, float], orientation: Orientation) -> None:
    shape = (20, 24, 28)
    affine = spaced(*spacing)
    undo = preprocess(*oriented(cube_head(shape), affine, orientation), WINDOW).undo
    assert undo.resampled
    assert undo.turned_shape == shape
    assert undo.grid_shape == tuple(round(n * mm) for n, mm in zip(shape, spacing, strict=True))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.5, 1.5, 2.0)], ids=str)
@pytest.mark.parametrize("orientation", ORIENTATIONS[::7], ids=str)
def test_the_brains_middle_maps_to_the_cases_own_grid(
    spacing: tuple[float, float, float], orientation: Orientation
) -> None:
    sequences, affine = oriented(cube_head((20, 24, 28)), spaced(*spacing), orientation)
    prepared = preprocess(sequences, affine, WINDOW)
    middle = np.argwhere(prepared.brain).mean(axis=0)
    expected = np.argwhere(sequences[0] > 0).mean(axis=0)
    tolerance = 0.51 / np.array(spacing)[list(orientation[0])]  # half a voxel of 1 mm, where it was resampled
    assert (np.abs(prepared.undo.place(middle) - expected) <= (tolerance if prepared.undo.resampled else 1e-9)).all()


@pytest.mark.parametrize("spacing", [(2.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.5, 1.5, 2.0)], ids=str)
@pytest.mark.parametrize("orientation", ORIENTATIONS[::7], ids=str)
def test_a_resampled_mask_is_nearly_restored(spacing: tuple[float, float, float], orientation: Orientation) -> None:
    sequences, affine = oriented(cube_head(), spaced(*spacing), orientation)
    prepared = preprocess(sequences, affine, WINDOW)
    back = prepared.undo(prepared.brain[None])
    assert back.dtype == np.float32
    assert back.shape == (1, *sequences.shape[1:])
    prediction, truth = back[0] >= 0.5, sequences[0] > 0
    assert 2 * (prediction & truth).sum() / (prediction.sum() + truth.sum()) > 0.95


def test_a_resampled_brain_keeps_its_volume() -> None:
    prepared = preprocess(cube_head(), spaced(1.5, 1.0, 2.0), WINDOW)
    assert prepared.brain.sum() == pytest.approx(12**3 * 1.5 * 2.0, rel=0.05)


def test_resampled_intensities_have_mean_0_and_deviation_1() -> None:
    prepared = preprocess(cube_head(), spaced(1.5, 1.0, 2.0), WINDOW)
    np.testing.assert_allclose(prepared.array[:, prepared.brain].mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(prepared.array[:, prepared.brain].std(axis=1), 1, atol=1e-4)


def test_a_sheared_affine_is_noted_with_its_angle() -> None:
    sheared = LPS.copy()
    sheared[0, 1] = np.tan(np.radians(5))
    notes = preprocess(cube_head(), sheared, TIGHT).notes
    assert (
        notes[0] == "the affine is sheared: axes are 5.0 degrees from orthogonal; the networks see them as orthogonal"
    )


def test_resampling_is_noted() -> None:
    notes = preprocess(cube_head(), spaced(1.0, 1.0, 2.0), TIGHT).notes
    assert notes == ("voxels of 1 x 1 x 2 mm were resampled to 1 mm and the result back",)


@pytest.mark.parametrize("noise", [0, 1e-7, 1e-4, 9e-3])
def test_noise_in_the_spacing_causes_no_resampling(noise: float) -> None:
    prepared = preprocess(cube_head(), spaced(1 + noise, 1 + noise, 1 + noise), TIGHT)
    assert not prepared.undo.resampled
    assert prepared.notes == ()


def test_an_oblique_header_causes_no_resampling() -> None:
    assert not preprocess(cube_head(), LPS @ TILT, TIGHT).undo.resampled


def test_resampling_to_half_averages_neighbours(rng: np.random.Generator) -> None:
    array = rng.normal(size=(2, 6, 4, 8)).astype(np.float32)
    means = array.reshape(2, 3, 2, 2, 2, 4, 2).mean((2, 4, 6))
    np.testing.assert_allclose(resample(array, (3, 2, 4)), means, atol=1e-6)


def test_resampling_to_the_same_shape_changes_nothing(rng: np.random.Generator) -> None:
    array = rng.normal(size=(2, 5, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(resample(array, (5, 6, 7)), array)


def test_resampling_keeps_a_constant() -> None:
    np.testing.assert_allclose(resample(np.full((1, 5, 6, 7), 3, np.float32), (2, 9, 7)), 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("least", "expected", "inner"),
    [
        ((1, 1, 1), (2, 3, 4), (slice(0, 2), slice(0, 3), slice(0, 4))),
        ((4, 4, 4), (4, 4, 4), (slice(1, 3), slice(0, 3), slice(0, 4))),
        ((5, 3, 9), (5, 3, 9), (slice(1, 3), slice(0, 3), slice(2, 6))),
    ],
    ids=str,
)
def test_padding_centres_and_says_where(least: tuple, expected: tuple, inner: tuple, rng: np.random.Generator) -> None:
    array = rng.normal(size=(2, 2, 3, 4))
    padded, box = pad(array, least)
    assert padded.shape == (2, *expected)
    assert box == inner
    np.testing.assert_array_equal(padded[(slice(None), *box)], array)
    assert np.count_nonzero(padded) == np.count_nonzero(array)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        (TIGHT, (12, 12, 12)),
        (WINDOW, (32, 32, 32)),
        (PreprocessSettings(window=(4, 16, 32)), (12, 16, 32)),
        (PreprocessSettings(window=(16, 16, 16), box=(20, 24, 8)), (20, 24, 16)),
        (PreprocessSettings(window=(4, 4, 4), box=(8, 8, 8)), (12, 12, 12)),
    ],
    ids=["tight", "window", "uneven window", "box", "box smaller than the brain"],
)
def test_a_brain_is_padded_to_window_and_box_and_never_cut(settings: PreprocessSettings, shape: tuple) -> None:
    prepared = preprocess(cube_head(), LPS, settings)
    assert prepared.array.shape == (4, *shape)
    assert prepared.brain.sum() == 12**3


@pytest.mark.parametrize(
    ("settings", "found"),
    [({"window": (0, 1, 1)}, "window: .* found 0 x 1 x 1"), ({"box": (1, -1, 1)}, "box: .* found 1 x -1 x 1")],
    ids=["window", "box"],
)
def test_edges_below_one_are_refused(settings: dict, found: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{found}, expected edges of at least 1 voxel\. Correct the manifest"):
        PreprocessSettings(**settings)


@pytest.mark.parametrize("background", [-1024.0, -1.0, 7.0, 0.1, 3000.0])
def test_a_background_of_another_value_is_found_and_noted(background: float) -> None:
    head = cube_head()
    shifted = np.where(head == 0, np.float32(background), head)
    prepared = preprocess(shifted, LPS, TIGHT)
    np.testing.assert_allclose(prepared.array, preprocess(head, LPS, TIGHT).array, atol=1e-5)
    expected = [f"{name}: the background is {background:.4g}, not 0" for name in ("t1n", "t1c", "t2w", "t2f")]
    assert list(prepared.notes) == expected


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
@pytest.mark.parametrize("background", [-1e10, -3.4e38, 1e12])
def test_a_placeholder_as_background_leaves_the_brain_as_it_is(background: float, spacing_mm: float) -> None:
    head = cube_head()
    marked = np.where(head == 0, np.float32(background), head)
    affine = spaced(spacing_mm, spacing_mm, spacing_mm)
    prepared = preprocess(marked, affine, TIGHT)
    np.testing.assert_allclose(prepared.array, preprocess(head, affine, TIGHT).array, atol=1e-5)
    assert f"t1n: the background is {background:.4g}, not 0" in prepared.notes


def test_a_background_in_one_sequence_is_noted_for_that_one_only() -> None:
    head = cube_head()
    head[1][head[1] == 0] = -5
    assert preprocess(head, LPS, TIGHT).notes == ("t1c: the background is -5, not 0",)


def test_negative_values_in_the_brain_are_kept_and_noted() -> None:
    head = cube_head()
    shifted = np.where(head > 0, head - 550.5, 0).astype(np.float32)
    prepared = preprocess(shifted, LPS, TIGHT)
    np.testing.assert_allclose(prepared.array, preprocess(head, LPS, TIGHT).array, atol=1e-4)
    assert prepared.notes[0] == f"t1n: holds negative values down to {shifted[0].min():.4g}"
    assert len(prepared.notes) == 4


def test_a_background_of_another_value_changes_nothing_where_voxels_are_resampled() -> None:
    head = cube_head()
    shifted = (head + 3000).astype(np.float32)
    coarse = np.diag([-2.0, -2.0, 2.0, 1.0])
    expected = preprocess(head, coarse, TIGHT).array
    np.testing.assert_allclose(preprocess(shifted, coarse, TIGHT).array, expected, atol=1e-3)


def test_a_brain_cropped_so_tightly_that_it_fills_most_of_the_border_stays_whole(rng: np.random.Generator) -> None:
    head = np.zeros((4, 16, 16, 6), np.float32)
    head[:, 1:-1, 1:-1] = rng.uniform(100, 900, (4, 14, 14, 6))  # reaches through the first and last slice
    prepared = preprocess(head, LPS, TIGHT)
    assert prepared.notes == ()
    np.testing.assert_array_equal(prepared.undo(prepared.brain[None])[0], head[0] > 0)


def test_a_noisy_background_is_cut_off_and_noted(rng: np.random.Generator) -> None:
    head = cube_head()
    noisy = np.where(head > 0, head, np.abs(rng.normal(0, 3, head.shape))).astype(np.float32)
    prepared = preprocess(noisy, LPS, WINDOW)
    found = prepared.undo(prepared.brain[None])[0]
    assert found[head[0] > 0].all()
    assert found[head[0] == 0].sum() < 0.01 * 12**3
    assert all("no constant background; the head is assumed to lie above" in note for note in prepared.notes)
    assert len(prepared.notes) == 4


def test_specks_far_away_are_not_brain() -> None:
    head = cube_head()
    head[:, 0, 0, 0], head[:, 23, 23, 20:23] = 1000, 1000
    prepared = preprocess(head, LPS, TIGHT)
    assert prepared.undo.box == (slice(6, 18),) * 3
    np.testing.assert_allclose(prepared.array, preprocess(cube_head(), LPS, TIGHT).array, atol=1e-5)


def test_specks_inside_the_box_are_not_brain() -> None:
    head = cube_head((40, 24, 24))
    head[:, 30:36, 8:14, 8:14] = 200
    with_speck = head.copy()
    with_speck[:, 24, 12, 12] = 5000
    prepared = preprocess(with_speck, LPS, TIGHT)
    assert not prepared.brain[18, 6, 6]
    np.testing.assert_allclose(prepared.array, preprocess(head, LPS, TIGHT).array, atol=1e-5)


def test_a_second_large_piece_is_brain() -> None:
    head = cube_head((40, 24, 24))
    head[:, 30:36, 8:14, 8:14] = 200
    assert preprocess(head, LPS, TIGHT).undo.box[0] == slice(6, 36)


def test_a_hole_in_the_head_stays_in_the_box_and_is_zero() -> None:
    head = cube_head()
    head[:, 10:14, 10:14, 10:14] = 0
    prepared = preprocess(head, LPS, TIGHT)
    assert (prepared.array[:, 4:8, 4:8, 4:8] == 0).all()
    assert prepared.brain.sum() == 12**3 - 4**3


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_a_whole_head_does_not_look_skull_stripped(spacing_mm: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plausibility, "LARGEST_BRAIN_ML", 1.0)
    notes = preprocess(cube_head(), spaced(spacing_mm, spacing_mm, spacing_mm), TIGHT).notes
    n_ml = round(1.728 * spacing_mm**3)
    assert notes[-1] == f"does not look skull-stripped: {n_ml} ml of signal, a brain has less than 1 ml"


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_a_sheared_heads_volume_comes_from_the_determinant(spacing_mm: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plausibility, "LARGEST_BRAIN_ML", 1.0)
    sheared = spaced(spacing_mm, spacing_mm, spacing_mm) @ np.array(
        [[1, 0.6, 0, 0], [0, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    n_ml = round(1.728 * 0.8 * spacing_mm**3)
    assert preprocess(cube_head(), sheared, TIGHT).notes[-1].startswith(f"does not look skull-stripped: {n_ml} ml")


def test_a_brain_looks_skull_stripped_whatever_its_spacing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plausibility, "LARGEST_BRAIN_ML", 1.0)
    notes = preprocess(
        cube_head((48, 48, 48), low=6, high=24), spaced(0.5, 0.5, 0.5), TIGHT
    ).notes  # 5832 voxels, 0.73 ml
    assert [note for note in notes if "skull" in note] == []


def test_a_uniform_brain_gives_zeros_and_no_nan() -> None:
    head = np.zeros((4, 8, 8, 8), np.float32)
    head[:, 2:6, 2:6, 2:6] = 100
    prepared = preprocess(head, LPS, TIGHT)
    assert prepared.brain.all()
    assert (prepared.array == 0).all()


def test_a_uniform_brain_whose_mean_is_rounded_gives_zeros() -> None:
    head = np.where(cube_head() > 0, np.float32(0.1), np.float32(0))
    assert (preprocess(head, LPS, TIGHT).array == 0).all()


@pytest.mark.parametrize("factor", [1e-12, 1e-9, 1e9])
def test_intensities_may_be_of_any_magnitude(factor: float) -> None:
    expected = preprocess(cube_head(), LPS, TIGHT).array
    scaled = (cube_head() * factor).astype(np.float32)
    np.testing.assert_allclose(preprocess(scaled, LPS, TIGHT).array, expected, atol=1e-5)


def test_a_brain_that_touches_the_border_is_not_cut() -> None:
    head = cube_head((24, 24, 24), low=0, high=12)
    assert preprocess(head, LPS, TIGHT).undo.box == (slice(0, 12),) * 3


def test_noise_without_a_head_is_refused(rng: np.random.Generator) -> None:
    noise = rng.random((4, 16, 16, 16)).astype(np.float32)
    with pytest.raises(
        InputError, match=r"no brain found; found no voxel .* Give scans that are not cut inside the head"
    ):
        preprocess(noise, LPS, TIGHT)


def test_undo_of_another_case_is_not_equal(prepared: Prepared) -> None:
    other: Undo = preprocess(cube_head(), LPS, TIGHT).undo
    assert other != prepared.undo


@pytest.mark.parametrize("shape", [(24, 24, 24), (20, 24, 28)], ids=str)
def test_the_box_holds_every_voxel_of_the_brain(shape: tuple[int, int, int]) -> None:
    head = cube_head(shape)
    assert preprocess(head, LPS, TIGHT).undo.box == bounding_box(head[0] > 0)


@pytest.mark.slow
def test_a_sequence_of_another_head_is_noted() -> None:
    own, other = (make_phantom((96, 112, 88), seed=seed).sequences for seed in (1, 2))
    sequences = np.stack([*own[:3], other[3, ::-1]])
    said = [note for note in preprocess(sequences, LPS, WINDOW).notes if note.startswith("t2f ")]
    assert len(said) == 1
    assert "same head" in said[0] or "flipped" in said[0]
    assert not [note for note in preprocess(own, LPS, WINDOW).notes if "same head" in note]


@pytest.mark.slow
def test_z_scores_equal_monais_nonzero_channel_wise_normalisation() -> None:
    from monai.transforms import NormalizeIntensity

    phantom = make_phantom((48, 56, 44), seed=3)
    prepared = preprocess(phantom.sequences, phantom.affine, PreprocessSettings(window=(1, 1, 1)))
    expected = np.asarray(NormalizeIntensity(nonzero=True, channel_wise=True)(phantom.sequences))
    turned = turn(expected, prepared.undo.order, prepared.undo.flips)[(..., *prepared.undo.box)]
    np.testing.assert_allclose(prepared.array, turned, atol=1e-4)
