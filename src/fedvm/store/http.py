"""HTTP exchanges with a server that is not trusted: bounded in bytes and seconds, repeated where that may help."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from fedvm.store.errors import StoreError

_BUSY: Final = frozenset({408, 425, 429, 502, 503, 504})
_NO_HEADERS: Final[Mapping[str, str]] = {}
_ALWAYS: Final = {"Connection": "close", "User-Agent": "fedvm"}
_MESSAGE_BYTES: Final = 4096
_DIGITS: Final = 18
"""Of any length that a server can mean."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    attempts: of one exchange, the first one included. pause: seconds before the second, doubled before each further
    one, unless the server names a time; max_pause: at most. seconds: of one attempt as a whole, to the last byte. rest:
    seconds for which a server that could not be connected to, or that did not answer in time, is not asked again, so
    that another store is read at once.
    """

    attempts: int = 3
    pause: float = 0.5
    max_pause: float = 20
    seconds: float = 30
    rest: float = 60


@dataclass(frozen=True)
class Answer:
    """What a server answered. headers: by lower-case name."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """The beginning of its body on one line, for an error."""
        return printable(self.body[:300].decode(errors="replace")) or "no reason given"


def printable(text: str) -> str:
    """What a server sent, on one line and without letters that a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))


class HttpServer:
    """A server at a URL of `http` or `https`, with an optional path that goes before every target. Redirections are not
    followed, so that nobody is asked whom the user did not name.

    Raises:
        StoreError: another URL, or one with a password.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self.url, self.patience = url, patience or Patience()
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise StoreError(f"{url} is no URL: {error}") from error
        if parts.username is not None:
            raise StoreError(
                "a store's URL is written to files that are passed on: leave the password out of it"
            )
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
            raise StoreError(f"{url} names no server: write SCHEME://HOST[:PORT][/PATH]")
        if not all("!" <= letter <= "~" for letter in url):
            raise StoreError(
                f"{url!r} has letters that no URL has: write them as %XX, and a name in Punycode"
            )
        self._host, self._path = host, parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = port or (443 if self._tls else 80)
        self._resting, self._why = 0.0, ""

    def exchange(
        self,
        method: str,
        target: str,
        *,
        max_bytes: int,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | None = None,
        repeated: frozenset[int] = frozenset(),
    ) -> Answer:
        """Send a request, and again where the connection fails or the server is busy (429, 503, …).

        target: path and query. max_bytes: of the body of an answer 200; of others only the beginning is read. repeated:
        further statuses after which it is tried again.

        Raises:
            StoreError: no attempt was answered in time, or the answer is too large.
        """
        if time.monotonic() < self._resting:
            raise StoreError(self._why)
        pause, last = self.patience.pause, self.patience.attempts - 1
        for attempt in range(self.patience.attempts):
            wait = pause
            try:
                answer = self._attempt(method, target, headers, body, max_bytes)
            # A name that no host can have, and headers that cannot be read, are ValueErrors.
            except (OSError, HTTPException, ValueError) as error:
                if attempt == last:
                    raise self._given_up(error) from error
            else:
                if answer.status not in _BUSY | repeated or attempt == last:
                    return answer
                wait = _asked_for(answer, pause)
            time.sleep(min(wait, self.patience.max_pause))
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _attempt(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Answer:
        kind = HTTPSConnection if self._tls else HTTPConnection
        connection = kind(self._host, self._port)
        connection.sock = self._connected()
        try:
            with _ended_after(connection.sock, self.patience.seconds):
                if isinstance(connection.sock, ssl.SSLSocket):
                    connection.sock.do_handshake()
                connection.request(method, self._path + target, body, {**_ALWAYS, **headers})
                response = connection.getresponse()
                limit = max_bytes if response.status == 200 else _MESSAGE_BYTES
                data = _read(response, limit + 1)
        finally:
            connection.close()
        named = {name.lower(): value for name, value in response.getheaders()}
        if response.status == 200:
            if len(data) > limit:
                raise StoreError(f"{self.url} answered with more than {limit} bytes; name another store")
            expected = named.get("content-length", "")
            if expected.isdecimal() and (len(expected) > _DIGITS or len(data) < int(expected)):
                raise HTTPException(f"the answer ended after {len(data)} of {expected[:20]} bytes")
        return Answer(response.status, data[:limit], named)

    def _connected(self) -> socket.socket:
        try:
            plain = socket.create_connection((self._host, self._port), timeout=self.patience.seconds)
        except OSError as error:
            raise _Unconnected(str(error)) from error
        if self._tls is None:
            return plain
        return self._tls.wrap_socket(plain, server_hostname=self._host, do_handshake_on_connect=False)

    def _given_up(self, error: Exception) -> StoreError:
        self._why = (
            f"{self.url} did not answer in {self.patience.attempts} attempts: {error or type(error).__name__}; try "
            "later, or name another store"
        )
        if isinstance(error, _Unconnected | TimeoutError):
            self._resting = time.monotonic() + self.patience.rest
        return StoreError(self._why)


class _Unconnected(OSError):
    """There is no connection to the server."""


@contextlib.contextmanager
def _ended_after(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Whatever a server sends, however slowly: after so many seconds its connection ends, and with it every read."""
    ended = threading.Event()

    def end() -> None:
        ended.set()
        with contextlib.suppress(OSError):
            # Below TLS: the reading thread may be within it.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException) as error:
        if ended.is_set():
            raise TimeoutError(f"nothing complete came within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()
    if ended.is_set():
        raise TimeoutError(f"nothing complete came within {seconds:g} s")


def _read(response: HTTPResponse, size: int) -> bytes:
    """At most so many bytes, and what came if the connection ends before.

    Part by part: a chunk of negative length makes `read` take all that comes, however much.
    """
    data = bytearray()
    while len(data) < size and (part := response.read1(size - len(data))):
        data += part
    return bytes(data[:size])


def _asked_for(answer: Answer, pause: float) -> float:
    """Seconds to wait: `Retry-After` if it is a number, at least the pause."""
    asked = answer.headers.get("retry-after", "")
    return max(pause, float(asked)) if asked.isdecimal() else pause
