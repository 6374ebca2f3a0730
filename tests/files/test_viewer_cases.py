"""What the viewer receives of a case: scans and masks as read by the tool's own readers."""

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from htcnns.errors import InputError
from htcnns.files.nifti import read_volume, write_case_file
from htcnns.files.viewer_cases import MARGIN, ShownCase, nifti_content, read_shown, shown_cases
from htcnns.labels import LABEL_SETS, Label, Sequence, default_label_set

OLD, NEW = "BraTS2021_00495", "BraTS-GLI-00001-000"
Maker = Callable[..., Path]


def found(folder: Path, masks: Path | None = None) -> tuple[ShownCase, ...]:
    return shown_cases(folder, masks, numbers=default_label_set)


def opened(content: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(content))


def write_mask(path: Path, *, like: Path, numbers: list[int]) -> None:
    """A mask with one voxel of each number along the first axis."""
    volume = read_volume(like)
    array = np.zeros(volume.array.shape, np.uint8)
    array[: len(numbers), 3, 4] = numbers
    path.parent.mkdir(parents=True, exist_ok=True)
    write_case_file(path, array, volume.affine)


def test_scans_arrive_as_the_tool_reads_them(tmp_path: Path, make_case: Maker) -> None:
    make_case(tmp_path, NEW)
    (shown,) = found(tmp_path)
    for sequence, scan in read_shown(shown).scans.items():
        image, volume = opened(nifti_content(scan)), read_volume(shown.case.files[sequence])
        assert np.array_equal(at_world_places(image), at_world_places(nib.Nifti1Image(volume.array, volume.affine)))


def at_world_places(image: nib.Nifti1Image) -> np.ndarray:
    """(n, 4): world mm and value of each voxel that is not 0, sorted."""
    voxels = np.argwhere(image.get_fdata() != 0)
    rows = np.c_[nib.affines.apply_affine(image.affine, voxels), image.get_fdata()[tuple(voxels.T)]]
    return rows[np.lexsort(rows.T)]


def test_all_scans_are_cropped_alike_to_the_head(tmp_path: Path) -> None:
    for n, sequence in enumerate(Sequence):
        array = np.zeros((40, 41, 42), np.int16)
        array[10 + n, 20 - n, 30] = 7
        write_case_file(tmp_path / f"{NEW}-{sequence}.nii.gz", array, np.diag([2.0, 3, 4, 1]))
    (shown,) = found(tmp_path)
    scans = read_shown(shown).scans.values()
    assert {scan.array.shape for scan in scans} == {(4 + 2 * MARGIN, 4 + 2 * MARGIN, 1 + 2 * MARGIN)}
    assert {tuple(scan.affine[:3, 3]) for scan in scans} == {(2 * 6, 3 * 13, 4 * 26)}


def test_scans_on_several_grids_are_not_cropped(tmp_path: Path, make_case: Maker) -> None:
    folder = make_case(tmp_path / "in", NEW)
    other = make_case(tmp_path / "other", NEW, shape=(40, 41, 42)) / f"{NEW}-t2f.nii.gz"
    other.replace(folder / other.name)
    (shown,) = found(tmp_path / "in")
    shapes = [scan.array.shape for scan in read_shown(shown).scans.values()]
    assert sorted(shapes) == [(34, 34, 33)] * 3 + [(40, 41, 42)]


def test_a_header_holds_nothing_but_geometry(tmp_path: Path, make_case: Maker) -> None:
    folder = make_case(tmp_path, NEW)
    path = folder / f"{NEW}-t1c.nii.gz"
    image = nib.load(path)
    image.header["descrip"] = b"Jane Doe"
    nib.save(image, path)
    (shown,) = found(tmp_path)
    assert b"Jane" not in gzip.decompress(nifti_content(read_shown(shown).scans[Sequence.T1C]))


def test_a_damaged_scan_does_not_affect_the_others(tmp_path: Path, make_case: Maker) -> None:
    folder = make_case(tmp_path, NEW)
    (folder / f"{NEW}-t2w.nii.gz").write_bytes(b"no scan")
    (shown,) = found(tmp_path)
    scans = read_shown(shown).scans
    assert [sequence for sequence, scan in scans.items() if isinstance(scan, InputError)] == [Sequence.T2W]
    assert "is not gzip" in str(scans[Sequence.T2W])


