"""Bad inputs, one by one: a clear sentence, the right exit code, and the other case's mask unchanged."""

import gzip
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from htcnns.doors.cli import main
from htcnns.files.nifti import write_case_file

GOOD, BAD = "BraTS-GLI-00001-000", "BraTS-GLI-00002-000"
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 33], [0, 0, 1, 0], [0, 0, 0, 1]])
SHAPE = (34, 34, 33)
QUICK = ("--members", "unet", "--device", "cpu", "--precision", "fp32", "--overlap", "0")
Command = Callable[..., object]
Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def good_mask(tmp_path_factory: pytest.TempPathFactory, make_case: Callable[..., Path], tiny_weights: Path) -> bytes:
    """The good case's mask when it is alone."""
    folder = tmp_path_factory.mktemp("alone")
    make_case(folder / "in", GOOD)
    assert main(["segment", f"{folder}/in", f"{folder}/out", "--weights", str(tiny_weights), *QUICK]) == 0
    return (folder / "out" / f"{GOOD}.nii.gz").read_bytes()


@pytest.fixture
def scans(tmp_path: Path, make_case: Callable[..., Path]) -> Path:
    """A folder with a good case and one to be spoilt."""
    make_case(tmp_path / "in", GOOD)
    make_case(tmp_path / "in", BAD, seed=2)
    return tmp_path / "in"


@pytest.fixture
def segment(htcnns: Command, tmp_path: Path, tiny_weights: Path) -> Command:
    """A function that segments `in` into `out` with these further arguments."""

    def run(*arguments: object) -> object:
        return htcnns("segment", tmp_path / "in", tmp_path / "out", "--weights", tiny_weights, *QUICK, *arguments)

    return run


def _header(kind: str, offset: int, *values: float | bytes) -> Callable[[Path], None]:
    """Spoils a packed scan: these values at that offset of its header."""

    def change(path: Path) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(f"<{len(values)}{kind}", content, offset, *values)
        path.write_bytes(gzip.compress(bytes(content)))

    return change


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Spoils the file's bytes as they lie on the disk."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _voxels(*values: float, shape: tuple[int, ...] = SHAPE, affine: np.ndarray = AFFINE) -> Callable[[Path], None]:
    """Replaces the scan by a ramp whose first voxels have these values."""

    def write(path: Path) -> None:
        array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        array.flat[: len(values)] = values
        nib.save(nib.Nifti1Image(array, affine), path)

    return write


def _constant(value: float) -> Callable[[Path], None]:
    return lambda path: write_case_file(path, np.full(SHAPE, value, np.float32), AFFINE)


def _moved(*offset: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3, 3] += offset
    return affine


def _affine(spacing_mm: float) -> Callable[[Path], None]:
    """Gives a packed scan voxels of that size."""
    return _header("f", 280, -spacing_mm, 0, 0, 0, 0, -spacing_mm, 0, 0, 0, 0, spacing_mm, 0)


def _everywhere(spoil: Spoil) -> Callable[[Path], None]:
    """Spoils all scans of the case."""

    def spoil_all(path: Path) -> None:
        for scan in sorted(path.parent.iterdir()):
            spoil(scan)

    return spoil_all


