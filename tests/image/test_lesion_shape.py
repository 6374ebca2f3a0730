"""Lesions on hand-made shapes: sizes, places, sides, and diameters as RANO reads them."""

import time
from itertools import permutations, product

import numpy as np
import pytest

from htcnns.image.lesion_shape import (
    AxialDiameters,
    Side,
    axial_diameters,
    centroid_mm,
    largest_diameter,
    largest_lesion,
    lesion_volumes_ml,
    side_of,
    touched_borders,
)
from htcnns.labels import Label

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (44, 40, 36)


def ellipsoid(
    half_mm: tuple[float, float, float], *, at: tuple[float, ...] = (22, 20, 18), shape=SHAPE, spacing=(1, 1, 1)
):
    offsets = [
        (index - centre) * mm / half
        for index, centre, mm, half in zip(np.indices(shape), at, spacing, half_mm, strict=True)
    ]
    return sum(offset**2 for offset in offsets) <= 1


def lengths(found: AxialDiameters | None) -> tuple[float, float]:
    assert found is not None
    return found.longest.length_mm, found.perpendicular.length_mm


def block(*slices: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slices] = True
    return mask


def stored(mask: np.ndarray, order: tuple[int, ...], flips: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The same mask with its LPS axes in another order and direction, and the affine that says so."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis, (own, flip) in enumerate(zip(order, flips, strict=True)):
        turn[own, axis] = -1 if flip else 1
        turn[own, 3] += mask.shape[own] - 1 if flip else 0
    turned = mask.transpose(order)[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    return turned, LPS @ turn


def test_a_sphere_has_the_same_diameter_in_every_direction() -> None:
    mask = ellipsoid((12, 12, 12))
    longest, across = lengths(axial_diameters(mask, LPS))
    assert (longest, across) == pytest.approx((25, 25), abs=0.5)  # 25 voxels from face to face
    assert largest_diameter(mask, LPS).length_mm == pytest.approx(25, abs=0.7)


def test_the_diameters_of_an_ellipsoid_are_its_axes() -> None:
    mask = ellipsoid((18, 9, 15))
    assert lengths(axial_diameters(mask, LPS)) == pytest.approx((37, 19), abs=0.1)
    assert largest_diameter(mask, LPS).length_mm == pytest.approx(37, abs=0.5)


def test_an_axial_diameter_lies_in_an_axial_slice() -> None:
    mask = ellipsoid((6, 6, 16))
    assert lengths(axial_diameters(mask, LPS)) == pytest.approx((13, 13), abs=0.5)
    assert largest_diameter(mask, LPS).length_mm == pytest.approx(33, abs=0.1)


def test_two_lesions_are_not_measured_as_one() -> None:
    mask = ellipsoid((9, 9, 9), at=(10, 20, 18)) | ellipsoid((6, 6, 6), at=(32, 20, 18))
    assert lengths(axial_diameters(mask, LPS)) == pytest.approx((19, 19), abs=0.5)
    assert lesion_volumes_ml(mask, LPS) == pytest.approx(
        [ellipsoid((9, 9, 9)).sum() / 1000, ellipsoid((6, 6, 6)).sum() / 1000]
    )


def test_the_perpendicular_lies_in_the_same_lesion() -> None:
    mask = block(slice(2, 42), slice(2, 4), slice(9, 10)) | block(slice(2, 12), slice(10, 38), slice(9, 10))
    longest, across = lengths(axial_diameters(mask, LPS))
    assert longest == pytest.approx(np.hypot(39, 1) * 40 / 39)
    assert across == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ((slice(5, 25), slice(10, 11), slice(9, 10)), (20, 1)),
        ((slice(5, 6), slice(10, 30), slice(4, 30)), (20, 1)),
        ((slice(5, 25), slice(10, 30), slice(9, 10)), (20 * np.sqrt(2), 20 * np.sqrt(2))),
    ],
    ids=["row", "plate from the side", "plate from above"],
)
def test_rows_and_plates_one_voxel_thick_by_hand(slices: tuple[slice, ...], expected: tuple[float, float]) -> None:
    assert lengths(axial_diameters(block(*slices), LPS)) == pytest.approx(expected)


def test_a_c_is_not_measured_across_its_opening() -> None:
    ring = ellipsoid((18, 18, 90)) & ~ellipsoid((12, 12, 90))
    ring[22:, 15:26] = False  # the opening
    longest, _ = lengths(axial_diameters(ring, LPS))
    assert longest == pytest.approx(2 * np.sqrt(18**2 - 12**2), abs=2)  # the chord tangent to the hole


