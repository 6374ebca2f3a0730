"""The commands that measure a recipe on patients that its members never saw, and tune its thresholds: cv, tune.

What needs torch or scipy is imported inside the commands, so that `--help` stays quick.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from htcnns.doors.arguments import path
from htcnns.doors.terminal import flag
from htcnns.doors.training_cli import Caches, Device, RecipeName, Source, Steps, Threads, Work, Workers, read_recipe
from htcnns.errors import EXIT_DONE, SettingsError
from htcnns.labels import SEQUENCES, Sequence

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import torch

    from htcnns.reports.tables import Table
    from htcnns.scores.evaluation import Evaluation
    from htcnns.training.cases import CaseStore
    from htcnns.training.folds import Folds
    from htcnns.training.held_out import HeldOut, HeldOutPlan
    from htcnns.training.transfer_study import TransferPlan

SCORES = "cross_validation.csv"
EXTRA_SCORES = "extra_cases.csv"
TRANSFER = "transfer.csv"
FOLDS = "folds.csv"

Rules = Annotated[str, typer.Option(help="Whose scores: brats2023-gli, brats2021 ...")]


def cv(
    caches: Caches,
    out: Annotated[
        Path, typer.Option(help="Folder for scores and folds, and each fold's weights and probabilities.", parser=path)
    ],
    work: Work,
    source: Source,
    folds: Annotated[str, typer.Option(help="How many folds, or a file that lists them, JSON or CSV.")] = "5",
    recipe: RecipeName = "compact",
    origin: Annotated[
        Path | None, typer.Option("--from", help="Weights to start from, made without these patients.", parser=path)
    ] = None,
    steps: Steps = None,
    rules: Rules = "brats2023-gli",
    extra: Annotated[
        list[Path] | None,
        typer.Option(help="Packed cases of others, scored by every fold's members; repeatable.", parser=path),
    ] = None,
    without: Annotated[
        list[Sequence] | None,
        typer.Option(help="Score the held-out cases also as if this sequence were missing; repeatable."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Write the tables of means to this file, as Markdown.", parser=path)
    ] = None,
    source_cases: Annotated[
        list[Path] | None,
        typer.Option(
            help="Packed cases of another population: what transfer from it is worth; repeatable.", parser=path
        ),
    ] = None,
    synthetic_cases: Annotated[
        list[Path] | None,
        typer.Option(help="Packed synthetic heads: what training on them is worth; repeatable.", parser=path),
    ] = None,
    device: Device = "auto",
    threads: Threads = 0,
    workers: Workers = 1,
) -> int:
    """Train and score in folds by patient, or study transfer."""
    import torch  # takes a second

    from htcnns.files.atomic import require_named_place, require_writable
    from htcnns.files.fold_lists import write_fold_list
    from htcnns.files.manifest import chosen_weights
    from htcnns.runs.devices import choose_device, keep_freed_memory
    from htcnns.training.campaign import Campaign
    from htcnns.training.cases import CaseStore, open_store
    from htcnns.training.held_out import HeldOutPlan
    from htcnns.training.transfer_study import TransferPlan

    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    store = open_store(caches)
    plan = HeldOutPlan(
        campaign=Campaign(
            recipe=read_recipe(recipe, steps=steps),
            source=source,
            work=work,
            weights=out,
            origin=chosen_weights(origin) if origin else None,
            n_workers=workers,
        ),
        folds=_folds(folds, store),
        extra=open_store(extra) if extra else CaseStore({}),
        rules=rules,
        without=tuple(without or ()),
    )
    if without and (source_cases or synthetic_cases):
        raise SettingsError(
            "a transfer study does not leave sequences out", setting="without", remedy="Run it without this flag."
        )
    if source_cases or synthetic_cases:
        others = [open_store(folders) if folders else CaseStore({}) for folders in (source_cases, synthetic_cases)]
        study = TransferPlan(held_out=plan, target=store, source=others[0], synthetic=others[1])
    else:
        study = None
    _require_own_places(table, out, folds)
    if table:
        require_named_place(table, setting="table")
    require_writable(out)
    by_case = plan.folds.by_case(store.cards)
    write_fold_list(out / FOLDS, by_case)
    _say_folds(by_case)
    chosen_device = choose_device(device)
    if study:
        _run_study(study, chosen_device, table)
    else:
        _run_folds(plan, store, chosen_device, table)
    return EXIT_DONE


def tune(
    held_out: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of `htcnns cv`.", parser=path)],
    out: Annotated[
        Path,
        typer.Option(help="Folder for a draft of manifest.json with the tuned rules, and for scores.", parser=path),
    ],
    rules: Rules = "brats2023-gli",
) -> int:
    """Tune thresholds and clean-up on what cv kept."""
    from htcnns.doors.training_printer import say
    from htcnns.files.atomic import require_writable
    from htcnns.files.held_out_maps import read_maps
    from htcnns.files.manifest import MANIFEST, read_manifest
    from htcnns.reports.tables import markdown_text
    from htcnns.training.thresholds import gains_table, nested_scores, write_draft
    from htcnns.training.thresholds import tune as tune_rules
    from htcnns.training.voices import voices_summary

    maps = read_maps(held_out)
    members = read_manifest(held_out / f"fold-{maps[0].card.fold}")
    require_writable(out)
    tuned = tune_rules(maps, on_search=say)
    write_draft(out, members, tuned)
    scores = nested_scores(maps, tuned, rules=rules)
    _write_scores(scores, out / SCORES)
    title = f"Held-out cases, rules tuned on the other folds: mean and 95 % interval over {len(maps)}, {rules}"
    print(markdown_text([gains_table(tuned), voices_summary(scores, title)]))
    for name, chosen in tuned.rules.items():
        say(f"{name}: {chosen}")
    say(f"scores of every case in {out / SCORES}")
    say(f"draft in {out / MANIFEST}; `htcnns train {flag('tuned')} {out}` puts its rules and scores into a manifest")
    return EXIT_DONE


def _require_own_places(table: Path | None, out: Path, folds: str) -> None:
    """Raise SettingsError where two files to be written are one, or one is the list of folds."""
    from htcnns.files.places import is_same

    written = [out / name for name in (SCORES, EXTRA_SCORES, TRANSFER, FOLDS, *map(without_scores, SEQUENCES))]
    listed = [] if folds.isdecimal() else [Path(folds)]
    asked_for = [("table", table, [*written, *listed])] if table else []
    asked_for += [("folds", file, written) for file in listed]
    for setting, file, others in asked_for:
        if any(is_same(file, other) for other in others):
            raise SettingsError(
                "would be overwritten, as it is a file that this command writes or the list of folds",
                place=file,
                setting=setting,
                expected="a file of its own",
                remedy="Give another name, or move the file away.",
            )


def _folds(text: str, store: "CaseStore") -> "Folds":
    """So many folds, or those of a list."""
    from htcnns.files.fold_lists import read_fold_list
    from htcnns.training.folds import deal, given

    if text.isdecimal():
        return deal(store.cards, int(text))
    return given(store.cards, read_fold_list(Path(text)), place=text)


def _say_folds(by_case: "Mapping[str, int]") -> None:
    """Print who is held out when."""
    from htcnns.doors.training_printer import say

    for fold in sorted(set(by_case.values())):
        names = sorted(name for name, held_out in by_case.items() if held_out == fold)
        say(f"fold {fold} holds out {', '.join(names)}")


def _run_folds(plan: "HeldOutPlan", store: "CaseStore", device: "torch.device", table: Path | None) -> None:
    """Cross-validate, print the means and write all scores."""
    from htcnns.doors.training_printer import TrainingPrinter, say
    from htcnns.training.campaign import FitWatcher
    from htcnns.training.held_out import cross_validate

    printer = TrainingPrinter()
    found = cross_validate(
        plan,
        store,
        device=device,
        watcher=FitWatcher(on_step=printer.step, on_transfer=printer.transfer),
        on_case=lambda card: say(f"fold {card.fold}: {card.case} segmented"),
    )
    _report(found, plan.campaign.weights, table)


def _run_study(plan: "TransferPlan", device: "torch.device", table: Path | None) -> None:
    """Run a transfer study, print its tables and write all scores."""
    from htcnns.doors.training_printer import TrainingPrinter, say
    from htcnns.reports.tables import markdown_text
    from htcnns.training.campaign import FitWatcher
    from htcnns.training.transfer_study import run_transfer_study
    from htcnns.training.transfer_table import study_notes, study_record, study_tables

    printer = TrainingPrinter()
    study = run_transfer_study(
        plan,
        device=device,
        watcher=FitWatcher(on_step=printer.step, on_transfer=printer.transfer),
        on_case=lambda approach, card: say(f"{approach} fold {card.fold}: {card.case} segmented"),
    )
    out = plan.held_out.campaign.weights
    _write_scores([row.target for row in study.rows], out / SCORES)
    _write_scores([row.extra for row in study.rows if row.extra], out / EXTRA_SCORES)
    _write_table(study_record(study), out / TRANSFER)
    notes = "\n".join(f"- {note}" for note in study_notes(plan, study))
    _print_text(f"{markdown_text(study_tables(study))}\n{notes}\n", table)
    _say_of_scores(study.rows[0].target.cautions, study.not_scored)
    say(f"every mean in {out / TRANSFER}, scores of every case in {out / SCORES}")


def without_scores(sequence: Sequence) -> str:
    """Name of the file with the scores of held-out cases without a sequence."""
    return f"without_{sequence}.csv"


def _report(found: "HeldOut", out: Path, table: Path | None) -> None:
    """Write the scores of every case, print the means, and write them too where a file is named."""
    from htcnns.doors.training_printer import say
    from htcnns.reports.tables import markdown_text
    from htcnns.training.voices import voices_summary

    tables = []
    poorer = [
        (evaluations, without_scores(sequence), f"Held-out cases without {sequence}")
        for sequence, evaluations in found.without.items()
    ]
    for evaluations, file, what in (
        (found.evaluations, SCORES, "Held-out cases"),
        (found.extra, EXTRA_SCORES, "Extra cases, by every fold"),
        *poorer,
    ):
        if evaluations:
            _write_scores(evaluations, out / file)
            first = evaluations[0]
            title = f"{what}: mean and 95 % interval over {len(first.cases)}, {first.rule.name}"
            tables.append(voices_summary(evaluations, title))
    _print_text(markdown_text(tables), table)
    _say_of_scores(found.evaluations[0].cautions if found.evaluations else (), found.not_scored)
    say(f"scores of every case in {out / SCORES}")


def _write_scores(evaluations: "Collection[Evaluation]", path: Path) -> None:
    """Write the scores of every case by each voice; nothing where there is none."""
    from htcnns.training.voices import voices_cases

    if evaluations:
        _write_table(voices_cases(evaluations), path)


def _write_table(table: "Table", path: Path) -> None:
    from htcnns.files.atomic import write_whole
    from htcnns.reports.tables import csv_text

    write_whole(path, csv_text(table).encode(errors="surrogateescape"))


def _print_text(text: str, file: Path | None) -> None:
    """Print the text, and write it too where a file is named."""
    from htcnns.files.atomic import write_named

    print(text)
    if file:
        write_named(file, text.encode(errors="surrogateescape"))


def _say_of_scores(cautions: "Collection[str]", not_scored: "Collection[str]") -> None:
    """Print what a reader of the scores must know."""
    from htcnns.doors.training_printer import say

    for caution in cautions:
        say(caution)
    if not_scored:
        say(f"not scored, as the truth does not tell every region: {', '.join(not_scored)}")
