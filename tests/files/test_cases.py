"""Finding cases, in folders of empty files and in the real data."""

import json
import os
import pickle
import re
import time
from pathlib import Path

import pytest

from htcnns.errors import InputError
from htcnns.files.cases import Case, find_cases, search
from htcnns.files.names.brats import Convention
from htcnns.files.renames import case_rows
from htcnns.labels import SEQUENCES, Sequence

T1N, T1C, T2W, T2F = Sequence

NEW = tuple(f"BraTS-GLI-00001-000-{word}.nii.gz" for word in ("t1n", "t1c", "t2w", "t2f"))
OLD = tuple(f"BraTS2021_00495_{word}.nii.gz" for word in ("t1", "t1ce", "t2", "flair"))
FREE = ("a_T1.nii.gz", "a.t1-gd.nii", "a_t2.nii.gz", "a_T2-FLAIR.nii.gz")
NNUNET = tuple(f"glioma_7_000{n}.nii.gz" for n in range(4))


def _touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def _names(case: Case) -> tuple[str, ...]:
    return tuple(case.files[sequence].name for sequence in SEQUENCES)


@pytest.mark.parametrize(
    ("folder", "files", "case", "naming", "flat"),
    [
        ("BraTS-GLI-00001-000", NEW, "BraTS-GLI-00001-000", "BraTS 2023+", False),
        (".", NEW, "BraTS-GLI-00001-000", "BraTS 2023+", True),
        ("BraTS2021_00495", OLD, "BraTS2021_00495", "BraTS 2021-22", False),
        (".", OLD, "BraTS2021_00495", "BraTS 2021-22", True),
        ("deep/down/P7", FREE, "P7", "free", False),
    ],
    ids=["2023 nested", "2023 flat", "2021 nested", "2021 flat", "free"],
)
def test_four_files_are_one_case(
    tmp_path: Path, folder: str, files: tuple[str, ...], case: str, naming: str, flat: bool
) -> None:
    _touch(tmp_path / folder, *files)
    (found,) = find_cases(tmp_path)
    assert (found.name, found.naming, found.flat, found.folder) == (case, naming, flat, tmp_path / folder)
    assert _names(found) == files
    assert found.missing == ()
    found.require_complete()


def test_the_given_folder_may_itself_be_a_case(tmp_path: Path) -> None:
    (found,) = find_cases(_touch(tmp_path / "P7", *FREE))
    assert (found.name, found.flat) == ("P7", False)


def test_a_case_in_the_current_folder_has_the_folders_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_touch(tmp_path / "P7", *FREE))
    assert [case.name for case in find_cases(Path("."))] == ["P7"]


def test_cases_of_several_namings_are_sorted_by_name(tmp_path: Path) -> None:
    _touch(tmp_path / "flat", *OLD, *NEW)
    _touch(tmp_path / "P7", *FREE)
    assert [(case.name, case.naming) for case in find_cases(tmp_path)] == [
        ("BraTS-GLI-00001-000", "BraTS 2023+"),
        ("BraTS2021_00495", "BraTS 2021-22"),
        ("P7", "free"),
    ]


def test_words_for_sequences_may_be_upper_or_lower_case(tmp_path: Path) -> None:
    _touch(tmp_path, *(name.replace("-t", "-T") for name in NEW))
    assert find_cases(tmp_path)[0].missing == ()


def test_a_truth_is_found_but_is_never_an_input(tmp_path: Path) -> None:
    _touch(tmp_path, *NEW, "BraTS-GLI-00001-000-seg.nii.gz")
    (found,) = find_cases(tmp_path)
    assert _names(found) == NEW
    assert found.truth == tmp_path / "BraTS-GLI-00001-000-seg.nii.gz"


@pytest.mark.parametrize("name", ["a_t1_seg.nii.gz", "flair_mask.nii.gz", "a_t2_label.nii"])
def test_masks_in_a_free_folder_are_neither_input_nor_left_over(tmp_path: Path, name: str) -> None:
    result = search(_touch(tmp_path / "P7", *FREE, name))
    assert _names(result.cases[0]) == FREE
    assert result.leftovers == ()


