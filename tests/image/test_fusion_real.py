"""STAPLE of the masks that challenge algorithms made of two real cases equals SimpleITK's."""

from itertools import combinations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from itk_staple import assert_as_itk

from htcnns.image.fusion import fuse, staple
from htcnns.labels import LABEL_SETS, REGIONS, Region, decode, region_mask

CASES = ("TCGA-DU-7294", "TCGA-FG-6692")
FUSED_BY_OTHERS = ("mav", "simple")
FIVE = ("hnfnetv1-20", "isen-20", "sanet0-20", "scan-20", "yixinmpl-20")
WITHOUT_ET = ("isen-20", "scan-20", "yixinmpl-20")  # in TCGA-DU-7294
TRIPLES = [
    each
    for each in product(CASES, combinations(FIVE, 3), REGIONS)
    if each != (CASES[0], WITHOUT_ET, Region.ET)  # SimpleITK divides by zero there
]

each_case = pytest.mark.parametrize("case", CASES)
each_region = pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.name)


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
def test_staple_of_three_candidates_is_simpleitks(data: Path, case: str, names: tuple[str, ...], region: Region):
    masks = region_mask(read(data, case, names), region)
    assert_as_itk(staple(masks), masks)


@pytest.mark.slow
@each_case
@each_region
def test_staple_of_all_candidates_is_simpleitks(data: Path, case: str, region: Region):
    masks = region_mask(read(data, case, all_names(data, case)), region)
    assert_as_itk(staple(masks), masks)


@pytest.mark.slow
@each_case
@each_region
def test_staple_of_all_algorithms_without_the_fusions_is_simpleitks(data: Path, case: str, region: Region):
    names = tuple(name for name in all_names(data, case) if name not in FUSED_BY_OTHERS)
    masks = region_mask(read(data, case, names), region)
    assert_as_itk(staple(masks), masks)


def test_three_candidates_without_et_give_no_et_and_say_so(data: Path):
    fused = fuse(read(data, CASES[0], WITHOUT_ET))
    assert not region_mask(fused.label_map, Region.ET).any()
    assert region_mask(fused.label_map, Region.TC).any()
    assert fused.notes == ("ET: no member marks a voxel; the fused region is empty.",)
