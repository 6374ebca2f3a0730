"""SimpleITK's binary STAPLE, the oracle of the fusion tests."""

import numpy as np
import SimpleITK

from htcnns.image.fusion import Staple


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


def assert_as_itk(ours: Staple, masks: np.ndarray) -> None:
    """Every voxel, sensitivity and specificity of a Staple to 1e-6, and the same number of iterations."""
    probability, sensitivity, specificity, n_iterations = itk_staple(masks)
    np.testing.assert_allclose(ours.probability, probability, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.sensitivity, sensitivity, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.specificity, specificity, rtol=0, atol=1e-6)
    assert ours.n_iterations == n_iterations
