"""A real headless Chromium for the pages that we make.

Tests that ask for `tab` run where Debian's `chromium`, or another build of it, is installed, and are skipped elsewhere.
"""

import os
import shutil
from collections.abc import Iterator

import pytest
from browser_tab import LAPTOP, Tab, note_stray
from playwright.sync_api import Browser, sync_playwright

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--enable-unsafe-swiftshader", "--use-angle=swiftshader")  # WebGL without a graphics card


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A running Chromium."""
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    flags = [*FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else [])]  # root has no sandbox
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Tab]:
    """A fresh page of a laptop's size; afterwards it must have no complaints and no stray requests."""
    context = chromium.new_context(viewport=LAPTOP)
    tab = Tab(context.new_page())
    context.on("request", lambda request: note_stray(tab, request.url))
    context.on("weberror", lambda error: tab.complaints.append(str(error.error)))
    context.on("console", lambda line: tab.complaints.append(line.text) if line.type in ("error", "warning") else None)
    yield tab
    context.close()
    assert tab.complaints == []
    assert tab.strays == []
