"""Words in file names that mean sequences and masks, whatever separates them."""

import pytest

from htcnns.files.names.words import is_mask, is_segmentation, letters, sequences_in, stem
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
def test_sequences_in_free_names_are_whole_words(name: str, expected: tuple[Sequence, ...]) -> None:
    assert sequences_in(name) == expected


@pytest.mark.parametrize("name", ["x_seg", "flair_mask", "t1_brainmask", "Tumor-Label", "a_gtv", "x_t1_tumorseg"])
def test_masks_are_recognised_by_a_word_in_their_name(name: str) -> None:
    assert is_mask(name)


@pytest.mark.parametrize("name", ["segal_t1", "masked_t1", "gtx_flair", "t1c"])
def test_scans_are_not_masks(name: str) -> None:
    assert not is_mask(name)


def test_a_brain_mask_is_not_a_segmentation() -> None:
    assert is_segmentation("x_t1_seg")
    assert not is_segmentation("x_t1_mask")


def test_letters_are_compared_without_case_and_separators() -> None:
    assert letters("BraTS-GLI_00001.é") == "bratsgli00001"
