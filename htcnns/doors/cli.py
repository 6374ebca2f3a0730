"""The command line: arguments in, one call, text and exit code out.

torch takes a second to import, so what needs it is imported inside the commands, and `--help` stays quick.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from htcnns.doors.arguments import Channels, InputFolder, WeightsFolder, names, path, sequences
from htcnns.doors.cohorts_cli import cohorts
from htcnns.doors.doctor_cli import doctor
from htcnns.doors.held_out_cli import ablation, cv, tune
from htcnns.doors.recipes_cli import recipes_app
from htcnns.doors.terminal import one_line, print_error, steady_output
from htcnns.doors.training_cli import contrasts, pack, synthesise, train
from htcnns.doors.view_cli import view
from htcnns.doors.weights_cli import weights_app
from htcnns.errors import EXIT_DONE, EXIT_INTERRUPTED, HtcnnsError, SettingsError
from htcnns.files.closed_pipe import has_no_reader, lead_nowhere

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(weights_app, name="weights")
app.add_typer(recipes_app, name="recipes")

CaseList = Annotated[
    Path | None,
    typer.Option(
        "--list", metavar="FILE", help="Only these cases: .txt of folders or names, .csv, .json.", parser=path
    ),
]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; a user's mistake ends as one sentence on stderr."""
    with steady_output():
        return _answer(arguments)


def _answer(arguments: list[str] | None) -> int:
    try:
        code = app(args=arguments, prog_name="htcnns", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_DONE
    except HtcnnsError as error:
        return print_error(error)
    except typer.Exit as leave:
        return leave.exit_code
    except SystemExit as leave:
        if not isinstance(leave.__context__, OSError):
            raise
        if not has_no_reader(sys.stdout):  # typer takes every broken pipe for that of stdout
            raise leave.__context__ from None
        lead_nowhere(sys.stdout)
        return EXIT_DONE
    except (typer.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have it
            raise
        print(f"htcnns: {one_line(error.format_message()).rstrip('.')}. See htcnns --help.", file=sys.stderr)
        return SettingsError.exit_code


@app.command()
def segment(
    input: InputFolder,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the masks; made if absent.", parser=path)],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:n.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    weights: WeightsFolder = None,
    members: Annotated[
        str, typer.Option(help="Names from `htcnns weights list`, separated by commas; default: all.")
    ] = "",
    fusion: Annotated[str, typer.Option(help="staple, majority or mean.")] = "staple",
    labels: Annotated[str | None, typer.Option(help="Label set of the masks; default: by each case's name.")] = None,
    overlap: Annotated[
        float | None,
        typer.Option(help="Overlap between windows, 0 <= x < 1; default: as the manifest says."),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="Axes to mirror over: letters of ijk; default: as the manifest says.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Windows at a time.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="Also segment cases that have a mask already.")] = False,
    on_failure: Annotated[str, typer.Option(help="skip, or empty for an empty mask.")] = "skip",
    on_unclear: Annotated[str, typer.Option(help="stop if a case is unclear, or fail for that case alone.")] = "stop",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Also segment cases that lack one sequence, from the other three.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="FILE.json for the run, or a folder: report and picture per case.", parser=path)
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="FILE.jsonl; each event is appended as a line of JSON.", parser=path)
    ] = None,
    disagreement: Annotated[
        bool, typer.Option("--disagreement", help="Also a map of where members disagree, beside each case's report.")
    ] = False,
    probabilities: Annotated[
        Path | None, typer.Option(help="Folder for a probability map per region.", parser=path)
    ] = None,
    previews: Annotated[Path | None, typer.Option(help="Folder for an overlay picture per case.", parser=path)] = None,
    short_names: Annotated[
        bool, typer.Option("--short-names", help="00495.nii.gz for a flat BraTS2021_00495, as in the 2021 challenge.")
    ] = False,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds allowed for reading a case, and for its windows; then it fails.")
    ] = None,
    case_list: CaseList = None,
    watch: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Look for new cases this often; take each once it has stopped changing."),
    ] = None,
    until_idle: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End a watch after this long without anything new.")
    ] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Only this share of the cases: 0/4, 1/4, 2/4 or 3/4 of four.")
    ] = "",
    engine: Annotated[str, typer.Option(help="local, or ray for workers on a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="The Ray cluster: auto or host:port; default: workers on this machine.")
    ] = None,
    worker_cpus: Annotated[int | None, typer.Option(help="CPUs of each worker on Ray; default: 2.")] = None,
    channels: Channels = "",
) -> int:
    """Segment every case in IN and write one mask per case to OUT."""
    from htcnns.doors.run_printer import segment_and_print  # imports torch
    from htcnns.runs.settings import RunSettings
    from htcnns.runs.shard import Shard

    settings = RunSettings(
        weights=weights,
        members=names(members, setting="members"),
        device=device,
        precision=precision,
        fusion=fusion,
        labels=labels,
        overlap=overlap,
        mirror=mirror,
        batch=batch,
        again=again,
        on_failure=on_failure,
        on_unclear=on_unclear,
        allow_missing=allow_missing,
        report=report,
        log=log,
        disagreement=disagreement,
        probabilities=probabilities,
        previews=previews,
        short_names=short_names,
        time_limit_s=time_limit,
        case_list=case_list,
        watch_s=watch,
        until_idle_s=until_idle,
        shard=Shard.of_text(shard) if shard else None,
        engine=engine,
        address=address,
        worker_cpus=worker_cpus,
        channels=sequences(channels),
    )
    return segment_and_print(input, output, settings)


