"""Real cases get no agreement note; a t2f shifted, flipped or of another patient gets one in nine cases of ten."""

from pathlib import Path

import numpy as np
import pytest

from htcnns.files.cases import search
from htcnns.files.scans import read_case
from htcnns.image.agreement import agreement_notes
from htcnns.volume import axis_order, turn

pytestmark = [pytest.mark.slow]

T2F = 3
MOST_MISSED = 0.1


@pytest.fixture(scope="module")
def heads(request: pytest.FixtureRequest) -> list[np.ndarray]:
    """(4, I, J, K) int16 of every case with truth, turned to LPS."""
    data: Path | None = request.config.getoption("--data")
    if data is None:
        pytest.skip("needs real cases: make test DATA=folder")
    volumes = [read_case(case) for case in search(data / "brats").cases]
    return [turn(volume.array, *axis_order(volume.affine)).astype(np.int16) for volume in volumes]


def _t2f_notes(head: np.ndarray, t2f: np.ndarray) -> list[str]:
    scans = np.stack([*head[:T2F], t2f]).astype(np.float32)
    return [note for note in agreement_notes(scans, scans != 0) if note.startswith("t2f ")]


def _shifted(scan: np.ndarray, voxels: int, axis: int) -> np.ndarray:
    moved = np.roll(scan, voxels, axis)
    edge = [slice(None)] * 3
    edge[axis] = slice(0, voxels) if voxels > 0 else slice(voxels, None)
    moved[tuple(edge)] = 0
    return moved


def test_unchanged_cases_get_no_note(heads: list[np.ndarray]) -> None:
    scans = [head.astype(np.float32) for head in heads]
    assert [agreement_notes(each, each != 0) for each in scans] == [[] for _ in heads]


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["left", "back", "up"])
def test_a_t2f_shifted_by_30_voxels_is_noted(heads: list[np.ndarray], axis: int) -> None:
    missed = [not _t2f_notes(head, _shifted(head[T2F], voxels, axis)) for head in heads for voxels in (30, -30)]
    assert np.mean(missed) <= MOST_MISSED


@pytest.mark.parametrize("is_masked", [False, True], ids=["as it is", "in the own brain"])
def test_a_t2f_of_another_patient_is_noted(heads: list[np.ndarray], *, is_masked: bool) -> None:
    pairs = zip(heads, heads[1:] + heads[:1], strict=True)
    missed = [not _t2f_notes(head, other[T2F] * (head[T2F] > 0) if is_masked else other[T2F]) for head, other in pairs]
    assert np.mean(missed) <= MOST_MISSED


def test_a_t2f_flipped_left_to_right_is_noted_as_such(heads: list[np.ndarray]) -> None:
    notes = [_t2f_notes(head, head[T2F, ::-1]) for head in heads]
    missed = [not any("flipped left to right" in note for note in said) for said in notes]
    assert np.mean(missed) <= MOST_MISSED
