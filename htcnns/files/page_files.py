"""The files that the viewer's page is made of, read from the package."""

from functools import cache
from importlib.resources import files

FOLDER = "viewer_page"


@cache
def page_file(name: str) -> bytes:
    """The content of one of these files; its name must come from our code, never from a visitor."""
    return files("htcnns.reports").joinpath(FOLDER, name).read_bytes()
