"""Members on a device: from what the networks see to each member's probabilities."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from htcnns.errors import DeviceError, SettingsError, WeightsError
from htcnns.files.weights import Member, load_networks
from htcnns.image.fusion import require_fusable
from htcnns.image.preprocess import Prepared, PreprocessSettings
from htcnns.image.windows import WindowSettings, count_windows, slide
from htcnns.labels import REGIONS, SEQUENCES
from htcnns.networks.blocks import require_multiple
from htcnns.runs.devices import choose_device, choose_precision, precision_name


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Somebody asked the run to stop; the case at hand is dropped."""


@dataclass(frozen=True)
class EnsembleSettings:
    """How members are slid over a case.

    Attributes:
        overlap: of neighbouring windows, as a part of their edge; 0.6 in HT-CNNs.
        mirror: axes to mirror over, as letters of "ijk" (left-right, front-back, up-down); "" for none.
        batch: windows at a time.
    """

    overlap: float = 0.6
    mirror: str = ""
    batch: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise SettingsError(
                f"--overlap: {self.overlap} is out of range; expected 0 to below 1. Give another number."
            )
        if set(self.mirror) - set("ijk") or len(set(self.mirror)) < len(self.mirror):
            raise SettingsError(f"--mirror: found {self.mirror!r}; expected letters of ijk, each once. Correct it.")
        if self.batch < 1:
            raise SettingsError(f"--batch: {self.batch} windows at a time; expected at least 1. Give another number.")


@dataclass(frozen=True)
class Ensemble:
    """Loaded members, ready to run.

    Attributes:
        networks: of each member, one per fold, on the device in channels-last.
        note: why this is not the device that was wanted; empty where it is.
    """

    members: tuple[Member, ...]
    networks: dict[str, list[nn.Module]]
    device: torch.device
    precision: torch.dtype
    note: str = ""

    @property
    def preprocess_settings(self) -> PreprocessSettings:
        """What satisfies every member: the largest window and box."""
        boxes = [member.box for member in self.members if member.box]
        return PreprocessSettings(
            window=_largest([member.window for member in self.members]), box=_largest(boxes) if boxes else None
        )


@dataclass
class Stopwatch:
    """Adds up the seconds that forward passes take and counts them."""

    forward_s: float = 0.0
    n_windows: int = 0


def start_ensemble(members: tuple[Member, ...], *, device: str, precision: str) -> Ensemble:
    """The members on the device and in the precision of those names; see `runs.devices`.

    A GPU that "auto" found and that cannot be used gives way to the CPU, with a note; one asked for by name does not.

    Raises:
        SettingsError, DeviceError, WeightsError: as choose_device, choose_precision and load_ensemble.
    """
    chosen = choose_device(device)
    try:
        return load_ensemble(members, device=chosen, precision=choose_precision(precision, chosen))
    except DeviceError as error:
        if device != "auto" or chosen.type == "cpu":
            raise
        cpu = torch.device("cpu")
        ensemble = load_ensemble(members, device=cpu, precision=choose_precision(precision, cpu))
        return replace(ensemble, note=f"on the CPU instead: {error}")


def load_ensemble(members: tuple[Member, ...], *, device: torch.device, precision: torch.dtype) -> Ensemble:
    """Load every member's weights, once, onto the device.

    Raises:
        SettingsError: no member, or more than can be fused.
        WeightsError: as files.weights.load_networks, or a window that a network cannot take.
        DeviceError: the device has no room for them, is taken, or cannot compute with this build of PyTorch.
    """
    require_fusable(len(members))
    networks = {}
    try:
        for member in members:
            networks[member.name] = [
                network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
                for network in load_networks(member)
            ]
            _require_window(member, networks[member.name])
        if device.type == "cuda":  # a card that this build has no kernels for says so only when it computes
            torch.nn.functional.conv3d(
                torch.ones(1, 1, 3, 3, 3, device=device), torch.ones(1, 1, 3, 3, 3, device=device)
            )
            torch.cuda.synchronize(device)
    except RuntimeError as error:  # out of memory is one of them
        reason = str(error).splitlines()[0]
        raise DeviceError(f"{device}: cannot be used ({reason}). Free the device or use --device cpu.") from error
    return Ensemble(members, networks, device, precision)


