"""The container's front door as a function; whole containers are tested in tests/container."""

import importlib.util
import os
import re
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
    """A function that calls the door as `docker run IMAGE …` does; the tiny members are the shipped ones here."""
    monkeypatch.setattr("htcnns.runs.plan.shipped_weights", lambda: tiny_weights)
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
    says = f"infer: no manifest.json that can be read in {tmp_path}; using the shipped weights\n"
    assert capsys.readouterr().out == says


def test_a_damaged_mask_from_before_costs_infer_no_case(call: Call, mounts: Path) -> None:
    (mounts / "io2" / f"{CASES[0]}.nii.gz").write_bytes(b"damaged")
    code, out, err = call("infer", f"--data_path={mounts}/io0", f"--output_path={mounts}/io2")
    masks = [np.asarray(nib.load(mounts / "io2" / name).dataobj) for name in _masks(mounts)]
    assert (code, err, [bool(mask.any()) for mask in masks]) == (0, "", [True, True])
    assert out.splitlines()[-1] == "2 done"


def test_infer_writes_one_mask_a_case_and_nothing_else(call: Call, mounts: Path) -> None:
    code, out, err = call(
        "infer",
        f"--data_path={mounts}/io0",
        f"--weights={mounts}/io1",
        f"--output_path={mounts}/io2",
        f"--parameters_file={mounts}/io3/parameters.yaml",
    )
    assert (code, err) == (0, "")
    assert _masks(mounts) == [f"{name}.nii.gz" for name in CASES]
    assert f"infer: no manifest.json that can be read in {mounts}/io1; using the shipped weights" in out
    assert "ignored" not in out


def test_infer_needs_no_parameters_and_ignores_unknown_flags_aloud(call: Call, mounts: Path) -> None:
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
def test_a_wrong_infer_is_one_line_on_stderr(call: Call, arguments: tuple[str, ...], code: int, says: str) -> None:
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
def test_help_tells_the_three_ways_of_calling(call: Call, flag: str) -> None:
    code, out, err = call(flag)
    assert (code, err) == (0, "")
    assert "infer --data_path=DIR --output_path=DIR" in out


def test_an_unknown_word_is_refused(call: Call) -> None:
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