@pytest.mark.parametrize(
    ("files", "case"),
    [
        (("T1 pre.nii.gz", "T1 post gad.nii.gz", "T2 ax.nii.gz", "FLAIR ax.nii.gz"), "P7"),
        (("T1_pre.nii.gz", "T1_post.nii.gz", "T2.nii.gz", "T2 FLAIR.nii.gz"), "P7"),
        (("t1.nii.gz", "t1ce.nii.gz", "t2.nii.gz", "flair.nii.gz"), "P7"),
        (("GT_t1.nii.gz", "GT_t1ce.nii.gz", "GT_t2.nii.gz", "GT_flair.nii.gz"), "P7"),
        (("FA_t1.nii.gz", "FA_t1ce.nii.gz", "FA_t2.nii.gz", "FA_flair.nii.gz"), "P7"),
        (("3_t1.nii.gz", "5_t1ce.nii.gz", "7_t2.nii.gz", "9_flair.nii.gz"), "P7"),
        (("ax_t1.nii.gz", "sag_mprage_t1ce.nii.gz", "tse_t2.nii.gz", "tirm_flair.nii.gz"), "P7"),
        (("SMITH_t1.nii.gz", "SMITH_A_t1ce.nii.gz", "t2.nii.gz", "SMITH_flair.nii.gz"), "P7"),
        (("t1_mprage.nii.gz", "t1_mprage_gd.nii.gz", "t2_xy_01.nii.gz", "flair_ab_1mm.nii.gz"), "P7"),
    ],
    ids=["spaces", "pre and post", "bare", "GT", "FA", "series", "scanner's words", "half named", "described after"],
)
def test_files_named_as_people_name_them_are_one_case(tmp_path: Path, files: tuple[str, ...], case: str) -> None:
    result = search(_touch(tmp_path / "P7", *files))
    assert [(found.name, _names(found)) for found in result.cases] == [(case, files)]
    assert result.leftovers == ()


@pytest.mark.parametrize(
    ("files", "both"),
    [
        (("SMITH_t1", "JONES_t1ce", "SMITH_t2", "JONES_flair"), "JONES_flair.nii.gz and SMITH_t1.nii.gz"),
        (("SMITH t1", "SMITH t1ce", "SMITH t2", "Jones flair"), "Jones flair.nii.gz and SMITH t1.nii.gz"),
        (("P001_t1", "P001_t1ce", "P002_t2", "P002_flair"), "P001_t1.nii.gz and P002_flair.nii.gz"),
        (("001_t1", "001_t1ce", "002_t2", "001_flair"), "001_flair.nii.gz and 002_t2.nii.gz"),
        (("t1_SMITH", "t1ce_JONES", "t2_SMITH", "flair_JONES"), "flair_JONES.nii.gz and t1_SMITH.nii.gz"),
        (("t1_0012", "t1ce_0013", "t2_0012", "flair_0013"), "flair_0013.nii.gz and t1_0012.nii.gz"),
    ],
    ids=["two names", "one of four", "codes", "numbers", "names after", "numbers after"],
)
def test_scans_of_two_patients_are_never_one_case(tmp_path: Path, files: tuple[str, ...], both: str) -> None:
    with pytest.raises(InputError, match=f"/P7: {both} are named like two different cases; expected .*own.*alike[.]$"):
        find_cases(_touch(tmp_path / "P7", *(f"{name}.nii.gz" for name in files)))


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("T1_map.nii.gz", "map"),
        ("T2_star.nii", "star"),
        ("a_T2*.nii.gz", "star"),
        ("ADC_T1_perfusion.nii.gz", "adc"),
        ("flair dwi.nii.gz", "dwi"),
    ],
)
def test_an_image_of_another_kind_is_not_a_sequence(tmp_path: Path, name: str, word: str) -> None:
    result = search(_touch(tmp_path / "P7", *FREE, name))
    assert _names(result.cases[0]) == FREE
    assert [(left.path.name, left.reason) for left in result.leftovers] == [
        (name, f"none of the four sequences, as its name says {word}")
    ]


def test_no_renaming_is_advised_for_an_image_of_another_kind(tmp_path: Path) -> None:
    result = search(_touch(tmp_path, *OLD[1:], "BraTS2021_00495_t1_map.nii.gz"))
    assert case_rows(result)[0].rename == ()


@pytest.mark.parametrize("name", ["gt_t1.nii.gz", "gt.nii.gz", "P7_t1_gt.nii.gz"])
def test_a_truth_called_gt_is_not_a_scan(tmp_path: Path, name: str) -> None:
    assert _names(find_cases(_touch(tmp_path / "P7", *FREE, name))[0]) == FREE


@pytest.mark.parametrize("word", ["seg", "mask", "label", "tumorseg"])
def test_masks_of_every_sequence_are_not_scans_though_their_names_begin_alike(tmp_path: Path, word: str) -> None:
    _touch(tmp_path / "P7", *FREE)
    _touch(tmp_path / "P8", *(f"{word}_{sequence}.nii.gz" for sequence in SEQUENCES))
    result = search(tmp_path)
    assert [case.name for case in result.cases] == ["P7"]
    assert {left.reason for left in result.leftovers} == {"a mask by its name, with no case beside it"}
    assert len(result.leftovers) == 4


