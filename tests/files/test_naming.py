"""File names against the conventions that BraTS and nnU-Net publish."""

import pytest

from htcnns.files.naming import is_mask, is_segmentation, read_brats, read_channel, read_free, read_nnunet, stem
from htcnns.labels import Sequence

T1N, T1C, T2W, T2F = Sequence


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x-t1c.nii.gz", "x-t1c"),
        ("x-t1c.nii", "x-t1c"),
        ("X.NII.GZ", "X"),
        ("1998.09.19_Segm.nii", "1998.09.19_Segm"),
        ("x.nii.gz.part", None),
        ("notes.txt", None),
    ],
)
def test_stem_is_the_name_without_its_nifti_ending(name: str, expected: str | None) -> None:
    assert stem(name) == expected


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
def test_brats_names_give_naming_case_and_sequence(
    name: str, naming: str, case: str, sequence: Sequence | None
) -> None:
    found = read_brats(name)
    assert found is not None
    assert (found[0].name, *found[1:]) == (naming, case, sequence)


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
def test_near_misses_are_no_brats_names(name: str) -> None:
    assert read_brats(name) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("glioma_001_0003", ("glioma_001", 3)), ("BTK_scan_2019", None), ("la_003", None), ("_0000", None)],
    ids=["channel three", "a year", "three digits", "no case"],
)
def test_nnunet_names_end_with_a_channel_number(name: str, expected: tuple[str, int] | None) -> None:
    assert read_nnunet(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("t1", (T1N,)),
        ("t1ce", (T1C,)),
        ("patient_t1_ce", (T1C,)),
        ("A.T1-Gd.x", (T1C,)),
        ("a_t1_post", (T1C,)),
        ("T2-FLAIR", (T2F,)),
        ("a_t2_flair_b", (T2F,)),
        ("FLAIR_brain", (T2F,)),
        ("a_t2w", (T2W,)),
        ("a_t1_flair", (T1N, T2F)),
        ("t1_t1c", (T1N, T1C)),
        ("T2 ax", (T2W,)),
        ("T1 pre contrast", (T1N,)),
        ("T1 post gad", (T1C,)),
        ("T1_mprage_post", (T1C,)),
        ("T1 SPGR +C", (T1C,)),
        ("T1+C", (T1C,)),
        ("T1(without gd)", (T1N,)),
        ("gd_t1", (T1N,)),
        ("\u00e9t1", ()),
        ("aflair", ()),
        ("hnfnetv1-20", ()),
        ("t10", ()),
    ],
)
def test_free_names_hold_sequences_as_words(name: str, expected: tuple[Sequence, ...]) -> None:
    assert read_free(name) == expected


@pytest.mark.parametrize("name", ["x_seg", "flair_mask", "t1_brainmask", "Tumor-Label", "a_gtv", "x_t1_tumorseg"])
def test_masks_are_known_by_a_word_of_their_name(name: str) -> None:
    assert is_mask(name)


@pytest.mark.parametrize("name", ["segal_t1", "masked_t1", "gtx_flair", "t1c"])
def test_scans_are_no_masks(name: str) -> None:
    assert not is_mask(name)


def test_a_brain_mask_is_no_segmentation() -> None:
    assert is_segmentation("x_t1_seg")
    assert not is_segmentation("x_t1_mask")


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ("T1", T1N),
        ("T1w", T1N),
        ("T1-weighted", T1N),
        ("mri_t1", T1N),
        ("t1gd", T1C),
        ("T1ce", T1C),
        ("T1-Gd", T1C),
        ("T1-weighted contrast-enhanced", T1C),
        ("T1w post-contrast", T1C),
        ("T2w", T2W),
        ("T2 MRI", T2W),
        ("FLAIR", T2F),
        ("T2-FLAIR", T2F),
        ("ADC", None),
        ("", None),
    ],
)
def test_channels_are_known_by_their_common_names(called: str, expected: Sequence | None) -> None:
    assert read_channel(called) == expected
