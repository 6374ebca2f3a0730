"""Kinds of argument on the command line."""

from pathlib import Path
from typing import Annotated

import typer


def path(text: str) -> Path:
    """The path that an argument names; an empty one would be the present folder, and nobody means that."""
    if not text:
        raise typer.BadParameter("an empty text; expected a path")
    return Path(text)


WeightsFolder = Annotated[
    Path | None,
    typer.Option("--weights", help="Folder with manifest.json, or the name of another shipped set.", parser=path),
]
