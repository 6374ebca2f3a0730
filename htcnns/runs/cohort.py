"""The report of a cohort: every case with a report in the folder, whichever run wrote it."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from htcnns.files.atomic import write_whole
from htcnns.files.case_records import read_records
from htcnns.files.claims import Claims
from htcnns.files.cohort_files import cohort_files, page_parts
from htcnns.reports.case_report import record_text
from htcnns.reports.cohort import CohortCase, cohort_record, cohort_table, listed_outcome, listed_record
from htcnns.reports.cohort_page import cohort_page
from htcnns.reports.outcome import Outcome, State
from htcnns.reports.tables import csv_text

_PATIENCE_S = 120.0  # for another run that is writing it: 10,000 cases take a few seconds
_PAUSE_S = 0.2


def write_cohort(folder: Path, outcomes: Iterable[Outcome]) -> None:
    """Write JSON, table and page on every case with a report in the folder, and on a run's cases that have none.

    Runs that end at the same time write one after another, so that the last one includes the reports of all.

    Raises:
        OutputError: the folder cannot be read or written.
    """
    files = cohort_files(folder)
    with Claims() as claims:
        deadline = time.monotonic() + _PATIENCE_S
        while not claims.take(files.record) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        cases, not_read = gathered(folder, outcomes)
        write_whole(files.record, record_text(cohort_record(cases, not_read=not_read)).encode())
        # bytes of a name that are not UTF-8 become escapes
        write_whole(files.table, csv_text(cohort_table(cases)).encode("utf-8", "backslashreplace"))
        write_whole(files.page, cohort_page(cases, page_parts(), not_read=not_read).encode())


def gathered(folder: Path, outcomes: Iterable[Outcome]) -> tuple[tuple[CohortCase, ...], tuple[str, ...]]:
    """Every case with a report in the folder, and the outcomes whose report is missing or outdated.

    A failed case is listed as long as its report is there: a run that segments the case replaces it.

    Returns:
        The cases, and the names of JSON files that are not case reports in this format.
    """
    found: dict[str, CohortCase] = {}
    not_read: list[str] = []
    for path, record in read_records(folder):
        listed = _listed(record, path.name)
        if listed:
            found[listed.case] = listed
        elif path != cohort_files(folder).record:
            not_read.append(path.name)
    for outcome in outcomes:
        known = found.get(outcome.case)
        if known is None or _is_newer(outcome, known):
            found[outcome.case] = listed_outcome(outcome)
        elif outcome.state is State.KEPT:
            found[outcome.case] = replace(known, notes=tuple(dict.fromkeys((*known.notes, *outcome.notes))))
    return tuple(found.values()), tuple(not_read)


def _listed(record: dict[str, Any] | None, name: str) -> CohortCase | None:
    """The list's entry for a report; None if it is not a report, or was edited by hand and cannot be parsed."""
    try:
        return listed_record(record, report=name) if record else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _is_newer(outcome: Outcome, known: CohortCase) -> bool:
    """Whether the report is an earlier run's because this run could not write its own."""
    return outcome.state in (State.DONE, State.FAILED) and known.state != outcome.state
