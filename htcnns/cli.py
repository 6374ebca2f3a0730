"""The command line: arguments in, one call, text and exit code out.

torch takes a second to import, so what needs it is imported inside the commands, and `--help` stays quick.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from htcnns.errors import HtcnnsError, SettingsError, WeightsError
from htcnns.terminal import one_line, print_any_name

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
weights_app = typer.Typer(help="What the members are, and whether their files are whole.")
app.add_typer(weights_app, name="weights")

InputFolder = Annotated[Path, typer.Argument(metavar="IN", help="Folder of cases, or one case.")]
WeightsFolder = Annotated[
    Path | None, typer.Option("--weights", help="Folder with manifest.json; default: the shipped one.")
]
Channels = Annotated[
    str, typer.Option(help="What nnU-Net's 0000, 0001 ... are, as t1n,t1c,t2w,t2f in the right order.")
]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit code; a user's mistake ends as one sentence on stderr."""
    print_any_name()
    try:
        code = app(args=arguments, prog_name="htcnns", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except HtcnnsError as error:
        print(f"htcnns: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        return 130
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have it
            raise
        print(f"htcnns: {one_line(error.format_message()).rstrip('.')}. See htcnns --help.", file=sys.stderr)
        return SettingsError.exit_code


@app.command()
def segment(
    input: InputFolder,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for one mask a case; made if absent.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:n.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    weights: WeightsFolder = None,
    members: Annotated[str, typer.Option(help="Names from `htcnns weights list`, by commas; default: all.")] = "",
    fusion: Annotated[str, typer.Option(help="staple, majority or mean.")] = "staple",
    labels: Annotated[str | None, typer.Option(help="Label set; default: by each case's name.")] = None,
    overlap: Annotated[float, typer.Option(help="Of neighbouring windows, 0 to below 1.")] = 0.6,
    mirror: Annotated[str, typer.Option(help="Axes to mirror over: letters of ijk.")] = "",
    batch: Annotated[int, typer.Option(help="Windows at a time.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="Segment cases anew whose mask is there.")] = False,
    on_failure: Annotated[str, typer.Option(help="skip, or empty for an empty mask.")] = "skip",
    report: Annotated[Path | None, typer.Option(help="Write a JSON report to this file.")] = None,
    probabilities: Annotated[Path | None, typer.Option(help="Folder for a probability map a region.")] = None,
    previews: Annotated[Path | None, typer.Option(help="Folder for an overlay picture a case.")] = None,
    short_names: Annotated[
        bool, typer.Option("--short-names", help="00495.nii.gz for a flat BraTS2021_00495, as in the 2021 challenge.")
    ] = False,
    channels: Channels = "",
) -> int:
    """Segment every case in IN and write one mask each to OUT."""
    from htcnns.console import run_and_tell  # imports torch
    from htcnns.runs.batch import BatchSettings
    from htcnns.runs.ensemble import EnsembleSettings
    from htcnns.runs.folder import SHIPPED_WEIGHTS, Request

    settings = BatchSettings(
        ensemble=EnsembleSettings(overlap=overlap, mirror=mirror, batch=batch),
        fusion=fusion,
        labels=labels,
        again=again,
        on_failure=on_failure,
        probabilities=probabilities,
        previews=previews,
        short_names=short_names,
    )
    request = Request(
        input=input,
        output=output,
        weights=weights or SHIPPED_WEIGHTS,
        members=_names(members),
        device=device,
        precision=precision,
        channels=_channels(channels),
        report=report,
        batch=settings,
    )
    return run_and_tell(request)


@app.command()
def cases(input: InputFolder, channels: Channels = "") -> int:
    """List the cases in IN, what each has and lacks, and what to rename; runs nothing."""
    from rich.console import Console  # only for the table
    from rich.table import Table
    from rich.text import Text

    from htcnns.files.cases import case_rows, search

    found = search(input, channels=_channels(channels))
    table = Table("case", "naming", "found", "missing", "what to rename")
    for row in case_rows(found):
        cells = (row.case, row.naming, " ".join(row.found), " ".join(row.missing) or "-", "; ".join(row.rename))
        table.add_row(*(Text(one_line(cell)) for cell in cells))  # a plain string would be read as markup
    console = Console(soft_wrap=True, width=None if Console().is_terminal else 200)
    console.print(table)
    for leftover in found.leftovers:
        console.print(one_line(f"not used: {leftover.path}: {leftover.reason}"), markup=False, highlight=False)
    return 0


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="Folder of label maps, CASE.nii.gz.")],
    truths: Annotated[Path, typer.Argument(metavar="TRUTHS", help="Folder of truths, flat or nested.")],
    rules: Annotated[
        str, typer.Option(help="Whose scores: brats2021, brats2023-gli, brats2024-met ...")
    ] = "brats2023-gli",
    as_meant: Annotated[bool, typer.Option("--as-meant", help="Without the known bugs of the official code.")] = False,
    prediction_labels: Annotated[str | None, typer.Option(help="Label set; default: by each case's name.")] = None,
    truth_labels: Annotated[str | None, typer.Option(help="Label set; default: by each case's name.")] = None,
    also: Annotated[list[str] | None, typer.Option(help="Another score: hd95-medpy, nsd-1mm ...; repeatable.")] = None,
    missing: Annotated[str, typer.Option(help="A truth without prediction: skip, or worst to score it.")] = "skip",
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="A B", help="Tell two folders of predictions apart.")
    ] = None,
    rank: Annotated[list[Path] | None, typer.Option(help="Another folder of predictions to rank; repeatable.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table of cases to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file.")] = None,
) -> int:
    """Score PREDICTIONS against TRUTHS as a challenge's official code does."""
    from htcnns.runs.evaluate import EvaluateSettings  # scipy takes half a second
    from htcnns.scoreboard import ScoreFiles, evaluate_and_tell

    settings = EvaluateSettings(rules, as_meant, prediction_labels, truth_labels, tuple(also or ()), missing)
    files = ScoreFiles(json, csv, markdown)
    return evaluate_and_tell(predictions, truths, settings, others=tuple(rank or ()), paired=compare, files=files)


