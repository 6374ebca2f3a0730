"""The viewer's server: who gets an answer, what can be asked for, and which headers each answer has."""

import gzip
import http.client
import json
import re
import socket
import struct
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from threading import Thread

import nibabel as nib
import pytest

from htcnns.doors.view_server import HEADERS, Answer, Request, Site, open_server
from htcnns.errors import SettingsError
from htcnns.files.viewer_cases import shown_cases
from htcnns.labels import default_label_set

CASE, BARE = "BraTS-GLI-00001-000", "BraTS-GLI-00002-000"
TOKEN = "a-token_of_the_test"
HERE = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, make_case: Callable[..., Path]) -> Site:
    """Two cases; the first has a truth, the second lacks its t2f, and its t2w is damaged."""
    folder = tmp_path_factory.mktemp("cases")
    whole, bare = make_case(folder, CASE), make_case(folder, BARE)
    (bare / f"{BARE}-t2f.nii.gz").unlink()
    (bare / f"{BARE}-t2w.nii.gz").write_bytes(b"no scan")
    scan = nib.load(whole / f"{CASE}-t1c.nii.gz")
    nib.save(nib.Nifti1Image((scan.get_fdata() > 400).astype("uint8") * 2, scan.affine), whole / f"{CASE}-seg.nii.gz")
    return Site(shown_cases(folder, None, numbers=default_label_set), TOKEN)


def get(site: Site, rest: str, *, token: str = TOKEN, host: str = HERE, method: str = "GET") -> Answer:
    return site.answer(Request(method, f"/{token}/{rest}", host))


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/",
            "",
            "//",
            f"/{TOKEN[:-1]}/",
            f"/{TOKEN}x/",
            f"/{TOKEN.upper()}/",
            f"/x/{TOKEN}/",
            "/cases",
            "/viewer.js",
        ),
        *(f"/?token={TOKEN}", f"//{TOKEN}/", f"/%61{TOKEN[1:]}/", "/\xe9\udce9/", f"http://{HERE}/{TOKEN}/"),
    ],
)
def test_without_the_token_nothing_is_answered(site: Site, target: str) -> None:
    answer = site.answer(Request("GET", target, HERE))
    assert (answer.status, answer.content) == (403, b"not the address that htcnns view printed\n")


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1.evil.example:8000", "localhost.evil.example", "evil.example#@127.0.0.1", "[::"],
)
def test_a_foreign_host_name_that_points_here_is_refused(site: Site, host: str) -> None:
    assert get(site, "", host=host).status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("host", [HERE, "localhost:9", "LOCALHOST:8000", "127.0.0.1"])
def test_loopback_is_answered_on_any_port(site: Site, host: str) -> None:
    assert get(site, "", host=host).status == HTTPStatus.OK


@pytest.mark.parametrize(
    "rest",
    [
        *("../", "..", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "//etc/passwd", "index.html"),
        *(
            "viewer_page/viewer.js",
            "viewer.js?x",
            "cases/",
            "cases/0",
            "cases/0/",
            "cases/0/4",
            "cases/0/-1",
            "cases/00/0",
        ),
        *(
            "cases/2/0",
            "cases/-1/0",
            "cases/0/t1c",
            "cases/0/../1/0",
            "cases/999999999999/0",
            "cases/0/0/",
            "cases/\u0660/0",
        ),
        *("cases/0/card\n", "cases/1/mask", "cases/1/card", "cases/1/3", f"{CASE}-t1c.nii.gz", "\x00"),
    ],
)
def test_only_what_is_listed_can_be_asked_for(site: Site, rest: str) -> None:
    assert get(site, rest).status == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(site: Site, method: str) -> None:
    assert get(site, "", method=method).status == HTTPStatus.METHOD_NOT_ALLOWED


def test_the_list_has_names_sequences_and_masks(site: Site) -> None:
    record = json.loads(get(site, "cases").content)
    assert [(case["name"], case["sequences"], case["mask"]) for case in record["cases"]] == [
        (CASE, [True, True, True, True], f"{CASE}-seg.nii.gz"),
        (BARE, [True, True, True, False], ""),
    ]
    assert record["masks_are"] == "truth"


def test_scans_and_masks_are_nifti_on_one_grid(site: Site) -> None:
    contents = [get(site, f"cases/0/{part}").content for part in ("0", "1", "2", "3", "mask")]
    images = [nib.Nifti1Image.from_bytes(gzip.decompress(content)) for content in contents]
    assert {(image.shape, str(image.affine)) for image in images} == {(images[0].shape, str(images[0].affine))}
    assert len({image.get_fdata().tobytes() for image in images}) == 5


