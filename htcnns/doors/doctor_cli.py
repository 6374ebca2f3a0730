"""The command that checks whether a run would work here."""

from pathlib import Path
from typing import Annotated

import typer

from htcnns.doors.arguments import WeightsFolder, path
from htcnns.doors.terminal import flag, one_line
from htcnns.errors import EXIT_DONE


def doctor(
    output: Annotated[
        Path | None, typer.Argument(metavar="[OUT]", help="Folder for masks, to check too.", parser=path)
    ] = None,
    weights: WeightsFolder = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:n.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
) -> int:
    """Say whether a run would work here, and what to do about it."""
    from htcnns.runs.checks import checks  # imports torch
    from htcnns.runs.settings import RunSettings

    settings = RunSettings(weights=weights, device=device, precision=precision)
    failed = []
    for check in checks(settings, output=output):
        said = check.error.sentence(flag) if check.error else f"{check.found}. {check.remedy}".rstrip()
        print(f"{check.state:<5} {check.name}: {one_line(said)}", flush=True)
        if check.error:
            failed.append(check)
    print(f"a run would fail: {', '.join(check.name for check in failed)}" if failed else "a run would work")
    return failed[0].error.exit_code if failed and failed[0].error else EXIT_DONE
