"""Cross-validations, studies of transfer and ablations on the terminal: lines for steps, tables, files of scores."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch

from htcnns.doors.terminal import flag
from htcnns.doors.training_printer import TrainingPrinter, say
from htcnns.files.atomic import write_named, write_whole
from htcnns.labels import SEQUENCES
from htcnns.reports.tables import Table, csv_text, markdown_text
from htcnns.scores.evaluation import Evaluation
from htcnns.training.ablation import run_ablation
from htcnns.training.ablation_table import ablation_record, ablation_tables
from htcnns.training.campaign import FitWatcher
from htcnns.training.cases import CaseStore
from htcnns.training.held_out import HeldOut, HeldOutPlan, cross_validate, train_folds
from htcnns.training.transfer_study import TransferPlan, run_transfer_study
from htcnns.training.transfer_table import study_notes, study_record, study_tables
from htcnns.training.voices import voices_cases, voices_summary

SCORES = "cross_validation.csv"
EXTRA_SCORES = "extra_cases.csv"
TRANSFER = "transfer.csv"
ABLATION = "ablation.csv"
FOLDS = "folds.csv"
WITHOUT = {sequence: f"without_{sequence}.csv" for sequence in SEQUENCES}
WRITTEN = (SCORES, EXTRA_SCORES, TRANSFER, ABLATION, FOLDS, *WITHOUT.values())


def say_folds(by_case: Mapping[str, int]) -> None:
    """Print which cases each fold holds out."""
    for fold in sorted(set(by_case.values())):
        names = sorted(name for name, held_out in by_case.items() if held_out == fold)
        say(f"fold {fold} holds out {', '.join(names)}")


def run_folds(plan: HeldOutPlan, store: CaseStore, device: torch.device, table: Path | None) -> None:
    """Cross-validate, print the means and write all scores.

    Args:
        table: file to which the tables of means are also written; None for none.

    Raises:
        SettingsError, WeightsError, InputError, DeviceError, OutputError: as `cross_validate`.
    """
    found = cross_validate(
        plan,
        store,
        device=device,
        watcher=_watcher(),
        on_case=lambda card: say(f"fold {card.fold}: {card.case} segmented"),
    )
    _report(found, plan.campaign.weights, table)


def run_fits(plan: HeldOutPlan, store: CaseStore, device: torch.device, only: Collection[str]) -> None:
    """Train these members in every fold; nothing is scored.

    Raises:
        SettingsError, WeightsError, InputError, DeviceError, OutputError: as `train_folds`.
    """
    train_folds(plan, store, device=device, only=only, watcher=_watcher())
    say(f"trained {', '.join(only)} in every fold; run without {flag('only')} for the scores")


def run_study(plan: TransferPlan, device: torch.device, table: Path | None) -> None:
    """Run a transfer study, print its tables and write all scores.

    Args:
        table: file to which the tables of means are also written; None for none.

    Raises:
        SettingsError, WeightsError, InputError, DeviceError, OutputError: as `run_transfer_study`.
    """
    study = run_transfer_study(
        plan,
        device=device,
        watcher=_watcher(),
        on_case=lambda approach, card: say(f"{approach} fold {card.fold}: {card.case} segmented"),
    )
    out = plan.held_out.campaign.weights
    write_scores([row.target for row in study.rows], out / SCORES)
    write_scores([row.extra for row in study.rows if row.extra], out / EXTRA_SCORES)
    _write_table(study_record(study), out / TRANSFER)
    notes = "\n".join(f"- {note}" for note in study_notes(plan, study))
    _print_text(f"{markdown_text(study_tables(study))}\n{notes}\n", table)
    _say_of_scores(study.rows[0].target.cautions, study.not_scored)
    say(f"every mean in {out / TRANSFER}, scores of every case in {out / SCORES}")


def run_parts(plan: HeldOutPlan, store: CaseStore, device: torch.device, table: Path | None) -> None:
    """Run an ablation, print its tables and write all scores.

    Args:
        table: file to which the tables of means are also written; None for none.

    Raises:
        SettingsError, WeightsError, InputError, DeviceError, OutputError: as `run_ablation`.
    """
    found = run_ablation(
        plan,
        store,
        device=device,
        watcher=_watcher(),
        on_case=lambda row, card: say(f"{row} fold {card.fold}: {card.case} segmented"),
    )
    out = plan.campaign.weights
    write_scores([row.evaluation for row in found.rows], out / SCORES)
    _write_table(ablation_record(found), out / ABLATION)
    _print_text(markdown_text(ablation_tables(found, plan.campaign.recipe.window)), table)
    _say_of_scores(found.rows[0].evaluation.cautions, found.not_scored)
    say(f"every mean in {out / ABLATION}, scores of every case in {out / SCORES}")


def write_scores(evaluations: Collection[Evaluation], path: Path) -> None:
    """Write the scores of every case by each voice; nothing if there are no evaluations.

    Raises:
        OutputError: the file cannot be written.
    """
    if evaluations:
        _write_table(voices_cases(evaluations), path)


def _watcher() -> FitWatcher:
    printer = TrainingPrinter()
    return FitWatcher(on_step=printer.step, on_transfer=printer.transfer)


def _report(found: HeldOut, out: Path, table: Path | None) -> None:
    """Write the scores of every case, print the means, and also write the means to `table` if given."""
    tables = []
    for evaluations, file, what in _parts(found):
        if evaluations:
            write_scores(evaluations, out / file)
            first = evaluations[0]
            title = f"{what}: mean and 95 % interval over {len(first.cases)}, {first.rule.name}"
            tables.append(voices_summary(evaluations, title))
    _print_text(markdown_text(tables), table)
    _say_of_scores(found.evaluations[0].cautions if found.evaluations else (), found.not_scored)
    say(f"scores of every case in {out / SCORES}")


def _parts(found: HeldOut) -> Iterable[tuple[tuple[Evaluation, ...], str, str]]:
    """For each kind of cases, the evaluations of its voices, the file for their scores, and its title."""
    yield found.evaluations, SCORES, "Held-out cases"
    yield found.extra, EXTRA_SCORES, "Extra cases, by every fold"
    for sequence, evaluations in found.without.items():
        yield evaluations, WITHOUT[sequence], f"Held-out cases without {sequence}"


def _write_table(table: Table, path: Path) -> None:
    write_whole(path, csv_text(table).encode(errors="surrogateescape"))


def _print_text(text: str, file: Path | None) -> None:
    """Print the text, and also write it to the file if given."""
    print(text)
    if file:
        write_named(file, text.encode(errors="surrogateescape"))


def _say_of_scores(cautions: Iterable[str], not_scored: Collection[str]) -> None:
    """Print what a reader of the scores must know."""
    for caution in cautions:
        say(caution)
    if not_scored:
        say(f"not scored, as the truth does not annotate every region: {', '.join(not_scored)}")
