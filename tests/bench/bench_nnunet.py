"""`make bench`: the same networks over the same prepared cases, by htcnns and by nnU-Net v2's own predictor, in turn.

Each has a process of its own, as in use: what one does to memory or threads does not affect the other.
nnU-Net is not a dependency: for `--nnunet DIR`, run `pip install --no-deps --target DIR -r tests/bench/nnunet.txt`.
Run with both cores free: python tests/bench/bench_nnunet.py --data DIR --nnunet DIR
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from htcnns.files.case import Case
from htcnns.files.cases import find_cases
from htcnns.files.manifest import read_manifest, shipped_weights
from htcnns.image.fusion import fuse
from htcnns.image.postprocess import postprocess
from htcnns.labels import LABEL_SETS, SEQUENCES, Region, region_mask
from htcnns.networks.contract import Network, region_probabilities
from htcnns.runs.devices import choose_device, keep_freed_memory
from htcnns.runs.ensemble import Ensemble, start_ensemble
from htcnns.runs.pipeline import ReadyCase, prepare_case, segment_prepared
from htcnns.runs.settings import RunSettings

N_CASES = 4
STEP = 0.4  # nnU-Net's word for an overlap of 0.6, as in HT-CNNs
PATCH = (128, 128, 128)
LEAST_RATIO, MOST_GIB = 3.0, 3.0
REGIONS = (Region.WT, Region.TC, Region.ET)
DATASET = {  # nnU-Net's own words for three overlapping regions, numbered as in BraTS 2023
    "labels": {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3},
    "regions_class_order": [2, 1, 3],
    "channel_names": {"0": "t1n", "1": "t1c", "2": "t2w", "3": "t2f"},
    "file_ending": ".nii.gz",
}


def main() -> int:
    """Print the figures; returns 0 when every limit is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--nnunet", type=Path, required=True)
    options = parser.parse_args()
    cases = find_cases(options.data / "brats")[:N_CASES]
    seconds: dict[str, list[float]] = {"htcnns": [], "nnU-Net": []}
    dice: list[list[float]] = []
    with _process(keep_freed_memory) as htcnns, _process(_add_nnunet, options.nnunet) as nnunet:
        for case in cases:
            ours, took, peak_gib = htcnns.submit(_run, _ours, case).result()
            seconds["htcnns"].append(took)
            theirs, took, their_peak_gib = nnunet.submit(_run, _theirs, case).result()
            seconds["nnU-Net"].append(took)
            dice.append([_dice(ours, theirs, region) for region in REGIONS])
            print(f"{case.name}: htcnns {seconds['htcnns'][-1]:.1f} s, nnU-Net {took:.1f} s", flush=True)
    means = {name: float(np.mean(values)) for name, values in seconds.items()}
    ratio = means["nnU-Net"] / means["htcnns"]
    device = choose_device("auto")
    print(f"three members over {len(cases)} prepared cases on {device}, nnU-Net's predictor at step {STEP}")
    print(f"  htcnns {means['htcnns']:.1f} s a case, nnU-Net {means['nnU-Net']:.1f} s: {ratio:.2f} times as fast")
    between = ", ".join(f"{region.name} {value:.3f}" for region, value in zip(REGIONS, np.mean(dice, 0), strict=True))
    print(f"  mean Dice between both masks: {between}")
    print(f"  peak memory, with members and cases: htcnns {peak_gib:.2f} GiB, nnU-Net {their_peak_gib:.2f} GiB")
    return 0 if ratio >= LEAST_RATIO and peak_gib <= MOST_GIB else 1


def _process(prepare: Callable[..., object], *arguments: object) -> ProcessPoolExecutor:
    """A fresh process that is prepared and then runs one task after another."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=prepare, initargs=arguments)


def _add_nnunet(folder: Path) -> None:
    sys.path.append(str(folder))  # last, so that our own packages stay as they are pinned
    import_module("nnunetv2.inference.predict_from_raw_data")  # takes seconds that count for no case


def _run(segment: Callable[[ReadyCase, Ensemble], np.ndarray], case: Case) -> tuple[np.ndarray, float, float]:
    """The label map of a case by the shipped members, the seconds it took once prepared, and the peak GiB so far."""
    ensemble = _ensemble()
    prepared = prepare_case(case, ensemble)
    began = time.perf_counter()
    label_map = segment(prepared, ensemble)
    took = time.perf_counter() - began
    return label_map, took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@cache
def _ensemble() -> Ensemble:
    return start_ensemble(read_manifest(shipped_weights()), device="auto", precision="auto")


def _ours(case: ReadyCase, ensemble: Ensemble) -> np.ndarray:
    """The label map on the case's grid, with default settings: networks, clean-up, fusion."""
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
    """nnU-Net's predictor around one of our networks, at the step above and without mirroring."""
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
