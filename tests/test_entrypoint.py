"""The container's front door as a function; whole containers are tested in tests/container."""

import gzip
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

_SPEC = importlib.util.spec_from_file_location("entrypoint", Path(__file__).parents[1] / "entrypoint.py")
entrypoint = importlib.util.module_from_spec(_SPEC)  # it stands beside the package, not in it
_SPEC.loader.exec_module(entrypoint)

CASES = ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tiny_weights: Path) -> Call:
    """A function that calls the door as `docker run IMAGE …` does; the tiny members stand in for the shipped ones."""
    monkeypatch.setattr("htcnns.files.manifest.shipped_weights", lambda: tiny_weights)
    for name in ("HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "/nonexistent")

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = entrypoint.main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def mounts(tmp_path: Path, make_case: Callable[..., Path]) -> Path:
    """The separate folders that a challenge's runner mounts: io0 data, io1 weights, io2 output, io3 parameters."""
    for seed, name in enumerate(CASES):
        make_case(tmp_path / "io0", name, seed=seed)
    for name in ("io1", "io2", "io3"):
        (tmp_path / name).mkdir()
    (tmp_path / "io3" / "parameters.yaml").write_text("")
    return tmp_path


def _masks(mounts: Path) -> list[str]:
    return sorted(path.name for path in (mounts / "io2").iterdir())


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["--data_path=/a", "--output_path=/b"], {"data_path": "/a", "output_path": "/b"}),
        (["--data_path", "/a", "--output-path", "/b"], {"data_path": "/a", "output_path": "/b"}),
        (["--x=a=b", "--empty=", "--last"], {"x": "a=b", "empty": "", "last": ""}),
        (["stray", "--x", "1", "2"], {"x": "1"}),
        ([], {}),
    ],
    ids=["equals", "spaces and dashes", "odd values", "strays", "none"],
)
def test_flags_are_read_leniently(arguments: list[str], flags: dict[str, str]) -> None:
    assert entrypoint.parse_flags(arguments) == flags


