"""The reports of cases in a folder, read again, and what each states that its mask was made from."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htcnns.errors import InputError, OutputError
from htcnns.files.digests import FileDigest
from htcnns.files.json_file import read_json
from htcnns.labels import SEQUENCES, Sequence
from htcnns.reports.case_report import FORMAT, REPORT
from htcnns.reports.outcome import State

ENDING = ".json"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a mask was made from, according to the report of the finished case.

    Attributes:
        method: digest of the weights and settings.
        label_set: name of the label set of the mask.
        inputs: digest of each scan.
        mask: digest of the mask's file.
        beside: digest of each file of `CaseOutputs.beside` that was written with the mask.
    """

    method: str
    label_set: str
    inputs: dict[Sequence, FileDigest]
    mask: FileDigest
    beside: dict[str, FileDigest]


def read_record(path: Path) -> dict[str, Any] | None:
    """The report of a case as plain data; None where the file cannot be read or is no report of this format."""
    try:
        content = read_json(path)
    except InputError:
        return None
    is_ours = isinstance(content, dict) and (content.get("report"), content.get("format")) == (REPORT, FORMAT)
    return content if is_ours else None


def read_records(folder: Path) -> Iterator[tuple[Path, dict[str, Any] | None]]:
    """Each JSON file of a folder, sorted, with its report; None where it is not a report of the case it is named after.

    Raises:
        OutputError: the folder cannot be listed.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(ENDING) and not name.startswith("."))
    except OSError as error:
        raise OutputError(
            f"cannot be listed ({error.strerror or error})",
            place=folder,
            expected="the folder of reports",
            remedy="Give another folder, or run as its owner.",
        ) from error
    for name in names:
        record = read_record(folder / name)
        yield folder / name, record if record and f"{record.get('case')}{ENDING}" == name else None


def known_mask(record: dict[str, Any]) -> FileDigest | None:
    """Digest of the mask that a run wrote last, even if the case failed since; None where the report has none."""
    try:
        return FileDigest(str(record["digests"]["mask"]), "")
    except (KeyError, TypeError):
        return None


def origin_of(record: dict[str, Any]) -> Origin | None:
    """What a finished case's mask was made from; None where the case failed or the report does not state it."""
    if record.get("state") != State.DONE:
        return None
    try:
        digests = record["digests"]
        inputs = {
            sequence: FileDigest(str(digests["inputs"][sequence]["sha256"]), str(digests["inputs"][sequence]["stamp"]))
            for sequence in SEQUENCES
            if sequence in digests["inputs"]
        }
        return Origin(
            method=digests["method"],
            label_set=record["label_set"],
            inputs=inputs,
            mask=FileDigest(str(digests["mask"]), ""),
            beside={name: FileDigest(str(digest), "") for name, digest in digests.get("beside", {}).items()},
        )
    except (KeyError, TypeError, AttributeError):  # the report was changed by hand
        return None
