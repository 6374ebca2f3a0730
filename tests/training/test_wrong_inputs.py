"""Mistakes with training data, weights and folders are reported in one sentence and leave nothing half-written."""

import errno
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from prepared import TINY_RECIPE, write_phantoms

from htcnns.files.nifti import read_volume, write_case_file

NAME = "BraTS-GLI-00001-000"
SEG = f"data/{NAME}/{NAME}-seg.nii.gz"
TRANSBTS = """size = {channels = [4, 8], blocks = [0, 1], embedding = 8, layers = 1, heads = 2, hidden = 16,
edge = 16, norm = "instance", dropout = 0.0}"""
PACK = ("pack", "data", "cache", "--labels", "brats2023")
TRAIN = ("train", "packs", "--recipe", "tiny.toml", "--work", "work", "--out", "weights", "--source", "phantoms")
CV = ("cv", "packs", "--recipe", "tiny.toml", "--work", "work", "--out", "folds", "--source", "phantoms")
Spoil = Callable[[Path, pytest.MonkeyPatch], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_case: Callable[..., Path]) -> Path:
    """A folder with a case and its truth, packed phantoms of two patients, a recipe, and an empty folder."""
    folder = tmp_path_factory.mktemp("made")
    home = make_case(folder / "data", NAME)
    scan = read_volume(home / f"{NAME}-t1c.nii.gz")
    truth = np.zeros(scan.array.shape, np.uint8)
    truth[14:20, 14:20, 14:20] = 3
    write_case_file(folder / SEG, truth, scan.affine)
    write_phantoms(folder / "packs", ["BraTS-GLI-00002-000", "BraTS-GLI-00002-001", "BraTS-GLI-00003-000"])
    write_phantoms(folder / "others", ["BraTS-GLI-00004-000"])
    for path in (folder / "packs").iterdir():
        _change_card(path, patients=[path.name[:15]])
    (folder / "tiny.toml").write_text(TINY_RECIPE)
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, which is also the working directory."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def _change_card(path: Path, **changes: object) -> None:
    """Changes entries in the card of a packed case."""
    with np.load(path) as content:
        arrays = dict(content)
    card = json.loads(arrays["card"].tobytes()) | changes
    arrays["card"] = np.frombuffer(json.dumps(card).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    path.write_bytes(stream.getvalue())


def _changed_truth(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Replaces the truth by a changed one with the same affine."""

    def spoil(folder: Path, _: pytest.MonkeyPatch) -> None:
        volume = read_volume(folder / SEG)
        write_case_file(folder / SEG, change(volume.array).astype(np.uint8), volume.affine)

    return spoil


def _written(name: str, text: str) -> Spoil:
    return lambda folder, _: (folder / name).write_text(text)


def _trained_before(then: str) -> Spoil:
    """Trains with the recipe, then replaces the recipe by `then`."""

    def spoil(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from htcnns.doors.cli import main

        with monkeypatch.context() as inside:
            inside.setattr("builtins.print", lambda *_, **__: None)
            assert main([*TRAIN, "--device", "cpu", "--workers", "0"]) == 0
        (folder / "tiny.toml").write_text(then)

    return spoil


def _no_room(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("htcnns.files.atomic.os.fsync", refuse)


def _as_it_is(_: Path, __: pytest.MonkeyPatch) -> None:
    """Changes nothing."""


OTHER_STEPS = TINY_RECIPE.replace("steps = 2", "steps = 3")
OTHER_NETWORK = re.sub(
    "size = .*", TRANSBTS.replace("\n", " "), TINY_RECIPE.replace('"unet"\nsize', '"transbts"\nsize')
)
FAULTS = {
    "no truth": (
        lambda folder, _: (folder / SEG).unlink(),
        PACK,
        3,
        rf"data: no truth for {NAME}; expected a label map beside the scans, such as {NAME}-seg\.nii\.gz\. Add it",
    ),
    "truth of another grid": (
        _changed_truth(lambda truth: truth[:-1]),
        PACK,
        3,
        rf"{NAME}: .*{NAME}-seg\.nii\.gz: the truth has 33 x 34 x 33 voxels instead of 34 x 34 x 33; expected the grid",
    ),
    "unknown label": (
        _changed_truth(lambda truth: np.where(truth == 3, 7, truth)),
        PACK,
        3,
        rf"{NAME}: .*{NAME}-seg\.nii\.gz: holds numbers .*found \[7\], expected .*brats2023",
    ),
    "unknown label set": (
        _as_it_is,
        ("pack", "data", "cache", "--labels", "brats2032"),
        2,
        r"--labels: unknown label set 'brats2032'; expected one of .*\. Did you mean 'brats2023'\?",
    ),
    "no label set for a case": (
        _as_it_is,
        ("pack", "data", "cache", "--labels", "brats2023=BraTS-PED-*"),
        2,
        rf"--labels: no label set for {NAME}; found label sets for BraTS-PED-\*\. Say",
    ),
    "a disk that is full": (
        _no_room,
        PACK,
        6,
        rf"cache: cannot write {NAME}\.case\.npz \(No space left on device\).*Free space there or",
    ),
    "an empty folder to pack": (_as_it_is, ("pack", "empty", *PACK[2:]), 3, r"empty: "),
    "an empty folder to train on": (
        _as_it_is,
        ("train", "empty", *TRAIN[2:]),
        3,
        r"empty: no prepared cases there; expected a folder with files that end in \.case\.npz\. Pack cases into it",
    ),
    "no folder to train on": (_as_it_is, ("train", "nowhere", *TRAIN[2:]), 3, r"nowhere: no such folder; expected"),
    "a cache of another version": (
        lambda folder, _: _change_card(folder / "packs" / f"{NAME[:-5]}3-000.case.npz", format=99),
        TRAIN,
        3,
        r"packs/BraTS-GLI-00003-000\.case\.npz: was packed by another version of htcnns; found format 99, expected \d+",
    ),
    "a case in two caches": (
        lambda folder, _: shutil.copytree(folder / "packs", folder / "empty", dirs_exist_ok=True),
        ("train", "empty", *TRAIN[1:]),
        3,
        r"packs/BraTS-GLI-00002-000\.case\.npz: BraTS-GLI-00002-000 is there twice; found another one in empty",
    ),
    "visits of a patient in two folds": (
        _written("folds.csv", "case,fold\nBraTS-GLI-00002-000,0\nBraTS-GLI-00002-001,1\nBraTS-GLI-00003-000,1\n"),
        (*CV, "--folds", "folds.csv"),
        3,
        r"folds\.csv: BraTS-GLI-00002-000 and BraTS-GLI-00002-001 are of one patient; found folds 0 and 1, expected",
    ),
    "more folds than patients": (
        _as_it_is,
        (*CV, "--folds", "3"),
        2,
        r"--folds: 3 folds of 2 patients; expected at least 2, and a patient in each",
    ),
    "weights of another network": (
        _trained_before(then=OTHER_NETWORK),
        (*TRAIN, "--work", "other", "--out", "tuned", "--from", "weights"),
        4,
        r"--from: weights: unet: the weights are for another network; found unet, expected transbts\.",
    ),
    "no weights to start from": (
        _as_it_is,
        (*TRAIN, "--from", "empty"),
        4,
        r"--from: empty: no manifest\.json there\.",
    ),
    "a work folder of another recipe": (
        _trained_before(then=OTHER_STEPS),
        TRAIN,
        2,
        r"--work: work/unet/checkpoint\.pt: was made with other recipe; found members\[0\]\.rounds\[0\]\.steps = 2, e",
    ),
    "a recipe that nobody knows": (
        _as_it_is,
        (*TRAIN, "--recipe", "compakt"),
        2,
        r"--recipe: unknown recipe 'compakt'; expected one of .*Did you mean 'compact'\?",
    ),
    "a recipe of unknown settings": (
        _written("tiny.toml", "colour = 3\n" + TINY_RECIPE),
        TRAIN,
        2,
        r"tiny\.toml: recipe: unknown setting 'colour'; expected one of ",
    ),
    "nothing said of the data": (
        _as_it_is,
        (*TRAIN, "--source", " "),
        2,
        r"--source: nothing given; expected what the data are and under which terms",
    ),
    "patients to validate on who are trained on": (
        _as_it_is,
        (*TRAIN, "--validate-on", "packs"),
        2,
        r"--validate-on: BraTS-GLI-00002-000, .*: same patient as a training case; expected cases of other patients",
    ),
}


@pytest.mark.parametrize(("spoil", "arguments", "code", "says"), FAULTS.values(), ids=FAULTS)
def test_a_mistake_is_reported_in_one_sentence_and_leaves_nothing_behind(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    htcnns: Callable[..., object],
    spoil: Spoil,
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    spoil(folder, monkeypatch)
    before = contents(folder)
    said = htcnns(*arguments)
    assert re.match(f"htcnns: {says}", said.err), said.err
    assert said.code == code
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.endswith((".\n", "?\n"))
    assert "Traceback" not in said.err
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def full_disk(folder: Path) -> Iterator[Path]:
    """The cache folder as a disk of 64 KiB, half of it taken by a file."""
    cache = folder / "cache"
    cache.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "htcnns-test", cache], check=True, timeout=10)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")
    try:
        (cache / "other").write_bytes(bytes(2**15))
        yield cache
    finally:
        subprocess.run(["umount", cache], check=True, timeout=10)


@pytest.mark.slow
def test_packing_onto_a_really_full_disk_leaves_no_half_written_case(
    full_disk: Path, htcnns: Callable[..., object]
) -> None:
    said = htcnns(*PACK)
    assert said.code == 6
    assert re.fullmatch(r"htcnns: cache: cannot write .*\(No space left on device\).*Free space there.*\n", said.err)
    assert [path.name for path in full_disk.iterdir()] == ["other"]
