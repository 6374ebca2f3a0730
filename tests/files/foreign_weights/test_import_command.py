"""`htcnns weights import`: what it writes and prints, and that it replaces nothing."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import theirs
import torch
from test_checkpoint import Canary
from test_nnunet_v1 import written
from theirs import V1UNet, V2UNet, randomised, write_v2_checkpoint, write_v2_folder

from htcnns.errors import SettingsError, WeightsError
from htcnns.files.foreign_weights import KINDS
from htcnns.files.foreign_weights.kind import OWN_BRAIN
from htcnns.files.foreign_weights.nnunet_v2 import OF_LOGITS
from htcnns.files.manifest import read_manifest, write_manifest
from htcnns.files.member import WeightsFile
from htcnns.labels import Sequence
from htcnns.networks.limits import MOST_MEMBERS
from htcnns.runs import foreign_member
from htcnns.runs.foreign_member import ImportSettings, import_member

pytestmark = pytest.mark.slow

CASE = "BraTS-GLI-00001-000"
ORDERS = ("order in the file", "three sequences", "sequence twice", "unknown sequence")
SWAPPED = theirs.dataset(channels={"0": "T1ce", "1": "T1", "2": "T2", "3": "FLAIR"})
Command = Callable[..., object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of nnU-Net with two folds."""
    return write_v2_folder(tmp_path / "theirs", [randomised(V2UNet(), seed) for seed in (1, 2)])


@pytest.fixture
def run(htcnns: Command, tmp_path: Path) -> Command:
    """Function that imports nnU-Net v2's weights into `out`; its arguments come last in the command."""
    return lambda *more: htcnns("weights", "import", "--kind", "nnunet-v2", "--out", tmp_path / "out", *more)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_says_what_it_wrote_and_how_close_the_logits_are(run: Command, tmp_path: Path, folder: Path) -> None:
    said = run(folder)
    assert (said.code, said.err) == (0, "")
    first, second, member, sees, *notes, last = said.out.splitlines()
    near = r"logits up to [\d.]+; the original('s differ by \d.\de-\d\d at most| is not installed here for comparison)"
    for number, line in enumerate((first, second)):
        path = folder / f"fold_{number}" / "checkpoint_final.pth"
        start = re.escape(f"nnunet-v2-{number}.safetensors from {path}: ")
        assert re.fullmatch(rf"{start}{near}; float16 moves them by 0\.0e\+00 at most", line)
    assert member == "nnunet-v2: unet, window 16 x 24 x 32"
    assert sees == "  sees t1n, t1c, t2w, t2f; predicts WT, TC, ET by a sigmoid"
    assert notes == [f"  {OWN_BRAIN}", f"  {OF_LOGITS}"]
    assert last == f"in {tmp_path / 'out'}"


def test_what_it_wrote_is_listed_and_verified(run: Command, htcnns: Command, tmp_path: Path, folder: Path) -> None:
    run(folder)
    assert sorted(contents(tmp_path / "out")) == ["manifest.json", *(f"nnunet-v2-{n}.safetensors" for n in range(2))]
    verified = htcnns("weights", "verify", "--weights", tmp_path / "out")
    assert (verified.code, len(verified.out.splitlines())) == (0, 2)
    listed = htcnns("weights", "list", "--weights", tmp_path / "out").out
    assert "  imported as: nnunet-v2\n  imported from: fold_0/checkpoint_final.pth sha256 " in listed


def test_a_case_is_segmented_with_imported_weights(
    run: Command, htcnns: Command, tmp_path: Path, folder: Path, make_case: Callable[..., Path]
) -> None:
    run(folder)
    make_case(tmp_path / "in", CASE)
    flags = ("--weights", tmp_path / "out", "--device", "cpu", "--precision", "fp32", "--overlap", "0")
    said = htcnns("segment", tmp_path / "in", tmp_path / "masks", *flags)
    assert (said.code, said.err) == (0, "")
    assert (tmp_path / "masks" / f"{CASE}.nii.gz").exists()


def test_weights_that_float16_cannot_hold_move_the_logits(run: Command, tmp_path: Path) -> None:
    network = randomised(V2UNet())
    with torch.no_grad():
        network.encoder.stages[0][0].convs[0].conv.weight.add_(1e-4)
    said = run(write_v2_folder(tmp_path / "theirs", [network]))
    assert said.code == 0
    assert float(re.search(r"float16 moves them by (\S+) at most", said.out)[1]) > 0