def test_a_weights_folder_counts_only_with_a_manifest(
    tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entrypoint.weights_folder("") is None
    assert entrypoint.weights_folder(str(tiny_weights)) == tiny_weights
    assert capsys.readouterr().out == ""
    assert entrypoint.weights_folder(str(tmp_path)) is None
    says = f"infer: no readable manifest.json in {tmp_path}; using the shipped weights\n"
    assert capsys.readouterr().out == says


def test_a_damaged_older_mask_does_not_fail_infer(call: Call, mounts: Path) -> None:
    (mounts / "io2" / f"{CASES[0]}.nii.gz").write_bytes(b"damaged")
    code, out, err = call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    masks = [np.asarray(nib.load(mounts / "io2" / name).dataobj) for name in _masks(mounts)]
    assert (code, err, [bool(mask.any()) for mask in masks]) == (0, "", [True, True])
    assert out.splitlines()[-1] == "2 done"


def test_infer_writes_one_mask_per_case_and_nothing_else(call: Call, mounts: Path) -> None:
    code, out, err = call(
        "infer",
        f"--data_path={mounts}/io0",
        f"--weights={mounts}/io1",
        f"--output_path={mounts}/io2",
        f"--parameters_file={mounts}/io3/parameters.yaml",
    )
    assert (code, err) == (0, "")
    assert _masks(mounts) == [f"{name}.nii.gz" for name in CASES]
    assert f"infer: no readable manifest.json in {mounts}/io1; using the shipped weights" in out
    assert "ignored" not in out


def test_infer_needs_no_parameters_and_reports_ignored_flags(call: Call, mounts: Path) -> None:
    code, out, _ = call(
        *("infer", "--data_path", mounts / "io0", "--output_path", mounts / "io2"),
        *("--parameters_file", mounts / "absent.yaml", "--gpus=all", "--verbose"),
    )
    assert code == 0
    assert "infer: ignored --gpus, --verbose" in out.splitlines()
    assert _masks(mounts) == [f"{name}.nii.gz" for name in CASES]


def test_infer_gives_a_broken_case_an_empty_mask_and_succeeds(call: Call, mounts: Path) -> None:
    (mounts / "io0" / CASES[0] / f"{CASES[0]}-t2f.nii.gz").write_bytes(b"")
    code, out, _ = call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    masks = [np.asarray(nib.load(mounts / "io2" / name).dataobj) for name in _masks(mounts)]
    assert (code, [bool(mask.any()) for mask in masks]) == (0, [False, True])
    assert f"FAILED {CASES[0]}: " in out


def test_infer_fails_when_no_case_succeeded(call: Call, mounts: Path) -> None:
    for path in (mounts / "io0").glob("*/*-t2f.nii.gz"):
        path.unlink()
    code, _, _ = call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    assert (code, _masks(mounts)) == (7, [f"{name}.nii.gz" for name in CASES])


@pytest.mark.parametrize(
    ("flags", "masks"), [(("--on_failure=skip",), CASES[1:]), (("--on-failure", "empty"), CASES)], ids=["skip", "empty"]
)
def test_infer_can_be_told_what_to_do_with_a_broken_case(
    call: Call, mounts: Path, flags: tuple[str, ...], masks: tuple[str, ...]
) -> None:
    (mounts / "io0" / CASES[0] / f"{CASES[0]}-t2f.nii.gz").unlink()
    code, _, _ = call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2", *flags)
    assert (code, _masks(mounts)) == (0, [f"{name}.nii.gz" for name in masks])


def test_infer_writes_the_numbers_it_is_asked_for(call: Call, mounts: Path) -> None:
    call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2", "--labels=brats2024-ped")
    masks = [np.asarray(nib.load(mounts / "io2" / name).dataobj) for name in _masks(mounts)]
    assert [int(mask.max()) for mask in masks] == [4, 4]  # oedema, which is 2 in other sets


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, r"infer: --data_path missing; found no flags\. Add --data_path=DIR\."),
        (("--data_path=x", "--weights=y"), 2, r"infer: --output_path missing; found --data_path, --weights\. Add .*"),
        (("--data_path=nowhere", "--output_path=out"), 3, r"nowhere: does not exist; .*"),
        (("--data_path=x", "--output_path=y", "--labels=z"), 2, r"--labels: unknown label set 'z'; .*"),
        (("--data_path=x", "--output_path=y", "--on_failure=z"), 2, r"--on-failure: unknown choice 'z'; .*"),
    ],
    ids=["no flags", "no output", "no such folder", "label set", "on failure"],
)
def test_a_wrong_infer_call_prints_one_line_on_stderr(
    call: Call, arguments: tuple[str, ...], code: int, says: str
) -> None:
    found, out, err = call("infer", *arguments)
    assert (found, out) == (code, "")
    assert re.fullmatch(rf"htcnns: {says}\n", err)


