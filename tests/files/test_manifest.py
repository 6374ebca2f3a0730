"""Manifests come back as they were written, and every way in which one can be wrong is refused."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from htcnns.errors import SettingsError, WeightsError
from htcnns.files import manifest as module
from htcnns.files.manifest import (
    MANIFEST,
    choose_members,
    chosen_weights,
    read_manifest,
    shipped_weights,
    write_manifest,
)
from htcnns.files.member import Member, WeightsFile
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import REGION_SETS, SEQUENCES, Label, Region, RegionSet, Sequence
from htcnns.networks.contract import Head

WITH_CAVITY, PAEDIATRIC = REGION_SETS["wt-tc-et-rc"], REGION_SETS["et-net-cc-ed"]


@pytest.fixture
def member(tmp_path: Path) -> Member:
    """A member that differs from the defaults wherever it can; its only file does not exist."""
    return Member(
        name="first",
        title="The first member",
        network="unet",
        size={"channels": [4, 8], "n_convs": [1, 1]},
        files=(WeightsFile(tmp_path / "first.safetensors", "0" * 64),),
        sequences=(Sequence.T2F, Sequence.T1C),
        regions=WITH_CAVITY,
        outputs=WITH_CAVITY.regions[::-1],
        window=(32, 48, 64),
        box=(64, 64, 64),
        mirror="ki",
        preprocessing=Preprocessing(largest_piece=True, resize=(32, 48, 64), clip=(0.01, 0.99)),
        rules=PostprocessRules(thresholds={"WT": 0.4, "TC": 0.5, "ET": 0.6}, et_total_voxels=5),
        trained_on={"cases": ["a", "b"]},
        scores={"Dice WT": 0.5},
    )


@pytest.fixture
def rewritten(tmp_path: Path, member: Member) -> Callable[[dict], Path]:
    """Function that writes the manifest with some of its member's keys changed and returns the folder."""

    def rewrite(changes: dict) -> Path:
        write_manifest(tmp_path, (member,))
        content = json.loads((tmp_path / MANIFEST).read_text())
        content["members"][0] |= changes
        (tmp_path / MANIFEST).write_text(json.dumps(content))
        return tmp_path

    return rewrite


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path, member: Member) -> None:
    other = Member(name="second", title="", network="unet", size={}, files=member.files)
    write_manifest(tmp_path, (member, other))
    assert read_manifest(tmp_path) == (member, other)


def test_a_different_member_is_not_equal(tmp_path: Path, member: Member) -> None:
    write_manifest(tmp_path, (replace(member, window=(32, 32, 32)),))
    assert read_manifest(tmp_path) != (member,)


def test_writing_leaves_nothing_but_the_manifest(tmp_path: Path, member: Member) -> None:
    write_manifest(tmp_path, (member,))
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_a_member_can_be_sent_between_processes(member: Member) -> None:
    assert pickle.loads(pickle.dumps(member)) == member


@pytest.mark.parametrize("regions", REGION_SETS.values(), ids=REGION_SETS)
def test_every_region_set_comes_back_with_either_head(tmp_path: Path, member: Member, regions: RegionSet) -> None:
    plain = replace(member, regions=regions, outputs=regions.regions, rules=PostprocessRules())
    labels = (Label.BACKGROUND, *regions.labels[::-1])
    exclusive = replace(plain, name="second", head=Head.SOFTMAX, outputs=labels)
    write_manifest(tmp_path, (plain, exclusive))
    assert read_manifest(tmp_path) == (plain, exclusive)


@pytest.mark.parametrize("regions", REGION_SETS.values(), ids=REGION_SETS)
def test_a_set_that_is_not_named_is_recognised_by_its_regions(
    rewritten: Callable[[dict], Path], regions: RegionSet
) -> None:
    names = [region.name for region in regions.regions[::-1]]
    folder = rewritten({"regions": names, "postprocess": {}})
    _drop(folder, "region_set", "head")
    (member,) = read_manifest(folder)
    assert (member.regions, member.head) == (regions, Head.SIGMOID)
    assert member.outputs == regions.regions[::-1]