@pytest.mark.parametrize(
    ("folder", "name", "reason"),
    [
        ("P8", "brain.nii.gz", "no sequence in its name"),
        ("P8", "P8_seg.nii.gz", "a mask by its name, with no case beside it"),
        ("labels", "P8_t1.nii.gz", "in labels, a folder of label maps"),
        ("P7", "dwi_0012.nii.gz", "no sequence in its name; an nnU-Net case has several channels, 0000 among them"),
        ("P7", "P8_0000.nii.gz", "no sequence in its name; an nnU-Net case has several channels, 0000 among them"),
    ],
)
def test_what_belongs_to_no_case_is_left_over_with_its_reason(
    tmp_path: Path, folder: str, name: str, reason: str
) -> None:
    _touch(tmp_path / "P7", *FREE)
    _touch(tmp_path / folder, name)
    result = search(tmp_path)
    assert [(case.name, _names(case)) for case in result.cases] == [("P7", FREE)]
    assert [left.path for left in result.leftovers] == [tmp_path / folder / name]
    assert re.fullmatch(reason, result.leftovers[0].reason)


def test_two_truths_count_as_none(tmp_path: Path) -> None:
    _touch(tmp_path, *NEW, "BraTS-GLI-00001-000-seg.nii.gz", "BraTS-GLI-00001-000-seg.nii")
    assert find_cases(tmp_path)[0].truth is None


def test_a_folder_with_only_truths_holds_no_case(tmp_path: Path) -> None:
    _touch(tmp_path / "truths", "BraTS-GLI-00001-000-seg.nii.gz")
    _touch(tmp_path / "scans", *NEW)
    assert [case.folder.name for case in find_cases(tmp_path)] == ["scans"]


def test_hidden_and_other_files_are_ignored(tmp_path: Path) -> None:
    _touch(tmp_path, *NEW, "._BraTS-GLI-00001-000-t1c.nii.gz", ".htcnns-1-x.nii.gz.part", "notes.txt")
    _touch(tmp_path / ".cache", *OLD)
    result = search(tmp_path)
    assert len(result.cases) == 1
    assert result.leftovers == ()


def test_a_missing_sequence_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (found,) = find_cases(_touch(tmp_path, *NEW[:3]))
    assert found.missing == (T2F,)
    with pytest.raises(InputError) as caught:
        found.require_complete()
    assert str(caught.value) == (
        "BraTS-GLI-00001-000: t2f missing; found t1n, t1c, t2w. "
        "Add BraTS-GLI-00001-000-t2f.nii.gz or leave the case out."
    )


def test_advised_file_names_follow_the_naming_of_the_case(tmp_path: Path) -> None:
    (found,) = find_cases(_touch(tmp_path, *OLD[:2]))
    wanted = r"Add BraTS2021_00495_t2\.nii\.gz and BraTS2021_00495_flair\.nii\.gz or leave the case out\.$"
    with pytest.raises(InputError, match=wanted):
        found.require_complete()


@pytest.mark.parametrize("naming", ["BraTS", "nnU-Net", "free"])
def test_a_case_can_be_sent_between_processes(tmp_path: Path, naming: str) -> None:
    _touch(tmp_path / "P7", *{"BraTS": NEW, "nnU-Net": NNUNET, "free": FREE}[naming])
    (case,) = find_cases(tmp_path, channels=(T1N, T1C, T2W, T2F))
    again = pickle.loads(pickle.dumps(case))
    assert again == case
    assert again.naming is case.naming
    assert again.file_name(T2F) == case.file_name(T2F)


def test_the_convention_is_readable_and_not_a_bare_string(tmp_path: Path) -> None:
    (found,) = find_cases(_touch(tmp_path, *OLD))
    assert found.naming is Convention.BRATS_2021
    assert f"{found.naming}" == "BraTS 2021-22"


@pytest.mark.parametrize(
    ("near_miss", "advice"),
    [
        ("BraTS-GLI-00001-000_t1c.nii.gz", "BraTS-GLI-00001-000-t1c.nii.gz"),
        ("BraTS-GLI-00001-000-T1CE.nii", "BraTS-GLI-00001-000-t1c.nii"),
        ("brats_gli_00001_000_t1gd.NII.GZ", "BraTS-GLI-00001-000-t1c.nii.gz"),
    ],
)
def test_renaming_is_advised_for_a_near_miss_beside_a_case(tmp_path: Path, near_miss: str, advice: str) -> None:
    result = search(_touch(tmp_path, NEW[0], *NEW[2:], near_miss))
    (row,) = case_rows(result)
    assert (row.case, row.naming, row.found, row.missing) == (
        "BraTS-GLI-00001-000",
        "BraTS 2023+",
        (T1N, T2W, T2F),
        (T1C,),
    )
    assert row.rename == (f"{near_miss} to {advice}",)
    assert result.leftovers[0].reason == "named differently from the cases beside it"
    assert result.leftovers[0].is_near_miss