def test_several_members_may_share_a_folder(run: Command, tmp_path: Path, folder: Path) -> None:
    run(folder)
    assert run(folder / "fold_1" / "checkpoint_final.pth", "--name", "second").code == 0
    first, second = read_manifest(tmp_path / "out")
    assert (first.name, second.name) == ("nnunet-v2", "second")
    assert [file.path.name for file in second.files] == ["second.safetensors"]
    assert first.files[1].sha256 == second.files[0].sha256


def test_the_same_import_again_changes_nothing(run: Command, tmp_path: Path, folder: Path) -> None:
    run(folder)
    before = contents(tmp_path / "out")
    assert run(folder).code == 0
    assert contents(tmp_path / "out") == before


def test_the_same_files_in_another_folder_are_the_same_import(run: Command, tmp_path: Path, folder: Path) -> None:
    run(folder)
    before = [file.sha256 for file in read_manifest(tmp_path / "out")[0].files]
    assert run(folder.rename(tmp_path / "moved")).code == 0
    assert [file.sha256 for file in read_manifest(tmp_path / "out")[0].files] == before


def test_the_same_file_in_a_folder_of_another_name_is_the_same_import(run: Command, tmp_path: Path) -> None:
    flags = ("--kind", "kaist-bl", "--name", "a")
    path = written(tmp_path / "a.model", randomised(V1UNet()))
    (tmp_path / "moved").mkdir()
    run(path, *flags)
    assert run(path.rename(tmp_path / "moved" / "a.model"), *flags).code == 0
    (member,) = read_manifest(tmp_path / "out")
    assert member.trained_on["imported from"][0].startswith("moved/a.model sha256 ")


def test_another_member_of_that_name_is_not_replaced(run: Command, tmp_path: Path, folder: Path) -> None:
    run(folder)
    before = contents(tmp_path / "out")
    said = run(folder / "fold_0")
    assert said.code == 2
    assert said.err.startswith(
        "htcnns: --name: a different member nnunet-v2 is already there; found nnunet-v2-0.safetensors, "
    )
    assert contents(tmp_path / "out") == before


def test_the_same_file_as_another_kind_does_not_replace_it(run: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "a.model", randomised(V1UNet()))
    run(path, "--kind", "kaist-bl", "--name", "a")
    before = contents(tmp_path / "out")
    said = run(path, "--kind", "nnunet-v1", "--name", "a")
    assert (said.code, contents(tmp_path / "out")) == (2, before)
    assert (
        "a different member a is already there; found a.safetensors with other title, rules, trained on, expected"
        in said.err
    )


def test_the_same_file_with_other_sequences_does_not_replace_it(run: Command, tmp_path: Path, folder: Path) -> None:
    run(folder)
    before = contents(tmp_path / "out")
    (folder / "dataset.json").write_text(json.dumps(SWAPPED))
    said = run(folder)
    assert (said.code, contents(tmp_path / "out")) == (2, before)
    assert "nnunet-v2-1.safetensors with other sequences, expected a name of its own for each member" in said.err


def test_an_import_that_was_interrupted_can_be_made_again(run: Command, tmp_path: Path, folder: Path) -> None:
    run(folder)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    (tmp_path / "out" / "nnunet-v2-1.safetensors").unlink()
    assert (run(folder).code, contents(tmp_path / "out")) == (0, before)


def test_what_another_import_left_is_not_replaced(run: Command, tmp_path: Path, folder: Path) -> None:
    run(folder)
    (tmp_path / "out" / "manifest.json").unlink()
    before = contents(tmp_path / "out")
    write_v2_checkpoint(folder / "fold_1" / "checkpoint_final.pth", randomised(V2UNet(), 3).state_dict())
    said = run(folder)
    assert (said.code, contents(tmp_path / "out")) == (2, before)
    assert "holds nnunet-v2-1.safetensors, which was not imported" in said.err


def test_a_folder_with_the_most_members_allowed_takes_no_other(run: Command, tmp_path: Path, folder: Path) -> None:
    run(folder / "fold_0")
    (member,) = read_manifest(tmp_path / "out")
    others = ((f"m{n}", WeightsFile(tmp_path / "out" / f"m{n}.safetensors", "")) for n in range(1, MOST_MEMBERS))
    write_manifest(tmp_path / "out", (member, *(replace(member, name=name, files=(file,)) for name, file in others)))
    before = contents(tmp_path / "out")
    said = run(folder / "fold_1", "--name", "one-more")
    assert (said.code, contents(tmp_path / "out")) == (2, before)
    assert said.err == (
        f"htcnns: --out: {tmp_path / 'out'}: has no room for another member; found 64 members, expected at most 64 "
        "with the new one. Give another folder.\n"
    )
    assert (run(folder / "fold_0").code, len(read_manifest(tmp_path / "out"))) == (0, MOST_MEMBERS)