@pytest.mark.parametrize(
    "sequences", [SEQUENCES[:1], SEQUENCES[::-1], (Sequence.T2F, Sequence.T1N)], ids=["one", "four turned", "two"]
)
def test_any_sequences_come_back_in_their_order(
    tmp_path: Path, member: Member, sequences: tuple[Sequence, ...]
) -> None:
    write_manifest(tmp_path, (replace(member, sequences=sequences),))
    assert read_manifest(tmp_path)[0].sequences == sequences


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequences": ()}, "impossible sequences; found none, expected some of t1n, t1c, t2w, t2f, each once"),
        ({"sequences": (Sequence.T1C, Sequence.T1C)}, "impossible sequences; found t1c, t1c"),
        ({"outputs": (Region.WT, Region.TC)}, "outputs of the sigmoid do not fit wt-tc-et-rc; found WT, TC, expected"),
        ({"outputs": (Region.WT, Region.WT, Region.TC, Region.ET, Region.RC)}, "found WT, WT, TC, ET, RC"),
        ({"regions": PAEDIATRIC}, "do not fit et-net-cc-ed"),
        ({"head": Head.SOFTMAX}, "outputs of the softmax do not fit .* BACKGROUND first"),
        (
            {"head": Head.SOFTMAX, "outputs": (*WITH_CAVITY.labels, Label.BACKGROUND)},
            "found ED, NCR, ET, RC, BACKGROUND, expected BACKGROUND, ED, NCR, ET, RC in some order, BACKGROUND first",
        ),
        ({"rules": PostprocessRules(thresholds={"CC": 0.5})}, "CC"),
    ],
    ids=["no sequence", "twice", "too few", "doubled", "other set", "regions", "background last", "rules"],
)
def test_a_member_that_contradicts_itself_is_refused(member: Member, changes: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(member, **changes)


def test_members_are_chosen_in_the_order_of_the_manifest(member: Member) -> None:
    members = tuple(replace(member, name=name) for name in ("a", "b", "c"))
    assert [chosen.name for chosen in choose_members(members, ("c", "a"))] == ["a", "c"]
    assert choose_members(members, ()) == members


def test_an_unknown_member_lists_the_known_ones(member: Member) -> None:
    with pytest.raises(
        SettingsError, match=r"^members: unknown member 'frist'; expected one of first\. Did you mean 'first'\?$"
    ):
        choose_members((member,), ("frist",))


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"^weights: .*: no manifest\.json there\. Give a folder"):
        read_manifest(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent: no manifest\.json there"):
        read_manifest(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        ("[]", "unknown format; found a list, expected 1"),
        ("{}", "unknown format; found None, expected 1"),
        ('{"format": 2, "members": []}', "unknown format; found 2, expected 1"),
        ('{"format": 1}', "lists no members"),
        ('{"format": 1, "members": []}', "lists no members"),
        ('{"format": 1, "members": {}}', "lists no members"),
        ('{"format": 1, "members": [3]}', "manifest.json: 3: not a JSON object"),
        ('{"format": 1, "members": [{}]}', "a member without a name: 'name' is missing"),
    ],
    ids=str,
)
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WeightsError, match=message):
        read_manifest(tmp_path)


