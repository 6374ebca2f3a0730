"""Straight lines inside a mask: how long they are, what they never cross, and which is the longest."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from htcnns.image import chords
from htcnns.image.chords import Field, longest_across, longest_chords

PLANE_MM = np.eye(3)[:2]


def field_of(mask: np.ndarray, *, within: np.ndarray | None = None, steps_mm: np.ndarray = PLANE_MM) -> Field:
    return Field(inside=mask if within is None else mask | within, ends=mask, steps_mm=steps_mm)


def disc(radius: float, n: int = 41) -> np.ndarray:
    i, j = np.indices((n, n)) - n // 2
    return np.hypot(i, j) <= radius


@pytest.mark.parametrize(
    ("n", "steps_mm", "expected"),
    [(1, 1.0, 1.0), (2, 1.0, 2.0), (20, 1.0, 20.0), (20, 0.5, 10.0)],
    ids=["voxel", "two", "row", "fine row"],
)
def test_a_row_of_voxels_is_measured_between_its_outer_faces(n: int, steps_mm: float, expected: float) -> None:
    mask = np.zeros((22, 3), bool)
    mask[1 : 1 + n, 1] = True
    (chord, *_) = longest_chords(field_of(mask, steps_mm=PLANE_MM * steps_mm))
    assert chord.length_mm == pytest.approx(expected)


def test_a_diagonal_of_voxels_is_measured_between_its_outer_corners() -> None:
    (chord, *_) = longest_chords(field_of(np.eye(7, dtype=bool)))
    assert chord.length_mm == pytest.approx(7 * np.sqrt(2))


def test_a_single_voxel_is_as_long_as_its_longest_edge() -> None:
    (chord,) = longest_chords(field_of(np.ones((1, 1), bool), steps_mm=np.diag([1.0, 5.0, 1.0])[:2]))
    assert chord.length_mm == 5.0


def test_an_empty_mask_has_no_chord() -> None:
    empty = field_of(np.zeros((4, 4), bool))
    assert longest_chords(empty) == []
    assert longest_across(empty, np.array([1.0, 0, 0])) is None


def test_a_chord_never_crosses_a_gap() -> None:
    mask = np.zeros((3, 21), bool)
    mask[1] = True
    mask[1, 8] = False
    (chord,) = longest_chords(field_of(mask))
    assert (chord.start, chord.stop, chord.length_mm) == ((1, 9), (1, 20), 12.0)


def test_a_chord_may_cross_a_gap_that_counts_as_inside() -> None:
    mask = np.zeros((3, 21), bool)
    mask[1, :4] = mask[1, 15:] = True
    core = np.zeros_like(mask)
    core[1] = True
    assert longest_chords(field_of(mask))[0].length_mm == 6.0
    assert longest_chords(field_of(mask, within=core))[0].length_mm == 21.0


def test_a_chord_of_a_u_does_not_run_from_tip_to_tip() -> None:
    mask = np.ones((12, 30), bool)
    mask[3:, 3:-3] = False  # tips at the lower left and right, 30 voxels apart
    longest = longest_chords(field_of(mask))[0]
    assert longest.length_mm == pytest.approx(np.hypot(2, 29) * 30 / 29)  # across the bar
    assert max(longest.start[0], longest.stop[0]) == 2


def test_a_disc_is_as_wide_as_it_is_long() -> None:
    mask = disc(10)
    (chord, *_) = longest_chords(field_of(mask))
    assert chord.length_mm == pytest.approx(21, abs=0.5)
    direction = np.append(np.subtract(chord.stop, chord.start), 0) / np.linalg.norm(
        np.subtract(chord.stop, chord.start)
    )
    across = longest_across(field_of(mask), direction)
    assert across is not None
    assert across.length_mm == pytest.approx(21, abs=0.5)


def test_all_longest_chords_of_equal_length_are_found() -> None:
    mask = np.zeros((9, 9), bool)
    mask[4] = mask[:, 4] = True
    assert {chord.start for chord in longest_chords(field_of(mask))} == {(0, 4), (4, 0)}


def blob(seed: int, n: int) -> np.ndarray:
    """An uneven lump, at most n voxels along each of three axes."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.standard_normal((n, n, n)), n / 8)
    from_middle = np.linalg.norm(np.indices(noise.shape) - (n - 1) / 2, axis=0)
    return from_middle < n * (0.35 + 0.1 * noise / noise.std()).clip(0.15, 0.48)