def test_no_renaming_is_advised_for_another_cases_file(tmp_path: Path) -> None:
    result = search(_touch(tmp_path, *NEW[:3], "BraTS-GLI-00002-000_t2f.nii.gz"))
    assert case_rows(result)[0].rename == ()


@pytest.mark.parametrize(
    ("one", "other", "near_miss", "advice"),
    [
        ("Brats18_2013_2_1", "Brats18_2013_21_1", "_t2f", "_flair"),
        ("BraTS2021_1", "BraTS2021_12", "_t2f", "_flair"),
        ("Brats18_2013_2", "Brats18_2013_2_1", "-flair", "_flair"),
    ],
)
def test_a_near_miss_belongs_to_the_longest_case_name_that_it_begins_with(
    tmp_path: Path, one: str, other: str, near_miss: str, advice: str
) -> None:
    scans = [f"{case}_{word}.nii.gz" for case in (one, other) for word in ("t1", "t1ce", "t2")]
    rows = {row.case: row.rename for row in case_rows(search(_touch(tmp_path, *scans, f"{other}{near_miss}.nii.gz")))}
    assert rows == {one: (), other: (f"{other}{near_miss}.nii.gz to {other}{advice}.nii.gz",)}


@pytest.mark.parametrize("stranger", ["Brats18_2013_21_1", "Brats18_2013_2_11", "Brats18_2013_2_1_1"])
def test_a_near_miss_of_an_absent_case_belongs_to_no_case(tmp_path: Path, stranger: str) -> None:
    scans = [f"Brats18_2013_2_1_{word}.nii.gz" for word in ("t1", "t1ce", "t2")]
    assert case_rows(search(_touch(tmp_path, *scans, f"{stranger}_t2f.nii.gz")))[0].rename == ()


def test_a_near_miss_that_fits_two_cases_alike_belongs_to_neither(tmp_path: Path) -> None:
    scans = [f"{case}_{word}.nii.gz" for case in ("Brats18_A_1", "Brats18_A-1") for word in ("t1", "t1ce", "t2")]
    result = search(_touch(tmp_path, *scans, "Brats18_A_1_t2f.nii.gz"))
    assert [row.rename for row in case_rows(result)] == [(), ()]


def test_no_renaming_is_advised_for_another_patients_file_in_a_cases_folder(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "BraTS-GLI-00001-000", *NEW[:3], "BraTS-GLI-00002-000_t2f.nii.gz")
    assert case_rows(search(folder))[0].rename == ()
    _touch(folder, "FLAIR.nii")
    assert case_rows(search(folder))[0].rename == ("FLAIR.nii to BraTS-GLI-00001-000-t2f.nii",)


def test_renaming_either_of_two_near_misses_for_one_sequence_is_advised(tmp_path: Path) -> None:
    name = "BraTS-GLI-00001-000"
    result = search(_touch(tmp_path / name, *NEW[:3], f"{name}-flair.nii.gz", f"{name}-t2-flair.nii"))
    assert case_rows(result)[0].rename == (
        f"either {name}-flair.nii.gz to {name}-t2f.nii.gz or {name}-t2-flair.nii to {name}-t2f.nii",
    )


def test_a_name_with_two_sequences_is_left_over(tmp_path: Path) -> None:
    result = search(_touch(tmp_path / "P7", *FREE, "t1_in_flair.nii.gz"))
    assert [leftover.reason for leftover in result.leftovers] == ["several sequences in its name: t1n, t2f"]


def test_links_that_run_in_a_circle_are_followed_once(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "P7", *FREE)
    (folder / "again").symlink_to(tmp_path, target_is_directory=True)
    (folder / "itself").symlink_to(folder / "itself")
    assert [case.name for case in find_cases(tmp_path)] == ["P7"]


def test_a_linked_case_is_found_under_its_links_name(tmp_path: Path) -> None:
    store = _touch(tmp_path / "store" / "0f3a", *FREE)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "P7").symlink_to(store, target_is_directory=True)
    assert [case.name for case in find_cases(tmp_path / "in")] == ["P7"]


def test_a_link_does_not_rename_the_case_it_leads_to(tmp_path: Path) -> None:
    _touch(tmp_path / "P7", *FREE)
    _touch(tmp_path / "A")
    (tmp_path / "A" / "latest").symlink_to(tmp_path / "P7", target_is_directory=True)
    assert [case.name for case in find_cases(tmp_path)] == ["P7"]