def test_two_members_of_one_name_are_refused(tmp_path: Path, member: Member) -> None:
    write_manifest(tmp_path, (member, member))
    with pytest.raises(WeightsError, match="two members share a name; found first, first"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "key", ["name", "title", "network", "size", "files", "sequences", "regions", "window", "postprocess"]
)
def test_a_missing_key_is_named(rewritten: Callable[[dict], Path], key: str) -> None:
    folder = rewritten({})
    _drop(folder, key)
    with pytest.raises(WeightsError, match=f"'{key}' is missing"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": []}, "first: no files"),
        ({"files": ["first.safetensors"]}, "first: files are not JSON objects; found 'first.safetensors'"),
        ({"files": [{"name": "first.safetensors"}]}, "first: 'sha256' is missing"),
        ({"files": [{"name": "first.safetensors", "sha256": 1}]}, "sha256 is 1; expected a str"),
        ({"files": [{"name": "../x.safetensors", "sha256": ""}]}, "'../x.safetensors' is not a plain name"),
        ({"files": [{"name": "/x.safetensors", "sha256": ""}]}, "'/x.safetensors' is not a plain name"),
        ({"files": [{"name": "..", "sha256": ""}]}, "'..' is not a plain name"),
        ({"files": [{"name": "x\0.safetensors", "sha256": ""}]}, "is not a plain name"),
        ({"files": [{"name": "größe.safetensors", "sha256": ""}]}, "'größe.safetensors' is not a plain name"),
        ({"files": [{"name": "model.pt", "sha256": ""}]}, "'model.pt' is not a plain name that ends in .safetensors"),
        ({"files": [{"name": "x.safetensors", "sha256": "\x1b[2J" * 13}]}, r"sha256 is '\\x1b\[2J.*expected 64 lower"),
        ({"files": [{"name": f"{'x' * 999}.pt", "sha256": ""}]}, r"file name .{79}… is not a plain name"),
        ({"name": "\x1b[2J"}, r"'\\x1b\[2J': name is '\\x1b\[2J'; expected 1 to 100 printable characters"),
        ({"name": "a" * 101}, "expected 1 to 100 printable"),
        ({"name": ""}, "expected 1 to 100 printable"),
        ({"sequences": ["t1n"] * 999}, "too many sequences; found 999, expected at most 16"),
        (
            {"window": [2, 2, 1024]},
            r"window is too large to fit in memory; found .2, 2, 1024., expected edges of at most 512",
        ),
        ({"whole": [8, 1024, 8]}, "whole is too large to fit in memory"),
        ({"sequences": []}, "impossible sequences; found none"),
        ({"sequences": ["t1n", "t1c", "t2w", "t2w"]}, "found t1n, t1c, t2w, t2w, expected"),
        (
            {"sequences": ["t1n", "t1c", "t2w", "flair"]},
            "unknown name among the sequences 'flair'; expected one of t1n",
        ),
        ({"sequences": [["t1n"]]}, r"sequences is \['t1n'\]; expected a str"),
        ({"sequences": None}, "sequences is None; expected a list"),
        ({"regions": ["WT", "TC"]}, "found WT, TC, expected"),
        ({"regions": ["WT", "TC", "NCR"]}, "unknown name among the regions 'NCR'; expected one of WT"),
        ({"region_set": "wt"}, "unknown region set 'wt'; expected one of wt-tc-et"),
        ({"region_set": "wt-tc-et"}, "do not fit wt-tc-et; found RC, ET, TC, WT"),
        ({"head": "linear"}, "unknown head 'linear'; expected one of sigmoid, softmax"),
        ({"head": 3}, "head is 3; expected a str"),
        ({"head": "softmax"}, "'labels' is missing"),
        ({"head": "softmax", "labels": ["NCR", "ED", "ET", "RC"]}, "BACKGROUND first"),
        ({"window": [32, 32]}, "expected three positive whole numbers"),
        ({"window": [32, 32, 0]}, "expected three positive whole numbers"),
        ({"window": [32, 32, True]}, "expected three positive whole numbers"),
        ({"window": [32, 32, 32.5]}, "expected three positive whole numbers"),
        ({"window": 32}, "first: window is 32; expected a list"),
        (
            {"preprocessing": {"resized": []}},
            "first: preprocessing: unknown setting 'resized'; expected one of .*resize",
        ),
        ({"preprocessing": {"resize": [8, 8]}}, "first: resize is .*; expected three positive whole numbers"),
        ({"preprocessing": {"resize": [10**5, 8, 8]}}, "first: resize is too large to fit in memory"),
        ({"preprocessing": {"clip": [0.9, 0.1]}}, "first: clip: impossible value; found 0.9 to 0.1"),
        ({"preprocessing": {"clip": [False, 1]}}, "first: clip is .*; expected two numbers"),
        ({"preprocessing": {"largest_piece": 1}}, "first: largest_piece is 1; expected a bool"),
        (
            {"window": [1024, 1024, 1024]},
            "window is too large to fit in memory; found .1024, 1024, 1024., expected",
        ),
        ({"window": [10**30, 32, 32]}, "window is too large to fit in memory"),
        ({"box": [512, 512, 512]}, "box is too large to fit in memory"),
        ({"files": [{"name": "x.safetensors", "sha256": ""}] * 65}, "too many files; found 65, expected at most 64"),
        ({"title": list(range(999))}, r"title is .{79}…; expected a str"),
        ({"box": [-1, 1, 1]}, "expected three positive whole numbers"),
        ({"size": [4, 8]}, "size is .4, 8.; expected a dict"),
        ({"network": ["unet"]}, "network is .'unet'.; expected a str"),
        ({"name": 3}, "3: name is 3; expected a str"),
        ({"mirror": "left"}, "first: mirror is not a choice of axes; found 'left', expected letters of ijk, each once"),
        ({"mirror": None}, "mirror is None; expected a str"),
        ({"postprocess": None}, "postprocess is None; expected a dict"),
        ({"postprocess": {"limit": 3}}, "postprocess: unknown .*'limit'"),
        ({"postprocess": {"thresholds": {"XY": 0.5}}}, "first: postprocess: .*XY"),
        ({"postprocess": {"thresholds": {"CC": 0.5}}}, "first: .*CC"),
        ({"postprocess": {"et_total_mean": 2}}, "first: postprocess: .*found 2, expected .*1"),
        ({"trained_on": 3}, "trained_on is 3; expected a dict"),
        ({"scores": []}, r"scores is \[\]; expected a dict"),
        ({"scores": {"Dice WT": float("nan")}}, r"cannot be read as JSON \(NaN is not a JSON number\)"),
    ],
    ids=str,
)
def test_an_impossible_entry_is_named(rewritten: Callable[[dict], Path], changes: dict, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        read_manifest(rewritten(changes))


def test_a_message_has_no_double_full_stop(rewritten: Callable[[dict], Path]) -> None:
    with pytest.raises(WeightsError, match=r"[^.]\. Restore the manifest\.$"):
        read_manifest(rewritten({"postprocess": {"et_total_mean": 2}}))


def test_rules_that_are_left_out_have_their_defaults(rewritten: Callable[[dict], Path]) -> None:
    (member,) = read_manifest(rewritten({"postprocess": {}}))
    assert member.rules == PostprocessRules()


def test_the_shipped_weights_are_those_of_the_checkout(shipped: tuple[Member, ...]) -> None:
    assert shipped_weights() == Path(module.__file__).parents[2] / "weights"
    assert [member.name for member in shipped] == ["unet", "transbts", "axial_unet"]
    assert {member.regions for member in shipped} == {REGION_SETS["wt-tc-et"]}


def test_weights_inside_the_package_override_the_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "htcnns")
    assert shipped_weights() == tmp_path / "weights"
    (tmp_path / "htcnns" / "shipped").mkdir(parents=True)
    (tmp_path / "htcnns" / "shipped" / MANIFEST).touch()
    assert shipped_weights() == tmp_path / "htcnns" / "shipped"


