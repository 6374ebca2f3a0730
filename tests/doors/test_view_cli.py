"""`htcnns view`: what it prints, how it ends, and what it refuses."""

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CASE = "BraTS-GLI-00001-000"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def running(tmp_path: Path, make_case: Callable[..., Path]) -> Iterator[subprocess.Popen]:
    """The command, started on one case without a mask."""
    make_case(tmp_path / "in", CASE)
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "htcnns", "view", tmp_path / "in", "--masks", tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        yield process
        process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_it_serves_the_address_that_it_prints_until_a_signal(
    running: subprocess.Popen, number: signal.Signals, code: int
) -> None:
    assert running.stdout.readline().endswith("in, 0 with a mask; Ctrl-C ends the viewer\n")
    address = running.stdout.readline().strip()
    with urllib.request.urlopen(f"{address}cases") as answer:
        assert CASE in answer.read().decode()
    running.send_signal(number)
    assert (running.wait(20), running.stdout.read(), running.stderr.read()) == (code, "", "")


def test_every_start_has_a_new_token(
    htcnns: Callable, tmp_path: Path, make_case: Callable[..., Path], served: list
) -> None:
    make_case(tmp_path, CASE)
    tokens = [htcnns("view", tmp_path).out.rstrip("/\n").rpartition("/")[2] for _ in range(2)]
    assert {len(token) for token in tokens} == {43}  # 32 random bytes
    assert tokens[0] != tokens[1]
    assert len(served) == 2


def test_a_missing_browser_is_reported_and_does_not_end_the_viewer(
    htcnns: Callable, tmp_path: Path, make_case: Callable[..., Path], served: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open_new_tab", asked.append)  # returns None, as if no browser had opened
    make_case(tmp_path, CASE)
    said = htcnns("view", tmp_path, "--open")
    assert said.out.endswith("no browser was found on this machine; open the address yourself\n")
    assert asked == [said.out.splitlines()[1]]
    assert len(served) == 1


def test_a_folder_without_a_case_is_reported_in_one_line(htcnns: Callable, tmp_path: Path) -> None:
    said = htcnns("view", tmp_path)
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
    assert said.err.startswith(f"htcnns: {tmp_path}: no case; found nothing")


def test_a_port_in_use_is_reported_in_one_line(
    htcnns: Callable, tmp_path: Path, make_case: Callable[..., Path]
) -> None:
    make_case(tmp_path, CASE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = htcnns("view", tmp_path, "--port", port)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"htcnns: --port: cannot listen on it (Address already in use); found {port}, expected a free port from "
        "1024 to 65535. Give another, or none for any free one.\n"
    )


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--labels", "brats2020"), "unknown label set 'brats2020'"),
        (("--port", "70000"), "less than or equal to 65535"),
        (("--channels", "t1n,t1n"), "a sequence occurs twice"),
    ],
    ids=["labels", "port", "channels"],
)
def test_a_wrong_flag_is_reported_in_one_line(htcnns: Callable, tmp_path: Path, flags: tuple, sentence: str) -> None:
    said = htcnns("view", tmp_path, *flags)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert sentence in said.err


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list:
    """The servers that were started; each ends at once."""
    servers: list = []
    monkeypatch.setattr("socketserver.BaseServer.serve_forever", lambda server: servers.append(server))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return servers
