"""A node for tests: the JSON-RPC of an embedded chain over HTTP, so that it is read from addresses alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from web3 import Web3

from fedvm.devnet.embedded import open_chain


@contextmanager
def relayed(run: Path) -> Iterator[str]:
    """The address of a node that answers from the chain in a run's directory."""
    turn = threading.Lock()
    with open_chain(run, read_only=True) as chain:

        class Node(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                several = asked if isinstance(asked, list) else [asked]
                with turn:
                    answers = [
                        {**chain.w3.provider.make_request(one["method"], one["params"]), "id": one["id"]}
                        for one in several
                    ]
                body = Web3.to_json(answers if isinstance(asked, list) else answers[0]).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Node) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()