def bitten_disc() -> np.ndarray:
    mask = disc(36, 85)
    mask &= ~np.pad(disc(15, 31), ((42, 12), (27, 27)))
    assert len(field_of(mask).rim()) > 200
    return mask


def longest_of_all(field: Field) -> float:
    """Length of the longest chord among all pairs of rim voxels."""
    starts, offsets = pairs_of(field)
    lengths = field.lengths_mm(offsets)
    return float(lengths[first_held(field, starts, offsets, lengths)])


def widest_of_all(field: Field, along: np.ndarray) -> float:
    """Length of the longest chord perpendicular to a direction, among all pairs of rim voxels."""
    starts, offsets = pairs_of(field)
    aside = offsets @ field.steps_mm @ along
    level = np.abs(aside) <= field.extent_mm(along) / 2 + 1e-6
    across = (offsets @ field.steps_mm - aside[:, None] * along)[level]
    longest = across[first_held(field, starts[level], offsets[level], np.linalg.norm(across, axis=1))]
    length = np.linalg.norm(longest)
    return float(length + field.extent_mm(longest / length))


def pairs_of(field: Field) -> tuple[np.ndarray, np.ndarray]:
    rim = field.rim()
    first, second = np.triu_indices(len(rim))
    return rim[first], rim[second] - rim[first]


def first_held(field: Field, starts: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> int:
    order = np.argsort(-lengths)
    return next(n for n in order if field.holds(starts[n : n + 1], offsets[n : n + 1])[0])


def test_the_longest_chord_of_a_large_rim_is_that_of_all_pairs() -> None:
    field = field_of(bitten_disc())
    assert longest_chords(field)[0].length_mm == pytest.approx(longest_of_all(field))


@pytest.mark.parametrize("direction", [(1, 0, 0), (0.6, 0.8, 0), (-0.28, 0.96, 0)], ids=str)
@pytest.mark.parametrize("hole", [0, 31], ids=["solid", "ring"])
def test_the_longest_perpendicular_is_that_of_all_pairs(hole: float, direction: tuple[float, ...]) -> None:
    field = field_of(bitten_disc() & ~disc(hole, 85))
    along = np.array(direction)
    assert longest_across(field, along).length_mm == pytest.approx(widest_of_all(field, along))


STAIRCASE = np.zeros((4, 3), bool)
STAIRCASE[(0, 1, 2, 3), (0, 0, 1, 1)] = True


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)], ids=str)
def test_a_staircase_is_as_long_as_its_mirror_image(axes: tuple[int, ...]) -> None:
    (chord,) = longest_chords(field_of(np.ascontiguousarray(np.flip(STAIRCASE, axes))))
    assert chord.length_mm == pytest.approx(np.hypot(3, 1) * 4 / 3)


@pytest.fixture
def few_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rim is too large for all of its pairs to be tried."""
    monkeypatch.setattr(chords, "MOST_ENDS", 0)


@pytest.mark.usefixtures("few_ends")
@pytest.mark.parametrize("seed", range(4))
def test_above_the_limit_the_length_is_nearly_that_of_all_pairs(seed: int) -> None:
    field = Field(inside=blob(seed, 20), ends=blob(seed, 20), steps_mm=np.eye(3))
    assert longest_chords(field)[0].length_mm == pytest.approx(longest_of_all(field), rel=0.005)


@pytest.mark.usefixtures("few_ends")
@pytest.mark.parametrize("seed", range(4))
def test_above_the_limit_a_flip_from_left_to_right_changes_nothing(seed: int) -> None:
    mask = blob(seed, 30)
    flipped = np.ascontiguousarray(mask[::-1])
    one, other = (longest_chords(Field(inside=each, ends=each, steps_mm=np.eye(3))) for each in (mask, flipped))
    assert one[0].length_mm == pytest.approx(other[0].length_mm)


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose, np.rot90], ids=lambda turn: turn.__name__)
def test_turning_a_mask_turns_its_chords(rng: np.random.Generator, turn: object) -> None:
    mask = disc(12) & (rng.random((41, 41)) > 0.15)
    one, other = (longest_chords(field_of(np.ascontiguousarray(each)))[0] for each in (mask, turn(mask)))
    assert one.length_mm == pytest.approx(other.length_mm)
