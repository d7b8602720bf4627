"""A round of two members on anvil, played as far as its proposal, behind a gateway that can go down."""

from __future__ import annotations

import http.server
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eth_account import Account
from web3 import Web3
from web3.types import RPCEndpoint

import conditions
from fedvm.audit.preimages import PreimageFolder
from fedvm.chain.disputes import DataAnswered, DataDemanded, DisputesContract, Question
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Proposal
from fedvm.evm.keccak import keccak
from fedvm.federation.commitment import Attestation, commit
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import (
    CountedUpdate,
    Domain,
    aggregation_tree,
    model_root,
    model_tree,
    to_bytes,
)
from fedvm.protocol.preimages import of_vector
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


def propose(path: Path, w3: Web3, gateway: Gateway, *, wrong_by: int = 0) -> Proposed:
    """Play a round of two members as far as its proposal. wrong_by: what is added to the proposed model's last
    parameter; the wrong model's preimages are in `preimages/`, as an honest coordinator publishes them."""
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
    model[-1] += wrong_by
    published = {keccak(one): one for one in of_vector(model_tree(model))}
    PreimageFolder(path / "preimages").write(published)
    roots = (tree.root, tree.top.sums.root, model_root(model))
    contract.propose(
        COORDINATOR, 1, Proposal(premises_of(contract), *roots, Cid.parse(store.put(to_bytes(model))).binary)
    )
    place = ChainRef("rpc", gateway.url)
    Deployment(place, w3.eth.chain_id, federation=contract.address, block=receipt.block_number).save(path)
    return Proposed(path, w3, contract, roots, gateway)
