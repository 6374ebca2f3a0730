"""Whether a file was written by a run, by the mark that each kind carries; all others are the user's."""

from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.json_file import read_json
from htcnns.files.names.words import stem
from htcnns.files.nifti import is_own_map
from htcnns.reports import case_report, cohort, cohort_page, picture

_OF_A_REPORT = {"format", "environment", "members", "n_done", "n_failed", "cases"}
_START = 512  # bytes of a picture or a page before which its mark stands


def is_own(path: Path) -> bool:
    """Whether a mask, a map, a picture or a report there comes from a run; False where it cannot be read."""
    if stem(path.name) is not None:
        return is_own_map(path)
    if path.suffix == ".png":
        return _starts_with(picture.MARK, path)
    return is_own_report(path)


def is_own_report(path: Path) -> bool:
    """Whether the report of a run, of a case or of all cases lies there; False where it cannot be read."""
    try:
        content = read_json(path)
    except InputError:
        return False
    if not isinstance(content, dict):
        return False
    return content.keys() >= _OF_A_REPORT or content.get("report") in (case_report.REPORT, cohort.REPORT)


def is_own_page(path: Path) -> bool:
    """Whether the page of a cohort lies there; False where it cannot be read."""
    return _starts_with(cohort_page.MARK, path)


def _starts_with(mark: str, path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return mark.encode() in file.read(_START)
    except OSError:
        return False
