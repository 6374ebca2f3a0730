"""weights/manifest.json: reading and writing its members, and which folder of weights a user means."""

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from htcnns.errors import HtcnnsError, SettingsError, WeightsError, require_known, shown
from htcnns.files.atomic import write_whole
from htcnns.files.json_file import read_json
from htcnns.files.member import Member, WeightsFile
from htcnns.files.places import is_file, is_folder
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import REGION_SETS, SEQUENCES, Label, Region, RegionSet
from htcnns.networks.contract import Head
from htcnns.networks.limits import MOST_FOLDS, MOST_MANIFEST_BYTES, MOST_MEMBERS, require_edges
from htcnns.reports.strict_json import json_text
from htcnns.volume import Shape

MANIFEST = "manifest.json"
SHIPPED = "shipped"  # name of the weights that come with htcnns
FORMAT = 1
LONGEST_NAME = 100  # letters of a member's name
MOST_NAMES = 16  # in a list of sequences, regions or labels

_PACKAGE = Path(__file__).resolve().parents[1]
_RESTORE = "Restore the manifest."
_PREPROCESSING = "preprocessing"
_REGIONS = {region.name: region for region in Region}
_LABELS = {label.name: label for label in Label}
_SEQUENCES = {str(sequence): sequence for sequence in SEQUENCES}

_T = TypeVar("_T")


def shipped_weights() -> Path:
    """The folder of the weights that come with htcnns: in the installed package, else in the checkout."""
    installed = _PACKAGE / SHIPPED
    return installed if is_file(installed / MANIFEST) else _PACKAGE.parent / "weights"


def chosen_weights(given: Path | None) -> Path:
    """The folder that a user means: None or "shipped" is the shipped one, "synthetic" the set of that name inside it.

    A folder of that name in the working directory takes precedence.
    """
    if given is None or (str(given) == SHIPPED and not is_folder(given)):
        return shipped_weights()
    of_that_name = shipped_weights() / given
    is_name = given.name == str(given) and not is_folder(given)
    return of_that_name if is_name and is_file(of_that_name / MANIFEST) else given


def read_manifest(folder: Path, *, setting: str = "weights") -> tuple[Member, ...]:
    """The members that a weights folder describes; their files are not opened.

    Args:
        setting: Python name of the setting that names the folder.

    Raises:
        WeightsError: no manifest, not JSON, an unknown format, a missing or invalid entry; the message names the entry.
    """
    path = folder / MANIFEST
    if not is_file(path):
        raise WeightsError(
            f"no {MANIFEST} there",
            place=folder,
            setting="" if folder == shipped_weights() else setting,
            remedy=f"Give a folder that holds {MANIFEST} and its weights files.",
        )
    members = tuple(_member(entry, path) for entry in _entries(path))
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        raise WeightsError("two members share a name", place=path, found=", ".join(names), remedy="Rename one of them.")
    return members


def choose_members(members: tuple[Member, ...], names: tuple[str, ...]) -> tuple[Member, ...]:
    """The members with those names, in the manifest's order; all members when no name is given.

    Raises:
        SettingsError: an unknown name; the message lists the known ones.
    """
    known = [member.name for member in members]
    for name in names:
        require_known(name, known, what="member", setting="members")
    return tuple(member for member in members if not names or member.name in names)


def write_manifest(folder: Path, members: tuple[Member, ...]) -> None:
    """Write the manifest that `read_manifest` reads; file paths are stored as names inside the folder."""
    content = {"format": FORMAT, "members": [_entry(member) for member in members]}
    write_whole(folder / MANIFEST, json_text(content).encode())


