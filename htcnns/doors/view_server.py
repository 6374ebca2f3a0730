"""The viewer's server: its response to each address, on this machine alone.

An address is `/TOKEN/…`, where the token is random and part of every request. A request to any other host name than
loopback's is refused too, so that no page elsewhere can have its own name point here (DNS rebinding). Cases and
sequences are numbers in the lists, so no address can name a file.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Lock
from types import MappingProxyType
from urllib.parse import urlsplit

from htcnns.doors.terminal import flag
from htcnns.errors import HtcnnsError, InputError, SettingsError
from htcnns.files.page_files import page_file
from htcnns.files.viewer_cases import ShownCase, nifti_content, read_shown
from htcnns.labels import SEQUENCES
from htcnns.reports.plain_text import one_line
from htcnns.reports.strict_json import json_text
from htcnns.reports.viewer import ListedCase, card_record, list_record

HOST = "127.0.0.1"
HOSTS = frozenset((HOST, "localhost"))  # on any port, as a tunnel such as ssh's may use another one
N_KEPT = 2  # cases kept in memory: the one that is shown, and the one shown before
_JSON, _TEXT, _NIFTI = "application/json", "text/plain; charset=utf-8", "application/gzip"
_PAGE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "": ("index.html", "text/html; charset=utf-8"),
        "viewer.css": ("viewer.css", "text/css; charset=utf-8"),
        "viewer.js": ("viewer.js", "text/javascript; charset=utf-8"),
        "panels.js": ("panels.js", "text/javascript; charset=utf-8"),
        "niivue.umd.js": ("niivue.umd.js", "text/javascript; charset=utf-8"),
        "licences.txt": ("niivue.LICENSE.txt", _TEXT),
    }
)
_OF_A_CASE = re.compile(r"cases/(0|[1-9][0-9]{0,8})/(card|mask|[0-3])")
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        # the page's own scripts, styles and scans, and the pictures inside NiiVue's script; nothing from elsewhere
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",  # the address holds the token
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",  # scans stay out of the browser's cache
    }
)


@dataclass(frozen=True)
class Request:
    """A browser's request: the method, the address after the host, and the Host header."""

    method: str
    target: str
    host: str


@dataclass(frozen=True)
class Answer:
    """The response to a request."""

    status: HTTPStatus
    kind: str
    content: bytes


class Site:
    """The page and its cases, behind a token."""

    def __init__(self, cases: tuple[ShownCase, ...], token: str) -> None:
        self.token = token
        self._cases = cases
        self._reading = Lock()  # a page asks for all parts of a case at once
        self._read = lru_cache(maxsize=N_KEPT)(lambda index: read_shown(cases[index]))

    def answer(self, request: Request) -> Answer:
        """The response to the request; a refusal without the token."""
        token, _, rest = request.target.removeprefix("/").partition("/")
        is_known = hmac.compare_digest(token.encode(errors="replace"), self.token.encode())
        if not is_known or _host_name(request.host) not in HOSTS:
            return _refusal(HTTPStatus.FORBIDDEN, "not the address that htcnns view printed")
        if request.method not in ("GET", "HEAD"):
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
        try:
            return self._found(rest) or _refusal(HTTPStatus.NOT_FOUND, "nothing here")
        except HtcnnsError as error:
            return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, one_line(error.sentence(flag)))

    def _found(self, rest: str) -> Answer | None:
        """The response for the part of an address after the token; None if nothing is there."""
        if rest in _PAGE:
            name, kind = _PAGE[rest]
            return Answer(HTTPStatus.OK, kind, page_file(name))
        if rest == "cases":
            return _json(list_record([_listed(each) for each in self._cases], masks_are=self._masks_are()))
        match = _OF_A_CASE.fullmatch(rest)
        if not match or int(match[1]) >= len(self._cases):
            return None
        return self._part(int(match[1]), match[2])

    def _part(self, index: int, part: str) -> Answer | None:
        """A scan of a case by sequence number, its mask, or a summary of its mask; None if the case has none."""
        shown = self._cases[index]
        if shown.case.fault:
            raise shown.case.fault
        with self._reading:
            volumes = self._read(index)
        is_scan = part.isdecimal()
        volume = volumes.scans.get(SEQUENCES[int(part)]) if is_scan else volumes.mask
        if isinstance(volume, InputError):
            raise volume
        if volume is None:
            return None
        if part == "card":
            return _json(card_record(volume, tuple(shown.numbers.numbers)))
        return Answer(HTTPStatus.OK, _NIFTI, nifti_content(volume))

    def _masks_are(self) -> str:
        return "truth" if all(each.is_truth for each in self._cases) else "mask"


def open_server(site: Site, *, port: int) -> ThreadingTCPServer:
    """A server that listens on loopback and responds once it is run; port 0 takes a free one.

    Raises:
        SettingsError: the port is in use, or this user may not listen on it.
    """
    try:
        return _Server((HOST, port), _handler(site.answer))
    except OSError as error:
        raise SettingsError(
            f"cannot listen on it ({error.strerror or error})",
            setting="port",
            found=str(port),
            expected="a free port from 1024 to 65535",
            remedy="Give another, or none for any free one.",
        ) from error


class _Server(ThreadingTCPServer):
    """A server with a thread for each request, none of which keeps the program alive."""

    daemon_threads = True
    allow_reuse_address = True  # for the port of a viewer that ended a moment ago


def _handler(answer: Callable[[Request], Answer]) -> type[BaseHTTPRequestHandler]:
    """The handler class that the standard library's server needs, with a method for each kind of request."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 60  # seconds that a silent connection may hold a thread
        server_version, sys_version = "htcnns", ""

        def handle(self) -> None:
            """Answer the connection's requests; a browser that moves on to another case may close it at any moment."""
            with suppress(ConnectionError):
                super().handle()

        def _respond(self) -> None:
            request = Request(self.command, self.path, self.headers.get("Host", ""))
            answered = answer(request)
            self.send_response(answered.status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            if answered.status is HTTPStatus.METHOD_NOT_ALLOWED:
                self.send_header("Allow", "GET, HEAD")
            self.send_header("Content-Type", answered.kind)
            self.send_header("Content-Length", str(len(answered.content)))
            self.end_headers()
            if request.method != "HEAD":
                self.wfile.write(answered.content)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing: the addresses hold the token."""

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _respond  # noqa: N815

    return Handler


def _listed(shown: ShownCase) -> ListedCase:
    return ListedCase(
        name=shown.case.name,
        sequences=shown.case.found,
        mask=shown.mask.name if shown.mask else "",
        fault=shown.case.fault.sentence(flag) if shown.case.fault else "",
    )


def _host_name(host: str) -> str | None:
    """The name in a Host header, without the port; None if it has no valid name."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _json(record: dict) -> Answer:
    return Answer(HTTPStatus.OK, _JSON, json_text(record).encode())


def _refusal(status: HTTPStatus, sentence: str) -> Answer:
    return Answer(status, _TEXT, f"{sentence}\n".encode(errors="backslashreplace"))  # names may not be valid text
