"""The viewer in a real Chromium, used as a person would; WebGL runs in software, so cases and pictures are small."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from browser_tab import Tab
from PIL import Image

from htcnns.doors.view_server import HOST, Site, open_server
from htcnns.files.nifti import write_case_file
from htcnns.files.viewer_cases import shown_cases
from htcnns.image.phantom import make_phantom
from htcnns.labels import LABEL_SETS, SEQUENCES, Region, default_label_set, encode, region_mask
from htcnns.volume import voxel_ml

pytestmark = pytest.mark.slow

FIRST, HOSTILE, BARE = "BraTS-GLI-00001-000", "<img src=x onerror=alert(1)>", "z-bare"
SIZE = {"width": 1024, "height": 600}  # the smallest size that has the panels beside the drawing
PATIENCE_MS = 240_000  # a busy machine takes long to draw without a graphics card
NAMES = [HOSTILE, FIRST, BARE]  # as they are sorted
PHANTOM = make_phantom((34, 36, 33), seed=2)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where three small cases are served; the first has markup for a name, the last no truth and no t2w."""
    folder = tmp_path_factory.mktemp("cases")
    for name in NAMES:
        case = folder / name
        case.mkdir()
        for sequence, array in zip(SEQUENCES, PHANTOM.sequences, strict=True):
            write_case_file(case / f"{name}_{sequence}.nii.gz", array.astype(np.int16), PHANTOM.affine)
        if name != BARE:
            truth = encode(PHANTOM.truth, LABEL_SETS["brats2023"])
            write_case_file(case / f"{name}_seg.nii.gz", truth, PHANTOM.affine)
    (folder / BARE / f"{BARE}_t2w.nii.gz").unlink()
    site = Site(shown_cases(folder, None, numbers=default_label_set), "token")
    with open_server(site, port=0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}/{site.token}/"
        server.shutdown()


@pytest.fixture
def viewer(tab: Tab, address: str) -> Tab:
    """The page with its first case drawn."""
    tab.page.set_default_timeout(PATIENCE_MS)
    tab.page.set_viewport_size(SIZE)
    tab.page.goto(address)
    wait_for(tab, HOSTILE)
    return tab


def wait_for(tab: Tab, case: str) -> None:
    """Wait until that case is drawn and no message covers it."""
    tab.page.locator("h1", has_text=case).wait_for()
    tab.page.locator("#message").wait_for(state="hidden")


def drawn(tab: Tab) -> np.ndarray:
    """(height, width, 3) pixels of the drawing."""
    shot = tab.page.locator("#canvas").screenshot(timeout=PATIENCE_MS)
    return np.asarray(Image.open(BytesIO(shot)).convert("RGB")).astype(int)


def share_of_colour(pixels: np.ndarray) -> float:
    """The share of pixels that are clearly not grey: label map, cross-hair."""
    return float(((pixels.max(axis=2) - pixels.min(axis=2)) > 40).mean())


def height_mm(place: str) -> float:
    """z of a place as the page writes it."""
    return float(place.removesuffix(" mm").split(",")[2])


def text(tab: Tab, selector: str) -> str:
    return tab.page.locator(selector).inner_text()


def test_it_draws_the_case_and_its_mask_with_volumes(viewer: Tab) -> None:
    pixels = drawn(viewer)
    assert (pixels.max(axis=2) > 60).mean() > 0.1
    assert share_of_colour(pixels) > 0.01
    tumour_ml = region_mask(PHANTOM.truth, Region.WT).sum() * voxel_ml(PHANTOM.affine)
    assert text(viewer, "#legend tr:last-child") == f"whole tumour\t{tumour_ml:.1f} ml"
    assert text(viewer, "h1") == HOSTILE  # markup in a name stays text
    assert viewer.page.locator("img").count() == 0


def test_another_sequence_looks_different_at_the_same_place(viewer: Tab) -> None:
    before, place = drawn(viewer), text(viewer, "#place-mm")
    viewer.page.get_by_role("radio", name="t2f").click()
    viewer.page.locator("#sequences [aria-checked=true]", has_text="t2f").wait_for()
    viewer.page.wait_for_timeout(1000)
    assert np.abs(drawn(viewer) - before).mean() > 1
    assert text(viewer, "#place-mm") == place


