"""A worker of a cluster: the members on its device, one case in progress and the next one read ahead."""

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock

import torch

from htcnns.errors import HtcnnsError, OutputError, WeightsError
from htcnns.files.cluster_surroundings import enter
from htcnns.files.manifest import choose_members, chosen_weights, read_manifest
from htcnns.files.outputs import CaseOutputs
from htcnns.reports.outcome import Outcome
from htcnns.runs.batch import segment_here
from htcnns.runs.devices import PRECISIONS, htcnns_version, precision_name
from htcnns.runs.ensemble import Ensemble, Stopped, start_ensemble
from htcnns.runs.resources import Resources
from htcnns.runs.settings import RunSettings
from htcnns.runs.watcher import Watcher


@dataclass(frozen=True, kw_only=True)
class Order:
    """What every worker of a run is started with.

    Attributes:
        settings: settings of the run.
        folder: folder that the run was started in, and that paths are relative to.
        version, method: version of htcnns there, and digest of its weights and settings; a worker's must be the same.
    """

    settings: RunSettings
    folder: Path
    version: str
    method: str


@dataclass(frozen=True, kw_only=True)
class Station:
    """What a worker computes on; `note` says why this is not the requested device, and is empty if it is."""

    machine: str
    device: str
    precision: str
    note: str

    def __str__(self) -> str:
        return f"{self.machine}: {self.device} in {self.precision}{self.note and f' ({self.note})'}"

    def described(self, ensemble: Ensemble) -> Ensemble:
        """The ensemble as if it were on this station, for reports."""
        device, precision = torch.device(self.device), PRECISIONS[self.precision]
        return replace(ensemble, device=device, precision=precision, note=self.note)


class Worker:
    """Segments cases as a run on one machine does; its methods may be called from several threads.

    Errors meant for the user are returned, not raised, so that they reach the run unchanged.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._turn = Lock()
        self._is_stopped = Event()

    def start(self) -> Station | HtcnnsError:
        """Load the members; return what they compute on, or why they cannot."""
        order, machine = self._order, platform.node()
        try:
            enter(order.folder)
            self._resources = _loaded(order)
        except HtcnnsError as error:
            return error.at(f"worker on {machine}")
        ensemble = self._resources.ensemble
        return Station(
            machine=machine,
            device=str(ensemble.device),
            precision=precision_name(ensemble.precision),
            note=ensemble.note,
        )

    def segment(self, outputs: CaseOutputs) -> Outcome | OutputError | Stopped | None:
        """The outcome of a case, after writing its files; None while another run has it, or why the run must end."""
        watcher = Watcher(should_stop=self._is_stopped.is_set)
        try:
            [(_, outcome)] = segment_here(self._resources, [outputs], watcher=watcher, turn=self._turn)
        except (OutputError, Stopped) as error:
            return error
        return outcome

    def stop(self) -> None:
        """Let the cases in progress end between two windows, without an outcome."""
        self._is_stopped.set()


def _loaded(order: Order) -> Resources:
    """The members on this machine's device.

    Raises:
        HtcnnsError: they cannot be loaded, or are not those of the run.
    """
    settings = order.settings
    members = choose_members(read_manifest(chosen_weights(settings.weights)), settings.members)
    resources = Resources(start_ensemble(members, device=settings.device, precision=settings.precision), settings)
    here = {"htcnns": htcnns_version(), "weights and settings": resources.method[:8]}
    there = {"htcnns": order.version, "weights and settings": order.method[:8]}
    if here != there:
        raise WeightsError(
            "not what the run was started with",
            found=", ".join(f"{name} {value}" for name, value in here.items()),
            expected=", ".join(f"{name} {value}" for name, value in there.items()),
            remedy="Install the same version on every machine, or name a folder of weights that all of them see.",
        )
    return resources