@pytest.mark.parametrize("target", ["..", "../..", "."], ids=["above", "far above", "itself"])
def test_a_link_upwards_leads_to_no_case_outside(tmp_path: Path, target: str) -> None:
    _touch(tmp_path / "hospital" / "in" / "P7", *FREE)
    _touch(tmp_path / "hospital" / "private", *NEW)
    (tmp_path / "hospital" / "in" / "up").symlink_to(target, target_is_directory=True)
    assert [case.name for case in find_cases(tmp_path / "hospital" / "in")] == ["P7"]


@pytest.mark.parametrize("way", ["out", "link/out"], ids=["as it is", "over a link"])
def test_a_folder_to_be_skipped_is_not_searched(tmp_path: Path, way: str) -> None:
    _touch(tmp_path / "in" / "P7", *FREE)
    _touch(tmp_path / "in" / "out", "P7_t1.nii.gz")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    result = search(tmp_path / "in", skip=[tmp_path / "in" / way, tmp_path / "not there yet"])
    assert [case.name for case in result.cases] == ["P7"]
    assert result.leftovers == ()


def test_the_given_folder_is_searched_even_if_it_is_to_be_skipped(tmp_path: Path) -> None:
    assert len(find_cases(_touch(tmp_path / "P7", *FREE), skip=[tmp_path / "P7"])) == 1