def test_a_set_inside_the_shipped_weights_is_chosen_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, here = tmp_path / "shipped", tmp_path / "here"
    for folder in (shipped / "synthetic", shipped / "empty", here):
        folder.mkdir(parents=True)
    (shipped / "synthetic" / MANIFEST).touch()
    monkeypatch.setattr(module, "shipped_weights", lambda: shipped)
    monkeypatch.chdir(here)
    assert chosen_weights(None) == shipped
    assert chosen_weights(Path("synthetic")) == shipped / "synthetic"
    assert chosen_weights(tmp_path) == tmp_path
    for other in ("empty", "gone", "../shipped", "./here/synthetic"):
        assert chosen_weights(Path(other)) == Path(other)
    (here / "synthetic").mkdir()
    assert chosen_weights(Path("synthetic")) == Path("synthetic")


def test_shipped_members_say_what_they_were_trained_on(shipped: tuple[Member, ...]) -> None:
    assert [member.name for member in shipped if not member.trained_on or not member.scores] == []


@pytest.fixture
def shipped() -> tuple[Member, ...]:
    return read_manifest(shipped_weights())


def _drop(folder: Path, *keys: str) -> None:
    """Remove keys from the only member of a manifest."""
    content = json.loads((folder / MANIFEST).read_text())
    for key in keys:
        del content["members"][0][key]
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize("text", ["1e999", "-1e999", "NaN", "[" * 40 + "]" * 40, "9" * 400], ids=str)
def test_values_that_no_report_can_hold_are_refused_when_read(rewritten: Callable[[dict], Path], text: str) -> None:
    folder = rewritten({"trained_on": {"cases": ["here"]}})
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('"here"', text))
    with pytest.raises(WeightsError, match="cannot be read as JSON"):
        read_manifest(folder)
