"""Members on a device: from the input of the networks to each member's probabilities."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from htcnns.errors import DeviceError, DeviceMemoryError, HtcnnsError, SettingsError, WeightsError
from htcnns.files.manifest import MANIFEST, read_manifest
from htcnns.files.member import Member
from htcnns.files.weights import load_networks, require_few_bytes
from htcnns.image.fusion import require_fusable
from htcnns.image.member_input import shown_to_member
from htcnns.image.preprocess import Prepared, PreprocessSettings
from htcnns.image.windows import Windows, mirror_axes, place_windows, slide
from htcnns.labels import GLIOMA, SEQUENCES, RegionSet
from htcnns.networks.contract import Network, each_axis, region_probabilities
from htcnns.networks.limits import require_edges
from htcnns.runs.devices import choose_device, choose_precision, not_usable, precision_name
from htcnns.runs.settings import RunSettings
from htcnns.volume import Shape, size_text

PAPERS_OVERLAP = 0.6  # of HT-CNNs


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Somebody asked the run to stop; the case in progress is dropped."""


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Loaded members, ready to run.

    Attributes:
        members: one or more members, all with the same regions.
        networks: networks of each member by its name, one per fold, on the device in channels-last.
        device: device of the networks.
        precision: precision of the networks.
        note: reason why this is not the requested device; empty if it is.
    """

    members: tuple[Member, ...]
    networks: dict[str, list[Network]]
    device: torch.device
    precision: torch.dtype
    note: str = ""

    @property
    def regions(self) -> RegionSet:
        """The regions that every member predicts."""
        return self.members[0].regions

    @property
    def preprocess_settings(self) -> PreprocessSettings:
        """Settings that suit every member: the largest window and box."""
        return _preprocess_settings(self.members)


@dataclass
class Stopwatch:
    """Adds up the seconds that forward passes take and counts the windows."""

    forward_s: float = 0.0
    n_windows: int = 0


def start_ensemble(members: tuple[Member, ...], *, device: str, precision: str) -> Ensemble:
    """The members, loaded on the named device in the named precision; see `runs.devices`.

    If "auto" finds a GPU that cannot be used, the CPU is used instead, with a note; a GPU asked for by name must work.

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
        SettingsError: no member, more than can be fused, or members with different regions.
        WeightsError: the same if these are all members of their manifest; as files.weights.load_networks.
        DeviceError: the device has no room for them, is in use by others, or does not work with this build of PyTorch.
    """
    _require_fusable(members)
    require_room(members)
    networks = {}
    try:
        for member in members:
            networks[member.name] = [_on_device(network, device) for network in load_networks(member)]
        if device.type == "cuda":  # a GPU that this build has no kernels for fails only when it computes
            torch.nn.functional.conv3d(
                torch.ones(1, 1, 3, 3, 3, device=device), torch.ones(1, 1, 3, 3, 3, device=device)
            )
            torch.cuda.synchronize(device)
    except RuntimeError as error:  # out of memory is one of them
        raise not_usable(device, error) from error
    return Ensemble(members=members, networks=networks, device=device, precision=precision)


def member_probabilities(
    ensemble: Ensemble,
    member: Member,
    prepared: Prepared,
    *,
    settings: RunSettings,
    on_window: Callable[[], None],
    stopwatch: Stopwatch,
) -> np.ndarray:
    """Probabilities of the regions, averaged over windows, mirrored passes and folds.

    A member with its own preprocessing sees the brain after that; its probabilities are mapped back.

    Args:
        on_window: called after every batch of windows; may raise Stopped.
        stopwatch: stopwatch to which the seconds and windows of this member are added.

    Returns:
        (R, i, j, k) float32 in the order of the ensemble's regions; 0 outside all windows that contain brain.

    Raises:
        DeviceMemoryError: the device ran out of memory.
        DeviceError: values are not finite, in a precision below fp32.
        WeightsError: values are not finite even in fp32.
    """
    order = [SEQUENCES.index(sequence) for sequence in member.sequences]
    seen = shown_to_member(prepared, member.preprocessing)
    x = torch.from_numpy(seen.array[order]).to(ensemble.device)
    windows = _windows(ensemble, member, prepared, overlap=settings.overlap)
    networks = ensemble.networks[member.name]
    total = torch.zeros(())
    try:
        with torch.inference_mode():
            for network in networks:
                timed = _timed(_probabilities_of(network, member, ensemble), stopwatch, ensemble.device)
                total = (
                    total
                    + slide(
                        timed,
                        x,
                        windows,
                        mirror_axes=mirror_axes(mirrored(member, settings)),
                        batch=settings.batch,
                        on_window=lambda *_: on_window(),
                    ).cpu()
                )
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"{ensemble.device} ran out of memory on windows of {size_text(member.window)} ({error})",
            place=member.name,
            remedy="Use batch 1, another GPU or device cpu.",
        ) from error
    if not torch.isfinite(total).all():
        raise _not_finite(member, ensemble)
    said = (total / len(networks)).numpy()
    return said if seen is prepared else seen.undo(said)


def mirrored(member: Member, settings: RunSettings) -> str:
    """The axes that a member is mirrored over: those of the run's settings, or else of its manifest."""
    return member.mirror if settings.mirror is None else settings.mirror