def _replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Takes the file away and puts something else under its name."""

    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


CASE_FAULTS = {
    "missing": (Path.unlink, r"t2w missing; found t1n, t1c, t2f\. Add BraTS-GLI-00002-000-t2w\.nii\.gz or leave"),
    "dangling link": (_replace_by(lambda path: path.symlink_to("nowhere")), r"t2w missing"),
    "link to itself": (_replace_by(lambda path: path.symlink_to(path)), r"t2w missing"),
    "folder instead": (_replace_by(Path.mkdir), r"t2w missing"),
    "pipe instead": (_replace_by(os.mkfifo), r"t2w missing"),
    "text": (_bytes(lambda _: b"see the archive"), r"t2w\.nii\.gz: named \.gz but is not gzip; expected gzip data"),
    "no bytes": (_bytes(lambda _: b""), r"t2w\.nii\.gz: is empty; found 0 bytes, .*Copy or download"),
    "packed text": (_bytes(lambda _: gzip.compress(b"DICM" * 99)), r"t2w\.nii\.gz: not NIfTI; found b'DICM'"),
    "cut gzip": (_bytes(lambda whole: whole[: len(whole) // 2]), r"t2w\.nii\.gz: cut short; .*Copy or download"),
    "cut header": (_bytes(lambda whole: gzip.compress(gzip.decompress(whole)[:200])), r"found 200 of 348 header bytes"),
    "cut voxels": (_bytes(lambda whole: gzip.compress(gzip.decompress(whole)[:-11])), r"cut short; found \d+ of 38148"),
    "other checksum": (
        _bytes(lambda whole: whole[:-6] + b"\0\1" + whole[-4:]),
        r"t2w\.nii\.gz: damaged \(.*; expected whole gzip data",
    ),
    "not packed": (_bytes(gzip.decompress), r"named \.gz but is not gzip.*Take \.gz out of its name"),
    "packed but .nii": (lambda path: path.rename(path.with_suffix("")), r"t2w\.nii: named \.nii but is gzip"),
    "eight gigavoxels": (_header("h", 40, 3, 2000, 2000, 2000), r"promises 2000 x 2000 x 2000 voxels, 29\.8 GiB"),
    "offset of a terabyte": (_header("f", 108, 1e12), r"promises .* GiB; expected at most 2 GiB"),
    "4-D": (_voxels(shape=(34, 34, 33, 2)), r"4-D, 34 x 34 x 33 x 2; expected I x J x K\. Split it"),
    "2-D": (_header("h", 40, 2, 34, 1122, 1), r"2-D, 34 x 1122; expected I x J x K"),
    "RGB": (_header("h", 70, 128, 24), r"voxels are RGB or complex"),
    "complex": (_header("h", 70, 32, 64), r"voxels are RGB or complex"),
    "unknown type": (_header("h", 70, 999, 16), r"not a valid NIfTI header"),
    "no voxels": (_header("h", 40, 3, 0, 34, 33), r"empty, 0 x 34 x 33 voxels; expected at least one on each axis"),
    "negative axis": (_header("h", 40, 3, -34, 34, 33), r"t2w\.nii\.gz: "),
    "all zero": (_constant(0), r"empty: every voxel is 0; expected a scan with something in it"),
    "constant": (_constant(7), r"constant: every voxel is 7"),
    "NaN": (_voxels(np.nan, np.nan, np.nan), r"3 voxels are NaN and 0 infinite, of 38148; expected none"),
    "infinite": (_voxels(np.inf, -np.inf), r"0 voxels are NaN and 2 infinite"),
    "NaN intercept": (_header("f", 112, 1, np.nan), r"t2w\.nii\.gz: not a valid NIfTI header"),
    "singular affine": (_header("f", 280, 0, 0, 0, 0), r"its affine is singular.*expected three independent axes"),
    "NaN affine": (_header("f", 280, np.nan), r"its affine holds NaN or infinity"),
    "micrometres": (_header("f", 280, -1000.0), r"34000 x 34 x 33 mm in size; expected at most 512 mm"),
    "unit of metres": (_header("b", 123, 1), r"t2w\.nii\.gz: its header is in metres; expected mm\. Convert"),
    "unit of micrometres": (_header("b", 123, 3), r"t2w\.nii\.gz: its header is in micrometres; expected mm"),
    "all in metres": (
        _everywhere(_affine(1e-3)),
        r"scans are only 0\.034 x 0\.034 x 0\.033 mm in size; expected a head",
    ),
    "all a tenth": (_everywhere(_affine(0.1)), r"scans are only 3\.4 x 3\.4 x 3\.3 mm in size; expected a head, 30 mm"),
    "all coarse": (
        _everywhere(_affine(15.0)),
        r"too many voxels .*found 34 x 34 x 33 as stored and 510 x 510 x 495 at 1 mm, expected at most",
    ),
    "all sheared": (
        _everywhere(_header("f", 284, -0.6)),
        r"the affine is sheared: .*found 0\.86 of a right-angled voxel's volume, expected at least 0\.9",
    ),
    "half a pair": (_header("c", 345, b"i"), r"t2w\.nii\.gz: half of a \.hdr/\.img pair; expected one file"),
    "other shape": (_voxels(shape=(34, 34, 32)), r"t2w .*has 34 x 34 x 32 voxels instead of 34 x 34 x 33"),
    "two mm off": (_voxels(affine=_moved(0, 2, 0)), r"t2w .*lies up to 2\.000 mm off; found t1n, t1c, t2f on"),
    "other orientation": (
        _voxels(affine=np.eye(4)),
        r"t2w .*lies up to [\d.]+ mm off.*expected all on it within 0\.1 mm",
    ),
}


@pytest.mark.parametrize(("spoil", "says"), CASE_FAULTS.values(), ids=CASE_FAULTS.keys())
def test_a_bad_case_fails_alone_and_is_reported_in_a_sentence(
    tmp_path: Path, scans: Path, segment: Command, good_mask: bytes, spoil: Spoil, says: str
) -> None:
    spoil(scans / BAD / f"{BAD}-t2w.nii.gz")
    said = segment()
    failures = [line for line in said.out.splitlines() if "FAILED" in line]
    assert (said.code, said.err, len(failures)) == (7, "", 1)
    assert re.match(rf"\[\d/2\] FAILED {BAD}: .*{says}", failures[0])
    assert failures[0].endswith(".")
    assert "Traceback" not in said.out
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{GOOD}.nii.gz"]
    assert (tmp_path / "out" / f"{GOOD}.nii.gz").read_bytes() == good_mask


def test_a_file_without_read_permission_fails_only_its_case(
    tmp_path: Path, scans: Path, segment: Command, good_mask: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal is simulated, as root may read everything."""
    locked, real = scans / BAD / f"{BAD}-t1c.nii.gz", Path.open

    def refuse(path: Path, *arguments: object, **named: object) -> object:
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    said = segment()
    assert said.code == 7
    assert f"FAILED {BAD}: {locked}: cannot be read (Permission denied). Make it readable" in said.out
    assert (tmp_path / "out" / f"{GOOD}.nii.gz").read_bytes() == good_mask


