"""Batches that are killed or stopped leave only whole masks, and the next run does what is left and no more.

The processes are forked from a server that has imported everything already, so that a kill never falls into imports.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from htcnns.doors.cli import main
from htcnns.files import atomic as whole
from htcnns.files.claims import Claims

pytestmark = pytest.mark.slow

NAMES = tuple(f"BraTS-GLI-{number:05d}-000" for number in range(12))
MOMENTS = [random.Random(2024 + number).random() for number in range(70)]  # each a part of a whole run's time
N_USUAL, USUAL_ROUNDS = 30, 300  # this many of them, or all if more than the usual rounds are asked for
FORKS = multiprocessing.get_context("forkserver")
Prints = dict[str, tuple[int, str]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a moment runs once for each of them."""
    if "moment" in metafunc.fixturenames:
        is_usual = metafunc.config.getoption("--rounds") <= USUAL_ROUNDS
        moments = MOMENTS[:N_USUAL] if is_usual else MOMENTS
        metafunc.parametrize("moment", moments, ids=lambda moment: f"{moment:.0%}")


@dataclass(frozen=True)
class Batch:
    """Twelve cases, how they are segmented, what comes of it when nobody interferes, and how long that takes."""

    arguments: tuple[str, ...]
    masks: dict[str, str]
    seconds: float

    def process(self, output: Path, *more: object, killed_at_rename: int = 0) -> multiprocessing.process.BaseProcess:
        """A started run into that folder, with more flags; perhaps killed by itself before a mask gets its name."""
        arguments = (*self.arguments, str(output), *map(str, more))
        process = FORKS.Process(target=_segment, args=(arguments, killed_at_rename))
        process.start()
        return process


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, make_case: Callable[..., Path], tiny_weights: Path) -> Batch:
    folder = tmp_path_factory.mktemp("batch")
    for seed, name in enumerate(NAMES):
        make_case(folder / "in", name, seed=seed % 3)
    FORKS.set_forkserver_preload(["htcnns.doors.run_printer", "htcnns.doors.cli"])
    flags = ("--weights", str(tiny_weights), "--members", "unet", "--device", "cpu", "--precision", "fp32")
    arguments = ("segment", *flags, str(folder / "in"))
    _finish(Batch(arguments, {}, 0), folder / "first")  # starts the server
    began = time.perf_counter()
    _finish(Batch(arguments, {}, 0), folder / "out")
    seconds = time.perf_counter() - began
    return Batch(arguments, {name: content for name, (_, content) in _prints(folder / "out").items()}, seconds)


def test_a_kill_leaves_whole_masks_and_the_next_run_does_the_rest(tmp_path: Path, batch: Batch, moment: float) -> None:
    process = batch.process(tmp_path / "out")
    process.join(moment * batch.seconds)
    process.kill()
    process.join()
    finished = _visible(tmp_path / "out")
    assert {name: content for name, (_, content) in finished.items()}.items() <= batch.masks.items()
    assert _finish(batch, tmp_path / "out") == 0
    after = _prints(tmp_path / "out")
    assert {name: content for name, (_, content) in after.items()} == batch.masks
    assert finished.items() <= after.items()


def test_a_kill_after_three_masks_leaves_these_and_the_next_run_touches_none(tmp_path: Path, batch: Batch) -> None:
    process = batch.process(tmp_path / "out")
    _wait_for(3, tmp_path / "out")
    process.kill()
    process.join()
    finished = _visible(tmp_path / "out")
    assert 3 <= len(finished) < len(NAMES)
    assert _finish(batch, tmp_path / "out") == 0
    assert finished.items() <= _prints(tmp_path / "out").items()


def test_twenty_kills_of_one_batch_change_nothing_and_cost_only_the_current_cases(tmp_path: Path, batch: Batch) -> None:
    output, log = tmp_path / "out", tmp_path / "log.jsonl"
    finished = [_killed_at_a_case(batch, output, log, moment) for moment in MOMENTS[:20]]
    assert _finish(batch, output, "--log", log) == 0
    after = _prints(output)
    assert {name: content for name, (_, content) in after.items()} == batch.masks
    assert all(before.items() <= after.items() for before in finished)  # with their modification times
    ended = [event["case"] for event in _events(log) if event["event"] == "case end" and event["state"] == "done"]
    started = [event["case"] for event in _events(log) if event["event"] == "case start"]
    assert len(ended) == len(set(ended))
    assert len(started) - len(NAMES) <= 20  # each kill costs one case at most