def n_windows(ensemble: Ensemble, prepared: Prepared, *, overlap: float | None) -> int:
    """Number of windows that all members together run over a case; folds count, mirrored passes do not."""
    return sum(n for n, _ in window_voxels(ensemble, prepared, overlap=overlap))


def window_voxels(ensemble: Ensemble, prepared: Prepared, *, overlap: float | None) -> tuple[tuple[int, int], ...]:
    """Number of windows that each member runs over a case, and voxels in each of them."""
    placed = [(member, _windows(ensemble, member, prepared, overlap=overlap)) for member in ensemble.members]
    return tuple(
        (len(ensemble.networks[member.name]) * len(windows.starts), math.prod(windows.size))
        for member, windows in placed
    )


def _windows(ensemble: Ensemble, member: Member, prepared: Prepared, *, overlap: float | None) -> Windows:
    """The windows of a member: sliding, or one around the brain if its manifest allows that and no overlap is set."""
    resize = member.preprocessing.resize
    shape = resize or prepared.brain.shape
    brain = None if resize else torch.from_numpy(prepared.brain)  # nearly every window of a resized box has brain
    if overlap is None and member.whole:
        multiples = each_axis(ensemble.networks[member.name][0].multiple)  # its files share one size
        i, j, k = (-(-edge // m) * m for edge, m in zip(shape, multiples, strict=True))
        if all(edge <= most for edge, most in zip((i, j, k), member.whole, strict=True)):
            return place_windows(shape, (i, j, k), overlap=0, occupied=brain)
    return place_windows(shape, member.window, overlap=PAPERS_OVERLAP if overlap is None else overlap, occupied=brain)


def _not_finite(member: Member, ensemble: Ensemble) -> HtcnnsError:
    """The error for values that are not finite: about the precision, or in fp32, the highest, about the weights."""
    problem = f"returned values that are not finite, in {precision_name(ensemble.precision)} on {ensemble.device}"
    if ensemble.precision == torch.float32:
        return WeightsError(
            problem, place=member.name, expected="probabilities", remedy="Its weights are unusable; leave it out."
        )
    return DeviceError(problem, place=member.name, expected="probabilities", remedy="Use precision fp32.")


def _on_device(network: Network, device: torch.device) -> Network:
    return network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # not in the stub


def _probabilities_of(network: Network, member: Member, ensemble: Ensemble) -> Callable[[Tensor], Tensor]:
    """The network in the ensemble's precision, followed by its head in float32."""

    def forward(windows: Tensor) -> Tensor:
        windows = windows.contiguous(memory_format=torch.channels_last_3d)
        with (
            _exact_convolutions(ensemble),
            torch.autocast(ensemble.device.type, ensemble.precision, enabled=ensemble.precision != torch.float32),
        ):
            logits = network(windows)
        return region_probabilities(logits, member.regions, member.head, member.outputs)

    return forward


def _exact_convolutions(ensemble: Ensemble) -> AbstractContextManager:
    """A context that, for fp32 on CUDA, turns off TF32, the 10-bit products that cuDNN uses by default."""
    if ensemble.device.type == "cuda" and ensemble.precision == torch.float32:
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return nullcontext()


def _timed(
    forward: Callable[[Tensor], Tensor], stopwatch: Stopwatch, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """The same function, which also adds its seconds and windows to the stopwatch."""

    def timed(windows: Tensor) -> Tensor:
        began = time.perf_counter()
        result = forward(windows)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        stopwatch.forward_s += time.perf_counter() - began
        stopwatch.n_windows += len(windows)
        return result

    return timed


def _require_fusable(members: tuple[Member, ...]) -> None:
    """Raise SettingsError if the chosen members cannot be fused, WeightsError if they are the whole manifest."""
    try:
        require_fusable_members(members)
    except SettingsError as error:
        manifest = members[0].files[0].path.parent / MANIFEST
        if read_manifest(manifest.parent) != members:
            raise
        remedy = "Name the members to fuse, or restore the file that belongs to the weights."
        raise error.inside(manifest, kind=WeightsError, remedy=remedy) from error


def require_room(members: tuple[Member, ...]) -> None:
    """Raise SettingsError or WeightsError where windows or files of these members are too large to run together."""
    require_edges(_preprocess_settings(members).least, what="the box that holds every window")
    require_few_bytes(members)


def require_fusable_members(members: tuple[Member, ...]) -> None:
    """Raise SettingsError if members predict different regions, or there are none or more than can be fused."""
    names = {member.name: member.regions.name for member in members}
    if len(set(names.values())) > 1:
        raise SettingsError(
            "members with different regions cannot be fused",
            setting="members",
            found=", ".join(f"{name} with {regions}" for name, regions in names.items()),
            expected="one set of regions",
            remedy="Choose members of one set.",
        )
    require_fusable(len(members), members[0].regions if members else GLIOMA)


def _preprocess_settings(members: tuple[Member, ...]) -> PreprocessSettings:
    sized = [member for member in members if not member.preprocessing.resize]  # the others resize the brain themselves
    boxes = [member.box for member in sized if member.box]
    window = _largest([member.window for member in sized] or [(1, 1, 1)])
    return PreprocessSettings(window=window, box=_largest(boxes) if boxes else None)


def _largest(shapes: list[Shape]) -> Shape:
    i, j, k = (max(edges) for edges in zip(*shapes, strict=True))
    return i, j, k
