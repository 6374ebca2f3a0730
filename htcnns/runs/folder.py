"""A folder of cases in, a folder of masks and a report out: every check before the first network runs."""

import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from htcnns.errors import OutputError, SettingsError
from htcnns.files.cases import Case, find_cases
from htcnns.files.report import write_report
from htcnns.files.weights import Member, choose_members, read_manifest
from htcnns.files.whole import sweep
from htcnns.labels import Sequence
from htcnns.runs.batch import FAILED, NOT_STARTED, BatchSettings, Outcome, Watcher, segment_batch
from htcnns.runs.devices import choose_device, choose_precision, precision_name
from htcnns.runs.ensemble import Ensemble, load_ensemble

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
    """What stands fixed when a run begins, to be told to a person."""

    cases: tuple[Case, ...]
    ensemble: Ensemble
    swept: tuple[Path, ...]


def prepare(request: Request) -> Start:
    """Find the cases, try the folders, load the members.

    Raises:
        InputError, OutputError, WeightsError, DeviceError, SettingsError: whatever stops the run before any work.
    """
    for folder, flag in ((request.batch.probabilities, "--probabilities"), (request.batch.previews, "--previews")):
        if folder and folder.resolve() == request.output.resolve():
            raise SettingsError(
                f"{flag}: is the output folder {folder}, where only masks may lie. Give another folder."
            )
    cases = find_cases(request.input, channels=request.channels)
    device = choose_device(request.device)
    precision = choose_precision(request.precision, device)
    members = choose_members(read_manifest(request.weights), request.members)
    ensemble = load_ensemble(members, device=device, precision=precision)
    folders = _folders_to_write(request)  # last, so that other mistakes leave no empty folder behind
    for folder in folders:
        require_writable(folder)
    return Start(cases, ensemble, sum((sweep(folder) for folder in folders), ()))


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
        "precision": precision_name(start.ensemble.precision),
        "settings": asdict(request),
        "members": [_described(member) for member in start.ensemble.members],
        "seconds": round(seconds, 3),
        "n_done": sum(outcome.state == "done" for outcome in outcomes),
        "n_failed": n_failed(outcomes),
        "cases": outcomes,
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


def _folders_to_write(request: Request) -> tuple[Path, ...]:
    """Every folder that the run writes to, each once."""
    if request.report and request.report.is_dir():
        raise OutputError(f"{request.report}: is a folder; expected the name of a file. Give --report FILE.json.")
    report = request.report.parent if request.report else None
    folders = (request.output, request.batch.probabilities, request.batch.previews, report)
    return tuple(dict.fromkeys(folder for folder in folders if folder))


def require_writable(folder: Path) -> None:
    """Make the folder if need be and try it with a real file; permission bits alone do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".htcnns-0-", suffix=".part", dir=folder)
        os.close(handle)
        os.unlink(name)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written by user {os.getuid()} ({error.strerror}); expected a writable folder. "
            "Give another folder, or run as its owner (docker run --user)."
        ) from error
