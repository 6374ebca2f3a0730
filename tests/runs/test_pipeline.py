"""One case end to end, with members that look at one voxel at a time, so that the answer is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from htcnns.errors import InputError
from htcnns.files.cases import Case, find_cases
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import GLIOMA, LABEL_SETS, Label, Region, region_mask
from htcnns.networks.contract import Network as Contract
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.pipeline import Segmentation, prepare_case, segment_prepared
from htcnns.runs.settings import RunSettings

Make = Callable[..., Ensemble]
Network = Callable[..., nn.Module]


@pytest.fixture
def case(tmp_path: Path, make_case: Callable[..., Path]) -> Case:
    return find_cases(make_case(tmp_path, "BraTS-GLI-00001-000"))[0]


def _segment(
    case: Case, ensemble: Ensemble, fusion: str = "staple", labels: str = "brats2023", keep: bool = False
) -> Segmentation:
    return segment_prepared(
        prepare_case(case, ensemble),
        ensemble,
        settings=RunSettings(fusion=fusion, probabilities=Path("maps") if keep else None),
        numbers=LABEL_SETS[labels],
        on_window=lambda: None,
    )


def test_one_member_alone_is_thresholded(case: Case, ensemble_of: Make, pointwise: Network) -> None:
    """Logits of WT are 4 z(t2f) - 4, so WT is where the z-score of t2f reaches 1, and so on."""
    ensemble = ensemble_of([pointwise()])
    ready, answer = prepare_case(case, ensemble), _segment(case, ensemble)
    t1c, t2f = ready.prepared.array[[1, 3]]
    expected = np.where(t1c >= 1.5, Label.ET, np.where(t1c >= 1, Label.NCR, np.where(t2f >= 1, Label.ED, 0)))
    unclear = (np.abs(t1c - 1.5) < 1e-4) | (np.abs(t1c - 1) < 1e-4) | (np.abs(t2f - 1) < 1e-4)
    np.testing.assert_array_equal(answer.grid_label_map[~unclear], expected[~unclear])
    np.testing.assert_array_equal(answer.label_map, ready.prepared.undo(answer.grid_label_map[None])[0])
    assert set(np.unique(answer.label_map)) == {0, Label.NCR, Label.ED, Label.ET}


def test_volumes_are_those_of_the_label_map(case: Case, ensemble_of: Make, pointwise: Network) -> None:
    answer = _segment(case, ensemble_of([pointwise()]))
    counted = {region.name: int(region_mask(answer.label_map, region).sum()) / 1000 for region in GLIOMA.regions}
    assert answer.volumes_ml == pytest.approx(counted)
    assert answer.members[0].volumes_ml == pytest.approx(counted)


@pytest.mark.parametrize(
    ("wt", "majority", "mean"),
    [((0.9, 0.9, 0.1), True, True), ((0.6, 0.6, 0.1), True, False), ((0.4, 0.4, 0.9), False, True)],
    ids=["two sure", "two unsure", "one sure"],
)
def test_majority_counts_votes_and_mean_averages_probabilities(
    case: Case, ensemble_of: Make, always: Network, wt: tuple[float, ...], majority: bool, mean: bool
) -> None:
    ensemble = ensemble_of(*([always(p, 0.1, 0.1)] for p in wt))
    found = {fusion: bool(_segment(case, ensemble, fusion).label_map.any()) for fusion in ("majority", "mean")}
    assert found == {"majority": majority, "mean": mean}


def test_staple_follows_two_members_against_a_blind_third(case: Case, ensemble_of: Make, pointwise: Network) -> None:
    blind = pointwise(bias=(-30.0, -30.0, -30.0))
    answer = _segment(case, ensemble_of([pointwise()], [pointwise()], [blind]))
    np.testing.assert_array_equal(answer.label_map, _segment(case, ensemble_of([pointwise()])).label_map)
    assert [member.sensitivity["WT"] for member in answer.members] == pytest.approx([1, 1, 0], abs=1e-5)
    assert answer.members[2].volumes_ml == {"WT": 0, "TC": 0, "ET": 0}


def test_an_empty_mask_is_reported_with_the_highest_probability(case: Case, ensemble_of: Make, always: Network) -> None:
    answer = _segment(case, ensemble_of([always(0.31, 0.2, 0.1)], [always(0.42, 0.2, 0.1)]))
    assert not answer.label_map.any()
    assert "no tumour was found: the mask is empty; the highest WT probability was a 0.31, b 0.42" in answer.notes
    assert answer.volumes_ml == {"WT": 0, "TC": 0, "ET": 0}


def test_a_tumour_without_enhancing_voxels_is_reported(case: Case, ensemble_of: Make, pointwise: Network) -> None:
    answer = _segment(case, ensemble_of([pointwise(bias=(-4.0, -4.0, -40.0))]))
    assert answer.notes[-1].startswith("no enhancing tumour was found; the highest ET probability was a 0.00")
    assert answer.label_map.any()


def test_each_member_is_cleaned_by_its_own_rules(case: Case, ensemble_of: Make, pointwise: Network) -> None:
    ensemble = ensemble_of([pointwise()], [pointwise()])
    first, second = ensemble.members
    never = replace(second, rules=PostprocessRules(thresholds={"ET": 1.0}, et_component_voxels=0))
    answer = _segment(case, replace(ensemble, members=(first, never)))
    assert answer.members[0].volumes_ml["ET"] > 0
    assert answer.members[1].volumes_ml["ET"] == 0
    assert answer.members[0].volumes_ml["TC"] == answer.members[1].volumes_ml["TC"]


def test_a_region_that_only_one_member_marks_is_reported_even_if_the_fusion_is_empty(
    case: Case, ensemble_of: Make, always: Network
) -> None:
    answer = _segment(case, ensemble_of([always(0.9, 0.1, 0.1)], *[[always(0.1, 0.1, 0.1)]] * 2), "majority")
    assert not answer.label_map.any()
    assert "WT: the members disagree; Dice with their fusion: a 0.00, b 1.00, c 1.00" in answer.notes


class _Fixed(Contract):
    """Marks WT in its own box of the window and in a box that all members share, whatever it sees."""

    multiple = 1

    def __init__(self, own: tuple[slice, slice, slice]) -> None:
        super().__init__()
        self.logits = torch.full((1, 3, 32, 32, 32), -9.0)
        for box in (own, (slice(10, 16),) * 3):
            self.logits[(0, 0, *box)] = 9.0

    def deep(self, x: Tensor) -> list[Tensor]:
        return [self.logits.to(x)]

    def blocks(self) -> list[nn.Module]:
        return []

    def encoder_stages(self) -> list[list[nn.Module]]:
        return []


@pytest.mark.parametrize(("smallest", "n_fused"), [(100, 216), (0, 216 + 6)], ids=["cleaned", "as it comes"])
def test_specks_that_only_the_fusion_has_are_cleaned_as_the_members_are(
    case: Case, ensemble_of: Make, smallest: int, n_fused: int
) -> None:
    """Two members' pieces of 5 x 6 x 6 voxels overlap in a row of 6; the third member has none there."""
    first, second = (slice(18, 23), slice(18, 24), slice(18, 24)), (slice(22, 27), slice(23, 29), slice(18, 24))
    rules = PostprocessRules(min_component_voxels={"WT": smallest})
    ensemble = ensemble_of(*([_Fixed(own)] for own in (first, second, (slice(0),) * 3)), rules=rules)
    answer = _segment(case, ensemble, "majority")
    assert [member.volumes_ml["WT"] for member in answer.members] == pytest.approx([0.396, 0.396, 0.216])
    assert np.count_nonzero(answer.grid_label_map) == n_fused


