"""Prepared cases on disk: what is read back, what is refused, and how a changed file changes the key."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from htcnns.errors import InputError, OutputError
from htcnns.files import prepared_cases
from htcnns.files.prepared_cases import (
    Card,
    CaseKind,
    PreparedCase,
    has_key,
    key_of,
    prepared_case,
    prepared_path,
    read_card,
    read_cards,
    read_prepared,
    write_prepared,
)
from htcnns.labels import SEQUENCES, Label, Region

SHAPE = (9, 8, 7)


def card(name: str = "case") -> Card:
    return Card(
        name=name,
        kind=CaseKind.HEAD,
        patients=("somebody",),
        sequences=SEQUENCES[1:],
        known=(Region.WT, Region.TC),
        shape=SHAPE,
        key="0123456789abcdef",
    )


@pytest.fixture
def z_scores(rng: np.random.Generator) -> np.ndarray:
    """A brain of normally distributed z-scores, without its first sequence and with background on one side."""
    array = rng.normal(size=(4, *SHAPE)).astype(np.float32)
    array[0] = array[:, :3] = 0
    return array


@pytest.fixture
def case(z_scores: np.ndarray) -> PreparedCase:
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[4:6, 2:5, 3] = Label.ED
    label_map[5, 3, 3] = Label.ET
    return prepared_case(card(), z_scores, label_map)


def test_a_case_comes_back_as_it_was(tmp_path: Path, case: PreparedCase) -> None:
    path = write_prepared(tmp_path, case)
    back = read_prepared(path)
    assert back.card == case.card == read_card(path)
    assert back.inside is None
    for name in ("array", "table", "label_map"):
        np.testing.assert_array_equal(getattr(back, name), getattr(case, name), strict=True)
    assert [each.name for each in tmp_path.iterdir()] == ["case.case.npz"]


def test_the_known_part_of_a_piece_comes_back(tmp_path: Path, z_scores: np.ndarray) -> None:
    inside = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3 > 0
    case = prepared_case(card(), z_scores, np.zeros(SHAPE, np.uint8), inside=inside)
    np.testing.assert_array_equal(read_prepared(write_prepared(tmp_path, case)).inside, inside)


def test_eight_bits_lose_less_than_0_05_and_keep_the_background(case: PreparedCase, z_scores: np.ndarray) -> None:
    back = np.take_along_axis(case.table, case.array.reshape(4, -1).astype(int), axis=1).reshape(z_scores.shape)
    np.testing.assert_array_equal(back == 0, z_scores == 0)
    assert np.abs(back - z_scores).max() < 0.05
    assert np.diff(case.table[1, 1:]).min() == pytest.approx(0.04, rel=1e-3)


def test_a_wide_range_gets_wider_steps_and_single_bright_voxels_are_clipped(rng: np.random.Generator) -> None:
    array = rng.uniform(-5, 15, (4, 30, 30, 30)).astype(np.float32)
    array[:, 0, 0, 0] = 300
    case = prepared_case(card(), array, np.zeros((30, 30, 30), np.uint8))
    assert case.table.max() == pytest.approx(15, abs=0.1)
    assert np.diff(case.table[:, 1:]).max() == pytest.approx(20 / 254, rel=0.01)
    assert case.array[:, 0, 0, 0].tolist() == [255] * 4


def test_an_absent_sequence_stays_zero(case: PreparedCase) -> None:
    assert not case.array[0].any()
    assert not case.table[0].any()


def test_places_are_voxels_of_their_labels_and_of_the_brain(case: PreparedCase) -> None:
    assert set(case.places) == {Label.BACKGROUND, Label.ED, Label.ET}
    assert case.places[Label.ET].tolist() == [[5, 3, 3]]
    assert len(case.places[Label.ED]) == 5
    assert case.array[(slice(None), *case.places[Label.BACKGROUND].T)].any(axis=0).all()


def test_of_many_voxels_the_same_few_are_always_kept(
    case: PreparedCase, z_scores: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_cases, "N_PLACES", 50)
    one, other = (prepared_case(card(), z_scores, case.label_map).places[Label.BACKGROUND] for _ in range(2))
    assert len(one) == 50
    np.testing.assert_array_equal(one, other)


def test_arrays_are_read_only(tmp_path: Path, case: PreparedCase) -> None:
    back = read_prepared(write_prepared(tmp_path, case))
    assert not any(each.flags.writeable for each in (back.array, back.table, back.label_map))


def test_n_bytes_is_the_size_of_the_voxel_arrays(case: PreparedCase) -> None:
    assert case.n_bytes == 5 * np.prod(SHAPE)


def test_cards_of_a_folder_are_sorted(tmp_path: Path, case: PreparedCase, z_scores: np.ndarray) -> None:
    write_prepared(tmp_path, case)
    write_prepared(tmp_path, prepared_case(card("another"), z_scores, case.label_map))
    (tmp_path / "notes.txt").touch()
    assert [each.name for each in read_cards(tmp_path).values()] == ["another", "case"]


@pytest.mark.parametrize(("folder", "message"), [("", "no prepared cases there"), ("nowhere", "no such folder")])
def test_an_empty_or_absent_folder_is_refused(tmp_path: Path, folder: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"{message}; expected a folder with files that end in \.case\.npz\. Pack"):
        read_cards(tmp_path / folder)


def test_a_case_of_another_version_is_refused_by_name(
    tmp_path: Path, case: PreparedCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_prepared(tmp_path, case)
    monkeypatch.setattr(prepared_cases, "FORMAT", 2)
    message = r"case\.case\.npz: was packed by another version of htcnns; found format 1, expected 2\. Pack the cases"
    with pytest.raises(InputError, match=message):
        read_prepared(path)
    with pytest.raises(InputError, match=message):
        read_cards(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a case", b"PK\x03\x04 cut short"], ids=["empty", "text", "half"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = prepared_path(tmp_path, "broken")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.case\.npz: is not a prepared case .*Pack the cases again"):
        read_prepared(path)


def test_a_file_with_code_in_it_is_refused(tmp_path: Path) -> None:
    path = prepared_path(tmp_path, "code")
    with path.open("wb") as file:
        np.savez(file, card=np.array([Path("x")], dtype=object))
    with pytest.raises(InputError, match="is not a prepared case"):
        read_card(path)


def test_a_card_that_lacks_an_entry_is_refused(tmp_path: Path) -> None:
    path = prepared_path(tmp_path, "bare")
    with path.open("wb") as file:
        np.savez(file, card=np.frombuffer(json.dumps({"format": 1}).encode(), np.uint8))
    with pytest.raises(InputError, match=r"is not a prepared case .'shape'"):
        read_card(path)


def test_the_key_depends_on_name_method_and_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    keys = [
        key_of("case", "so", [one, other]),
        key_of("case", "so", [other, one]),
        key_of("case", "otherwise", [one, other]),
        key_of("else", "so", [one, other]),
    ]
    one.write_bytes(b"3")
    keys.append(key_of("case", "so", [one, other]))
    assert len(set(keys)) == 5
    one.write_bytes(b"1")
    assert key_of("case", "so", [one, other]) == keys[0]


def test_a_file_that_is_gone_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone: cannot be read .No such file"):
        key_of("case", "so", [tmp_path / "gone"])


def test_a_file_has_only_its_own_key(tmp_path: Path, case: PreparedCase) -> None:
    path = write_prepared(tmp_path, case)
    assert has_key(path, case.card.key)
    assert not has_key(path, "f" * 16)
    assert not has_key(tmp_path / "gone", case.card.key)


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, case: PreparedCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("htcnns.files.atomic.os.fsync", no_room)
    with pytest.raises(OutputError, match="No space left on device"):
        write_prepared(tmp_path, case)
    assert list(tmp_path.iterdir()) == []
