"""Arrays read from npz files: only those asked for, as numpy wrote them; a bad file raises ValueError."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from htcnns.files.npz import read_arrays

ARRAYS = {
    "numbers": np.arange(60_000, dtype=np.uint8).reshape(3, 100, 200) % 7,
    "turned": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "names": np.array(["a", "bé"]),
    "empty": np.zeros((0, 4), np.float32),
    "one": np.float64(2.5),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_arrays_come_back_as_they_were(tmp_path: Path, save: Callable) -> None:
    save(tmp_path / "x.npz", **ARRAYS)
    found = read_arrays(tmp_path / "x.npz", *ARRAYS, "absent")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_an_array_that_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, good=np.arange(3), objects=np.array([{}], object))
    assert read_arrays(path, "good")["good"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_arrays(path, "objects")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_one_wrong_byte_anywhere_in_an_array_is_noticed(tmp_path: Path, save: Callable) -> None:
    path = tmp_path / "x.npz"
    save(path, numbers=ARRAYS["numbers"])
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.infolist()
        start = archive.start_dir - member.compress_size  # the only member's bytes end where the list of members begins
    for share in (0.0, 0.3, 0.6, 0.99):
        place = start + int(share * member.compress_size)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="numbers"):
            read_arrays(path, "numbers")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **ARRAYS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="zip"):
        read_arrays(path, "numbers")


def test_an_unsupported_compression_is_refused_and_named(tmp_path: Path) -> None:
    np.save(tmp_path / "numbers.npy", ARRAYS["numbers"])
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.write(tmp_path / "numbers.npy", "numbers.npy")
    with pytest.raises(ValueError, match=r"numbers\.npy: compression 14"):
        read_arrays(tmp_path / "x.npz", "numbers")


def test_an_absent_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "x.npz", "numbers")
