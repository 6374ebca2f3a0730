"""Two label maps, each with its own numbers: which match, what is dropped, which settings and grids are refused."""

import pickle
from collections import Counter

import numpy as np
import pytest

from htcnns.errors import InputError, SettingsError
from htcnns.scores.evaluation import EvaluateSettings, Evaluation, ScoredCase, score_missing, score_volumes
from htcnns.volume import Volume

NEW, OLD = "BraTS-GLI-00001-000", "BraTS2021_00495"


def volume(*numbers: int, offset_mm: float = 0.0) -> Volume:
    """A volume of 20 voxels per edge with a cube of 6 for each number, side by side."""
    array = np.zeros((20, 20, 20), np.uint8)
    for position, number in enumerate(numbers):
        array[6 * position : 6 * position + 6, 4:10, 4:10] = number
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[0, 3] = offset_mm
    return Volume(array, affine)


def score(prediction: Volume, truth: Volume, case: str = NEW, **settings: object) -> ScoredCase:
    return score_volumes(prediction, truth, case=case, settings=EvaluateSettings(**settings))  # type: ignore[arg-type]


def dice(scored: ScoredCase) -> list[float]:
    return [scored.scores[region]["dice"] for region in ("WT", "TC", "ET")]


@pytest.mark.parametrize(
    ("prediction", "truth", "case", "settings"),
    [
        ((1, 2, 3), (1, 2, 3), NEW, {}),
        ((1, 2, 4), (1, 2, 4), OLD, {}),
        ((1, 2, 3), (1, 2, 4), OLD, {"prediction_labels": "brats2023"}),
        ((1, 2, 4), (1, 2, 3), NEW, {"prediction_labels": "brats2021"}),
        ((2, 4, 1), (1, 2, 3), NEW, {"prediction_labels": "brats2024-ped"}),
    ],
    ids=["2023", "2021 by its name", "2023 against 2021", "2021 against 2023", "paediatric against 2023"],
)
def test_label_numbers_of_every_year_match(
    prediction: tuple[int, ...], truth: tuple[int, ...], case: str, settings: dict
) -> None:
    assert dice(score(volume(*prediction), volume(*truth), case, **settings)) == [1, 1, 1]


def test_label_numbers_read_in_the_wrong_set_do_not_match() -> None:
    assert dice(score(volume(2, 4, 1), volume(1, 2, 3), rules="brats2024-gli")) != [1, 1, 1]


@pytest.mark.parametrize(
    ("case", "numbers", "remedy"),
    [(NEW, (1, 2, 4), "Use brats2021 if 4"), (OLD, (1, 2, 3), "Use brats2023 if 3")],
    ids=["4 without 3", "3 without 4"],
)
@pytest.mark.parametrize("side", ["prediction", "truth"])
def test_numbers_of_another_year_are_refused_and_name_the_setting(
    side: str, case: str, numbers: tuple[int, ...], remedy: str
) -> None:
    sides = {"prediction": volume(1, 2), "truth": volume(1, 2)} | {side: volume(*numbers)}
    with pytest.raises(
        InputError, match=f"^{side}_labels: {case}: {side}: holds .*{remedy} is enhancing tumour"
    ) as found:
        score(**sides, case=case)
    assert found.value.setting == f"{side}_labels"


def test_a_resection_cavity_has_a_meaning_after_treatment_only() -> None:
    after = score(volume(4), volume(4), rules="brats2024-gli")
    assert (after.scores["RC"]["dice"], after.dropped) == (1, (Counter(), Counter()))
    assert score(volume(3, 4), volume(3)).dropped == (Counter({4: 216}), Counter())


@pytest.mark.parametrize(
    ("prediction", "says"),
    [
        (Volume(volume(1).array[:-1], volume(1).affine), "has 19 x 20 x 20 voxels instead of 20 x 20 x 20"),
        (volume(1, offset_mm=1.0), r"lies up to 1\.000 mm off"),
    ],
    ids=["size", "place"],
)
def test_grids_that_differ_are_refused(prediction: Volume, says: str) -> None:
    with pytest.raises(InputError, match=f"^{NEW}: the prediction {says}; expected the grid of the truth"):
        score(prediction, volume(1))


def test_headers_that_differ_by_float_noise_are_one_grid() -> None:
    assert score(volume(1, offset_mm=1e-4), volume(1)).scores["WT"]["dice"] == 1


def test_a_missing_prediction_is_scored_as_missed() -> None:
    missed = score_missing(volume(1, 2, 4), case=OLD, settings=EvaluateSettings())
    assert missed.was_missing
    assert [missed.scores["ET"][name] for name in ("lesion_dice", "lesion_hd95_mm", "n_fn")] == [0, 374, 1]


@pytest.mark.parametrize(
    ("settings", "setting", "nearest"),
    [
        ({"rules": "brats2023-gl"}, "rules", "brats2023-gli"),
        ({"missing": "wurst"}, "missing", "worst"),
        ({"definitions": ("border-nsd-1m",)}, "definitions", "border-nsd-1mm"),
        ({"prediction_labels": "brats2024-pe"}, "prediction_labels", "brats2024-ped"),
        ({"truth_labels": "brats2024gli"}, "truth_labels", "brats2024-gli"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unknown_name_names_its_setting_and_the_nearest(settings: dict, setting: str, nearest: str) -> None:
    with pytest.raises(
        SettingsError, match=rf"^{setting}: unknown .*; expected one of .*\. Did you mean '{nearest}'\?$"
    ):
        EvaluateSettings(**settings)


@pytest.mark.parametrize("setting", ["prediction_labels", "truth_labels"])
def test_label_sets_are_refused_where_a_rule_has_none(setting: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{setting}: brats2024-men-rt has no label sets; found 'brats2021'"):
        EvaluateSettings(rules="brats2024-men-rt", **{setting: "brats2021"})


def test_a_rule_with_one_label_of_its_own_reads_it_as_it_is() -> None:
    assert score(volume(1), volume(1), rules="brats2024-men-rt").scores["GTV"]["dice"] == 1


def test_settings_and_scores_pickle() -> None:
    settings = EvaluateSettings(prediction_labels="brats2021")
    evaluation = Evaluation(name="a", settings=settings, cases=(score(volume(3), volume(3)),))
    assert pickle.loads(pickle.dumps(evaluation)) == evaluation


def test_volumes_are_those_of_the_sheared_voxels_and_official_ones_of_the_spacing() -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[0, 2] = 0.5
    label_map = np.zeros((8, 8, 8), np.uint8)
    label_map[2:6, 2:6, 2:6] = 2
    volume = Volume(label_map, affine)
    scores = score_volumes(volume, volume, case="P7", settings=EvaluateSettings()).scores["WT"]
    assert scores["truth_volume_ml"] == pytest.approx(64 / 1000)
    assert scores["truth_of_spacing_mm3"] == pytest.approx(64 * np.sqrt(1.25))
