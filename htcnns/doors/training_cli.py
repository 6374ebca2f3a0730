"""The commands that make weights: pack, synthesise, train.

What needs torch or scipy is imported inside the commands, so that `--help` stays quick.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from htcnns.doors.arguments import no_channels, path, require_none
from htcnns.doors.recipes_cli import read_recipe, require_members
from htcnns.doors.terminal import flag
from htcnns.errors import EXIT_DONE, SettingsError

if TYPE_CHECKING:
    from htcnns.labels import LabelSet
    from htcnns.training.cases import TruthRule

Caches = Annotated[list[Path], typer.Argument(metavar="CACHE...", help="Folders of packed cases.", parser=path)]
Work = Annotated[
    Path, typer.Option(help="Folder for checkpoints and curves; an interrupted fit resumes from it.", parser=path)
]
Source = Annotated[str, typer.Option(help="What the data are and under which terms; recorded in the manifest.")]
RecipeName = Annotated[str, typer.Option(help="Name from `htcnns recipes`, or a TOML file.")]
Steps = Annotated[int | None, typer.Option(help="Steps of each fit, in the recipe's proportions.", min=1)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:n.")]
Threads = Annotated[int, typer.Option(help="CPU threads; 0 for all.", min=0)]
Workers = Annotated[int, typer.Option(help="Threads that draw patches ahead.", min=0)]
WHOLE_TUMOUR = "whole-tumour"  # a truth with a single number


def pack(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder of cases with truth, or an npz of cubes.", parser=path)
    ],
    cache: Annotated[
        Path, typer.Argument(metavar="CACHE", help="Folder for one file per case; made if absent.", parser=path)
    ],
    labels: Annotated[
        list[str], typer.Option(help="Label set of the truths, or SET=PATTERN for cases of that name; repeatable.")
    ],
    unlabelled: Annotated[list[str] | None, typer.Option(help="Case that may lack a truth; repeatable.")] = None,
    patients: Annotated[
        Path | None, typer.Option(help="CSV with case,patient for names that do not include the patient.", parser=path)
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="Pack only the cases of this list, as for `cv --folds`.", parser=path)
    ] = None,
) -> int:
    """Prepare cases for training, one small file each."""
    from htcnns.doors.training_printer import print_packed, say  # imports torch
    from htcnns.files.fold_lists import read_fold_list, read_patients
    from htcnns.training.cases import pack as pack_cases
    from htcnns.training.pieces import pack_pieces

    rules = [_truth_rule(text) for text in labels]
    known = read_patients(patients) if patients else {}
    lines = read_fold_list(listed) if listed else ()
    if data.suffix == ".npz" and listed:
        raise SettingsError("an npz of cubes is packed whole", setting="list", remedy="Leave this out.")
    if data.suffix == ".npz":
        require_none("has no effect on an npz of cubes", "Leave it out.", unlabelled=unlabelled)
        _require_one(rules, labels)
        cards = pack_pieces(data, cache, rules[0], patients=known)
    else:
        with no_channels():
            cards = pack_cases(
                data, cache, rules, unlabelled=unlabelled or (), patients=known, listed=lines, on_case=print_packed
            )
    say(f"{len(cards)} in {cache}")
    return EXIT_DONE


def synthesise(
    number: Annotated[int, typer.Argument(metavar="N", help="How many heads.", min=1)],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the cases; made if absent.", parser=path)],
    anatomy: Annotated[
        Path | None,
        typer.Option(
            help="Folder of label maps of whole heads, FreeSurfer numbering; default: plain phantoms.", parser=path
        ),
    ] = None,
    shapes: Annotated[
        list[str] | None, typer.Option(help="SET=DIR: tumour label maps and their label set; repeatable.")
    ] = None,
    packed: Annotated[bool, typer.Option("--packed", help="Write packed cases to train on instead of NIfTI.")] = False,
    labels: Annotated[str | None, typer.Option(help="Label set of the truths; default: brats2023.")] = None,
    first: Annotated[int, typer.Option(help="Number of the first head; processes may share a series.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the series.", min=0)] = 0,
    cavities: Annotated[float, typer.Option(help="Share of heads with a resection cavity, 0 to 1.")] = 0.0,
    patients: Annotated[
        Path | None, typer.Option(help="CSV with case,patient for shapes under other names.", parser=path)
    ] = None,
    without: Annotated[
        list[Path] | None,
        typer.Option(help="Packed cases whose patients' tumours are left out; repeatable.", parser=path),
    ] = None,
    gallery: Annotated[Path | None, typer.Option(help="File for a picture of the first heads.", parser=path)] = None,
    beside: Annotated[str | None, typer.Option(help="SET=DIR: real cases to show beside them.")] = None,
) -> int:
    """Make synthetic heads with tumours, to train on."""
    from htcnns.doors.training_printer import say  # imports scipy
    from htcnns.files.atomic import require_named_place
    from htcnns.files.fold_lists import read_patients
    from htcnns.labels import label_set
    from htcnns.training.cases import open_store
    from htcnns.training.synthesis.series import prepare_series, read_material, write_phantoms, write_series
    from htcnns.training.synthesis.settings import HeadSettings
    from htcnns.training.synthesis.shown import write_gallery

    settings = HeadSettings(cavity_share=cavities)
    folders = [_labelled_folder(text, "shapes") for text in shapes or ()]
    real = _labelled_folder(beside, "beside") if beside else None
    numbers, numbering = range(first, first + number), label_set("brats2023" if labels is None else labels)
    if anatomy is None:
        remedy = "Name a folder of anatomy, or leave this out."
        given = {"packed": packed, "shapes": shapes, "gallery": gallery, "beside": beside, "without": without}
        require_none("has no effect on phantoms", remedy, patients=patients, **given)
        write_phantoms(output, numbers, seed=seed, labels=numbering, cavity_share=cavities, on_case=say)
        return EXIT_DONE
    if not gallery:
        require_none("has no effect without a gallery", "Leave it out, or name a file for the gallery.", beside=beside)
    if packed:
        require_none("has no effect on packed cases, whose labels have no numbers", "Leave it out.", labels=labels)
    if not shapes:
        remedy = "Leave it out, or name a folder of shapes."
        require_none("has no effect without shapes", remedy, without=without, patients=patients)
    if not packed and not without:
        remedy = "Leave it out, or make packed cases, or name cases whose tumours are left out."
        require_none("has no effect without packed cases", remedy, patients=patients)
    known = read_patients(patients) if patients else {}
    left_out = {patient for card in open_store(without).cards for patient in card.patients} if without else ()
    material = read_material(anatomy, folders).without(left_out, names=known)
    if gallery:
        require_named_place(gallery, setting="gallery")
    if packed:
        prepare_series(
            material,
            output,
            numbers,
            seed=seed,
            settings=settings,
            patients=known,
            on_head=lambda card: say(f"{card.name}: {', '.join(card.patients) or 'grown'}"),
        )
    else:
        write_series(
            material,
            output,
            numbers,
            seed=seed,
            settings=settings,
            labels=numbering,
            on_head=lambda name, _: say(name),
        )
    if gallery:
        with no_channels():
            write_gallery(gallery, material, numbers, seed=seed, settings=settings, beside=real)
    return EXIT_DONE


def train(
    caches: Caches,
    out: Annotated[Path, typer.Option(help="Folder for weights, manifest and recipe.", parser=path)],
    work: Work,
    source: Source,
    recipe: RecipeName = "compact",
    origin: Annotated[
        Path | None,
        typer.Option("--from", help="Weights to start from; heads and inputs are remapped by name.", parser=path),
    ] = None,
    frozen_stages: Annotated[int, typer.Option(help="Number of encoder stages that stay unchanged.")] = 0,
    early_rate: Annotated[float, typer.Option(help="Learning rate of the first stage, as a share.")] = 1.0,
    steps: Steps = None,
    only: Annotated[list[str] | None, typer.Option(help="Train only this member; repeatable.")] = None,
    folds: Annotated[str | None, typer.Option(help="How many folds, or a list of them, JSON or CSV.")] = None,
    fold: Annotated[int | None, typer.Option(help="Fold to hold out and score at intervals.")] = None,
    tuned: Annotated[
        Path | None,
        typer.Option(help="Output of `htcnns tune`, whose rules and scores go into the manifest.", parser=path),
    ] = None,
    validate_on: Annotated[
        list[Path] | None,
        typer.Option(help="Packed cases of other patients to score at intervals; repeatable.", parser=path),
    ] = None,
    validate_every: Annotated[int | None, typer.Option(help="Steps between these scores; default: 500.", min=1)] = None,
    device: Device = "auto",
    threads: Threads = 0,
    workers: Workers = 1,
) -> int:
    """Train members on packed cases, or fine-tune weights."""
    import torch  # takes a second

    from htcnns.doors.fold_arguments import without_fold
    from htcnns.doors.training_printer import TrainingPrinter, say
    from htcnns.files.manifest import chosen_weights, read_manifest
    from htcnns.runs.devices import choose_device, keep_freed_memory
    from htcnns.training.campaign import Campaign, FitWatcher, train_set
    from htcnns.training.cases import joined, open_store
    from htcnns.training.team import join_team, local_device
    from htcnns.training.transfer import TransferSettings
    from htcnns.training.validation import EVERY, Validation

    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    if not validate_on and folds is None and fold is None:
        remedy = "Leave it out, or give cases to validate on or a fold to hold out."
        require_none("has no effect without cases to validate on", remedy, validate_every=validate_every)
    store = open_store(caches)
    cards, held_out = without_fold(store, folds, fold)
    looked_at = joined([held_out, *([open_store(validate_on)] if validate_on else [])])
    campaign = Campaign(
        recipe=read_recipe(recipe, steps=steps),
        source=source,
        work=work,
        weights=out,
        origin=chosen_weights(origin) if origin else None,
        transfer=TransferSettings(frozen_stages=frozen_stages, early_rate=early_rate),
        tuned=read_manifest(tuned, setting="tuned") if tuned else (),
        n_workers=workers,
        validation=Validation(store=looked_at, every=validate_every or EVERY) if validate_on or folds else None,
    )
    require_members(only or (), campaign.recipe)
    chosen = local_device(choose_device(device))
    printer = TrainingPrinter()
    with join_team(chosen) as team:
        watcher = FitWatcher(on_step=printer.step, on_transfer=printer.transfer) if team.leads else FitWatcher()
        train_set(campaign, store, cards, device=chosen, only=only or (), watcher=watcher, team=team)
        if team.leads:
            say(
                f"weights in {out}"
                if not only
                else f"trained {', '.join(only)}; run without {flag('only')} for the manifest"
            )
    return EXIT_DONE


def contrasts(caches: Caches) -> int:
    """Measure the brightness of tissues and tumours."""
    from htcnns.training.synthesis.survey import survey, survey_source  # imports scipy

    print(survey_source(survey(caches)), end="")
    return EXIT_DONE


def _truth_rule(text: str) -> "TruthRule":
    """The rule for reading truths, from "brats2023" or "brats2024-ped=BraTS-PED-*"."""
    from htcnns.labels import label_set
    from htcnns.training.cases import WHOLE_TUMOUR as ONE_NUMBER
    from htcnns.training.cases import TruthRule

    name, _, pattern = text.partition("=")
    labels = ONE_NUMBER if name == WHOLE_TUMOUR else label_set(name)
    return TruthRule(labels, pattern or "*")


def _require_one(rules: "list[TruthRule]", texts: list[str]) -> None:
    """Raise SettingsError unless there is one rule, without a pattern, as names of cubes are not matched."""
    if [rule.pattern for rule in rules] != ["*"]:
        raise SettingsError(
            "an npz of cubes takes one label set, without a pattern",
            setting="labels",
            found=", ".join(texts),
            remedy="Name the label set of its truths.",
        )


def _labelled_folder(text: str, setting: str) -> "tuple[Path, LabelSet]":
    """Folder and label set, from "brats2021=DIR"."""
    from htcnns.labels import label_set

    name, separator, folder = text.partition("=")
    if not separator or not folder:
        raise SettingsError(
            "not a label set and a folder",
            setting=setting,
            found=repr(text),
            expected="SET=DIR, such as brats2021=cases",
            remedy="Name both.",
        )
    return Path(folder), label_set(name, setting=setting)
