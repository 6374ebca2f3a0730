"""What every test can ask for: real cases, random numbers, tiny members, synthetic cases, the command line."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from htcnns.doors.cli import main
from htcnns.files.manifest import write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.names.brats import ENDINGS
from htcnns.files.nifti import write_case_file
from htcnns.files.weights import save_weights
from htcnns.image.phantom import Phantom, make_phantom
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import GLIOMA, SEQUENCES
from htcnns.networks import build_network

# A seed fixes the random weights; these thresholds make a quarter of a phantom WT, some of that TC, some ET.
_TINY = {
    "unet": ({"channels": (4, 8), "n_convs": (1, 1)}, (0.54, 0.48, 0.46)),
    "transbts": (
        {"channels": (4, 8), "blocks": (0, 1), "embedding": 8, "layers": 1, "heads": 2}
        | {"hidden": 16, "edge": 32, "norm": "instance", "dropout": 0.0},
        (0.66, 0.38, 0.64),
    ),
    "axial_unet": (
        {"channels": (4, 8), "n_convs": (1, 1), "hidden": (8,), "heads": (2,), "edge": 32, "norm": "instance"},
        (0.67, 0.61, 0.65),
    ),
}
_TILT = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, -0.1, 0.15), (3.0, -5.0, 7.5))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=300, help="rounds of each hostile generator")
    parser.addoption("--data", type=Path, default=None, help="folder with brats/, unlabelled/ and scores/")
    parser.addoption("--checked", action="store_true", help="leave out what make check has run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under `--checked`, leave out the fast tests, but not those that `make check` skips for want of real cases."""
    if config.getoption("--checked"):
        config.hook.pytest_deselected(items=[item for item in items if not _is_left_by_check(item)])
        items[:] = [item for item in items if _is_left_by_check(item)]


def _is_left_by_check(item: pytest.Item) -> bool:
    is_fast = not any(item.get_closest_marker(name) for name in ("slow", "gpu", "image"))
    return not is_fast or "data" in getattr(item, "fixturenames", ())


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """What the tests compute is so small that a second thread only waits; tests on real cases take more."""
    torch.set_num_threads(1)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How many attempts a generator of tests/hostile makes."""
    return int(request.config.getoption("--rounds"))


@pytest.fixture
def data(request: pytest.FixtureRequest) -> Path:
    """The folder of real cases; tests that ask for it are skipped when pytest was not given one."""
    folder = request.config.getoption("--data")
    if folder is None:
        pytest.skip("needs real cases: make test DATA=folder")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20241208)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20241208)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with three random members, named after their networks, with windows of 32 voxels."""
    folder = tmp_path_factory.mktemp("tiny") / "weights"
    folder.mkdir()
    write_manifest(folder, tuple(_tiny_member(folder, name) for name in _TINY))
    return folder


def _tiny_member(folder: Path, name: str) -> Member:
    size, thresholds = _TINY[name]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build_network(name, size)
    path = folder / f"{name}.safetensors"
    return Member(
        name=name,
        title=f"tiny {name}",
        network=name,
        size=size,
        files=(WeightsFile(path, save_weights(path, network)),),
        regions=GLIOMA,
        outputs=GLIOMA.regions,
        window=(32, 32, 32),
        rules=PostprocessRules(
            thresholds=dict(zip(("WT", "TC", "ET"), thresholds, strict=True)),
            et_component_voxels=0,
            et_total_voxels=0,
        ),
        trained_on={"cases": ["nothing"]},
    )


@cache
def _phantom(shape: tuple[int, int, int], seed: int) -> Phantom:
    return make_phantom(shape, seed=seed)


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Path]:
    """A function that writes a synthetic case and returns its folder.

    By default the case lies in a folder of its own and its brain fits one window of 32 voxels.
    """

    def make(
        folder: Path,
        name: str,
        *,
        naming: str = "BraTS 2023+",
        shape: tuple[int, int, int] = (34, 34, 33),
        seed: int = 1,
        affine: np.ndarray | None = None,
        flat: bool = False,
    ) -> Path:
        phantom = _phantom(shape, seed)
        home = folder if flat else folder / name
        home.mkdir(parents=True, exist_ok=True)
        for sequence, array in zip(SEQUENCES, phantom.sequences, strict=True):
            path = home / f"{name}{ENDINGS[naming][sequence]}.nii.gz"
            write_case_file(path, array.astype(np.int16), phantom.affine if affine is None else affine)
        return home

    return make


@pytest.fixture(scope="session")
def store_as() -> Callable[[Path, Path, str], Path]:
    """A function that stores a case's scans in another way: axes such as "RAS", or "oblique" for a tilted head."""

    def store(case: Path, into: Path, way: str) -> Path:
        into.mkdir(parents=True)
        for path in sorted(case.glob("*.nii*")):
            image = nib.load(path)
            if way == "oblique":
                other = nib.Nifti1Image(np.asarray(image.dataobj), _TILT @ image.affine, dtype=image.get_data_dtype())
            else:
                other = _turned(image, nib.orientations.axcodes2ornt(way))
            nib.save(other, into / path.name)
        return into

    return store


@pytest.fixture(scope="session")
def turn_to() -> Callable[[Path, Path], np.ndarray]:
    """A function that reads a mask with its axes turned to those of another file."""

    def turn(mask: Path, other: Path) -> np.ndarray:
        return np.asarray(_turned(nib.load(mask), nib.io_orientation(nib.load(other).affine)).dataobj)

    return turn


def _turned(image: nib.Nifti1Image, axes: np.ndarray) -> nib.Nifti1Image:
    """The image with its voxel axes permuted and flipped to these."""
    return image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), axes))


@dataclass(frozen=True)
class Said:
    """Exit code of a command line, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def htcnns(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A function that runs the command line in this process with these arguments."""

    def run(*arguments: object) -> Said:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run
