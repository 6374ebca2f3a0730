"""Regions, labels and channels in dataset.json are recognised by name, and regions and labels checked by number."""

import json
from pathlib import Path

import pytest
import theirs

from htcnns.errors import WeightsError
from htcnns.files.foreign_weights.meanings import outputs_in, sequences_in
from htcnns.labels import GLIOMA, REGION_SETS, Label, Region, Sequence
from htcnns.networks.contract import Head

WITH_CAVITY, PAEDIATRIC = REGION_SETS["wt-tc-et-rc"], REGION_SETS["et-net-cc-ed"]
BACKGROUND = {"background": 0}


def outputs(labels: dict) -> tuple:
    return outputs_in({"labels": BACKGROUND | labels}, place="dataset.json")


@pytest.mark.parametrize(
    ("labels", "regions", "expected"),
    [
        (theirs.REGIONS, GLIOMA, "WT TC ET"),
        ({"ET": [3], "TC": [1, 3], "whole_tumour": [1, 2, 3]}, GLIOMA, "ET TC WT"),
        ({"WT": [1, 2, 3], "TC": [1, 3], "ET": 3, "RC": 4}, WITH_CAVITY, "WT TC ET RC"),
        ({"WT": [1, 2, 3], "Resection Cavity": 4, "TC": [1, 3], "ET": [3], "ignore": 5}, WITH_CAVITY, "WT RC TC ET"),
    ],
    ids=["BraTS 2021", "another order", "with cavity", "with voxels to ignore"],
)
def test_regions_come_in_the_order_of_the_file(labels: dict, regions: object, expected: str) -> None:
    assert outputs(labels) == (regions, Head.SIGMOID, tuple(Region[name] for name in expected.split()))


@pytest.mark.parametrize(
    ("labels", "regions", "expected"),
    [
        (theirs.LABELS, GLIOMA, "NCR ED ET"),
        ({"ET": 3, "NETC": 1, "SNFH": 2}, GLIOMA, "NCR ED ET"),
        ({"NETC": 1, "SNFH": 2, "ET": 3, "RC": 4}, WITH_CAVITY, "NCR ED ET RC"),
        ({"ET": 1, "NET": 2, "CC": 3, "ED": 4}, PAEDIATRIC, "ET NCR CC ED"),
    ],
    ids=["with British words", "not sorted", "with cavity", "paediatric"],
)
def test_labels_come_in_the_order_of_their_numbers_after_the_background(
    labels: dict, regions: object, expected: str
) -> None:
    found = outputs(labels)
    assert found == (regions, Head.SOFTMAX, (Label.BACKGROUND, *(Label[name] for name in expected.split())))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (
            {"WT": [1, 2, 3], "TC": [1, 3], "ET": 2},
            r"overlap as their names say; found WT \[1, 2, 3\]; TC \[1, 3\]; ET",
        ),
        ({"WT": [1, 2, 3], "TC": [1, 3], "ET": [1, 2, 3]}, "do not overlap as their names say"),
        ({"WT": [1, 2, 3, 4], "TC": [1, 3], "ET": 3, "RC": 4}, "do not overlap as their names say"),
        ({"WT": [1, 2, 3], "whole tumor": [1, 2], "TC": [1, 3], "ET": 3}, "do not overlap as their names say"),
        ({"WT": [1, 2, 3], "TC": [1, 3], "liver": 3}, "unknown label 'liver'; expected one of .*WT, TC"),
        (
            {"WT": [1, 2, 3], "TC": [1, 3]},
            "no region set has these labels or regions; found TC, WT, expected ET, TC, WT or",
        ),
        ({"NCR": 1, "ED": 2}, "no region set has these labels or regions; found ED, NCR"),
        (
            {"NCR": 1, "ED": 2, "ET": 4},
            "impossible numbers of the labels; found .*, expected numbers from 1 to 3, each once",
        ),
        ({"NCR": 1, "ED": 2, "ET": 3, "edema": 4}, "expected each label once"),
        (
            {"NCR": "1", "ED": 2, "ET": 3},
            "impossible number of label 'NCR'; found '1', expected a number, or a list of numbers",
        ),
        ({"NCR": [], "ED": 2, "ET": 3}, r"impossible number of label 'NCR'; found \[\]"),
        ({"NCR": True, "ED": 2, "ET": 3}, "impossible number of label 'NCR'; found True"),
        ({"background": 1}, "impossible number of the background; found 1, expected 0"),
    ],
    ids=str,
)
def test_names_and_numbers_that_contradict_each_other_are_refused(labels: dict, says: str) -> None:
    with pytest.raises(WeightsError, match=f"^dataset.json: .*{says}"):
        outputs(labels)


def test_a_data_set_without_labels_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"dataset\.json: labels is missing; expected an object with fields"):
        outputs_in({}, place="dataset.json")


def test_channels_of_both_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}))
    assert sequences_in(path) == (Sequence.T2F, Sequence.T1N, Sequence.T1C, Sequence.T2W)


def test_other_channels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}}))
    with pytest.raises(WeightsError, match=r"dataset\.json: unknown channel CT; .* Only networks on T1, T1ce, T2 and"):
        sequences_in(tmp_path / "dataset.json")


@pytest.mark.parametrize("text", ["{", "{}"], ids=["no JSON", "no channels"])
def test_a_file_without_channels_is_refused_with_advice_to_restore_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(WeightsError, match=r"dataset\.json: cannot be read as .*\. Restore or correct the file\."):
        sequences_in(tmp_path / "dataset.json")
