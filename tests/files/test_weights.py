"""A member's weights files: round trips, and every way in which they can be wrong."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_tensors

from htcnns.errors import WeightsError
from htcnns.files.digests import sha256_of
from htcnns.files.manifest import read_manifest, shipped_weights
from htcnns.files.member import Member, WeightsFile
from htcnns.files.weights import load_networks, save_weights, verify_file
from htcnns.labels import REGION_SETS, Label, Sequence
from htcnns.networks import build_network
from htcnns.networks.contract import Head, Network

SIZE = {"channels": [4, 8], "n_convs": [1, 1]}
LARGEST_FILE_BYTES = 8 * 2**20
ALL_FILES_BYTES = 26 * 2**20


@pytest.fixture
def network() -> torch.nn.Module:
    return build_network("unet", SIZE).eval()


@pytest.fixture
def member(tmp_path: Path, network: torch.nn.Module) -> Member:
    """A member with one weights file, which exists."""
    path = tmp_path / "first.safetensors"
    file = WeightsFile(path, save_weights(path, network))
    return Member(name="first", title="The first member", network="unet", size=SIZE, files=(file,))


@pytest.fixture
def with_content(member: Member) -> Callable[[bytes], Member]:
    """A function that replaces the content of the member's file and updates the checksum."""

    def replaced(content: bytes) -> Member:
        path = member.files[0].path
        path.write_bytes(content)
        return replace(member, files=(WeightsFile(path, sha256_of(path)),))

    return replaced


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


@pytest.mark.parametrize("head", Head, ids=str)
@pytest.mark.parametrize("name", REGION_SETS)
def test_channels_follow_the_sequences_and_the_outputs(tmp_path: Path, name: str, head: Head) -> None:
    regions = REGION_SETS[name]
    outputs = regions.regions if head is Head.SIGMOID else (Label.BACKGROUND, *regions.labels)
    path = tmp_path / "two.safetensors"
    network = build_network("unet", SIZE, n_in=2, n_out=len(outputs))
    file = WeightsFile(path, save_weights(path, network))
    member = Member(
        name="two",
        title="",
        network="unet",
        size=SIZE,
        files=(file,),
        sequences=(Sequence.T1C, Sequence.T2F),
        regions=regions,
        head=head,
        outputs=outputs,
    )
    (loaded,) = load_networks(member)
    assert isinstance(loaded, Network)
    assert loaded(torch.zeros(1, 2, 8, 8, 8)).shape == (1, len(outputs), 8, 8, 8)


def test_counts_keep_full_precision(tmp_path: Path) -> None:
    size = SIZE | {"hidden": [8], "heads": [2], "edge": 8, "norm": "batch"}
    network = build_network("axial_unet", size)
    count = "encoder.stages.0.0.convs.0.norm.num_batches_tracked"
    network.get_buffer(count).fill_(4097)  # float16 has 4096 and 4100, nothing between
    path = tmp_path / "counted.safetensors"
    file = WeightsFile(path, save_weights(path, network))
    (loaded,) = load_networks(Member(name="m", title="m", network="axial_unet", size=size, files=(file,)))
    assert loaded.get_buffer(count) == 4097


def test_saving_twice_gives_the_same_bytes(tmp_path: Path, network: torch.nn.Module) -> None:
    assert save_weights(tmp_path / "a.safetensors", network) == save_weights(tmp_path / "b.safetensors", network)


def test_channels_last_is_saved_as_the_same_bytes(tmp_path: Path, network: torch.nn.Module) -> None:
    expected = save_weights(tmp_path / "a.safetensors", network)
    moved = network.to(memory_format=torch.channels_last_3d)
    assert save_weights(tmp_path / "b.safetensors", moved) == expected


def test_save_weights_returns_the_digest_of_its_file(member: Member) -> None:
    assert sha256_of(member.files[0].path) == member.files[0].sha256


def test_verify_names_a_good_file(member: Member) -> None:
    line = verify_file(member, member.files[0])
    assert line == f"first: first.safetensors {member.files[0].sha256[:12]} good"


def test_an_absent_file_is_refused(member: Member) -> None:
    member.files[0].path.unlink()
    with pytest.raises(WeightsError, match=r"first.safetensors: first: cannot be read \(No such file or directory\)"):
        load_networks(member)


def test_a_changed_byte_is_a_wrong_checksum(member: Member) -> None:
    content = bytearray(member.files[0].path.read_bytes())
    content[-1] ^= 1
    member.files[0].path.write_bytes(content)
    says = f"first: the file is damaged or is the wrong one; found sha256 .*, expected {member.files[0].sha256[:12]}"
    with pytest.raises(WeightsError, match=says):
        verify_file(member, member.files[0])


def test_one_bad_fold_among_good_ones_is_found(tmp_path: Path, member: Member) -> None:
    bad = WeightsFile(tmp_path / "second.safetensors", member.files[0].sha256)
    bad.path.write_bytes(b"")
    with pytest.raises(
        WeightsError,
        match=r"second.safetensors: first: the file is damaged or is the wrong one; found sha256 e3b0c44298fc",
    ):
        load_networks(replace(member, files=(*member.files, bad)))


