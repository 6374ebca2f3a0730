"""The same from Python: one case given by its four files, or a folder of cases."""

from dataclasses import replace
from pathlib import Path

from htcnns.errors import SettingsError
from htcnns.files.atomic import followed, require_named_place
from htcnns.files.case import Case
from htcnns.files.clashes import require_no_scan
from htcnns.files.manifest import choose_members, chosen_weights, read_manifest
from htcnns.files.names.brats import Convention
from htcnns.files.names.words import stem
from htcnns.files.outputs import CaseOutputs, write_mask
from htcnns.labels import Sequence, require_numbers
from htcnns.reports.outcome import Outcome
from htcnns.runs.course import run
from htcnns.runs.ensemble import start_ensemble
from htcnns.runs.pipeline import Segmentation, prepare_case, segment_prepared
from htcnns.runs.plan import plan_run
from htcnns.runs.settings import RunSettings, path_of
from htcnns.runs.watcher import Watcher


def segment(
    *,
    t1n: str | Path | None,
    t1c: str | Path | None,
    t2w: str | Path | None,
    t2f: str | Path | None,
    output: str | Path | None = None,
    settings: RunSettings | None = None,
) -> Segmentation:
    """Segment one case.

    Args:
        t1n, t1c, t2w, t2f: NIfTI files on one grid; one of them may be None if `settings.allow_missing` is set.
        output: file for the mask, links followed, on the grid of t1c, or of the first file if t1c is None, and in the
            numbers of `settings.labels`, 1 2 3 by default; None to write none.
        settings: members, device, windows, fusion and labels; settings for a folder of cases are refused.

    Returns:
        The label map, (I, J, K) uint8 of Label values on that grid, with volumes, members and notes.

    Raises:
        InputError, WeightsError, DeviceError, OutputError, SettingsError: as the command line's exit codes.
    """
    how = settings or RunSettings()
    _require_one_case(how)
    case = _case({sequence: path for sequence, path in zip(Sequence, (t1n, t1c, t2w, t2f), strict=True) if path})
    case.require_complete(most_missing=how.most_missing)
    members = choose_members(read_manifest(chosen_weights(how.weights)), how.members)
    place = Path(f"{case.name}.nii.gz") if output is None else path_of(output, setting="output")
    outputs = CaseOutputs(
        case=case,
        numbers=how.numbers_for(""),
        regions=members[0].regions,
        mask=followed(place),
        maps={},
        picture=None,
    )
    require_numbers(outputs.regions, outputs.numbers)
    if output is not None:
        require_no_scan([outputs])
        require_named_place(place, setting="output")
    ensemble = start_ensemble(members, device=how.device, precision=how.precision)
    prepared = prepare_case(case, ensemble, most_missing=how.most_missing)
    answer = segment_prepared(
        prepared,
        ensemble,
        settings=how,
        numbers=outputs.numbers,
        on_window=lambda: None,
    )
    if output is not None:
        write_mask(outputs, answer.label_map, affine=prepared.affine)
    return answer


def segment_folder(input: str | Path, output: str | Path, *, settings: RunSettings | None = None) -> list[Outcome]:
    """Segment every case of a folder into another and return one outcome per case, including failed ones.

    Args:
        input, output: folders.
        settings: everything that the command line can set.

    Raises:
        HtcnnsError: whatever stops the run before any work, and a full disk.
    """
    folders = path_of(input, setting="input"), path_of(output, setting="output")
    plan = plan_run(*folders, settings or RunSettings())
    return run(plan, watcher=Watcher(), on_outcome=lambda _: None)


def _case(files: dict[Sequence, str | Path]) -> Case:
    """The case of these files, named after its reference."""
    nameless = Case(
        name="case",
        files={sequence: Path(path) for sequence, path in files.items()},
        naming=Convention.FREE,
        folder=Path(),
        flat=True,
    )
    path = nameless.reference
    return replace(nameless, name=stem(path.name) or path.name, folder=path.parent) if path else nameless


def _require_one_case(settings: RunSettings) -> None:
    """Raise SettingsError if a setting is given that only has an effect on a folder of cases."""
    defaults = RunSettings()
    for name in (
        "again",
        "on_failure",
        "on_unclear",
        "report",
        "log",
        "disagreement",
        "probabilities",
        "previews",
        "short_names",
        "case_list",
        "watch_s",
        "shard",
        "time_limit_s",
        "engine",
        "address",
        "worker_cpus",
        "channels",
    ):
        if getattr(settings, name) != getattr(defaults, name):
            raise SettingsError(
                "has no effect on one case", setting=name, remedy="Leave it out, or call segment_folder."
            )
