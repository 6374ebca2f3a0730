"""Hostile folder trees: a good case stays as it is, and around it something is done to another case and the folder."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

Change = Callable[[Path, Path, np.random.Generator], object]


def spoil_tree(bad: Path, output: Path, rng: np.random.Generator) -> list[str]:
    """Make one to four hostile changes to the case in `bad`, around it and in the output; returns their names.

    A change that cannot be made on top of the others, as a name would be too long or is taken, is skipped.
    """
    changes = [_CHANGES[n] for n in rng.choice(len(_CHANGES), rng.integers(1, 5), replace=False)]
    for change in changes:
        if bad.is_dir() and any(bad.iterdir()):
            with suppress(OSError):
                change(bad, output, rng)
    return [change.__name__ for change in changes]


def _scan(bad: Path, rng: np.random.Generator) -> Path:
    """Any file of the bad case."""
    return sorted(bad.iterdir())[rng.integers(len(list(bad.iterdir())))]


def _moved(path: Path, name: str) -> Path:
    """Rename the file, unless the name is taken, and return its path."""
    target = path.with_name(name)
    return path if os.path.lexists(target) else path.rename(target)


def both_packed_and_plain(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    plain = bad / _scan(bad, rng).name.removesuffix(".gz")
    if plain.is_file() or not os.path.lexists(plain):  # whoever writes to a pipe waits for a reader
        plain.write_bytes(b"plain")


def backup_copy(bad: Path, _output: Path, _rng: np.random.Generator) -> None:
    shutil.copytree(bad, bad.parent / "backup" / bad.name, symlinks=True)


def copy_of_a_scan(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    scan = _scan(bad, rng)
    (bad / f"copy of {scan.name}").write_bytes(b"copy")


def other_format(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    ending = rng.choice([".mha", ".hdr", ".img", ".nrrd", ".nii.bz2", ".mgz", ".dcm"])
    for scan in [path for path in bad.iterdir() if path.is_file()][: rng.integers(1, 5)]:
        _moved(scan, scan.name.removesuffix(".nii.gz") + ending)


def line_end_in_a_name(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    scan = _scan(bad, rng)
    at = int(rng.integers(1, len(scan.name)))
    _moved(scan, f"{scan.name[:at]}\n{scan.name[at:]}")


def line_end_in_the_folder(bad: Path, _output: Path, _rng: np.random.Generator) -> None:
    _moved(bad, f"{bad.name}\n\x1b[2J")


def name_that_is_no_text(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    scan = _scan(bad, rng)
    _moved(scan, os.fsdecode(b"caf\xe9" + os.fsencode(scan.name)))


def link_to_nowhere(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    scan = _scan(bad, rng)
    if scan.is_file():
        scan.unlink()
        scan.symlink_to(rng.choice(["nowhere", scan.name, "/dev/null", "/dev/zero"]))


def pipe(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    scan = _scan(bad, rng)
    if scan.is_file():
        scan.unlink()
        os.mkfifo(scan)


def folder_for_a_scan(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    scan = _scan(bad, rng)
    if scan.is_file():
        scan.unlink()
        scan.mkdir()


def no_bytes(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    scan = _scan(bad, rng)
    if scan.is_file():
        scan.write_bytes(b"")


def free_names(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    words = rng.permutation(["SMITH_t1", "JONES_t1ce", "t2", "flair", "t1_in_flair", "t1_map", "seg"])
    for scan, word in zip([path for path in sorted(bad.iterdir()) if path.is_file()], words, strict=False):
        _moved(scan, f"{word}.nii.gz")


def nnunet_names(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    for number, scan in enumerate([path for path in sorted(bad.iterdir()) if path.is_file()]):
        _moved(scan, f"glioma_{number:04}.nii.gz")
    text = rng.choice(["", "{", "[]", '{"modality": {"0": "T1"}}', '{"channel_names": {"0": "T1", "1": "ADC"}}'])
    if text and not os.path.lexists(bad / "dataset.json"):
        (bad / "dataset.json").write_text(text)


def short_case_name(bad: Path, _output: Path, _rng: np.random.Generator) -> None:
    for scan in [path for path in bad.iterdir() if path.is_file()]:
        _moved(scan, f"{'x' * 240}_{scan.name[-10:]}")


def loop(bad: Path, _output: Path, _rng: np.random.Generator) -> None:
    (bad / "up").symlink_to("..")
    (bad.parent / "itself").symlink_to("itself")


def strangers(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    for name in rng.permutation(["t1.nii.gz", "x.mha", "y.dcm", "dwi_0012.nii.gz", ".hidden.nii.gz", "z.hdr"])[:3]:
        (bad.parent / name).write_bytes(rng.bytes(9))


def folder_in_the_output(bad: Path, output: Path, _rng: np.random.Generator) -> None:
    (output / f"{bad.name}.nii.gz").mkdir(parents=True)


def pipe_in_the_output(bad: Path, output: Path, _rng: np.random.Generator) -> None:
    output.mkdir(parents=True, exist_ok=True)
    if not (output / f"{bad.name}.nii.gz").exists():
        os.mkfifo(output / f"{bad.name}.nii.gz")


def damaged_mask_in_the_output(bad: Path, output: Path, rng: np.random.Generator) -> None:
    output.mkdir(parents=True, exist_ok=True)
    if not (output / f"{bad.name}.nii.gz").exists():
        (output / f"{bad.name}.nii.gz").write_bytes(b"\x1f\x8b" + rng.bytes(40))


def gone(bad: Path, _output: Path, rng: np.random.Generator) -> None:
    scan = _scan(bad, rng)
    if scan.is_file():
        scan.unlink()


_CHANGES: tuple[Change, ...] = (
    *(both_packed_and_plain, backup_copy, copy_of_a_scan, other_format, line_end_in_a_name, line_end_in_the_folder),
    *(name_that_is_no_text, link_to_nowhere, pipe, folder_for_a_scan, no_bytes, free_names, nnunet_names, gone),
    *(short_case_name, loop, strangers, folder_in_the_output, pipe_in_the_output, damaged_mask_in_the_output),
)
