"""Comparing cohorts from the command line: same or other scanner, by images or by a member, and what is refused."""

import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from htcnns.labels import SEQUENCES

EXPONENTS = (0.7, 0.65, 1.4, 0.75)  # what the other scanner makes of t1n, t1c, t2w, t2f


@pytest.fixture(scope="session")
def cohorts(tmp_path_factory: pytest.TempPathFactory, make_case: Callable[..., Path]) -> Path:
    """Folders `one` and `other` of phantoms of one population, and `rescanned`: `other` by another scanner."""
    root = tmp_path_factory.mktemp("cohorts")
    for seed in range(24):
        name = f"BraTS-GLI-{seed:05}-000"
        home = make_case(root / ("other" if seed % 2 else "one"), name, seed=seed)
        if seed % 2:
            (root / "rescanned" / name).mkdir(parents=True)
            for sequence, exponent in zip(SEQUENCES, EXPONENTS, strict=True):
                file = f"{name}-{sequence}.nii.gz"
                image = nib.load(home / file)
                scan = np.asarray(image.dataobj, np.float32)
                bent = scan.max() * (scan / scan.max()) ** exponent
                nib.save(nib.Nifti1Image(bent.astype(np.int16), image.affine), root / "rescanned" / name / file)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(("second", "verdict"), [("other", "not told apart"), ("rescanned", "told apart")])
def test_two_scanners_are_told_apart_and_one_population_is_not(
    tmp_path: Path, cohorts: Path, htcnns: Callable, second: str, verdict: str
) -> None:
    said = htcnns("cohorts", cohorts / "one", cohorts / second, "--out", tmp_path / "map.png")
    assert (said.code, said.err) == (0, "")
    *read, sizes, accuracy, answer, where = said.out.splitlines()
    assert len(read) == 24
    assert sizes == f"12 in one and 12 in {second}, by their images"
    assert accuracy.startswith("nearest neighbour in the same cohort: ")
    assert answer == f"{verdict} (told apart: p at most 0.05)"
    assert where == f"picture in {tmp_path}/map.png"
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_features_of_a_member_are_compared(tmp_path: Path, cohorts: Path, htcnns: Callable, tiny_weights: Path) -> None:
    flags = ("--out", tmp_path / "map.png", "--weights", tiny_weights, "--device", "cpu")
    said = htcnns("cohorts", cohorts / "one", cohorts / "rescanned", *flags, "--member", "unet")
    assert (said.code, said.err) == (0, "")
    assert "12 in one and 12 in rescanned, by their features in unet\n" in said.out
    said = htcnns("cohorts", cohorts / "one", cohorts / "rescanned", *flags)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("htcnns: --member: several members; found unet, transbts, axial_unet")


def test_a_patient_in_both_cohorts_is_refused(tmp_path: Path, htcnns: Callable, make_case: Callable) -> None:
    for folder, visit in (("a", "000"), ("b", "001")):
        make_case(tmp_path / folder, f"BraTS-GLI-00007-{visit}")
    said = htcnns("cohorts", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "map.png")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith("htcnns: BraTS-GLI-00007 in both cohorts; found 1 patients")
    assert not (tmp_path / "map.png").exists()


def test_nnunet_names_without_an_order_point_only_to_dataset_json(
    tmp_path: Path, htcnns: Callable, nnunet: Path
) -> None:
    said = htcnns("cohorts", nnunet, nnunet, "--out", tmp_path / "map.png")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith(f"htcnns: {nnunet}: names such as CASE_0000.nii.gz, but no dataset.json")
    assert said.err.endswith(". Name each channel in a dataset.json there: T1, T1ce, T2 or FLAIR.\n")


@pytest.fixture
def unreadable(tmp_path: Path, make_case: Callable[..., Path]) -> Callable[[int], tuple[Path, Path]]:
    """A function that makes two folders of n patients each, whose scans would be refused if they were read."""

    def run(n: int) -> tuple[Path, Path]:
        for number in range(2 * n):
            home = make_case(tmp_path / ("b" if number % 2 else "a"), f"BraTS-GLI-{number:05}-000")
            for scan in home.iterdir():
                scan.write_bytes(b"")
        return tmp_path / "a", tmp_path / "b"

    return run


def test_too_few_patients_are_refused_before_a_case_is_read(
    tmp_path: Path, htcnns: Callable, unreadable: Callable
) -> None:
    said = htcnns("cohorts", *unreadable(3), "--out", tmp_path / "map.png")
    assert (said.code, said.out) == (3, "")
    assert said.err == (
        "htcnns: too few patients to compare; found 3 and 3, expected at least 4 in each cohort, or more in one "
        "of them. Give more cases.\n"
    )


def test_without_scikit_learn_no_case_is_read(
    tmp_path: Path, htcnns: Callable, unreadable: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    said = htcnns("cohorts", *unreadable(4), "--out", tmp_path / "map.png")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("htcnns: map of cohorts: scikit-learn is not installed. Install it: ")


def test_a_picture_that_cannot_be_written_is_reported_first(tmp_path: Path, htcnns: Callable) -> None:
    said = htcnns("cohorts", tmp_path / "gone", tmp_path / "gone", "--out", tmp_path)
    assert said.code == 6
    assert said.err.startswith(f"htcnns: --out: {tmp_path}: is a folder")
