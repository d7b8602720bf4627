"""Requests over nodes and gateways that fail: what is tried again, for how long, and what is said in the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from web3 import Web3
from web3.types import RPCEndpoint

from fedvm.chain.errors import NetworkError
from fedvm.chain.networks import connect
from fedvm.chain.refusals import Refusal, advised, refusal_of
from fedvm.chain.transport import Patience, PatientProvider
from fedvm.devnet.faults import ALL_FAULTS, Fault, FaultPlan, FaultyProxy

QUICK = Patience(first=0.001, most=0.01, total=5, asked=1.2)
Answer = tuple[int, dict[str, str], Any]


@contextmanager
def gateway(answers: list[Answer]) -> Iterator[tuple[str, list[str]]]:
    """A node that gives these answers, then 0x5 for ever; its URL and the methods it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(request["method"])
            status, headers, body = answers.pop(0) if answers else (200, {}, {"result": "0x5"})
            text = (
                json.dumps({"jsonrpc": "2.0", "id": request["id"], **body})
                if isinstance(body, dict)
                else body
            )
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/key", asked
        server.shutdown()


def block_number(url: str, patience: Patience = QUICK, tell: Callable[[str], None] | None = None) -> int:
    return int(Web3(PatientProvider(url, patience, tell=tell)).eth.block_number)


@pytest.mark.parametrize("answer", [
    (503, {}, "busy"),
    (429, {}, "slow down"),
    (502, {}, "<html>"),
    (200, {}, "<html>checking your browser"),
    (200, {}, ""),
    (200, {}, {"error": {"code": -32005, "message": "daily request count exceeded"}}),
    (200, {}, {"error": {"code": 429, "message": "Too Many Requests"}}),
])  # fmt: skip
def test_what_may_pass_is_asked_again(answer: Answer) -> None:
    with gateway([answer, answer]) as (url, asked):
        assert block_number(url) == 5
    assert asked == ["eth_blockNumber"] * 3


def test_retry_after_in_seconds_and_as_a_date() -> None:
    for text, least in (("1", 0.9), (formatdate(time.time() + 3, usegmt=True), 1.0), ("soon", 0.0)):
        told: list[str] = []
        with gateway([(429, {"Retry-After": text}, "")]) as (url, _):
            begun = time.monotonic()
            assert block_number(url, tell=told.append) == 5
            assert time.monotonic() - begun >= least
        assert "HTTP status 429; asking again in" in told[0]


def test_patience_ends_with_a_sentence_that_keeps_secrets() -> None:
    with gateway([(503, {}, "busy")] * 1000) as (url, _), pytest.raises(NetworkError) as raised:
        block_number(
            url.replace("http://", "http://user:hunter2@") + "?token=s3cret", Patience(0.001, 0.01, 0.2)
        )
    assert "has not answered eth_blockNumber for 0 s (HTTP status 503); nothing is lost" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("answer", [(401, {}, "who are you"), (404, {}, "no such path")])
def test_what_does_not_pass_is_said_at_once(answer: Answer) -> None:
    with gateway([answer]) as (url, asked), pytest.raises(requests.HTTPError):
        block_number(url)
    assert len(asked) == 1


def test_an_error_about_ranges_is_an_answer() -> None:
    body = {"error": {"code": -32005, "message": "block range exceeds maximum of 2880 (got 5000)"}}
    with gateway([(200, {}, body)]) as (url, asked):
        answer = PatientProvider(url, QUICK).make_request(RPCEndpoint("eth_getLogs"), [{}])
    assert answer["error"]["message"].startswith("block range")
    assert len(asked) == 1


def test_what_acts_each_time_is_asked_once() -> None:
    with gateway([(503, {}, "busy")]) as (url, asked), pytest.raises(requests.HTTPError):
        PatientProvider(url, QUICK).make_request(RPCEndpoint("evm_mine"), [])
    assert asked == ["evm_mine"]


@pytest.mark.parametrize("fault", [f for f in ALL_FAULTS if f not in (Fault.REORGANISED, Fault.LAGGING)])
def test_every_fault_of_the_proxy_is_survived(fault: Fault) -> None:
    with gateway([]) as (url, asked):
        plan = FaultPlan(0.0, seed=3, kinds=(fault,), late=0.01, retry_after=0)
        with FaultyProxy(url, plan) as proxy:
            w3 = connect(proxy.url, patience=QUICK)
            plan.share = 0.6
            assert [int(w3.eth.block_number) for _ in range(12)] == [5] * 12
    assert plan.injected[fault] >= 5
    heard = len(asked) - 1  # beside the chain id
    unheard = (
        Fault.DROPPED_BEFORE,
        Fault.LIMITED,
        Fault.LIMITED_IN_JSON,
        Fault.BUSY_BEFORE,
        Fault.NO_JSON,
        Fault.DELAYED,
        Fault.HALF_CLOSED,
    )
    assert heard == 12 if fault in unheard else heard > 12


def test_a_lagging_node_has_not_seen_the_last_receipt() -> None:
    receipt = {"result": {"status": "0x1"}}
    with gateway([(200, {}, {"result": "0x1"}), (200, {}, receipt), (200, {}, {"result": "0x9"})]) as (
        url,
        _,
    ):
        plan = FaultPlan(0.0, kinds=(Fault.LAGGING,))
        with FaultyProxy(url, plan) as proxy:
            provider: Any = connect(proxy.url, patience=QUICK).provider
            plan.share = 1.0
            assert provider.make_request("eth_getTransactionReceipt", ["0x" + "11" * 32])["result"] is None
            assert provider.make_request("eth_getTransactionCount", ["0x" + "11" * 20])["result"] == "0x8"


@pytest.mark.parametrize("message, refusal", [
    ("mpool push: failed to push message: message from f410f with nonce 3 already in mpool: message with nonce already "
     "exists", Refusal.KNOWN),
    ("already known", Refusal.KNOWN),
    ("message from f410f with nonce 3 already in mpool, increase GasPremium to 5 from 4 to trigger replace by fee: "
     "replace by fee has too low GasPremium", Refusal.UNDERPRICED),
    ("replacement transaction underpriced", Refusal.UNDERPRICED),
    ("minimum expected nonce is 4: message nonce too low", Refusal.NONCE_USED),
    ("nonce too low: next nonce 4, tx nonce 3", Refusal.NONCE_USED),
    ("message nonce has too big a gap from expected nonce (Nonce: 9, nextNonce: 3): unfulfilled nonce gap",
     Refusal.NONCE_GAP),
    ("too many pending messages for actor", Refusal.POOL_FULL),
    ("not enough funds (required: 5, balance: 3): not enough funds to execute transaction", Refusal.FUNDS),
    ("insufficient funds for gas * price + value", Refusal.FUNDS),
    ("gas fee cap too low", Refusal.FEE_TOO_LOW),
    ("max fee per gas less than block base fee", Refusal.FEE_TOO_LOW),
    ("signature verification failed", Refusal.OTHER),
])  # fmt: skip
def test_refusals_of_lotus_geth_and_anvil(message: str, refusal: Refusal) -> None:
    assert refusal_of(message) is refusal
    assert (advised(message) == message) == (refusal in (Refusal.OTHER, Refusal.KNOWN))