@pytest.mark.parametrize("content", [b"", b"weights", b"\0" * 64], ids=["empty", "text", "zeros"])
def test_a_file_that_is_not_safetensors_is_refused(with_content: Callable[[bytes], Member], content: bytes) -> None:
    with pytest.raises(WeightsError, match=r"first.safetensors: first: .* Restore the file"):
        load_networks(with_content(content))


def test_a_truncated_file_is_refused(member: Member, with_content: Callable[[bytes], Member]) -> None:
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
    with pytest.raises(WeightsError, match=r"missing decoder.transpconvs.0.weight; found 1 tensors missing and 0"):
        load_networks(with_content(save_tensors(tensors)))


def test_an_unexpected_tensor_is_named(network: torch.nn.Module, with_content: Callable[[bytes], Member]) -> None:
    tensors = {**network.state_dict(), "surprise": torch.zeros(1)}
    with pytest.raises(WeightsError, match="unexpected surprise; found 0 tensors missing and 1 unexpected"):
        load_networks(with_content(save_tensors(tensors)))


def test_a_wrong_shape_error_states_both_shapes(
    network: torch.nn.Module, with_content: Callable[[bytes], Member]
) -> None:
    tensors = {**network.state_dict(), "decoder.transpconvs.0.bias": torch.zeros(5)}
    with pytest.raises(
        WeightsError, match=r"decoder.transpconvs.0.bias has the wrong shape; found \(5,\), expected \(4,\)"
    ):
        load_networks(with_content(save_tensors(tensors)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "unett"}, "first: network: unknown network 'unett'; expected one of unet, .*axial_unet"),
        ({"size": {"channels": [4, 16], "n_convs": [1, 1]}}, r"expected \(16,"),
        ({"size": {"channels": [4, 8], "n_convs": [1]}}, "first: size: unet cannot be built at that size"),
        ({"size": {"depth": 3}}, "unknown argument .depth.; expected one of channels, n_convs"),
        ({"size": {"channels": [8], "n_convs": [1]}}, "impossible channels; found .8., expected at least two"),
        ({"size": {"channels": [4, 8], "n_convs": [10**8, 1]}}, "impossible n_convs; found 100000000, expected"),
        ({"size": {"channels": [4096] * 8, "n_convs": [64] * 8}}, "too large at that size; found .* million"),
        ({"window": (8, 9, 8)}, "window: the window cannot be halved .*found 8 x 9 x 8"),
    ],
    ids=str,
)
def test_a_network_or_size_that_does_not_fit_is_refused(member: Member, changes: dict, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_networks(replace(member, **changes))


@pytest.fixture
def shipped() -> tuple[Member, ...]:
    return read_manifest(shipped_weights())


def test_shipped_weights_pass_every_check(shipped: tuple[Member, ...]) -> None:
    lines = [verify_file(member, file) for member in shipped for file in member.files]
    assert [line.split(":")[0] for line in lines] == ["unet", "transbts", "axial_unet"]


def test_shipped_weights_are_small_enough_to_be_kept_in_the_repository(shipped: tuple[Member, ...]) -> None:
    sizes = {file.path.name: file.path.stat().st_size for member in shipped for file in member.files}
    assert {name: size for name, size in sizes.items() if size > LARGEST_FILE_BYTES} == {}
    assert sum(sizes.values()) < ALL_FILES_BYTES


def test_shipped_weights_are_all_described(shipped: tuple[Member, ...]) -> None:
    described = {file.path for member in shipped for file in member.files}
    assert set(shipped_weights().glob("*.safetensors")) == described


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_weights_that_are_not_finite_are_refused(
    network: torch.nn.Module, with_content: Callable[[bytes], Member], value: float
) -> None:
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors["decoder.transpconvs.0.bias"][0] = value
    with pytest.raises(WeightsError, match=r"decoder\.transpconvs\.0\.bias holds NaN or infinity; expected numbers"):
        load_networks(with_content(save_tensors(tensors)))


def test_numbers_beyond_float32_are_refused(network: torch.nn.Module, with_content: Callable[[bytes], Member]) -> None:
    tensors = {name: tensor.double() for name, tensor in network.state_dict().items()}
    tensors["decoder.transpconvs.0.bias"][0] = 1e300
    with pytest.raises(WeightsError, match="holds NaN or infinity"):
        load_networks(with_content(save_tensors(tensors)))


@pytest.mark.parametrize("dtype", ["F8_E8M0", "F4", "C64", "U8", "I64", "X"])
def test_a_type_that_networks_do_not_have_is_refused(
    member: Member, with_content: Callable[[bytes], Member], dtype: str
) -> None:
    content = member.files[0].path.read_bytes()
    with pytest.raises(WeightsError, match=r"first.safetensors: first: (not a safetensors file|.* has a type that)"):
        load_networks(with_content(content.replace(b'"F16"', f'"{dtype}"'.encode().ljust(5), 1)))


@pytest.mark.parametrize("target", ["/dev/zero", "fifo"])
def test_a_file_that_never_ends_is_refused(tmp_path: Path, member: Member, target: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    path = member.files[0].path
    path.unlink()
    path.symlink_to(tmp_path / target)
    with pytest.raises(WeightsError, match=r"first.safetensors: first: is not a regular file"):
        load_networks(member)