@pytest.mark.parametrize(("name", "number"), [(OLD, 4), (NEW, 3)], ids=["2021", "2023"])
def test_enhancing_tumour_arrives_under_one_number_whatever_the_file_has(
    tmp_path: Path, make_case: Maker, name: str, number: int
) -> None:
    naming = "BraTS 2021-22" if name == OLD else "BraTS 2023+"
    folder = make_case(tmp_path / "in", name, naming=naming)
    write_mask(tmp_path / "out" / f"{name}.nii.gz", like=next(folder.glob("*t1*")), numbers=[1, 2, number])
    (shown,) = found(tmp_path / "in", tmp_path / "out")
    mask = read_shown(shown).mask
    assert sorted(mask.array[mask.array > 0].tolist()) == [Label.NCR, Label.ED, Label.ET]
    assert np.array_equal(np.asarray(opened(nifti_content(mask)).dataobj), mask.array)


def test_a_mask_may_have_its_short_name(tmp_path: Path, make_case: Maker) -> None:
    make_case(tmp_path / "in", OLD, naming="BraTS 2021-22", flat=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "00495.nii.gz").touch()
    (shown,) = found(tmp_path / "in", tmp_path / "out")
    assert shown.mask == tmp_path / "out" / "00495.nii.gz"


def test_without_a_folder_of_masks_the_truth_is_shown(tmp_path: Path, make_case: Maker) -> None:
    folder = make_case(tmp_path, NEW)
    truth = folder / f"{NEW}-seg.nii.gz"
    write_mask(truth, like=folder / f"{NEW}-t1c.nii.gz", numbers=[2])
    (shown,) = found(tmp_path)
    assert (shown.mask, shown.is_truth) == (truth, True)


def test_with_a_folder_of_masks_the_truth_is_not_shown(tmp_path: Path, make_case: Maker) -> None:
    folder = make_case(tmp_path / "in", NEW)
    write_mask(folder / f"{NEW}-seg.nii.gz", like=folder / f"{NEW}-t1c.nii.gz", numbers=[2])
    (tmp_path / "out").mkdir()
    (shown,) = found(tmp_path / "in", tmp_path / "out")
    assert (shown.mask, shown.is_truth, read_shown(shown).mask) == (None, False, None)


def test_a_mask_on_another_grid_is_refused(tmp_path: Path, make_case: Maker) -> None:
    make_case(tmp_path / "in", NEW)
    other = make_case(tmp_path / "other", NEW, affine=np.diag([2.0, 2, 2, 1]))
    write_mask(tmp_path / "out" / f"{NEW}.nii.gz", like=other / f"{NEW}-t1c.nii.gz", numbers=[2])
    (shown,) = found(tmp_path / "in", tmp_path / "out")
    error = read_shown(shown).mask
    assert isinstance(error, InputError)
    assert error.sentence().endswith(
        "mm off; expected the grid of the case's scans. Give the folder of this case's masks."
    )


def test_a_number_of_another_label_set_is_refused(tmp_path: Path, make_case: Maker) -> None:
    folder = make_case(tmp_path / "in", NEW)
    write_mask(tmp_path / "out" / f"{NEW}.nii.gz", like=folder / f"{NEW}-t1c.nii.gz", numbers=[4])
    (shown,) = found(tmp_path / "in", tmp_path / "out")
    assert "numbers that its label set does not have" in str(read_shown(shown).mask)
    (shown,) = shown_cases(tmp_path / "in", tmp_path / "out", numbers=lambda _: LABEL_SETS["brats2024-gli"])
    assert np.unique(read_shown(shown).mask.array).tolist() == [0, Label.RC]


def test_a_missing_sequence_is_left_out(tmp_path: Path, make_case: Maker) -> None:
    folder = make_case(tmp_path, NEW)
    (folder / f"{NEW}-t2f.nii.gz").unlink()
    (shown,) = found(tmp_path)
    assert set(read_shown(shown).scans) == {Sequence.T1N, Sequence.T1C, Sequence.T2W}


def test_a_missing_folder_of_masks_is_named(tmp_path: Path, make_case: Maker) -> None:
    make_case(tmp_path / "in", NEW)
    with pytest.raises(InputError, match=r"out: does not exist; expected a folder of masks"):
        found(tmp_path / "in", tmp_path / "out")
