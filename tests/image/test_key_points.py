"""Key points lie on boundaries, fit their region, and mark balls: worked by hand."""

import numpy as np
import pytest
from scipy.spatial import Delaunay

from htcnns.image.key_points import BITS, KEYS, boundary, hull_overlap, key_map, key_points
from htcnns.labels import Region

SHAPE = (12, 13, 14)


@pytest.fixture
def cube() -> np.ndarray:
    """A cube of six voxels per side, the first at index 3."""
    mask = np.zeros(SHAPE, bool)
    mask[3:9, 3:9, 3:9] = True
    return mask


def rows(points: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, points.tolist()))


def test_the_boundary_of_a_cube_is_its_outer_shell(cube: np.ndarray) -> None:
    inner = np.zeros(SHAPE, bool)
    inner[4:8, 4:8, 4:8] = True
    np.testing.assert_array_equal(boundary(cube), cube & ~inner)


def test_a_hole_has_a_boundary_too_of_face_neighbours_only(cube: np.ndarray) -> None:
    cube[5, 5, 5] = False
    found = boundary(cube)
    assert found[4, 5, 5]
    assert found[5, 6, 5]
    assert not found[4, 4, 5]


def test_a_region_that_reaches_the_edge_of_the_array_has_a_boundary_there(cube: np.ndarray) -> None:
    cropped = cube[5:]
    assert boundary(cropped)[0, 3:9, 3:9].all()


def test_a_region_has_no_boundary_against_unknown_voxels(cube: np.ndarray) -> None:
    known = np.ones(SHAPE, bool)
    known[:5] = False
    found = boundary(cube, known)[5:]
    np.testing.assert_array_equal(found, boundary(cube)[5:])
    assert not boundary(cube[5:], known[5:])[0, 4:8, 4:8].any()


def test_a_small_boundary_is_taken_whole(cube: np.ndarray) -> None:
    assert rows(key_points(cube, 152, np.random.default_rng(1))) == rows(np.argwhere(boundary(cube)))


def test_the_wanted_number_of_distinct_points_lies_on_the_boundary(cube: np.ndarray) -> None:
    found = key_points(cube, 20, np.random.default_rng(1), n_draws=3)
    assert len(rows(found)) == len(found) == 20
    assert boundary(cube)[tuple(found.T)].all()


def test_an_empty_region_has_no_points() -> None:
    assert key_points(np.zeros(SHAPE, bool), 5, np.random.default_rng(1)).shape == (0, 3)


def test_the_best_of_more_draws_fits_better(cube: np.ndarray) -> None:
    fits = [hull_overlap(key_points(cube, 12, np.random.default_rng(4), n_draws=n), cube) for n in (1, 4, 60)]
    assert fits == sorted(fits)
    assert fits[0] < fits[-1]


def test_the_same_seed_chooses_the_same_points(cube: np.ndarray) -> None:
    one, other = (key_points(cube, 12, np.random.default_rng(7), n_draws=2) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert rows(one) != rows(key_points(cube, 12, np.random.default_rng(8), n_draws=2))


def test_a_flat_region_keeps_its_first_draw() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[4, 2:9, 2:9] = True
    assert len(rows(key_points(mask, 10, np.random.default_rng(1), n_draws=3))) == 10


def test_the_corners_of_a_cube_span_all_of_it(cube: np.ndarray) -> None:
    corners = np.array([(i, j, k) for i in (3, 8) for j in (3, 8) for k in (3, 8)])
    assert hull_overlap(corners, cube) == 1.0


def test_the_hull_of_a_corner_by_hand() -> None:
    mask = np.ones((3, 3, 3), bool)
    points = np.array([(0, 0, 0), (2, 0, 0), (0, 2, 0), (0, 0, 2)])  # their hull holds the voxels with i + j + k <= 2
    assert hull_overlap(points, mask) == pytest.approx(10 / 27)
    mask[0, 0, 0] = False
    assert hull_overlap(points, mask) == pytest.approx(9 / 27)


def test_points_in_a_plane_span_nothing(cube: np.ndarray) -> None:
    assert hull_overlap(np.array([(3, 3, 3), (3, 8, 3), (3, 3, 8), (3, 8, 8)]), cube) == 0.0


def test_hulls_hold_what_a_triangulation_of_their_points_holds() -> None:
    rng = np.random.default_rng(3)
    points = rng.integers(0, 9, (15, 3))
    mask = rng.random((9, 9, 9)) < 0.5
    voxels = np.argwhere(np.ones_like(mask))
    held = Delaunay(points).find_simplex(voxels, tol=1e-9).reshape(mask.shape) >= 0
    assert hull_overlap(points, mask) == pytest.approx((held & mask).sum() / (held | mask).sum())


@pytest.mark.parametrize(("region", "n_voxels"), [(Region.WT, 33), (Region.TC, 7), (Region.ET, 7)])
def test_a_point_marks_a_ball_of_its_regions_radius(region: Region, n_voxels: int) -> None:
    marked = key_map({region: np.array([[6, 6, 6]])}, np.zeros(3, int), np.array(SHAPE))
    places = np.argwhere(marked)
    assert len(places) == n_voxels
    assert set(np.unique(marked)) == {0, BITS[region]}
    assert np.linalg.norm(places - 6, axis=1).max() == KEYS[region].radius


def test_regions_do_not_overwrite_each_other_and_a_box_cuts_their_balls() -> None:
    points = {Region.WT: np.array([[5, 5, 5]]), Region.ET: np.array([[5, 5, 6], [50, 5, 5]])}
    whole = key_map(points, np.zeros(3, int), np.array(SHAPE))
    assert whole[5, 5, 6] == BITS[Region.WT] | BITS[Region.ET]
    part = key_map(points, np.array([4, 5, -2]), np.array([4, 4, 16]))
    np.testing.assert_array_equal(part[:, :, 2:], whole[4:8, 5:9])
    assert not part[:, :, :2].any()