def test_outlines_a_hidden_label_and_no_opacity_each_show_less_of_the_mask(viewer: Tab) -> None:
    viewer.page.keyboard.press("a")
    filled = share_of_colour(drawn(viewer))
    viewer.page.locator("#outlines").check()
    outlined = share_of_colour(drawn(viewer))
    viewer.page.locator("#legend").get_by_label("oedema").uncheck()
    without_oedema = share_of_colour(drawn(viewer))
    viewer.page.locator("#opacity").fill("0")
    nothing = share_of_colour(drawn(viewer))
    assert filled > outlined > without_oedema > nothing
    assert text(viewer, "#opacity-value") == "0 %"


def test_cases_open_by_click_key_and_name_and_one_without_mask_says_so(viewer: Tab) -> None:
    viewer.page.locator("#next").click()
    wait_for(viewer, FIRST)
    assert text(viewer, "#position") == "2 of 3"
    viewer.page.keyboard.press("ArrowRight")
    wait_for(viewer, BARE)
    assert text(viewer, "#mask-note") == "t2w missing. No truth of this case."
    assert not viewer.page.locator("#mask-controls").is_visible()
    assert viewer.page.get_by_role("radio", name="t2w").is_disabled()
    assert viewer.page.locator("#next").is_disabled()
    viewer.page.keyboard.press("/")  # finds a case by its name
    viewer.page.keyboard.type("gli-00001")
    assert viewer.page.locator("#cases li").all_inner_texts() == [FIRST]
    viewer.page.keyboard.press("Enter")
    wait_for(viewer, FIRST)


def test_keys_do_what_the_help_says(viewer: Tab) -> None:
    place = text(viewer, "#place-mm")
    viewer.page.keyboard.press("ArrowUp")
    assert height_mm(text(viewer, "#place-mm")) > height_mm(place)
    viewer.page.keyboard.press("l")
    assert text(viewer, "#place-mm") == place
    viewer.page.keyboard.press("m")
    assert text(viewer, "#opacity-value") == "off"
    viewer.page.keyboard.press("0")
    viewer.page.keyboard.press("r")
    viewer.page.locator("#views [aria-checked=true]", has_text="3-D").wait_for()
    viewer.page.keyboard.press("?")
    assert viewer.page.locator("#help").is_visible()
    viewer.page.keyboard.press("Escape")
    viewer.page.locator("#help").wait_for(state="hidden")


def test_an_injected_script_is_not_run(viewer: Tab) -> None:
    viewer.page.evaluate("() => document.head.append(document.createElement('script'))")
    viewer.page.evaluate("() => { document.head.lastChild.textContent = 'globalThis.ran = true' }")
    assert viewer.page.evaluate("() => globalThis.ran === undefined")
    assert ["Content Security Policy" in complaint for complaint in viewer.complaints] == [True]
    viewer.complaints.clear()


def test_a_viewer_that_has_ended_says_so(tab: Tab, tmp_path: Path, make_case: Callable[..., Path]) -> None:
    make_case(tmp_path, FIRST)
    make_case(tmp_path, "BraTS-GLI-00002-000")
    site = Site(shown_cases(tmp_path, None, numbers=default_label_set), "token")
    tab.page.set_default_timeout(PATIENCE_MS)
    tab.page.set_viewport_size(SIZE)
    with open_server(site, port=0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        tab.page.goto(f"http://{HOST}:{server.server_address[1]}/token/")
        wait_for(tab, FIRST)
        tab.page.wait_for_load_state("networkidle")
        server.shutdown()
    tab.page.keyboard.press("ArrowRight")
    tab.page.locator("#message.fault").wait_for()
    assert text(tab, "#message") == "The viewer on this machine has ended. Start htcnns view again."
    assert {"ERR_CONNECTION_REFUSED" in complaint for complaint in tab.complaints} == {True}
    tab.complaints.clear()