def test_an_unreadable_lost_and_found_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is simulated, as root may read everything."""
    _touch(tmp_path / "P7", *FREE)
    locked, real = _touch(tmp_path / "lost+found"), os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder) == locked:
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr("htcnns.files.walk.os.scandir", refuse)
    assert [case.name for case in find_cases(tmp_path)] == ["P7"]


def test_what_is_not_a_regular_file_is_not_a_scan(tmp_path: Path) -> None:
    _touch(tmp_path, *NEW[:3])
    os.mkfifo(tmp_path / NEW[3])
    assert find_cases(tmp_path)[0].missing == (T2F,)


@pytest.mark.parametrize("place", ["imagesTr", "."], ids=["folder above", "same folder"])
@pytest.mark.parametrize("key", ["channel_names", "modality"], ids=["version 2", "version 1"])
def test_nnunet_channels_are_read_from_dataset_json(tmp_path: Path, place: str, key: str) -> None:
    _touch(tmp_path / place, *NNUNET)
    _touch(tmp_path / "labelsTr", "glioma_7.nii.gz", "la_0003.nii.gz")
    order = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    (tmp_path / "dataset.json").write_text(json.dumps({key: order}))
    result = search(tmp_path)
    assert [(case.name, case.naming) for case in result.cases] == [("glioma_7", "nnU-Net")]
    assert _names(result.cases[0]) == (NNUNET[1], NNUNET[2], NNUNET[3], NNUNET[0])
    assert result.leftovers == ()


def test_the_given_order_overrides_dataset_json(tmp_path: Path) -> None:
    _touch(tmp_path, *NNUNET[:3])
    (tmp_path / "dataset.json").write_text("nonsense")
    (found,) = find_cases(tmp_path, channels=(T2F, T2W, T1C, T1N))
    assert found.files[T2F].name == NNUNET[0]
    assert found.file_name(T1N) == "glioma_7_0003.nii.gz"


def test_a_stray_nnunet_name_beside_a_brats_case_needs_no_order(tmp_path: Path) -> None:
    result = search(_touch(tmp_path, *NEW, "dwi_0012.nii.gz", "x_0001.nii.gz"))
    assert [case.missing for case in result.cases] == [()]
    assert [left.path.name for left in result.leftovers] == ["dwi_0012.nii.gz", "x_0001.nii.gz"]


def test_an_nnunet_case_without_its_0000_is_incomplete_beside_a_whole_one(tmp_path: Path) -> None:
    cases = find_cases(_touch(tmp_path, *NNUNET, "glioma_8_0001.nii.gz"), channels=(T1N, T1C, T2W, T2F))
    assert [(case.name, case.missing) for case in cases] == [("glioma_7", ()), ("glioma_8", (T1N, T2W, T2F))]


def test_a_mask_named_like_its_nnunet_case_is_not_a_channel(tmp_path: Path) -> None:
    scans = [f"BRATS_{case}_000{channel}.nii.gz" for case in ("0000", "0001") for channel in range(4)]
    result = search(_touch(tmp_path, *scans, "BRATS_0000.nii.gz", "BRATS_0001.nii.gz"), channels=(T1N, T1C, T2W, T2F))
    assert [(case.name, case.missing) for case in result.cases] == [("BRATS_0000", ()), ("BRATS_0001", ())]
    assert [left.path.name for left in result.leftovers] == ["BRATS_0000.nii.gz", "BRATS_0001.nii.gz"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            '{"channel_names": {"0": "T1", "1": "ADC"}}',
            r"^channels: .*dataset\.json: unknown channel ADC; found T1, ADC, expected",
        ),
        ('{"channel_names": {"0": "T1", "1": "T1w"}}', "two channels of one sequence"),
        ('{"channel_names": {"0": "T1", "2": "T2"}}', "^channels: .*cannot be read as nnU-Net's dataset.json"),
        ('{"labels": {}}', "cannot be read as nnU-Net's dataset.json"),
        ("[1]", "cannot be read as nnU-Net's dataset.json"),
        ("{", "cannot be read as JSON"),
    ],
    ids=["unknown", "twice", "gap", "no channels", "no object", "no json"],
)
def test_a_strange_dataset_json_is_refused(tmp_path: Path, content: str, says: str) -> None:
    _touch(tmp_path, *NNUNET)
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=says):
        find_cases(tmp_path)


def test_nnunet_names_without_an_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"channels: .*no dataset\.json says what 0000 is.*t1n,t1c,t2w,t2f"):
        find_cases(_touch(tmp_path, *NNUNET))


def test_a_channel_beyond_the_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"glioma_7_0002.*channel 2 has no name; found the order t1n, t1c, expected"):
        find_cases(_touch(tmp_path, *NNUNET), channels=(T1N, T1C))


@pytest.mark.parametrize(
    ("files", "both"),
    [
        ((*NEW, "BraTS-GLI-00001-000-t1c.nii"), r"-t1c\.nii and BraTS-GLI-00001-000-t1c\.nii\.gz"),
        ((*NEW, "BraTS-GLI-00001-000-T1C.nii.gz"), r"-T1C\.nii\.gz and BraTS-GLI-00001-000-t1c\.nii\.gz"),
        ((*FREE, "b_t1ce.nii.gz"), r"a\.t1-gd\.nii and b_t1ce\.nii\.gz"),
    ],
    ids=["packed and plain", "upper and lower", "free"],
)
def test_two_files_for_one_sequence_are_refused_by_name(tmp_path: Path, files: tuple[str, ...], both: str) -> None:
    with pytest.raises(InputError, match=f"two files for t1c of .*{both}"):
        find_cases(_touch(tmp_path, *files))


def test_two_cases_of_one_name_are_refused_with_both_folders(tmp_path: Path) -> None:
    _touch(tmp_path / "a", *NEW)
    _touch(tmp_path / "b", *NEW)
    with pytest.raises(InputError, match=r"BraTS-GLI-00001-000: two cases of this name.*/a and .*/b"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("files", "saw"),
    [
        ((), "found nothing"),
        (("1.dcm", "2.dcm", "README"), "found 2 .dcm, 1 without ending"),
        (("border1-pred.nii.gz",), "found 1 NIfTI .such as border1-pred.nii.gz: no sequence in its name."),
    ],
    ids=["empty", "dicom", "unknown names"],
)
def test_the_error_for_no_case_lists_what_was_found_and_expected(
    tmp_path: Path, files: tuple[str, ...], saw: str
) -> None:
    with pytest.raises(
        InputError, match=f": no case; {saw}, expected NIfTI files named like .*BraTS-GLI-00001-000-t1c.nii.gz"
    ):
        find_cases(_touch(tmp_path, *files))


def test_a_root_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "scan.nii.gz")
    with pytest.raises(InputError, match=r"scan\.nii\.gz: is a file; expected a folder"):
        find_cases(tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match="nowhere: does not exist; expected a folder"):
        find_cases(tmp_path / "nowhere")


def test_an_unreadable_folder_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("htcnns.files.walk.os.scandir", refuse)
    with pytest.raises(InputError, match=r"cannot be listed \(Permission denied\); expected .*Make it readable"):
        find_cases(tmp_path)


def test_the_labelled_cases_are_found_with_their_namings(data: Path) -> None:
    cases = find_cases(data / "brats")
    assert [case.naming for case in cases] == ["BraTS 2023+"] * 2 + ["BraTS 2021-22"] * 5 + ["BraTS 2017-20"] * 4
    assert [case.name for case in cases] == sorted(folder.name for folder in (data / "brats").iterdir())
    assert {case.missing for case in cases} == {()}
    assert all(case.truth for case in cases)


def test_candidate_masks_are_not_taken_for_scans(data: Path) -> None:
    result = search(data / "unlabelled")
    assert [(case.name, case.naming, case.missing) for case in result.cases] == [
        ("BraTS-GLI-00001-000", "BraTS 2023+", ()),
        ("BraTS-MET-00110-000", "BraTS 2023+", ()),
        ("TCGA-DU-7294", "free", ()),
        ("TCGA-FG-6692", "free", ()),
    ]
    assert {leftover.path.parent.name for leftover in result.leftovers} == {"candidates"}


FORMATS = (".hdr", ".img", ".img.gz", ".mha", ".mhd", ".nrrd", ".mgz", ".mnc", ".nii.bz2")


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("names", [NEW, FREE], ids=["strict", "free"])
def test_a_case_in_an_unsupported_format_is_a_case_without_scans(
    tmp_path: Path, names: tuple[str, ...], ending: str
) -> None:
    _touch(tmp_path / "P6", *OLD)
    _touch(tmp_path / "P7", *(name.partition(".nii")[0] + ending for name in names))
    first, second = sorted(search(tmp_path).cases, key=lambda case: case.found, reverse=True)
    assert (first.missing, second.found, len(second.unread)) == ((), (), 4)
    with pytest.raises(InputError, match=r"t1n, t1c, t2w, t2f missing, as .* is .*(not NIfTI|pair|gzip).*; found none"):
        second.require_complete()


def test_a_missing_sequence_is_reported_with_its_file_in_another_format(tmp_path: Path) -> None:
    (found,) = find_cases(_touch(tmp_path / "P7", *FREE[:3], "a_flair.mha"))
    with pytest.raises(
        InputError, match=r"t2f missing, as a_flair\.mha is MetaImage, not NIfTI; found t1n, t1c, t2w\."
    ):
        found.require_complete()


def test_a_sequence_in_two_formats_is_read_and_the_other_file_reported(tmp_path: Path) -> None:
    result = search(_touch(tmp_path / "P7", *FREE, "a_flair.mha"))
    assert [(case.missing, case.unread) for case in result.cases] == [((), ())]
    assert [left.reason for left in result.leftovers] == ["MetaImage, not NIfTI; convert it to .nii.gz"]


def test_a_stray_file_of_another_format_is_reported_and_makes_no_case(tmp_path: Path) -> None:
    _touch(tmp_path / "P7", *FREE)
    _touch(tmp_path / "atlas", "t1.mha")
    result = search(tmp_path)
    assert [case.name for case in result.cases] == ["P7"]
    assert [left.path for left in result.leftovers] == [tmp_path / "atlas" / "t1.mha"]


def test_a_folder_of_dicom_is_reported_once(tmp_path: Path) -> None:
    _touch(tmp_path / "P7", *FREE)
    _touch(tmp_path / "P8", "1.dcm", "2.DCM", "3.ima")
    (left,) = search(tmp_path).leftovers
    assert (left.path, left.reason) == (tmp_path / "P8", "3 DICOM files in it, to be converted to .nii.gz")


def test_a_newline_in_a_name_hides_no_scan(tmp_path: Path) -> None:
    _touch(tmp_path / "P\n7", *(f"a\n{name}" for name in FREE))
    _touch(tmp_path / "flat", "x\ny.nii.gz", *OLD)
    result = search(tmp_path)
    assert [(case.name, case.missing) for case in result.cases] == [("BraTS2021_00495", ()), ("P\n7", ())]
    assert [left.path.name for left in result.leftovers] == ["x\ny.nii.gz"]


def test_broken_links_are_missing_scans_and_not_overlooked(tmp_path: Path) -> None:
    _touch(tmp_path / "P7", *FREE)
    (tmp_path / "P8").mkdir()
    _ = [(tmp_path / "P8" / name).symlink_to("nowhere") for name in FREE]
    (tmp_path / "P9").symlink_to("unmounted")
    result = search(tmp_path)
    assert [(case.name, len(case.missing)) for case in result.cases] == [("P7", 0), ("P8", 4)]
    assert [(left.path.name, left.reason) for left in result.leftovers] == [
        ("P9", "a link that leads nowhere (No such file or directory)")
    ]


def test_an_unclear_case_leaves_the_others_alone(tmp_path: Path) -> None:
    _touch(tmp_path / "good", *OLD)
    _touch(tmp_path / "twice", *NEW, "BraTS-GLI-00001-000-t1c.nii")
    _touch(tmp_path / "P7", "SMITH_t1.nii.gz", "JONES_t1ce.nii.gz", "SMITH_t2.nii.gz", "JONES_flair.nii.gz")
    _touch(tmp_path / "nnunet", *NNUNET)
    result = search(tmp_path)
    assert [(case.name, bool(case.fault)) for case in result.cases] == [
        ("BraTS-GLI-00001-000", True),
        ("BraTS2021_00495", False),
        ("P7", True),
        ("glioma_7", True),
    ]
    assert result.leftovers == ()
    with pytest.raises(InputError, match="two files for t1c"):
        result.require_clear()


def test_two_cases_of_one_name_are_one_unclear_case(tmp_path: Path) -> None:
    _touch(tmp_path / "a", *NEW)
    _touch(tmp_path / "b", *NEW)
    (case,) = search(tmp_path).cases
    assert "two cases of this name" in str(case.fault)


def test_a_case_in_two_formats_is_the_one_that_can_be_read(tmp_path: Path) -> None:
    _touch(tmp_path / "nifti" / "P7", *FREE)
    _touch(tmp_path / "mha" / "P7", "a_t1.mha", "a_t1ce.mha", "a_t2.mha", "a_flair.mha")
    result = search(tmp_path)
    assert [(case.name, case.missing, case.fault) for case in result.cases] == [("P7", (), None)]
    assert tmp_path / "mha" / "P7" in {left.path for left in result.leftovers}


def test_a_folder_that_cannot_be_listed_is_an_unclear_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is simulated, as root may read everything."""
    _touch(tmp_path / "P7", *FREE)
    locked, real = _touch(tmp_path / "P8"), os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder) == locked:
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr("htcnns.files.walk.os.scandir", refuse)
    result = search(tmp_path)
    assert [(case.name, bool(case.fault)) for case in result.cases] == [("P7", False), ("P8", True)]
    assert "P8: cannot be listed (Permission denied)" in str(result.cases[1].fault)


