"""The Python interface says and does what the command line does."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import htcnns
from htcnns.errors import InputError, OutputError, SettingsError
from htcnns.files.nifti import read_label_map
from htcnns.labels import Sequence
from htcnns.runs.plan import plan_run

SCANS = ("t1n", "t1c", "t2w", "t2f")


@pytest.fixture
def scans(tmp_path: Path, make_case: Callable[..., Path]) -> dict[str, Path]:
    folder = make_case(tmp_path / "in", "BraTS-GLI-00001-000")
    return {name: next(folder.rglob(f"*-{name}.nii.gz")) for name in SCANS}


def test_segment_returns_what_its_mask_holds(tmp_path: Path, scans: dict[str, Path], tiny_weights: Path) -> None:
    settings = htcnns.RunSettings(weights=tiny_weights, precision="fp32")
    answer = htcnns.segment(**scans, output=tmp_path / "mask.nii.gz", settings=settings)
    written = read_label_map(tmp_path / "mask.nii.gz").array
    np.testing.assert_array_equal(written, answer.label_map)
    assert answer.volumes_ml["WT"] == pytest.approx((written > 0).sum() / 1000, abs=1e-3)


@pytest.mark.slow
def test_a_folder_gets_the_same_mask_as_its_case(tmp_path: Path, scans: dict[str, Path], tiny_weights: Path) -> None:
    settings = htcnns.RunSettings(weights=tiny_weights, precision="fp32", labels="brats2021")
    answer = htcnns.segment(**scans, settings=settings)
    outcomes = htcnns.segment_folder(
        tmp_path / "in", tmp_path / "out", settings=replace(settings, report=tmp_path / "r.json")
    )
    written = read_label_map(tmp_path / "out" / "BraTS-GLI-00001-000.nii.gz").array
    np.testing.assert_array_equal(written == 4, answer.label_map == 3)
    assert [outcome.state for outcome in outcomes] == ["done"]
    assert (tmp_path / "r.json").is_file()


def test_without_a_dataset_json_channels_follow_the_order_given(
    tmp_path: Path, scans: dict[str, Path], tiny_weights: Path
) -> None:
    (tmp_path / "nnunet").mkdir()
    order = (Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W)
    links = [(tmp_path / "nnunet" / f"P7_{n:04}.nii.gz").symlink_to(scans[name]) for n, name in enumerate(order)]
    settings = htcnns.RunSettings(weights=tiny_weights, precision="fp32", channels=order)
    (outcome,) = htcnns.segment_folder(tmp_path / "nnunet", tmp_path / "out", settings=settings)
    expected = htcnns.segment(**scans, settings=replace(settings, channels=None)).volumes_ml
    assert (len(links), outcome.case, outcome.volumes_ml) == (4, "P7", expected)


@pytest.mark.parametrize("wrong", [{"fusion": "stapel"}, {"labels": "brats1999"}], ids=str)
def test_a_wrong_setting_is_refused_before_any_work(wrong: dict) -> None:
    with pytest.raises(SettingsError, match=rf"^{next(iter(wrong))}: unknown .*; expected one of"):
        htcnns.RunSettings(**wrong)


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path, scans: dict[str, Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file: cannot be written"):
        htcnns.segment(**scans, output=tmp_path / "file" / "mask.nii.gz")


@pytest.mark.parametrize("setting", [{"report": "r.json"}, {"previews": "p"}, {"on_failure": "empty"}], ids=str)
def test_a_folder_setting_is_refused_for_one_case(scans: dict[str, Path], setting: dict) -> None:
    with pytest.raises(SettingsError, match=rf"^{next(iter(setting))}: has no effect on one case"):
        htcnns.segment(**scans, settings=htcnns.RunSettings(**setting))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'segmnet'"):
        htcnns.segmnet  # noqa: B018


@pytest.mark.parametrize("below", [".", "pictures"])
@pytest.mark.parametrize("setting", ["probabilities", "previews"])
def test_nothing_but_masks_may_go_to_the_output_folder(tmp_path: Path, setting: str, below: str) -> None:
    settings = htcnns.RunSettings(**{setting: tmp_path / "out" / below})
    with pytest.raises(
        SettingsError, match=f"^{setting}: .* lies in the output folder .*out, where only masks may lie"
    ):
        plan_run(tmp_path, tmp_path / "out", settings)


def test_a_report_in_the_output_folder_is_refused(tmp_path: Path) -> None:
    settings = htcnns.RunSettings(report=tmp_path / "out" / "report.json")
    with pytest.raises(SettingsError, match=r"^report: .*report\.json lies in the output folder"):
        plan_run(tmp_path, tmp_path / "out", settings)


def test_an_empty_output_is_refused(scans: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"^output: an empty string; expected a path"):
        htcnns.segment(**scans, output="")
    with pytest.raises(SettingsError, match=r"^output: an empty string"):
        htcnns.segment_folder(tmp_path / "in", "")
    with pytest.raises(SettingsError, match=r"^report: an empty string"):
        htcnns.RunSettings(report="")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_output_that_is_a_folder_is_refused_before_any_work(tmp_path: Path, scans: dict[str, Path]) -> None:
    (tmp_path / "mask.nii.gz").mkdir()
    with pytest.raises(OutputError, match=r"^output: .*mask\.nii\.gz: is a folder"):
        htcnns.segment(**scans, output=tmp_path / "mask.nii.gz")


def test_a_mask_is_written_where_its_link_leads(tmp_path: Path, scans: dict[str, Path], tiny_weights: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "mask.nii.gz").symlink_to("store/0001.nii.gz")
    settings = htcnns.RunSettings(weights=tiny_weights, members=("unet",), precision="fp32")
    answer = htcnns.segment(**scans, output=tmp_path / "mask.nii.gz", settings=settings)
    assert (tmp_path / "mask.nii.gz").is_symlink()
    np.testing.assert_array_equal(read_label_map(tmp_path / "store" / "0001.nii.gz").array, answer.label_map)


@pytest.mark.parametrize("target", ["/dev/null", "/dev/stdout", "pipe"])
def test_a_mask_never_replaces_a_device_or_a_pipe(tmp_path: Path, scans: dict[str, Path], target: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "mask.nii.gz").symlink_to(target)
    with pytest.raises(OutputError, match=r"^output: .*: is (a device, a pipe or a socket|where the printed lines go)"):
        htcnns.segment(**scans, output=tmp_path / "mask.nii.gz")
    assert (tmp_path / "mask.nii.gz").is_symlink()
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.slow
@pytest.mark.parametrize("missing", SCANS)
def test_a_case_without_one_sequence_is_segmented_if_allowed(
    tmp_path: Path, scans: dict[str, Path], tiny_weights: Path, missing: str
) -> None:
    settings = htcnns.RunSettings(weights=tiny_weights, precision="fp32", allow_missing=True)
    answer = htcnns.segment(**scans | {missing: None}, output=tmp_path / "mask.nii.gz", settings=settings)
    assert f"{missing} is missing: the networks saw nothing in its place" in answer.notes
    scans[missing].unlink()
    (outcome,) = htcnns.segment_folder(tmp_path / "in", tmp_path / "out", settings=settings)
    assert (outcome.state, outcome.missing) == ("done", (missing,))
    assert (tmp_path / "out" / "BraTS-GLI-00001-000.nii.gz").read_bytes() == (tmp_path / "mask.nii.gz").read_bytes()
    (again,) = htcnns.segment_folder(tmp_path / "in", tmp_path / "out", settings=settings)
    assert again.state == ("kept" if answer.label_map.any() else "done")


@pytest.mark.parametrize(("allowed", "missing"), [(False, ("t2f",)), (True, ("t1n", "t1c"))])
def test_a_case_missing_more_sequences_than_allowed_is_refused(
    tmp_path: Path, scans: dict[str, Path], tiny_weights: Path, allowed: bool, missing: tuple[str, ...]
) -> None:
    settings = htcnns.RunSettings(weights=tiny_weights, allow_missing=allowed)
    with pytest.raises(InputError, match=f"{', '.join(missing)} missing; found"):
        htcnns.segment(**scans | dict.fromkeys(missing), settings=settings)
    for name in missing:
        scans[name].unlink()
    (outcome,) = htcnns.segment_folder(tmp_path / "in", tmp_path / "out", settings=settings)
    assert (outcome.state, outcome.mask) == ("failed", None)
    assert f"{', '.join(missing)} missing" in outcome.error
