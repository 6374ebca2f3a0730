"""Whether a file was written by a run, recognised by the mark of its kind; all other files are the user's."""

from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.json_file import read_json
from htcnns.files.names.words import stem
from htcnns.files.nifti import is_own_map
from htcnns.reports import case_report, cohort, cohort_page, picture

_OF_A_REPORT = {"format", "environment", "members", "n_done", "n_failed", "cases"}
_START = 512  # bytes at the start of a picture or a page that contain its mark


def is_own(path: Path) -> bool:
    """Whether a run wrote this mask, map, picture or report; False where it cannot be read."""
    if stem(path.name) is not None:
        return is_own_map(path)
    if path.suffix == ".png":
        return _starts_with(picture.MARK, path)
    return is_own_report(path)


def is_own_report(path: Path) -> bool:
    """Whether the file is a report of a run, of a case or of all cases; False where it cannot be read."""
    try:
        content = read_json(path)
    except InputError:
        return False
    if not isinstance(content, dict):
        return False
    return content.keys() >= _OF_A_REPORT or content.get("report") in (case_report.REPORT, cohort.REPORT)


def is_own_page(path: Path) -> bool:
    """Whether the file is the page of a cohort; False where it cannot be read."""
    return _starts_with(cohort_page.MARK, path)


def _starts_with(mark: str, path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return mark.encode() in file.read(_START)
    except OSError:
        return False
