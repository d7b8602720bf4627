"""`fedvm devnet`: a chain to rehearse on."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from eth_account import Account
from test_cli import call

from fedvm.chain.networks import DEVNET, connect
from fedvm.chain.sender import Sender


@pytest.mark.slow
def test_a_transaction_over_a_chain_with_faults() -> None:
    command = [
        sys.executable,
        "-m",
        "fedvm.cli.entry",
        "devnet",
        "--port=0",
        "--speed=600",
        "--faults=0.2",
        "--json",
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them ignore SIGINT, and what they start too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("}"):
                    break
            told = json.loads("".join(lines))
            assert len(told["accounts"]) == 4
            account, other = (Account.from_key(entry["key"]) for entry in told["accounts"][:2])
            assert account.address == told["accounts"][0]["address"]
            w3 = connect(told["rpc"], chain_id=told["chain_id"])
            hasty = replace(DEVNET, poll_seconds=0.1)
            receipt = Sender(w3, hasty).send(account, {"to": other.address, "value": 5})
            assert receipt.raw["status"] == 1
            assert w3.eth.get_balance(other.address) == 10**21 + 5
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, error = call(capsys, "devnet", "--port", str(taken.getsockname()[1]))
    assert status == 1
    assert "end what listens there, or choose another one" in " ".join(error.split())


@pytest.mark.parametrize("flag, words", [
    ("--block-time=0", "1 to 3600 seconds"), ("--speed=0", "more than 0"), ("--speed=nan", "more than 0"),
    ("--faults=1", "0 to 0.9"), ("--null-rounds=-1", "0 to 0.9"), ("--accounts=1000", "1 to 256"),
])  # fmt: skip
def test_terms_that_no_chain_has(capsys: pytest.CaptureFixture[str], flag: str, words: str) -> None:
    status, _, error = call(capsys, "devnet", "--port=0", flag)
    assert status == 1
    assert words in " ".join(error.split())
