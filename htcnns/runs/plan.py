"""A folder of cases in, a folder of masks and a report out: every check before the first network runs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from htcnns.errors import InputError, SettingsError
from htcnns.files.atomic import followed, require_file_place, require_folder_place, require_writable, sweep
from htcnns.files.case import Case, Leftover
from htcnns.files.case_list import search_list
from htcnns.files.cases import Search, holds_foreign_case, holds_no_file, search
from htcnns.files.clashes import Clash, clashes, mask_clashes, report_clashes
from htcnns.files.cohort_files import cohort_files, require_place_for_cohort
from htcnns.files.line_log import require_log_place
from htcnns.files.manifest import MANIFEST, choose_members, chosen_weights, read_manifest
from htcnns.files.member import Member
from htcnns.files.outputs import CaseOutputs, ReportFiles, disagreement_beside, mask_name
from htcnns.files.own import is_own_report
from htcnns.files.places import exists, is_folder, is_inside, is_same, resolved
from htcnns.labels import RegionSet, require_numbers
from htcnns.runs.cluster import require_ray
from htcnns.runs.ensemble import Ensemble, start_ensemble
from htcnns.runs.settings import EngineName, RunSettings


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Everything that is fixed when a run begins.

    Attributes:
        input, output: folders.
        settings: how the cases are run.
        cases: cases of the input, or of its shard, and their files to be written.
        not_used: files and folders of the input that look like a scan or a case but belong to none.
        ensemble: loaded members; if workers load them, checked and without their networks.
        swept: removed temporary files of killed runs.
    """

    input: Path
    output: Path
    settings: RunSettings
    cases: tuple[CaseOutputs, ...]
    not_used: tuple[Leftover, ...]
    ensemble: Ensemble
    swept: tuple[Path, ...]


def plan_run(input: Path, output: Path, settings: RunSettings) -> RunPlan:
    """Find the cases, check the folders, load the members.

    Raises:
        InputError, OutputError, WeightsError, DeviceError, SettingsError: whatever stops the run before any work.
    """
    if settings.engine == EngineName.RAY:
        require_ray()
    _require_masks_alone(output, settings)
    members = choose_members(read_manifest(chosen_weights(settings.weights)), settings.members)
    found = _find(input, output, settings)
    cases = _outputs_of(found, input, output, settings, members)
    if settings.report:
        _require_new_to_input(settings.report, input, found)
    _require_reports_apart(input, settings, found)
    ensemble = _ensemble_of(members, settings)
    folders = _folders_to_write(output, settings)  # last, so that other mistakes leave no empty folder behind
    for folder in folders:
        require_writable(folder)
    return RunPlan(
        input=input,
        output=output,
        settings=settings,
        cases=_of_the_shard(cases, settings),
        not_used=_not_used(found, cases),
        ensemble=ensemble,
        swept=tuple(path for folder in folders for path in sweep(folder)),
    )


def look_again(plan: RunPlan) -> tuple[CaseOutputs, ...]:
    """The cases that are in the plan's input now.

    Raises:
        InputError, SettingsError: as `plan_run`.
    """
    input, output, settings = plan.input, plan.output, plan.settings
    found = _find(input, output, settings)
    return _of_the_shard(_outputs_of(found, input, output, settings, plan.ensemble.members), settings)


def outputs_of(case: Case, output: Path, settings: RunSettings, regions: RegionSet) -> CaseOutputs:
    """The files that a run writes for a case."""
    maps, pictures = settings.probabilities, settings.previews
    return CaseOutputs(
        case=case,
        numbers=settings.numbers_for(case.name),
        regions=regions,
        mask=output / mask_name(case, short=settings.short_names),
        maps={region: maps / f"{case.name}-{region.name}.nii.gz" for region in regions.regions} if maps else {},
        picture=pictures / f"{case.name}.png" if pictures else None,
        report=_report_files(case, settings),
    )