def test_labels_that_no_member_can_predict_are_named(case: Case, ensemble_of: Make, pointwise: Network) -> None:
    notes = _segment(case, ensemble_of([pointwise()]), labels="brats2024-ped").notes
    assert notes[-1] == "brats2024-ped also has CC (3), which no member can predict"


@pytest.mark.parametrize("way", ["RAS", "LIA", "PSR", "oblique"])
def test_however_a_case_is_stored_its_label_map_is_the_same(
    case: Case,
    tmp_path: Path,
    store_as: Callable[[Path, Path, str], Path],
    ensemble_of: Make,
    pointwise: Network,
    way: str,
) -> None:
    ensemble = ensemble_of([pointwise()])
    other = find_cases(store_as(case.folder, tmp_path / "other" / case.name, way))[0]
    first, second = prepare_case(case, ensemble), prepare_case(other, ensemble)
    np.testing.assert_array_equal(first.prepared.array, second.prepared.array)
    answers = _segment(case, ensemble), _segment(other, ensemble)
    np.testing.assert_array_equal(answers[0].grid_label_map, answers[1].grid_label_map)
    assert answers[0].volumes_ml == answers[1].volumes_ml


def test_thick_slices_come_back_on_their_own_grid(
    tmp_path: Path, make_case: Callable[..., Path], ensemble_of: Make, pointwise: Network
) -> None:
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    thick = find_cases(make_case(tmp_path, "P2", naming="free", shape=(34, 34, 17), affine=affine))[0]
    answer = _segment(thick, ensemble_of([pointwise()]), keep=True)
    assert answer.label_map.shape == (34, 34, 17)
    assert answer.probabilities.shape == (3, 34, 34, 17)
    np.testing.assert_array_equal(region_mask(answer.label_map, Region.ET), answer.probabilities[2] >= 0.5)
    assert answer.volumes_ml["WT"] == pytest.approx((answer.label_map > 0).sum() * 2 / 1000)
    assert "voxels of 1 x 1 x 2 mm were resampled to 1 mm and the result back" in answer.notes


