"""The commands that manage weights."""

from pathlib import Path
from typing import Annotated

import typer

from htcnns.doors.arguments import WeightsFolder, path
from htcnns.doors.import_cli import import_weights
from htcnns.doors.terminal import one_line, print_error
from htcnns.errors import EXIT_DONE, WeightsError

weights_app = typer.Typer(help="List, verify, import or join weights.")
weights_app.command("import")(import_weights)


@weights_app.command("list")
def list_weights(weights: WeightsFolder = None) -> int:
    """List the members with their networks, files and training."""
    from htcnns.files.manifest import chosen_weights, read_manifest  # imports torch
    from htcnns.volume import size_text

    for member in read_manifest(chosen_weights(weights)):
        print(one_line(f"{member.name}: {member.title}"))
        print(one_line(f"  network {member.network}, window {size_text(member.window)}"))
        print(f"  files {', '.join(file.path.name for file in member.files)}")
        for key, value in member.trained_on.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(one_line(f"  {key}: {text}"))
    return 0


@weights_app.command("verify")
def verify_weights(weights: WeightsFolder = None) -> int:
    """Check every sha256 and load every file strictly."""
    from htcnns.files.manifest import chosen_weights, read_manifest  # imports torch
    from htcnns.files.weights import verify_file

    code = EXIT_DONE
    for member, file in ((m, f) for m in read_manifest(chosen_weights(weights)) for f in m.files):
        try:
            print(one_line(verify_file(member, file)))
        except WeightsError as error:  # the other files are checked as well
            code = print_error(error)
    return code


@weights_app.command("join")
def join_members(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Weights folders, or FOLDER/MEMBER for one member.", parser=path),
    ],
    out: Annotated[Path, typer.Option(help="New folder for copies of them and one manifest.", parser=path)],
) -> int:
    """Copy members of several folders into one, to be fused."""
    from htcnns.runs.join_weights import join_weights  # imports torch

    for member in join_weights(folders, out):
        print(one_line(f"{member.name}: {', '.join(file.path.name for file in member.files)}"))
    print(one_line(f"in {out}"))
    return EXIT_DONE
