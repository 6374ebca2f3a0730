"""File names checked against the conventions that BraTS publishes."""

import re

import pytest

from htcnns.files.names.brats import ENDINGS, NAMINGS, Convention, Naming, read_brats
from htcnns.files.names.words import stem
from htcnns.labels import SEQUENCES, Sequence

T1N, T1C, T2W, T2F = Sequence


@pytest.mark.parametrize(
    ("name", "naming", "case", "sequence"),
    [
        ("BraTS-GLI-00001-000-t2f", "BraTS 2023+", "BraTS-GLI-00001-000", T2F),
        ("BraTS-MET-00110-000-T1C", "BraTS 2023+", "BraTS-MET-00110-000", T1C),
        ("BraTS-GoAT-00001-t1n", "BraTS 2023+", "BraTS-GoAT-00001", T1N),
        ("BraTS-PED-00002-000-seg", "BraTS 2023+", "BraTS-PED-00002-000", None),
        ("BraTS2021_00495_t1ce", "BraTS 2021-22", "BraTS2021_00495", T1C),
        ("BraTS2021_00495_t1", "BraTS 2021-22", "BraTS2021_00495", T1N),
        ("BraTS2021_00495_seg", "BraTS 2021-22", "BraTS2021_00495", None),
        ("Brats18_2013_2_1_flair", "BraTS 2017-20", "Brats18_2013_2_1", T2F),
        ("Brats17_TCIA_105_1_t2", "BraTS 2017-20", "Brats17_TCIA_105_1", T2W),
        ("BraTS20_Training_001_t1ce", "BraTS 2017-20", "BraTS20_Training_001", T1C),
    ],
)
def test_naming_case_and_sequence_are_read_from_brats_names(
    name: str, naming: str, case: str, sequence: Sequence | None
) -> None:
    found = read_brats(name)
    assert found is not None
    assert found == (Convention(naming), case, sequence)


@pytest.mark.parametrize(
    "name",
    [
        "BraTS-GLI-00001-000_t1c",
        "BraTS-GLI-00001-000-t1ce",
        "BraTS2021_00495-t1ce",
        "BraTS2021_00495_t1c",
        "BraTS2021_t1",
        "patient_t1",
        "BraTS-GLI-00001-000",
    ],
)
def test_near_misses_are_not_brats_names(name: str) -> None:
    assert read_brats(name) is None


@pytest.mark.parametrize("naming", NAMINGS, ids=lambda naming: naming.convention.name)
def test_the_example_of_a_convention_follows_it(naming: Naming) -> None:
    name = stem(naming.example)
    assert name is not None
    found = read_brats(name)
    assert found is not None
    assert found[0] is naming.convention
    assert naming.example == f"{found[1]}{naming.endings[T1C]}.nii.gz"


def test_every_convention_with_fixed_endings_has_one_for_each_sequence() -> None:
    assert set(ENDINGS) == set(Convention) - {Convention.NNUNET}
    assert {tuple(endings) for endings in ENDINGS.values()} == {SEQUENCES}


def test_endings_cannot_be_changed() -> None:
    with pytest.raises(TypeError, match=re.escape("does not support item assignment")):
        ENDINGS[Convention.FREE][T1N] = "_x"  # type: ignore[index]
