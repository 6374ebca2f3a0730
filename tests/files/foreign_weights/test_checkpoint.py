"""Files that torch.save wrote: which are read, which are refused, and that nothing in them is ever run."""

import os
import pickle
import random
import struct
import warnings
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from htcnns.errors import WeightsError
from htcnns.files.foreign_weights import checkpoint
from htcnns.files.foreign_weights.checkpoint import Checkpoint, read_checkpoint, tensors_in
from htcnns.networks.limits import LONGEST_TENSOR_NAME, MOST_TENSORS

MAGIC = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2)  # what files before torch 1.6 begin with


class Canary:
    """Creates the file at `path` when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def saved(path: Path, content: object, **how: object) -> Path:
    torch.save(content, path, **how)
    return path


def of(content: dict) -> Checkpoint:
    return Checkpoint(Path("a.pth"), "0f", content)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_tensors_and_plain_data_are_read(tmp_path: Path, is_zip: bool) -> None:
    content = {"epoch": 3, "state_dict": OrderedDict(a=torch.arange(3.0), b=torch.tensor(2)), "plot": [(0.5, None)]}
    found = read_checkpoint(saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=is_zip))
    assert (found.content["epoch"], found.content["plot"]) == (3, [(0.5, None)])
    torch.testing.assert_close(tensors_in(found, "state_dict"), {"a": torch.arange(3.0), "b": torch.tensor(2)})


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("number", [np.float64(0.25), np.float32(0.5), np.int64(7), np.bool_(True)], ids=repr)
def test_numpy_numbers_are_read(tmp_path: Path, number: np.generic, is_zip: bool) -> None:
    path = saved(tmp_path / "a.pth", {"best": number}, _use_new_zipfile_serialization=is_zip)
    assert read_checkpoint(path).content["best"] == number


def test_a_number_that_an_older_numpy_pickled_is_read(tmp_path: Path) -> None:
    saved(tmp_path / "new.pth", {"best": np.float64(0.25)})
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core", b"numpy.core"))
    assert read_checkpoint(tmp_path / "old.pth").content["best"] == 0.25


def test_a_number_with_a_forged_type_is_read_and_crashes_nothing(tmp_path: Path) -> None:
    saved(tmp_path / "whole.pth", {"best": np.float64(0.25)})
    with zipfile.ZipFile(tmp_path / "whole.pth") as whole, zipfile.ZipFile(tmp_path / "forged.pth", "w") as forged:
        for name in whole.namelist():
            forged.writestr(name, whole.read(name).replace(b"NNNJ", b"NJ"))  # a state that is too short for NumPy's own
    assert read_checkpoint(tmp_path / "forged.pth").content["best"] == 0.25


@pytest.mark.parametrize("seed", range(60))
def test_a_file_with_a_changed_byte_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    content = {"epoch": 3, "state_dict": {"a": torch.ones(3, 4)}, "best": np.float64(0.5)}
    path = saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=False)
    changed = bytearray(path.read_bytes())
    changed[rng.randrange(20, 400)] = rng.randrange(256)
    path.write_bytes(changed)
    with suppress(WeightsError), warnings.catch_warnings(action="ignore"):
        tensors_in(read_checkpoint(path), "state_dict")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_code_in_a_checkpoint_is_refused_by_name_and_does_not_run(tmp_path: Path, is_zip: bool) -> None:
    canary = tmp_path / "sang"
    path = saved(tmp_path / "a.pth", {"x": Canary(canary)}, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(
        WeightsError, match=r"a\.pth: would run posix\.system, and was not loaded; expected only tensors"
    ):
        read_checkpoint(path)
    assert not canary.exists()


def test_a_plain_pickle_does_not_run_either(tmp_path: Path) -> None:
    canary = tmp_path / "sang"
    (tmp_path / "plans.pkl").write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(
        WeightsError, match=r"plans\.pkl: cannot be read as a checkpoint \(it starts with other bytes\)"
    ):
        read_checkpoint(tmp_path / "plans.pkl")
    assert not canary.exists()


def test_a_whole_network_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", torch.nn.Linear(1, 1))
    with pytest.raises(WeightsError, match=r"would run torch\.nn\.modules\.linear\.Linear"):
        read_checkpoint(path)


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/constants.pkl", b"")
        archive.writestr("a/data.pkl", b"")
    with pytest.raises(WeightsError, match="holds a TorchScript program"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.pth", {"x": torch.zeros(10_000)})
    packed = zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "a.pth") as plain, packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(WeightsError, match=r"archive is compressed, which torch.save never does"):
        read_checkpoint(tmp_path / "packed.pth")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read as a checkpoint"),
        (b"PK\x03\x04 and no more", "cannot be read as a checkpoint"),
        (b"not a pickle at all", "cannot be read as a checkpoint"),
        (b"\x80\x02" + struct.pack("<BI", ord("X"), 2**31 - 1), "cannot be read as a checkpoint"),
        (MAGIC + b"\x80\x02}.", "cannot be read as a checkpoint"),
    ],
    ids=["empty", "half a zip", "text", "long string", "another version"],
)
def test_other_files_are_refused_in_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"a\.pth: {says} \(.*\); expected a file written by torch\.save. Download"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.99], ids=str)
def test_a_truncated_file_is_refused(tmp_path: Path, cut: float) -> None:
    whole = saved(tmp_path / "a.pth", {"x": torch.zeros(1000)}).read_bytes()
    (tmp_path / "a.pth").write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.pth: cannot be read \(No such file or directory\)"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_file_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.pth", {"x": torch.zeros(1000)})
    monkeypatch.setattr(checkpoint, "MOST_FOREIGN_BYTES", 1000)
    with pytest.raises(WeightsError, match=r"is too large; found [0-9]+ bytes, expected at most 1000"):
        read_checkpoint(path)


@pytest.mark.parametrize("before", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_that_training_adds_to_names_are_removed(before: str) -> None:
    assert list(tensors_in(of({"state_dict": {f"{before}conv.weight": torch.zeros(1)}}), "state_dict")) == [
        "conv.weight"
    ]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"a": 1}, "'a' is not a plain tensor"),
        ({"a": torch.zeros(2, device="meta")}, "'a' is not a plain tensor"),
        ({"a": torch.eye(2).to_sparse()}, "'a' is not a plain tensor"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "'a' is not a plain tensor"),
        ({"a": torch.zeros(1).expand(2**40)}, "'a' is not a plain tensor"),
        ({"a" * (LONGEST_TENSOR_NAME + 1): torch.zeros(1)}, "'aaa.*… is not a plain tensor"),
        ({"a": torch.zeros(1), "module.a": torch.ones(1)}, "too many tensors, or two with the same name"),
        ({}, "holds no state_dict; found epoch, state_dict, expected state_dict with the network's tensors"),
        ([torch.zeros(1)], "holds no state_dict"),
    ],
    ids=["number", "meta", "sparse", "complex", "4 TB in 4 bytes", "long name", "twice", "none", "list"],
)
def test_anything_but_dense_tensors_is_refused(found: object, says: str) -> None:
    with pytest.raises(WeightsError, match=f"^a.pth: {says}"):
        tensors_in(of({"epoch": 1, "state_dict": found}), "state_dict")


def test_more_tensors_than_any_network_has_are_refused() -> None:
    many = {str(n): torch.zeros(()) for n in range(MOST_TENSORS + 1)}
    with pytest.raises(WeightsError, match="too many tensors"):
        tensors_in(of({"state_dict": many}), "state_dict")
