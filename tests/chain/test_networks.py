"""Connecting and sending: what is checked, and what happens when a node misbehaves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from eth_account import Account
from handmade import COUNTER, REVERT_WITH_CALLDATA, init_code
from web3 import Web3

from fedvm.chain.errors import ChainMismatch, NetworkError, TransactionFailed
from fedvm.chain.networks import ANVIL, CALIBRATION, EMBEDDED, connect, find_network, network_of, page
from fedvm.chain.sender import Sender
from fedvm.devnet.embedded import EmbeddedChain

FUNDED = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")


def rich_account(w3: Web3) -> Any:
    account = Account.create()
    w3.provider.make_request("anvil_setBalance", [account.address, hex(10**21)])  # type: ignore[arg-type]
    return account


def test_networks_are_told_apart(chain: EmbeddedChain, anvil: Web3) -> None:
    assert network_of(chain.w3) is EMBEDDED
    assert network_of(anvil) is ANVIL
    assert find_network("filecoin-calibration") is CALIBRATION
    assert CALIBRATION.is_filecoin
    assert not EMBEDDED.is_filecoin
    with pytest.raises(NetworkError, match="embedded, anvil, devnet, filecoin-calibration, filecoin"):
        find_network("ropsten")


def test_logs_are_paged() -> None:
    assert page(CALIBRATION, 0, 5760) == [(0, 2879), (2880, 5759), (5760, 5760)]
    assert page(EMBEDDED, 0, 5760) == [(0, 5760)]
    assert page(EMBEDDED, 5, 4) == []


@pytest.mark.parametrize("url", ["127.0.0.1:8545", "ftp://127.0.0.1", "http://", ""])
def test_a_malformed_address(url: str) -> None:
    with pytest.raises(NetworkError, match="RPC address"):
        connect(url)


def test_nobody_listens_and_the_url_keeps_its_secret() -> None:
    with pytest.raises(NetworkError) as raised:
        connect("http://user:hunter2@127.0.0.1:1/rpc/v1?token=s3cret", timeout=2)
    assert "127.0.0.1:1/rpc/v1" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_the_wrong_chain(anvil_url: str) -> None:
    with pytest.raises(ChainMismatch, match=r"is chain 31337, wanted 314159"):
        connect(anvil_url, chain_id=314159)


def test_sends_on_anvil(anvil: Web3) -> None:
    account = rich_account(anvil)
    sender = Sender(anvil)
    counter = sender.send(account, {"data": init_code(COUNTER)}, action="counter").contract_address
    for value in (1, 2):
        receipt = sender.send(account, {"to": counter})
        assert int.from_bytes(receipt.raw["logs"][0]["data"], "big") == value
    sent = anvil.eth.get_transaction(receipt.raw["transactionHash"])
    assert (sent["type"], sent["accessList"]) == (2, [])


def test_reverts_before_sending_and_after(anvil: Web3) -> None:
    account = rich_account(anvil)
    sender = Sender(anvil)
    thrower = sender.send(account, {"data": init_code(REVERT_WITH_CALLDATA)}).contract_address
    nonce = anvil.eth.get_transaction_count(account.address)
    with pytest.raises(TransactionFailed, match="0xdeadbeef") as raised:
        sender.send(account, {"to": thrower, "data": "0xdeadbeef"}, action="throwing")
    assert raised.value.tx_hash is None
    assert anvil.eth.get_transaction_count(account.address) == nonce
    with pytest.raises(TransactionFailed, match=r"throwing failed.*0xdeadbeef.*transaction 0x") as raised:
        sender.send(account, {"to": thrower, "data": "0xdeadbeef", "gas": 100_000}, action="throwing")
    assert raised.value.data == bytes.fromhex("deadbeef")
    with pytest.raises(TransactionFailed, match="out of gas"):
        sender.send(account, {"data": init_code(COUNTER), "gas": 56_000})


def test_without_funds(anvil: Web3) -> None:
    with pytest.raises(NetworkError, match=r"holds 0 ETH on local anvil.*are needed"):
        Sender(anvil).send(Account.create(), {"to": FUNDED.address})


def test_replaces_what_hangs_and_finds_it_under_any_hash(anvil_url: str, anvil: Web3) -> None:
    """anvil stops mining until the second attempt has come; the replacement, or the original, lands with one nonce."""
    account = rich_account(anvil)
    usual_tip = anvil.eth.max_priority_fee
    hasty = replace(ANVIL, resubmit_seconds=0.5, poll_seconds=0.05, receipt_timeout_seconds=20)

    def mine_when_replaced() -> None:
        for _ in range(300):
            pool = anvil.provider.make_request("txpool_content", [])["result"]["pending"]  # type: ignore[arg-type]
            waiting = [transaction for own in pool.values() for transaction in own.values()]
            if any(int(one["maxPriorityFeePerGas"], 16) >= 1.25 * usual_tip for one in waiting):
                break
            time.sleep(0.05)
        anvil.provider.make_request("evm_mine", [])  # type: ignore[arg-type]

    anvil.provider.make_request("evm_setAutomine", [False])  # type: ignore[arg-type]
    try:
        mine = threading.Thread(target=mine_when_replaced)
        mine.start()
        receipt = Sender(connect(anvil_url), hasty).send(account, {"to": FUNDED.address, "value": 7})
        mine.join()
    finally:
        anvil.provider.make_request("evm_setAutomine", [True])  # type: ignore[arg-type]
    assert receipt.block_number == anvil.eth.block_number
    assert anvil.eth.get_transaction_count(account.address) == 1
    tip = anvil.eth.get_transaction(receipt.raw["transactionHash"])["maxPriorityFeePerGas"]
    assert tip >= 1.25 * usual_tip


def test_gives_up_and_names_the_hashes(anvil_url: str, anvil: Web3) -> None:
    account = rich_account(anvil)
    hasty = replace(ANVIL, resubmit_seconds=0.2, poll_seconds=0.05, receipt_timeout_seconds=0.6)
    anvil.provider.make_request("evm_setAutomine", [False])  # type: ignore[arg-type]
    try:
        with pytest.raises(NetworkError, match=r"may still land as 0x\w+, 0x\w+, 0x\w+"):
            Sender(connect(anvil_url), hasty).send(account, {"to": FUNDED.address})
    finally:
        anvil.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
        anvil.provider.make_request("evm_setAutomine", [True])  # type: ignore[arg-type]


class Gateway(BaseHTTPRequestHandler):
    """Passes requests on to a node, and fails the receipts' first ones as an overloaded gateway does."""

    upstream: Web3
    failures: int

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = type(self)
        if request["method"] == "eth_getTransactionReceipt" and kind.failures > 0:
            kind.failures -= 1
            self._answer(503, b"busy")
            return
        answer = dict(kind.upstream.provider.make_request(request["method"], request["params"]))
        answer["id"] = request["id"]
        self._answer(200, json.dumps(answer).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def flaky_gateway(anvil: Web3) -> Iterator[str]:
    handler = type("FlakyGateway", (Gateway,), {"upstream": anvil, "failures": 3})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_survives_a_gateway_that_fails_now_and_then(flaky_gateway: str, anvil: Web3) -> None:
    account = rich_account(anvil)
    receipt = Sender(connect(flaky_gateway)).send(account, {"to": FUNDED.address, "value": 1})
    assert anvil.eth.get_transaction_count(account.address) == 1
    assert receipt.gas_used == 21_000
