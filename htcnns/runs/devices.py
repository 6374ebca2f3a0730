"""Which device and precision a run computes in."""

import torch

from htcnns.errors import DeviceError, SettingsError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device of that name: auto (CUDA when there is one), cpu, cuda or cuda:n.

    Raises:
        SettingsError: a name of another form.
        DeviceError: CUDA asked for and not there; the message says what is.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if n_gpus else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal() or name.endswith(":"):
        raise SettingsError(
            f"--device: unknown device {name!r}; known are auto, cpu, cuda, cuda:0 … Choose one of them."
        )
    wanted = int(number or 0) + 1
    if wanted > n_gpus:
        raise DeviceError(
            f"--device {name}: PyTorch {torch.__version__} sees {n_gpus} CUDA devices here, this needs {wanted}. "
            "Use --device cpu, or start the container with --gpus all on a machine with an NVIDIA driver."
        )
    return torch.device(f"cuda:{wanted - 1}")


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The precision of that name: auto, fp32, bf16 or fp16.

    Auto is fp16 on CUDA, bf16 on a CPU that computes in it, else fp32.

    Raises:
        SettingsError: an unknown name.
        DeviceError: fp16 on a CPU, which has no kernels for it.
    """
    if name == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    if name not in PRECISIONS:
        raise SettingsError(
            f"--precision: unknown {name!r}; known are auto, {', '.join(PRECISIONS)}. Choose one of them."
        )
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("--precision fp16: not on a CPU; found device cpu, expected CUDA. Use bf16, fp32 or auto.")
    return PRECISIONS[name]


def precision_name(dtype: torch.dtype) -> str:
    """fp32, bf16 or fp16."""
    return next(name for name, known in PRECISIONS.items() if known == dtype)
