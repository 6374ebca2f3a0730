"""An installed wheel works on its own: it brings the code, the command and the shipped weights."""

import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[1]
CASE = "BraTS-GLI-00001-000"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel; dependencies are those of the tests' environment."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("htcnns", "weights"):  # a copy, as building leaves files beside the code
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    pip_wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip_wheel, "-w", ".", "./source"], check=True, cwd=folder)
    venv.create(folder / "venv", with_pip=True)
    (wheel,) = folder.glob("htcnns-*.whl")
    pip = folder / "venv" / "bin" / "pip"
    subprocess.run([str(pip), "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, cwd=folder)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])  # without that folder's own .pth files
    return folder / "venv" / "bin"


def test_an_installed_wheel_segments_with_its_own_weights(
    installed: Path, tmp_path: Path, make_case: Callable[..., Path]
) -> None:
    make_case(tmp_path / "in", CASE)
    flags = ("--members", "unet", "--overlap", "0", "--device", "cpu")
    done = subprocess.run(
        [installed / "htcnns", "segment", tmp_path / "in", tmp_path / "out", *flags],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / f"{CASE}.nii.gz").is_file()


def test_an_installed_wheel_does_not_need_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = "from htcnns.files.manifest import shipped_weights as s; print(s())"
    done = subprocess.run([installed / "python", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert Path(done.stdout.strip()).is_relative_to(installed.parent)


def test_every_module_and_data_file_is_in_the_wheel(installed: Path) -> None:
    (packages,) = (installed.parent / "lib").glob("python*/site-packages")
    kinds = ("*.py", "*.schema.json", "cohort.*", "viewer_page/*")
    ours = {path.relative_to(ROOT) for kind in kinds for path in (ROOT / "htcnns").rglob(kind)}
    assert ours <= {path.relative_to(packages) for path in (packages / "htcnns").rglob("*.*")}


def test_an_installed_wheel_serves_the_viewers_page(
    installed: Path, tmp_path: Path, make_case: Callable[..., Path]
) -> None:
    make_case(tmp_path / "in", CASE)
    command = [installed / "htcnns", "view", tmp_path / "in"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        process.stdout.readline()
        address = process.stdout.readline().strip()
        sizes = [len(urlopen(f"{address}{name}").read()) for name in ("", "niivue.umd.js")]
        process.send_signal(signal.SIGINT)
    folder = ROOT / "htcnns" / "reports" / "viewer_page"
    assert sizes == [(folder / name).stat().st_size for name in ("index.html", "niivue.umd.js")]
    assert process.returncode == 130
