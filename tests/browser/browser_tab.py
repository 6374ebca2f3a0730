"""A page in the browser, what it prints to the console, and what it requests from elsewhere."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Page

LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@dataclass(frozen=True)
class Tab:
    """A page in the browser; both lists grow while it is used, and a test that leaves anything in either fails.

    Attributes:
        page: playwright's page, empty at first.
        complaints: errors and warnings of the console, and exceptions that nobody caught.
        strays: requested addresses of another scheme or host than the page's own, answered or not.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)


def note_stray(tab: Tab, url: str) -> None:
    """Add the address to the strays unless it is one of the page's own."""
    asked, home = urlsplit(url), urlsplit(tab.page.url)
    is_first = home.scheme == "about"  # what the test itself opens
    is_home = (asked.scheme, asked.netloc) == (home.scheme, home.netloc)
    if not (is_first or is_home or asked.scheme in ("data", "blob")):
        tab.strays.append(url)
