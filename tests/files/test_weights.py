"""The manifest and its files: round trips, and every way in which they can be wrong."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_tensors

from htcnns.errors import SettingsError, WeightsError
from htcnns.files.weights import (
    MANIFEST,
    Member,
    WeightsFile,
    choose_members,
    digest,
    load_networks,
    read_manifest,
    save_weights,
    verify_file,
    write_manifest,
)
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import REGIONS, SEQUENCES
from htcnns.networks import build_network

SIZE = {"channels": [4, 8], "n_convs": [1, 1]}
SHIPPED = Path(__file__).parents[2] / "weights"
LARGEST_FILE_BYTES = 8 * 2**20
ALL_FILES_BYTES = 26 * 2**20


@pytest.fixture
def network() -> torch.nn.Module:
    return build_network("unet", SIZE).eval()


@pytest.fixture
def member(tmp_path: Path, network: torch.nn.Module) -> Member:
    """A member that differs from the defaults wherever it may, its one file written."""
    path = tmp_path / "first.safetensors"
    return Member(
        name="first",
        title="The first member",
        network="unet",
        size=SIZE,
        files=(WeightsFile(path, save_weights(path, network)),),
        sequences=SEQUENCES[::-1],
        regions=REGIONS[::-1],
        window=(32, 48, 64),
        box=(64, 64, 64),
        rules=PostprocessRules(thresholds={"WT": 0.4, "TC": 0.5, "ET": 0.6}, et_total_voxels=5),
        trained_on={"cases": ["a", "b"]},
        scores={"Dice WT": 0.5},
    )


@pytest.fixture
def rewritten(tmp_path: Path, member: Member) -> Callable[[dict], Path]:
    """Writes the manifest with some of its member's keys changed and gives the folder."""

    def rewrite(changes: dict) -> Path:
        write_manifest(tmp_path, (member,))
        content = json.loads((tmp_path / MANIFEST).read_text())
        content["members"][0] |= changes
        (tmp_path / MANIFEST).write_text(json.dumps(content))
        return tmp_path

    return rewrite


@pytest.fixture
def with_content(member: Member) -> Callable[[bytes], Member]:
    """Replaces the content of the member's file, with the checksum that fits it."""

    def replaced(content: bytes) -> Member:
        path = member.files[0].path
        path.write_bytes(content)
        return replace(member, files=(WeightsFile(path, digest(path)),))

    return replaced


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path, member: Member) -> None:
    other = replace(member, name="second", box=None, rules=PostprocessRules())
    write_manifest(tmp_path, (member, other))
    assert read_manifest(tmp_path) == (member, other)


def test_a_different_member_is_not_equal(tmp_path: Path, member: Member) -> None:
    write_manifest(tmp_path, (replace(member, window=(32, 32, 32)),))
    assert read_manifest(tmp_path) != (member,)


def test_writing_leaves_nothing_but_the_manifest_and_the_file(tmp_path: Path, member: Member) -> None:
    write_manifest(tmp_path, (member,))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.safetensors", MANIFEST]


def test_tensors_come_back_as_they_were_in_half_precision(member: Member, network: torch.nn.Module) -> None:
    (loaded,) = load_networks(member)
    expected = {name: tensor.half().float() for name, tensor in network.state_dict().items()}
    torch.testing.assert_close(dict(loaded.state_dict()), expected, rtol=0, atol=0)


def test_loaded_networks_are_float32_and_in_evaluation_mode(member: Member) -> None:
    (loaded,) = load_networks(member)
    assert not loaded.training
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_every_fold_is_loaded(member: Member) -> None:
    assert len(load_networks(replace(member, files=member.files * 3))) == 3


def test_counts_are_not_halved(tmp_path: Path) -> None:
    size = SIZE | {"hidden": [8], "heads": [2], "edge": 8, "norm": "batch"}
    network = build_network("axial_unet", size)
    count = "encoder.stages.0.0.convs.0.norm.num_batches_tracked"
    network.get_buffer(count).fill_(4097)  # float16 knows 4096 and 4100
    path = tmp_path / "counted.safetensors"
    file = WeightsFile(path, save_weights(path, network))
    (loaded,) = load_networks(Member("m", "m", "axial_unet", size, (file,)))
    assert loaded.get_buffer(count) == 4097


def test_saving_twice_gives_the_same_bytes(tmp_path: Path, network: torch.nn.Module) -> None:
    assert save_weights(tmp_path / "a.safetensors", network) == save_weights(tmp_path / "b.safetensors", network)


def test_channels_last_is_saved_as_the_same_bytes(tmp_path: Path, network: torch.nn.Module) -> None:
    expected = save_weights(tmp_path / "a.safetensors", network)
    moved = network.to(memory_format=torch.channels_last_3d)
    assert save_weights(tmp_path / "b.safetensors", moved) == expected


def test_save_weights_gives_the_digest_of_its_file(member: Member) -> None:
    assert digest(member.files[0].path) == member.files[0].sha256


