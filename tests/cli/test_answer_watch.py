"""`fedvm answer --watch` over JSON-RPC, on anvil: in time, through an outage, and until it is told to stop."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from eth_account import Account
from web3 import Web3
from web3.types import RPCEndpoint

import conditions
from fedvm.chain.disputes import DataAnswered, DataDemanded, DisputesContract, Question
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Proposal
from fedvm.chain.networks import connect
from fedvm.federation.commitment import Attestation, commit
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import (
    CountedUpdate,
    Domain,
    aggregation_tree,
    model_root,
    to_bytes,
)
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.store import Cid, ContentStore
from premises import premises_of

# Both are public: anvil's accounts 0 and 1.
COORDINATOR = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
CHALLENGER = Account.from_key("0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
ELEMENTS = 130
RULES = conditions.rules(elements=ELEMENTS, min_clients=1)
SECURITY = conditions.security(challenge_seconds=3600, answer_seconds=60)
SECONDS = 60
"""Longest wait for anything; a machine at work takes its time."""


class Gateway(http.server.ThreadingHTTPServer):
    """A JSON-RPC endpoint in front of another, which hangs up on everybody while it is down."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.behind, self.down = behind, False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Forward(http.server.BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.down:
            self.close_connection = True
            return
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.server.behind, body, headers)) as answer:
            content = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@dataclass
class Proposed:
    """A proposal on a network, whose coordinator reaches it through a gateway from the directory `path`."""

    path: Path
    w3: Web3
    contract: FederationContract
    roots: tuple[bytes, bytes, bytes]
    gateway: Gateway

    @property
    def disputes(self) -> DisputesContract:
        return DisputesContract(self.w3, self.contract.disputes())

    def demand(self, root: bytes) -> int:
        """Demand a root's preimage; returns the Unix second at which it is due."""
        self.disputes.demand(CHALLENGER, 1, Question(root, (), 1))
        (event,) = [one for one in self.disputes.events([DataDemanded]) if bytes(one.hash) == root]
        assert isinstance(event, DataDemanded)
        return event.due

    def let_pass(self, seconds: int) -> None:
        for method, given in (("evm_increaseTime", [seconds]), ("evm_mine", [])):
            self.w3.provider.make_request(RPCEndpoint(method), given)

    def answered_at(self, root: bytes) -> int:
        """Wait for the answer; returns the Unix second of its block."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for one in self.disputes.events([DataAnswered]):
                if bytes(one.hash) == root:
                    return int(self.w3.eth.get_block(one.at.block_number)["timestamp"])
            time.sleep(0.1)
        raise AssertionError("nobody answered")


@pytest.fixture
def proposed(tmp_path: Path, start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[Proposed]:
    with start_anvil() as url:
        gateway = Gateway(url)
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        try:
            yield propose(tmp_path, connect(url), gateway)
        finally:
            gateway.shutdown()
            gateway.server_close()


def propose(path: Path, w3: Web3, gateway: Gateway) -> Proposed:
    """Play a round of two members as far as its proposal."""
    store, base = ContentStore(path / "store"), np.arange(ELEMENTS, dtype=np.int32)
    members = [Account.create() for _ in range(2)]
    contract, receipt = FederationContract.deploy(
        w3,
        COORDINATOR,
        coordinator=COORDINATOR.address,
        rules=RULES,
        security=SECURITY,
        members=[member.address for member in members],
        model_root=model_root(base),
        model_cid=Cid.parse(store.put(to_bytes(base))).binary,
    )
    opened, _ = contract.open_round(COORDINATOR)
    terms = RoundTerms(Domain(w3.eth.chain_id, contract.address), 1, RULES, model_root(base), opened.deadline)
    vectors, submissions = {}, []
    for index, member in enumerate(members):
        vector = np.full(ELEMENTS, 10 + index, dtype=np.int32)
        signed = commit(vector, terms, Attestation(10, 0.5, 1.0), member.key.hex())
        store.put(to_bytes(vector))
        vectors[member.address] = vector
        submissions.append(signed.submission)
    accepted = contract.submit(COORDINATOR, 1, submissions).accepted
    tree = aggregation_tree([CountedUpdate(one.commitment, vectors[one.member]) for one in accepted])
    model = (base + tree.top.sums.vector // tree.top.weight).astype(np.int32)
    roots = (tree.root, tree.top.sums.root, model_root(model))
    contract.propose(
        COORDINATOR, 1, Proposal(premises_of(contract), *roots, Cid.parse(store.put(to_bytes(model))).binary)
    )
    place = ChainRef("rpc", gateway.url)
    Deployment(place, w3.eth.chain_id, federation=contract.address, block=receipt.block_number).save(path)
    return Proposed(path, w3, contract, roots, gateway)


class Watching:
    """A running `fedvm answer --watch`, and what it has said on standard error so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.said = process, ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def until(self, text: str) -> None:
        deadline = time.monotonic() + SECONDS
        while text not in self.said:
            assert time.monotonic() < deadline and self.process.poll() is None, self.said
            time.sleep(0.05)

    def ends_with(self) -> int:
        status = self.process.wait(timeout=SECONDS)
        self._listener.join()
        return status


@contextmanager
def watching(path: Path) -> Iterator[Watching]:
    command = [sys.executable, "-c", "from fedvm.cli import main; main()", "answer", "--run", str(path)]
    environment = {**os.environ, "PRIVATE_KEY": "0x" + COORDINATOR.key.hex().removeprefix("0x")}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, "--watch", "--every", "0.2"],
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=environment,
        # A shell that starts the tests in the background has them ignore SIGINT, and what they start too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            watched = Watching(process)
            watched.until("Watching the proposal of round 1")
            yield watched
        finally:
            process.kill()


def test_it_answers_in_time_outlasts_an_outage_and_ends_when_told(proposed: Proposed) -> None:
    with watching(proposed.path) as watched:
        due = proposed.demand(proposed.roots[0])
        assert proposed.answered_at(proposed.roots[0]) < due

        proposed.gateway.down = True
        due = proposed.demand(proposed.roots[1])
        watched.until("asking again")
        assert "ConnectionError" in watched.said and watched.process.poll() is None
        proposed.gateway.down = False
        watched.until("answers again")
        assert proposed.answered_at(proposed.roots[1]) < due

        watched.process.send_signal(signal.SIGINT)
        assert watched.ends_with() == 130
        said = " ".join(watched.said.split())
        assert "Interrupted. Round 1: 2 questions answered, 0 open." in said
        assert "fedvm answer --run" in said and "Traceback" not in said


def test_it_ends_by_itself_when_the_proposal_is_final(proposed: Proposed) -> None:
    with watching(proposed.path) as watched:
        proposed.let_pass(SECURITY.challenge_seconds + 1)
        proposed.contract.finalize_round(CHALLENGER, 1)
        assert watched.ends_with() == 0
        assert watched.process.stdout is not None
        assert "Round 1: 0 questions answered, 0" in watched.process.stdout.read()


def test_it_tells_of_what_it_cannot_answer_and_that_the_proposal_fell_for_it(proposed: Proposed) -> None:
    for file in (proposed.path / "store").iterdir():
        file.unlink()
    with watching(proposed.path) as watched:
        proposed.demand(proposed.roots[2])
        watched.until("Questions that the store cannot answer: 1.")
        proposed.let_pass(SECURITY.challenge_seconds + SECURITY.answer_seconds + 1)
        proposed.disputes.reject_unanswered(CHALLENGER, 1, proposed.roots[2], 1)
        assert watched.ends_with() == 1
        assert "The proposal of round 1 has fallen" in watched.said
