"""The list of all cases as one page that needs nothing but the pictures beside it: no network, no server.

All text from outside, such as names, goes into one block of JSON, which the page's script turns into text, never
markup; a policy on the page allows a browser to run only the page's own script and style.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from htcnns.labels import Region
from htcnns.reports.case_picture import NAMES, OUTLINES
from htcnns.reports.cohort import CohortCase, region_names
from htcnns.reports.outcome import State
from htcnns.reports.strict_json import markup_json

MARK = '<meta name="generator" content="htcnns cohort">'  # marks every such page, near its beginning
_FIELDS = (
    *("title", "href", "state", "error", "kinds", "texts", "volumes", "lesions", "side", "axial", "perpendicular"),
    *("largest", "agreement", "least", "seconds", "picture", "report"),
)
_STATES = (State.DONE, State.FAILED, State.NOT_STARTED)
_PLACE = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class PageParts:
    """The parts of the page that are the same for every cohort.

    Attributes:
        html: template with the placeholders {{policy}}, {{style}}, {{data}} and {{script}}.
        style, script: contents for two of these.
    """

    html: str
    style: str
    script: str


def cohort_page(cases: Iterable[CohortCase], parts: PageParts, *, not_read: Iterable[str]) -> str:
    """The page as HTML.

    Args:
        not_read: names of files in the folder that are not case reports.
    """
    policy = (
        "default-src 'none'; img-src 'self' file: data:; "
        f"style-src '{_hash_of(parts.style)}'; script-src '{_hash_of(parts.script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    places = {
        "policy": policy,
        "style": parts.style,
        "script": parts.script,
        "data": markup_json(page_data(tuple(cases), not_read=not_read)),
    }
    return _PLACE.sub(lambda place: places[place[1]], parts.html)


def page_data(cases: tuple[CohortCase, ...], *, not_read: Iterable[str]) -> dict[str, object]:
    """What the page's script reads: each case as a list of values in the order of `fields`."""
    regions = region_names(cases)
    kinds = tuple(dict.fromkeys(finding["kind"] for each in cases for finding in each.findings))
    return {
        "fields": _FIELDS,
        "states": _STATES,
        "kinds": kinds,
        "regions": [{"name": region, "title": _title(region), "colour": _colour(region)} for region in regions],
        "not_read": tuple(not_read),
        "cases": [_values(each, regions, kinds) for each in sorted(cases, key=lambda each: each.case)],
    }


def _values(each: CohortCase, regions: tuple[str, ...], kinds: tuple[str, ...]) -> list[object]:
    """The values of a case, in the order of the fields."""
    found = dict.fromkeys(finding["kind"] for finding in each.findings)
    return [
        each.title,
        # the raw bytes of the name, quoted: the text before a colon would be read as a URL scheme
        quote(each.case.encode("utf-8", "surrogateescape"), safe=""),
        _STATES.index(State(each.state)),
        each.error,
        [kinds.index(kind) for kind in found],
        [*(finding["text"] for finding in each.findings), *each.notes],
        [each.volumes_ml.get(region) for region in regions] if each.volumes_ml else [],
        each.n_lesions,
        each.side,
        each.axial_mm,
        each.perpendicular_mm,
        each.largest_mm,
        each.agreement,
        " on ".join(each.least_agreeing),
        each.seconds,
        each.picture is not None,
        each.report is not None,
    ]


def _title(region: str) -> str:
    """The readable name of a region."""
    return NAMES.get(Region[region], region)


def _colour(region: str) -> str:
    """The colour of a region's outline in the pictures, as "#rrggbb"; grey for a region without one."""
    red, green, blue = OUTLINES[Region[region]][0] if Region[region] in OUTLINES else (128, 128, 128)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _hash_of(text: str) -> str:
    """The hash by which a content security policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
