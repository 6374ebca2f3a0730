"""The browser of the tests works, and the tab notes what a page should not do."""

from pathlib import Path

import pytest
from browser_tab import Tab

pytestmark = pytest.mark.slow


def opened(tab: Tab, folder: Path, body: str) -> None:
    path = folder / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>page</title>{body}", encoding="utf-8")
    tab.page.goto(path.as_uri())


def test_a_quiet_page_has_no_complaint(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, "<p>text<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")
    assert (tab.page.title(), tab.complaints, tab.strays) == ("page", [], [])


@pytest.mark.parametrize(
    "script",
    ["console.error('said')", "console.warn('said')", "throw new Error('said')"],
    ids=["error", "warn", "throw"],
)
def test_a_pages_complaint_is_seen(tab: Tab, tmp_path: Path, script: str) -> None:
    opened(tab, tmp_path, f"<script>{script}</script>")
    (complaint,) = tab.complaints
    tab.complaints.clear()
    assert "said" in complaint


def test_a_request_that_leaves_the_page_is_seen(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, "<img src='http://127.0.0.1:9/a.png'>")
    strays = [*tab.strays]
    tab.strays.clear()
    tab.complaints.clear()  # that the request failed
    assert strays == ["http://127.0.0.1:9/a.png"]


def test_the_browser_has_webgl(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, "<canvas></canvas>")
    assert tab.page.evaluate("() => document.querySelector('canvas').getContext('webgl2') !== null")
