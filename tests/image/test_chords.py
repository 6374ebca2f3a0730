"""Straight lines inside a mask: how long they are, what they never cross, and which is the longest."""

import numpy as np
import pytest

from htcnns.image.chords import MOST_ENDS, Field, longest_across, longest_chords

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
def test_a_row_of_voxels_is_as_long_as_their_outer_faces(n: int, steps_mm: float, expected: float) -> None:
    mask = np.zeros((22, 3), bool)
    mask[1 : 1 + n, 1] = True
    (chord, *_) = longest_chords(field_of(mask, steps_mm=PLANE_MM * steps_mm))
    assert chord.length_mm == pytest.approx(expected)


def test_a_diagonal_of_voxels_is_as_long_as_their_corners() -> None:
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


def test_a_chord_crosses_what_it_may() -> None:
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


def test_chords_of_one_length_are_all_found() -> None:
    mask = np.zeros((9, 9), bool)
    mask[4] = mask[:, 4] = True
    assert {chord.start for chord in longest_chords(field_of(mask))} == {(0, 4), (4, 0)}


def test_the_longest_of_many_ends_is_that_of_all_pairs(rng: np.random.Generator) -> None:
    """A blob whose rim has more voxels than are tried at once, against a search that tries every one."""
    mask = disc(60, 141)
    mask &= ~np.pad(disc(25, 51), ((70, 20), (45, 45)))
    assert len(field_of(mask).rim()) > MOST_ENDS
    rim = field_of(mask).rim()[rng.permutation(len(field_of(mask).rim()))]
    field = field_of(mask)
    starts, stops = (rim[index] for index in np.triu_indices(len(rim)))
    lengths = field.lengths_mm(stops - starts)
    best = lengths[field.holds(starts, stops - starts)].max()
    assert longest_chords(field)[0].length_mm == pytest.approx(best, abs=1.0)


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose, np.rot90], ids=lambda turn: turn.__name__)
def test_turning_a_mask_turns_its_chords(rng: np.random.Generator, turn: object) -> None:
    mask = disc(12) & (rng.random((41, 41)) > 0.15)
    one, other = (longest_chords(field_of(np.ascontiguousarray(each)))[0] for each in (mask, turn(mask)))
    assert one.length_mm == pytest.approx(other.length_mm)