def test_a_header_promising_gigabytes_is_refused_before_allocation(scans: Path, segment: Command) -> None:
    segment()  # what is loaded once is not counted
    _header("h", 40, 3, 2000, 2000, 60)(scans / BAD / f"{BAD}-t2w.nii.gz")  # 0.9 GiB as floats, but none follow
    _header("h", 40, 3, 2000, 2000, 2000)(scans / BAD / f"{BAD}-t1n.nii.gz")
    tracemalloc.start()
    said = segment("--again")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said.code == 7
    assert peak < 100 * 2**20


@pytest.mark.slow
def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_promises(
    tmp_path: Path, scans: Path, segment: Command, good_mask: bytes
) -> None:
    path = scans / GOOD / f"{GOOD}-t2w.nii.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2**28), 1))
    tracemalloc.start()
    said = segment()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (said.code, peak < 100 * 2**20) == (0, True)
    assert (tmp_path / "out" / f"{GOOD}.nii.gz").read_bytes() == good_mask


def _nnunet(dataset: str | None) -> Callable[[Path], None]:
    """Renames the bad case as nnU-Net does, with or without its dataset.json."""

    def rename(folder: Path) -> None:
        for number, word in enumerate(("t1n", "t1c", "t2w", "t2f")):
            (folder / BAD / f"{BAD}-{word}.nii.gz").rename(folder / BAD / f"glioma_000{number}.nii.gz")
        if dataset is not None:
            (folder / BAD / "dataset.json").write_text(dataset)

    return rename