def test_verify_names_a_good_file(member: Member) -> None:
    line = verify_file(member, member.files[0])
    assert line == f"first: first.safetensors {member.files[0].sha256[:12]} good"


def test_members_are_chosen_in_the_order_of_the_manifest(member: Member) -> None:
    members = tuple(replace(member, name=name) for name in ("a", "b", "c"))
    assert [chosen.name for chosen in choose_members(members, ("c", "a"))] == ["a", "c"]
    assert choose_members(members, ()) == members


def test_an_unknown_member_lists_the_known_ones(member: Member) -> None:
    with pytest.raises(SettingsError, match="--members: unknown member 'd'; known are first"):
        choose_members((member,), ("d",))


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no manifest.json there. Give a folder"):
        read_manifest(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent: no manifest.json there"):
        read_manifest(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        ("[]", "format 'list', expected 1"),
        ("{}", "format None, expected 1"),
        ('{"format": 2, "members": []}', "format 2, expected 1"),
        ('{"format": 1}', "lists no members"),
        ('{"format": 1, "members": []}', "lists no members"),
        ('{"format": 1, "members": {}}', "lists no members"),
        ('{"format": 1, "members": [3]}', "manifest.json: 3: "),
        ('{"format": 1, "members": [{}]}', "a member without a name: 'files' is missing"),
    ],
    ids=str,
)
def test_a_manifest_that_is_none(tmp_path: Path, text: str | bytes, message: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WeightsError, match=message):
        read_manifest(tmp_path)


def test_two_members_of_one_name(tmp_path: Path, member: Member) -> None:
    write_manifest(tmp_path, (member, member))
    with pytest.raises(WeightsError, match="two members share a name; found first, first"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("key", ["name", "title", "network", "size", "files", "sequences", "regions", "window"])
def test_a_missing_key_is_named(rewritten: Callable[[dict], Path], key: str) -> None:
    folder = rewritten({})
    content = json.loads((folder / MANIFEST).read_text())
    del content["members"][0][key]
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=f"'{key}' is missing"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": []}, "first: no files"),
        ({"files": ["first.safetensors"]}, "first: "),
        ({"files": [{"name": "first.safetensors"}]}, "first: 'sha256' is missing"),
        ({"files": [{"name": "first.safetensors", "sha256": 1}]}, "sha256 is 1, expected a str"),
        ({"files": [{"name": "../x.safetensors", "sha256": ""}]}, "'../x.safetensors' is not a plain name"),
        ({"files": [{"name": "/x.safetensors", "sha256": ""}]}, "'/x.safetensors' is not a plain name"),
        ({"files": [{"name": "..", "sha256": ""}]}, "'..' is not a plain name"),
        ({"files": [{"name": "x\0.safetensors", "sha256": ""}]}, "is not a plain name"),
        ({"files": [{"name": "model.pt", "sha256": ""}]}, "'model.pt' is not a plain name that ends in .safetensors"),
        ({"sequences": ["t1n", "t1c", "t2w"]}, "found t1n, t1c, t2w, expected t1n, t1c, t2w, t2f in some order"),
        ({"sequences": ["t1n", "t1c", "t2w", "t2w"]}, "found t1n, t1c, t2w, t2w, expected"),
        ({"sequences": ["t1n", "t1c", "t2w", "flair"]}, "'flair' is not a valid Sequence"),
        ({"sequences": None}, "first: 'NoneType'"),
        ({"regions": ["WT", "TC"]}, "found Region.WT, Region.TC, expected"),
        ({"regions": ["WT", "TC", "NCR"]}, "'NCR' is missing or unknown"),
        ({"window": [32, 32]}, "expected three positive whole numbers"),
        ({"window": [32, 32, 0]}, "expected three positive whole numbers"),
        ({"window": [32, 32, 32.5]}, "expected three positive whole numbers"),
        ({"window": 32}, "first: "),
        ({"box": [-1, 1, 1]}, "expected three positive whole numbers"),
        ({"size": [4, 8]}, "size is .4, 8., expected a dict"),
        ({"network": ["unet"]}, "network is .'unet'., expected a str"),
        ({"name": 3}, "3: name is 3, expected a str"),
        ({"postprocess": None}, "postprocess is None, expected a dict"),
        ({"postprocess": {"limit": 3}}, "unknown fields limit"),
        ({"postprocess": {"thresholds": {"WT": 0.5}}}, "thresholds is .* expected one number each for WT, TC, ET"),
        ({"postprocess": {"et_total_mean": 2}}, "et_total_mean is 2; expected a number from 0.0 to 1.0"),
        ({"postprocess": {"et_total_mean": float("nan")}}, "et_total_mean is nan"),
    ],
    ids=str,
)
def test_an_impossible_entry_is_named(rewritten: Callable[[dict], Path], changes: dict, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        read_manifest(rewritten(changes))


def test_a_message_ends_its_sentences_once(rewritten: Callable[[dict], Path]) -> None:
    with pytest.raises(WeightsError, match=r"[^.]\. Restore the manifest\.$"):
        read_manifest(rewritten({"postprocess": {"et_total_mean": 2}}))


def test_rules_that_are_left_out_have_their_defaults(rewritten: Callable[[dict], Path]) -> None:
    (member,) = read_manifest(rewritten({"postprocess": {}}))
    assert member.rules == PostprocessRules()


def test_an_absent_file(member: Member) -> None:
    member.files[0].path.unlink()
    with pytest.raises(WeightsError, match=r"first.safetensors: first: cannot be read \(No such file or directory\)"):
        load_networks(member)


def test_a_changed_byte_is_a_wrong_checksum(member: Member) -> None:
    content = bytearray(member.files[0].path.read_bytes())
    content[-1] ^= 1
    member.files[0].path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"first: sha256 is .* expected {member.files[0].sha256[:12]}"):
        verify_file(member, member.files[0])


