"""Fixtures that import weights as users do and find nnU-Net's own packages where they are installed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from htcnns.files.foreign_weights.kind import Foreign
from htcnns.files.manifest import read_manifest
from htcnns.files.member import Member
from htcnns.files.weights import load_networks
from htcnns.networks import build_network
from htcnns.runs.foreign_member import ImportSettings, import_member
from htcnns.volume import Shape

NNUNET = Path(__file__).parents[3] / ".work" / "nnunet"  # where `make test` and `make bench` put both versions


@pytest.fixture(scope="session")
def nnunet() -> None:
    """Make nnU-Net's own packages importable where they are installed."""
    if NNUNET.is_dir() and str(NNUNET) not in sys.path:
        sys.path.append(str(NNUNET))  # last, so that our own packages stay as they are pinned


@pytest.fixture(scope="session")
def dna(nnunet: None) -> object:  # noqa: ARG001 - makes its packages importable
    """nnU-Net v2's package of networks; tests that ask for it are skipped where it is not installed."""
    return pytest.importorskip("dynamic_network_architectures.architectures.unet")


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Member]:
    """Function that imports paths as a kind and returns the member as read from its manifest."""

    def run(kind: str, *paths: Path) -> Member:
        import_member(ImportSettings(files=paths, kind=kind, out=tmp_path / "out"))
        (member,) = read_manifest(tmp_path / "out")
        return member

    return run


@pytest.fixture
def logits(generator: torch.Generator) -> Callable[[Member, Callable[[Tensor], Tensor]], tuple[Tensor, Tensor]]:
    """Function that returns the logits of a member's first file and of the original for the same window."""

    def run(member: Member, original: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        x = torch.randn(1, len(member.sequences), *member.window, generator=generator)
        with torch.no_grad():
            return load_networks(member)[0](x), original(x)

    return run


@pytest.fixture
def read_logits(generator: torch.Generator) -> Callable[..., tuple[Tensor, Tensor]]:
    """Function that returns the logits of a checkpoint that was read and of the original for the same window."""

    def run(foreign: Foreign, original: Callable[[Tensor], Tensor], window: Shape) -> tuple[Tensor, Tensor]:
        of = foreign.description
        network = build_network(of.network, of.size, n_in=len(of.sequences), n_out=len(of.outputs)).eval()
        network.load_state_dict(foreign.tensors)
        x = torch.randn(1, len(of.sequences), *window, generator=generator)
        with torch.inference_mode():
            return network(x), original(x)

    return run
