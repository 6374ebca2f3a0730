"""The synthetic head: known volumes, the contrasts of real scans, and the same head from the same seed."""

import numpy as np
import pytest

from htcnns.image.phantom import Phantom, make_phantom
from htcnns.labels import GLIOMA, Label, Region, Sequence, region_mask
from htcnns.volume import bounding_box, spacing_mm

SMALL = (40, 48, 36)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(SMALL, seed=1)


@pytest.fixture(scope="module")
def finer_phantom() -> Phantom:
    return make_phantom((64, 64, 64), seed=1, spacing_mm=(2.5, 3, 2.25))


def median(phantom: Phantom, sequence: Sequence, mask: np.ndarray) -> float:
    return float(np.median(phantom.sequences[list(Sequence).index(sequence)][mask]))


def test_arrays_have_the_promised_shapes_and_types(phantom: Phantom) -> None:
    assert phantom.sequences.shape == (4, *SMALL)
    assert phantom.sequences.dtype == np.float32
    assert phantom.truth.shape == SMALL
    assert phantom.truth.dtype == np.uint8


def test_the_same_seed_gives_the_same_phantom(phantom: Phantom) -> None:
    again = make_phantom(SMALL, seed=1)
    np.testing.assert_array_equal(again.sequences, phantom.sequences)
    np.testing.assert_array_equal(again.truth, phantom.truth)


def test_another_seed_gives_another_tumour(phantom: Phantom) -> None:
    assert not np.array_equal(make_phantom(SMALL, seed=2).truth, phantom.truth)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(32, 32, 32), (48, 48, 48)], ids=str)
def test_small_heads_hold_every_label(shape: tuple[int, int, int], seed: int) -> None:
    truth = make_phantom(shape, seed=seed).truth
    assert set(np.unique(truth)) == {Label.BACKGROUND, Label.NCR, Label.ED, Label.ET}


def test_volumes_are_those_of_the_truth(phantom: Phantom) -> None:
    coarse = make_phantom(SMALL, seed=1, spacing_mm=(4.0, 4.0, 5.0))
    expected = {region: region_mask(coarse.truth, region).sum() * 0.08 for region in GLIOMA.regions}
    assert coarse.volumes_ml == pytest.approx(expected)
    assert coarse.volumes_ml[Region.WT] == pytest.approx(80 * phantom.volumes_ml[Region.WT])


def test_volumes_hardly_depend_on_how_finely_the_head_is_sampled(finer_phantom: Phantom) -> None:
    coarse = make_phantom(SMALL, seed=1, spacing_mm=(4, 4, 4))
    assert coarse.volumes_ml[Region.TC] == pytest.approx(finer_phantom.volumes_ml[Region.TC], rel=0.1)


def test_intensities_are_whole_numbers_and_zero_outside_the_head(phantom: Phantom) -> None:
    outside = phantom.sequences[0] == 0
    assert 0.4 < outside.mean() < 0.8
    assert (phantom.sequences[:, outside] == 0).all()
    assert (phantom.sequences[:, ~outside] >= 1).all()
    np.testing.assert_array_equal(phantom.sequences, np.rint(phantom.sequences))
    assert phantom.sequences.max() < 2**15


def test_the_tumour_lies_inside_the_head(phantom: Phantom) -> None:
    assert (phantom.sequences[:, phantom.truth > 0] > 0).all()


def test_every_region_surrounds_the_next(phantom: Phantom) -> None:
    wt, tc = (bounding_box(region_mask(phantom.truth, region)) for region in (Region.WT, Region.TC))
    assert all(outer.start <= inner.start and inner.stop <= outer.stop for outer, inner in zip(wt, tc, strict=True))
    assert phantom.volumes_ml[Region.WT] > phantom.volumes_ml[Region.TC] > phantom.volumes_ml[Region.ET] > 0


@pytest.mark.parametrize(
    ("sequence", "brighter", "darker"),
    [
        (Sequence.T2F, Label.ED, Label.BACKGROUND),
        (Sequence.T2W, Label.ED, Label.BACKGROUND),
        (Sequence.T1C, Label.ET, Label.BACKGROUND),
        (Sequence.T1C, Label.ET, Label.ED),
        (Sequence.T1C, Label.BACKGROUND, Label.NCR),
        (Sequence.T1N, Label.BACKGROUND, Label.NCR),
        (Sequence.T2W, Label.NCR, Label.ED),
    ],
    ids=lambda value: value.name,
)
def test_contrasts_are_those_of_a_glioma(
    finer_phantom: Phantom, sequence: Sequence, brighter: Label, darker: Label
) -> None:
    brain = finer_phantom.sequences[0] > 0
    of_brighter, of_darker = (brain & (finer_phantom.truth == label) for label in (brighter, darker))
    bright, dark = (median(finer_phantom, sequence, mask) for mask in (of_brighter, of_darker))
    assert bright > 1.15 * dark


def test_without_tumour_the_truth_is_empty(phantom: Phantom) -> None:
    healthy = make_phantom(SMALL, seed=1, with_tumour=False)
    assert not healthy.truth.any()
    assert set(healthy.volumes_ml.values()) == {0}
    np.testing.assert_array_equal(healthy.sequences[0] > 0, phantom.sequences[0] > 0)


def test_after_resection_fluid_takes_the_place_of_the_necrosis(phantom: Phantom) -> None:
    resected = make_phantom(SMALL, seed=1, resected=True)
    cavity = phantom.truth == Label.NCR
    np.testing.assert_array_equal(resected.truth == Label.RC, cavity)
    np.testing.assert_array_equal(np.where(cavity, phantom.truth, resected.truth), phantom.truth)
    assert resected.volumes_ml[Region.TC] == resected.volumes_ml[Region.ET] == phantom.volumes_ml[Region.ET]
    assert median(resected, Sequence.T2F, cavity) < 0.5 * median(phantom, Sequence.T2F, cavity)
    assert median(resected, Sequence.T2W, cavity) > 0.9 * median(phantom, Sequence.T2W, cavity)


def test_without_enhancement_the_core_is_all_ncr(phantom: Phantom) -> None:
    dull = make_phantom(SMALL, seed=1, enhancing=False)
    assert dull.volumes_ml[Region.ET] == 0
    np.testing.assert_array_equal(dull.truth == Label.NCR, region_mask(phantom.truth, Region.TC))
    core = region_mask(phantom.truth, Region.TC)
    assert median(dull, Sequence.T1C, core) < median(phantom, Sequence.T1C, core)


def test_affine_is_left_posterior_superior_in_millimetres() -> None:
    affine = make_phantom((32, 32, 32), seed=1, spacing_mm=(1.0, 2.0, 3.0)).affine
    assert spacing_mm(affine) == (1, 2, 3)
    np.testing.assert_array_equal(np.sign(np.diag(affine)), [-1, -1, 1, 1])


def test_the_brain_is_as_large_as_those_of_brats() -> None:
    brain = make_phantom((80, 96, 72), seed=1).sequences[0] > 0  # 2 mm, half the standard shape
    lengths_mm = [2 * (side.stop - side.start) for side in bounding_box(brain)]
    np.testing.assert_allclose(lengths_mm, [138, 172, 136], atol=12)  # medians of the 11 BraTS cases of our data
    assert 1200 < brain.sum() * 0.008 < 1750  # ml; theirs measure 1245 to 1730
