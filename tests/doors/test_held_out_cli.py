"""Cross-validation and tuning from the command line: files, tables and one sentence for a mistake."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prepared import TINY_RECIPE, write_phantoms

from htcnns.files.held_out_maps import MapCard, held_out_map, write_map_file
from htcnns.files.manifest import read_manifest
from htcnns.files.prepared_cases import CaseKind
from htcnns.labels import REGION_SETS
from htcnns.training import thresholds

pytestmark = pytest.mark.slow


@pytest.fixture
def cv(tmp_path: Path, htcnns: Callable) -> Callable:
    """A function that cross-validates two phantoms, with any further arguments."""
    packs = write_phantoms(tmp_path / "packs", ["a", "b"])
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_RECIPE)
    flags = ("--recipe", recipe, "--work", tmp_path / "work", "--out", tmp_path / "out", "--rules", "brats2021")
    return lambda *more: htcnns("cv", packs, *flags, "--source", "phantoms", "--device", "cpu", *more)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_scores_folds_and_tables_are_written(tmp_path: Path, cv: Callable) -> None:
    extra = write_phantoms(tmp_path / "extra", ["child"])
    said = cv("--folds", "2", "--extra", extra, "--table", tmp_path / "table.md")
    assert (said.code, said.err) == (0, "")
    assert "fold 0 holds out a\nfold 1 holds out b\n" in said.out
    assert "### Held-out cases: mean and 95 % interval over 2, brats2021" in said.out
    assert (tmp_path / "table.md").read_text() in said.out
    assert rows(tmp_path / "out" / "folds.csv") == [{"case": "a", "fold": "0"}, {"case": "b", "fold": "1"}]
    found = rows(tmp_path / "out" / "cross_validation.csv")
    assert [(row["voice"], row["case"], row["region"]) for row in found] == [
        (voice, case, region) for voice in ("unet", "unet, raw") for case in "ab" for region in ("WT", "TC", "ET")
    ]
    others = rows(tmp_path / "out" / "extra_cases.csv")
    assert {row["case"] for row in others} == {"child by fold 0", "child by fold 1"}


def test_scores_without_a_sequence_are_written_to_their_own_files(tmp_path: Path, cv: Callable) -> None:
    said = cv("--folds", "2", "--without", "t2f", "--without", "t1n")
    assert (said.code, said.err) == (0, "")
    assert "### Held-out cases without t2f: mean and 95 % interval over 2, brats2021" in said.out
    for name in ("without_t2f.csv", "without_t1n.csv"):
        assert [row["case"] for row in rows(tmp_path / "out" / name)] == ["a"] * 3 + ["b"] * 3 + ["a"] * 3 + ["b"] * 3


def test_a_member_trained_alone_in_every_fold_is_not_trained_again(tmp_path: Path, cv: Callable) -> None:
    said = cv("--folds", "2", "--only", "unet")
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("trained unet in every fold; run without --only for the scores\n")
    assert not (tmp_path / "out" / "cross_validation.csv").exists()
    weights = [tmp_path / "out" / f"fold-{fold}" / "unet.safetensors" for fold in range(2)]
    trained = [path.read_bytes() for path in weights]
    said = cv("--folds", "2")
    assert "unet: step" not in said.out
    assert [path.read_bytes() for path in weights] == trained
    assert rows(tmp_path / "out" / "cross_validation.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "case,fold\na,1\nb,0\n"),
        (
            "list.json",
            '{"training": [{"fold": 1, "label": "x/a_seg.nii.gz"}, {"fold": 0, "image": ["x/b/flair.nii"]}]}',
        ),
    ],
    ids=["CSV", "JSON"],
)
def test_a_list_of_folds_is_followed(tmp_path: Path, cv: Callable, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert cv("--folds", tmp_path / name).code == 0
    assert rows(tmp_path / "out" / "folds.csv") == [{"case": "a", "fold": "1"}, {"case": "b", "fold": "0"}]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--folds", "3"), 2, "--folds: 3 folds of 2 patients"),
        (("--folds", "nothing.csv"), 3, "nothing.csv: cannot be read"),
        (("--rules", "brats2024-gli"), 2, "--rules: brats2024-gli does not score what the members predict"),
        (("--without", "t3w"), 2, "t3w"),
        (("--only", "vnet"), 2, "--only: unknown member 'vnet'"),
        (("--only", "unet", "--source-cases", "{}"), 2, "--only: a transfer study trains every member"),
        (("--without", "t1c", "--source-cases", "{}"), 2, "--without: a transfer study does not leave sequences out"),
    ],
    ids=[
        "too many folds",
        "no list",
        "other rules",
        "unknown sequence",
        "unknown member",
        "study of one member",
        "study without a sequence",
    ],
)
def test_a_mistake_is_reported_before_anything_is_trained(
    tmp_path: Path, cv: Callable, arguments: tuple[str, ...], code: int, says: str
) -> None:
    others = write_phantoms(tmp_path / "others", ["c"])
    said = cv("--folds", "2", *(others if argument == "{}" else argument for argument in arguments))
    assert said.code == code
    assert says in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (("--table", "{}/out/cross_validation.csv"), "--table"),
        (("--table", "{}/out/../out/folds.csv"), "--table"),
        (("--table", "{}/out/transfer.csv"), "--table"),
        (("--table", "{}/out/extra_cases.csv"), "--table"),
        (("--folds", "{}/list.csv", "--table", "{}/list.csv"), "--table"),
        (("--folds", "{}/list.csv", "--table", "{}/link.csv"), "--table"),
        (("--folds", "{}/out/folds.csv"), "--folds"),
    ],
    ids=["scores", "folds", "transfer", "extra", "list", "link to the list", "the user's folds"],
)
def test_no_file_of_a_cross_validation_overwrites_another(
    tmp_path: Path, cv: Callable, arguments: tuple[str, ...], setting: str
) -> None:
    (tmp_path / "out").mkdir()
    for path in (tmp_path / "list.csv", tmp_path / "out" / "folds.csv"):
        path.write_text("case,fold\na,1\nb,0\n")
    (tmp_path / "link.csv").symlink_to("list.csv")
    said = cv("--folds", "2", *(argument.format(tmp_path) for argument in arguments))
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"htcnns: {setting}: ")
    assert "would be overwritten" in said.err
    assert {path.read_text() for path in tmp_path.rglob("*.csv")} == {"case,fold\na,1\nb,0\n"}


@pytest.fixture
def others(tmp_path: Path) -> tuple[object, ...]:
    """Flags for a source population and two synthetic heads, one of which has a measured patient's tumour."""
    source = write_phantoms(tmp_path / "source", ["s", "t"])
    grown = write_phantoms(tmp_path / "grown", ["grown"], kind=CaseKind.SYNTHETIC)
    copied = write_phantoms(tmp_path / "copied", ["copied"], kind=CaseKind.SYNTHETIC, patients=("b",))
    return "--source-cases", source, "--synthetic-cases", grown, "--synthetic-cases", copied


