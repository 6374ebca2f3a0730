"""Each check of what a run needs is ok, a warning or a failure, depending on what it finds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from htcnns.errors import DeviceError, HtcnnsError, OutputError
from htcnns.files.surroundings import Disk, Memory
from htcnns.runs import checks
from htcnns.runs.checks import Check, CheckState
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.settings import RunSettings


@pytest.fixture
def check_of(tmp_path: Path, tiny_weights: Path) -> Callable[..., Check]:
    """A function that runs the checks up to the one of that name and returns it."""

    def make(name: str, **settings: object) -> Check:
        how = RunSettings(**({"weights": tiny_weights, "device": "cpu"} | settings))
        return next(check for check in checks.checks(how, output=tmp_path / "out") if check.name == name)

    return make


@pytest.mark.parametrize(
    ("free_mib", "state"), [(1000.0, CheckState.FAIL), (2000.0, CheckState.WARN), (9000.0, CheckState.OK), (None, "ok")]
)
def test_memory_is_enough_for_all_most_or_no_cases(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check], free_mib: float | None, state: CheckState
) -> None:
    monkeypatch.setattr(checks, "memory", lambda: Memory(free_mib=free_mib, limit_mib=9500.0))
    check = check_of("memory")
    assert check.state == state
    assert "limited to 9500 MiB" in (str(check.error) if check.error else check.found)
    assert isinstance(check.error, DeviceError) == (state is CheckState.FAIL)


@pytest.mark.parametrize(
    ("disk", "state", "says"),
    [
        (Disk(free_mib=9999, has_locks=True), CheckState.OK, "out can be written, 9999 MiB free"),
        (Disk(free_mib=9, has_locks=True), CheckState.WARN, "9 MiB free"),
        (Disk(free_mib=9999, has_locks=False), CheckState.WARN, "no locks, which runs need to share a folder"),
    ],
)
def test_an_output_needs_room_and_locks(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check], disk: Disk, state: CheckState, says: str
) -> None:
    monkeypatch.setattr(checks, "disk_of", lambda _: disk)
    check = check_of("output")
    assert (check.state, bool(check.remedy)) == (state, state is not CheckState.OK)
    assert says in check.found


@pytest.mark.parametrize(("name", "patched"), [("output", "disk_of"), ("temporary files", "temporary_folder")])
def test_a_folder_that_cannot_be_written_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check], name: str, patched: str
) -> None:
    def refuse(*_: object) -> None:
        raise OutputError("cannot be written", remedy="Give another.")

    monkeypatch.setattr(checks, patched, refuse)
    check = check_of(name)
    assert (check.state, str(check.error)) == (CheckState.FAIL, "cannot be written. Give another.")


@pytest.mark.parametrize(("number", "state"), [(0, CheckState.WARN), (1000, CheckState.OK)])
def test_root_is_warned_about_the_owner_of_the_masks(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check], number: int, state: CheckState
) -> None:
    monkeypatch.setattr(checks, "user", lambda: number)
    assert check_of("user").state is state


@pytest.mark.parametrize(("share", "state"), [(0.5, CheckState.OK), (4.0, CheckState.OK), (3.5, CheckState.WARN)])
def test_more_threads_than_processors_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check], share: float, state: CheckState
) -> None:
    threads = {0.5: 1, 4.0: 4, 3.5: 4}[share]
    monkeypatch.setattr(checks, "n_cpus", lambda: share)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    check = check_of("threads")
    assert (check.state, "OMP_NUM_THREADS to 3" in check.remedy) == (state, state is CheckState.WARN)


def test_a_driver_that_pytorch_does_not_use_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check]
) -> None:
    monkeypatch.setattr(checks, "has_nvidia_driver", lambda: True)
    check = check_of("device")
    assert check.state is CheckState.WARN
    assert "an NVIDIA driver is here, but PyTorch" in check.found


@pytest.mark.parametrize(("device", "state"), [("auto", CheckState.WARN), ("cuda:0", CheckState.FAIL)])
def test_an_unresponsive_gpu_is_a_warning_or_a_failure_if_named(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check], device: str, state: CheckState
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("CUDA error: out of memory\nmore lines")

    for name, answer in (("is_available", lambda: True), ("device_count", lambda: 1), ("mem_get_info", refuse)):
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(torch.cuda, "get_device_name", refuse)
    check = check_of("device", device=device)
    assert check.state is state
    assert "cuda:0: cannot be used (CUDA error: out of memory)" in (str(check.error) if check.error else check.found)
    assert isinstance(check.error, DeviceError) == (state is CheckState.FAIL)


def test_a_tiny_case_is_segmented_and_a_usual_one_estimated(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check]
) -> None:
    """Eight windows in the tiny head and eighty in a usual brain; only the time of the second pass counts."""
    seconds = iter((5.0, 0.5))
    monkeypatch.setattr(checks, "_forward_s", lambda *_: next(seconds))
    seen = {False: ((8, 32**3),), True: ((80, 32**3),)}
    monkeypatch.setattr(checks, "window_voxels", lambda _, to_see, **__: seen[to_see.brain.shape == checks.BRAIN_BOX])
    check = check_of("a tiny case")
    assert check.state is CheckState.OK
    assert "a BraTS case would take about 5 s in the networks" in check.found


def test_a_tiny_case_fails_with_the_same_exit_code_as_a_run(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check]
) -> None:
    def refuse(*_: object) -> None:
        raise DeviceError("returned values that are not finite", remedy="Use precision fp32.")

    monkeypatch.setattr(checks, "_forward_s", refuse)
    assert check_of("a tiny case").error.exit_code == DeviceError.exit_code


@pytest.mark.parametrize(("needed_mib", "state"), [(4000.0, CheckState.OK), (9000.0, CheckState.WARN)])
def test_a_window_too_large_for_the_gpu_is_a_warning(needed_mib: float, state: CheckState) -> None:
    check = checks._on_the_card("1 s", needed_mib, 8192.0)
    assert (check.state, check.found.endswith("of the card's 8.0 GiB")) == (state, True)


@pytest.mark.slow
def test_a_gpu_that_cannot_be_used_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, check_of: Callable[..., Check]
) -> None:
    start = checks.start_ensemble

    def start_elsewhere(*args: object, **named: object) -> Ensemble:
        return checks.replace(start(*args, **named), note="on the CPU instead: cuda:0: cannot be used")

    monkeypatch.setattr(checks, "start_ensemble", start_elsewhere)
    check = check_of("a tiny case")
    assert check.state is CheckState.WARN
    assert "on the CPU instead" in check.found


def test_missing_weights_are_a_failure_and_nothing_is_segmented(tmp_path: Path) -> None:
    found = list(checks.checks(RunSettings(weights=tmp_path, device="cpu"), output=None))
    assert (found[-1].name, found[-1].state) == ("weights", CheckState.FAIL)
    assert isinstance(found[-1].error, HtcnnsError)
