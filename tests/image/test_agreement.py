"""Sequences of one head agree, whatever their contrasts; one that is shifted, flipped or of another head does not."""

import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from htcnns.image.agreement import agreement_notes
from htcnns.image.phantom import make_phantom

SHAPE = (120, 140, 110)
T2F = 3


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """(4, *SHAPE) float32: four contrasts of one asymmetric anatomy, in an ellipsoid."""
    return _contrasts(1)


def _contrasts(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    anatomy = gaussian_filter(rng.normal(size=SHAPE), 4)
    anatomy /= anatomy.std()
    ways = (anatomy, -anatomy, anatomy + 0.5 * anatomy**2, -np.tanh(anatomy))
    scans = [1000 + 100 * way + rng.normal(0, 5, SHAPE) for way in ways]
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return (np.stack(scans) * (i**2 + j**2 + k**2 < 0.8)).astype(np.float32)


def _notes(scans: np.ndarray) -> list[str]:
    return agreement_notes(scans, scans != 0)


def _with(head: np.ndarray, number: int, scan: np.ndarray) -> np.ndarray:
    changed = head.copy()
    changed[number] = scan
    return changed


def test_four_contrasts_of_one_head_get_no_note(head: np.ndarray) -> None:
    assert _notes(head) == []


def test_a_scan_one_voxel_off_gets_no_note(head: np.ndarray) -> None:
    assert _notes(_with(head, T2F, np.roll(head[T2F], 1, axis=1))) == []


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("voxels", [30, -30])
def test_a_shifted_scan_is_noted(head: np.ndarray, axis: int, voxels: int) -> None:
    (note,) = _notes(_with(head, T2F, np.roll(head[T2F], voxels, axis=axis)))
    assert note.startswith("t2f does not seem to show the same head as the others: its brain lies elsewhere")


@pytest.mark.parametrize(("number", "name"), [(0, "t1n"), (1, "t1c"), (2, "t2w"), (3, "t2f")])
def test_a_scan_of_another_patient_is_noted(head: np.ndarray, number: int, name: str) -> None:
    (note,) = _notes(_with(head, number, _contrasts(2)[number]))
    assert note.startswith(f"{name} does not seem to show the same head as ")
    assert name not in note.split(" as ")[1]


@pytest.mark.parametrize(("number", "name"), [(0, "t1n"), (1, "t1c"), (2, "t2w"), (3, "t2f")])
def test_a_scan_flipped_left_to_right_is_noted(head: np.ndarray, number: int, name: str) -> None:
    (note,) = _notes(_with(head, number, head[number, ::-1]))
    assert note.startswith(f"{name} seems to be flipped left to right against ")


def test_flipping_all_four_scans_is_not_noticed(head: np.ndarray) -> None:
    assert _notes(head[:, ::-1].copy()) == []


def test_four_different_heads_get_one_note() -> None:
    strangers = np.stack([_contrasts(seed)[number] for number, seed in enumerate((1, 2, 3, 4))])
    assert _notes(strangers) == [
        "no two sequences seem to show the same head: their edges do not lie in the same places"
    ]


def test_a_head_that_is_too_small_is_not_judged(head: np.ndarray) -> None:
    small = _with(head, T2F, head[T2F, ::-1])[:, 40:72, 50:82, 40:72]
    assert _notes(small) == []


@pytest.mark.parametrize("signal", [0.0, 7.0], ids=["nothing", "one value"])
def test_scans_without_edges_are_not_judged(signal: float) -> None:
    scans = np.zeros((4, 60, 60, 60), np.float32)
    scans[:, 4:56, 4:56, 4:56] = signal
    assert _notes(scans) == []


def test_a_phantom_agrees_with_itself() -> None:
    assert _notes(make_phantom((128, 140, 120), seed=1).sequences.astype(np.float32)) == []


def test_the_check_is_fast(rng: np.random.Generator) -> None:
    scans = np.zeros((4, 240, 240, 155), np.float32)
    scans[:, 50:190, 30:205, 8:150] = rng.uniform(100, 900, (4, 140, 175, 142))
    masks = scans != 0
    began = time.process_time()
    agreement_notes(scans, masks)
    assert time.process_time() - began < 0.5
