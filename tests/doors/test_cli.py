"""The command line as a user sees it: help, exit codes, one sentence for a mistake."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from htcnns.doors.cli import app, main, weights_app
from htcnns.files.nifti import write_case_file

CASE = "BraTS-GLI-00001-000"
Command = Callable[..., object]
COMMANDS = [
    (),
    ("weights",),
    *((command.name or command.callback.__name__,) for command in app.registered_commands),
    *(("weights", command.name) for command in weights_app.registered_commands),
]


@pytest.fixture
def segment(htcnns: Command, tmp_path: Path, tiny_weights: Path, make_case: Callable[..., Path]) -> Command:
    """A function that segments a folder of one case with a tiny member and any further arguments."""
    make_case(tmp_path / "in", CASE)
    flags = ("--weights", tiny_weights, "--members", "unet", "--device", "cpu", "--precision", "fp32")
    return lambda *more: htcnns("segment", tmp_path / "in", tmp_path / "out", *flags, *more)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "htcnns")
def test_every_command_has_help(htcnns: Command, command: tuple[str, ...]) -> None:
    said = htcnns(*command, "--help")
    assert (said.code, said.err) == (0, "")
    usage, first, *_ = [line.strip() for line in said.out.splitlines() if line.strip()]
    assert usage.startswith(f"Usage: {' '.join(('htcnns', *command))}")
    assert first


@pytest.mark.parametrize("command", [(), ("weights",)], ids=["htcnns", "weights"])
def test_the_help_shows_each_command_on_one_whole_line(htcnns: Command, command: tuple[str, ...]) -> None:
    lines = htcnns(*command, "--help").out.partition("Commands:")[2].strip().splitlines()
    assert len(lines) >= 2
    assert [line for line in lines if not re.fullmatch(r" *[a-z]+ +[A-Z].*[^.]\.", line)] == []


@pytest.mark.parametrize("command", [(), ("segment",), ("weights", "list")], ids=["htcnns", "segment", "weights list"])
def test_help_does_not_wait_for_torch(command: tuple[str, ...]) -> None:
    code = f"import sys; from htcnns.doors.cli import main; main({[*command, '--help']}); print('torch' in sys.modules)"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False"
    assert time.perf_counter() - began < 30  # 0.3 s on an idle machine


def test_success_exits_with_zero(tmp_path: Path, segment: Command) -> None:
    said = segment()
    assert (said.code, said.err) == (0, "")
    first, case, last = (line for line in said.out.splitlines() if not line.startswith(" "))
    assert first == f"1 case in {tmp_path}/in; unet on cpu in fp32, fused by staple"
    volumes = r"WT [\d.]+ ml, TC [\d.]+ ml, ET [\d.]+ ml"
    assert re.fullmatch(rf"\[1/1\] {CASE}: {volumes}; labels NCR=1 ED=2 ET=3; [\d.]+ s", case)
    assert last == "1 done"


def test_a_second_run_lists_what_it_kept_and_the_again_flag_repeats_it(segment: Command) -> None:
    segment()
    assert f"[1/1] {CASE}: kept, finished before (--again segments it again)" in segment().out.splitlines()
    assert segment("--again").out.splitlines()[-1] == "1 done"


def test_a_run_that_removes_temporary_files_says_so(tmp_path: Path, segment: Command) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".htcnns-1-x.nii.gz.part").touch()
    assert "removed 1 temporary file left by a killed run" in segment().out.splitlines()


def test_an_empty_mask_is_reported(tmp_path: Path, segment: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.Tensor.sigmoid", lambda logits: torch.full_like(logits, 0.25))
    said = segment()
    assert said.code == 0
    assert "no tumour was found: the mask is empty; the highest WT probability was unet 0.25" in said.out
    assert (tmp_path / "out" / f"{CASE}.nii.gz").is_file()


def test_a_failed_case_exits_with_seven_and_is_named_at_the_end(
    tmp_path: Path, segment: Command, make_case: Callable[..., Path]
) -> None:
    (make_case(tmp_path / "in", "P7", naming="free") / "P7_t1c.nii.gz").unlink()
    said = segment()
    assert said.code == 7
    assert said.out.splitlines()[-2:] == ["1 done, 1 failed", "failed: P7"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, r"Missing command\. See htcnns --help\."),
        (("weights",), 2, r"Missing command\. See htcnns --help\."),
        (("segmnt",), 2, r"No such command 'segmnt'.*"),
        (("segment", "in"), 2, r"Missing argument 'OUT'\. See htcnns --help\."),
        (("segment", "in", "out", "--fusion"), 2, r"Option '--fusion' requires an argument\. See htcnns --help\."),
        (("cases", "nowhere"), 3, r"nowhere: does not exist; expected a folder of cases\..*"),
        (("segment", "nowhere", "out"), 3, r"nowhere: does not exist; expected a folder of cases\..*"),
        (("weights", "list", "--weights", "nowhere"), 4, r"--weights: nowhere: no manifest\.json there\..*"),
        (("weights", "verify", "--weights", "nowhere"), 4, r"--weights: nowhere: no manifest\.json there\..*"),
    ],
    ids=lambda value: " ".join(value) or "htcnns" if isinstance(value, tuple) else None,
)
def test_a_mistake_is_one_line_on_stderr(htcnns: Command, arguments: tuple[str, ...], code: int, says: str) -> None:
    said = htcnns(*arguments)
    assert (said.code, said.out) == (code, "")
    assert re.fullmatch(rf"htcnns: {says}\n", said.err)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--members", "nobody"), 2), (("--device", "cuda"), 5), (("--report", "{}/file/below"), 6)],
    ids=["settings", "device", "output"],
)
def test_each_kind_of_mistake_has_its_exit_code(
    tmp_path: Path, segment: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str], code: int
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = segment(*(argument.format(tmp_path) for argument in arguments))
    assert said.code == code
    assert re.fullmatch(r"htcnns: .*\.\n", said.err)


def test_our_own_mistakes_are_not_hidden(monkeypatch: pytest.MonkeyPatch, segment: Command) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("htcnns.runs.plan.search", fail)
    monkeypatch.setattr("htcnns.doors.run_printer.plan_run", fail)
    with pytest.raises(RuntimeError, match="ours"):
        segment()


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), SystemExit(1)], ids=["pipe", "exit"])
def test_a_broken_pipe_or_exit_not_from_stdout_is_raised(
    monkeypatch: pytest.MonkeyPatch, segment: Command, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("htcnns.doors.run_printer.plan_run", fail)
    with pytest.raises(type(error)):
        segment()


def test_cases_are_listed_with_what_to_rename_and_nothing_is_run(
    tmp_path: Path, htcnns: Command, make_case: Callable[..., Path]
) -> None:
    make_case(tmp_path, "BraTS2021_00495", naming="BraTS 2021-22")
    folder = make_case(tmp_path, CASE)
    (folder / f"{CASE}-t1c.nii.gz").rename(folder / f"{CASE}_t1c.nii.gz")
    said = htcnns("cases", tmp_path)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.out.splitlines() if "│" in line]
    assert (said.code, said.err) == (0, "")
    assert rows == [
        [CASE, "BraTS 2023+", "t1n t2w t2f", "t1c", f"{CASE}_t1c.nii.gz to {CASE}-t1c.nii.gz"],
        ["BraTS2021_00495", "BraTS 2021-22", "t1n t1c t2w t2f", "-", ""],
    ]
    assert f"not used: {folder}/{CASE}_t1c.nii.gz: named differently from the cases beside it" in said.out


def test_a_row_says_why_the_files_of_its_case_are_not_scans(
    tmp_path: Path, htcnns: Command, make_case: Callable[..., Path]
) -> None:
    make_case(tmp_path, CASE)
    _touch(tmp_path / "P8", "a_t1.mha", "a_flair.nrrd")
    said = htcnns("cases", tmp_path)
    (row,) = [line for line in said.out.splitlines() if "P8" in line]
    assert "a_flair.nrrd is NRRD, not NIfTI; a_t1.mha is MetaImage, not NIfTI" in row
    assert (said.code, said.err) == (0, "")


def test_cases_without_any_scan_are_listed_and_exit_as_a_run_would(
    tmp_path: Path, htcnns: Command, tiny_weights: Path
) -> None:
    _touch(tmp_path / "in", *(f"{CASE}-{word}.mha" for word in ("t1n", "t1c", "t2w", "t2f")))
    listed = htcnns("cases", tmp_path / "in")
    run = htcnns("segment", tmp_path / "in", tmp_path / "out", "--weights", tiny_weights, "--device", "cpu")
    assert f"{CASE}-t1c.mha is MetaImage, not NIfTI" in listed.out
    assert (listed.code, listed.err) == (run.code, run.err) == (3, listed.err)
    assert listed.err.startswith(f"htcnns: {CASE}: t1n, t1c, t2w, t2f missing, as {CASE}-t1c.mha is MetaImage")


def test_brackets_in_a_case_s_name_are_not_markup(
    tmp_path: Path, htcnns: Command, make_case: Callable[..., Path]
) -> None:
    make_case(tmp_path, "[red]P7", naming="free")
    assert "[red]P7" in htcnns("cases", tmp_path).out


def test_an_emoji_code_in_a_case_s_name_stays_as_it_is(
    tmp_path: Path, htcnns: Command, segment: Command, make_case: Callable[..., Path]
) -> None:
    folder = make_case(tmp_path / "in", "P7", naming="free").rename(tmp_path / "in" / "a:skull:b")
    _touch(folder / "other", "c:skull:d.nii.gz")
    listed, said = htcnns("cases", tmp_path / "in").out, segment().out
    assert [listed.count("a:skull:b"), listed.count("c:skull:d.nii.gz")] == [2, 1]
    assert re.search(r"^\[2/2\] a:skull:b: WT", said, re.MULTILINE)
    assert "not used, 1 file: c:skull:d.nii.gz" in said


def test_a_folder_s_name_sends_no_commands_to_the_terminal(
    tmp_path: Path, htcnns: Command, segment: Command, make_case: Callable[..., Path]
) -> None:
    folder = make_case(tmp_path / "in", "P7", naming="free").rename(tmp_path / "in" / "two\n\x1b[2Jlines")
    (folder / "P7_t1c.nii.gz").unlink()
    listed, said = htcnns("cases", tmp_path / "in"), segment()
    assert "two\\n\\x1b[2Jlines" in listed.out
    assert "failed: two\\n\\x1b[2Jlines" in said.out.splitlines()
    assert "\x1b" not in listed.out + said.out


def test_files_that_belong_to_no_case_are_listed_at_the_start(tmp_path: Path, segment: Command) -> None:
    names = [f"{number:02}.nii.gz" for number in range(22)]
    _touch(tmp_path / "in" / "other", *names)
    lines = segment().out.splitlines()
    assert lines[1] == (
        f"not used, 22 files: {', '.join(names[:20])} and 2 more; htcnns cases {tmp_path}/in says why and "
        "what to rename"
    )


def test_a_list_is_named_at_the_start_and_cases_reports_all_its_bad_rows(
    tmp_path: Path, htcnns: Command, segment: Command
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{CASE}\n")
    first = segment("--list", path).out.splitlines()[0]
    assert first.startswith(f"1 case of {path} in {tmp_path}/in; unet on cpu")
    path.write_text(f"P8\n{CASE}\nP9\n")
    stopped, listed = segment("--list", path), htcnns("cases", tmp_path / "in", "--list", path)
    assert (stopped.code, listed.code) == (3, 3)
    assert stopped.err.startswith(f"htcnns: {path}: line 1: P8: not found")
    assert [f"{path}: line {n}: " in line for n, line in zip((1, 3), listed.err.splitlines(), strict=True)] == [
        True
    ] * 2
    assert CASE in listed.out


def test_members_are_listed_and_verified(htcnns: Command, tiny_weights: Path) -> None:
    listed = htcnns("weights", "list", "--weights", tiny_weights)
    verified = htcnns("weights", "verify", "--weights", tiny_weights)
    assert (listed.code, verified.code) == (0, 0)
    assert (
        "transbts: tiny transbts\n  network transbts, window 32 x 32 x 32\n  files transbts.safetensors" in listed.out
    )
    assert [line.split()[0] for line in verified.out.splitlines()] == ["unet:", "transbts:", "axial_unet:"]
    assert all(line.endswith(" good") for line in verified.out.splitlines())


def test_verify_finds_every_damaged_member_and_names_the_good_one(
    tmp_path: Path, htcnns: Command, tiny_weights: Path
) -> None:
    shutil.copytree(tiny_weights, tmp_path / "weights")
    manifest = json.loads((tmp_path / "weights" / "manifest.json").read_text())
    of_transbts = manifest["members"][1]["files"]
    of_transbts.insert(0, {"name": "other.safetensors", "sha256": of_transbts[0]["sha256"]})
    (tmp_path / "weights" / "manifest.json").write_text(json.dumps(manifest))
    for name in ("unet", "other", "axial_unet"):
        (tmp_path / "weights" / f"{name}.safetensors").write_bytes(b"half a file")
    said = htcnns("weights", "verify", "--weights", tmp_path / "weights")
    assert said.code == 4
    assert re.fullmatch(r"transbts: transbts\.safetensors [0-9a-f]{12} good\n", said.out)
    sentence = r"htcnns: .*{}\.safetensors: {}: the file is damaged or is the wrong one; .* Restore it\.\n"
    bad = (("unet", "unet"), ("other", "transbts"), ("axial_unet", "axial_unet"))
    assert re.fullmatch("".join(sentence.format(*names) for names in bad), said.err)


@pytest.mark.slow
def test_the_doctor_says_that_a_run_would_work(tmp_path: Path, htcnns: Command, tiny_weights: Path) -> None:
    said = htcnns("doctor", tmp_path / "out", "--weights", tiny_weights, "--device", "cpu")
    lines = said.out.splitlines()
    assert (said.code, said.err, lines[-1]) == (0, "", "a run would work")
    assert [re.fullmatch(r"(ok|warn) +([a-z ]+): .*", line)[2] for line in lines[:-1]] == [
        *("software", "device", "threads", "memory", "shared memory", "user", "temporary files", "output", "weights"),
        "a tiny case",
    ]
    assert not (tmp_path / "out").exists()


def test_the_doctor_exits_as_the_run_would(tmp_path: Path, htcnns: Command, tiny_weights: Path) -> None:
    shutil.copytree(tiny_weights, tmp_path / "weights")
    (tmp_path / "weights" / "unet.safetensors").write_bytes(b"half a file")
    (tmp_path / "out").touch()
    said = htcnns("doctor", tmp_path / "out", "--weights", tmp_path / "weights", "--device", "cuda:7")
    failed = [line for line in said.out.splitlines() if line.startswith("fail")]
    assert failed[0].startswith("fail  device: --device: no cuda:7 here")
    assert f"output: {tmp_path}/out: cannot be written" in failed[1]
    assert "unet.safetensors: unet: the file is damaged" in failed[2]
    assert (said.code, said.out.splitlines()[-1]) == (5, "a run would fail: device, output, weights")


def test_all_flags_together(tmp_path: Path, segment: Command) -> None:
    said = segment(
        *("--fusion", "mean", "--labels", "brats2024-ped", "--overlap", "0.5", "--mirror", "ik", "--batch", "2"),
        *("--on-failure", "empty", "--short-names", "--again", "--channels", "t1,t1ce,t2,flair"),
        *("--report", tmp_path / "r.json", "--probabilities", tmp_path / "p", "--previews", tmp_path / "v"),
    )
    assert (said.code, said.err) == (0, "")
    assert "labels ET=1 NCR=2 ED=4" in said.out
    assert "brats2024-ped also has CC (3), which no member can predict" in said.out
    assert sorted(path.name for path in tmp_path.glob("[rpv]*/*")) == [
        *(f"{CASE}-{region}.nii.gz" for region in ("ET", "TC", "WT")),
        f"{CASE}.png",
    ]


def test_main_without_arguments_uses_those_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["htcnns", "cases", "nowhere"])
    assert main() == 3
    assert capsys.readouterr().err.startswith("htcnns: nowhere: does not exist")


def _touch(folder: Path, *names: str) -> None:
    """Makes a folder with empty files."""
    folder.mkdir()
    for name in names:
        (folder / name).touch()


def test_unclear_cases_are_listed_with_the_others_and_reported(
    tmp_path: Path, htcnns: Command, make_case: Callable[..., Path]
) -> None:
    folder = make_case(tmp_path, CASE)
    (folder / f"{CASE}-t1c.nii").touch()
    make_case(tmp_path, "BraTS2021_00495", naming="BraTS 2021-22")
    _touch(tmp_path / "P8", "a_t1.mha", "a_t2.mha")
    said = htcnns("cases", tmp_path)
    assert said.code == 3
    assert all(name in said.out for name in (CASE, "BraTS2021_00495", "P8"))
    assert re.fullmatch(rf"htcnns: .*two files for t1c of {CASE}: .*\.\n", said.err)


def test_a_case_in_another_format_is_named_and_fails_alone(tmp_path: Path, segment: Command) -> None:
    _touch(tmp_path / "in" / "P8", "a_t1.hdr", "a_t1.img", "a_t2.hdr", "a_t2.img")
    said = segment()
    assert (said.code, said.err) == (7, "")
    assert said.out.splitlines()[-2:] == ["1 done, 1 failed", "failed: P8"]
    assert "t1n, t1c, t2w, t2f missing, as a_t1.hdr is half of a .hdr/.img pair" in said.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("segment", "", "out"),
        ("segment", "in", ""),
        ("segment", "in", "out", "--report", ""),
        ("segment", "in", "out", "--weights", ""),
        ("cases", ""),
        ("evaluate", "", "truths"),
        ("evaluate", "a", "b", "--csv", ""),
        ("demo", ""),
        ("weights", "list", "--weights", ""),
        ("pack", "", "cache", "--labels", "brats2023"),
    ],
    ids=" ".join,
)
def test_an_empty_string_is_not_a_path(
    tmp_path: Path, htcnns: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = htcnns(*arguments)
    assert (said.code, said.out, list(tmp_path.iterdir())) == (2, "", [])
    assert re.fullmatch(
        r"htcnns: Invalid value for '.*': an empty string; expected a path\. See htcnns --help\.\n", said.err
    )


@pytest.mark.parametrize("flag", ["--members", "--channels"])
def test_commas_alone_name_nothing(segment: Command, flag: str) -> None:
    said = segment(flag, ",")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"htcnns: {flag}: no name; found ',', expected names separated by commas.")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null")], ids=["pipe", "device"])
def test_a_report_never_replaces_a_pipe_or_a_device(
    tmp_path: Path, segment: Command, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "report")
    before = os.lstat(tmp_path / "report").st_ino
    said = segment("--report", tmp_path / "report")
    assert (said.code, said.out, os.lstat(tmp_path / "report").st_ino) == (6, "", before)
    assert "--report: " in said.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("segment", "x" * 300, "out"),
        ("segment", "in", "x" * 300),
        ("segment", "in", "out", "--report", "x" * 300),
        ("cases", "x" * 300),
        ("evaluate", "x" * 300, "y"),
        ("evaluate", "in", "in", "--json", "x" * 300),
        ("weights", "list", "--weights", "x" * 300),
    ],
    ids=lambda words: " ".join(words).replace("x" * 300, "long"),
)
def test_a_name_too_long_for_the_file_system_is_reported_in_one_line(
    tmp_path: Path,
    htcnns: Command,
    make_case: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    make_case(tmp_path / "in", CASE)
    monkeypatch.chdir(tmp_path)
    said = htcnns(*arguments)
    assert said.code in (2, 3, 4, 6)
    assert re.fullmatch(r"htcnns: .*\n", said.err)


PRINTS = [("--help",), ("weights", "list"), ("cases", "{}"), ("recipes", "list")]


def _read_by_nobody(*arguments: object, encoding: str = "utf-8") -> tuple[int, bytes]:
    """Exit code and stderr of a process whose reader is gone before it starts, as with `| true`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "htcnns", *map(str, arguments)],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=300,
    )
    os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", PRINTS, ids=lambda words: words[0])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_gone_reader_and_a_limited_encoding_are_not_errors(
    tmp_path: Path, make_case: Callable[..., Path], command: tuple[str, ...], encoding: str
) -> None:
    make_case(tmp_path, "caf\u00e9 \u811a", naming="free")
    assert _read_by_nobody(*(word.format(tmp_path) for word in command), encoding=encoding) == (0, b"")


