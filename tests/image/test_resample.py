"""Resampling: what splines must reproduce exactly, and where linear interpolation takes over."""

import numpy as np
import pytest

from htcnns.image.resample import resample, resample_scan


def test_linear_halving_is_the_mean_of_neighbours() -> None:
    array = np.array([1, 3, 5, 9], np.float32).reshape(1, 1, 1, 4)
    np.testing.assert_allclose(resample(array, (1, 1, 2)), [[[[2, 7]]]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cubics_are_reproduced_between_the_outermost_centres(axis: int) -> None:
    def curve(x: np.ndarray) -> np.ndarray:
        return (0.01 * x**3 - 0.2 * x**2 + x + 5).astype(np.float32)

    coarse, fine = curve(2 * np.arange(10) + 0.5), curve(np.arange(20))
    lying = [1, 1, 1]
    lying[axis] = -1
    target = [1, 1, 1]
    target[axis] = 20
    found = resample_scan(coarse.reshape(lying), tuple(target)).ravel()
    np.testing.assert_allclose(found[1:-1], fine[1:-1], atol=1e-4)
    np.testing.assert_allclose(found[[0, -1]], coarse[[0, -1]], atol=1e-4)


def test_a_constant_stays_constant() -> None:
    np.testing.assert_allclose(resample_scan(np.full((4, 5, 6), 7, np.float32), (9, 5, 13)), 7, atol=1e-5)


def test_the_same_shape_changes_nothing(rng: np.random.Generator) -> None:
    scan = rng.normal(size=(4, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(resample_scan(scan, scan.shape), scan)


@pytest.mark.parametrize(("shape", "target"), [((3, 8, 8), (6, 8, 8)), ((8, 8, 8), (8, 4, 8))], ids=["thin", "coarser"])
def test_thin_and_coarser_axes_are_linear(shape: tuple, target: tuple, rng: np.random.Generator) -> None:
    scan = rng.normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(resample_scan(scan, target), resample(scan[None], target)[0], atol=1e-6)
