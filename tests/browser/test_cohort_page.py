"""The page of a cohort in a browser: what comes first, sorting, filters, opened cases, and that names stay text."""

import io
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from browser_tab import PHONE, Tab
from PIL import Image
from playwright.sync_api import Page, expect

from htcnns.files.cohort_files import page_parts
from htcnns.reports.cohort import CohortCase, listed_outcome
from htcnns.reports.cohort_page import cohort_page
from htcnns.reports.outcome import Outcome, State

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=\"console.error('ran')\">'\n</script>"
N = 120  # done; three pages with the others
Opened = Callable[..., Page]


def done(name: str, n: int) -> CohortCase:
    """The n-th finished case: the higher n, the larger the tumour and the better the agreement."""
    kind = ("empty mask", "members disagree")[n % 2]
    return CohortCase(
        case=name,
        title=name,
        state=State.DONE,
        findings=({"kind": kind, "text": f"finding {n}"},) if n % 3 == 0 else (),
        volumes_ml={"WT": n + 1.0, "TC": n / 2, "ET": 0.0},
        label_voxels={"ED": n},
        n_lesions=1,
        agreement=n / N,
        least_agreeing=("unet", "ET"),
        seconds=2.0,
        report=f"{name}.json",
        picture=f"{name}.png",
    )


def failed(name: str) -> CohortCase:
    return listed_outcome(Outcome(case=name, state=State.FAILED, error=f"{name}: t2f missing"))


def cohort() -> list[CohortCase]:
    waiting = listed_outcome(Outcome(case="waits", state=State.NOT_STARTED))
    return [*(done(f"P{n}", n) for n in range(N)), *(failed(f"F{n}") for n in range(7)), waiting]


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), (90, 90, 90)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def opened(tab: Tab, tmp_path: Path) -> Opened:
    """A function that opens the page of a cohort, with a picture of each case beside it."""

    def open_page(*cases: CohortCase, not_read: tuple[str, ...] = ()) -> Page:
        for each in cases:
            if each.picture:
                (tmp_path / f"{each.case}.png").write_bytes(png())
        (tmp_path / "index.html").write_text(cohort_page(cases, page_parts(), not_read=not_read), encoding="utf-8")
        tab.page.goto((tmp_path / "index.html").as_uri())
        return tab.page

    return open_page


def shown(page: Page) -> list[str]:
    """The names on this page of the list."""
    return page.locator("#rows .name").all_text_contents()


def test_the_lowest_agreement_comes_first_and_failures_say_why(opened: Opened) -> None:
    page = opened(*cohort())
    assert shown(page)[:3] == ["P0", "P1", "P2"]
    assert page.locator("#first .name").all_text_contents()[:2] == ["P0", "P1"]
    assert page.locator("#failed li").all_text_contents() == [f"F{n}: t2f missing" for n in range(5)]
    assert page.locator("#tiles strong").all_text_contents() == ["128", "120", "7", "1", "40"]
    page.get_by_role("button", name="List all 7").click()
    assert shown(page) == [f"F{n}" for n in range(7)]


def test_a_heading_sorts_and_says_so(opened: Opened) -> None:
    page = opened(*cohort())
    heading = page.locator("#headings th").nth(3)
    assert heading.get_attribute("aria-sort") == "none"
    heading.get_by_role("button").click()
    assert (heading.get_attribute("aria-sort"), shown(page)[:2]) == ("descending", ["P119", "P118"])
    page.keyboard.press("Enter")  # the heading keeps the focus
    assert (heading.get_attribute("aria-sort"), shown(page)[:2]) == ("ascending", ["P0", "P1"])
    page.locator("#headings button").first.click()
    assert shown(page)[:4] == ["F0", "F1", "F2", "F3"]
    assert page.locator("[aria-sort]:not([aria-sort=none])").count() == 1


def test_cases_without_a_number_come_last_either_way(opened: Opened) -> None:
    page = opened(done("P1", 1), failed("F"), done("P2", 2))
    orders = []
    for _ in range(2):
        page.locator("#headings th").nth(2).get_by_role("button").click()
        orders.append(shown(page))
    assert orders == [["P2", "P1", "F"], ["P1", "P2", "F"]]


@pytest.mark.parametrize(
    ("control", "value", "n", "first"),
    [
        ("#by-name", "p11", 11, "P11"),
        ("#least", "101", 20, "P100"),
        ("#most", "10", 10, "P0"),
        ("#by-agreement", "0.05", 7, "P0"),
    ],
)
def test_a_filter_keeps_the_cases_that_match(opened: Opened, control: str, value: str, n: int, first: str) -> None:
    page = opened(*cohort())
    page.locator(control).fill(value)
    expect(page.locator("#count")).to_have_text(f"{n} of 128 cases")
    assert (len(shown(page)), shown(page)[0]) == (n, first)
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator("#count")).to_have_text("128 cases")


@pytest.mark.parametrize(
    ("control", "choice", "n"),
    [("#by-state", "failed (7)", 7), ("#by-state", "not started (1)", 1), ("#by-finding", "empty mask (20)", 20)],
)
def test_a_choice_keeps_the_cases_that_match(opened: Opened, control: str, choice: str, n: int) -> None:
    page = opened(*cohort())
    page.locator(control).select_option(label=choice)
    expect(page.locator("#count")).to_have_text(f"{n} of 128 cases" if n > 1 else "1 of 128 cases")
    assert len(shown(page)) == n


def test_the_region_of_a_volume_can_be_chosen(opened: Opened) -> None:
    page = opened(*cohort())
    page.locator("#by-region").select_option("TC")
    page.locator("#least").fill("59")
    assert shown(page) == ["P118", "P119"]


