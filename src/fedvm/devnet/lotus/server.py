"""The local chain of tipsets behind HTTP on the loopback, with epochs that pass by themselves."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final

from fedvm.devnet.lotus.chain import TipsetChain
from fedvm.devnet.lotus.rpc import LotusRpc
from fedvm.jsontext import parse_json

RPC_PATHS: Final = ("/rpc/v1", "/")
MAX_REQUEST_BYTES: Final = 5 << 20


class LotusServer:
    """Serves a chain at ``url`` while the context lasts. ``epoch_seconds``: time that an epoch takes by the clock on
    the wall; 0: epochs pass only when `fedvm_advance` is called. ``port`` 0 takes a free one.

    Raises OSError if the port is taken.
    """

    def __init__(
        self, chain: TipsetChain, *, epoch_seconds: float, port: int = 0, rpc: LotusRpc | None = None
    ) -> None:
        self.chain = chain
        self._epoch_seconds = epoch_seconds
        handler = type("LotusHandler", (_Handler,), {"rpc": rpc or LotusRpc(chain)})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)]
        if epoch_seconds > 0:
            self._threads.append(threading.Thread(target=self._tick, daemon=True))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/rpc/v1"

    def __enter__(self) -> LotusServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def _tick(self) -> None:
        while not self._stopped.wait(self._epoch_seconds):
            self.chain.tick()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rpc: LotusRpc

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(60)

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if self.path not in RPC_PATHS or not size.isdecimal() or int(size) > MAX_REQUEST_BYTES:
            self.close_connection = True
            self._answer(
                404 if self.path not in RPC_PATHS else 413, {"error": f"POST JSON-RPC to {RPC_PATHS[0]}"}
            )
            return
        try:
            request = parse_json(self.rfile.read(int(size)))
        except ValueError:
            self._answer(
                400, {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "not JSON"}}
            )
            return
        answer: Any = (
            [self.rpc.answer(one) for one in request]
            if isinstance(request, list)
            else self.rpc.answer(request)
        )
        self._answer(200, answer)

    def _answer(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""
