"""The data that the viewer's page receives, and that the page and its vendored library are what they should be."""

import hashlib
import re
from importlib.resources import files

import numpy as np
import pytest

from htcnns.labels import LABEL_SETS, Label, Sequence
from htcnns.reports.picture import COLOURS
from htcnns.reports.viewer import ListedCase, card_record, list_record
from htcnns.volume import Volume

PAGE = files("htcnns.reports").joinpath("viewer_page")
# of the file in npm's archive, whose own digest `make niivue` checks
NIIVUE_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
GLIOMA_LABELS = tuple(LABEL_SETS["brats2021"].numbers)


def two_lesions() -> Volume:
    """Voxels of 2 ml: a 3 x 3 square of 8 of oedema around 1 enhancing one, and a lone necrotic one."""
    label_map = np.zeros((8, 9, 10), np.uint8)
    label_map[1:4, 2:5, 6] = Label.ED
    label_map[2, 3, 6] = Label.ET
    label_map[7, 8, 1] = Label.NCR
    affine = np.array([[-10.0, 0, 0, 5], [0, 20, 0, -3], [0, 0, 10, 0], [0, 0, 0, 1]])
    return Volume(label_map, affine)


def test_volumes_are_counted_per_label_and_for_regions_of_several() -> None:
    record = card_record(two_lesions(), GLIOMA_LABELS)
    assert {label["number"]: label["ml"] for label in record["labels"]} == {Label.ED: 16, Label.ET: 2, Label.NCR: 2}
    assert {total["name"]: total["ml"] for total in record["totals"]} == {"tumour core": 4, "whole tumour": 20}


def test_colours_are_those_of_the_pictures() -> None:
    record = card_record(two_lesions(), GLIOMA_LABELS)
    assert {label["number"]: label["colour"] for label in record["labels"]} == {n: COLOURS[n] for n in GLIOMA_LABELS}


def test_the_page_opens_at_the_largest_lesion_in_world_mm() -> None:
    centre = card_record(two_lesions(), GLIOMA_LABELS)["centre_mm"]
    assert centre == [5 - 10 * 1, -3 + 20 * 2, 60]  # planes of equal area: the first is taken


def test_an_empty_mask_has_no_lesion_to_open_at() -> None:
    empty = Volume(np.zeros((3, 3, 3), np.uint8), np.eye(4))
    record = card_record(empty, GLIOMA_LABELS)
    assert record["centre_mm"] is None
    assert {label["ml"] for label in record["labels"]} == {0}


def test_a_label_outside_the_set_has_no_line() -> None:
    numbers = [label["number"] for label in card_record(two_lesions(), [Label.ET])["labels"]]
    assert numbers == [Label.ET]


def test_names_that_reverse_text_become_escapes() -> None:
    case = ListedCase(name="a\u202eb", sequences=(Sequence.T1C,), mask="m\n.nii.gz", fault="")
    told = list_record([case], masks_are="mask")["cases"]
    assert told == [{"name": "a\\u202eb", "sequences": [False, True, False, False], "mask": "m\\n.nii.gz", "fault": ""}]


def test_niivue_is_unchanged() -> None:
    assert hashlib.sha256(PAGE.joinpath("niivue.umd.js").read_bytes()).hexdigest() == NIIVUE_SHA256


def test_licences_lie_beside_niivue() -> None:
    text = PAGE.joinpath("niivue.LICENSE.txt").read_text(encoding="utf-8")
    assert text.startswith("@niivue/niivue@")
    assert text.count("\n\n" + "-" * 80 + "\n\n") == 9


@pytest.mark.parametrize(
    "forbidden", [r"<script[^>]*>[^<]", r"<style", r"\son\w+=", r"\sstyle=", r"https?://", r"//\w"]
)
def test_the_page_needs_nothing_inline_and_nothing_from_outside(forbidden: str) -> None:
    assert re.findall(forbidden, PAGE.joinpath("index.html").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("forbidden", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("])
def test_the_scripts_do_not_turn_text_into_markup(forbidden: str) -> None:
    scripts = [PAGE.joinpath(name).read_text(encoding="utf-8") for name in ("viewer.js", "panels.js")]
    assert [script for script in scripts if forbidden in script] == []


def test_every_key_in_the_help_is_answered() -> None:
    help_text = PAGE.joinpath("index.html").read_text(encoding="utf-8").partition("<dialog")[2]
    script = PAGE.joinpath("viewer.js").read_text(encoding="utf-8")
    letters = set(re.findall(r"<kbd>([A-Z])</kbd>", help_text))
    answered = {
        letter.upper()
        for letter in re.findall(r"^    ([a-z]): |key: \"([a-z])\"", script, re.MULTILINE)
        for letter in letter
        if letter
    }
    assert letters == answered
