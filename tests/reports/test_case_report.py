"""The report of a case: its schema, its numbers, and untrusted names made harmless."""

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from htcnns.image.lesion_shape import AxialDiameters, Diameter, Side
from htcnns.image.notes import Kind, Note
from htcnns.labels import Region
from htcnns.reports.case_report import CaseFacts, Digests, Geometry, Measures, RunFacts, case_record, record_text
from htcnns.reports.outcome import MemberFinding, Outcome, State

SCHEMA = json.loads(files("htcnns.reports").joinpath("case_report.schema.json").read_text(encoding="utf-8"))
RUN = RunFacts(
    environment={"htcnns": "0", "python": "3", "torch": "2"},
    device="cpu",
    device_note="",
    precision="fp32",
    settings={"fusion": "staple", "overlap": None, "mirror": ""},
    members=({"name": "unet", "files": {"a": "0" * 64}, "sequences": ["t1n"], "regions": "wt-tc-et", "rules": {}},),
)
DIAMETER = Diameter(length_mm=12.3456, start_mm=(0.0, 0.0, 0.0), stop_mm=(1.0, 2.0, 3.0))
MEASURES = Measures(
    label_voxels={"ET": 2000},
    lesions_ml={Region.WT: (1.5, 0.5), Region.ET: tuple(float(n) for n in range(200, 0, -1))},
    centroid_mm=(1.0, 2.0, 3.0),
    side=Side.LEFT,
    middle_x_mm=20.0,
    borders=("inferior",),
    axial=AxialDiameters(longest=DIAMETER, perpendicular=DIAMETER),
    largest=DIAMETER,
)
GEOMETRY = Geometry(
    shape=(2, 3, 4),
    spacing_mm=(1.0, 1.0, 1.0),
    orientation="LPS",
    affine=((1.0, 0.0, 0.0, 0.0),) * 4,
    is_resampled=False,
)
MEMBER = MemberFinding(
    name="unet",
    volumes_ml={"WT": 2.0},
    largest={"WT": 1.0},
    sensitivity={"WT": None},
    specificity={"WT": 0.99},
    dice={"WT": 0.5},
    n_cleaned=3,
)
MEMORY = {"process": 100.0, "device": None}
DIGESTS = Digests(
    method="1" * 64,
    inputs={"t1n": {"sha256": "2" * 64, "stamp": ""}},
    mask="3" * 64,
    beside={"WT": "4" * 64, "picture": "5" * 64},
)
DONE = CaseFacts(geometry=GEOMETRY, measures=MEASURES, digests=DIGESTS, peak_memory_mib=MEMORY, picture="P7.png")
HOSTILE = "P7\n<script>alert('\x1b[2J&\u202e\")</script>"


def record_of(outcome: Outcome, facts: CaseFacts = DONE) -> dict:
    """The report as read from its file, checked against the schema."""
    record = json.loads(record_text(case_record(RUN, outcome, facts)))
    jsonschema.Draft202012Validator(SCHEMA).validate(record)
    return record


def done(**fields: object) -> Outcome:
    return Outcome(case="P7", state=State.DONE, mask=Path("out/P7.nii.gz"), members=(MEMBER,), **fields)


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_knows_every_kind_of_finding() -> None:
    kinds = SCHEMA["properties"]["findings"]["items"]["properties"]["kind"]["enum"]
    assert set(kinds) == {str(kind) for kind in Kind} - {str(Kind.REMARK)}


@pytest.mark.parametrize("field", ["volumes_ml", "run", "state"])
def test_the_schema_refuses_a_report_that_lacks_a_field(field: str) -> None:
    record = record_of(done())
    del record[field]
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(record)


def test_a_finished_case_has_its_measures() -> None:
    record = record_of(done(volumes_ml={"WT": 2.0}))
    assert (record["state"], record["volumes_ml"], record["least_dice"]) == ("done", {"WT": 2.0}, 0.5)
    assert record["diameters"]["product_mm2"] == round(12.3456**2, 1)
    assert record["largest_lesion"] == {
        "volume_ml": 1.5,
        "side": "left",
        "centroid_mm": [1.0, 2.0, 3.0],
        "middle_x_mm": 20.0,
    }


def test_of_many_lesions_the_largest_are_listed() -> None:
    lesions = record_of(done())["lesions"]["ET"]
    assert (lesions["n"], len(lesions["volumes_ml"]), lesions["volumes_ml"][0]) == (200, 100, 200.0)


def test_an_empty_mask_has_no_lesion_and_no_diameters() -> None:
    empty = Measures(
        label_voxels={}, lesions_ml={Region.WT: ()}, centroid_mm=None, side=None, middle_x_mm=float("nan"),
        borders=(), axial=None, largest=None,
    )  # fmt: skip
    record = record_of(done(), CaseFacts(geometry=GEOMETRY, measures=empty, peak_memory_mib=MEMORY))
    assert (record["largest_lesion"], record["diameters"]) == (None, None)


def test_notes_with_a_kind_are_findings() -> None:
    record = record_of(done(notes=(Note("mask is empty", Kind.EMPTY_MASK), "a remark", Note("another"))))
    assert record["findings"] == [{"kind": "empty mask", "text": "mask is empty"}]
    assert record["notes"] == ["a remark", "another"]


def test_a_failed_case_has_its_message_and_its_traceback() -> None:
    outcome = Outcome(case="P7", state=State.FAILED, error="P7: t1n missing", trace="Traceback\n  line\n")
    record = record_of(outcome, CaseFacts(peak_memory_mib=MEMORY))
    assert (record["state"], record["error"], record["trace"]) == ("failed", "P7: t1n missing", ["Traceback", "  line"])
    assert (record["geometry"], record["files"]["mask"]) == (None, None)


def test_numbers_that_json_does_not_have_become_none() -> None:
    record = record_of(done(), CaseFacts(measures=MEASURES, peak_memory_mib={"process": 1.0, "device": float("nan")}))
    assert record["peak_memory_mib"]["device"] is None


def test_untrusted_names_are_harmless_in_a_page_and_on_a_terminal() -> None:
    outcome = Outcome(case=HOSTILE, state=State.FAILED, error=HOSTILE, trace=HOSTILE, notes=(HOSTILE,))
    text = record_text(case_record(RUN, outcome, CaseFacts(peak_memory_mib=MEMORY)))
    assert not {"<", ">", "&", "\x1b", "\u202e"} & set(text)
    record = json.loads(text)
    assert record["case"] == HOSTILE
    assert not {"\n", "\x1b", "\u202e"} & set(record["title"] + record["error"] + record["notes"][0])
