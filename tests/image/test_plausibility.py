"""What does not look like four scans of one head is noted, and what does is not."""

import time

import numpy as np
import pytest

from htcnns.image.plausibility import brain_notes, content_notes, shear_notes
from htcnns.image.preprocess import PreprocessSettings, preprocess

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
INSIDE = (slice(2, 18),) * 3
BRAIN = (80, 80, 80)  # 512 ml


@pytest.fixture
def scans(rng: np.random.Generator) -> np.ndarray:
    """(4, 20, 20, 20): noise in a cube."""
    scans = np.zeros((4, 20, 20, 20), np.float32)
    scans[:, *INSIDE] = rng.uniform(100, 900, (4, 16, 16, 16))
    return scans


def _notes(scans: np.ndarray) -> list[str]:
    return content_notes(scans, scans != 0)


def test_four_scans_of_a_brain_get_no_note(scans: np.ndarray) -> None:
    assert _notes(scans) == []
    assert brain_notes(np.ones(BRAIN, bool), voxel_ml=0.001) == []
    assert shear_notes(LPS) == []


def test_two_identical_scans_are_noted_as_a_pair(scans: np.ndarray) -> None:
    scans[3] = scans[1]
    assert _notes(scans) == ["t1c and t2f are identical; expected two different scans"]


def test_scans_that_differ_in_one_voxel_are_not_identical(scans: np.ndarray) -> None:
    scans[3] = scans[1]
    scans[3, 3, 3, 3] += 1
    assert _notes(scans) == []


def test_four_identical_scans_are_noted_per_pair(scans: np.ndarray) -> None:
    scans[:] = scans[0]
    assert len(_notes(scans)) == 6


@pytest.mark.parametrize(("n_values", "is_said"), [(1, True), (2, True), (4, True), (5, False)])
def test_a_sequence_of_few_values_looks_like_a_mask(
    scans: np.ndarray, rng: np.random.Generator, n_values: int, *, is_said: bool
) -> None:
    scans[0][INSIDE] = rng.integers(1, n_values + 1, (16, 16, 16))
    plural = "s" * (n_values > 1)
    said = f"t1n: holds only {n_values} value{plural} inside the head, as a mask does, not a scan"
    assert _notes(scans) == [said] * is_said


def test_a_sequence_of_one_voxel_looks_like_a_mask(scans: np.ndarray) -> None:
    scans[1] = 0
    scans[1, 5, 5, 5] = 7
    assert _notes(scans) == ["t1c: holds only 1 value inside the head, as a mask does, not a scan"]


def test_few_values_among_the_voxels_checked_first_are_not_a_mask(scans: np.ndarray) -> None:
    scans[0, ::4, ::4, ::4] = 7
    assert _notes(scans) == []


def test_a_mask_is_recognised_before_resampling_blurs_it(scans: np.ndarray) -> None:
    scans[2][scans[2] > 0] = 1
    notes = preprocess(scans, LPS @ np.diag([2, 2, 2, 1]), PreprocessSettings((1, 1, 1))).notes
    assert "t2w: holds only 1 value inside the head, as a mask does, not a scan" in notes


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((133, 133, 131), ["does not look skull-stripped: 2317 ml of signal, a brain has less than 2300 ml"]),
        ((60, 60, 60), ["only 216 ml of signal, a brain has more than 300 ml"]),
        ((160, 160, 19), ["the signal is only 19 mm thick (160 x 160 x 19 mm); expected a whole brain"]),
        ((160, 160, 20), []),
        ((67, 67, 67), []),
    ],
    ids=["a whole head", "a small brain", "a slab", "a thicker slab", "300 ml"],
)
def test_a_brain_of_implausible_size_is_noted(shape: tuple[int, int, int], says: list[str]) -> None:
    assert brain_notes(np.ones(shape, bool), voxel_ml=0.001) == says


def test_sheared_voxels_count_with_their_own_volume() -> None:
    whole_head = np.ones((133, 133, 131), bool)
    assert brain_notes(whole_head, voxel_ml=0.00099) == []
    assert brain_notes(whole_head, voxel_ml=0.0001) == ["only 232 ml of signal, a brain has more than 300 ml"]


def test_a_single_slice_is_noted(rng: np.random.Generator) -> None:
    slice_ = np.zeros((4, 60, 60, 1), np.float32)
    slice_[:, 10:50, 10:50] = rng.uniform(100, 900, (4, 40, 40, 1))
    notes = preprocess(slice_, LPS, PreprocessSettings((1, 1, 1))).notes
    assert notes[-2:] == (
        "only 1.6 ml of signal, a brain has more than 300 ml",
        "the signal is only 1 mm thick (40 x 40 x 1 mm); expected a whole brain",
    )


@pytest.mark.parametrize(("degrees", "is_said"), [(0.5, False), (2.0, True)])
def test_shear_above_one_degree_is_noted(degrees: float, *, is_said: bool) -> None:
    sheared = LPS.copy()
    sheared[0, 2] = np.tan(np.radians(degrees))
    said = f"the affine is sheared: axes are {degrees} degrees from orthogonal; the networks see them as orthogonal"
    assert shear_notes(sheared) == [said] * is_said


def test_the_check_is_fast(rng: np.random.Generator) -> None:
    scans = np.zeros((4, 240, 240, 155), np.float32)
    scans[:, 50:190, 40:200, 10:150] = rng.uniform(100, 900, (140, 160, 140))
    scans[1:, 101, 101, 101] = [1, 2, 3]
    masks = scans != 0
    start = time.process_time()
    assert content_notes(scans, masks) == []
    # all pairs differ in one voxel only and are compared in full; real scans differ in the voxels checked first
    assert time.process_time() - start < 0.3