@pytest.mark.slow
def test_with_source_and_synthetic_cases_cv_is_a_transfer_study(
    tmp_path: Path, cv: Callable, others: tuple[object, ...]
) -> None:
    extra = write_phantoms(tmp_path / "extra", ["child"])
    said = cv("--folds", "2", "--extra", extra, "--table", tmp_path / "table.md", *others)
    assert (said.code, said.err) == (0, "")
    text = (tmp_path / "table.md").read_text()
    assert text in said.out
    assert "### Target population, whole masks: mean and 95 % interval over 2 cases" in text
    assert "### Extra cases, which no member saw, whole masks: case child" in text
    assert "- Synthetic heads: 1, one fit, without 1 that carry a tumour of a measured patient" in text
    names = ("scratch", "source", "TR", "synthetic", "synthetic-then-real")
    found = rows(tmp_path / "out" / "cross_validation.csv")
    assert [(row["voice"], row["case"], row["region"]) for row in found] == [
        (f"{name}: unet", case, region) for name in names for case in "ab" for region in ("WT", "TC", "ET")
    ]
    means = rows(tmp_path / "out" / "transfer.csv")
    first = next(row for row in means if (row["region"], row["score"]) == ("WT", "dice"))
    of_cases = [float(row["dice"]) for row in found if (row["voice"], row["region"]) == ("scratch: unet", "WT")]
    assert float(first["mean"]) == pytest.approx(sum(of_cases) / 2)
    assert {(row["population"], row["row"]) for row in means} == {
        (population, f"{name}: unet") for population in ("target", "extra") for name in names
    }


