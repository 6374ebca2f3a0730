"""`make bench`: the same networks over the same prepared cases, by htcnns and by nnU-Net v2's own predictor.

nnU-Net is no dependency: `--nnunet DIR` is where `pip install --no-deps --target DIR -r tests/bench/nnunet.txt` put it.
Run with both cores free: python tests/bench/bench_nnunet.py --data DIR --nnunet DIR
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from htcnns.files.cases import find_cases
from htcnns.files.manifest import read_manifest, shipped_weights
from htcnns.image.fusion import fuse
from htcnns.image.postprocess import postprocess
from htcnns.labels import LABEL_SETS, SEQUENCES, Region, region_mask
from htcnns.networks.contract import Network, region_probabilities
from htcnns.runs.ensemble import Ensemble, start_ensemble
from htcnns.runs.pipeline import ReadyCase, prepare_case, segment_prepared
from htcnns.runs.settings import RunSettings

N_CASES = 4
STEP = 0.4  # nnU-Net's word for an overlap of 0.6, as in HT-CNNs
PATCH = (128, 128, 128)
LEAST_RATIO, MOST_GIB = 3.0, 3.0
DATASET = {  # nnU-Net's own words for three overlapping regions, numbered as in BraTS 2023
    "labels": {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3},
    "regions_class_order": [2, 1, 3],
    "channel_names": {"0": "t1n", "1": "t1c", "2": "t2w", "3": "t2f"},
    "file_ending": ".nii.gz",
}


def main() -> int:
    """Print the figures; 0 when every bar holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--nnunet", type=Path, required=True)
    options = parser.parse_args()
    sys.path.append(str(options.nnunet))  # last, so that our own packages stay as they are pinned
    ensemble = start_ensemble(read_manifest(shipped_weights()), device="auto", precision="auto")
    cases = find_cases(options.data / "brats")[:N_CASES]
    seconds: dict[str, list[float]] = {"htcnns": [], "nnU-Net": []}
    dice: list[list[float]] = []
    peak_gib = 0.0
    for case in cases:
        prepared = prepare_case(case, ensemble)
        ours, took = _timed(lambda prepared=prepared: _ours(prepared, ensemble))
        seconds["htcnns"].append(took)
        if not dice:  # later it would be nnU-Net's
            peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        theirs, took = _timed(lambda prepared=prepared: _theirs(prepared, ensemble))
        seconds["nnU-Net"].append(took)
        dice.append([_dice(ours, theirs, region) for region in ensemble.regions.regions])
        print(f"{case.name}: htcnns {seconds['htcnns'][-1]:.1f} s, nnU-Net {seconds['nnU-Net'][-1]:.1f} s")
    means = {name: float(np.mean(values)) for name, values in seconds.items()}
    ratio = means["nnU-Net"] / means["htcnns"]
    print(f"three members over {len(cases)} prepared cases on {ensemble.device}, nnU-Net's predictor at step {STEP}")
    print(f"  htcnns {means['htcnns']:.1f} s a case, nnU-Net {means['nnU-Net']:.1f} s: {ratio:.1f} times as fast")
    between = ", ".join(
        f"{region.name} {value:.3f}" for region, value in zip(ensemble.regions.regions, np.mean(dice, 0), strict=True)
    )
    print(f"  mean Dice between both masks: {between}; peak {peak_gib:.2f} GiB of htcnns up to its first mask")
    return 0 if ratio >= LEAST_RATIO and peak_gib <= MOST_GIB else 1


def _timed(run: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began


def _ours(case: ReadyCase, ensemble: Ensemble) -> np.ndarray:
    """The label map on the case's grid, with all settings as they come: networks, clean-up, fusion."""
    numbers = LABEL_SETS["brats2023"]
    return segment_prepared(case, ensemble, settings=RunSettings(), numbers=numbers, on_window=lambda: None).label_map


def _theirs(case: ReadyCase, ensemble: Ensemble) -> np.ndarray:
    """The same with nnU-Net's sliding windows over the brain's box; mirrored passes are left out on both sides."""
    inner = (slice(None), *case.prepared.undo.inner)
    maps = []
    for member in ensemble.members:
        x = case.prepared.array[[SEQUENCES.index(sequence) for sequence in member.sequences]][inner]
        predictor = _predictor(ensemble.networks[member.name][0], ensemble.device)
        logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(np.ascontiguousarray(x)))
        found = region_probabilities(torch.as_tensor(logits)[None], member.regions, member.head, member.outputs)[0]
        padded = np.zeros((len(found), *case.prepared.brain.shape), np.float32)
        padded[inner] = found.cpu().numpy()
        maps.append(postprocess(padded, member.regions, member.rules)[0])
    names = tuple(member.name for member in ensemble.members)
    fused = fuse(np.stack(maps), ensemble.regions, method="staple", names=names)
    return case.prepared.undo(fused.label_map[None])[0]


def _predictor(network: Network, device: torch.device) -> Any:
    """nnU-Net's predictor around one of our networks, with everything else as it comes."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    settings = {"patch_size": list(PATCH), "architecture": {}}  # the network is given, none is built from plans
    plans = PlansManager({"plans_name": "plans", "configurations": {"3d_fullres": settings}})
    predictor = nnUNetPredictor(
        tile_step_size=STEP,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=device.type == "cuda",
        device=device,
        allow_tqdm=False,
    )
    configuration = plans.get_configuration("3d_fullres")
    predictor.manual_initialization(network, plans, configuration, None, DATASET, "nnUNetTrainer", None)
    return predictor


def _dice(one: np.ndarray, other: np.ndarray, region: Region) -> float:
    """Dice of a region in two label maps; 1 where both lack it."""
    first, second = region_mask(one, region), region_mask(other, region)
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / total if total else 1.0


if __name__ == "__main__":
    sys.exit(main())
