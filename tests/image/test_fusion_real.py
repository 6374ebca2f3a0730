"""STAPLE of challenge algorithms' masks of two real cases equals SimpleITK's."""

from itertools import combinations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from itk_staple import assert_as_itk, assert_masks_as_itk

from htcnns.image.fusion import fuse
from htcnns.labels import GLIOMA, LABEL_SETS, Region, decode, region_mask

CASES = ("TCGA-DU-7294", "TCGA-FG-6692")
FUSED_BY_OTHERS = ("mav", "simple")
FIVE = ("hnfnetv1-20", "isen-20", "sanet0-20", "scan-20", "yixinmpl-20")
WITHOUT_ET = ("isen-20", "scan-20", "yixinmpl-20")  # in TCGA-DU-7294
TRIPLES = [
    each
    for each in product(CASES, combinations(FIVE, 3), GLIOMA.regions)
    if each != (CASES[0], WITHOUT_ET, Region.ET)  # SimpleITK divides by zero there
]

each_case = pytest.mark.parametrize("case", CASES)
each_region = pytest.mark.parametrize("region", GLIOMA.regions, ids=lambda region: region.name)


def read(data: Path, case: str, names: tuple[str, ...]) -> np.ndarray:
    """(n_members, I, J, K) uint8 label maps of those candidates."""
    paths = [data / "unlabelled" / case / "candidates" / f"{name}.nii.gz" for name in names]
    files = [np.asarray(nibabel.load(path).dataobj).astype(np.uint8, order="C") for path in paths]
    return np.stack([decode(file, LABEL_SETS["brats2021"], where=case) for file in files])


def all_names(data: Path, case: str) -> tuple[str, ...]:
    found = (data / "unlabelled" / case / "candidates").glob("*.nii.gz")
    return tuple(sorted(path.name.removesuffix(".nii.gz") for path in found))


@pytest.mark.slow
@pytest.mark.parametrize(("case", "names", "region"), TRIPLES, ids=lambda part: getattr(part, "name", None))
def test_staple_of_three_candidates_equals_simpleitk(data: Path, case: str, names: tuple[str, ...], region: Region):
    label_maps = read(data, case, names)
    assert_as_itk(fuse(label_maps, GLIOMA), region_mask(label_maps, region), region)


@pytest.mark.slow
@each_case
@each_region
def test_staple_of_all_candidates_equals_simpleitk(data: Path, case: str, region: Region):
    assert_masks_as_itk(region_mask(read(data, case, all_names(data, case)), region))


@pytest.mark.slow
@each_case
@each_region
def test_staple_of_all_algorithms_without_the_fusions_equals_simpleitk(data: Path, case: str, region: Region):
    names = tuple(name for name in all_names(data, case) if name not in FUSED_BY_OTHERS)
    assert_masks_as_itk(region_mask(read(data, case, names), region))


def test_three_candidates_without_et_give_no_et_and_say_so(data: Path):
    fused = fuse(read(data, CASES[0], WITHOUT_ET), GLIOMA)
    assert not region_mask(fused.label_map, Region.ET).any()
    assert region_mask(fused.label_map, Region.TC).any()
    assert fused.notes == ("ET: no member marks a voxel; the fused region is empty.",)
