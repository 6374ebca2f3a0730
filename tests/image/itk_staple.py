"""SimpleITK's binary STAPLE, the oracle of the fusion tests."""

from unittest.mock import patch

import numpy as np
import SimpleITK

from htcnns.image import fusion
from htcnns.image.fusion import Fused, fuse
from htcnns.labels import GLIOMA, Label, Region, RegionSet

WHOLE = RegionSet("wt", GLIOMA.strokes[:1])


def fuse_masks(masks: np.ndarray, *, method: str = "staple") -> Fused:
    """The fusion of (n_members, I, J, K) bool masks of a single region."""
    return fuse(np.where(masks, np.uint8(Label.ED), np.uint8(0)), WHOLE, method=method)


def itk_staple(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Probability, sensitivity and specificity per member, and iterations for (n_members, I, J, K) bool masks."""
    staple = SimpleITK.STAPLEImageFilter()
    probability = staple.Execute([SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in masks])
    return (
        SimpleITK.GetArrayFromImage(probability),
        np.array(staple.GetSensitivity()),
        np.array(staple.GetSpecificity()),
        staple.GetElapsedIterations(),
    )


def assert_as_itk(fused: Fused, masks: np.ndarray, region: Region) -> None:
    """Assert that the region's probabilities, sensitivities and specificities equal SimpleITK's to 1e-6."""
    _assert_close(fused, region, *itk_staple(masks)[:3])


def assert_masks_as_itk(masks: np.ndarray) -> None:
    """Assert that masks of a single region fuse as in SimpleITK, after the same number of iterations."""
    *expected, n_iterations = itk_staple(masks)
    unsettled = f"WT: STAPLE had not converged after {n_iterations} iterations."
    with patch.object(fusion, "MAX_ITERATIONS", n_iterations):
        assert unsettled in fuse_masks(masks).notes
    with patch.object(fusion, "MAX_ITERATIONS", n_iterations + 1):
        fused = fuse_masks(masks)
    assert not any("converged" in note for note in fused.notes)
    _assert_close(fused, Region.WT, *expected)


def _assert_close(
    fused: Fused, region: Region, probability: np.ndarray, sensitivity: np.ndarray, specificity: np.ndarray
) -> None:
    place = fused.regions.regions.index(region)
    np.testing.assert_allclose(fused.probability(region), probability, rtol=0, atol=1e-6)
    np.testing.assert_allclose(fused.sensitivity[:, place], sensitivity, rtol=0, atol=1e-6)
    np.testing.assert_allclose(fused.specificity[:, place], specificity, rtol=0, atol=1e-6)
