"""What determines a mask besides the scans: weights and settings, as one digest."""

import hashlib
from collections.abc import Iterable
from dataclasses import fields

from htcnns.files.member import Member
from htcnns.reports.strict_json import json_text
from htcnns.runs.ensemble import mirrored
from htcnns.runs.settings import RunSettings

_DECIDING = ("precision", "fusion", "overlap")  # the label set has its own field in the report
_FOR_PEOPLE = frozenset({"name", "title", "trained_on", "scores"})  # fields of a member


def method_digest(members: Iterable[Member], settings: RunSettings) -> str:
    """sha256 of everything in the members and the settings that affects a prediction.

    The device and the number of windows at a time are left out, so that machines of a cluster agree.
    """
    content = {
        "members": [_computed_by(member) | {"mirror": mirrored(member, settings)} for member in members],
        "settings": {name: getattr(settings, name) for name in _DECIDING},
    }
    return hashlib.sha256(json_text(content).encode()).hexdigest()


def _computed_by(member: Member) -> dict[str, object]:
    values = {field.name: getattr(member, field.name) for field in fields(member) if field.name not in _FOR_PEOPLE}
    return values | {"files": [file.sha256 for file in member.files]}