def _seconds_to_find(folder: Path, n: int) -> float:
    """Time that it takes to find n flat cases with a near miss each, the better of two attempts."""
    for number in range(n):
        _touch(folder, *(f"BraTS-GLI-{number:05}-000-{word}.nii.gz" for word in ("t1n", "t1c", "t2w")))
        _touch(folder, f"BraTS_GLI_{number:05}_000_flair.nii.gz")
    seconds = []
    for _ in range(2):
        began = time.process_time()
        rows = case_rows(search(folder))
        seconds.append(time.process_time() - began)
    assert (len(rows), {len(row.rename) for row in rows}) == (n, {1})
    return min(seconds)


@pytest.mark.slow
def test_flat_cases_with_as_many_near_misses_take_time_in_proportion_to_their_number(tmp_path: Path) -> None:
    """Comparing all with all would take sixteen times as long; 3,000 take 1.0 s on an idle machine."""
    few, many = (_seconds_to_find(tmp_path / str(n), n) for n in (750, 3000))
    assert many < 8 * few
    assert many < 4


def test_an_empty_folder_with_the_name_of_a_case_is_reported(tmp_path: Path) -> None:
    _touch(tmp_path / "P7", *FREE)
    _touch(tmp_path / "BraTS-GLI-00002-000", ".DS_Store")
    _touch(tmp_path / "notes")
    (tmp_path / "BraTS-GLI-00003-000" / "scans").mkdir(parents=True)
    (left,) = search(tmp_path).leftovers
    assert (left.path, left.reason) == (tmp_path / "BraTS-GLI-00002-000", "an empty folder with the name of a case")


