"""What decides a mask beside the scans: weights and settings, as one digest."""

import hashlib
from collections.abc import Iterable

from htcnns.files.member import Member
from htcnns.reports.strict_json import json_text
from htcnns.runs.settings import RunSettings

_DECIDING = ("precision", "fusion", "overlap", "mirror")  # the label set stands in the report by itself


def method_digest(members: Iterable[Member], settings: RunSettings) -> str:
    """sha256 over everything about the members that they compute by, and the settings that change an answer.

    Where something is computed is not among them, nor how much at a time, so that machines of a cluster agree.
    """
    content = {
        "members": [_computed_by(member) for member in members],
        "settings": {name: getattr(settings, name) for name in _DECIDING},
    }
    return hashlib.sha256(json_text(content).encode()).hexdigest()


def _computed_by(member: Member) -> dict[str, object]:
    return {
        "network": member.network,
        "size": member.size,
        "files": [file.sha256 for file in member.files],
        "sequences": member.sequences,
        "regions": member.regions.name,
        "head": member.head,
        "outputs": member.outputs,
        "window": member.window,
        "whole": member.whole,
        "box": member.box,
        "rules": member.rules,
    }