def _emptied(*names: str) -> Callable[[Path], None]:
    """Empties the folder and puts empty files there."""

    def empty(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        for name in names:
            (folder / name).touch()

    return empty


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("scans")


FOLDER_FAULTS = {
    "two files for a sequence": (
        lambda folder: shutil.copy(folder / BAD / f"{BAD}-t1c.nii.gz", folder / BAD / f"{BAD}-t1c.nii"),
        rf"two files for t1c of {BAD}: {BAD}-t1c\.nii and {BAD}-t1c\.nii\.gz; expected one",
    ),
    "two cases of a name": (
        lambda folder: shutil.copytree(folder / BAD, folder / "copy"),
        rf"{BAD}: two cases of this name.*Rename one",
    ),
    "scans of two patients": (
        _emptied("SMITH_t1.nii.gz", "JONES_t1ce.nii.gz", "SMITH_t2.nii.gz", "JONES_flair.nii.gz"),
        r"in: JONES_flair\.nii\.gz and SMITH_t1\.nii\.gz are named like two different cases; .*expected .*of one case",
    ),
    "nothing in it": (_emptied(), r"in: no case; found nothing, expected NIfTI file"),
    "DICOM": (_emptied("1.dcm", "2.dcm"), r"in: no case; found 2 \.dcm"),
    "truths alone": (_emptied(f"{BAD}-seg.nii.gz"), r"in: no case; found 1 NIfTI"),
    "no such folder": (shutil.rmtree, r"in: does not exist; expected a folder of cases"),
    "a file": (_a_file, r"in: is a file; expected a folder of cases"),
    "nnU-Net without order": (_nnunet(None), r"no dataset\.json says what 0000 is"),
    "nnU-Net with another modality": (
        _nnunet('{"channel_names": {"0": "T1", "1": "ADC", "2": "T2", "3": "FLAIR"}}'),
        r"dataset\.json: unknown channel ADC; found T1, ADC, T2, FLAIR",
    ),
    "nnU-Net with broken json": (_nnunet("{"), r"dataset\.json: cannot be read as JSON"),
    "nnU-Net with a fifth channel": (
        _nnunet('{"channel_names": {"0": "T1", "1": "T1ce", "2": "T2"}}'),
        r"glioma_0003\.nii\.gz: channel 3 .*t1n, t1c, t2w, expected a name for each channel up to 3",
    ),
}


@pytest.mark.parametrize(("spoil", "says"), FOLDER_FAULTS.values(), ids=FOLDER_FAULTS.keys())
def test_a_bad_folder_stops_the_run_before_anything_is_written(
    tmp_path: Path, scans: Path, segment: Command, spoil: Spoil, says: str
) -> None:
    spoil(scans)
    said = segment()
    assert (said.code, said.out) == (3, "")
    assert re.fullmatch(rf"htcnns: .*{says}.*[.?]\n", said.err)
    assert not (tmp_path / "out").exists()


FLAG_FAULTS = {
    "fusion": (2, ("--fusion", "vote"), r"--fusion: unknown fusion 'vote'; expected one of staple, majority, mean"),
    "labels": (
        2,
        ("--labels", "brats24"),
        r"--labels: unknown label set 'brats24'; expected one of brats2021, .*-ped\. From 2024 on choose",
    ),
    "members": (
        2,
        ("--members", "unet,unett"),
        r"unknown member 'unett'; expected one of unet, transbts, axial_unet\. Did you mean 'unet'",
    ),
    "device": (2, ("--device", "gpu"), r"--device: unknown device 'gpu'; expected auto, cpu, cuda"),
    "precision": (
        2,
        ("--precision", "int8"),
        r"--precision: unknown precision 'int8'; expected one of auto, fp32, bf16, fp16",
    ),
    "overlap of one": (2, ("--overlap", "1"), r"--overlap: out of range; found 1\.0, expected 0 <= x < 1"),
    "overlap in words": (2, ("--overlap", "much"), r"Invalid value for '--overlap'"),
    "mirror": (2, ("--mirror", "xy"), r"--mirror: not a choice of axes; found 'xy', expected letters of ijk"),
    "batch": (2, ("--batch", "0"), r"--batch: too few windows at a time; found 0, expected at least 1"),
    "shard": (2, ("--shard", "4/4"), r"--shard: no such shard; found 4/4, expected i/n with i from 0 up to n - 1"),
    "time limit": (2, ("--time-limit", "0"), r"--time-limit: out of range; found 0\.0, expected seconds above 0"),
    "on failure": (2, ("--on-failure", "stop"), r"--on-failure: unknown choice 'stop'; expected one of skip, empty"),
    "misspelt channel": (
        2,
        ("--channels", "t1,t1k,t2,flair"),
        r"--channels: unknown sequence 't1k'; expected one of t1n",
    ),
    "channel twice": (
        2,
        ("--channels", "t1,t1,t2,flair"),
        r"--channels: a sequence occurs twice; found t1n, t1n, t2w, t2f, expected each",
    ),
    "unknown flag": (2, ("--overlop", "0"), r"No such option: --overlop"),
    "one folder too many": (2, ("more",), r"unexpected extra argument"),
    "no GPU": (
        5,
        ("--device", "cuda"),
        r"--device: no cuda here; found CUDA devices that .* sees: 0, expected 1 or more. Use device cpu",
    ),
    "half on a CPU": (
        5,
        ("--precision", "fp16"),
        r"--precision: fp16 does not run on a CPU; found device cpu, expected CUDA",
    ),
}


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize(("code", "flags", "says"), FLAG_FAULTS.values(), ids=FLAG_FAULTS.keys())
def test_a_bad_flag_stops_the_run_before_anything_is_written(
    tmp_path: Path, segment: Command, monkeypatch: pytest.MonkeyPatch, code: int, flags: tuple[str, ...], says: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = segment(*flags)
    assert (said.code, said.out) == (code, "")
    assert re.fullmatch(rf"htcnns: .*{says}.*[.?]\n", said.err)
    assert not (tmp_path / "out").exists()


def _manifest(**changes: object) -> Callable[[Path], None]:
    """Changes the first member's entry."""

    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        content = json.loads(path.read_text())
        content["members"][0].update(changes)
        path.write_text(json.dumps(content))

    return change


def _other_tensors(folder: Path) -> None:
    save_file({"weight": torch.zeros(3)}, folder / "unet.safetensors")


WEIGHTS_FAULTS = {
    "no folder": (shutil.rmtree, r"weights: no manifest\.json there\. Give a folder that holds"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), r"weights: no manifest\.json there"),
    "broken manifest": (lambda folder: (folder / "manifest.json").write_text("{"), r"manifest\.json: cannot be read"),
    "later format": (
        lambda folder: (folder / "manifest.json").write_text('{"format": 9}'),
        r"unknown format; found 9, expected 1",
    ),
    "no file": (lambda folder: (folder / "unet.safetensors").unlink(), r"unet\.safetensors: unet: cannot be read"),
    "cut file": (
        lambda folder: os.truncate(folder / "unet.safetensors", 99),
        r"unet: the file is damaged or is the wrong one",
    ),
    "other file": (
        _other_tensors,
        r"unet\.safetensors: unet: the file is damaged or is the wrong one; found sha256 \w+…, expected \w+…",
    ),
    "other size": (
        _manifest(size={"channels": [4, 6], "n_convs": [1, 1]}),
        r"unet: .* has the wrong shape; found .*, expected",
    ),
    "other network": (
        _manifest(network="attention_unet"),
        r"unet: .*unknown network 'attention_unet'; expected one of unet, res_unet, transbts",
    ),
    "other window": (
        _manifest(window=[32, 32, 31]),
        r"unet: .*window.*found 32 x 32 x 31 voxels.*Correct the manifest",
    ),
    "no window": (_manifest(window=[32, 32]), r"manifest\.json: unet: "),
    "path out": (_manifest(files=[{"name": "../x", "sha256": ""}]), r"unet: file name '\.\./x' "),
    "two sequences": (_manifest(sequences=["t1n", "t1c"]), r"unet: .* has the wrong shape; found .*\(4, 4, 3, 3, 3\)"),
    "a sequence twice": (_manifest(sequences=["t1n", "t1c", "t2w", "t1n"]), r"manifest\.json: unet: .*t1n"),
    "fifth sequence": (_manifest(sequences=["t1n", "t1c", "t2w", "t2f", "swi"]), r"manifest\.json: unet: .*swi"),
}


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize(("spoil", "says"), WEIGHTS_FAULTS.values(), ids=WEIGHTS_FAULTS.keys())
def test_bad_weights_stop_the_run_before_anything_is_written(
    tmp_path: Path, tiny_weights: Path, segment: Command, spoil: Spoil, says: str
) -> None:
    spoil(shutil.copytree(tiny_weights, tmp_path / "weights"))
    said = segment("--weights", tmp_path / "weights")
    assert (said.code, said.out) == (4, "")
    assert re.fullmatch(rf"htcnns: .*{says}.*[.?]\n", said.err)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("scans")
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--report", "{}/file/report.json"), r"file: cannot be written by user \d+ \(File exists\)"),
        (("--report", "{}/folder.json"), r"folder\.json: is a folder; expected the name of a file"),
        (("--report", "{}/file"), r"file: is not a folder; expected a folder, or an unused name"),
        (("--probabilities", "{}/file/maps"), r"file/maps: cannot be written by user \d+ \(Not a directory\)"),
        (("--previews", "{}/file"), r"file: cannot be written by user \d+"),
    ],
    ids=[
        "report below a file",
        "report is a folder",
        "folder of reports is a file",
        "probabilities below a file",
        "previews are a file",
    ],
)
def test_a_place_that_cannot_be_written_is_reported_before_any_work(
    tmp_path: Path, segment: Command, flags: tuple[str, str], says: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    said = segment(flags[0], flags[1].format(tmp_path))
    assert (said.code, said.out) == (6, "")
    assert re.fullmatch(rf"htcnns: .*{says}.*[.?]\n", said.err)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.usefixtures("scans")
def test_an_output_that_is_a_file_is_refused_and_stays(tmp_path: Path, segment: Command) -> None:
    (tmp_path / "out").write_text("mine")
    said = segment()
    assert said.code == 6
    assert re.fullmatch(r"htcnns: .*out: cannot be written by user \d+ .*expected a writable folder.*\.\n", said.err)
    assert (tmp_path / "out").read_text() == "mine"


def test_two_cases_with_one_short_name_are_refused(
    tmp_path: Path, scans: Path, make_case: Callable[..., Path], segment: Command
) -> None:
    make_case(scans, "BraTS2021_00495", naming="BraTS 2021-22", flat=True)
    make_case(scans, "00495", naming="free")
    said = segment("--short-names")
    assert said.code == 2
    assert re.fullmatch(
        r"htcnns: 00495\.nii\.gz: two cases would write one mask; found 00495 and BraTS2021_00495.*\.\n", said.err
    )
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_case_whose_name_cannot_be_printed_is_segmented(
    tmp_path: Path, make_case: Callable[..., Path], tiny_weights: Path, encoding: str
) -> None:
    name = os.fsdecode(b"caf\xe9 [red]")
    make_case(tmp_path / "in", name, naming="free")
    done = _process(tmp_path, tiny_weights, "--previews", tmp_path / "pictures", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\udce9 [red]: WT" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{name}.nii.gz"]
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == [f"{name}.png"]


@pytest.mark.slow
@pytest.mark.usefixtures("scans")
def test_a_failed_write_ends_the_run_with_a_sentence(tmp_path: Path, tiny_weights: Path) -> None:
    """A real write fails: the process may write no file above 200 bytes."""
    done = _process(tmp_path, tiny_weights, limit=200)
    assert done.returncode == 6
    assert re.fullmatch(rf"htcnns: .*out: cannot write {GOOD}\.nii\.gz \(File too large\).*\.\n", done.stderr)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_a_process_ends_as_the_function_does(tmp_path: Path, scans: Path, tiny_weights: Path, good_mask: bytes) -> None:
    (scans / BAD / f"{BAD}-t2f.nii.gz").unlink()
    done = _process(tmp_path, tiny_weights)
    assert (done.returncode, done.stderr) == (7, "")
    assert f"FAILED {BAD}: t2f missing" in done.stdout
    assert (tmp_path / "out" / f"{GOOD}.nii.gz").read_bytes() == good_mask


def _process(
    folder: Path, weights: Path, *arguments: object, limit: int = resource.RLIM_INFINITY, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """Segment `in` into `out` in a process of its own, whose files may have at most `limit` bytes."""
    command = [sys.executable, "-m", "htcnns", "segment", folder / "in", folder / "out", "--weights", weights]
    return subprocess.run(
        [*map(str, command), *QUICK, *map(str, arguments)],
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