@app.command()
def cases(input: InputFolder, case_list: CaseList = None, channels: Channels = "") -> int:
    """List the cases in IN and what to rename; run nothing."""
    from rich.console import Console  # only for the table
    from rich.table import Table
    from rich.text import Text

    from htcnns.files.case_list import search_list
    from htcnns.files.cases import search
    from htcnns.files.renames import case_rows

    order = sequences(channels)
    found = search_list(case_list, input, channels=order) if case_list else search(input, channels=order)
    table = Table("case", "naming", "found", "missing", "what to rename or fix")
    for row in case_rows(found):
        remarks = "; ".join(row.rename + row.unread)
        cells = (row.case, row.naming, " ".join(row.found), " ".join(row.missing) or "-", remarks)
        table.add_row(*(Text(one_line(cell)) for cell in cells))  # a plain string would be read as markup
    console = Console(soft_wrap=True, emoji=False, width=None if Console().is_terminal else 200)
    console.print(table)
    for leftover in found.leftovers:
        console.print(one_line(f"not used: {leftover.path}: {leftover.reason}"), markup=False, highlight=False)
    codes = [print_error(case.fault) for case in found.cases if case.fault]
    if not codes:
        found.require_clear()  # a folder without any scan stops a run too
    return max(codes, default=EXIT_DONE)


@app.command()
def evaluate(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="Folder of label maps, CASE.nii.gz.", parser=path)
    ],
    truths: Annotated[Path, typer.Argument(metavar="TRUTHS", help="Folder of truths, flat or nested.", parser=path)],
    rules: Annotated[
        str, typer.Option(help="Whose scores: brats2021, brats2023-gli, brats2024-met ...")
    ] = "brats2023-gli",
    as_meant: Annotated[bool, typer.Option("--as-meant", help="Without the known bugs of the official code.")] = False,
    prediction_labels: Annotated[str | None, typer.Option(help="Label set; default: by each case's name.")] = None,
    truth_labels: Annotated[str | None, typer.Option(help="Label set; default: by each case's name.")] = None,
    also: Annotated[list[str] | None, typer.Option(help="Another score, such as border-nsd-1mm; repeatable.")] = None,
    missing: Annotated[str, typer.Option(help="A truth without prediction: skip, or worst to score it.")] = "skip",
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Compare two folders of predictions case by case.", parser=path),
    ] = None,
    rank: Annotated[
        list[Path] | None, typer.Option(help="Another folder of predictions to rank; repeatable.", parser=path)
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.", parser=path)] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table of cases to this file.", parser=path)] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file.", parser=path)] = None,
) -> int:
    """Score PREDICTIONS against TRUTHS as the challenges do."""
    from htcnns.doors.score_printer import ScoreFiles, evaluate_and_print
    from htcnns.scores.evaluation import EvaluateSettings  # scipy takes half a second

    settings = EvaluateSettings(
        rules=rules,
        as_meant=as_meant,
        prediction_labels=prediction_labels,
        truth_labels=truth_labels,
        definitions=tuple(also or ()),
        missing=missing,
    )
    files = ScoreFiles(json, csv, markdown)
    return evaluate_and_print(predictions, truths, settings, others=tuple(rank or ()), paired=compare, files=files)


@app.command()
def demo(
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the case, its mask, a picture, a report.", parser=path)
    ],
) -> int:
    """Segment a synthetic head and compare with what is known."""
    from htcnns.doors.demo import segment_demo  # imports torch

    return segment_demo(output)


for command in (doctor, view, pack, synthesise, contrasts, train, cv, ablation, tune, cohorts):
    app.command()(command)
