"""`make bench`: where the time of a batch goes, against MONAI's sliding window, and whether two runs agree to the bit.

Run with both cores free: python tests/bench/bench_segment.py --data DIR (folder with brats/)
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from monai.inferers import sliding_window_inference

from htcnns.files.cases import find_cases
from htcnns.files.manifest import read_manifest, shipped_weights
from htcnns.runs.devices import choose_device, choose_precision
from htcnns.runs.ensemble import Stopwatch, load_ensemble, member_probabilities
from htcnns.runs.pipeline import prepare_case
from htcnns.runs.settings import RunSettings

N_CASES = 4
MOST_OVERHEAD, START_S, MOST_GIB = 1.05, 10.0, 4.0


def main() -> int:
    """Print the figures; returns 0 when every limit is met and two runs agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    brats = parser.parse_args().data / "brats"
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder) / "in"
        scans.mkdir()
        for case in find_cases(brats)[:N_CASES]:
            (scans / case.name).symlink_to(case.folder.resolve())
        fine = [_batch(scans, Path(folder) / "first")]
        fine.append(_batch(scans, Path(folder) / "second"))
        fine.append(_same_bytes(Path(folder) / "first", Path(folder) / "second"))
    _against_monai(brats)
    return 0 if all(fine) else 1


def _batch(scans: Path, output: Path) -> bool:
    """Segment in a process of its own; returns whether it keeps the limits."""
    report = output.parent / f"{output.name}.json"
    command = [sys.executable, "-m", "htcnns", "segment", str(scans), str(output), "--report", str(report)]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    cases = json.loads(report.read_text())["cases"]
    forward = sum(case["forward_s"] for case in cases)
    windows = sum(case["n_windows"] for case in cases)
    limit = MOST_OVERHEAD * forward + START_S
    print(f"{len(cases)} cases: wall {wall:.1f} s, forward {forward:.1f} s ({forward / wall:.0%}), {windows} windows")
    print(f"  limit {limit:.1f} s (1.05 x forward + 10 s); wall is {wall / forward:.3f} x forward")
    print(
        f"  {wall / len(cases):.1f} s a case, {forward / windows:.3f} s a window, peak {peak_gib:.2f} GiB of {MOST_GIB}"
    )
    return wall <= limit and peak_gib <= MOST_GIB


def _same_bytes(first: Path, second: Path) -> bool:
    masks = sorted(path.name for path in first.iterdir())
    same = all((first / name).read_bytes() == (second / name).read_bytes() for name in masks)
    print(f"two runs: {len(masks)} masks, {'byte-identical' if same else 'DIFFERENT'}")
    return same


def _against_monai(brats: Path) -> None:
    """The same network over the same prepared case, by our windows and by MONAI's, in turn."""
    device = choose_device("auto")
    precision = choose_precision("auto", device)
    ensemble = load_ensemble(read_manifest(shipped_weights())[:1], device=device, precision=precision)
    member = ensemble.members[0]
    network = ensemble.networks[member.name][0]
    prepared = prepare_case(find_cases(brats)[0], ensemble).prepared
    x = torch.from_numpy(prepared.array)[None].to(device)

    def ours() -> None:
        member_probabilities(
            ensemble, member, prepared, settings=RunSettings(), stopwatch=Stopwatch(), on_window=lambda: None
        )

    def monai() -> None:
        with torch.inference_mode(), torch.autocast(device.type, precision):
            sliding_window_inference(
                x, member.window, 1, lambda w: network(w).float().sigmoid(), overlap=0.6, mode="gaussian"
            )

    seconds = {"ours": [], "MONAI": []}
    for _ in range(3):
        for name, run in (("ours", ours), ("MONAI", monai)):
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    best = {name: min(values) for name, values in seconds.items()}
    print(f"{member.name} over one case: ours {best['ours']:.1f} s, MONAI's sliding window {best['MONAI']:.1f} s")
    print(f"  MONAI takes {best['MONAI'] / best['ours']:.2f} x ours")


if __name__ == "__main__":
    sys.exit(main())
