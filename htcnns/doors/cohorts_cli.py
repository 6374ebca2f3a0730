"""The command that compares two cohorts.

What needs torch is imported inside the command, so that `--help` stays quick.
"""

from pathlib import Path
from typing import Annotated

import typer

from htcnns.doors.arguments import no_channels, path
from htcnns.doors.terminal import one_line
from htcnns.errors import EXIT_DONE


def cohorts(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of cases.", parser=path)],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of cases of other patients.", parser=path)],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="File for the picture.", parser=path)],
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights folder: compare features of its member, not images.", parser=path),
    ] = None,
    member: Annotated[str, typer.Option(help="Name of the member, from `htcnns weights list`.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:n.")] = "auto",
) -> int:
    """Draw two cohorts on a map and say whether they differ."""
    from htcnns.files.atomic import require_named_place, write_named
    from htcnns.reports.cohort_picture import cohort_picture
    from htcnns.reports.picture import png_bytes
    from htcnns.runs.cohort_comparison import CohortSettings, compare_cohorts  # imports torch
    from htcnns.scores.separation import LARGEST_P

    require_named_place(out, setting="out")
    settings = CohortSettings(weights=weights, member=member, device=device)
    with no_channels():
        found = compare_cohorts(
            first, second, settings, on_case=lambda name: print(one_line(f"read {name}"), flush=True)
        )
    write_named(out, png_bytes(cohort_picture(found.cohorts, found.separation, of=found.of)))
    sizes = " and ".join(f"{len(cohort.cases)} in {cohort.name}" for cohort in found.cohorts)
    result = found.separation
    print(one_line(f"{sizes}, by their {found.of}"))
    print(
        f"nearest neighbour in the same cohort: {result.accuracy:.2f} of the cases (mean of both; 0.50 by chance), "
        f"p = {result.p:.4f} from {result.n_permutations} permutations"
    )
    print(f"{result.verdict} (told apart: p at most {LARGEST_P})")
    print(one_line(f"picture in {out}"))
    return EXIT_DONE