def test_a_ring_is_measured_across_its_necrosis_and_never_across_background() -> None:
    whole, hole = ellipsoid((16, 16, 12)), ellipsoid((12, 12, 9))
    ring = whole & ~hole
    assert lengths(axial_diameters(ring, LPS, within=hole)) == pytest.approx((33, 33), abs=0.5)
    assert lengths(axial_diameters(ring, LPS))[0] < 26


def test_diameters_end_in_the_mask_and_not_in_what_they_may_cross() -> None:
    mask, core = block(slice(10, 15), slice(10, 11), slice(9, 10)), block(slice(10, 30), slice(10, 11), slice(9, 10))
    assert lengths(axial_diameters(mask, LPS, within=core))[0] == 5


def test_thick_slices_count_with_their_whole_extent() -> None:
    affine = np.diag([-1.0, -1.0, 5.0, 1.0])
    mask = block(slice(10, 15), slice(10, 11), slice(4, 8))
    assert lengths(axial_diameters(mask, affine)) == pytest.approx((5, 1))
    assert largest_diameter(mask, affine).length_mm == pytest.approx(np.hypot(4, 20))


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 3.0), (1.0, 0.4, 1.0)], ids=str)
def test_an_ellipsoid_keeps_its_axes_on_other_grids(spacing: tuple[float, float, float]) -> None:
    shape = tuple(round(50 / mm) for mm in spacing)
    mask = ellipsoid((18, 9, 15), at=tuple(n // 2 for n in shape), shape=shape, spacing=spacing)
    found = lengths(axial_diameters(mask, np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])))
    assert found == pytest.approx((36, 18), abs=2 * max(spacing[:2]))


@pytest.mark.parametrize(
    ("order", "flips"), list(product(permutations(range(3)), [(False,) * 3, (True, False, True)])), ids=str
)
def test_orientation_changes_nothing(order: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    mask = ellipsoid((17, 8, 11)) | block(slice(20, 24), slice(10, 33), slice(16, 19))
    turned, affine = stored(mask, order, flips)
    assert lengths(axial_diameters(turned, affine)) == pytest.approx(lengths(axial_diameters(mask, LPS)))
    assert largest_diameter(turned, affine).length_mm == pytest.approx(largest_diameter(mask, LPS).length_mm, abs=0.5)
    assert centroid_mm(turned, affine) == pytest.approx(centroid_mm(mask, LPS))
    label_map = turned * np.uint8(Label.ET)
    assert touched_borders(label_map, affine) == touched_borders(mask * np.uint8(Label.ET), LPS)


def test_ends_of_a_diameter_are_in_world_mm() -> None:
    found = axial_diameters(block(slice(5, 25), slice(10, 11), slice(9, 10)), LPS)
    assert {found.longest.start_mm, found.longest.stop_mm} == {(-5, -10, 9), (-24, -10, 9)}
    assert found.product_mm2 == 20


def test_an_empty_mask_has_no_measures() -> None:
    empty = np.zeros(SHAPE, bool)
    assert axial_diameters(empty, LPS) is None
    assert largest_diameter(empty, LPS) is None
    assert lesion_volumes_ml(empty, LPS).size == 0
    assert not largest_lesion(empty).any()
    assert np.isnan(centroid_mm(empty, LPS)).all()


def test_the_largest_lesion_is_returned_whole() -> None:
    small, large = ellipsoid((4, 4, 4), at=(8, 8, 8)), ellipsoid((7, 7, 7), at=(30, 25, 20))
    assert np.array_equal(largest_lesion(small | large), large)


@pytest.mark.parametrize(("x", "side"), [(-12.0, Side.LEFT), (3.0, Side.RIGHT), (-6.0, Side.MIDLINE)])
def test_the_side_is_relative_to_the_brains_middle(x: float, side: Side) -> None:
    assert side_of(x, -4.0) is side


@pytest.mark.parametrize(
    ("at", "borders"),
    [
        ((0, 5, 5), ("right",)),
        ((43, 0, 5), ("left", "anterior")),
        ((5, 39, 35), ("posterior", "superior")),
        ((5, 5, 5), ()),
    ],
)
def test_borders_are_named_by_the_patients_sides(at: tuple[int, int, int], borders: tuple[str, ...]) -> None:
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[at] = Label.ED
    assert touched_borders(label_map, LPS) == borders


def test_a_cavity_at_the_border_is_not_tumour() -> None:
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[0] = Label.RC
    assert touched_borders(label_map, LPS) == ()


@pytest.mark.slow
def test_a_lesion_of_two_hundred_thousand_voxels_is_measured_in_about_a_second() -> None:
    mask = ellipsoid((40, 36, 33), at=(50, 50, 50), shape=(100, 100, 100))
    assert mask.sum() > 190_000
    began = time.process_time()
    axial_diameters(mask, LPS)
    largest_diameter(mask, LPS)
    assert time.process_time() - began < 3  # 0.5 s on a free machine; CPU time also grows on a loaded one
