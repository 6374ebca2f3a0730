"""The image, built once, and a function that runs it as locked down as the strictest challenge does."""

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TAG = "htcnns-test"
LOCKED = ("--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--shm-size=64m", "--memory=6g")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def image() -> str:
    """The tag of an image built from the Dockerfile; without an engine these tests fail, since they were asked for."""
    engine = _docker("info")
    if engine.returncode:
        pytest.fail(f"needs a Docker engine, or leave these tests out with -m 'not image'; {engine.stderr[-500:]}")
    built = _docker("build", "--network", "host", "--tag", TAG, ROOT)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return TAG


@pytest.fixture(scope="session")
def run_image(image: str) -> Run:
    """A function that runs the image with those arguments and keeps what it printed.

    Its mounts map a path in the container to one here; all are read-only but the one whose path there is `writable`.
    """

    def run(
        *arguments: str,
        mounts: dict[str, Path] | None = None,
        writable: str = "/output",
        user: str = "4321:4321",
        options: Iterable[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        volumes = [
            f"--volume={here}:{inside}:{'rw' if inside == writable else 'ro'}"
            for inside, here in (mounts or {}).items()
        ]
        return _docker("run", "--rm", *LOCKED, "--user", user, *volumes, *options, image, *arguments)

    return run


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An empty folder that every user may write to."""
    folder = tmp_path / "output"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def inspect(image: str) -> Callable[[str], str]:
    """A function that reads one field of the image's configuration, as JSON."""

    def read(field: str) -> str:
        return _docker("image", "inspect", "--format", f"{{{{json {field}}}}}", image).stdout

    return read


def _docker(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *map(str, arguments)], capture_output=True, text=True, check=False)
