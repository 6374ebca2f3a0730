"""The list of all cases: its schema, its numbers, and untrusted names made harmless."""

import csv
import io
import json
import re
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from htcnns.files.cohort_files import page_parts
from htcnns.image.notes import Kind, Note
from htcnns.reports.case_report import record_text
from htcnns.reports.cohort import CohortCase, cohort_record, cohort_table, listed_outcome, listed_record
from htcnns.reports.cohort_page import PageParts, cohort_page
from htcnns.reports.outcome import Outcome, State
from htcnns.reports.plain_text import from_csv_cell
from htcnns.reports.tables import csv_text

SCHEMA = json.loads(files("htcnns.reports").joinpath("cohort.schema.json").read_text(encoding="utf-8"))
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '"><b onmouseover="alert(1)',
    "=HYPERLINK(1)",
    "+1",
    "@SUM(A1)",
    "-2+3",
    "two\nlines,\t\"and\" 'more'",
    "javascript:alert(1)",
    "\u202etxt.exe",
    "bytes \udcff",
    "{{script}}",
)
OF_STYLE = "sha256-7yqHVAesot11p6HczDsgKRipvI5UPgs97z80zNXlans="  # printf 'b{}' | openssl dgst -sha256 -binary | base64
OF_SCRIPT = "sha256-JUSJ4uSAPdgEZaIPMaRtqQei7jxt6C/Vfd/p1yvl4uc="  # likewise of '{{data}}'


def listed(name: str = "P7", **fields: object) -> CohortCase:
    """A finished case of that name, with more fields."""
    outcome = Outcome(
        case=name, state=State.DONE, mask=Path("out/P7.nii.gz"), volumes_ml={"WT": 2.0, "TC": 1.0, "ET": 0}
    )
    known = vars(listed_outcome(outcome)) | {"label_voxels": {"ED": 1000, "NCR": 1000}, "n_lesions": 1} | fields
    return CohortCase(**known)


def rows_of(*cases: CohortCase) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(cohort_table(cases)))))


def test_the_list_keeps_to_its_schema() -> None:
    failed = listed_outcome(Outcome(case="P8", state=State.FAILED, error="P8: t1n missing"))
    waiting = listed_outcome(Outcome(case="P9", state=State.NOT_STARTED))
    record = json.loads(record_text(cohort_record([waiting, failed, listed()], not_read=["x\n.json"])))
    jsonschema.Draft202012Validator(SCHEMA).validate(record)
    assert [each["case"] for each in record["cases"]] == ["P7", "P8", "P9"]
    assert record["n_by_state"] == {"done": 1, "failed": 1, "not started": 1}
    assert record["not_read"] == ["x\\n.json"]
    del record["cases"][0]["volumes_ml"]
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(record)


def test_the_table_has_a_row_for_each_case_and_voxels_of_each_label() -> None:
    found = rows_of(
        listed("P8", label_voxels={"ET": 5}, volumes_ml={"WT": 1.5, "TC": 1.0, "ET": 0.005, "RC": 3.0}),
        listed("P7"),
        listed_outcome(Outcome(case="P9", state=State.FAILED, error="P9: t1n missing")),
    )
    names = ["WT_ml", "TC_ml", "ET_ml", "RC_ml", "NCR_voxels", "ED_voxels", "ET_voxels"]
    assert list(found[0])[:10] == ["case", "state", "agreement", *names]
    assert [[row[name] for name in names] for row in found] == [
        ["2.0", "1.0", "0", "", "1000", "1000", "0"],
        ["1.5", "1.0", "0.005", "3.0", "0", "0", "5"],
        ["", "", "", "", "", "", ""],
    ]
    assert (found[2]["state"], found[2]["error"]) == ("failed", "P9: t1n missing")


def test_notes_with_a_kind_are_findings_even_without_a_report() -> None:
    outcome = Outcome(case="P7", state=State.KEPT, notes=(Note("is empty", Kind.EMPTY_MASK), "a remark"))
    each = listed_outcome(outcome)
    assert (each.state, each.findings, each.notes) == (
        State.DONE,
        ({"kind": "empty mask", "text": "is empty"},),
        ("a remark",),
    )


@pytest.mark.parametrize("state", [State.KEPT, State.NOT_STARTED])
def test_a_report_of_a_case_neither_done_nor_failed_is_refused(state: State) -> None:
    record = {"case": "P7", "title": "P7", "diameters": None, "least_dice": None, "state": state}
    with pytest.raises(ValueError, match=f"{state} is not a state of a report"):
        listed_record(record, report="P7.json")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_one_harmless_cell(name: str) -> None:
    text = csv_text(cohort_table([listed(name, error=name)]))
    (row,) = csv.DictReader(io.StringIO(text))
    assert len(text.splitlines()) == 2
    assert not re.match(r"[=+\-@]", row["case"])
    assert from_csv_cell(row["case"]) == name
    assert not re.match(r"[=+\-@]", row["error"])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_adds_no_markup_to_the_page(name: str) -> None:
    finding = {"kind": name, "text": name}
    plain, hostile = (
        cohort_page([listed(case, error=case, findings=(found,))], page_parts(), not_read=[case])
        for case, found in (("P7", {"kind": "k", "text": "t"}), (name, finding))
    )
    assert hostile.count("<") == plain.count("<")
    assert hostile.count(">") == plain.count(">")
    hostile.encode("utf-8")


def test_a_link_to_a_case_is_its_percent_encoded_name_without_a_scheme() -> None:
    page = cohort_page([listed("javascript:é\udcff/")], page_parts(), not_read=[])
    assert '"javascript%3A%C3%A9%FF%2F"' in page


def test_the_policy_allows_only_the_pages_own_script_and_style() -> None:
    parts = PageParts("{{policy}}|{{style}}|{{data}}|{{script}}", "b{}", "{{data}}")
    policy, style, _, script = cohort_page([listed("{{style}}")], parts, not_read=[]).split("|")
    assert (style, script) == ("b{}", "{{data}}")  # inserted text is not searched for placeholders
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert f"style-src '{OF_STYLE}'; script-src '{OF_SCRIPT}'" in policy


def test_the_page_asks_for_nothing_but_pictures_beside_it() -> None:
    parts = page_parts()
    assert re.findall(r"https?:|//[a-z]|@import|url\(", parts.html + parts.style) == []
    assert (
        re.findall(
            r"https?:|fetch|XMLHttp|import\(|innerHTML|outerHTML|insertAdjacent|document\.write|eval", parts.script
        )
        == []
    )
