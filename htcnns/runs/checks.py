"""Whether a run would work here: a check of each thing that it needs, with a remedy."""

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch

from htcnns.errors import DeviceError, HtcnnsError
from htcnns.files.case import Case
from htcnns.files.manifest import choose_members, chosen_weights, read_manifest
from htcnns.files.names.brats import Convention
from htcnns.files.surroundings import (
    disk_of,
    has_nvidia_driver,
    memory,
    n_cpus,
    shared_memory_mib,
    temporary_folder,
    user,
)
from htcnns.files.weights import verify_file
from htcnns.image.phantom import make_phantom
from htcnns.image.preprocess import preprocess
from htcnns.runs.devices import (
    choose_device,
    choose_precision,
    htcnns_version,
    not_usable,
    peak_memory_mib,
    precision_name,
)
from htcnns.runs.ensemble import Ensemble, start_ensemble, window_voxels
from htcnns.runs.pipeline import ReadyCase, segment_prepared
from htcnns.runs.settings import RunSettings

LEAST_MIB = 1440  # of main memory for a BraTS case, our measurement; see the README
MOST_MIB = 4096  # the same for the largest grid that is accepted
LEAST_DISK_MIB = 100.0  # room for a thousand masks
TINY = (48, 48, 48)
BRAIN_BOX = (137, 171, 137)  # voxels of 1 mm: medians of eleven BraTS cases, our measurement


