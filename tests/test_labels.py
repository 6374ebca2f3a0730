"""Spellings, label sets and region sets, against the tables that the challenges publish."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from htcnns.errors import InputError, SettingsError
from htcnns.labels import (
    GLIOMA,
    LABEL_SETS,
    REGION_SETS,
    SEQUENCES,
    SPELLINGS,
    Label,
    Region,
    RegionSet,
    Sequence,
    decode,
    default_label_set,
    encode,
    label_set,
    region_mask,
)

MASKS = arrays(bool, (3, 3, 4, 2))
each_region_set = pytest.mark.parametrize("regions", REGION_SETS.values(), ids=REGION_SETS)


def test_sequences_are_stacked_t1n_t1c_t2w_t2f() -> None:
    assert SEQUENCES == ("t1n", "t1c", "t2w", "t2f")


def test_every_sequence_has_its_own_name_among_the_spellings() -> None:
    assert {SPELLINGS[sequence] for sequence in SEQUENCES} == set(Sequence)
    assert SPELLINGS["t1ce"] is Sequence.T1C
    assert SPELLINGS["flair"] is Sequence.T2F


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("Brats17_TCIA_105_1", "brats2021"),
        ("Brats18_2013_2_1", "brats2021"),
        ("BraTS19_CBICA_AAB_1", "brats2021"),
        ("BraTS20_Training_001", "brats2021"),
        ("BraTS2021_00495", "brats2021"),
        ("brats2021_00495", "brats2021"),
        ("BraTS2017_x", "brats2021"),
        ("BraTS2018_x", "brats2021"),
        ("Brats2019_1", "brats2021"),
        ("BraTS2020_00001", "brats2021"),
        ("BraTS2022_00001", "brats2021"),
        ("BraTS21_00495", "brats2021"),
        ("BraTS22_00001", "brats2021"),
        ("BraTS23_00495", "brats2023"),
        ("BraTS2016_00001", "brats2023"),
        ("BraTS2023_00495", "brats2023"),
        ("BraTS-GLI-00001-000", "brats2023"),
        ("BraTS-PED-00001-000", "brats2023"),
        ("TCGA-DU-7294", "brats2023"),
        ("my_Brats18_copy", "brats2023"),
    ],
)
def test_the_case_name_decides_the_default_label_set(case: str, expected: str) -> None:
    assert default_label_set(case).name == expected


def test_an_unknown_label_set_lists_the_known_ones() -> None:
    with pytest.raises(
        SettingsError,
        match=r"^labels: unknown label set 'brats2019'; expected one of brats2021, .*\. Did you mean 'brats20",
    ):
        label_set("brats2019")
    with pytest.raises(SettingsError, match=r"^prediction_labels: unknown label set"):
        label_set("brats2019", setting="prediction_labels")


@pytest.mark.parametrize("name", ["brats2023-gli", "BraTS2023-PED", "brats23", "brats2023_met"])
def test_a_task_of_2023_is_pointed_to_the_label_set_of_its_year(name: str) -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'brats2023'\? It is the set of every task of that year\.$"):
        label_set(name)


@pytest.mark.parametrize(
    "name", ["brats2017", "brats-2018", "BraTS2019", "brats2020-gli", "BraTS2021", "brats2022", "brats20"]
)
def test_years_numbered_like_2021_are_pointed_to_its_label_set(name: str) -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'brats2021'\? Its numbers are those of 2017 to 2022\.$"):
        label_set(name)


def test_any_other_unknown_label_set_is_pointed_to_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'brats2024-ped'\?$"):
        label_set("brats2024-pde")


@pytest.mark.parametrize(
    "name", ["brats2024", "BraTS2025", "brats-2026", "brats24", "brats2024-ssa", "brats2025-men-rt", "brats2026-GoAT"]
)
def test_years_numbered_by_task_are_pointed_to_all_their_label_sets(name: str) -> None:
    with pytest.raises(
        SettingsError, match=r"brats2024-gli, brats2024-met or brats2024-ped by the task; .* brats2023\.$"
    ):
        label_set(name)


@pytest.mark.parametrize("task", ["gli", "met", "ped"])
def test_a_task_of_a_later_year_is_pointed_to_its_label_set(task: str) -> None:
    with pytest.raises(SettingsError, match=rf"Did you mean 'brats2024-{task}'\?$"):
        label_set(f"brats2025-{task}")


@pytest.mark.parametrize("name", LABEL_SETS)
def test_a_label_set_pickles(name: str) -> None:
    assert pickle.loads(pickle.dumps(label_set(name))) == label_set(name)


def test_the_numbers_of_a_label_set_are_read_only() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        label_set("brats2021").numbers[Label.RC] = 9  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("brats2021", [0, 1, 2, 4]),
        ("brats2023", [0, 1, 2, 3]),
        ("brats2024-gli", [0, 1, 2, 3]),
        ("brats2024-met", [0, 1, 2, 3]),
        ("brats2024-ped", [0, 2, 4, 1]),
    ],
)
def test_background_core_oedema_and_enhancement_get_the_sets_numbers(name: str, numbers: list[int]) -> None:
    ours = np.array([Label.BACKGROUND, Label.NCR, Label.ED, Label.ET], np.uint8)
    np.testing.assert_array_equal(encode(ours, label_set(name)), numbers)


@pytest.mark.parametrize("name", LABEL_SETS)
def test_decoding_undoes_encoding(name: str) -> None:
    ours = np.array([[0, *label_set(name).numbers]], np.uint8)
    encoded = encode(ours, label_set(name))
    assert encoded.dtype == np.uint8
    np.testing.assert_array_equal(decode(encoded, label_set(name), where="x"), ours)


def test_an_empty_label_map_stays_empty() -> None:
    empty = np.zeros((2, 2, 2), np.uint8)
    assert not encode(empty, label_set("brats2021")).any()
    assert not decode(empty, label_set("brats2021"), where="x").any()


def test_a_label_without_a_number_is_our_mistake() -> None:
    with pytest.raises(ValueError, match=r"labels \[4, 5\] have no number in brats2023"):
        encode(np.array([0, 3, 5, 4], np.uint8), label_set("brats2023"))


def test_a_number_without_a_label_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InputError,
        match=r"seg\.nii: holds numbers .*; found \[3, 9\], expected those of brats2021, \[0, 1, 2, 4\]\. Name",
    ):
        decode(np.array([0, 9, 4, 3], np.uint8), label_set("brats2021"), where="seg.nii")


@pytest.mark.parametrize(
    ("name", "regions", "not_given", "numbers"),
    [
        ("brats2021", "wt-tc-et", (), [1, 2, 4]),
        ("brats2023", "wt-tc-et", (), [1, 2, 3]),
        ("brats2024-gli", "wt-tc-et", (Label.RC,), [1, 2, 3]),
        ("brats2024-gli", "wt-tc-et-rc", (), [1, 2, 3, 4]),
        ("brats2021", "wt-tc-et-rc", (), [1, 2, 4]),
        ("brats2024-ped", "wt-tc-et", (Label.CC,), [1, 2, 4]),
        ("brats2024-ped", "et-net-cc-ed", (), [1, 2, 3, 4]),
        ("brats2024-met", "et-net-cc-ed", (Label.RC,), [1, 2, 3]),
    ],
)
def test_labels_that_the_regions_cannot_give_are_named(
    name: str, regions: str, not_given: tuple[Label, ...], numbers: list[int]
) -> None:
    assert label_set(name).not_given_by(REGION_SETS[regions]) == not_given
    assert sorted(label_set(name).given_by(REGION_SETS[regions]).values()) == numbers


@pytest.mark.parametrize(
    ("name", "region", "numbers"),
    [
        ("brats2021", Region.WT, {1, 2, 4}),
        ("brats2021", Region.TC, {1, 4}),
        ("brats2021", Region.ET, {4}),
        ("brats2023", Region.WT, {1, 2, 3}),
        ("brats2023", Region.TC, {1, 3}),
        ("brats2024-gli", Region.WT, {1, 2, 3}),
        ("brats2024-gli", Region.TC, {1, 3}),
        ("brats2024-ped", Region.WT, {1, 2, 3, 4}),
        ("brats2024-ped", Region.TC, {1, 2, 3}),
        ("brats2024-ped", Region.ET, {1}),
        ("brats2024-ped", Region.NET, {2}),
        ("brats2024-ped", Region.CC, {3}),
        ("brats2024-ped", Region.ED, {4}),
        ("brats2024-gli", Region.RC, {4}),
    ],
)
def test_regions_are_the_unions_of_numbers_that_the_challenge_scores(
    name: str, region: Region, numbers: set[int]
) -> None:
    every_number = np.array(sorted({0, *label_set(name).numbers.values()}), np.uint8)
    mask = region_mask(decode(every_number, label_set(name), where="x"), region)
    assert set(every_number[mask].tolist()) == numbers


def test_later_masks_are_composed_over_earlier_ones() -> None:
    masks = np.array([[0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 0, 1]], bool)
    label_map = GLIOMA.compose(masks)
    assert label_map.dtype == np.uint8
    np.testing.assert_array_equal(label_map, [0, Label.ED, Label.NCR, Label.ET, Label.NCR, Label.ET])


def test_a_cavity_is_written_over_the_tumour_and_lies_outside_it() -> None:
    masks = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0]], bool)
    label_map = REGION_SETS["wt-tc-et-rc"].compose(masks)
    np.testing.assert_array_equal(label_map, [Label.ED, Label.NCR, Label.RC, Label.RC, 0])
    np.testing.assert_array_equal(region_mask(label_map, Region.WT), [1, 1, 0, 0, 0])


def test_paediatric_tissues_are_written_in_order_ed_net_cc_et() -> None:
    regions = REGION_SETS["et-net-cc-ed"]
    assert regions.regions == (Region.ED, Region.NET, Region.CC, Region.ET)
    masks = np.array([[1, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]], bool)
    np.testing.assert_array_equal(regions.compose(masks), [Label.ED, Label.NCR, Label.CC, Label.ET, 0])


def test_a_missing_or_extra_mask_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        GLIOMA.compose(np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match="argument 2 is longer"):
        GLIOMA.compose(np.zeros((4, 3), bool))


@each_region_set
def test_a_region_set_writes_each_label_once_and_falls_back_to_one_of_its_own(regions: RegionSet) -> None:
    assert len(set(regions.labels)) == len(set(regions.regions)) == len(regions.strokes)
    assert {stroke.beneath for stroke in regions.strokes} <= {Label.BACKGROUND, *regions.labels}
    assert all(stroke.label in stroke.region.value for stroke in regions.strokes)
    assert all(stroke.beneath not in stroke.region.value for stroke in regions.strokes)


@each_region_set
def test_a_region_set_pickles_and_is_found_by_its_name(regions: RegionSet) -> None:
    assert pickle.loads(pickle.dumps(regions)) == regions
    assert REGION_SETS[regions.name] is regions


@given(masks=MASKS)
def test_the_regions_of_a_composed_label_map_nest(masks: np.ndarray) -> None:
    label_map = GLIOMA.compose(masks)
    wt, tc, et = masks
    found_wt, found_tc, found_et = (region_mask(label_map, region) for region in GLIOMA.regions)
    np.testing.assert_array_equal(found_et, et)
    np.testing.assert_array_equal(found_tc, tc | et)
    np.testing.assert_array_equal(found_wt, wt | tc | et)
    assert set(np.unique(label_map).tolist()) <= {0, *GLIOMA.labels}


@each_region_set
@given(data=st.data())
def test_composing_the_regions_of_a_label_map_restores_it(regions: RegionSet, data: st.DataObject) -> None:
    label_map = data.draw(arrays(np.uint8, (3, 4, 2), elements=st.sampled_from([0, *regions.labels])))
    masks = [region_mask(label_map, region) for region in regions.regions]
    np.testing.assert_array_equal(regions.compose(masks), label_map)