@pytest.mark.parametrize("name", ["smith.john", "Brats18_2013.2_1", "P7"])
def test_a_broken_link_is_reported_whatever_its_name(tmp_path: Path, name: str) -> None:
    _touch(tmp_path / "P9", *FREE)
    (tmp_path / name).symlink_to("unmounted")
    (left,) = search(tmp_path).leftovers
    assert (left.path.name, left.reason) == (name, "a link that leads nowhere (No such file or directory)")


@pytest.mark.parametrize("name", ["IM000001", "1.3.12.2.1107.5", "DICOMDIR"])
def test_dicom_without_an_ending_is_recognised_by_its_content(tmp_path: Path, name: str) -> None:
    _touch(tmp_path / "P7", *FREE, "README", "short")
    (tmp_path / "P7" / "README").write_bytes(bytes(400))
    assert search(tmp_path).leftovers == ()
    _touch(tmp_path / "P8")
    (tmp_path / "P8" / name).write_bytes(bytes(128) + b"DICM" + bytes(9))
    (left,) = search(tmp_path).leftovers
    assert (left.path, left.reason) == (tmp_path / "P8", "1 DICOM file in it, to be converted to .nii.gz")


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz", ".TGZ", ".7z"])
def test_an_archive_is_reported(tmp_path: Path, ending: str) -> None:
    _touch(tmp_path / "P7", *FREE, f"BraTS-GLI-00002-000{ending}")
    (left,) = search(tmp_path).leftovers
    assert (left.path.name, left.reason) == (
        f"BraTS-GLI-00002-000{ending}",
        "an archive; unpack it if it holds scans",
    )


def test_a_zipped_scan_is_a_scan_in_another_format_and_not_an_archive(tmp_path: Path) -> None:
    _touch(tmp_path / "P7", *FREE, "a_t1.nii.gz.zip")
    (left,) = search(tmp_path).leftovers
    assert left.reason == "compressed, but not with gzip; convert it to .nii.gz"
