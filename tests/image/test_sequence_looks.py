"""Sequences that look swapped, and a t1c in which nothing enhances, on synthetic heads."""

import numpy as np
import pytest

from htcnns.image.notes import Kind, Note, kind_of, noted
from htcnns.image.phantom import make_phantom
from htcnns.image.sequence_looks import look_notes

T1N, T1C, T2W, T2F = range(4)


@pytest.fixture(scope="module")
def scans() -> np.ndarray:
    """(4, i, j, k) z-scored scans of a head at half the usual size."""
    sequences = make_phantom((80, 96, 72), seed=5).sequences
    brain = sequences[0] > 0
    return np.stack([np.where(brain, (scan - scan[brain].mean()) / scan[brain].std(), 0) for scan in sequences])


def said(scans: np.ndarray) -> list[tuple[Kind, str]]:
    return [(note.kind, note.partition(":")[0]) for note in look_notes(scans, scans[T1N] != 0)]


def test_an_ordinary_head_gets_no_note(scans: np.ndarray) -> None:
    assert said(scans) == []


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [(T1N, T1C, "t1n and t1c"), (T2W, T2F, "t2w and t2f"), (T1N, T2W, "t1n and t2w")],
)
def test_two_swapped_sequences_are_named(scans: np.ndarray, one: int, other: int, names: str) -> None:
    order = [T1N, T1C, T2W, T2F]
    order[one], order[other] = other, one
    assert said(scans[order]) == [(Kind.SEQUENCES_SWAPPED, f"{names} look swapped")]


def test_a_t1c_like_the_t1n_is_noted(scans: np.ndarray, rng: np.random.Generator) -> None:
    plain = scans.copy()
    plain[T1C] = scans[T1N] + 0.1 * rng.standard_normal(scans.shape[1:]) * (scans[T1N] != 0)
    assert [kind for kind, _ in said(plain)] == [Kind.NO_CONTRAST_AGENT]


def test_scans_clipped_at_their_brightest_are_checked_too(scans: np.ndarray) -> None:
    clipped = np.minimum(scans, np.percentile(scans, 97, axis=(1, 2, 3), keepdims=True))
    assert said(clipped[[T1N, T1C, T2F, T2W]])[0] == (Kind.SEQUENCES_SWAPPED, "t2w and t2f look swapped")


@pytest.mark.parametrize("missing", range(4))
def test_a_missing_sequence_gets_no_note(scans: np.ndarray, missing: int) -> None:
    three = scans.copy()
    three[missing] = 0
    assert look_notes(three, scans[T1N] != 0) == []


def test_a_small_head_gets_no_note(scans: np.ndarray) -> None:
    small = scans[:, 20:50, 20:50, 20:50][[T1C, T1N, T2F, T2W]]
    assert look_notes(small, np.ones(small.shape[1:], bool)) == []


def test_a_note_equals_its_text_and_keeps_its_kind() -> None:
    note = Note("text", Kind.EMPTY_MASK)
    assert note == "text"
    assert [kind_of(each) for each in noted([note, "other"], Kind.OTHER_HEAD)] == [Kind.EMPTY_MASK, Kind.OTHER_HEAD]
    assert kind_of("plain") is Kind.REMARK
