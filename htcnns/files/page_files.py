"""The files that the viewer's page is made of, as they lie in the package."""

from functools import cache
from importlib.resources import files

FOLDER = "viewer_page"


@cache
def page_file(name: str) -> bytes:
    """The content of a file of that name, which is ours and never a visitor's."""
    return files("htcnns.reports").joinpath(FOLDER, name).read_bytes()
