"""Every value that the official code returned for the sixteen hard pairs, and scoring without importing torch."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from htcnns.files.nifti import read_label_map
from htcnns.scores.case import CaseScores, score_case
from htcnns.scores.official_names import official_scores
from htcnns.scores.rules import RULES
from htcnns.volume import Volume

TOLERANCE = {"2023": 1e-9, "2024": 1e-9, "2025": 1e-9, "2026": 1e-6}
CHALLENGES = {
    "2023|BraTS-GLI": "brats2023-gli",
    "2023|BraTS-MET": "brats2023-met",
    "2023|BraTS-MEN": "brats2023-men",
    "2024|BraTS-GLI": "brats2024-gli",
    "2024|BraTS-SSA": "brats2024-ssa",
    "2024|BraTS-PED": "brats2024-ped",
    "2024|BraTS-MET": "brats2024-met",
    "2024|BraTS-MEN-RT": "brats2024-men-rt",
    "2025|BraTS-MET": "brats2025-met",
    "2025|BraTS-MEN": "brats2025-men",
    "2026|gli": "brats2026-gli",
    "2026|mets": "brats2026-met",
}


@pytest.mark.slow
@pytest.mark.parametrize("challenge", CHALLENGES)
def test_every_official_value_is_reproduced(data: Path, challenge: str) -> None:
    expected, found = _both(data, challenge)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(
        list(found.values()), list(expected.values()), rtol=0, atol=TOLERANCE[challenge[:4]], equal_nan=True
    )


def test_verified_rules_are_those_with_official_values() -> None:
    assert {name for name, row in RULES.items() if row.verified} == set(CHALLENGES.values())


def test_every_challenge_in_the_official_file_is_tested(data: Path) -> None:
    assert {key.rsplit("|", 1)[0] for key in _official(data)} == set(CHALLENGES)


@pytest.mark.slow
def test_scores_import_without_torch() -> None:
    rooms = "case, evaluation, instance_scheme, lesion_scheme, metrics, official_names, statistics, surfaces"
    code = f"import sys; from htcnns.scores import {rooms}; sys.exit('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")


Values = dict[tuple[str, str, str], float]


def _both(data: Path, challenge: str) -> tuple[Values, Values]:
    """Official and own values of a challenge by case, region and official name, in the same order."""
    expected, found = {}, {}
    for key, entry in _official(data).items():
        name = key.removeprefix(f"{challenge}|")
        if name != key:
            scores = _scores(data, name, CHALLENGES[challenge])
            expected |= {(name, r, k): float(v) for r, values in entry["regions"].items() for k, v in values.items()}
            found |= {(name, r, k): _own(scores, challenge, r)[k] for n, r, k in expected if n == name}
    return expected, found


def _own(scores: CaseScores, challenge: str, region: str) -> dict[str, float]:
    return official_scores(scores[region.upper()], RULES[CHALLENGES[challenge]])


@cache
def _official(data: Path) -> dict:
    return json.loads((data / "scores" / "official.json").read_text())


@cache
def _read(path: Path) -> Volume:
    return read_label_map(path)


@cache
def _scores(data: Path, name: str, rules: str) -> CaseScores:
    prediction, truth = (_read(data / "scores" / f"{name}-{side}.nii.gz") for side in ("pred", "gt"))
    return score_case(prediction.array, truth.array, prediction.spacing_mm, rule=RULES[rules])
