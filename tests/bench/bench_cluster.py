"""`make bench-cluster`: what Ray costs over a plain batch: one worker with every CPU against one process, in turn.

Run with both cores free: python tests/bench/bench_cluster.py --data DIR (folder with brats/)
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from htcnns.files.cases import find_cases

N_CASES, N_ROUNDS = 4, 2
MOST = 1.05  # of the plain batch's time, for cases of about 10 s


def main() -> int:
    """Print the figures; returns 0 when Ray is within the limit and the masks are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--members", default="unet,axial_unet", help="those with which a case takes about 10 s here")
    arguments = parser.parse_args()
    n_cpus = len(os.sched_getaffinity(0))
    engines = {"plain": (), "ray": ("--engine", "ray", "--worker-cpus", str(n_cpus))}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    masks: dict[str, dict[str, bytes]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder) / "in"
        scans.mkdir()
        for case in find_cases(arguments.data / "brats")[:N_CASES]:
            (scans / case.name).symlink_to(case.folder.resolve())
        for n in range(N_ROUNDS):
            for name, flags in engines.items():
                output = Path(folder) / f"{name}-{n}"
                seconds[name].append(_batch_s(scans, output, "--members", arguments.members, *flags))
                masks[name] = {path.name: path.read_bytes() for path in output.iterdir()}
    best = {name: min(values) for name, values in seconds.items()}
    ratio = best["ray"] / best["plain"]
    print(f"{N_CASES} cases: plain {best['plain']:.1f} s, on Ray {best['ray']:.1f} s, {ratio:.3f} x of at most {MOST}")
    print(
        f"  {best['plain'] / N_CASES:.1f} s a case; masks {'same' if masks['plain'] == masks['ray'] else 'DIFFERENT'}"
    )
    return 0 if ratio <= MOST and masks["plain"] == masks["ray"] else 1


def _batch_s(scans: Path, output: Path, *flags: str) -> float:
    """Seconds from the start of the run to its end, by the log; excludes imports and Ray's start."""
    log = output.parent / f"{output.name}.jsonl"
    command = [sys.executable, "-m", "htcnns", "segment", str(scans), str(output), "--log", str(log), *flags]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    first, last = (datetime.fromisoformat(event["time"]) for event in (events[0], events[-1]))
    return (last - first).total_seconds()


if __name__ == "__main__":
    sys.exit(main())
