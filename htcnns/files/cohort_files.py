"""The files of a folder of reports that are about all its cases: where they lie, and the parts that one is made of."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

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
    """The files in that folder of reports."""
    return CohortFiles(folder / "cohort.json", folder / "cohort.csv", folder / "index.html")


def page_parts() -> PageParts:
    """The parts of the page that are the same for every cohort, out of the package."""
    folder = files("htcnns.reports").joinpath("page")
    html, style, script = (folder.joinpath(f"cohort.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return PageParts(html, style, script)
