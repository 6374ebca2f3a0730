"""Batches on Ray write the same masks as a run without it, whatever dies on the way; slow, as Ray starts slowly."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from htcnns.files.claims import claim_path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'htcnns[ray]'"),
]

NAMES = tuple(f"BraTS-GLI-{number:05d}-000" for number in range(6))
BROKEN = NAMES[2]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
TWO_NODES = """
import sys
from ray.cluster_utils import Cluster
quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 5}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": quick})
other = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
for _ in sys.stdin:
    cluster.remove_node(other, allow_graceful=False)
cluster.shutdown()
"""
ON_RAY = ("--engine", "ray", "--worker-cpus", "1")


@dataclass(frozen=True)
class Batch:
    """Six cases, one of them broken, how they are segmented, and what a run on this machine makes of them."""

    arguments: tuple[str, ...]
    masks: dict[str, bytes]
    sentence: str

    def start(self, output: Path, *more: object, **named: Any) -> subprocess.Popen[str]:
        """A run into that folder, with more flags."""
        command = [sys.executable, "-m", "htcnns", *self.arguments, str(output), *map(str, more)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ONE_THREAD}
        return subprocess.Popen(command, **(options | named))


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, make_case: Callable[..., Path], tiny_weights: Path) -> Batch:
    folder = tmp_path_factory.mktemp("batch")
    for seed, name in enumerate(NAMES):
        make_case(folder / "in", name, seed=seed % 3, shape=(52, 52, 52))
    path = folder / "in" / BROKEN / f"{BROKEN}-t2w.nii.gz"
    path.write_bytes(path.read_bytes()[:1000])
    flags = ("--members", "unet", "--precision", "fp32", "--overlap", "0.8")  # hundreds of windows: seconds per case
    arguments = ("segment", "--weights", str(tiny_weights), *flags, str(folder / "in"))
    done = Batch(arguments, {}, "").start(folder / "out", "--report", folder / "report.json")
    assert done.communicate()[1] == ""
    assert done.returncode == 7
    failed = json.loads((folder / "report.json").read_text())["cases"][NAMES.index(BROKEN)]
    return Batch(arguments, _masks(folder / "out"), failed["error"])


@pytest.fixture
def two_nodes() -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a cluster of two nodes, each with room for one worker, and a function that removes one."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", TWO_NODES], env=ONE_THREAD, **pipes) as nodes:

        def remove() -> None:
            nodes.stdin.write("remove\n")
            nodes.stdin.flush()

        yield nodes.stdout.readline().strip(), remove
        nodes.stdin.close()  # which ends it


def test_two_local_workers_do_what_a_run_without_ray_does(tmp_path: Path, batch: Batch) -> None:
    log, report, output = tmp_path / "log.jsonl", tmp_path / "report.json", tmp_path / "out"
    run = batch.start(output, *ON_RAY, "--log", log, "--report", report)
    out, err = run.communicate()
    assert (run.returncode, err) == (7, "")
    assert "2 workers; the first is on" in out
    assert _masks(output) == batch.masks
    cases = json.loads(report.read_text())["cases"]
    assert [(case["case"], case["state"]) for case in cases] == [
        (name, "failed" if name == BROKEN else "done") for name in NAMES
    ]
    assert cases[NAMES.index(BROKEN)]["error"] == batch.sentence
    events = _events(log)
    assert [events[0]["event"], events[-1]["event"]] == ["run start", "run end"]
    assert events[0]["precision"] == "fp32"
    assert _of_kind(events, "case start") == list(NAMES)
    assert sorted(_of_kind(events, "case end")) == list(NAMES)


def test_an_interrupt_of_the_process_group_ends_the_run_and_every_ray_process(tmp_path: Path, batch: Batch) -> None:
    log, mark, output = tmp_path / "log.jsonl", uuid.uuid4().hex, tmp_path / "out"
    environment = ONE_THREAD | {"HTCNNS_TEST": mark}
    run = batch.start(output, *ON_RAY, "--log", log, start_new_session=True, env=environment)
    _wait(lambda: len(_of_kind(_events(log), "case end")) >= 2, run)
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (130, "")
    assert out.splitlines()[-1].startswith("not started: ")
    assert _masks(output).items() < batch.masks.items()
    assert [path.name for path in output.iterdir() if path.name.startswith(".")] == []
    _wait(lambda: not _processes(mark))


def test_a_worker_that_is_killed_costs_a_retry_and_nothing_else(
    tmp_path: Path, batch: Batch, two_nodes: tuple[str, Callable[[], None]]
) -> None:
    log, output, (address, _) = tmp_path / "log.jsonl", tmp_path / "out", two_nodes
    run = batch.start(output, *ON_RAY, "--address", address, "--log", log)
    _wait(lambda: len(_of_kind(_events(log), "case end")) >= 1, run)
    os.kill(_wait(lambda: _at_work(output), run)[0], signal.SIGKILL)
    _assert_nothing_is_lost(run, output, log, batch)


def test_a_node_that_is_lost_costs_a_retry_and_nothing_else(
    tmp_path: Path, batch: Batch, two_nodes: tuple[str, Callable[[], None]]
) -> None:
    log, output, (address, remove) = tmp_path / "log.jsonl", tmp_path / "out", two_nodes
    run = batch.start(output, *ON_RAY, "--address", address, "--log", log)
    _wait(lambda: len(_at_work(output)) == 2, run)  # the node's own worker is one of two
    remove()
    _assert_nothing_is_lost(run, output, log, batch)


def test_an_address_without_a_cluster_fails_with_one_sentence(tmp_path: Path, batch: Batch) -> None:
    run = batch.start(tmp_path / "out", *ON_RAY, "--address", "127.0.0.1:1")
    _, err = run.communicate()
    assert (run.returncode, len(err.splitlines())) == (2, 1)
    assert err.startswith("htcnns: --address: no usable Ray cluster (")


def _assert_nothing_is_lost(run: subprocess.Popen[str], output: Path, log: Path, batch: Batch) -> None:
    _, err = run.communicate(timeout=300)
    events = _events(log)
    assert (run.returncode, err) == (7, "")
    assert _masks(output) == batch.masks
    assert sorted(_of_kind(events, "case end")) == list(NAMES)
    lost = [event["sentence"].partition(":")[0] for event in events if event["event"] == "pending"]
    assert 1 <= len(lost) <= 2  # the case it was working on, and the one it had read ahead
    assert sorted(_of_kind(events, "case start")) == sorted([*NAMES, *lost])


def _wait(until: Callable[[], Any], run: subprocess.Popen[str] | None = None) -> Any:
    """The first true value that `until` returns, within two minutes and while the run goes on."""
    last = time.monotonic() + 120
    while not (found := until()):
        assert time.monotonic() < last, "it did not come"
        assert run is None or run.poll() is None, run.communicate()
        time.sleep(0.02)
    return found


def _at_work(output: Path) -> list[int]:
    """Processes that hold a claim on a case that has no mask yet."""
    claims = {str(claim_path(output / f"{name}.nii.gz")) for name in NAMES}
    return [pid for pid in _all_processes() if claims & set(_open_files(pid))]


def _open_files(pid: int) -> list[str]:
    try:
        return [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:  # it has ended, or is another user's
        return []


def _processes(mark: str) -> list[int]:
    """Processes whose environment has the mark."""
    return [pid for pid in _all_processes() if mark.encode() in _environment(pid)]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _events(log: Path) -> list[dict]:
    """Every event of a log; a line that is being written does not count."""
    text = log.read_text() if log.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _of_kind(events: list[dict], kind: str) -> list[str]:
    return [event["case"] for event in events if event["event"] == kind]


def _masks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
