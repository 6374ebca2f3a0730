"""The files about all cases in a folder of reports: where they lie, and the fixed parts of their page."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from htcnns.errors import OutputError
from htcnns.files.atomic import require_file_place
from htcnns.files.own import is_own_page, is_own_report
from htcnns.files.places import exists
from htcnns.reports.cohort_page import PageParts


@dataclass(frozen=True)
class CohortFiles:
    """Where the report of a cohort goes.

    Attributes:
        record: JSON file.
        table: CSV file.
        page: HTML file.
    """

    record: Path
    table: Path
    page: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.record, self.table, self.page)


def cohort_files(folder: Path) -> CohortFiles:
    """The files about all cases in that folder of reports."""
    return CohortFiles(folder / "cohort.json", folder / "cohort.csv", folder / "index.html")


def require_place_for_cohort(folder: Path) -> None:
    """Raise OutputError where the files about all cases cannot be written, or would replace somebody's own."""
    files = cohort_files(folder)
    for path in files.paths:
        require_file_place(path, setting="report")
    # written in this order, so the record vouches for the table, which has no mark of its own
    is_own = {files.record: is_own_report, files.table: lambda _: is_own_report(files.record), files.page: is_own_page}
    for path, is_ours in is_own.items():
        if exists(path) and not is_ours(path):
            raise OutputError(
                "is not from a run, and would be replaced",
                place=path,
                setting="report",
                expected="a folder for reports only",
                remedy="Give another folder.",
            )


def page_parts() -> PageParts:
    """The parts of the page that are the same for every cohort, read from the package."""
    folder = files("htcnns.reports").joinpath("page")
    html, style, script = (folder.joinpath(f"cohort.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return PageParts(html, style, script)
