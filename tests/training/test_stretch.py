"""Coarse values stretched over a patch, compared with torch's interpolation."""

import numpy as np
import torch
import torch.nn.functional as F

from htcnns.training.stretch import stretched


def test_stretching_is_linear_interpolation_between_the_corners(rng: np.random.Generator) -> None:
    values = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    expected = F.interpolate(torch.from_numpy(values)[None], size=(7, 9, 8), mode="trilinear", align_corners=True)[0]
    found = stretched(values, (7, 9, 8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(found[:, ::6, ::8, ::7], values[:, ::2, ::3, ::4], atol=1e-6)


def test_one_value_fills_the_patch() -> None:
    np.testing.assert_array_equal(stretched(np.full((1, 1, 1, 1), 3, np.float32), (2, 2, 3)), np.full((1, 2, 2, 3), 3))
