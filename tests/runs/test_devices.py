"""Devices and precisions are chosen by name, and freed memory is kept or given back."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest
import torch

from htcnns.errors import DeviceError, SettingsError
from htcnns.runs.devices import (
    KEEP_FREED,
    PRECISIONS,
    choose_device,
    choose_precision,
    environment,
    give_back_freed_memory,
    htcnns_version,
    keep_freed_memory,
    precision_name,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda:1")


@pytest.fixture
def n_gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """Makes the machine appear to have as many CUDA devices as the parameter says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("n_gpus", "name", "device"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda:0"),
        (2, "cuda", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
        (2, "cpu", "cpu"),
    ],
    indirect=["n_gpus"],
)
@pytest.mark.usefixtures("n_gpus")
def test_a_device_is_chosen_by_name(name: str, device: str) -> None:
    assert choose_device(name) == torch.device(device)


@pytest.mark.parametrize(("n_gpus", "name"), [(0, "cuda"), (0, "cuda:0"), (2, "cuda:2")], indirect=["n_gpus"])
def test_a_missing_gpu_is_refused_with_the_number_of_gpus(n_gpus: int, name: str) -> None:
    with pytest.raises(
        DeviceError, match=rf"device: no {name} here; found CUDA devices that PyTorch .* sees: {n_gpus}, .*device cpu"
    ):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "CPU", "cpu:0"])
def test_an_unknown_device_lists_the_known_ones(name: str) -> None:
    with pytest.raises(SettingsError, match=r"device: unknown device .*; expected auto, cpu, cuda, cuda:0"):
        choose_device(name)


@pytest.mark.parametrize(
    ("name", "device", "precision"),
    [
        ("fp32", CPU, torch.float32),
        ("bf16", CPU, torch.bfloat16),
        ("fp16", GPU, torch.float16),
        ("auto", GPU, torch.float16),
    ],
)
def test_a_precision_is_chosen_by_name(name: str, device: torch.device, precision: torch.dtype) -> None:
    assert choose_precision(name, device) == precision


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_on_a_cpu_is_bf16_if_supported_else_fp32(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    assert choose_precision("auto", CPU) == precision


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(
        DeviceError,
        match=r"precision: fp16 does not run on a CPU; found device cpu, expected CUDA\. Use bf16, fp32 or auto",
    ):
        choose_precision("fp16", CPU)


def test_an_unknown_precision_lists_the_known_ones() -> None:
    with pytest.raises(
        SettingsError,
        match=r"precision: unknown precision 'fp8'; expected one of auto, fp32, bf16, fp16\. Choose one of them",
    ):
        choose_precision("fp8", CPU)


@pytest.mark.parametrize("name", PRECISIONS)
def test_names_of_precisions_round_trip(name: str) -> None:
    assert precision_name(PRECISIONS[name]) == name


def test_the_environment_is_plain_data() -> None:
    assert json.loads(json.dumps(environment())) == environment()
    assert environment()["htcnns"] == htcnns_version()


FAULTS = """
import resource, sys, torch
from threading import Thread
from htcnns.runs.devices import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def work():
    for _ in range(12):
        torch.ones(2**24)  # 64 MiB
thread = Thread(target=work)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has this")
@pytest.mark.parametrize(("how", "told"), [("keep", {}), ("start with it", KEEP_FREED)], ids=["told", "started"])
def test_kept_memory_is_reused_instead_of_allocated_each_time(how: str, told: Mapping[str, str]) -> None:
    """In threads, as the C library keeps separate memory for each unless told otherwise."""
    kept, given_back = _faults_and_kib(how, told), _faults_and_kib("give back", {})
    assert given_back[0] - kept[0] > 11 * 2**26 / 2**21 * 0.9  # pages of 4 KiB, or huge ones of 2 MiB
    assert kept[1] - given_back[1] < 2**19  # at most eight more of the twelve tensors


def _faults_and_kib(how: str, told: Mapping[str, str]) -> list[int]:
    """Page faults and peak memory in KiB of a process that fills twelve tensors in turn."""
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, env=os.environ | dict(told), capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


KEPT = """
import torch
from htcnns.runs.devices import give_back_freed_memory, keep_freed_memory
def pages():
    return int(open("/proc/self/statm").read().split()[1])
keep_freed_memory()
tensors = [torch.ones(2**24) for _ in range(4)]  # 64 MiB each
tensors.clear()
kept = pages()
give_back_freed_memory()
print((kept - pages()) * 4096)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has this")
def test_kept_memory_can_be_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 3 * 2**26


def test_a_c_library_without_the_setting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert not keep_freed_memory()
    give_back_freed_memory()