def _entries(path: Path) -> list:
    """The JSON objects of the members; raises WeightsError where the file has none."""
    try:
        content = read_json(path, most_bytes=MOST_MANIFEST_BYTES)
    except HtcnnsError as error:
        raise error.inside(kind=WeightsError, remedy="Restore the file that belongs to the weights.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = shown(content.get("format")) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise WeightsError(
            "unknown format", place=path, found=found, expected=FORMAT, remedy="Use the htcnns version it was made for."
        )
    entries = content.get("members")
    if not isinstance(entries, list) or not entries:
        raise WeightsError("lists no members", place=path, expected="at least one", remedy=_RESTORE)
    if len(entries) > MOST_MEMBERS:
        expected = f"at most {MOST_MEMBERS}"
        raise WeightsError("too many members", place=path, found=len(entries), expected=expected, remedy=_RESTORE)
    return entries


def _entry(member: Member) -> dict:
    """The manifest's JSON object of a member."""
    return {
        "name": member.name,
        "title": member.title,
        "network": member.network,
        "size": member.size,
        "files": [{"name": file.path.name, "sha256": file.sha256} for file in member.files],
        "sequences": [str(sequence) for sequence in member.sequences],
        "region_set": member.regions.name,
        "head": str(member.head),
        _outputs_key(member.head): [output.name for output in member.outputs],
        "window": list(member.window),
        "whole": list(member.whole) if member.whole else None,
        "box": list(member.box) if member.box else None,
        "mirror": member.mirror,
        **_entry_of(member.preprocessing),
        "postprocess": asdict(member.rules),
        "trained_on": member.trained_on,
        "scores": member.scores,
    }


def _member(entry: object, path: Path) -> Member:
    """A Member from its JSON object; a WeightsError names the file and the member."""
    name = entry.get("name", "a member without a name") if isinstance(entry, dict) else entry
    name = name if isinstance(name, str) and _is_name(name) else shown(name)
    try:
        if not isinstance(entry, dict):
            raise SettingsError("not a JSON object")
        return _read_entry(entry, path.parent)
    except HtcnnsError as error:
        raise error.inside(path, name, kind=WeightsError, remedy=_RESTORE) from error


def _read_entry(entry: dict, folder: Path) -> Member:
    head = Head.SIGMOID
    if "head" in entry:
        name = _typed(entry, "head", str)
        require_known(name, Head, what="head")
        head = Head(name)
    known_outputs: Mapping[str, Any] = _REGIONS if head is Head.SIGMOID else _LABELS
    return Member(
        name=_name(entry),
        title=_typed(entry, "title", str),
        network=_typed(entry, "network", str),
        size=_typed(entry, "size", dict),
        files=_files(entry, folder),
        sequences=_named(entry, "sequences", _SEQUENCES),
        regions=_region_set(entry),
        head=head,
        outputs=_named(entry, _outputs_key(head), known_outputs),
        window=_edges(entry, "window"),
        whole=_edges(entry, "whole") if entry.get("whole") else None,
        box=_edges(entry, "box") if entry.get("box") else None,
        mirror=_typed({"mirror": ""} | entry, "mirror", str),
        preprocessing=_preprocessing(_typed({_PREPROCESSING: {}} | entry, _PREPROCESSING, dict)),
        rules=PostprocessRules.from_json(_typed(entry, "postprocess", dict), where="postprocess"),
        trained_on=_typed({"trained_on": {}} | entry, "trained_on", dict),
        scores=_typed({"scores": {}} | entry, "scores", dict),
    )


def _entry_of(preprocessing: Preprocessing) -> dict:
    """The manifest's entry for a member's preprocessing; empty where that is the default."""
    return {} if preprocessing == Preprocessing() else {_PREPROCESSING: asdict(preprocessing)}


def _preprocessing(entry: dict) -> Preprocessing:
    """A member's preprocessing; fields that are left out have their defaults."""
    known = [each.name for each in fields(Preprocessing)]
    for name in entry:
        require_known(name, known, what="setting", place=_PREPROCESSING)
    given: dict[str, Any] = {}
    if "largest_piece" in entry:
        given["largest_piece"] = _typed(entry, "largest_piece", bool)
    if entry.get("resize"):
        given["resize"] = _edges(entry, "resize")
    if "clip" in entry:
        given["clip"] = _quantiles(entry)
    return Preprocessing(**given)


