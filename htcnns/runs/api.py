"""The same from Python: one case by its four files, or a folder."""

from dataclasses import dataclass, field
from pathlib import Path

from htcnns.errors import require_known
from htcnns.files.cases import Case
from htcnns.files.nifti import write_label_map
from htcnns.files.weights import choose_members, read_manifest
from htcnns.files.whole import require_writable
from htcnns.image.fusion import FUSIONS
from htcnns.labels import LabelSet, Sequence, encode, label_set
from htcnns.runs.batch import BatchSettings, Outcome, Watcher
from htcnns.runs.ensemble import EnsembleSettings, start_ensemble
from htcnns.runs.folder import SHIPPED_WEIGHTS, Request, prepare, run
from htcnns.runs.pipeline import Segmentation, make_ready, segment_ready
from htcnns.runs.targets import Targets, require_no_scan


@dataclass(frozen=True)
class SegmentSettings:
    """How `segment` runs; the names mean what the command line's flags mean. No labels: 1 2 3, or by a case's name."""

    weights: Path = SHIPPED_WEIGHTS
    members: tuple[str, ...] = ()
    device: str = "auto"
    precision: str = "auto"
    fusion: str = "staple"
    labels: str | None = None
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)

    def __post_init__(self) -> None:
        require_known(self.fusion, FUSIONS, what="fusion")
        if self.labels is not None:
            label_set(self.labels)


def segment(
    *,
    t1n: str | Path,
    t1c: str | Path,
    t2w: str | Path,
    t2f: str | Path,
    output: str | Path | None = None,
    settings: SegmentSettings | None = None,
) -> Segmentation:
    """Segment one case.

    Args:
        t1n, t1c, t2w, t2f: NIfTI files on one grid.
        output: where to write the mask, on the grid of t1c and in the numbers of `settings.labels`; None writes none.

    Returns:
        The label map, (I, J, K) uint8 of Label values on the grid of t1c, with volumes, members and notes.

    Raises:
        InputError, WeightsError, DeviceError, OutputError, SettingsError: as the command line's exit codes.
    """
    how = settings or SegmentSettings()
    numbers = label_set(how.labels or "brats2023")
    paths = (Path(t1n), Path(t1c), Path(t2w), Path(t2f))
    case = Case(paths[1].name, dict(zip(Sequence, paths, strict=True)), "free", paths[1].parent, flat=True)
    if output is not None:
        require_no_scan([Targets(case, Path(output), {}, None)])
        require_writable(Path(output).parent)
    members = choose_members(read_manifest(how.weights), how.members)
    ensemble = start_ensemble(members, device=how.device, precision=how.precision)
    answer = segment_ready(
        make_ready(case, ensemble),
        ensemble,
        how.ensemble,
        fusion=how.fusion,
        numbers=numbers,
        keep_probabilities=False,
        on_window=lambda: None,
    )
    if output is not None:
        _write(Path(output), answer, numbers, like=paths[1])
    return answer


def segment_folder(
    input: str | Path,
    output: str | Path,
    *,
    settings: SegmentSettings | None = None,
    batch: BatchSettings | None = None,
    report: str | Path | None = None,
    channels: tuple[Sequence, ...] | None = None,
) -> list[Outcome]:
    """Segment every case of a folder into another; one outcome a case, failed ones among them.

    Args:
        settings: weights, members, device, precision; fusion, labels and windows where `batch` is None.
        batch: all that the command line can set besides.
        report: where a JSON report goes.
        channels: what nnU-Net's 0000, 0001 … are; None reads dataset.json.

    Raises:
        HtcnnsError: whatever stops the run before any work, and a full disk.
    """
    how = settings or SegmentSettings()
    request = Request(
        Path(input),
        Path(output),
        weights=how.weights,
        members=how.members,
        device=how.device,
        precision=how.precision,
        channels=channels,
        report=Path(report) if report else None,
        batch=batch or BatchSettings(ensemble=how.ensemble, fusion=how.fusion, labels=how.labels),
    )
    return run(request, prepare(request), watcher=Watcher())


def _write(path: Path, answer: Segmentation, numbers: LabelSet, *, like: Path) -> None:
    allowed = frozenset(numbers.numbers.values())
    write_label_map(path, encode(answer.label_map, numbers), like=like, allowed=allowed)