@app.command()
def demo(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the case, its mask, a picture, a report.")],
) -> int:
    """Make a synthetic head, segment it with the shipped members, and compare with what is known."""
    from htcnns.console import demo_and_tell  # imports torch

    return demo_and_tell(output)


@app.command()
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of cases of 1 mm, each with its truth.")],
    work: Annotated[Path, typer.Option(help="Packs, checkpoints, fits; a campaign cut off goes on from here.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, manifest and the table of held-out scores.")],
    steps: Annotated[int | None, typer.Option(help="Of each fit; default: as the shipped weights.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this fit, such as unet:fold0; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:n.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 1 where several processes share the fits.")] = 0,
) -> int:
    """Train the compact members on DATA: two folds to measure, all cases to ship."""
    import torch  # takes a second

    from htcnns.image.postprocess import PostprocessRules
    from htcnns.runs.devices import choose_device
    from htcnns.training.campaign import Campaign, run_campaign

    if threads:
        torch.set_num_threads(threads)
    campaign = Campaign(data, work, out, choose_device(device), PostprocessRules(), n_steps=steps)
    run_campaign(campaign, only=only or (), tell=lambda line: print(line, flush=True))
    return 0


@weights_app.command("list")
def list_weights(weights: WeightsFolder = None) -> int:
    """List the members with their networks, files and training."""
    from htcnns.files.weights import read_manifest  # imports torch
    from htcnns.runs.folder import SHIPPED_WEIGHTS

    for member in read_manifest(weights or SHIPPED_WEIGHTS):
        print(f"{member.name}: {member.title}")
        print(f"  network {member.network}, window {'x'.join(map(str, member.window))}")
        print(f"  files {', '.join(file.path.name for file in member.files)}")
        for key, value in member.trained_on.items():
            print(f"  {key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return 0


@weights_app.command("verify")
def verify_weights(weights: WeightsFolder = None) -> int:
    """Check every file against its sha256 and load it strictly into its network."""
    from htcnns.files.weights import read_manifest, verify_file  # imports torch
    from htcnns.runs.folder import SHIPPED_WEIGHTS

    code = 0
    for member, file in ((m, f) for m in read_manifest(weights or SHIPPED_WEIGHTS) for f in m.files):
        try:
            print(verify_file(member, file))
        except WeightsError as error:  # the other files are looked at, too
            print(f"htcnns: {one_line(str(error))}", file=sys.stderr)
            code = error.exit_code
    return code


@app.command()
def doctor(weights: WeightsFolder = None) -> int:
    """Say what this machine offers: versions, devices, precision, weights."""
    from htcnns.runs.devices import choose_device, choose_precision, precision_name  # imports torch
    from htcnns.runs.folder import environment

    for key, value in environment().items():
        print(f"{key}: {value}")
    device = choose_device("auto")
    print(f"would run on {device} in {precision_name(choose_precision('auto', device))}")
    return verify_weights(weights)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _channels(text: str) -> tuple | None:
    """Sequences from "t1n,t1c,t2w,t2f" in any spelling; None when no text was given."""
    from htcnns.labels import SPELLINGS

    names = _names(text.lower())
    for name in names:
        if name not in SPELLINGS:
            raise SettingsError(f"--channels: unknown sequence {name!r}; known are {', '.join(SPELLINGS)}. Correct it.")
    sequences = tuple(SPELLINGS[name] for name in names)
    if len(set(sequences)) < len(sequences):
        raise SettingsError(f"--channels: found {', '.join(sequences)}; expected each sequence once. Correct it.")
    return sequences or None