def member_probabilities(
    ensemble: Ensemble,
    member: Member,
    prepared: Prepared,
    settings: EnsembleSettings,
    *,
    stopwatch: Stopwatch,
    on_window: Callable[[], None],
) -> np.ndarray:
    """Probabilities of the regions, averaged over windows, mirrored passes and folds.

    Args:
        on_window: called after every batch of windows; may raise Stopped.

    Returns:
        (3, i, j, k) float32 in the order of REGIONS; 0 where no window with brain lies.

    Raises:
        DeviceError: the device ran out of memory, or the precision was too small for the numbers.
    """
    order = [SEQUENCES.index(sequence) for sequence in member.sequences]
    x = torch.from_numpy(prepared.array[order]).to(ensemble.device)
    occupied = torch.from_numpy(prepared.brain).to(ensemble.device)
    windows = WindowSettings(
        size=member.window,
        overlap=settings.overlap,
        mirror_axes=tuple("ijk".index(letter) for letter in settings.mirror),
        batch=settings.batch,
    )
    total = torch.zeros(())
    try:
        with torch.inference_mode():
            for network in ensemble.networks[member.name]:
                timed = _timed(_probabilities_of(network, ensemble), stopwatch, ensemble.device)
                total = total + slide(timed, x, windows, occupied=occupied, on_window=lambda *_: on_window()).cpu()
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{member.name}: {ensemble.device} ran out of memory on windows of {member.window} ({error}). "
            "Use --batch 1, another GPU or --device cpu."
        ) from error
    if not torch.isfinite(total).all():
        raise DeviceError(
            f"{member.name}: gave numbers that are not finite in {precision_name(ensemble.precision)} on "
            f"{ensemble.device}; expected probabilities. Use --precision fp32."
        )
    mean = total / len(ensemble.networks[member.name])
    return mean[[member.regions.index(region) for region in REGIONS]].numpy()


def n_windows(ensemble: Ensemble, prepared: Prepared, settings: EnsembleSettings) -> int:
    """Windows that all members together will run over a case, folds and not mirrored passes counted."""
    occupied = torch.from_numpy(prepared.brain)
    return sum(
        len(ensemble.networks[member.name])
        * count_windows(
            prepared.brain.shape, WindowSettings(size=member.window, overlap=settings.overlap), occupied=occupied
        ).n_run
        for member in ensemble.members
    )


def _probabilities_of(network: nn.Module, ensemble: Ensemble) -> Callable[[Tensor], Tensor]:
    """The network followed by a float32 sigmoid, under the ensemble's precision."""

    def forward(windows: Tensor) -> Tensor:
        windows = windows.contiguous(memory_format=torch.channels_last_3d)
        with (
            _exact_convolutions(ensemble),
            torch.autocast(ensemble.device.type, ensemble.precision, enabled=ensemble.precision != torch.float32),
        ):
            logits = network(windows)
        return logits.float().sigmoid()

    return forward


def _exact_convolutions(ensemble: Ensemble) -> AbstractContextManager:
    """In fp32 on CUDA, without the 10-bit products that cuDNN takes by default."""
    if ensemble.device.type == "cuda" and ensemble.precision == torch.float32:
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return nullcontext()


def _timed(
    forward: Callable[[Tensor], Tensor], stopwatch: Stopwatch, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """The same function, its seconds added to the stopwatch."""

    def timed(windows: Tensor) -> Tensor:
        began = time.perf_counter()
        result = forward(windows)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        stopwatch.forward_s += time.perf_counter() - began
        stopwatch.n_windows += len(windows)
        return result

    return timed


def _require_window(member: Member, networks: list[nn.Module]) -> None:
    """Raise WeightsError unless the member's window is one that its networks take."""
    try:
        for network in networks:
            require_multiple(torch.empty(member.window, device="meta"), network.multiple, network=member.name)  # type: ignore[arg-type]
    except SettingsError as error:
        raise WeightsError(str(error).replace("Change the window", "Correct the manifest")) from error


def _largest(shapes: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    i, j, k = (max(edges) for edges in zip(*shapes, strict=True))
    return i, j, k
