"""Changes of contrast are rising curves, as steep and as frequent as asked for."""

import numpy as np
import pytest

from htcnns.training.augment import Augmentation
from htcnns.training.contrast import Curve, draw_curves

STILL = Augmentation(gamma_share=0, scale=0, shift=0)
RANGE = np.linspace(-3.9, 7.9, 200)


@pytest.mark.parametrize("seed", range(8))
def test_contrast_curves_rise_within_their_slopes_and_keep_the_mean(seed: int) -> None:
    variety = Augmentation(gamma_share=0, scale=0, shift=0, contrast_share=1, slopes=(0.4, 2.0))
    curves = draw_curves(4, variety, np.random.default_rng(seed))
    slopes = np.stack([np.diff(curve(RANGE)) / np.diff(RANGE) for curve in curves])
    assert slopes.min() > 0.39
    assert slopes.max() < 2.01
    assert (slopes.max(axis=1) / slopes.min(axis=1) > 1.05).all()
    assert all(abs(curve(np.zeros(1))[0]) <= 0.25 for curve in curves)
    assert len({float(curve(np.ones(1))[0]) for curve in curves}) == 4


def test_curves_change_nothing_unless_asked_to(rng: np.random.Generator) -> None:
    for curve in draw_curves(4, STILL, rng):
        np.testing.assert_array_equal(curve(RANGE), RANGE.astype(np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_shift_and_scale_stay_below_a_tenth(seed: int) -> None:
    for curve in draw_curves(4, Augmentation(gamma_share=0), np.random.default_rng(seed)):
        low, high = curve(np.array([0.0, 1.0]))
        assert abs(low) <= 0.1
        assert abs(high - low - 1) <= 0.1 + 1e-6
        assert high != 1


def test_gamma_bends_and_keeps_the_ends() -> None:
    bent = Curve(None, 1, 0, 0.7)(np.array([-3.0, 1.0, 5.0]))
    np.testing.assert_allclose(bent, [-3, 8 * 0.5**0.7 - 3, 5], rtol=1e-6)


@pytest.mark.parametrize("name", ["contrast", "gamma"])
def test_contrasts_change_as_often_as_asked_for(name: str) -> None:
    variety = Augmentation(**{"gamma_share": 0.0, f"{name}_share": 0.5}, scale=0, shift=0)
    curves = [draw_curves(1, variety, np.random.default_rng(seed))[0] for seed in range(60)]
    changed = [curve.heights is not None or curve.gamma is not None for curve in curves]
    assert 20 <= sum(changed) <= 40