def test_a_sheared_voxel_is_as_large_as_its_parallelepiped(
    tmp_path: Path, make_case: Callable[..., Path], ensemble_of: Make, pointwise: Network
) -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[0, 2] = 0.2  # slices that move sideways keep their volume, though the third column is longer than 1
    sheared = find_cases(make_case(tmp_path, "P3", naming="free", affine=affine))[0]
    answer = _segment(sheared, ensemble_of([pointwise()]))
    assert answer.volumes_ml["WT"] == round(float((answer.label_map > 0).sum()) / 1000, 3)


def test_a_doubt_about_a_header_reaches_the_notes(
    tmp_path: Path, make_case: Callable[..., Path], ensemble_of: Make, always: Network
) -> None:
    """An orientation without a code, as exports from Analyze have."""
    header = nib.Nifti1Header()
    header.set_data_shape((34, 34, 33))
    guessed = header.get_base_affine()
    folder = make_case(tmp_path / "doubtful", "BraTS-GLI-00001-000", affine=guessed)
    scan = folder / "BraTS-GLI-00001-000-t1c.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(nib.load(scan).dataobj), None), scan)
    ready = prepare_case(find_cases(tmp_path / "doubtful")[0], ensemble_of([always(0.1, 0.1, 0.1)]))
    assert ready.prepared.notes[0].startswith("t1c: ")


def test_probabilities_are_kept_only_when_asked_for(case: Case, ensemble_of: Make, always: Network) -> None:
    ensemble = ensemble_of([always(0.9, 0.6, 0.3)])
    assert _segment(case, ensemble).probabilities is None
    kept = _segment(case, ensemble, "mean", keep=True).probabilities
    assert (kept.shape, kept.dtype) == ((3, 34, 34, 33), np.float32)
    np.testing.assert_allclose(kept[:, 17, 17, 16], [0.9, 0.6, 0.3], atol=1e-6)


def test_two_runs_agree_to_the_bit(case: Case, ensemble_of: Make, pointwise: Network) -> None:
    ensemble = ensemble_of([pointwise(), pointwise((3, 2, 1))], [pointwise((2, 1, 1))])
    first, second = _segment(case, ensemble, keep=True), _segment(case, ensemble, keep=True)
    assert first.probabilities.tobytes() == second.probabilities.tobytes()
    assert first.members == second.members


def test_a_missing_sequence_stops_a_case_before_it_is_read(case: Case, ensemble_of: Make) -> None:
    files = {sequence: path for sequence, path in case.files.items() if sequence != "t2w"}
    with pytest.raises(InputError, match=r"BraTS-GLI-00001-000: t2w missing; found t1n, t1c, t2f"):
        prepare_case(replace(case, files=files), ensemble_of([]))
