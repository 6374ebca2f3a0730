"""The commands that measure a recipe on patients that its members never saw, and tune its thresholds: cv, tune.

What needs torch or scipy is imported inside the commands, so that `--help` stays quick.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from htcnns.doors.arguments import path
from htcnns.doors.training_cli import Caches, Device, read_recipe
from htcnns.errors import EXIT_DONE

if TYPE_CHECKING:
    from htcnns.training.cases import CaseStore
    from htcnns.training.folds import Folds
    from htcnns.training.held_out import HeldOut

SCORES = "cross_validation.csv"
EXTRA_SCORES = "extra_cases.csv"
FOLDS = "folds.csv"


def cv(
    caches: Caches,
    out: Annotated[
        Path, typer.Option(help="Folder for scores and folds, and each fold's weights and probabilities.", parser=path)
    ],
    work: Annotated[
        Path, typer.Option(help="Checkpoints and curves; what was cut off goes on from here.", parser=path)
    ],
    source: Annotated[str, typer.Option(help="What the data are and under which terms; stands in the manifests.")],
    folds: Annotated[str, typer.Option(help="How many folds, or a file that lists them, JSON or CSV.")] = "5",
    recipe: Annotated[str, typer.Option(help="Name from `htcnns recipes`, or a TOML file.")] = "compact",
    origin: Annotated[
        Path | None, typer.Option("--from", help="Weights to start from, made without these patients.", parser=path)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of each fit, in the recipe's proportions.", min=1)] = None,
    rules: Annotated[str, typer.Option(help="Whose scores: brats2023-gli, brats2021 ...")] = "brats2023-gli",
    extra: Annotated[
        list[Path] | None,
        typer.Option(help="Packed cases of others, scored by every fold's members; repeatable.", parser=path),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Write the tables of means to this file, as Markdown.", parser=path)
    ] = None,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for all.")] = 0,
    workers: Annotated[int, typer.Option(help="Threads that draw patches ahead.")] = 1,
) -> int:
    """Train and score in folds, patient by patient."""
    import torch  # takes a second

    from htcnns.doors.training_printer import TrainingPrinter, say
    from htcnns.files.atomic import followed, require_file_place, require_writable
    from htcnns.files.fold_lists import write_fold_list
    from htcnns.runs.devices import choose_device
    from htcnns.training.campaign import Campaign, Watcher
    from htcnns.training.cases import CaseStore, open_store
    from htcnns.training.held_out import HeldOutPlan, cross_validate
    from htcnns.training.recipes import shortened

    if threads:
        torch.set_num_threads(threads)
    chosen = read_recipe(recipe)
    store = open_store(caches)
    plan = HeldOutPlan(
        campaign=Campaign(
            recipe=shortened(chosen, steps) if steps else chosen,
            source=source,
            work=work,
            weights=out,
            origin=origin,
            n_workers=workers,
        ),
        folds=_folds(folds, store),
        extra=open_store(extra) if extra else CaseStore({}),
        rules=rules,
    )
    if table:
        require_file_place(table, setting="table")
        require_writable(followed(table).parent)
    require_writable(out)
    write_fold_list(out / FOLDS, plan.folds.by_case(store.cards))
    printer = TrainingPrinter()
    found = cross_validate(
        plan,
        store,
        device=choose_device(device),
        watcher=Watcher(on_step=printer.step, on_transfer=printer.transfer),
        on_case=lambda card: say(f"fold {card.fold}: {card.case} segmented"),
    )
    _report(found, out, table)
    return EXIT_DONE


def tune(
    held_out: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of `htcnns cv`.", parser=path)],
    out: Annotated[Path, typer.Option(help="Folder for a draft of manifest.json with the tuned rules.", parser=path)],
) -> int:
    """Tune thresholds and clean-up on what cv kept."""
    from htcnns.doors.training_printer import say
    from htcnns.files.atomic import require_writable
    from htcnns.files.held_out_maps import read_maps
    from htcnns.files.manifest import MANIFEST, read_manifest
    from htcnns.reports.tables import markdown_text
    from htcnns.training.thresholds import gains_table, write_draft
    from htcnns.training.thresholds import tune as tune_rules

    maps = read_maps(held_out)
    members = read_manifest(held_out / f"fold-{maps[0].card.fold}")
    require_writable(out)
    tuned = tune_rules(maps, on_search=say)
    write_draft(out, members, tuned)
    print(markdown_text([gains_table(tuned)]))
    for name, rules in tuned.rules.items():
        say(f"{name}: {rules}")
    say(f"draft in {out / MANIFEST}; copy its rules and scores into the manifest of the weights")
    return EXIT_DONE


def _folds(text: str, store: "CaseStore") -> "Folds":
    """So many folds, or those of a list."""
    from htcnns.files.fold_lists import read_fold_list
    from htcnns.training.folds import deal, given

    if text.isdecimal():
        return deal(store.cards, int(text))
    return given(store.cards, read_fold_list(Path(text)), place=text)


def _report(found: "HeldOut", out: Path, table: Path | None) -> None:
    """Write the scores of every case, print the means, and write them too where a file is named."""
    from htcnns.doors.training_printer import say
    from htcnns.files.atomic import write_named, write_whole
    from htcnns.reports.tables import csv_text, markdown_text
    from htcnns.training.voices import voices_cases, voices_summary

    tables = []
    for evaluations, file, what in (
        (found.evaluations, SCORES, "Held-out cases"),
        (found.extra, EXTRA_SCORES, "Extra cases, by every fold"),
    ):
        if evaluations:
            write_whole(out / file, csv_text(voices_cases(evaluations)).encode(errors="surrogateescape"))
            first = evaluations[0]
            title = f"{what}: mean and 95 % interval over {len(first.cases)}, {first.rule.name}"
            tables.append(voices_summary(evaluations, title))
    text = markdown_text(tables)
    print(text)
    if table:
        write_named(table, text.encode(errors="surrogateescape"))
    for caution in found.evaluations[0].cautions if found.evaluations else ():
        say(caution)
    if found.not_scored:
        say(f"not scored, as the truth does not tell every region: {', '.join(found.not_scored)}")
    say(f"scores of every case in {out / SCORES}")