def test_synthetic_cases_alone_are_enough(tmp_path: Path, cv: Callable, others: tuple[object, ...]) -> None:
    said = cv("--folds", "2", *others[2:])
    assert (said.code, said.err) == (0, "")
    assert {row["row"] for row in rows(tmp_path / "out" / "transfer.csv")} == {
        f"{name}: unet" for name in ("scratch", "synthetic", "synthetic-then-real")
    }


def test_a_source_patient_who_is_also_measured_is_refused(tmp_path: Path, cv: Callable) -> None:
    source = write_phantoms(tmp_path / "source", ["earlier"], patients=("a",))
    said = cv("--folds", "2", "--source-cases", source)
    assert said.code == 2
    assert said.err.startswith("htcnns: --source-cases: earlier: same patient as a measured case; expected")
    assert not (tmp_path / "out").exists()


def test_the_output_of_cv_can_be_tuned(
    tmp_path: Path, cv: Callable, htcnns: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "_SIZES", (0,))
    monkeypatch.setattr(thresholds, "_THRESHOLDS", (0.3, 0.5))
    assert cv("--folds", "2").code == 0
    said = htcnns("tune", tmp_path / "out", "--out", tmp_path / "tuned")
    assert (said.code, said.err) == (0, "")
    assert "unet: without fold 1" in said.out
    assert "| unet | 2 |" in said.out
    scores = rows(tmp_path / "tuned" / "cross_validation.csv")
    assert [(row["voice"], row["case"]) for row in scores] == [("unet", case) for case in "aaabbb"]
    assert (
        "### Held-out cases, rules tuned on the other folds: mean and 95 % interval over 2, brats2023-gli" in said.out
    )
    (member,) = read_manifest(tmp_path / "tuned")
    assert member.scores["tuning"]["unet"]["n_cases"] == 2


@pytest.mark.parametrize(
    ("out", "rules", "says"),
    [
        ("tuned", "brats2024-gli", "--rules: brats2024-gli does not score what the members predict"),
        (
            "out",
            "brats2021",
            ": its scores would be replaced; expected a folder other than that of the cross-validation.",
        ),
    ],
    ids=["other rules", "the folder of cv"],
)
def test_what_cannot_be_tuned_is_refused_before_the_search(
    tmp_path: Path, cv: Callable, htcnns: Callable, out: str, rules: str, says: str
) -> None:
    assert cv("--folds", "2").code == 0
    before = (tmp_path / "out" / "cross_validation.csv").read_bytes()
    said = htcnns("tune", tmp_path / "out", "--out", tmp_path / out, "--rules", rules)
    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert (tmp_path / "out" / "cross_validation.csv").read_bytes() == before
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize("rules", ["brats2023-gli", "brats2024-gli"])
def test_regions_that_cannot_be_tuned_are_refused_under_any_rules(tmp_path: Path, htcnns: Callable, rules: str) -> None:
    regions = REGION_SETS["wt-tc-et-rc"].regions
    for fold in range(2):
        card = MapCard(
            case=f"case-{fold}",
            fold=fold,
            is_held_out=True,
            members=("vnet",),
            regions=tuple(region.name for region in regions),
            key="k",
        )
        content = held_out_map(card, np.zeros((1, 4, 8, 8, 8), np.float32), np.zeros((8, 8, 8), np.uint8))
        (tmp_path / f"fold-{fold}" / "maps").mkdir(parents=True)
        write_map_file(tmp_path / f"fold-{fold}" / "maps", content)
    said = htcnns("tune", tmp_path, "--out", tmp_path / "tuned", "--rules", rules)
    assert (said.code, said.out) == (3, "")
    assert said.err == (
        "htcnns: held-out cases with regions that cannot be tuned; found WT TC ET RC, expected WT TC ET. "
        "Set thresholds and clean-up by hand, under [rules] of a recipe.\n"
    )
    assert not (tmp_path / "tuned").exists()


def test_a_folder_that_cv_did_not_make_is_refused(tmp_path: Path, htcnns: Callable) -> None:
    said = htcnns("tune", tmp_path, "--out", tmp_path / "tuned")
    assert said.code == 3
    assert "no held-out probabilities there; expected the output folder of a cross-validation" in said.err
    assert not (tmp_path / "tuned").exists()