def _quantiles(entry: dict) -> tuple[float, float]:
    values = _typed(entry, "clip", list)
    if len(values) != 2 or not all(type(value) in (int, float) for value in values):
        raise SettingsError(f"clip is {shown(values)}", expected="two numbers")
    return float(values[0]), float(values[1])


def _name(entry: dict) -> str:
    name = _typed(entry, "name", str)
    if not _is_name(name):
        raise SettingsError(f"name is {shown(name)}", expected=f"1 to {LONGEST_NAME} printable characters")
    return name


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()


def _outputs_key(head: Head) -> str:
    return "regions" if head is Head.SIGMOID else "labels"


def _region_set(entry: dict) -> RegionSet:
    """The region set that the entry names; where it names none, the one with exactly the listed regions."""
    if "region_set" in entry:
        name = _typed(entry, "region_set", str)
        require_known(name, REGION_SETS, what="region set")
        return REGION_SETS[name]
    regions = set(_named(entry, "regions", _REGIONS))
    for each in REGION_SETS.values():
        if set(each.regions) == regions:
            return each
    known = "; ".join(", ".join(region.name for region in each.regions) for each in REGION_SETS.values())
    raise SettingsError(
        "no region set has these regions", found=", ".join(entry["regions"]), expected=f"one of {known}"
    )


def _files(entry: dict, folder: Path) -> tuple[WeightsFile, ...]:
    """The files of a member; only plain names are accepted, so that none leads out of the folder."""
    entries = _typed(entry, "files", list)
    if not entries:
        raise SettingsError("no files", expected="at least one")
    if len(entries) > MOST_FOLDS:
        raise SettingsError("too many files", found=len(entries), expected=f"at most {MOST_FOLDS}")
    files = []
    for each in entries:
        if not isinstance(each, dict):
            raise SettingsError("files are not JSON objects", found=shown(each))
        name, sha256 = _typed(each, "name", str), _typed(each, "sha256", str)
        if not re.fullmatch(r"[\w.+-]+\.safetensors", name, re.ASCII):
            raise SettingsError(f"file name {shown(name)} is not a plain name that ends in .safetensors")
        if not re.fullmatch("([0-9a-f]{64})?", sha256):  # a draft has none yet
            raise SettingsError(f"sha256 is {shown(sha256)}", expected="64 lowercase hexadecimal digits")
        files.append(WeightsFile(folder / name, sha256))
    return tuple(files)


def _named(entry: dict, key: str, known: Mapping[str, _T]) -> tuple[_T, ...]:
    """The values that the entry's list names."""
    names = [_of_kind(name, key, str) for name in _typed(entry, key, list)]
    if len(names) > MOST_NAMES:
        raise SettingsError(f"too many {key}", found=len(names), expected=f"at most {MOST_NAMES}")
    for name in names:
        require_known(name, known, what=f"name among the {key}")
    return tuple(known[name] for name in names)


def _typed(entry: dict, key: str, kind: type[_T]) -> _T:
    """The entry's value under the key; raises SettingsError where it is missing or of another type."""
    if key not in entry:
        raise SettingsError(f"{key!r} is missing")
    return _of_kind(entry[key], key, kind)


def _of_kind(value: object, key: str, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise SettingsError(f"{key} is {shown(value)}", expected=f"a {kind.__name__}")
    return value


def _edges(entry: dict, key: str) -> Shape:
    values = _typed(entry, key, list)
    if len(values) != 3 or not all(type(value) is int and value > 0 for value in values):
        raise SettingsError(f"{key} is {shown(values)}", expected="three positive whole numbers")
    edges = values[0], values[1], values[2]
    require_edges(edges, what=key)
    return edges
