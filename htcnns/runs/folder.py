"""A folder of cases in, a folder of masks and a report out: every check before the first network runs."""

import os
import platform
import time
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from htcnns.errors import InputError, SettingsError
from htcnns.files.cases import Case, Leftover, search
from htcnns.files.report import write_report
from htcnns.files.weights import Member, choose_members, read_manifest
from htcnns.files.whole import require_no_folder, require_writable, sweep
from htcnns.labels import Sequence
from htcnns.runs.batch import FAILED, NOT_STARTED, BatchSettings, Outcome, Watcher, segment_batch, targets_of
from htcnns.runs.devices import precision_name
from htcnns.runs.ensemble import Ensemble, start_ensemble
from htcnns.runs.targets import require_no_scan

SHIPPED_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


@dataclass(frozen=True)
class Request:
    """All that a run is asked for.

    Attributes:
        input, output: folders.
        weights: folder with a manifest.
        members: names from the manifest; all when empty.
        device, precision: names, see runs.devices.
        channels: what nnU-Net's 0000, 0001 … are; None reads dataset.json.
        report: where the JSON report goes, or None; a challenge wants nothing but masks in the output folder.
        batch: how the cases are run.
    """

    input: Path
    output: Path
    weights: Path = SHIPPED_WEIGHTS
    members: tuple[str, ...] = ()
    device: str = "auto"
    precision: str = "auto"
    channels: tuple[Sequence, ...] | None = None
    report: Path | None = None
    batch: BatchSettings = field(default_factory=BatchSettings)


@dataclass(frozen=True)
class Start:
    """What stands fixed when a run begins, to be told to a person.

    Attributes:
        not_used: NIfTI files of the input that belong to no case.
        swept: temporaries of killed runs, removed.
    """

    cases: tuple[Case, ...]
    not_used: tuple[Leftover, ...]
    ensemble: Ensemble
    swept: tuple[Path, ...]


def prepare(request: Request) -> Start:
    """Find the cases, try the folders, load the members.

    Raises:
        InputError, OutputError, WeightsError, DeviceError, SettingsError: whatever stops the run before any work.
    """
    _require_masks_alone(request)
    cases, not_used = _find(request)
    members = choose_members(read_manifest(request.weights), request.members)
    ensemble = start_ensemble(members, device=request.device, precision=request.precision)
    folders = _folders_to_write(request)  # last, so that other mistakes leave no empty folder behind
    for folder in folders:
        require_writable(folder)
    return Start(cases, not_used, ensemble, sum((sweep(folder) for folder in folders), ()))


def _require_masks_alone(request: Request) -> None:
    """Raise SettingsError where anything but masks would go into the output folder or below it."""
    output = Path(os.path.realpath(request.output))
    others = {
        "--probabilities": request.batch.probabilities,
        "--previews": request.batch.previews,
        "--report": request.report,
    }
    for flag, path in others.items():
        if path and Path(os.path.realpath(path)).is_relative_to(output):
            raise SettingsError(
                f"{flag}: {path} lies in the output folder {request.output}, where only masks may lie, as challenges "
                "take every file there for one. Give a place beside it."
            )


def run(request: Request, start: Start, *, watcher: Watcher) -> list[Outcome]:
    """Segment the cases of `start` and write the report, also when the batch ends early.

    Raises:
        OutputError: the disk is full or a folder cannot be written any more.
    """
    seen: list[Outcome] = []

    def remember(outcome: Outcome) -> None:
        seen.append(outcome)
        watcher.on_outcome(outcome)

    began = time.perf_counter()
    try:
        listening = replace(watcher, on_outcome=remember)
        seen = segment_batch(start.cases, request.output, start.ensemble, request.batch, watcher=listening)
    finally:
        if request.report:
            told = {outcome.case for outcome in seen}
            rest = [Outcome(case.name, NOT_STARTED) for case in start.cases if case.name not in told]
            write_report(request.report, _report(request, start, seen + rest, time.perf_counter() - began))
    return seen


def n_failed(outcomes: list[Outcome]) -> int:
    """How many cases failed."""
    return sum(outcome.state == FAILED for outcome in outcomes)


def environment() -> dict[str, object]:
    """Versions and machine, for reports and `htcnns doctor`."""
    return {
        "htcnns": htcnns_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if torch.cuda.is_available()
        else [],
    }


def htcnns_version() -> str:
    """The installed version, or "source" where the code runs without having been installed."""
    try:
        return version("htcnns")
    except PackageNotFoundError:
        return "source"


def _report(request: Request, start: Start, outcomes: list[Outcome], seconds: float) -> dict:
    """The report's content; plain data and dataclasses."""
    return {
        "format": 1,
        "environment": environment(),
        "device": str(start.ensemble.device),
        "device_note": start.ensemble.note,
        "precision": precision_name(start.ensemble.precision),
        "settings": asdict(request),
        "members": [_described(member) for member in start.ensemble.members],
        "seconds": round(seconds, 3),
        "n_done": sum(outcome.state == "done" for outcome in outcomes),
        "n_failed": n_failed(outcomes),
        "cases": outcomes,
        "not_used": start.not_used,
    }


def _described(member: Member) -> dict:
    return {
        "name": member.name,
        "title": member.title,
        "files": {file.path.name: file.sha256 for file in member.files},
        "rules": member.rules,
        "trained_on": member.trained_on,
        "scores": member.scores,
    }


def _find(request: Request) -> tuple[tuple[Case, ...], tuple[Leftover, ...]]:
    """The cases of the input, and its files that belong to none; what the run itself writes is neither.

    Raises:
        InputError: as `files.cases.search`.
        SettingsError: a file to be written is a scan or truth of one of the cases.
    """
    folders = (request.output, request.batch.probabilities, request.batch.previews)
    own = [folder for folder in folders if folder and os.path.isdir(folder) and not _holds_a_case(folder, request)]
    found = search(request.input, channels=request.channels, skip=own)
    targets = [targets_of(case, request.output, request.batch) for case in found.cases]
    require_no_scan(targets, report=request.report)
    written = {os.path.realpath(path) for each in targets for path in each.paths}
    return found.cases, tuple(other for other in found.leftovers if os.path.realpath(other.path) not in written)


def _holds_a_case(folder: Path, request: Request) -> bool:
    """Whether a folder inside the input is a patient's as well, so that it must be looked into."""
    inside = Path(os.path.realpath(request.input)) in Path(os.path.realpath(folder)).parents
    try:
        return inside and any(not case.missing for case in search(folder, channels=request.channels).cases)
    except InputError:  # there is none
        return False


def _folders_to_write(request: Request) -> tuple[Path, ...]:
    """Every folder that the run writes to, each once."""
    if request.report:
        require_no_folder(request.report, flag="--report")
    report = request.report.parent if request.report else None
    folders = (request.output, request.batch.probabilities, request.batch.previews, report)
    return tuple(dict.fromkeys(folder for folder in folders if folder))
