"""Training, packing and synthesis from the command line: what is printed, written and refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prepared import TINY_RECIPE, write_phantoms

from htcnns.files.manifest import read_manifest
from htcnns.reports.gallery import Shown
from htcnns.training.synthesis.contrasts import Contrasts
from htcnns.training.synthesis.series import Material

ANATOMY = ("--anatomy", "heads")
SHAPES = ("--shapes", "brats2021=shapes")


def test_cases_to_validate_on_are_scored_and_shown(tmp_path: Path, htcnns: Callable) -> None:
    packs, others = write_phantoms(tmp_path / "packs", ["a", "b"]), write_phantoms(tmp_path / "others", ["c"])
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_RECIPE.replace("steps = 2", "steps = 4"))
    folders = ("--work", tmp_path / "work", "--out", tmp_path / "weights")
    flags = ("--recipe", recipe, *folders, "--source", "phantoms", "--device", "cpu")
    said = htcnns("train", packs, *flags, "--validate-on", others, "--validate-every", "3")
    assert (said.code, said.err) == (0, "")
    looks = [line for line in said.out.splitlines() if "validation Dice" in line]
    assert [line.split(",")[0] for line in looks] == ["unet: step 3 of 4", "unet: step 4 of 4"]
    assert all(" WT 0." in line and ", ET 0." in line for line in looks)
    names = {path.name for path in (tmp_path / "work" / "unet").iterdir()}
    assert names == {"checkpoint.pt", "curves.csv", "curves.png", "validation.csv"}


@pytest.fixture
def train(tmp_path: Path, htcnns: Callable) -> Callable:
    """A function that trains on three phantoms, with any further arguments."""
    packs = write_phantoms(tmp_path / "packs", ["a", "b", "c"])
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    folders = ("--work", tmp_path / "work", "--out", tmp_path / "weights")
    flags = ("--recipe", tmp_path / "tiny.toml", *folders, "--source", "phantoms", "--device", "cpu")
    return lambda *more: htcnns("train", packs, *flags, *more)


def test_a_fold_of_a_list_is_scored_and_not_trained_on(tmp_path: Path, train: Callable) -> None:
    entries = [{"fold": int(name == "b"), "image": [f"Data/{name}/{name}_flair.nii.gz"]} for name in "abc"]
    (tmp_path / "folds.json").write_text(json.dumps({"training": entries}))
    said = train("--folds", tmp_path / "folds.json", "--fold", "1")
    assert (said.code, said.err) == (0, "")
    (member,) = read_manifest(tmp_path / "weights")
    assert member.trained_on["cases"] == ["a", "c"]
    rows = (tmp_path / "work" / "unet" / "validation.csv").read_text().splitlines()
    assert {row.split(",")[1] for row in rows[1:]} == {"b"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--folds", "3"), "--fold: is missing; expected folds, and the number of the one that is held out"),
        (("--fold", "0"), "--folds: is missing"),
        (("--folds", "3", "--fold", "3"), "--fold: no fold 3; expected 0 to 2"),
    ],
    ids=["no fold", "no folds", "too high"],
)
def test_a_fold_that_cannot_be_held_out_is_refused(train: Callable, arguments: tuple, says: str) -> None:
    said = train(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"htcnns: {says}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--frozen-stages", "1"), "--frozen-stages: has no effect without weights to start from."),
        (("--early-rate", "0.5"), "--early-rate: has no effect without weights to start from."),
        (("--validate-every", "500"), "--validate-every: has no effect without cases to validate on."),
        (("--threads", "-2"), "Invalid value for '--threads'"),
        (("--workers", "-1"), "Invalid value for '--workers'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_setting_without_effect_or_meaning_is_refused_before_training(
    tmp_path: Path, train: Callable, arguments: tuple[str, str], says: str
) -> None:
    said = train(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"htcnns: {says}")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--cavities", "2"), "--cavities: not a share; found 2.0, expected a number from 0 to 1. Use for instance"),
        (("--seed", "-1"), "Invalid value for '--seed'"),
        (("--first", "-1"), "Invalid value for '--first'"),
        (("--patients", "p.csv"), "--patients: has no effect on phantoms. "),
        (("--beside", "brats2023=in"), "--beside: has no effect on phantoms. "),
        ((*ANATOMY, "--beside", "brats2023=in"), "--beside: has no effect without a gallery. Leave it out, or name"),
        ((*ANATOMY, "--packed", "--labels", "brats2023"), "--labels: has no effect on packed cases"),
        ((*ANATOMY, "--without", "packs"), "--without: has no effect without shapes. "),
        ((*ANATOMY, "--packed", "--patients", "p.csv"), "--patients: has no effect without shapes. "),
        ((*ANATOMY, *SHAPES, "--patients", "p.csv"), "--patients: has no effect without packed cases. "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_synthesis_setting_without_effect_or_meaning_is_refused(
    tmp_path: Path, htcnns: Callable, arguments: tuple[str, ...], says: str
) -> None:
    said = htcnns("synthesise", "1", tmp_path / "out", *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"htcnns: {says}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--labels", "brats2021"),
            "--labels: an npz of cubes takes one label set, without a pattern",
        ),
        (("--unlabelled", "a"), "--unlabelled: has no effect on an npz of cubes."),
    ],
    ids=["labels", "unlabelled"],
)
def test_what_has_no_effect_on_cubes_is_refused(
    tmp_path: Path, htcnns: Callable, arguments: tuple[str, str], says: str
) -> None:
    said = htcnns("pack", tmp_path / "cubes.npz", tmp_path / "out", "--labels", "brats2023", *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"htcnns: {says}")


def test_a_pattern_for_cubes_is_refused(tmp_path: Path, htcnns: Callable) -> None:
    said = htcnns("pack", tmp_path / "cubes.npz", tmp_path / "out", "--labels", "brats2023=BraTS-*")
    assert said.err.startswith("htcnns: --labels: an npz of cubes takes one label set, without a pattern")


def test_nnunet_names_without_an_order_point_only_to_dataset_json(
    tmp_path: Path, htcnns: Callable, nnunet: Path
) -> None:
    said = htcnns("pack", nnunet, tmp_path / "out", "--labels", "brats2023")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith(f"htcnns: {nnunet}: names such as CASE_0000.nii.gz, but no dataset.json")
    assert said.err.endswith(". Name each channel in a dataset.json there: T1, T1ce, T2 or FLAIR.\n")


def test_an_unknown_channel_points_only_to_dataset_json_as_no_order_can_be_given(
    tmp_path: Path, htcnns: Callable, nnunet: Path
) -> None:
    (nnunet / "dataset.json").write_text('{"channel_names": {"0": "T1", "1": "ADC"}}')
    said = htcnns("pack", nnunet, tmp_path / "out", "--labels", "brats2023")
    assert said.err.startswith(f"htcnns: {nnunet}/dataset.json: unknown channel ADC;")
    assert said.err.endswith(". Name each channel in a dataset.json there: T1, T1ce, T2 or FLAIR.\n")


@pytest.fixture
def synthesise(tmp_path: Path, htcnns: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """A function that runs `synthesise` for one head, with any further arguments; no head is really made."""
    shown = Shown("head", np.zeros((4, 24, 24, 24), np.float32), np.zeros((24, 24, 24), np.uint8))
    material = Material(anatomies={}, shapes=(), contrasts=Contrasts())
    monkeypatch.setattr("htcnns.training.synthesis.series.read_material", lambda *_: material)
    monkeypatch.setattr("htcnns.training.synthesis.series.write_series", lambda *_, **__: (tmp_path / "out").mkdir())
    monkeypatch.setattr("htcnns.training.synthesis.shown._synthetic", lambda *_, **__: iter([shown]))
    return lambda *more: htcnns("synthesise", 1, tmp_path / "out", "--anatomy", tmp_path, *more)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "is a device, a pipe or a socket"),
        (os.mkdir, "is a folder"),
        (lambda path: path.symlink_to("/dev/null"), "is a device, a pipe or a socket"),
    ],
    ids=["pipe", "folder", "device"],
)
def test_a_gallery_that_cannot_be_written_is_reported_before_a_head_is_made(
    tmp_path: Path, synthesise: Callable, make: Callable[[Path], None], says: str
) -> None:
    make(tmp_path / "heads.png")
    said = synthesise("--gallery", tmp_path / "heads.png")
    assert (said.code, said.out) == (6, "")
    assert said.err.startswith(f"htcnns: --gallery: {tmp_path}/heads.png: {says}")
    assert not (tmp_path / "out").exists()


def test_a_gallery_is_written_where_its_link_leads(tmp_path: Path, synthesise: Callable) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "heads.png").symlink_to("store/heads.png")
    said = synthesise("--gallery", tmp_path / "heads.png")
    assert (said.code, said.err, (tmp_path / "heads.png").is_symlink()) == (0, "", True)
    assert (tmp_path / "store" / "heads.png").read_bytes().startswith(b"\x89PNG")
