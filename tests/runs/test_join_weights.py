"""Joining members of several weights folders in one: what is copied, in which order, and what is refused first."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from htcnns.doors.api import segment_folder
from htcnns.errors import HtcnnsError, OutputError, SettingsError, WeightsError
from htcnns.files.manifest import read_manifest, shipped_weights, write_manifest
from htcnns.files.member import Member
from htcnns.files.weights import verify_file
from htcnns.labels import REGION_SETS
from htcnns.reports.outcome import State
from htcnns.runs.join_weights import join_weights
from htcnns.runs.settings import RunSettings


@pytest.fixture
def another(tmp_path: Path, tiny_weights: Path) -> Path:
    """A folder whose only member, `mine`, lies in a file with the same name as one of the tiny weights."""
    return written(tmp_path / "another", replace(read_manifest(tiny_weights)[0], name="mine", mirror="i"))


def written(folder: Path, member: Member) -> Path:
    """A new folder with this member alone, its file copied."""
    folder.mkdir()
    [file] = member.files
    (folder / file.path.name).write_bytes(file.path.read_bytes())
    write_manifest(folder, (replace(member, files=(replace(file, path=folder / file.path.name),)),))
    return folder


def test_members_come_in_the_order_in_which_they_are_named(tmp_path: Path, tiny_weights: Path, another: Path) -> None:
    joined = join_weights([tiny_weights / "transbts", another, tiny_weights / "unet"], tmp_path / "out")
    assert read_manifest(tmp_path / "out") == joined
    assert [(m.name, m.files[0].path.name) for m in joined] == [
        ("transbts", "transbts.safetensors"),
        ("mine", "unet.safetensors"),
        ("unet", "unet-2.safetensors"),
    ]
    assert all("good" in verify_file(member, file) for member in joined for file in member.files)


def test_a_member_keeps_all_but_the_place_of_its_files(tmp_path: Path, another: Path) -> None:
    [before] = read_manifest(another)
    [after] = join_weights([another], tmp_path / "out")
    assert replace(after, files=()) == replace(before, files=())
    assert [file.sha256 for file in after.files] == [file.sha256 for file in before.files]


def test_joined_members_are_fused(
    tmp_path: Path, make_case: Callable[..., Path], tiny_weights: Path, another: Path
) -> None:
    make_case(tmp_path / "in", "P7")
    join_weights([tiny_weights / "unet", another], tmp_path / "weights")
    settings = RunSettings(weights=tmp_path / "weights", precision="fp32", overlap=0.0)
    [outcome] = segment_folder(tmp_path / "in", tmp_path / "out", settings=settings)
    assert outcome.state is State.DONE
    assert [member.name for member in outcome.members] == ["unet", "mine"]


def test_two_members_of_one_name_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    with pytest.raises(SettingsError, match=r"two members are called unet; .*each as FOLDER/MEMBER"):
        join_weights([tiny_weights, tiny_weights / "unet"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_different_regions_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    first = read_manifest(tiny_weights)[0]
    regions = REGION_SETS["wt-tc-et-rc"]
    other = written(tmp_path / "other", replace(first, name="rc", regions=regions, outputs=regions.regions))
    with pytest.raises(SettingsError, match=r"^members with different regions cannot be fused"):
        join_weights([tiny_weights, other], tmp_path / "out")


def test_an_empty_list_of_members_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"this number of members cannot be fused; found 0"):
        join_weights([], tmp_path / "out")


def test_leftovers_of_an_interrupted_call_do_no_harm(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "unet.safetensors").write_bytes((tiny_weights / "unet.safetensors").read_bytes())
    joined = join_weights([tiny_weights], tmp_path / "out")
    assert read_manifest(tmp_path / "out") == joined


def test_file_names_differ_in_more_than_the_case_of_their_letters(tmp_path: Path, tiny_weights: Path) -> None:
    """Folders of other systems do not tell upper and lower case apart."""
    first = read_manifest(tiny_weights)[0]
    other = written(tmp_path / "other", replace(first, name="mine"))
    file = replace(first.files[0], path=(other / "unet.safetensors").rename(other / "UNet.safetensors"))
    write_manifest(other, (replace(first, name="mine", files=(file,)),))
    joined = join_weights([tiny_weights / "unet", other], tmp_path / "out")
    assert [member.files[0].path.name for member in joined] == ["unet.safetensors", "UNet-2.safetensors"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match=r"out: is not a folder"):
        join_weights([tiny_weights], tmp_path / "out")


def test_shipped_members_are_found_under_shipped(tmp_path: Path) -> None:
    [joined] = join_weights([Path("shipped/unet")], tmp_path / "out")
    assert joined.files[0].sha256 == read_manifest(shipped_weights())[0].files[0].sha256


def test_the_command_says_what_it_copied(
    tmp_path: Path, htcnns: Callable[..., SimpleNamespace], tiny_weights: Path, another: Path
) -> None:
    said = htcnns("weights", "join", tiny_weights / "transbts", another, "--out", tmp_path / "out")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "transbts: transbts.safetensors",
        "mine: unet.safetensors",
        f"in {tmp_path / 'out'}",
    ]


def test_the_command_refuses_in_one_sentence(
    tmp_path: Path, htcnns: Callable[..., SimpleNamespace], tiny_weights: Path
) -> None:
    said = htcnns("weights", "join", tiny_weights, tiny_weights, "--out", tmp_path / "out")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("htcnns: two members are called axial_unet; found unet, transbts, axial_unet, unet")


def test_a_folder_that_holds_other_files_is_refused(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"holds mine\.txt; expected a new or empty folder"):
        join_weights([tiny_weights], tmp_path / "out")


def test_nothing_is_written_if_a_file_is_damaged(tmp_path: Path, tiny_weights: Path, another: Path) -> None:
    (another / "unet.safetensors").write_bytes(b"spoilt")
    with pytest.raises(WeightsError, match=r"unet\.safetensors"):
        join_weights([tiny_weights, another], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("unat", "unknown member 'unat'.*Did you mean 'unet'"), ("none/unet", r"no manifest\.json there")],
    ids=["member", "folder"],
)
def test_a_missing_member_or_folder_is_named(tmp_path: Path, tiny_weights: Path, name: str, says: str) -> None:
    with pytest.raises(HtcnnsError, match=says):
        join_weights([tiny_weights / name], tmp_path / "out")
