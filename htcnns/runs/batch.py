"""Many cases: what is finished is kept, a bad case costs only itself, the next is read while the networks run."""

import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from htcnns.errors import HtcnnsError, OutputError, SettingsError, require_known
from htcnns.files.cases import Case
from htcnns.files.nifti import read_label_map, write_empty_mask, write_label_map, write_map
from htcnns.files.preview import write_preview
from htcnns.image.fusion import FUSIONS
from htcnns.labels import REGIONS, SEQUENCES, LabelSet, Sequence, default_label_set, encode, label_set
from htcnns.runs.ensemble import Ensemble, EnsembleSettings, Stopped, n_windows
from htcnns.runs.pipeline import MemberFinding, Ready, Segmentation, make_ready, segment_ready

DONE, KEPT, FAILED, NOT_STARTED = "done", "kept", "failed", "not started"


@dataclass(frozen=True)
class BatchSettings:
    """How a batch is run.

    Attributes:
        ensemble: windows and mirroring.
        fusion: staple, majority or mean.
        labels: name of a label set; None takes each case's own by its name.
        again: segment cases anew whose mask is there already.
        on_failure: "skip" writes nothing for a case that fails, "empty" writes an empty mask.
        probabilities: folder for the fused probabilities of each region, or None.
        previews: folder for overlay pictures, or None.
        short_names: 00495.nii.gz for a BraTS2021_00495 that lies flat in the input, as the challenge of 2021 wants.
    """

    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    fusion: str = "staple"
    labels: str | None = None
    again: bool = False
    on_failure: str = "skip"
    probabilities: Path | None = None
    previews: Path | None = None
    short_names: bool = False

    def __post_init__(self) -> None:
        require_known(self.fusion, FUSIONS, what="fusion", where="--fusion")
        require_known(self.on_failure, ("skip", "empty"), what="choice", where="--on-failure")
        if self.labels is not None:
            label_set(self.labels)

    def numbers_for(self, case: Case) -> LabelSet:
        """The label set that a case's mask is written in."""
        return label_set(self.labels) if self.labels else default_label_set(case.name)