def test_an_order_of_sequences_that_no_file_states_is_noted(run: Command, tmp_path: Path) -> None:
    said = run(written(tmp_path / "a.model", randomised(V1UNet())), "--kind", "kaist-bl")
    (member,) = read_manifest(tmp_path / "out")
    taken = "as in tasks 82 and 500, which were published; the checkpoint does not say so"
    note = f"sequences: assumed to be t1n, t1c, t2w, t2f, {taken}"
    assert member.trained_on["differs"] == [OWN_BRAIN, note]
    assert f"  {note}\n" in said.out


def test_an_order_of_sequences_that_was_given_is_used_without_a_note(run: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "a.model", randomised(V1UNet()))
    said = run(path, "--kind", "kaist-bl", "--sequences", "FLAIR,t1ce, T1,t2")
    assert (said.code, said.err) == (0, "")
    (member,) = read_manifest(tmp_path / "out")
    assert member.sequences == (Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W)
    assert member.trained_on["differs"] == [OWN_BRAIN]
    assert "  sees t2f, t1c, t1n, t2w; predicts WT, TC, ET by a sigmoid\n" in said.out
    assert "assumed to be" not in said.out


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "nnunet-v2"])
def test_all_kinds_but_nnunet_v2_say_where_their_order_is_from(kind: str) -> None:
    assert KINDS[kind].order.startswith("as ")


@pytest.mark.parametrize(
    "order", [(Sequence.T1N,), (Sequence.T1N,) * 4, (*Sequence, Sequence.T1N)], ids=["one", "one four times", "five"]
)
def test_anything_but_four_different_sequences_is_refused(tmp_path: Path, order: tuple[Sequence, ...]) -> None:
    with pytest.raises(SettingsError, match=r"^sequences: not the four sequences that these networks see; found t1n"):
        ImportSettings(files=(tmp_path,), kind="kaist-bl", out=tmp_path / "out", sequences=order)


def test_a_file_of_another_member_is_not_replaced(run: Command, tmp_path: Path, folder: Path) -> None:
    run(folder / "fold_0", "--name", "a-1")
    before = contents(tmp_path / "out")
    said = run(folder, "--name", "a")
    assert (said.code, contents(tmp_path / "out")) == (2, before)
    assert "--name: a different member a-1 is already there; found a-1.safetensors" in said.err