def test_flags_alone_segment_input_to_output_with_short_names(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("htcnns.doors.cli.main", lambda arguments: asked.append(arguments) or 0)
    assert [call()[0], call("--device", "cpu")[0], call("htcnns", "cases", "in")[0]] == [0, 0, 0]
    assert asked == [
        ["segment", "/input", "/output", "--short-names"],
        ["segment", "/input", "/output", "--short-names", "--device", "cpu"],
        ["cases", "in"],
    ]


@pytest.mark.parametrize("flag", ["-h", "--help", "help"])
def test_help_lists_the_three_ways_of_calling(call: Call, flag: str) -> None:
    code, out, err = call(flag)
    assert (code, err) == (0, "")
    assert "infer --data_path=DIR --output_path=DIR" in out


def test_an_unknown_command_is_refused(call: Call) -> None:
    code, out, err = call("segment", "in", "out")
    assert (code, out) == (2, "")
    assert err.startswith("htcnns: unknown command 'segment'; known are infer and htcnns.")


def test_caches_lie_in_a_folder_that_is_gone_afterwards(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "htcnns.doors.cli.main", lambda _: seen.append(os.environ["HOME"]) or os.path.isdir(seen[0]) - 1
    )
    assert call("htcnns", "doctor")[0] == 0
    assert not os.path.exists(seen[0])


def _unit(value: int) -> Callable[[Path], None]:
    def change(case: Path) -> None:
        path = next(case.glob("*-t1c.nii.gz"))
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[123] = value
        path.write_bytes(gzip.compress(bytes(content)))

    return change


def _thin_nifti2(pattern: str) -> Callable[[Path], None]:
    def change(case: Path) -> None:
        _ = [_make_thin(path) for path in sorted(case.glob(pattern))]

    return change


def _make_thin(path: Path) -> None:
    """Store the scan as NIfTI-2 with an affine that is singular in the float32 of NIfTI-1."""
    image = nib.Nifti2Image(np.asarray(nib.load(path).dataobj), np.diag([1e-60, 1.0, 1.0, 1.0]))
    path.write_bytes(gzip.compress(image.to_bytes()))


def _long_gzip_field(flag: bytes) -> Callable[[Path], None]:
    def change(case: Path) -> None:
        _add_gzip_field(next(case.glob("*-t1c.nii.gz")), flag)

    return change


def _add_gzip_field(path: Path, flag: bytes) -> None:
    """Give the gzip member a name (8) or a comment (16) of more than half a MiB."""
    whole = gzip.compress(gzip.decompress(path.read_bytes()))
    path.write_bytes(whole[:3] + flag + whole[4:10] + b"A" * 600_000 + b"\0" + whole[10:])


def _folder_in_the_output(case: Path) -> None:
    (case.parents[1] / "io2" / f"{case.name}.nii.gz").mkdir()


def _twice(case: Path) -> None:
    (case / f"{case.name}-t1c.nii").write_bytes(b"another")


def _backup(case: Path) -> None:
    shutil.copytree(case, case.parent / "backup" / case.name)


def _metaimage(case: Path) -> None:
    _ = [path.rename(path.with_name(path.name.replace(".nii.gz", ".mha"))) for path in sorted(case.iterdir())]


FAILS_ALONE = {  # and whether infer writes an empty mask
    "metres": (_unit(1), True),
    "micrometres": (_unit(3), True),
    "thin NIfTI-2": (_thin_nifti2("*-t1c.nii.gz"), True),
    "four thin NIfTI-2": (_thin_nifti2("*.nii.gz"), True),
    "gzip name": (_long_gzip_field(b"\x08"), True),
    "gzip comment": (_long_gzip_field(b"\x10"), True),
    "folder for the mask": (_folder_in_the_output, False),
    "MetaImage": (_metaimage, True),
}
NOT_CLEAR = {"two t1c": _twice, "backup copy": _backup}
COSTS_INFER_ITSELF = FAILS_ALONE | {name: (spoil, True) for name, spoil in NOT_CLEAR.items()}


@pytest.fixture
def good_mask(call: Call, mounts: Path) -> bytes:
    """The mask of the untouched case, segmented alone."""
    assert call("infer", f"--data_path={mounts}/io0/{CASES[1]}", f"--output_path={mounts}/alone")[0] == 0
    return (mounts / "alone" / f"{CASES[1]}.nii.gz").read_bytes()


@pytest.mark.parametrize(("spoil", "has_mask"), COSTS_INFER_ITSELF.values(), ids=COSTS_INFER_ITSELF.keys())
def test_one_hostile_case_fails_alone_under_infer(
    call: Call, mounts: Path, good_mask: bytes, spoil: Callable[[Path], None], has_mask: bool
) -> None:
    spoil(mounts / "io0" / CASES[0])
    code, out, err = call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    assert (code, err) == (0, "")
    assert len(re.findall(rf"FAILED {CASES[0]}: .*[.?]\n", out)) == 1
    assert (mounts / "io2" / f"{CASES[1]}.nii.gz").read_bytes() == good_mask
    assert (mounts / "io2" / f"{CASES[0]}.nii.gz").is_file() is has_mask


def test_scans_without_a_usable_grid_get_a_mask_on_the_standard_grid(call: Call, mounts: Path) -> None:
    _thin_nifti2("*.nii.gz")(mounts / "io0" / CASES[0])
    call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    assert nib.load(mounts / "io2" / f"{CASES[0]}.nii.gz").shape == (240, 240, 155)


@pytest.mark.slow
@pytest.mark.parametrize("flag", [b"\x08", b"\x10"], ids=["name", "comment"])
@pytest.mark.parametrize(
    ("place", "says"),
    [("io2/{}.nii.gz", "1 done, 1 kept"), ("io0/{}/{}-t1c.nii.gz", "1 kept, 1 failed")],
    ids=["mask", "t1c"],
)
def test_a_mask_or_t1c_damaged_after_a_run_affects_only_its_case_in_the_next(
    call: Call, mounts: Path, good_mask: bytes, place: str, says: str, flag: bytes
) -> None:
    call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    mask = (mounts / "io2" / f"{CASES[0]}.nii.gz").read_bytes()
    _add_gzip_field(mounts / place.format(CASES[0], CASES[0]), flag)
    code, out, err = call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    assert (code, err) == (0, "")
    assert says in out.splitlines()
    assert (mounts / "io2" / f"{CASES[0]}.nii.gz").read_bytes() == mask
    assert (mounts / "io2" / f"{CASES[1]}.nii.gz").read_bytes() == good_mask


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [spoil for spoil, _ in FAILS_ALONE.values()], ids=FAILS_ALONE.keys())
def test_one_hostile_case_fails_alone_without_arguments(
    call: Call, mounts: Path, good_mask: bytes, spoil: Callable[[Path], None]
) -> None:
    """The call without arguments, but with the mounts in place of `/input` and `/output`."""
    spoil(mounts / "io0" / CASES[0])
    code, out, err = call("htcnns", "segment", mounts / "io0", mounts / "io2", "--short-names")
    assert (code, err) == (7, "")
    assert len(re.findall(rf"FAILED {CASES[0]}: .*[.?]\n", out)) == 1
    assert [path.name for path in (mounts / "io2").iterdir() if path.is_file()] == [f"{CASES[1]}.nii.gz"]
    assert (mounts / "io2" / f"{CASES[1]}.nii.gz").read_bytes() == good_mask


