"""The commands that measure a recipe on patients that its members never saw: cv, ablation, and tune for thresholds.

What needs torch or scipy is imported inside the commands, so that `--help` stays quick.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from htcnns.doors.arguments import path
from htcnns.doors.recipes_cli import read_recipe, require_members
from htcnns.doors.terminal import flag
from htcnns.doors.training_cli import Caches, Device, RecipeName, Source, Steps, Threads, Work, Workers
from htcnns.errors import EXIT_DONE, SettingsError
from htcnns.labels import Sequence

if TYPE_CHECKING:
    import torch

    from htcnns.training.cases import CaseStore
    from htcnns.training.held_out import HeldOutPlan

Out = Annotated[
    Path, typer.Option(help="Folder for scores and folds, and each fold's weights and probabilities.", parser=path)
]
NumberOfFolds = Annotated[str, typer.Option("--folds", help="How many folds, or a file that lists them, JSON or CSV.")]
Markdown = Annotated[
    Path | None, typer.Option("--table", help="Write the tables of means to this file, as Markdown.", parser=path)
]
Rules = Annotated[str, typer.Option(help="Whose scores: brats2023-gli, brats2021 ...")]


def cv(
    caches: Caches,
    out: Out,
    work: Work,
    source: Source,
    folds: NumberOfFolds = "5",
    recipe: RecipeName = "compact",
    origin: Annotated[
        Path | None, typer.Option("--from", help="Weights to start from, made without these patients.", parser=path)
    ] = None,
    steps: Steps = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Train only this member in every fold and score nothing; repeatable.")
    ] = None,
    rules: Rules = "brats2023-gli",
    extra: Annotated[
        list[Path] | None,
        typer.Option(help="Packed cases of other patients, scored by every fold; repeatable.", parser=path),
    ] = None,
    without: Annotated[
        list[Sequence] | None,
        typer.Option(help="Also score the held-out cases as if this sequence were missing; repeatable."),
    ] = None,
    table: Markdown = None,
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
    from htcnns.doors.fold_arguments import read_folds
    from htcnns.doors.held_out_printer import run_fits, run_folds, run_study
    from htcnns.files.manifest import chosen_weights
    from htcnns.training.campaign import Campaign
    from htcnns.training.cases import CaseStore, open_store
    from htcnns.training.held_out import HeldOutPlan
    from htcnns.training.transfer_study import TransferPlan

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
        folds=read_folds(folds, store),
        extra=open_store(extra) if extra else CaseStore({}),
        rules=rules,
        without=tuple(without or ()),
    )
    require_members(only or (), plan.campaign.recipe)
    if only and (source_cases or synthetic_cases):
        raise SettingsError("a transfer study trains every member", setting="only", remedy="Run it without this flag.")
    if without and (source_cases or synthetic_cases):
        raise SettingsError(
            "a transfer study does not leave sequences out", setting="without", remedy="Run it without this flag."
        )
    if source_cases or synthetic_cases:
        others = [open_store(folders) if folders else CaseStore({}) for folders in (source_cases, synthetic_cases)]
        study = TransferPlan(held_out=plan, target=store, source=others[0], synthetic=others[1])
    else:
        study = None
    chosen_device = _ready(plan, store, table=table, folds=folds, device=device, threads=threads)
    if study:
        run_study(study, chosen_device, table)
    elif only:
        run_fits(plan, store, chosen_device, only)
    else:
        run_folds(plan, store, chosen_device, table)
    return EXIT_DONE


def ablation(
    caches: Caches,
    out: Out,
    work: Work,
    source: Source,
    folds: NumberOfFolds = "5",
    recipe: RecipeName = "dmfnet-mie-sie-bsc",
    steps: Steps = None,
    rules: Rules = "brats2023-gli",
    table: Markdown = None,
    device: Device = "auto",
    threads: Threads = 0,
    workers: Workers = 1,
) -> int:
    """Measure what each addition of a recipe is worth."""
    from htcnns.doors.fold_arguments import read_folds  # imports torch
    from htcnns.doors.held_out_printer import run_parts
    from htcnns.training.campaign import Campaign
    from htcnns.training.cases import open_store
    from htcnns.training.held_out import HeldOutPlan

    store = open_store(caches)
    plan = HeldOutPlan(
        campaign=Campaign(
            recipe=read_recipe(recipe, steps=steps), source=source, work=work, weights=out, n_workers=workers
        ),
        folds=read_folds(folds, store),
        rules=rules,
    )
    run_parts(plan, store, _ready(plan, store, table=table, folds=folds, device=device, threads=threads), table)
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
    from htcnns.doors.held_out_printer import SCORES, write_scores
    from htcnns.doors.training_printer import say
    from htcnns.files.atomic import require_writable
    from htcnns.files.held_out_maps import read_maps
    from htcnns.files.manifest import MANIFEST, read_manifest
    from htcnns.files.places import is_same
    from htcnns.reports.tables import markdown_text
    from htcnns.training.thresholds import gains_table, nested_scores, require_tunable, write_draft
    from htcnns.training.thresholds import tune as tune_rules
    from htcnns.training.voices import require_scorable, voices_summary

    maps = read_maps(held_out)
    require_tunable(maps)
    members = read_manifest(held_out / f"fold-{maps[0].card.fold}")
    require_scorable(rules, members[0].regions)
    if is_same(out, held_out):
        raise SettingsError(
            "its scores would be replaced",
            place=out,
            setting="out",
            expected="a folder other than that of the cross-validation",
            remedy="Give a folder of its own.",
        )
    require_writable(out)
    tuned = tune_rules(maps, on_search=say)
    write_draft(out, members, tuned)
    scores = nested_scores(maps, tuned, rules=rules)
    write_scores(scores, out / SCORES)
    title = f"Held-out cases, rules tuned on the other folds: mean and 95 % interval over {len(maps)}, {rules}"
    print(markdown_text([gains_table(tuned), voices_summary(scores, title)]))
    for name, chosen in tuned.rules.items():
        say(f"{name}: {chosen}")
    say(f"scores of every case in {out / SCORES}")
    say(f"draft in {out / MANIFEST}; `htcnns train {flag('tuned')} {out}` puts its rules and scores into a manifest")
    return EXIT_DONE


def _ready(
    plan: "HeldOutPlan", store: "CaseStore", *, table: Path | None, folds: str, device: str, threads: int
) -> "torch.device":
    """The device, after checking the places of all files to be written, and writing and printing the folds."""
    import torch  # takes a second

    from htcnns.doors.held_out_printer import FOLDS, say_folds
    from htcnns.files.atomic import require_named_place, require_writable
    from htcnns.files.fold_lists import write_fold_list
    from htcnns.runs.devices import choose_device, keep_freed_memory

    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    out = plan.campaign.weights
    _require_own_places(table, out, folds)
    if table:
        require_named_place(table, setting="table")
    require_writable(out)
    by_case = plan.folds.by_case(store.cards)
    write_fold_list(out / FOLDS, by_case)
    say_folds(by_case)
    return choose_device(device)


def _require_own_places(table: Path | None, out: Path, folds: str) -> None:
    """Raise SettingsError if two files to be written are the same, or one is the list of folds."""
    from htcnns.doors.held_out_printer import WRITTEN
    from htcnns.files.places import is_same

    written = [out / name for name in WRITTEN]
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