def test_a_bar_lists_its_cases(opened: Opened) -> None:
    page = opened(*cohort())
    bar = page.locator(".chart").first.locator(".bars button").first
    assert bar.get_attribute("aria-label") == "0 to 10 ml: 9 cases"
    bar.click()
    assert shown(page) == [f"P{n}" for n in range(9)]
    page.locator(".chart").first.locator("[aria-pressed=true]").click()
    expect(page.locator("#count")).to_have_text("128 cases")


def test_the_list_has_pages(opened: Opened) -> None:
    page = opened(*cohort())
    assert (len(shown(page)), page.locator("#place").text_content()) == (50, "Page 1 of 3")
    page.get_by_role("button", name="Next", exact=True).click()
    page.get_by_role("button", name="Next", exact=True).click()
    assert len(shown(page)) == 28
    expect(page.get_by_role("button", name="Next", exact=True)).to_be_disabled()


def test_a_case_opens_and_arrow_keys_lead_to_the_next(opened: Opened) -> None:
    page = opened(*cohort())
    page.locator("#rows button").nth(1).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="P1")
    expect(dialog).to_be_visible()
    assert page.locator("#case img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 30
    assert dialog.get_by_text("unet on ET").count() == 1
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog", name="P2")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is none before the first
    expect(page.get_by_role("dialog", name="P0")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#case")).to_be_hidden()


def test_a_failed_case_opens_with_its_sentence(opened: Opened) -> None:
    page = opened(failed("F1"))
    page.locator("#rows button").click()
    expect(page.get_by_role("dialog").get_by_text("F1: t2f missing")).to_be_visible()
    assert page.locator("#first-section").is_hidden()


def test_a_hostile_name_stays_text_and_its_picture_is_found(opened: Opened, tab: Tab) -> None:
    name = HOSTILE.replace("/", "")
    line = name.replace("\n", "\\n")
    case = CohortCase(**(vars(done(name, 3)) | {"title": line, "findings": ({"kind": HOSTILE, "text": HOSTILE},)}))
    page = opened(case, CohortCase(**(vars(failed("F")) | {"error": HOSTILE, "title": HOSTILE})), not_read=(HOSTILE,))
    page.locator("#rows button").first.click()
    assert page.locator("#case-title").text_content() == line
    image = page.locator("#case img")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 30
    assert unquote_to_bytes(image.get_attribute("src")).endswith(f"{name}.png".encode())
    assert page.locator("img:not([src^='./'])").count() == 0
    assert page.locator("script").count() == 2
    assert "onerror" in page.locator("#failed").inner_text()
    assert tab.complaints == []


def test_a_foreign_script_in_the_page_does_not_run(opened: Opened, tab: Tab, tmp_path: Path) -> None:
    opened(*cohort())
    path = tmp_path / "index.html"
    path.write_text(path.read_text().replace("<main>", "<script>document.title = 'ran'</script><main onclick='1'>"))
    tab.page.goto(path.as_uri())
    assert tab.page.title() != "ran"
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)
    tab.complaints.clear()


def test_a_missing_picture_is_replaced_by_words(opened: Opened, tab: Tab, tmp_path: Path) -> None:
    opened(done("P1", 1))
    (tmp_path / "P1.png").unlink()
    tab.page.reload()
    expect(tab.page.locator("#first").get_by_text("no picture")).to_be_visible()
    tab.complaints.clear()  # the browser says that there is no such file


def test_nothing_is_wider_than_a_phone(opened: Opened, tab: Tab) -> None:
    tab.page.set_viewport_size(PHONE)
    page = opened(*cohort(), failed("a-very-long-name-" * 12))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator("#by-order").select_option(label="WT, ml: most first")
    assert shown(page)[0] == "P119"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(opened: Opened, tab: Tab, scheme: str) -> None:
    """Contrast as WCAG 2.2 defines it, of at least 4.5."""
    tab.page.emulate_media(color_scheme=scheme)
    page = opened(*cohort())
    places = [("body", "body"), (".hint", "body"), (".state.done", "table"), ("#tiles .failed strong", "#tiles button")]
    for text, paper in [*places, ("thead button", "thead th"), (".chip", ".chip"), ("a[href='./cohort.csv']", "body")]:
        colours = [
            page.locator(selector).first.evaluate(f"e => getComputedStyle(e).{what}")
            for selector, what in ((text, "color"), (paper, "backgroundColor"))
        ]
        assert contrast(*colours) >= 4.5, (text, colours)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as a browser writes them, such as "rgb(1, 2, 3)"."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    levels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_printing_shows_every_listed_case_and_no_controls(opened: Opened) -> None:
    page = opened(*cohort())
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert len(shown(page)) == 128
    assert page.locator("#filters").is_hidden()
    assert page.locator(".pager").is_hidden()
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert len(shown(page)) == 50


def test_ten_thousand_cases_load_sort_and_filter_in_four_seconds(opened: Opened, tab: Tab) -> None:
    """CPU seconds of the page's process, as the wall clock also counts other work on the machine."""
    cases = [CohortCase(**(vars(done(f"P{n}", n % N)) | {"picture": None})) for n in range(10_000)]
    page = opened(*cases)
    assert process_seconds(tab) < 2.0
    page.locator("#headings button").nth(3).click()
    page.locator("#by-name").fill("P99")
    expect(page.locator("#count")).to_have_text("111 of 10,000 cases")
    assert process_seconds(tab) < 4.0


def process_seconds(tab: Tab) -> float:
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Performance.enable")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return metrics["ProcessTime"]