@pytest.mark.parametrize("name", ["notes.txt", "other.safetensors", "nnunet-v2-0.safetensors"])
def test_a_folder_with_anything_else_is_left_as_it_is(run: Command, tmp_path: Path, folder: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    said = run(folder)
    assert said.code == 2
    assert said.err == (
        f"htcnns: --out: {tmp_path / 'out'}: holds {name}, which was not imported; "
        "expected a new or empty folder, or one with imported members only. Give another folder.\n"
    )
    assert contents(tmp_path / "out") == {name: b"mine"}


def test_trained_members_are_left_alone(htcnns: Command, tiny_weights: Path, folder: Path) -> None:
    before = contents(tiny_weights)
    said = htcnns("weights", "import", folder, "--kind", "nnunet-v2", "--out", tiny_weights)
    assert (said.code, contents(tiny_weights)) == (2, before)
    assert "holds unet, which was not imported" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ("{}/theirs", "--kind", "nnunet"),
            2,
            r"--kind: unknown kind of weights 'nnunet'; expected one of nnunet-v2, .*",
        ),
        (
            ("{}/theirs", "--name", "../up"),
            2,
            r"--name: not a plain name; found '\.\./up', expected at most 100 letters.*",
        ),
        (("{}/theirs", "--name", "\U0001d518" * 100), 2, "--name: not a plain name; found .*, expected at most 100 .*"),
        (("{}/theirs", "--name", ".hidden"), 2, r"--name: not a plain name; found '\.hidden'.*"),
        (("{}/theirs", "{}/theirs/fold_0/checkpoint_final.pth"), 2, r"FILE: a checkpoint occurs twice; found 3.*"),
        (
            ("{}/nothing.pth",),
            4,
            r"\S*/nothing\.pth: cannot be read \(No such file or directory\)\. Restore the file\.",
        ),
        (("{}",), 4, r"\S*: no fold_\*/checkpoint_final\.pth there; expected the folder with plans\.json and .*"),
        (
            ("{}/theirs/plans.json",),
            4,
            r"\S*/plans\.json: cannot be read as a checkpoint \(it starts with other bytes\).*",
        ),
        ((), 2, r"Missing argument 'FILE'\. See htcnns --help\."),
        (
            ("{}/theirs", "--sequences", "t2f,t1c,t1n,t2w"),
            2,
            "--sequences: files of nnunet-v2 state the order of the network's sequences themselves; found t2f.*",
        ),
        (
            ("{}/a.model", "--kind", "kaist-bl", "--sequences", "t2f,t1c,t1n"),
            2,
            r"--sequences: not the four sequences .*; found t2f, t1c, t1n, expected t1n, t1c, t2w, t2f, each once, .*",
        ),
        (
            ("{}/a.model", "--kind", "kaist-bl", "--sequences", "t2f,t1c,t1,t1n"),
            2,
            "--sequences: a sequence occurs twice; found t2f, t1c, t1n, t1n, expected each sequence once.*",
        ),
        (
            ("{}/a.model", "--kind", "kaist-bl", "--sequences", "t2f,t1c,t1n,dwi"),
            2,
            "--sequences: unknown sequence 'dwi'; expected one of t1n, .*",
        ),
    ],
    ids=[
        "kind",
        "path as name",
        "400 bytes",
        "hidden name",
        "twice",
        "no file",
        "no folds",
        "other file",
        "nothing",
        *ORDERS,
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_mistake_is_reported_in_one_line_and_writes_nothing(
    run: Command, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    said = run(*(argument.replace("{}", str(tmp_path)) for argument in arguments))
    assert (said.code, said.out) == (code, "")
    assert re.fullmatch(f"htcnns: {says}\n", said.err)
    assert not (tmp_path / "out").exists()


def test_code_in_a_checkpoint_does_not_run(run: Command, tmp_path: Path, folder: Path) -> None:
    canary = tmp_path / "sang"
    path = folder / "fold_1" / "checkpoint_final.pth"
    write_v2_checkpoint(path, randomised(V2UNet()).state_dict(), logging=Canary(canary))
    said = run(folder)
    assert said.code == 4
    assert said.err == (
        f"htcnns: {path}: would run {os.name}.system, and was not loaded; expected only tensors and plain data. "
        "Ask whoever made it for the network's state dict.\n"
    )
    assert not canary.exists()
    assert not (tmp_path / "out").exists()


def test_checkpoints_of_two_networks_are_not_folds_of_one(run: Command, tmp_path: Path, folder: Path) -> None:
    other = write_v2_folder(tmp_path / "other", [randomised(V2UNet((4, 8)))], of=theirs.plans((4, 8)))
    said = run(folder, other)
    assert said.code == 4
    assert (
        "not a fold of the same network: another size; found {'channels': [4, 8], 'n_convs': [2, 2]}, exp" in said.err
    )
    assert not (tmp_path / "out").exists()


def test_folds_with_another_order_of_sequences_are_not_folds_of_one(run: Command, tmp_path: Path, folder: Path) -> None:
    other = write_v2_folder(tmp_path / "other", [randomised(V2UNet())])
    (other / "dataset.json").write_text(json.dumps(SWAPPED))
    said = run(folder, other)
    assert said.code == 4
    assert "not a fold of the same network: another sequences; found" in said.err


def test_a_network_that_computes_other_logits_than_the_original_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = KINDS["nnunet-v2"]
    doubled = replace(kind, read=lambda path: replace(kind.read(path), original=lambda x: x.new_ones(1, 3, 8, 8, 8)))
    monkeypatch.setattr(foreign_member, "KINDS", {"nnunet-v2": doubled})
    with pytest.raises(WeightsError, match="computes different values here than in its own program; found logits that"):
        import_member(ImportSettings(files=(folder,), kind="nnunet-v2", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_no_checkpoint_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="files: too few or too many checkpoints; found 0, expected 1 to 64"):
        import_member(ImportSettings(files=(), kind="nnunet-v2", out=tmp_path / "out"))


def test_checkpoints_too_large_for_a_run_are_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ImportSettings(files=(folder,), kind="nnunet-v2", out=tmp_path / "out")
    monkeypatch.setattr(foreign_member, "MOST_SET_BYTES", 1000)
    with pytest.raises(WeightsError, match="too many or too large checkpoints; found"):
        import_member(settings)


def test_an_output_that_is_a_file_is_refused(run: Command, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "out").write_text("mine")
    said = run(folder)
    assert (said.code, (tmp_path / "out").read_text()) == (6, "mine")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_title_and_is_named_in_contributing(kind: str) -> None:
    page = (Path(__file__).parents[3] / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert KINDS[kind].title
    assert f"`{kind}`" in page