class CheckState(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Check:
    """The check of one thing that a run needs.

    Attributes:
        name: what was checked.
        state: fail if a run would not work.
        found: what was found; empty if the error states it.
        remedy: what to do; empty if nothing needs to be done or the error states it.
        error: error that a run would end with; None unless the state is fail.
    """

    name: str
    state: CheckState = CheckState.OK
    found: str = ""
    remedy: str = ""
    error: HtcnnsError | None = None


def checks(settings: RunSettings, *, output: Path | None) -> Iterator[Check]:
    """Yield each check as soon as it is done, as some take seconds.

    Args:
        settings: weights, members, device and precision of the run in question.
        output: folder for its masks; None to skip that check.
    """
    python = platform.python_version()
    yield Check(name="software", found=f"htcnns {htcnns_version()}, Python {python}, PyTorch {torch.__version__}")
    yield _tried("device", lambda: _device(settings))
    yield _threads()
    yield _tried("memory", _memory)
    shared = shared_memory_mib()
    yield Check(name="shared memory", found=f"{'none' if shared is None else f'{shared:.0f} MiB'}; none is needed")
    yield _user()
    yield _tried("temporary files", lambda: Check(name="temporary files", found=str(temporary_folder())))
    if output is not None:
        yield _tried("output", lambda: _output(output))
    weights = _tried("weights", lambda: _weights(settings))
    yield weights
    if weights.state is not CheckState.FAIL:
        yield _tried("a tiny case", lambda: _tiny_case(settings))


def _tried(name: str, check: Callable[[], Check]) -> Check:
    """The check's result, or a failed check with the error that it raised."""
    try:
        return check()
    except HtcnnsError as error:
        return Check(name=name, state=CheckState.FAIL, error=error)


def _device(settings: RunSettings) -> Check:
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    try:
        name = _card(device) if device.type == "cuda" else f"cpu, {torch.backends.cpu.get_cpu_capability()}"
    except RuntimeError as error:  # a GPU that is broken, or in use by others
        unusable = not_usable(device, error)
        if settings.device != "auto":
            raise unusable from error
        found = f"{unusable.place}: {unusable.problem}; a run would take the CPU instead"
        return Check(name="device", state=CheckState.WARN, found=found, remedy=unusable.remedy)
    found = f"{name}, in {precision_name(precision)}"
    if device.type == "cpu" and has_nvidia_driver():
        built = f"PyTorch was built for CUDA {torch.version.cuda}" if torch.version.cuda else "PyTorch is a CPU build"
        remedy = "Install a PyTorch whose CUDA fits the driver, or let the container have the GPU."
        return Check(
            name="device", state=CheckState.WARN, found=f"{found}; an NVIDIA driver is here, but {built}", remedy=remedy
        )
    if precision is torch.float32 and device.type == "cpu":
        remedy = "A CPU with bf16 (AVX-512 BF16 or AMX), or a GPU, is faster."
        return Check(name="device", state=CheckState.WARN, found=found, remedy=remedy)
    return Check(name="device", found=found)


def _card(device: torch.device) -> str:
    free, total = (n / 2**30 for n in torch.cuda.mem_get_info(device))
    return f"{device}, {torch.cuda.get_device_name(device)} with {free:.1f} of {total:.1f} GiB free"


def _threads() -> Check:
    threads, share = torch.get_num_threads(), n_cpus()
    found = f"{threads} threads on {share:g} CPUs"
    if threads > max(1.0, share):
        remedy = f"Set OMP_NUM_THREADS to {max(1, int(share))}, as more threads than CPUs wait for each other."
        return Check(name="threads", state=CheckState.WARN, found=found, remedy=remedy)
    return Check(name="threads", found=found)


def _memory() -> Check:
    has = memory()
    limit = f", limited to {has.limit_mib:.0f} MiB" if has.limit_mib else ""
    if has.free_mib is None:
        return Check(name="memory", found=f"unknown{limit}")
    found = f"{has.free_mib:.0f} MiB free{limit}"
    remedy = "Raise the limit of the container or the job, or end other programs."
    if has.free_mib < LEAST_MIB:
        raise DeviceError("too little memory", found=found, expected=f"{LEAST_MIB} for a BraTS case", remedy=remedy)
    if has.free_mib < MOST_MIB:
        found += f"; the largest grid needs {MOST_MIB}"
        return Check(name="memory", state=CheckState.WARN, found=found, remedy=remedy)
    return Check(name="memory", found=found)


def _user() -> Check:
    if number := user():
        return Check(name="user", found=str(number))
    remedy = "Run as the user who is to own the masks."
    return Check(name="user", state=CheckState.WARN, found="0, root, who will own the masks", remedy=remedy)


def _output(folder: Path) -> Check:
    disk = disk_of(folder)
    found = f"{folder} can be written, {disk.free_mib:.0f} MiB free"
    if disk.free_mib < LEAST_DISK_MIB:
        return Check(name="output", state=CheckState.WARN, found=found, remedy="Free space there.")
    if not disk.has_locks:
        found += "; its file system has no locks, which runs need to share a folder"
        remedy = "Let one run at a time write there, or each its own shard."
        return Check(name="output", state=CheckState.WARN, found=found, remedy=remedy)
    return Check(name="output", found=found)


def _weights(settings: RunSettings) -> Check:
    members = choose_members(read_manifest(chosen_weights(settings.weights)), settings.members)
    return Check(name="weights", found="; ".join(verify_file(each, file) for each in members for file in each.files))


def _tiny_case(settings: RunSettings) -> Check:
    """Time a small head twice, as one-time loading takes longer than the windows of the first pass."""
    members = choose_members(read_manifest(chosen_weights(settings.weights)), settings.members)
    ensemble = start_ensemble(members, device=settings.device, precision=settings.precision)
    ready = _tiny_head(ensemble)
    began = time.perf_counter()
    _forward_s(ready, ensemble, settings)
    warm = time.perf_counter()
    forward_s = _forward_s(ready, ensemble, settings)
    first_s, second_s = warm - began, time.perf_counter() - warm
    seen = window_voxels(ensemble, ready.prepared, overlap=settings.overlap)
    to_see = window_voxels(ensemble, replace(ready.prepared, brain=_usual_brain()), overlap=settings.overlap)
    in_networks_s = forward_s * sum(n * voxels for n, voxels in to_see) / sum(n * voxels for n, voxels in seen)
    found = (
        f"{second_s:.1f} s, the first time {first_s:.1f} s; a BraTS case would take about {in_networks_s:.0f} s in the "
        "networks, and seconds to read and fuse"
    )
    if ensemble.note:
        return Check(name="a tiny case", state=CheckState.WARN, found=f"{found}; {ensemble.note}")
    held_mib = peak_memory_mib(ensemble.device)["device"]
    if held_mib is None:
        return Check(name="a tiny case", found=found)
    needed_mib = held_mib * max(voxels for _, voxels in to_see) / max(voxels for _, voxels in seen)
    return _on_the_card(found, needed_mib, torch.cuda.get_device_properties(ensemble.device).total_memory / 2**20)


def _on_the_card(found: str, needed_mib: float, total_mib: float) -> Check:
    found += f", and {needed_mib / 1024:.1f} of the card's {total_mib / 1024:.1f} GiB"
    if needed_mib > total_mib:
        remedy = "Use an overlap of 0.6 and one window at a time, another card, or the CPU."
        return Check(name="a tiny case", state=CheckState.WARN, found=found, remedy=remedy)
    return Check(name="a tiny case", found=found)


def _tiny_head(ensemble: Ensemble) -> ReadyCase:
    phantom = make_phantom(TINY, seed=0)
    case = Case(name="tiny", files={}, naming=Convention.FREE, folder=Path(), flat=True)
    return ReadyCase(case, preprocess(phantom.sequences, phantom.affine, ensemble.preprocess_settings), phantom.affine)


def _usual_brain() -> np.ndarray:
    """(i, j, k) bool: an ellipsoid that fills the bounding box of a typical brain."""
    i, j, k = (np.linspace(-1, 1, n) for n in BRAIN_BOX)
    return i[:, None, None] ** 2 + j[:, None] ** 2 + k**2 <= 1


def _forward_s(ready: ReadyCase, ensemble: Ensemble, settings: RunSettings) -> float:
    """Seconds that the networks take for a case; raises the error that a run would fail with."""
    numbers = settings.numbers_for(ready.case.name)
    answer = segment_prepared(ready, ensemble, settings=settings, numbers=numbers, on_window=lambda: None)
    return answer.forward_s