@dataclass(frozen=True)
class Outcome:
    """What became of one case; plain data for the report.

    Attributes:
        state: done, kept (was finished before), failed or not started.
        mask: the file written or kept, None without one.
        error, trace: why it failed; the sentence for people and the traceback for us.
        labels: label name to number in the mask.
    """

    case: str
    state: str
    mask: Path | None = None
    error: str = ""
    trace: str = ""
    label_set: str = ""
    labels: dict[str, int] = field(default_factory=dict)
    volumes_ml: dict[str, float] = field(default_factory=dict)
    members: tuple[MemberFinding, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    forward_s: float = 0.0
    n_windows: int = 0


def _ignore(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Watcher:
    """Who is told how a batch goes, and asked whether to stop.

    Attributes:
        on_start: the number of the case, from 0, and its name.
        on_window: windows done and to do of the case at hand.
        on_outcome: each outcome as it comes.
        should_stop: asked between windows and between cases.
    """

    on_start: Callable[[int, str], None] = _ignore
    on_window: Callable[[int, int], None] = _ignore
    on_outcome: Callable[[Outcome], None] = _ignore
    should_stop: Callable[[], bool] = bool  # bool() is False: nobody stops it


def mask_path(case: Case, output: Path, settings: BatchSettings) -> Path:
    """Where a case's mask lies in the output folder."""
    is_short = settings.short_names and case.flat and case.naming == "BraTS 2021-22"
    name = case.name.rpartition("_")[2] if is_short else case.name
    return output / f"{name}.nii.gz"


def segment_batch(
    cases: tuple[Case, ...], output: Path, ensemble: Ensemble, settings: BatchSettings, *, watcher: Watcher
) -> list[Outcome]:
    """Segment every case; one outcome each, in the order of the cases.

    Reading the next case and writing the last one go on in two threads while the networks run in this one.
    A full or unwritable disk ends the batch, anything else only the case.

    Raises:
        SettingsError: two cases would write the same mask.
        OutputError: a mask cannot be written; the cases before it are finished.
    """
    _require_different_masks(cases, output, settings)
    kept = {
        case.name for case in cases if not settings.again and _is_finished(mask_path(case, output, settings), settings)
    }
    todo = [case for case in cases if case.name not in kept]
    outcomes = {}
    for case in cases:
        if case.name in kept:
            outcomes[case.name] = Outcome(case.name, KEPT, mask_path(case, output, settings))
            watcher.on_outcome(outcomes[case.name])
    for outcome in _run(todo, output, ensemble, settings, watcher):
        outcomes[outcome.case] = outcome
        watcher.on_outcome(outcome)
    return [outcomes.get(case.name, Outcome(case.name, NOT_STARTED)) for case in cases]


def _is_finished(mask: Path, settings: BatchSettings) -> bool:
    """Whether the mask need not be made again; an empty one may only stand in for a case that failed."""
    if not mask.exists():
        return False
    return settings.on_failure == "skip" or bool(read_label_map(mask).array.any())


def _run(
    cases: list[Case], output: Path, ensemble: Ensemble, settings: BatchSettings, watcher: Watcher
) -> Iterator[Outcome]:
    """Outcomes in order; a case's comes when its mask is on the disk, which is after the next one's networks."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        reading: Future[Ready] | None = reader.submit(make_ready, cases[0], ensemble) if cases else None
        writing: Future[Outcome] | None = None
        for index, case in enumerate(cases):
            if watcher.should_stop():
                break
            assert reading is not None
            current = reading
            # the next case is read only once this one is ready: one is read, one segmented, one written at a time
            after = cases[index + 1] if index + 1 < len(cases) else None
            current.exception()
            reading = reader.submit(make_ready, after, ensemble) if after else None
            watcher.on_start(index, case.name)
            began = time.perf_counter()
            try:
                ready = current.result()
                answer = _segment(ready, ensemble, settings, watcher)
            except Stopped:
                break
            except Exception as error:  # the case boundary: whatever a case does, the others go on
                finish = partial(_fail, case, output, settings, _told(case, error), time.perf_counter() - began)
            else:
                finish = partial(_write, ready, answer, output, settings, began)
                del ready, answer
            del current
            if writing:  # a disk that was full for the last case ends the batch before this one is written
                yield writing.result()
            writing = writer.submit(finish)
            del finish  # what it holds must not outlive its writing
        if writing:
            yield writing.result()


def _segment(ready: Ready, ensemble: Ensemble, settings: BatchSettings, watcher: Watcher) -> Segmentation:
    total = n_windows(ensemble, ready.prepared, settings.ensemble)
    done = 0

    def on_window() -> None:
        nonlocal done
        done += settings.ensemble.batch
        watcher.on_window(min(done, total), total)
        if watcher.should_stop():
            raise Stopped

    return segment_ready(
        ready,
        ensemble,
        settings.ensemble,
        fusion=settings.fusion,
        numbers=settings.numbers_for(ready.case),
        keep_probabilities=settings.probabilities is not None,
        on_window=on_window,
    )


def _write(ready: Ready, answer: Segmentation, output: Path, settings: BatchSettings, began: float) -> Outcome:
    """Write mask, probabilities and preview; a failed outcome where that fails, unless it is the disk's fault."""
    case = ready.case
    numbers = settings.numbers_for(case)
    path = mask_path(case, output, settings)
    like = case.files[Sequence.T1C]
    try:
        if settings.probabilities and answer.probabilities is not None:
            for region, array in zip(REGIONS, answer.probabilities, strict=True):
                write_map(settings.probabilities / f"{case.name}-{region.name}.nii.gz", array, like=like)
        allowed = frozenset(numbers.numbers.values())
        write_label_map(path, encode(answer.label_map, numbers), like=like, allowed=allowed)
    except OutputError:
        raise
    except Exception as error:  # the case boundary again: this runs in the writer's thread
        return _fail(case, output, settings, _told(case, error), time.perf_counter() - began)
    notes = answer.notes + _draw(ready, answer, settings)
    return Outcome(
        case=case.name,
        state=DONE,
        mask=path,
        label_set=numbers.name,
        labels={label.name: number for label, number in numbers.numbers.items() if label not in numbers.not_given},
        volumes_ml=answer.volumes_ml,
        members=answer.members,
        notes=notes,
        seconds=time.perf_counter() - began,
        forward_s=answer.forward_s,
        n_windows=answer.n_windows,
    )


def _draw(ready: Ready, answer: Segmentation, settings: BatchSettings) -> tuple[str, ...]:
    """Write the overlay picture where one is wanted; a note if it cannot be drawn, as the mask is good without it."""
    if not settings.previews:
        return ()
    name = ready.case.name
    shown = {sequence: ready.prepared.array[SEQUENCES.index(sequence)] for sequence in (Sequence.T1C, Sequence.T2F)}
    try:
        write_preview(settings.previews / f"{name}.png", shown, answer.grid_label_map, (1.0, 1.0, 1.0), title=name)
    except OutputError:
        raise
    except Exception as error:  # whatever a picture does, the mask stays
        return (f"no picture: {_told(ready.case, error).sentence}",)
    return ()


@dataclass(frozen=True)
class _Told:
    """An error in words, so that nothing of the case that it came from is kept alive."""

    sentence: str
    trace: str


def _told(case: Case, error: Exception) -> _Told:
    sentence = str(error) if isinstance(error, HtcnnsError) else f"{type(error).__name__}: {error}"
    if not sentence.startswith(f"{case.name}:"):
        sentence = f"{case.name}: {sentence}"
    sentence = " ".join(sentence.split())  # libraries' errors may have several lines
    return _Told(sentence, "".join(traceback.format_exception(error)))


def _fail(case: Case, output: Path, settings: BatchSettings, told: _Told, seconds: float) -> Outcome:
    """The outcome of a case that failed, with an empty mask where the settings want one."""
    if settings.on_failure == "skip":
        return Outcome(case.name, FAILED, error=told.sentence, trace=told.trace, seconds=seconds)
    path = mask_path(case, output, settings)
    note = "an empty mask was written in its place"
    if not _write_empty(case, path):
        note += ", on the standard BraTS grid, as no header could be read"
    return Outcome(case.name, FAILED, path, error=told.sentence, trace=told.trace, notes=(note,), seconds=seconds)


def _write_empty(case: Case, path: Path) -> bool:
    """Write an empty mask on the grid of the t1c, else of another sequence, else on BraTS's own; False for the last."""
    order = (Sequence.T1C, *SEQUENCES)
    known = [case.files[sequence] for sequence in order if sequence in case.files]
    return any(write_empty_mask(path, like=like) for like in known) or write_empty_mask(path, like=None)


def _require_different_masks(cases: tuple[Case, ...], output: Path, settings: BatchSettings) -> None:
    owners: dict[Path, str] = {}
    for case in cases:
        path = mask_path(case, output, settings)
        if path in owners:
            raise SettingsError(
                f"{path.name}: both {owners[path]} and {case.name} would write it; expected one case a mask. "
                "Put them into different input folders."
            )
        owners[path] = case.name
