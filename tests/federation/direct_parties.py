"""A federation with stakes whose members may submit past its coordinator, and the parties in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

import conditions
from fedvm.audit.replay import audit
from fedvm.chain.direct import DirectSubmissionsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Proposal
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.federation import ChainLedger, Federation
from fedvm.federation.commitment import Attestation, SignedUpdate, commit
from fedvm.federation.coordinator.settlement import Settlement, settle
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import (
    Commitment,
    CountedUpdate,
    model_root,
    sign_update,
    to_bytes,
    weighted_mean,
)
from fedvm.protocol.vector import IntVector
from fedvm.store import Cid, ContentStore
from premises import premises_of

ELEMENTS, MEMBERS, STAKE, POST_FEE = 150, 3, 10**16, 10**15
RULES = conditions.rules(elements=ELEMENTS)
BASE = np.arange(ELEMENTS, dtype=np.int32)


@dataclass
class Parties:
    """A federation with stakes, its coordinator's ledger, and members in ascending order of address.

    meanwhile: called whenever the coordinator waits. block_seconds: by how much a wait is longer than it should be.
    """

    chain: EmbeddedChain
    store: ContentStore
    contract: FederationContract
    count: int
    ledger: ChainLedger = field(init=False)
    meanwhile: Callable[[], None] | None = None
    block_seconds: int = 0

    def __post_init__(self) -> None:
        coordinator = self.chain.account("coordinator")
        self.ledger = ChainLedger(self.contract, coordinator, pass_time=self._pass_time, store=self.store)
        accounts = [self.chain.account("member", index) for index in range(self.count)]
        self.members = sorted(accounts, key=lambda account: int(account.address, 16))

    @property
    def direct(self) -> DirectSubmissionsContract:
        return DirectSubmissionsContract(self.chain.w3, self.contract.direct_submissions())

    def _pass_time(self, seconds: int) -> None:
        until = self.ledger.now() + seconds + self.block_seconds
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        head = self.chain.w3.eth.get_block("latest")
        self.chain.advance_time(max(until - head["timestamp"], 0))

    def signed(self, index: int) -> SignedUpdate:
        opened = self.ledger.round(self.ledger.current_round())
        terms = RoundTerms(
            *(self.ledger.domain, opened.number),
            *(RULES, opened.base_root, opened.deadline),
        )
        vector = np.full(ELEMENTS, 1000 * (index + 1), dtype=np.int32)
        key = self.members[index].key.hex()
        return commit(vector, terms, Attestation(10 * (index + 1), 0.5, 1.0), key)

    def relay_and_settle(self, indices: list[int], form: Literal["auto", "rollup"] = "auto") -> Settlement:
        opened = self.ledger.round(self.ledger.current_round())
        relayed = [self.signed(index) for index in indices]
        for one in relayed:
            self.store.put(to_bytes(one.vector))
        federation = Federation(self.ledger, self.store, submission=form)
        return settle(federation, opened, BASE, [one.submission for one in relayed])

    def mean_of(self, indices: list[int]) -> IntVector:
        signed = [self.signed(index) for index in indices]
        return weighted_mean(
            BASE,
            [
                CountedUpdate(Commitment(one.member, one.update.examples, bytes(32), 0), one.vector)
                for one in signed
            ],
        ).model

    def audit_holds(self) -> bool:
        report = audit(self.chain.w3, self.store, federation=self.contract.address, service=None)
        return not report.findings and report.passed["aggregate"] == 1


@contextmanager
def federation_of(tmp_path: Path, members: int, open_seconds: int = 0) -> Iterator[Parties]:
    with open_chain(tmp_path, seed=3, create=True) as chain:
        store = ContentStore(tmp_path / "store")
        contract, _ = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=RULES,
            security=conditions.security(
                stake=STAKE, bond=10**15, post_fee=POST_FEE, open_seconds=open_seconds
            ),
            members=[chain.account("member", index).address for index in range(members)],
            model_root=model_root(BASE),
            model_cid=Cid.parse(store.put(to_bytes(BASE))).binary,
        )
        for index in range(members):
            contract.stake(STAKE).send(chain.account("member", index))
        made = Parties(chain, store, contract, members)
        made.ledger.open_round()
        yield made


def false_norm(parties: Parties, index: int) -> SignedUpdate:
    """The update of a member that signs another Σd² than its tree has; root, CID and vector are right."""
    honest = parties.signed(index)
    update = replace(honest.update, sum_squares=honest.update.sum_squares - 1)
    signature = sign_update(update, parties.ledger.domain, parties.members[index].key)
    return replace(honest, update=update, signature=signature)


def some_proposal(parties: Parties) -> Proposal:
    """Over what the round holds, of roots that are true of nothing."""
    cid = b"\1\x55\x12\x20" + bytes(32)
    return Proposal(premises_of(parties.contract), b"\1" * 32, b"\2" * 32, b"\3" * 32, cid)
