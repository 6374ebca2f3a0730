"""Which device and precision a run computes in."""

import ctypes
import platform
import resource
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

import torch

from htcnns.errors import DeviceError, SettingsError, require_known

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
# the same settings as environment variables, for a process that is yet to start
KEEP_FREED = MappingProxyType({"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62), "MALLOC_ARENA_MAX": "1"})
PRECISIONS = MappingProxyType({"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16})


def choose_device(name: str) -> torch.device:
    """The device of that name: auto (CUDA where there is one), cpu, cuda or cuda:n.

    Raises:
        SettingsError: a name of another form.
        DeviceError: CUDA was asked for and is not available; the message states what is.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if n_gpus else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal() or name.endswith(":"):
        raise SettingsError(
            f"unknown device {name!r}",
            setting="device",
            expected="auto, cpu, cuda, cuda:0, cuda:1 …",
            remedy="Choose one of them.",
        )
    wanted = int(number or 0)
    if wanted >= n_gpus:
        raise DeviceError(
            f"no {name} here",
            setting="device",
            found=f"CUDA devices that PyTorch {torch.__version__} sees: {n_gpus}",
            expected=f"{wanted + 1} or more",
            remedy="Use device cpu, or give the container its GPUs on a machine with an NVIDIA driver.",
        )
    return torch.device(f"cuda:{wanted}")


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The precision of that name: auto, fp32, bf16 or fp16.

    Auto is fp16 on CUDA, bf16 on a CPU with AVX-512 BF16, else fp32.

    Raises:
        SettingsError: an unknown name.
        DeviceError: fp16 on a CPU, which has no kernels for it.
    """
    require_known(name, ("auto", *PRECISIONS), what="precision", setting="precision")
    if name == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    if name == "fp16" and device.type == "cpu":
        raise DeviceError(
            "fp16 does not run on a CPU",
            setting="precision",
            found="device cpu",
            expected="CUDA",
            remedy="Use bf16, fp32 or auto.",
        )
    return PRECISIONS[name]


def not_usable(device: torch.device, error: RuntimeError) -> DeviceError:
    """The error for a device that PyTorch cannot use, such as one without free memory."""
    return DeviceError(
        f"cannot be used ({str(error).splitlines()[0]})", place=device, remedy="Free the device or use device cpu."
    )


def precision_name(dtype: torch.dtype) -> str:
    """fp32, bf16 or fp16."""
    return next(name for name, known in PRECISIONS.items() if known == dtype)


def keep_freed_memory() -> bool:
    """Let this process keep the memory that tensors free and reuse it for later ones.

    Otherwise every large tensor's pages are returned to the system, requested again and zeroed: on two cores that took
    14 % of a training step on 96-cubes, 43 % on 64-cubes (compact U-Net, bf16, AMD EPYC) and a fifth of a batch of
    cases. In return peak memory rises by up to 20 % in training, by a tenth in a batch. Call this before the
    process starts any thread, as threads may keep memory of their own for good; where that is too late, as in Ray's
    workers, start the process with KEEP_FREED in its environment. The process keeps the memory of its largest case, see
    `give_back_freed_memory`.

    Returns:
        Whether the C library accepted the settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no glibc
        return False
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_ARENA_MAX, 1)])


def give_back_freed_memory() -> None:
    """Return the memory that this process has kept to the system, as when it will be idle for a while."""
    with suppress(OSError, AttributeError, TypeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory_mib(device: torch.device) -> dict[str, float | None]:
    """The peak memory of this process so far, and that of its tensors on the device.

    The device's value is None on a CPU, where the process's value includes it.
    """
    of_device = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    return {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, "device": of_device}


def environment() -> dict[str, object]:
    """Versions and machine, for reports, logs and the manifests of trained weights."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "htcnns": htcnns_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(n_gpus)],
    }


def htcnns_version() -> str:
    """The installed version, or "source" if the code runs without having been installed."""
    try:
        return version("htcnns")
    except PackageNotFoundError:
        return "source"