def _ensemble_of(members: tuple[Member, ...], settings: RunSettings) -> Ensemble:
    """The loaded members if this process segments; if workers do, the members checked and without their networks."""
    if settings.engine == EngineName.LOCAL:
        return start_ensemble(members, device=settings.device, precision=settings.precision)
    return replace(start_ensemble(members, device="cpu", precision="fp32"), networks={})


def _require_masks_alone(output: Path, settings: RunSettings) -> None:
    """Raise SettingsError where anything but masks would go into the output folder or below it."""
    for setting in ("probabilities", "previews", "report", "log"):
        path = getattr(settings, setting)
        if path and is_inside(path, output):
            raise SettingsError(
                f"{path} lies in the output folder {output}, where only masks may lie, as challenges read every file "
                "there as a mask",
                setting=setting,
                remedy="Give a place beside it.",
            )


def _require_reports_apart(input: Path, settings: RunSettings, found: Search) -> None:
    """Raise SettingsError where the reports of cases would go into the input folder or below it."""
    if settings.report_folder and _is_of_the_input(settings.report_folder, input, found):
        raise SettingsError(
            f"{settings.report_folder} lies in the input {input}, where nothing but scans belongs",
            setting="report",
            remedy="Give a folder beside it, or the name of a file that ends in .json for one report of the run.",
        )


def _require_log_apart(log: Path | None, of_cohort: tuple[Path, ...]) -> None:
    """Raise SettingsError where the report of all cases would replace the log."""
    if log and resolved(log) in map(resolved, of_cohort):
        raise SettingsError(
            "is a part of the report of all cases, which would replace the log",
            place=log,
            setting="log",
            expected="a new file",
            remedy="Give another folder or name.",
        )


def _report_files(case: Case, settings: RunSettings) -> ReportFiles | None:
    """Where the report of a case goes."""
    folder = settings.report_folder
    if folder is None:
        return None
    record = folder / f"{case.name}.json"
    disagreement = disagreement_beside(record) if settings.disagreement else None
    return ReportFiles(record=record, picture=folder / f"{case.name}.png", disagreement=disagreement)


def _find(input: Path, output: Path, settings: RunSettings) -> Search:
    """The cases in the input, or those that the list names; folders that only runs write to are skipped.

    Raises:
        InputError: as `files.cases.search` or `files.case_list.search_list`, but a watched input may be empty; an
            unclear case, unless it may fail alone.
    """
    folders = (output, settings.probabilities, settings.previews)
    own = [folder for folder in folders if folder and is_folder(folder) and not _holds_a_case(folder, input, settings)]
    try:
        if settings.case_list:
            found = search_list(settings.case_list, input, channels=settings.channels, skip=own)
        else:
            found = search(input, channels=settings.channels, skip=own)
    except InputError:
        if settings.watch_s is None or settings.case_list or not is_folder(input) or not holds_no_file(input, skip=own):
            raise
        return Search((), ())  # nothing has arrived yet
    if settings.stops_when_unclear:
        found.require_clear()
    return found


def _is_of_the_input(folder: Path, input: Path, found: Search) -> bool:
    """Whether files in the folder may be the user's own: it lies below the input, or was searched through a link."""
    return resolved(folder) in found.folders or is_inside(folder, input)


def _outputs_of(
    found: Search, input: Path, output: Path, settings: RunSettings, members: tuple[Member, ...]
) -> tuple[CaseOutputs, ...]:
    """The outputs of every case, none of which overwrites another or a file that is read.

    Raises:
        SettingsError: an output would, unless its case may fail alone; the label set lacks what the members predict.
    """
    places = filter(None, (output, settings.probabilities, settings.previews))
    in_input = frozenset(folder for folder in places if _is_of_the_input(folder, input, found))
    cases = tuple(_outputs_in(in_input, case, output, settings, members[0].regions) for case in found.cases)
    files = {file.path: "a file of the weights" for member in members for file in member.files}
    read = files | {path.parent / MANIFEST: "the manifest of the weights" for path in files}
    read |= {settings.case_list: "the list of cases"} if settings.case_list else {}
    read |= {settings.log: "the log"} if settings.log else {}
    of_cohort = cohort_files(settings.report_folder).paths if settings.report_folder else ()
    _require_log_apart(settings.log, of_cohort)
    read |= dict.fromkeys(of_cohort, "a part of the report of all cases")
    found_clashes = (
        *mask_clashes(cases),
        *report_clashes(_of_the_shard(cases, settings)),
        *clashes(cases, report=settings.report, read=read),
    )
    return _with_clashes(cases, found_clashes, settings)