def test_files_half_written_at_a_kill_are_swept_by_the_next_run(tmp_path: Path, batch: Batch) -> None:
    process = batch.process(tmp_path / "out", killed_at_rename=5)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = sorted(_prints(tmp_path / "out").keys() - _visible(tmp_path / "out").keys())
    kinds = [re.fullmatch(r"\.htcnns-\d+-(claim-)?[0-9a-f]{32}\.part", name)[1] for name in left]
    assert kinds.count(None) == 1
    assert 1 <= kinds.count("claim-") <= 2  # of the current case, and of the next one if that was being read
    assert sorted(_visible(tmp_path / "out")) == [f"{name}.nii.gz" for name in NAMES[:4]]
    assert _finish(batch, tmp_path / "out") == 0
    assert {name: content for name, (_, content) in _prints(tmp_path / "out").items()} == batch.masks


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"])
def test_a_signal_ends_the_run_cleanly_and_what_is_left_is_reported(
    tmp_path: Path, batch: Batch, number: signal.Signals, code: int
) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "htcnns", *batch.arguments, tmp_path / "out", "--report", report]
    with subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        until = [next(line for line in process.stdout if line.startswith(f"[{n}/12]")) for n in (1, 2)]
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err, len(until)) == (code, "", 2)
    finished = [f"{name}.nii.gz" for name in NAMES if f"{name}.nii.gz" in _prints(tmp_path / "out")]
    left = [name for name in NAMES if f"{name}.nii.gz" not in finished]
    assert 2 <= len(finished) < 12
    assert out.splitlines()[-1] == f"not started: {', '.join(left)}"
    assert {name: content for name, (_, content) in _prints(tmp_path / "out").items()}.items() <= batch.masks.items()
    assert report.is_file()


def test_a_signal_ends_a_watch_cleanly(tmp_path: Path, batch: Batch) -> None:
    log = tmp_path / "log.jsonl"
    process = batch.process(tmp_path / "out", "--watch", 0.2, "--log", log)
    _wait_for(len(NAMES), tmp_path / "out")
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 143
    assert _events(log)[-1]["event"] == "run end"
    assert {name: content for name, (_, content) in _prints(tmp_path / "out").items()} == batch.masks


def test_an_output_that_is_read_only_is_refused_and_loses_nothing(tmp_path: Path, batch: Batch) -> None:
    output = tmp_path / "out"
    output.mkdir()
    with _disk(output, 1024):
        (output / f"{NAMES[0]}.nii.gz").write_bytes(b"an earlier run's")
        subprocess.run(["mount", "-o", "remount,ro", str(output)], check=True)
        assert _finish(batch, output, "--report", tmp_path / "report.json") == 6
        assert (output / f"{NAMES[0]}.nii.gz").read_bytes() == b"an earlier run's"
        subprocess.run(["mount", "-o", "remount,rw", str(output)], check=True)
        assert _finish(batch, output) == 0
        assert {name: content for name, (_, content) in _prints(output).items()} == batch.masks