@pytest.mark.slow
@pytest.mark.parametrize("command", [("doctor",), ("weights", "verify")], ids=lambda words: words[-1])
def test_a_check_that_nobody_reads_succeeds(tiny_weights: Path, command: tuple[str, ...]) -> None:
    assert _read_by_nobody(*command, "--weights", tiny_weights) == (0, b"")


@pytest.mark.slow
def test_a_segmentation_that_nobody_reads_writes_its_masks(
    tmp_path: Path, make_case: Callable[..., Path], tiny_weights: Path
) -> None:
    make_case(tmp_path / "in", CASE)
    flags = ("--weights", tiny_weights, "--members", "unet", "--device", "cpu", "--report", tmp_path / "r.json")
    assert _read_by_nobody("segment", tmp_path / "in", tmp_path / "out", *flags) == (0, b"")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{CASE}.nii.gz"]
    assert json.loads((tmp_path / "r.json").read_text())["n_done"] == 1


@pytest.mark.slow
def test_an_evaluation_that_nobody_reads_writes_its_files(tmp_path: Path) -> None:
    label_map = np.zeros((20, 20, 20), np.uint8)
    label_map[4:10, 4:10, 4:10] = 3
    (tmp_path / "masks").mkdir()
    write_case_file(tmp_path / "masks" / f"{CASE}.nii.gz", label_map, np.diag([-1.0, -1.0, 1.0, 1.0]))
    files = ("--json", tmp_path / "y.json", "--csv", tmp_path / "y.csv", "--markdown", tmp_path / "y.md")
    assert _read_by_nobody("evaluate", tmp_path / "masks", tmp_path / "masks", *files) == (0, b"")
    assert json.loads((tmp_path / "y.json").read_text())["methods"]
    assert [path.name for path in sorted(tmp_path.glob("y.*"))] == ["y.csv", "y.json", "y.md"]


def test_a_signal_during_import_ends_it_without_a_traceback() -> None:
    done = _interrupted_at("htcnns.doors.cli", "import htcnns.__main__", signal.SIGINT)
    assert (done.returncode, done.stderr) == (130, "")


def _interrupted_at(module: str, code: str, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Run the code in a process that receives the signal when it begins to import the module."""
    before = (
        "import builtins, os; real = builtins.__import__\n"
        "def note(name, *rest, **named):\n"
        f"    if name == {module!r}: os.kill(os.getpid(), {int(number)})\n"
        "    return real(name, *rest, **named)\n"
        "builtins.__import__ = note\n"
    )
    return subprocess.run(
        [sys.executable, "-c", before + code], capture_output=True, text=True, check=False, timeout=300
    )
