"""The command that imports other people's weights.

What needs torch is imported inside the command, so that `--help` stays quick.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from htcnns.doors.arguments import path
from htcnns.doors.arguments import sequences as sequences_in
from htcnns.doors.terminal import one_line
from htcnns.errors import EXIT_DONE

if TYPE_CHECKING:
    from htcnns.runs.foreign_member import Comparison


def import_weights(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Checkpoints of one network's folds, or nnU-Net's folder.", parser=path),
    ],
    kind: Annotated[str, typer.Option(help="Where they come from: nnunet-v2, nnunet-v1, kaist-bl, transbts ...")],
    out: Annotated[Path, typer.Option(help="Folder for weights and manifest; several may share one.", parser=path)],
    name: Annotated[str, typer.Option(help="Name of the member; default: the kind.")] = "",
    sequences: Annotated[
        str, typer.Option(help="Order of its inputs, such as t2f,t1c,t1n,t2w, where no file states it.")
    ] = "",
) -> int:
    """Make a member of other people's weights."""
    from htcnns.runs.foreign_member import ImportSettings, import_member  # imports torch
    from htcnns.volume import size_text

    order = sequences_in(sequences, setting="sequences") or ()
    settings = ImportSettings(files=tuple(files), kind=kind, out=out, name=name, sequences=order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about old or unusual files; what matters is refused
        member, imported = import_member(settings)
    for each in imported:
        print(one_line(f"{each.file.path.name} from {each.checkpoint}: {_nearness(each.comparison)}"))
    outputs = ", ".join(output.name for output in member.outputs)
    print(f"{member.name}: {member.network}, window {size_text(member.window)}")
    print(f"  sees {', '.join(member.sequences)}; predicts {outputs} by a {member.head}")
    for note in member.trained_on["differs"]:
        print(f"  {note}")
    print(one_line(f"in {out}"))
    return EXIT_DONE


def _nearness(compared: "Comparison") -> str:
    """How close the logits of the written weights are to those of the checkpoint, in words."""
    original = "the original is not installed here for comparison"
    if compared.original is not None:
        original = f"the original's differ by {compared.original:.1e} at most"
    return f"logits up to {compared.largest:.3g}; {original}; float16 moves them by {compared.rounding:.1e} at most"