def test_a_file_that_cannot_be_shown_is_answered_with_its_error(site: Site) -> None:
    answer = get(site, "cases/1/2")
    assert answer.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.content.decode().endswith(
        f"{BARE}-t2w.nii.gz: named .gz but is not gzip; expected gzip data. Take .gz out of its name or gzip it.\n"
    )


def test_a_name_that_is_not_utf8_is_answered_with_escapes(tmp_path: Path, make_case: Callable[..., Path]) -> None:
    folder = make_case(tmp_path, "caf\udce9")
    (folder / "caf\udce9-t1c.nii.gz").write_bytes(b"no scan")
    site = Site(shown_cases(tmp_path, None, numbers=default_label_set), TOKEN)
    assert json.loads(get(site, "cases").content)["cases"][0]["name"] == "caf\udce9"
    assert b"caf\\udce9-t1c.nii.gz: named .gz but is not gzip" in get(site, "cases/0/1").content


def test_an_unclear_case_is_listed_and_answered_with_its_fault(tmp_path: Path, make_case: Callable[..., Path]) -> None:
    make_case(tmp_path / "one", CASE)
    make_case(tmp_path / "two", CASE)
    site = Site(shown_cases(tmp_path, None, numbers=default_label_set), TOKEN)
    sentence = json.loads(get(site, "cases").content)["cases"][0]["fault"]
    assert sentence.startswith(f"{CASE}: two cases of this name")
    assert get(site, "cases/0/1").content.decode() == f"{sentence}\n"


@pytest.mark.parametrize(
    "name",
    sorted(
        set(
            re.findall(
                r'(?:src|href)="([^":,]+)"',
                (Path(__file__).parents[2] / "htcnns/reports/viewer_page/index.html").read_text(),
            )
        )
    ),
)
def test_what_the_page_links_to_is_answered(site: Site, name: str) -> None:
    assert get(site, name).status == HTTPStatus.OK


# --- over a socket ---


@pytest.fixture(scope="module")
def port(site: Site) -> Iterator[int]:
    """The port of a running server."""
    with open_server(site, port=0) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def ask(port: int, method: str, target: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, target, headers=headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (f"/{TOKEN}/", "127.0.0.1", 200),
        (f"/{TOKEN}/cases/1/2", "127.0.0.1", 422),
        (f"/{TOKEN}/nothing", "127.0.0.1", 404),
        ("/", "127.0.0.1", 403),
        (f"/{TOKEN}/", "evil.example", 403),
    ],
)
def test_every_answer_has_the_policy_headers(port: int, target: str, host: str, status: int) -> None:
    response, _ = ask(port, "GET", target, Host=host)
    assert response.status == status
    assert {name: response.headers[name] for name in HEADERS} == HEADERS


def test_the_policy_allows_nothing_from_elsewhere_and_no_inline_code() -> None:
    policy = HEADERS["Content-Security-Policy"]
    sources = {source for part in policy.split(";") for source in part.split()[1:]}
    assert policy.startswith("default-src 'none';")
    assert sources == {"'none'", "'self'", "data:"}
    assert re.findall(r"[a-z-]+ data:", policy) == ["img-src data:"]


def test_head_has_the_length_and_no_content(port: int) -> None:
    whole, content = ask(port, "GET", f"/{TOKEN}/viewer.css")
    head, nothing = ask(port, "HEAD", f"/{TOKEN}/viewer.css")
    assert (head.status, head.headers["Content-Length"], nothing) == (200, str(len(content)), b"")
    assert whole.headers["Content-Type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_method_is_told_which_are_allowed(port: int, method: str) -> None:
    response, _ = ask(port, method, f"/{TOKEN}/")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


def test_the_server_says_nothing_about_the_machine(port: int) -> None:
    response, _ = ask(port, "GET", "/")
    assert response.headers["Server"].strip() == "htcnns"


def test_it_listens_on_loopback_alone(site: Site) -> None:
    with open_server(site, port=0) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"


def test_a_browser_that_goes_away_does_not_end_the_server(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as gone:
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # resets the connection
        gone.sendall(f"GET /{TOKEN}/niivue.umd.js HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert ask(port, "GET", f"/{TOKEN}/")[0].status == HTTPStatus.OK
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_named(site: Site, port: int) -> None:
    with pytest.raises(SettingsError, match=rf"port: cannot listen on it .*found {port}, expected a free port"):
        open_server(site, port=port)
