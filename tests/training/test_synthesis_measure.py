"""Statistics of contrasts, measured, stored as source text and drawn from, and functions for random fields."""

from pathlib import Path

import numpy as np
import pytest

from htcnns.errors import InputError
from htcnns.files.prepared_cases import Card, CaseKind, prepared_case, prepared_path, write_prepared
from htcnns.image.phantom import make_phantom
from htcnns.labels import SEQUENCES, Label, Region
from htcnns.training.synthesis import measured
from htcnns.training.synthesis.fields import random_field, sampled, shifted, softened, stretched
from htcnns.training.synthesis.measure import (
    COMPARTMENTS,
    HEALTHY,
    as_source,
    healthy_levels,
    names_of,
    spread_of,
    tumour_levels,
)
from htcnns.training.synthesis.survey import survey, survey_source


def test_a_spread_has_means_deviations_and_correlations_of_known_numbers() -> None:
    spread = spread_of(["a", "b"], [np.array([1.0, 2.0]), np.array([3.0, 6.0]), np.array([5.0, np.nan])])
    assert spread.means == pytest.approx([3, 4])
    assert spread.deviations == pytest.approx([np.sqrt(8 / 3), 2])
    assert spread.correlations == pytest.approx(np.ones((2, 2)))


def test_drawn_numbers_have_the_measured_spread_and_are_wider_when_asked() -> None:
    rng = np.random.default_rng(0)
    rows = rng.multivariate_normal([1.0, -2.0], [[1.0, 0.8], [0.8, 4.0]], size=4000)
    spread = spread_of(["a", "b"], rows)
    drawn = np.stack([spread.draw(rng, wider=1) for _ in range(4000)])
    wide = np.stack([spread.draw(rng, wider=2) for _ in range(4000)])
    assert drawn.mean(axis=0) == pytest.approx([1, -2], abs=0.1)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0.4, abs=0.05)
    assert wide.std(axis=0) == pytest.approx(2 * spread.deviations, rel=0.05)


def test_parts_of_a_tumour_are_measured_and_small_ones_are_unknown() -> None:
    array = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) * np.ones((4, 10, 10, 10), np.float32)
    label_map = np.zeros((10, 10, 10), np.uint8)
    label_map[:5] = Label.ED
    label_map[9, 9, 9] = Label.ET
    levels, textures = tumour_levels(array, label_map)
    assert levels[:4].tolist() == [0, 1, 2, 3]
    assert textures[:4].tolist() == [0, 0, 0, 0]
    assert np.isnan(levels[4:]).all()


def test_white_and_grey_matter_and_fluid_of_a_phantom_are_told_apart() -> None:
    phantom = make_phantom((80, 96, 72), seed=3, spacing_mm=(2, 2, 2))
    brain = phantom.sequences != 0
    array = np.zeros_like(phantom.sequences)
    for sequence, mask, out in zip(phantom.sequences, brain, array, strict=True):
        out[mask] = (sequence[mask] - sequence[mask].mean()) / sequence[mask].std()
    white, grey, fluid = healthy_levels(array, phantom.truth).reshape(3, 4)
    assert white[0] > grey[0] > fluid[0]
    assert fluid[2] > grey[2] > white[2]


@pytest.mark.parametrize(
    ("spread", "parts"),
    [
        (measured.HEALTHY_LEVELS, HEALTHY),
        (measured.TUMOUR_LEVELS, COMPARTMENTS),
        (measured.TUMOUR_TEXTURES, COMPARTMENTS),
    ],
    ids=["healthy", "tumour", "textures"],
)
def test_stored_statistics_can_be_read_back_and_drawn_from(spread: measured.Spread, parts: tuple[str, ...]) -> None:
    assert spread.names == names_of(parts)
    read: dict = {"Spread": measured.Spread, "np": np}
    exec(as_source(spread, "AGAIN"), read)
    assert np.array_equal(read["AGAIN"].correlations, spread.correlations)
    assert np.isfinite(spread.draw(np.random.default_rng(0), wider=1)).all()


@pytest.mark.parametrize("step_mm", [2.0, 9.0, 70.0])
def test_a_random_field_has_mean_zero_and_variance_near_one(step_mm: float) -> None:
    fields = [random_field(np.random.default_rng(seed), (40, 50, 30), step_mm) for seed in range(20)]
    assert np.mean(fields) == pytest.approx(0, abs=0.4)
    assert 0.6 < np.std(fields) < 1.5
    assert fields[0].dtype == np.float32


def test_sampling_at_every_voxel_changes_nothing() -> None:
    volume = np.random.default_rng(0).random((2, 5, 6, 7), np.float32)
    places = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (5, 6, 7)), indexing="ij"))
    assert sampled(volume, places) == pytest.approx(volume, abs=1e-5)
    assert sampled(volume, places + 100).max() == 0


def test_a_shift_by_one_voxel_moves_and_by_half_a_voxel_averages() -> None:
    array = np.zeros((5, 5, 5), np.float32)
    array[2, 2, 2] = 1
    assert shifted(array, (1, 0, 0))[3, 2, 2] == 1
    assert shifted(array, (0, -0.5, 0))[2, 1:3, 2].tolist() == [0.5, 0.5]


def test_stretching_keeps_corners_and_softening_keeps_the_sum() -> None:
    values = np.random.default_rng(1).random((3, 3, 3), np.float32)
    larger = stretched(values, (9, 9, 9))
    assert larger[[0, 0, -1], [0, -1, -1], [0, 0, -1]] == pytest.approx(values[[0, 0, -1], [0, -1, -1], [0, 0, -1]])
    mask = np.zeros((30, 30, 30), bool)
    mask[15, 15, 15] = True
    assert softened(mask, 2).sum() == pytest.approx(1, abs=0.02)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A cache with a head, a synthetic head and a piece of the head."""
    phantom = make_phantom((80, 96, 72), seed=3, spacing_mm=(2, 2, 2))
    array = np.zeros_like(phantom.sequences)
    for sequence, out in zip(phantom.sequences, array, strict=True):
        mask = sequence != 0
        out[mask] = (sequence[mask] - sequence[mask].mean()) / sequence[mask].std()
    for kind, factor in ((CaseKind.HEAD, 1), (CaseKind.SYNTHETIC, 9), (CaseKind.PIECE, 1)):
        card = Card(
            name=kind.value,
            kind=kind,
            patients=("one",),
            sequences=SEQUENCES,
            known=(Region.WT, Region.TC, Region.ET),
            shape=phantom.truth.shape,
            key="0" * 64,
        )
        write_prepared(tmp_path, prepared_case(card, factor * array, phantom.truth))
    return tmp_path


def test_a_survey_measures_real_heads_and_pieces_but_not_synthetic_heads(packed: Path) -> None:
    contrasts = survey([packed])
    assert contrasts.tumour.deviations.max() == pytest.approx(0, abs=1e-6)  # the piece is like the head
    assert contrasts.tumour.means[7] > contrasts.tumour.means[4]  # enhancing tumour is brighter in t2f than in t1n
    assert np.abs(contrasts.healthy.means).max() < 6
    read: dict = {"Spread": measured.Spread, "np": np}
    exec(survey_source(contrasts), read)
    assert read["TUMOUR_LEVELS"].means == pytest.approx(contrasts.tumour.means, abs=0.006)


def test_a_survey_needs_a_whole_head_with_truth(packed: Path) -> None:
    prepared_path(packed, "head").unlink()
    with pytest.raises(InputError, match="no whole head with truth to measure"):
        survey([packed])
