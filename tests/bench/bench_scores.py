"""How long all 2023 glioma scores of a case take, against MONAI's HD95 alone on the same masks.

Arrays in memory, one warm-up and five runs of each, in turn; medians. Run: make bench-scores DATA=folder
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from htcnns.files.nifti import read_label_map
from htcnns.scores.case import score_case
from htcnns.scores.rules import RULES

CASES = ("single1", "multi1", "mets1", "tiny1")
RUNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with scores/")
    folder = parser.parse_args().data / "scores"
    warnings.filterwarnings("ignore", module="monai")
    rows = [measure(folder, case) for case in CASES]
    rows.append(("median", median(row[1] for row in rows), median(row[2] for row in rows)))
    print(f"{'case':10} {'htcnns ms':>10} {'MONAI HD95 ms':>14} {'ratio':>6}")
    for name, ours_ms, theirs_ms in rows:
        print(f"{name:10} {ours_ms:10.0f} {theirs_ms:14.0f} {theirs_ms / ours_ms:6.1f}")


def measure(folder: Path, case: str) -> tuple[str, float, float]:
    """The case's name, the median ms of all our scores, the median ms of MONAI's HD95."""
    from monai.metrics import compute_hausdorff_distance  # optional: a dev dependency

    prediction, truth = (read_label_map(folder / f"{case}-{side}.nii.gz") for side in ("pred", "gt"))
    rule = RULES["brats2023-gli"]
    regions = [torch.from_numpy(region_masks(v.array, rule.regions)) for v in (prediction, truth)]
    ours, theirs = timed_in_turn(
        lambda: score_case(prediction.array, truth.array, prediction.spacing_mm, rule=rule),
        lambda: compute_hausdorff_distance(*regions, include_background=True, percentile=95),
    )
    return case, ours, theirs


def region_masks(label_map: np.ndarray, regions: tuple) -> np.ndarray:
    """(1, 3, I, J, K) float32 masks, as MONAI takes them."""
    return np.stack([np.isin(label_map, region.numbers) for region in regions])[None].astype(np.float32)


def timed_in_turn(*calls: Callable[[], object]) -> list[float]:
    """The median ms of each call, taken in turn so that a busy machine slows them alike."""
    times: list[list[float]] = [[] for _ in calls]
    for run in range(RUNS + 1):
        for call, taken in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(1000 * (time.perf_counter() - start))
        if run == 0:
            times = [[] for _ in calls]
    return [median(taken) for taken in times]


if __name__ == "__main__":
    main()
