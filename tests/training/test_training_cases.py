"""Packing files for training: what it accepts, refuses and packs again, and which cases stay in memory."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prepared import write_phantoms

from htcnns.errors import InputError, OutputError, SettingsError
from htcnns.files.cases import find_cases
from htcnns.files.fold_lists import Listed
from htcnns.files.nifti import read_volume, write_case_file
from htcnns.files.prepared_cases import CaseKind, prepared_path, read_cards, read_prepared
from htcnns.image.phantom import make_phantom
from htcnns.labels import LABEL_SETS, SEQUENCES, Label, Region, Sequence, encode, region_mask
from htcnns.training import cases
from htcnns.training.cases import WHOLE_TUMOUR, TruthRule, open_store, pack, resample_labels

SHAPE = (34, 34, 33)
NAME = "BraTS-GLI-00001-000"
RULE = TruthRule(LABEL_SETS["brats2023"])


@pytest.fixture
def add_case(make_case: Callable[..., Path]) -> Callable[..., Path]:
    """A function that writes a synthetic case with its truth and returns its folder."""

    def add(
        folder: Path, name: str = NAME, *, labels: str = "brats2023", affine: np.ndarray | None = None, seed: int = 1
    ) -> Path:
        home = make_case(folder, name, affine=affine, seed=seed)
        phantom = make_phantom(SHAPE, seed=seed)
        truth = encode(phantom.truth, LABEL_SETS[labels])
        write_case_file(home / f"{name}-seg.nii.gz", truth, phantom.affine if affine is None else affine)
        return home

    return add


@pytest.fixture
def data(tmp_path: Path, add_case: Callable[..., Path]) -> Path:
    """A folder with one case."""
    add_case(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def prepared(cache: Path, name: str = NAME) -> np.ndarray:
    return read_prepared(prepared_path(cache, name)).label_map


def test_a_case_is_packed_with_its_truth(data: Path, cache: Path) -> None:
    (card,) = pack(data, cache, [RULE])
    assert (card.name, card.kind, card.patients) == (NAME, CaseKind.HEAD, ("BraTS-GLI-00001",))
    assert card.sequences == SEQUENCES
    assert card.known == (Region.WT, Region.TC, Region.ET, Region.NET, Region.ED)
    case = read_prepared(prepared_path(cache, NAME))
    truth = make_phantom(SHAPE, seed=1).truth
    assert np.bincount(case.label_map.ravel())[1:].tolist() == np.bincount(truth.ravel())[1:].tolist()
    tumour, brain = region_mask(case.label_map, Region.WT), case.array[3] > 0
    assert brain[tumour].all()
    z_scores = case.table[3][case.array[3]]
    assert z_scores[tumour].mean() > z_scores[brain & ~tumour].mean() + 1  # oedema is bright in t2f


def test_packing_a_second_time_writes_nothing(data: Path, cache: Path) -> None:
    there: list[bool] = []
    for _ in range(2):
        pack(data, cache, [RULE], on_case=lambda packed: there.append(packed.was_there))
    assert there == [False, True]


@pytest.mark.parametrize("which", ["-t2f.nii.gz", "-seg.nii.gz"])
def test_a_changed_file_is_packed_again(data: Path, cache: Path, which: str) -> None:
    pack(data, cache, [RULE])
    path = data / NAME / f"{NAME}{which}"
    volume = read_volume(path)
    changed = volume.array.astype(np.int16)
    changed[17, 17, 17] = 2
    write_case_file(path, changed, volume.affine)
    there: list[bool] = []
    pack(data, cache, [RULE], on_case=lambda packed: there.append(packed.was_there))
    assert there == [False]


def test_a_case_is_packed_again_for_another_label_set(data: Path, cache: Path) -> None:
    pack(data, cache, [RULE])
    (card,) = pack(data, cache, [TruthRule(LABEL_SETS["brats2024-ped"], known=(Region.WT,))])
    assert card.known == (Region.WT,)
    truth = make_phantom(SHAPE, seed=1).truth  # numbered as in 2023, where 1 2 3 are NCR ED ET; in PED 2024 ET NCR CC
    assert (prepared(cache) == Label.CC).sum() == (truth == Label.ET).sum()


def test_each_case_is_read_by_the_first_rule_that_fits(
    tmp_path: Path, cache: Path, add_case: Callable[..., Path]
) -> None:
    add_case(tmp_path / "data", "BraTS2021_00001", labels="brats2021")
    add_case(tmp_path / "data", NAME)
    rules = [TruthRule(LABEL_SETS["brats2021"], "BraTS2021_*"), RULE]
    pack(tmp_path / "data", cache, rules)
    np.testing.assert_array_equal(prepared(cache), prepared(cache, "BraTS2021_00001"))


def test_a_case_that_no_rule_fits_is_refused(data: Path, cache: Path) -> None:
    with pytest.raises(SettingsError, match=rf"labels: no label set for {NAME}; found label sets for BraTS2021_\*\."):
        pack(data, cache, [TruthRule(LABEL_SETS["brats2021"], "BraTS2021_*")])
    with pytest.raises(SettingsError, match=r"found no label set\. Say how its truth is numbered"):
        pack(data, cache, [])
    assert not cache.exists()


def test_numbers_that_the_label_set_does_not_have_are_refused(
    tmp_path: Path, cache: Path, add_case: Callable[..., Path]
) -> None:
    add_case(tmp_path / "data", labels="brats2021")
    with pytest.raises(InputError, match=rf"{NAME}.*seg\.nii\.gz: holds numbers .*found \[4\], expected .*brats2023"):
        pack(tmp_path / "data", cache, [RULE])
    assert list(cache.iterdir()) == []


def test_a_truth_on_another_grid_is_refused(data: Path, cache: Path) -> None:
    path = data / NAME / f"{NAME}-seg.nii.gz"
    volume = read_volume(path)
    write_case_file(path, volume.array[:-1].astype(np.uint8), volume.affine)
    with pytest.raises(
        InputError, match=r"the truth has 33 x 34 x 33 voxels instead of 34 x 34 x 33.*Resample the truth"
    ):
        pack(data, cache, [RULE])


def test_a_shifted_truth_is_refused(data: Path, cache: Path) -> None:
    path = data / NAME / f"{NAME}-seg.nii.gz"
    volume = read_volume(path)
    affine = volume.affine.copy()
    affine[0, 3] += 2
    write_case_file(path, volume.array.astype(np.uint8), affine)
    with pytest.raises(InputError, match=r"the truth lies up to 2\.000 mm off"):
        pack(data, cache, [RULE])


def test_cases_without_truth_are_refused_by_name_before_anything_is_written(
    data: Path, cache: Path, make_case: Callable[..., Path]
) -> None:
    make_case(data, "BraTS-GLI-00002-000")
    make_case(data, "BraTS-GLI-00003-000")
    with pytest.raises(InputError, match="no truth for BraTS-GLI-00002-000, BraTS-GLI-00003-000; expected a label map"):
        pack(data, cache, [RULE])
    assert not cache.exists()


def test_a_case_named_as_unlabelled_has_no_known_region(
    data: Path, cache: Path, make_case: Callable[..., Path]
) -> None:
    make_case(data, "BraTS-GLI-00002-000")
    cards = pack(data, cache, [RULE], unlabelled=["BraTS-GLI-00002-000"])
    assert [bool(card.known) for card in cards] == [True, False]


def test_an_unlabelled_case_that_is_not_there_is_refused(data: Path, cache: Path) -> None:
    with pytest.raises(SettingsError, match="unlabelled: BraTS-GLI-2: no such case"):
        pack(data, cache, [RULE], unlabelled=["BraTS-GLI-2"])


def test_only_the_cases_of_a_list_are_packed(data: Path, cache: Path, add_case: Callable[..., Path]) -> None:
    add_case(data, "BraTS-GLI-00002-000", seed=2)
    line = Listed(frozenset(["TrainingData", "BraTS-GLI-00002-000", "BraTS-GLI-00002-000-seg"]), 0)
    (card,) = pack(data, cache, [RULE], listed=[line])
    assert card.name == "BraTS-GLI-00002-000"
    assert [path.name for path in cache.iterdir()] == [prepared_path(cache, card.name).name]


def test_a_listed_case_that_is_not_there_is_refused_before_anything_is_written(data: Path, cache: Path) -> None:
    with pytest.raises(InputError, match=r"data: has no case BraTS-GLI-00009-000; found 1 of the 1 listed cases"):
        pack(data, cache, [RULE], listed=[Listed(frozenset(["BraTS-GLI-00009-000"]), 0)])
    assert not cache.exists()


def test_a_folder_without_cases_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        pack(tmp_path / "empty", cache, [RULE])


def test_a_case_without_a_sequence_is_packed(data: Path, cache: Path) -> None:
    pack(data, cache, [RULE])
    whole = read_prepared(prepared_path(cache, NAME))
    (data / NAME / f"{NAME}-t1n.nii.gz").unlink()
    (card,) = pack(data, cache, [RULE])
    assert card.sequences == SEQUENCES[1:]
    partial = read_prepared(prepared_path(cache, NAME))
    assert not partial.array[SEQUENCES.index(Sequence.T1N)].any()
    np.testing.assert_array_equal(partial.array[1:], whole.array[1:])


def test_a_truth_of_only_the_whole_tumour_has_no_other_known_region(
    tmp_path: Path, cache: Path, make_case: Callable[..., Path]
) -> None:
    home = make_case(tmp_path / "data", NAME)
    phantom = make_phantom(SHAPE, seed=1)
    write_case_file(home / f"{NAME}-seg.nii.gz", (phantom.truth > 0).astype(np.uint8), phantom.affine)
    (card,) = pack(tmp_path / "data", cache, [TruthRule(WHOLE_TUMOUR)])
    assert card.known == (Region.WT,)
    assert region_mask(prepared(cache), Region.WT).sum() == (phantom.truth > 0).sum()


def test_known_regions_can_be_given(data: Path, cache: Path) -> None:
    (card,) = pack(data, cache, [TruthRule(LABEL_SETS["brats2023"], known=(Region.TC,))])
    assert card.known == (Region.TC,)


def test_the_patient_can_be_given(data: Path, cache: Path) -> None:
    (card,) = pack(data, cache, [RULE], patients={NAME: "BraTS2021_00007"})
    assert card.patients == ("BraTS2021_00007",)


def test_thick_slices_are_resampled_with_their_truth(
    tmp_path: Path, cache: Path, add_case: Callable[..., Path]
) -> None:
    add_case(tmp_path / "data", affine=np.diag([-1.0, -1.0, 2.0, 1.0]))
    (card,) = pack(tmp_path / "data", cache, [RULE])
    assert card.shape[2] > 1.7 * card.shape[0]
    case = read_prepared(prepared_path(cache, NAME))
    truth = make_phantom(SHAPE, seed=1).truth
    assert (case.label_map > 0).sum() == pytest.approx(2 * (truth > 0).sum(), rel=0.03)
    assert set(np.unique(case.label_map)) == set(np.unique(truth))


def test_labels_between_voxels_are_those_of_most_weight() -> None:
    label_map = np.zeros((2, 1, 1), np.uint8)
    label_map[1] = Label.RC
    assert resample_labels(label_map, (6, 1, 1)).ravel().tolist() == [0, 0, 0, 4, 4, 4]


def test_a_cache_of_another_version_is_refused_in_training_and_packed_again(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(data, cache, [RULE])
    monkeypatch.setattr("htcnns.files.prepared_cases.FORMAT", 99)
    with pytest.raises(InputError, match="was packed by another version"):
        open_store([cache])
    pack(data, cache, [RULE])
    assert [card.name for card in open_store([cache]).cards] == [NAME]


def test_a_full_disk_while_packing_leaves_nothing_half_written(
    data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("htcnns.files.atomic.os.fsync", no_room)
    with pytest.raises(OutputError, match="No space left on device"):
        pack(data, cache, [RULE])
    assert list(cache.iterdir()) == []


def test_a_cache_inside_the_data_is_not_searched(data: Path) -> None:
    pack(data, data / "cache", [RULE])
    assert len(find_cases(data)) == 1
    assert len(pack(data, data / "cache", [RULE])) == 1


def test_a_store_reads_a_case_once_while_there_is_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_phantoms(cache, ["a", "b", "c"])
    read: list[str] = []

    def note(path: Path) -> object:
        read.append(path.name[0])
        return read_prepared(path)

    monkeypatch.setattr(cases, "read_prepared", note)
    store = open_store([cache])
    assert read == []
    for name in "abcabc":
        assert store[name].card.name == name
    assert read == ["a", "b", "c"]


def test_a_full_store_forgets_the_least_recently_used_case(cache: Path) -> None:
    write_phantoms(cache, ["a", "b", "c"])
    size = read_prepared(prepared_path(cache, "a")).n_bytes
    store = open_store([cache], most_bytes=int(2.5 * size))
    first, second = store["a"], store["b"]
    assert store["a"] is first
    assert store["c"].card.name == "c"
    assert store["a"] is first
    assert store["b"] is not second
    assert store.n_bytes <= 2.5 * size


def test_the_last_case_stays_however_large(cache: Path) -> None:
    write_phantoms(cache, ["a", "b"])
    store = open_store([cache], most_bytes=1)
    assert store["a"] is store["a"]
    store["b"]
    assert store.n_bytes == store["b"].n_bytes


def test_folders_are_joined_and_a_name_in_two_of_them_is_refused(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "one", ["a", "b"])
    write_phantoms(tmp_path / "other", ["c"])
    assert [card.name for card in open_store([tmp_path / "one", tmp_path / "other"]).cards] == ["a", "b", "c"]
    write_phantoms(tmp_path / "other", ["a"])
    with pytest.raises(InputError, match=r"other/a\.case\.npz: a is there twice; found another one in .*one"):
        open_store([tmp_path / "one", tmp_path / "other"])


def test_cards_of_two_visits_name_one_patient(data: Path, cache: Path, add_case: Callable[..., Path]) -> None:
    add_case(data, "BraTS-GLI-00001-001")
    pack(data, cache, [RULE])
    assert {card.patients for card in read_cards(cache).values()} == {("BraTS-GLI-00001",)}
