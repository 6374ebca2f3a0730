"""Affines, orientations and boxes: solved by hand, then turned every way."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from htcnns.volume import (
    GRID_TOLERANCE_MM,
    Grid,
    Volume,
    axis_names,
    axis_order,
    bounding_box,
    grid_difference,
    grid_difference_mm,
    shear_degrees,
    size_text,
    spacing_mm,
    turn,
    turn_back,
    turned_affine,
    uncrop,
    voxel_ml,
)

ORDERS = list(itertools.permutations((0, 1, 2)))
CODES = ["".join(code) for axes in itertools.permutations(("RL", "AP", "SI")) for code in itertools.product(*axes)]
TILT = np.array([[0.96, -0.28, 0, 0], [0.28, 0.96, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # 16 degrees about z


DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


def _affine_of(code: str, *, spacing: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    """An affine whose voxel axes run as the code says, such as LPS."""
    columns = np.array([DIRECTIONS[letter] for letter in code]).T * spacing
    return nib.affines.from_matvec(columns, [7, -8, 9])


def test_spacing_is_the_length_of_the_affines_columns() -> None:
    affine = np.array([[0, 0, -2.0, 9], [3.0, 0, 0, 9], [4.0, 1.5, 0, 9], [0, 0, 0, 1]])
    assert spacing_mm(affine) == (5.0, 1.5, 2.0)
    assert Volume(np.zeros((2, 2, 2)), affine).spacing_mm == (5.0, 1.5, 2.0)


@pytest.mark.parametrize("code", CODES)
def test_turning_the_axes_only_permutes_the_spacing(code: str) -> None:
    assert sorted(spacing_mm(_affine_of(code, spacing=(1, 2, 3)))) == [1, 2, 3]


def test_a_volume_equals_only_itself() -> None:
    volume = Volume(np.zeros((2, 2, 2)), np.eye(4))
    assert volume == volume
    assert volume != Volume(volume.array, volume.affine)


def test_grids_two_mm_apart_differ_by_two_mm() -> None:
    moved = np.eye(4)
    moved[1, 3] = 2
    assert grid_difference_mm(np.eye(4), moved, (8, 9, 10)) == 2
    assert grid_difference_mm(moved, np.eye(4), (8, 9, 10)) == 2
    assert grid_difference_mm(moved, moved, (8, 9, 10)) == 0


def test_a_wider_spacing_shows_at_the_far_corner() -> None:
    assert grid_difference_mm(np.eye(4), np.diag([1, 1, 1.01, 1]), (8, 9, 101)) == pytest.approx(1.0)


def test_grids_within_the_tolerance_are_the_same() -> None:
    shifted, far = np.eye(4), np.eye(4)
    shifted[2, 3], far[0, 3] = 0.99 * GRID_TOLERANCE_MM, 0.512
    here = Grid((4, 4, 4), np.eye(4))
    assert grid_difference(here, here) == ""
    assert grid_difference(here, Grid((4, 4, 4), shifted)) == ""
    assert grid_difference(Grid((4, 4, 4), far), here) == "lies up to 0.512 mm off"


def test_grids_of_different_shapes_differ_even_in_the_same_place() -> None:
    one, other = Grid((4, 4, 4), np.eye(4)), Grid((4, 4, 5), np.eye(4))
    assert grid_difference(one, other) == "has 4 x 4 x 4 voxels instead of 4 x 4 x 5"
    assert grid_difference(other, one) == "has 4 x 4 x 5 voxels instead of 4 x 4 x 4"


def test_a_grid_with_a_nan_affine_differs_from_itself() -> None:
    nowhere = Grid((4, 4, 4), np.full((4, 4), np.nan))
    assert grid_difference(nowhere, nowhere) == "lies up to nan mm off"


@pytest.mark.parametrize("shape", [(2, 3, 5), (4, 2, 3, 5)], ids=str)
def test_a_volumes_grid_is_that_of_its_voxel_axes(shape: tuple[int, ...]) -> None:
    volume = Volume(np.zeros(shape), TILT)
    assert volume.grid.shape == (2, 3, 5)
    assert volume.grid.affine is volume.affine


@pytest.mark.parametrize("code", CODES)
def test_turning_the_axes_does_not_change_the_volume_of_a_voxel(code: str) -> None:
    assert voxel_ml(_affine_of(code, spacing=(1, 2, 3))) == 0.006
    assert voxel_ml(TILT @ _affine_of(code, spacing=(1, 2, 3))) == pytest.approx(0.006)


def test_a_sheared_voxel_is_smaller_than_the_product_of_its_spacings() -> None:
    sheared = np.eye(4)
    sheared[:3, 1] = 0.6, 0.8, 0  # 36.9 degrees from upright, of length 1
    assert spacing_mm(sheared) == (1, 1, 1)
    assert voxel_ml(sheared) == pytest.approx(0.0008)
    assert shear_degrees(sheared) == pytest.approx(36.87, abs=0.01)


def test_a_size_is_written_with_spaced_crosses() -> None:
    assert size_text((240, 240, 155)) == "240 x 240 x 155"
    assert size_text(f"{mm:.1f}" for mm in (1.25, 1, 0.5)) == "1.2 x 1.0 x 0.5"


def test_lps_as_brats_stores_it_is_not_turned() -> None:
    assert axis_order(np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])) == (
        (0, 1, 2),
        (False, False, False),
    )


@pytest.mark.parametrize("tilt", [np.eye(4), TILT, TILT.T], ids=["straight", "tilted", "tilted back"])
@pytest.mark.parametrize("code", CODES)
def test_every_orientation_is_turned_to_lps(code: str, tilt: np.ndarray) -> None:
    affine = tilt @ _affine_of(code, spacing=(1, 2, 0.5))
    assert "".join(nib.aff2axcodes(affine)) == code
    array = np.arange(120).reshape(4, 5, 6)
    to_lps = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt(code), nib.orientations.axcodes2ornt("LPS"))
    np.testing.assert_array_equal(turn(array, *axis_order(affine)), nib.orientations.apply_orientation(array, to_lps))


def test_all_four_sequences_are_turned_alike() -> None:
    array = np.arange(480).reshape(4, 4, 5, 6)
    turned = turn(array, *axis_order(_affine_of("SAR")))
    np.testing.assert_array_equal(turned[2], turn(array[2], *axis_order(_affine_of("SAR"))))


@given(order=st.sampled_from(ORDERS), flips=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_turning_back_undoes_turning(order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> None:
    array = np.arange(240).reshape(2, 4, 5, 6)
    turned = turn(array, order, flips)
    assert turned.base is not None
    np.testing.assert_array_equal(turn_back(turned, order, flips), array)


def test_the_box_holds_every_true_voxel_and_no_more() -> None:
    mask = np.zeros((8, 9, 10), bool)
    mask[2, 3, 9] = mask[5, 3, 4] = True
    assert bounding_box(mask) == (slice(2, 6), slice(3, 4), slice(4, 10))


def test_an_empty_mask_has_no_box() -> None:
    assert bounding_box(np.zeros((3, 3, 3), bool)) is None


@given(mask=arrays(bool, (3, 4, 5)))
def test_uncropping_the_box_of_a_mask_restores_it(mask: np.ndarray) -> None:
    box = bounding_box(mask) or (slice(0, 0), slice(0, 0), slice(0, 0))
    np.testing.assert_array_equal(uncrop(mask[box], box, mask.shape), mask)


def test_uncropping_keeps_leading_axes_and_type() -> None:
    box = (slice(1, 3), slice(0, 2), slice(2, 3))
    whole = uncrop(np.ones((3, 2, 2, 1), np.float32), box, (4, 4, 4))
    assert (whole.shape, whole.dtype, whole.sum()) == ((3, 4, 4, 4), np.float32, 12)
    assert whole[:, 1:3, 0:2, 2:3].all()


@pytest.mark.parametrize("code", CODES)
def test_axes_are_named_as_nibabel_names_them(code: str) -> None:
    assert axis_names(_affine_of(code)) == code


@pytest.mark.parametrize("code", ["RAS", "LPS", "SAR", "PIL", "ASL"])
def test_the_affine_of_a_turned_array_leads_to_the_same_places(code: str) -> None:
    shape, affine = (4, 5, 6), _affine_of(code)
    order, flips = axis_order(affine)
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))  # (3, I, J, K), each voxel its own index
    own = turn(indices, order, flips)[:, 1, 2, 3]
    turned = turned_affine(affine, shape, order, flips)
    np.testing.assert_allclose(turned @ [1, 2, 3, 1], affine @ [*own, 1])