def test_64_mb_of_shared_memory_is_enough(tmp_path: Path, batch: Batch) -> None:
    own = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"', "sh"]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    done = subprocess.run(
        [*own, sys.executable, "-m", "htcnns", *batch.arguments, str(tmp_path / "out")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {name: content for name, (_, content) in _prints(tmp_path / "out").items()} == batch.masks


@pytest.mark.parametrize(
    "shards",
    [("0/1", "0/1"), ("0/2", "1/2"), ("0/2", "1/2", "1/2", "0/2")],
    ids=["the same cases", "two shards", "two shards twice"],
)
def test_runs_in_one_folder_share_the_cases_and_do_none_twice(
    tmp_path: Path, batch: Batch, shards: tuple[str, ...]
) -> None:
    reports = [tmp_path / f"{n}.json" for n in range(len(shards))]
    flags = [("--shard", shard, "--report", report) for shard, report in zip(shards, reports, strict=True)]
    processes = [batch.process(tmp_path / "out", *more) for more in flags]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(shards)
    assert {name: content for name, (_, content) in _prints(tmp_path / "out").items()} == batch.masks
    states = [(case["case"], case["state"]) for path in reports for case in json.loads(path.read_text())["cases"]]
    assert sorted(name for name, state in states if state == "done") == list(NAMES)
    assert {state for _, state in states} <= {"done", "kept"}


def test_a_case_whose_run_is_killed_is_done_by_the_run_that_waits_for_it(tmp_path: Path, batch: Batch) -> None:
    output = tmp_path / "out"
    output.mkdir()
    holder = FORKS.Process(target=_hold, args=(output / f"{NAMES[0]}.nii.gz", output / "held"))
    holder.start()
    _wait_for(1, output)
    (output / "held").unlink()
    process = batch.process(output)
    _wait_for(len(NAMES) - 1, output)
    process.join(1.5)  # three more looks
    assert process.is_alive()
    assert f"{NAMES[0]}.nii.gz" not in _prints(output)
    holder.kill()
    holder.join()
    process.join()
    assert process.exitcode == 0
    assert {name: content for name, (_, content) in _prints(output).items()} == batch.masks


@pytest.mark.parametrize("n_kib", [4, 16, 64, 256, 1024])
def test_a_small_disk_holds_whole_masks_and_a_larger_one_the_rest(tmp_path: Path, batch: Batch, n_kib: int) -> None:
    output = tmp_path / "out"
    output.mkdir()
    with _disk(output, n_kib):
        code = _finish(batch, output)
        finished = _prints(output)
        assert code == (0 if len(finished) == len(NAMES) else 6)
        assert {name: content for name, (_, content) in finished.items()}.items() <= batch.masks.items()
        subprocess.run(["mount", "-o", "remount,size=64m", str(output)], check=True)
        assert _finish(batch, output) == 0
        after = _prints(output)
        assert {name: content for name, (_, content) in after.items()} == batch.masks
        assert finished.items() <= after.items()


@contextlib.contextmanager
def _disk(folder: Path, n_kib: int) -> Iterator[None]:
    """A disk in memory of that size; skips the test if this user may not mount one."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_kib}k", "tmpfs", str(folder)], check=False)
    if made.returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _segment(arguments: tuple[str, ...], killed_at_rename: int) -> None:
    """In the child: run the command line and exit with its code."""
    torch.set_num_threads(1)
    count, real = [], os.replace

    def replace(source: Path, target: Path) -> None:
        count.append(target)
        if len(count) == killed_at_rename:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    whole.os.replace = replace  # type: ignore[assignment]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        sys.exit(main(list(arguments)))


def _hold(mask: Path, sign: Path) -> None:
    """In the child: claim a case until killed; the sign says that it is claimed."""
    with Claims() as claims:
        assert claims.take(mask)
        sign.touch()
        time.sleep(600)


def _killed_at_a_case(batch: Batch, output: Path, log: Path, moment: float) -> Prints:
    """Kill a run `moment` of a case's time after it has started one more case; return what is finished by then."""
    process, n_before = batch.process(output, "--log", log), len(_starts(log))
    while process.is_alive() and len(_starts(log)) == n_before:
        time.sleep(0.002)
    process.join(moment * batch.seconds / len(NAMES))
    process.kill()
    process.join()
    return _visible(output)


def _starts(log: Path) -> list[dict]:
    return [event for event in _events(log) if event["event"] == "case start"]


def _events(log: Path) -> list[dict]:
    """Every event of a log; a line that is being written does not count."""
    text = log.read_text() if log.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _finish(batch: Batch, output: Path, *more: object) -> int | None:
    """Run a batch to its end."""
    process = batch.process(output, *more)
    process.join()
    return process.exitcode


def _wait_for(n_masks: int, folder: Path) -> None:
    """Wait by names alone: a temporary may be gone before it can be read."""
    while not folder.is_dir() or sum(not path.name.startswith(".") for path in folder.iterdir()) < n_masks:
        time.sleep(0.002)


def _visible(folder: Path) -> Prints:
    """What a person sees: no dot-files."""
    return {name: content for name, content in _prints(folder).items() if not name.startswith(".")}


def _prints(folder: Path) -> Prints:
    """Modification time and sha256 of every file; empty if the folder is not there yet."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}