@pytest.mark.parametrize("spoil", NOT_CLEAR.values(), ids=NOT_CLEAR.keys())
def test_an_unclear_case_stops_the_run_without_arguments(
    call: Call, mounts: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(mounts / "io0" / CASES[0])
    code, out, err = call("htcnns", "segment", mounts / "io0", mounts / "io2", "--short-names")
    assert (code, out, _masks(mounts)) == (3, "", [])
    assert re.fullmatch(rf"htcnns: .*{CASES[0]}.*[.?]\n", err)


def test_line_breaks_in_names_do_no_harm(call: Call, mounts: Path, good_mask: bytes) -> None:
    for path in sorted((mounts / "io0" / CASES[0]).iterdir()):
        path.rename(path.with_name(f"\n{path.name}"))
    code, _, err = call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    assert (code, err, _masks(mounts)) == (0, "", [f"{name}.nii.gz" for name in CASES])
    assert (mounts / "io2" / f"{CASES[1]}.nii.gz").read_bytes() == good_mask


def test_an_unreadable_folder_fails_only_its_case_under_infer(
    call: Call, mounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal is simulated, as root may read everything."""
    real = os.scandir

    def refuse(folder: Path) -> object:
        if str(folder).endswith(CASES[0]):  # a file descriptor where a temporary folder is removed
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr("htcnns.files.walk.os.scandir", refuse)
    code, out, err = call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    masks = [np.asarray(nib.load(mounts / "io2" / name).dataobj) for name in _masks(mounts)]
    assert (code, err, [bool(mask.any()) for mask in masks]) == (0, "", [False, True])
    assert f"FAILED {CASES[0]}: {mounts}/io0/{CASES[0]}: cannot be listed (Permission denied)" in out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
@pytest.mark.parametrize("module", ["htcnns.doors.terminal", "htcnns.doors.run_printer", "torch"])
def test_a_signal_during_imports_ends_the_process_without_a_traceback(number: signal.Signals, module: str) -> None:
    code = (
        "import builtins, os, runpy, sys; real = builtins.__import__\n"
        "def note(name, *rest, **named):\n"
        f"    if name == {module!r}: os.kill(os.getpid(), {int(number)})\n"
        "    return real(name, *rest, **named)\n"
        "builtins.__import__ = note\n"
        "sys.argv = ['entrypoint.py', 'infer', '--data_path=/nowhere', '--output_path=/nowhere']\n"
        f"runpy.run_path({str(Path(entrypoint.__file__))!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (128 + number, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_is_printed_in_any_encoding(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, entrypoint.__file__, "--help"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, b"")
