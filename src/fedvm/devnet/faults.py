"""A proxy before an RPC node that does to its clients what networks and gateways do to theirs.

Each request meets one fault of a kind, or none. What happens follows from a seed and the order of requests, so a run
with one client can be repeated.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

from fedvm.jsontext import parse_json


class Fault(Enum):
    """What can happen to a request."""

    DROPPED_BEFORE = "the connection breaks before the node hears the request"
    DROPPED_AFTER = "the node does what is asked, and the connection breaks before the answer"
    DELAYED = "the answer comes late"
    DUPLICATED = "the node gets the request twice"
    LIMITED = "HTTP 429 with Retry-After"
    LIMITED_IN_JSON = "an error of JSON-RPC says that requests are limited"
    BUSY_BEFORE = "HTTP 502, 503 or 504 without the node hearing the request"
    BUSY_AFTER = "HTTP 502, 503 or 504 though the node did what was asked"
    TRUNCATED = "the answer is cut short"
    NO_JSON = "a page of a gateway instead of an answer"
    HALF_CLOSED = "the connection is closed behind the answer without saying so"
    LAGGING = "another node answers, which has not seen the last blocks yet"
    REORGANISED = "the last blocks leave the chain"


ALL_FAULTS: Final = tuple(Fault)
_BUSY: Final = (502, 503, 504)
_LAGGING: Final[dict[str, Callable[[Any], Any]]] = {
    "eth_getTransactionReceipt": lambda _: None,
    "eth_getTransactionByHash": lambda _: None,
    "eth_getTransactionCount": lambda seen: hex(max(int(seen, 16) - 1, 0)),
}
"""Method → what a node says that lags behind; of the others, what they say hardly differs."""


@dataclass
class FaultPlan:
    """Which request meets what. share: probability of a fault; kinds: among which one is drawn; late: seconds of a
    delay at most; depth: blocks that a reorganisation undoes at most; retry_after: what a gateway asks for, seconds;
    reorganise: makes the chain do it, and returns how many blocks left; without it there are none. Counts what it did
    in ``injected``."""

    share: float
    seed: int = 0
    kinds: tuple[Fault, ...] = ALL_FAULTS
    late: float = 0.5
    depth: int = 3
    retry_after: int = 1
    reorganise: Callable[[int], int] | None = None
    injected: Counter[Fault] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()
        if self.reorganise is None:
            self.kinds = tuple(kind for kind in self.kinds if kind is not Fault.REORGANISED)

    def draw(self, method: str) -> Fault | None:
        """The fault of the next request, counted."""
        with self._lock:
            if not self.kinds or self._random.random() >= self.share:
                return None
            fault = self._random.choice(self.kinds)
            if fault is Fault.LAGGING and method not in _LAGGING:
                return None
            if fault is Fault.REORGANISED:
                undone = self.reorganise(self._random.randint(1, self.depth)) if self.reorganise else 0
                if not undone:
                    return None
            self.injected[fault] += 1
            return fault

    def busy(self) -> int:
        with self._lock:
            return self._random.choice(_BUSY)

    def delay(self) -> float:
        with self._lock:
            return self._random.uniform(0, self.late)


class FaultyProxy:
    """Passes JSON-RPC on to the node at ``upstream`` (http), and does what a plan says. A context manager."""

    def __init__(self, upstream: str, plan: FaultPlan, *, port: int = 0) -> None:
        self.plan = plan
        parts = urlsplit(upstream)
        self._path = parts.path or "/"
        handler = type(
            "FaultyHandler", (_Handler,), {"plan": plan, "host": parts.netloc, "upstream_path": self._path}
        )
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    plan: FaultPlan
    host: str
    upstream_path: str

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(60)
        self._node: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        if self._node is not None:
            self._node.close()
        super().finish()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            request = parse_json(body)
        except ValueError:
            request = None
        method = str(request.get("method", "")) if isinstance(request, dict) else ""
        self._meet(self.plan.draw(method), method, body, request)

    def _meet(self, fault: Fault | None, method: str, body: bytes, request: Any) -> None:
        match fault:
            case Fault.DROPPED_BEFORE:
                self._break()
            case Fault.DROPPED_AFTER:
                self._ask(body)
                self._break()
            case Fault.LIMITED:
                self._send(429, b"too many requests", {"Retry-After": str(self.plan.retry_after)})
            case Fault.LIMITED_IN_JSON:
                self._send(200, _error(request, -32005, "daily request count exceeded, request rate limited"))
            case Fault.BUSY_BEFORE:
                self._send(self.plan.busy(), b"upstream is busy")
            case Fault.BUSY_AFTER:
                self._ask(body)
                self._send(self.plan.busy(), b"upstream timed out")
            case Fault.NO_JSON:
                self._send(200, b"<html><body>Checking your browser</body></html>")
            case Fault.TRUNCATED:
                self._send(*self._ask(body), cut=True)
            case Fault.HALF_CLOSED:
                self._send(*self._ask(body))
                self._shut()
            case Fault.LAGGING:
                self._send(200, _lagging(method, self._ask(body)[1]))
            case Fault.DUPLICATED:
                self._ask(body)
                self._send(*self._ask(body))
            case Fault.DELAYED:
                time.sleep(self.plan.delay())
                self._send(*self._ask(body))
            case _:
                self._send(*self._ask(body))

    def _ask(self, body: bytes) -> tuple[int, bytes]:
        """The node's own answer."""
        for attempt in range(2):
            node = self._node or http.client.HTTPConnection(self.host, timeout=120)
            self._node = node
            try:
                node.request("POST", self.upstream_path, body, {"Content-Type": "application/json"})
                answer = node.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                node.close()
                self._node = None
                if attempt:
                    raise
        raise AssertionError("unreachable")

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._shut()

    def _shut(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        self.close_connection = True

    def _break(self) -> None:
        # A reset, as from a machine that is gone, instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def _error(request: Any, code: int, message: str) -> bytes:
    number = request.get("id") if isinstance(request, dict) else None
    return json.dumps({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}).encode()


def _lagging(method: str, body: bytes) -> bytes:
    answer = parse_json(body)
    if "result" in answer:
        answer["result"] = _LAGGING[method](answer["result"])
    return json.dumps(answer).encode()
