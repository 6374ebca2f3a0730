"""Many cases: what is finished is kept, a bad case costs only itself, the next is read while the networks run."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from htcnns.errors import OutputError, require_known
from htcnns.files.cases import Case
from htcnns.files.nifti import write_label_map, write_map
from htcnns.files.preview import write_preview
from htcnns.image.fusion import FUSIONS
from htcnns.labels import REGIONS, SEQUENCES, LabelSet, Sequence, default_label_set, encode, label_set
from htcnns.runs.ensemble import Ensemble, EnsembleSettings, Stopped, n_windows
from htcnns.runs.failures import Told, stand_in, tell_failure
from htcnns.runs.finished import finished_notes
from htcnns.runs.pipeline import MemberFinding, Ready, Segmentation, make_ready, segment_ready
from htcnns.runs.targets import Targets, is_too_long, require_different_masks, require_possible_names

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
        on_outcome: each outcome as it comes, from the thread that wrote it.
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


def targets_of(case: Case, output: Path, settings: BatchSettings) -> Targets:
    """Every file that a case's run is to write."""
    maps, pictures = settings.probabilities, settings.previews
    return Targets(
        case,
        mask_path(case, output, settings),
        {region: maps / f"{case.name}-{region.name}.nii.gz" for region in REGIONS} if maps else {},
        pictures / f"{case.name}.png" if pictures else None,
    )


def segment_batch(
    cases: tuple[Case, ...], output: Path, ensemble: Ensemble, settings: BatchSettings, *, watcher: Watcher
) -> list[Outcome]:
    """Segment every case; one outcome each, in the order of the cases.

    Reading the next case and writing the last one go on in two threads while the networks run in this one.
    A full or unwritable disk ends the batch, anything else only the case. `runs.finished` says what is kept.

    Raises:
        SettingsError: two cases would write the same mask.
        OutputError: a mask cannot be written; the cases before it are finished.
    """
    targets = [targets_of(case, output, settings) for case in cases]
    require_different_masks(targets)
    outcomes, todo = dict[str, Outcome](), list[Targets]()

    def tell(outcome: Outcome) -> None:
        outcomes[outcome.case] = outcome
        watcher.on_outcome(outcome)

    for each in targets:
        if kept := _kept(each, settings):
            tell(kept)
        else:
            todo.append(each)
    _run(todo, ensemble, settings, watcher=replace(watcher, on_outcome=tell))
    return [outcomes.get(case.name, Outcome(case.name, NOT_STARTED)) for case in cases]


def _kept(targets: Targets, settings: BatchSettings) -> Outcome | None:
    """The outcome of a case that an earlier run finished; None where it must be done."""
    if settings.again:
        return None
    wanted = settings.numbers_for(targets.case)
    notes = finished_notes(targets, wanted, is_asked=settings.labels is not None)
    return None if notes is None else Outcome(targets.case.name, KEPT, targets.mask, notes=notes)


def _run(todo: list[Targets], ensemble: Ensemble, settings: BatchSettings, *, watcher: Watcher) -> None:
    """Tell the outcomes in order, each as soon as its mask is on the disk, while the next case is at the networks."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        reading: Future[Ready] | None = reader.submit(_read, todo[0], ensemble) if todo else None
        writing: Future[None] | None = None
        for index, targets in enumerate(todo):
            if watcher.should_stop():
                break
            assert reading is not None
            current = reading
            # the next case is read only once this one is ready: one is read, one segmented, one written at a time
            after = todo[index + 1] if index + 1 < len(todo) else None
            current.exception()
            reading = reader.submit(_read, after, ensemble) if after else None
            watcher.on_start(index, targets.case.name)
            began = time.perf_counter()
            try:
                ready = current.result()
                answer = _segment(ready, ensemble, settings, watcher)
            except Stopped:
                break
            except Exception as error:  # the case boundary: whatever a case does, the others go on
                finish = partial(
                    _fail, targets, settings, tell_failure(targets.case, error), time.perf_counter() - began
                )
            else:
                finish = partial(_write, targets, ready, answer, settings, began)
                del ready, answer
            del current
            if writing:  # a disk that was full for the last case ends the batch before this one is written
                writing.result()
            writing = writer.submit(_finish_and_tell, finish, watcher)
            del finish  # what it holds must not outlive its writing
        if writing:
            writing.result()


def _finish_and_tell(finish: Callable[[], Outcome], watcher: Watcher) -> None:
    watcher.on_outcome(finish())


def _read(targets: Targets, ensemble: Ensemble) -> Ready:
    require_possible_names(targets)
    return make_ready(targets.case, ensemble)


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


def _write(targets: Targets, ready: Ready, answer: Segmentation, settings: BatchSettings, began: float) -> Outcome:
    """Write mask, probabilities and preview; a failed outcome where that fails, unless it is the disk's fault."""
    case = targets.case
    numbers = settings.numbers_for(case)
    like = case.files[Sequence.T1C]
    try:
        if answer.probabilities is not None:
            for path, array in zip(targets.maps.values(), answer.probabilities, strict=True):
                write_map(path, array, like=like)
        allowed = frozenset(numbers.numbers.values())
        write_label_map(targets.mask, encode(answer.label_map, numbers), like=like, allowed=allowed)
    except OutputError:
        raise
    except Exception as error:  # the case boundary again: this runs in the writer's thread
        return _fail(targets, settings, tell_failure(case, error), time.perf_counter() - began)
    notes = answer.notes + _draw(targets, ready, answer)
    return Outcome(
        case=case.name,
        state=DONE,
        mask=targets.mask,
        label_set=numbers.name,
        labels={label.name: number for label, number in numbers.numbers.items() if label not in numbers.not_given},
        volumes_ml=answer.volumes_ml,
        members=answer.members,
        notes=notes,
        seconds=time.perf_counter() - began,
        forward_s=answer.forward_s,
        n_windows=answer.n_windows,
    )


def _draw(targets: Targets, ready: Ready, answer: Segmentation) -> tuple[str, ...]:
    """Write the overlay picture where one is wanted; a note if it cannot be drawn, as the mask is good without it."""
    if not targets.picture:
        return ()
    shown = {sequence: ready.prepared.array[SEQUENCES.index(sequence)] for sequence in (Sequence.T1C, Sequence.T2F)}
    try:
        write_preview(targets.picture, shown, answer.grid_label_map, (1.0, 1.0, 1.0), title=targets.case.name)
    except OutputError:
        raise
    except Exception as error:  # whatever a picture does, the mask stays
        return (f"no picture: {tell_failure(ready.case, error).sentence}",)
    return ()


def _fail(targets: Targets, settings: BatchSettings, told: Told, seconds: float) -> Outcome:
    """The outcome of a case that failed, with an empty mask where the settings want one and its name can be."""
    name, path = targets.case.name, targets.mask
    failed = Outcome(name, FAILED, error=told.sentence, trace=told.trace, seconds=seconds)
    if settings.on_failure == "skip" or is_too_long(path):
        return failed
    return replace(failed, mask=path, notes=(stand_in(targets.case, path),))
