"""The command that shows cases in a browser.

What needs nibabel or Pillow is imported inside the command, so that `--help` stays quick.
"""

import secrets
import signal
import webbrowser
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from htcnns.doors.arguments import Channels, InputFolder, path, sequences
from htcnns.doors.terminal import counted, one_line
from htcnns.errors import EXIT_DONE, EXIT_TERMINATED

_TOKEN_BYTES = 32


def view(
    input: InputFolder,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder that the masks were written to; default: truths beside the scans.", parser=path),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Label set of the masks; default: by each case's name.")] = None,
    channels: Channels = "",
    port: Annotated[int, typer.Option(help="Port on this machine; 0 for any free one.", min=0, max=65535)] = 0,
    open_browser: Annotated[
        bool,
        typer.Option("--open", help="Also open it in a browser, whose command line shows the address to other users."),
    ] = False,
) -> int:
    """Show the cases in IN with their masks in a browser."""
    from htcnns.doors.view_server import HOST, Site, open_server
    from htcnns.files.viewer_cases import shown_cases
    from htcnns.labels import default_label_set, label_set

    numbers = label_set(labels) if labels else None
    cases = shown_cases(
        input, masks, numbers=lambda name: numbers or default_label_set(name), channels=sequences(channels)
    )
    site = Site(cases, secrets.token_urlsafe(_TOKEN_BYTES))
    with open_server(site, port=port) as server:
        address = f"http://{HOST}:{server.server_address[1]}/{site.token}/"
        with_mask = sum(case.mask is not None for case in cases)
        kind = "a mask" if masks else "a truth"
        print(one_line(f"{counted(len(cases), 'case')} in {input}, {with_mask} with {kind}; Ctrl-C ends the viewer"))
        print(address, flush=True)
        if open_browser and not webbrowser.open_new_tab(address):
            print("no browser was found on this machine; open the address yourself", flush=True)
        signal.signal(signal.SIGTERM, _end)
        server.serve_forever()
    return EXIT_DONE


def _end(_number: int, _frame: FrameType | None) -> None:
    """End the program; in process 1 of a container the default handler would do nothing."""
    raise SystemExit(EXIT_TERMINATED)
