"""JSON of others, as deep as they like, in answers and replies alike."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedvm.chain.errors import BadAnswer
from fedvm.chain.networks import connect
from fedvm.federation.arrays import VECTOR
from fedvm.federation.errors import CommitmentError, TermsError
from fedvm.federation.replies import read_reply
from fedvm.federation.terms import RECORD, Briefing
from fedvm.jsontext import parse_json

DEEP = "[" * 200_000
"""More than the stack of a process holds, where libraries have raised the interpreter's own limit."""


def test_reads_what_json_says() -> None:
    assert parse_json('{"a": [1, 2.5, null, "ü"], "b": 1' + "0" * 90 + "}") == {
        "a": [1, 2.5, None, "ü"],
        "b": 10**90,
    }
    for broken in (DEEP, '{"a":' * 200_000, "", "{", b"\xff", "[1,]", "1" * 5_000):
        with pytest.raises(ValueError):
            parse_json(broken)


def test_a_reply_cannot_end_the_coordinator() -> None:
    vector = ArrayRecord({VECTOR: Array(np.zeros(1, np.int32))})
    record = ConfigRecord({"member": "0x" + "11" * 20, "update": DEEP, "signature": b""})
    with pytest.raises(CommitmentError, match="cannot be read"):
        read_reply(RecordDict({"arrays": vector, RECORD: record}))


def test_terms_cannot_end_a_client() -> None:
    record = ConfigRecord({"terms": DEEP, "arrays": "arrays", "weighted-by": "n", "remainder": b""})
    with pytest.raises(TermsError, match="cannot be read"):
        Briefing.from_record(record)


class _Deep(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(DEEP)))
        self.end_headers()
        self.wfile.write(DEEP.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def deep_node() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Deep) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_node_cannot_end_who_asks_it(deep_node: str) -> None:
    with pytest.raises(BadAnswer, match="not JSON"):
        connect(deep_node)