def _with_clashes(
    cases: tuple[CaseOutputs, ...], found: Iterable[Clash], settings: RunSettings
) -> tuple[CaseOutputs, ...]:
    """The cases, with a fault on each that clashes; it writes no report and overwrites only files that a run wrote.

    Raises:
        SettingsError: the report of the run clashes, or a case does that may not fail alone.
    """
    faults: dict[str, InputError] = {}
    for clash in found:
        if settings.stops_when_unclear or not clash.case:
            raise clash.error
        faults.setdefault(clash.case, clash.error.inside(clash.case, kind=InputError))
    return tuple(
        replace(each, case=replace(each.case, fault=fault), report=None, in_input=frozenset(each.paths))
        if (fault := faults.get(each.case.name))
        else each
        for each in cases
    )


def _of_the_shard(cases: tuple[CaseOutputs, ...], settings: RunSettings) -> tuple[CaseOutputs, ...]:
    return tuple(each for each in cases if not settings.shard or settings.shard.holds(each.case.name))


def _outputs_in(
    in_input: frozenset[Path], case: Case, output: Path, settings: RunSettings, regions: RegionSet
) -> CaseOutputs:
    """A case's outputs, marked where they lie in a folder of the input; with a fault if its label set does not fit."""
    outputs = outputs_of(case, output, settings, regions)
    outputs = replace(outputs, in_input=frozenset(path for path in outputs.paths if path.parent in in_input))
    try:
        require_numbers(outputs.regions, outputs.numbers)
    except SettingsError as error:
        if settings.labels or settings.stops_when_unclear:
            raise
        return replace(outputs, case=replace(case, fault=error.inside(case.name, kind=InputError)))
    return outputs


def _not_used(found: Search, cases: tuple[CaseOutputs, ...]) -> tuple[Leftover, ...]:
    """What looks like a scan or a case but belongs to none, except files that an earlier run wrote."""
    written = {resolved(path) for each in cases for path in each.paths}
    return tuple(other for other in found.leftovers if resolved(other.path) not in written)


def _require_new_to_input(report: Path, input: Path, found: Search) -> None:
    """Raise SettingsError if the report would replace a file of the input that is not a run's report."""
    target = followed(report)
    is_someones = exists(target) and not is_folder(target) and not is_own_report(target)
    if is_someones and _is_of_the_input(target.parent, input, found):
        raise SettingsError(
            "is a file of the input, and the report would replace it",
            place=report,
            setting="report",
            expected="a new file",
            remedy="Give another folder or name.",
        )


def _holds_a_case(folder: Path, input: Path, settings: RunSettings) -> bool:
    """Whether a folder inside the input also holds a patient's scans, so that it must be searched."""
    if is_same(folder, input) or not is_inside(folder, input):
        return False
    return holds_foreign_case(folder, channels=settings.channels)


def _folders_to_write(output: Path, settings: RunSettings) -> tuple[Path, ...]:
    """Every folder that the run writes to, each once."""
    if settings.report_file:
        require_file_place(settings.report_file, setting="report")
    if settings.report_folder:
        remedy = "Give another folder, or a file name that ends in .json."
        require_folder_place(settings.report_folder, setting="report", remedy=remedy)
        require_place_for_cohort(settings.report_folder)
    if settings.log:
        require_log_place(settings.log)
    report = followed(settings.report_file).parent if settings.report_file else settings.report_folder
    folders = (output, settings.probabilities, settings.previews, report)
    return tuple(dict.fromkeys(folder for folder in folders if folder))
