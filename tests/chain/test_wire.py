"""How many requests go over the wire: each costs a network's round trip, and providers count them."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from eth_account import Account
from setup_federation import BASE, RULES, some_cid

import conditions
from fedvm.chain.federation import FederationContract
from fedvm.chain.networks import connect
from fedvm.protocol import model_root

# Public: anvil's account 0.
OWNER = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")


class Counting(http.server.ThreadingHTTPServer):
    """A JSON-RPC endpoint in front of another, which keeps the methods that were asked for."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.behind = behind
        self.methods: list[str] = []


class _Forward(http.server.BaseHTTPRequestHandler):
    server: Counting

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.methods.append(json.loads(body)["method"])
        request = urllib.request.Request(self.server.behind, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            reply = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway(anvil_url: str) -> Iterator[Counting]:
    with Counting(anvil_url) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_read_of_a_contract_is_one_request(gateway: Counting) -> None:
    w3 = connect(f"http://127.0.0.1:{gateway.server_address[1]}")
    contract, _ = FederationContract.deploy(
        w3,
        OWNER,
        coordinator=OWNER.address,
        rules=RULES,
        security=conditions.security(),
        members=[Account.create().address for _ in range(RULES.min_clients)],
        model_root=model_root(BASE),
        model_cid=some_cid("model"),
    )
    assert gateway.methods.count("eth_chainId") == 1
    for read in (contract.current_round, contract.model_root, contract.rules, contract.coordinator):
        gateway.methods.clear()
        assert read() is not None
        assert gateway.methods == ["eth_call"]