def test_one_bad_fold_among_good_ones_is_found(tmp_path: Path, member: Member) -> None:
    bad = WeightsFile(tmp_path / "second.safetensors", member.files[0].sha256)
    bad.path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"second.safetensors: first: sha256 is"):
        load_networks(replace(member, files=(*member.files, bad)))


@pytest.mark.parametrize("content", [b"", b"weights", b"\0" * 64], ids=["empty", "text", "zeros"])
def test_a_file_that_is_no_safetensors(with_content: Callable[[bytes], Member], content: bytes) -> None:
    with pytest.raises(WeightsError, match=r"first.safetensors: first: .* Restore the file"):
        load_networks(with_content(content))


def test_a_truncated_file(member: Member, with_content: Callable[[bytes], Member]) -> None:
    content = member.files[0].path.read_bytes()
    with pytest.raises(WeightsError, match=r"first.safetensors: first: .* Restore the file"):
        load_networks(with_content(content[: len(content) // 2]))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return Path.mkdir, (Path(self.path),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, with_content: Callable[[bytes], Member]) -> None:
    with pytest.raises(WeightsError, match=r"first.safetensors: first: "):
        load_networks(with_content(pickle.dumps(Trap(tmp_path / "sprung"))))
    assert not (tmp_path / "sprung").exists()


def test_the_trap_of_the_last_test_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


def test_a_missing_tensor_is_named(network: torch.nn.Module, with_content: Callable[[bytes], Member]) -> None:
    tensors = network.state_dict()
    del tensors["decoder.transpconvs.0.weight"]
    with pytest.raises(WeightsError, match=r"missing decoder.transpconvs.0.weight; 1 tensors missing, 0 unexpected"):
        load_networks(with_content(save_tensors(tensors)))


def test_an_unexpected_tensor_is_named(network: torch.nn.Module, with_content: Callable[[bytes], Member]) -> None:
    tensors = {**network.state_dict(), "surprise": torch.zeros(1)}
    with pytest.raises(WeightsError, match="unexpected surprise; 0 tensors missing, 1 unexpected"):
        load_networks(with_content(save_tensors(tensors)))


def test_a_wrong_shape_prints_both(network: torch.nn.Module, with_content: Callable[[bytes], Member]) -> None:
    tensors = {**network.state_dict(), "decoder.transpconvs.0.bias": torch.zeros(5)}
    with pytest.raises(WeightsError, match=r"decoder.transpconvs.0.bias has shape \(5,\), expected \(4,\)"):
        load_networks(with_content(save_tensors(tensors)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "vnet"}, "unknown network 'vnet'; known are unet, transbts, axial_unet"),
        ({"size": {"channels": [4, 16], "n_convs": [1, 1]}}, r"expected \(16,"),
        ({"size": {"channels": [4, 8], "n_convs": [1]}}, "unet: cannot be built in that size"),
        ({"size": {"depth": 3}}, "its size is given by channels, n_convs"),
    ],
    ids=str,
)
def test_a_file_of_another_network_or_size(member: Member, changes: dict, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_networks(replace(member, **changes))


@pytest.fixture
def shipped() -> tuple[Member, ...]:
    if not (SHIPPED / MANIFEST).exists():
        pytest.skip("no weights are shipped yet")
    return read_manifest(SHIPPED)


def test_shipped_weights_pass_every_check(shipped: tuple[Member, ...]) -> None:
    lines = [verify_file(member, file) for member in shipped for file in member.files]
    assert [line.split(":")[0] for line in lines] == ["unet", "transbts", "axial_unet"]


def test_shipped_weights_are_small_enough_to_be_kept_in_the_repository(shipped: tuple[Member, ...]) -> None:
    sizes = {file.path.name: file.path.stat().st_size for member in shipped for file in member.files}
    assert {name: size for name, size in sizes.items() if size > LARGEST_FILE_BYTES} == {}
    assert sum(sizes.values()) < ALL_FILES_BYTES


def test_shipped_weights_are_all_described(shipped: tuple[Member, ...]) -> None:
    described = {file.path for member in shipped for file in member.files}
    assert set(SHIPPED.glob("*.safetensors")) == described


def test_shipped_members_say_what_they_were_trained_on(shipped: tuple[Member, ...]) -> None:
    assert [member.name for member in shipped if not member.trained_on or not member.scores] == []
