"""The coordinator's side of questions: it shows the preimages of the hashes in its proposal and roll-up.

Everything is computed again from the store and from what members posted on chain, so a coordinator can answer after a
restart, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from eth_account.signers.local import LocalAccount

from fedvm.chain.disputes import Answer, DataAnswered, DataDemanded, DisputesContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundProposed
from fedvm.chain.history import RoundHistory
from fedvm.evm.keccak import keccak
from fedvm.protocol import (
    CountedUpdate,
    aggregation_nodes,
    model_tree,
)
from fedvm.protocol.preimages import children, of_aggregation, of_commitments, of_rollup, of_update, of_vector
from fedvm.store import StoreError
from fedvm.store.vectors import UpdateVectors, stored_vector

_BATCH_GAS: Final = 10_000_000
_ANSWER_GAS, _PREIMAGE_GAS, _BYTE_GAS = 40_000, 2_500, 32
"""A little more than an answer takes (contracts/snapshots/Disputes.json): calldata, hashing and the event."""
_SMALL: Final = frozenset(
    bytes((kind,)) for kind in (0x04, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x3A, 0x3B, 0x3C, 0x3F)
)

Lookup = Callable[[bytes], bytes | None]
"""From a hash of 32 bytes to its preimage, None if it is not known."""


@dataclass(frozen=True)
class OpenQuestion:
    """A question that is not answered: the hash (32 bytes), how many levels from it down, and until when (Unix
    seconds)."""

    hash: bytes
    levels: int
    due: int


Finder = Callable[[Collection[OpenQuestion]], Lookup]
"""Finds the preimages that the answers to some questions need."""


@dataclass(frozen=True)
class ProposedRound:
    """What the latest proposal of a round was made from. told: the round's history, with its verdicts."""

    vectors: UpdateVectors
    told: RoundHistory

    def preimages(self) -> Iterator[bytes]:
        """The preimage of every hash that can be demanded, as far as store and chain have the data for it."""
        store, number = self.vectors.store, self.told.number
        yield from of_commitments([update.commitment for update in self.told.accepted])
        if self.told.rollup:
            with suppress(StoreError):  # the update is lost: demands for it stay open
                yield from of_rollup(store.get(self.told.rollup.cid))
        if self.told.proposal:
            with suppress(StoreError):
                model = stored_vector(store, self.told.proposal.cid, self.vectors.elements)
                yield from of_vector(model_tree(model))
        for update in self.told.accepted:
            with suppress(StoreError):
                yield from of_update(self.vectors.tree(number, update.member, update))
        with suppress(StoreError):  # the nodes above a lost update cannot be computed
            yield from of_aggregation(aggregation_nodes(self._counted()))

    def _counted(self) -> Iterator[CountedUpdate]:
        """The updates in order, each read when it is needed, since a thousand vectors are large. Raises StoreError if
        one is lost."""
        for update in self.told.accepted:
            vector = self.vectors.vector(self.told.number, update.member, update)
            yield CountedUpdate(update.commitment, vector)


def find(questions: Collection[OpenQuestion], preimages: Iterable[bytes]) -> Lookup:
    """The preimages that the answers to some questions need; stops as soon as all are found.

    What lies below a node comes after it, but in the aggregation and the records before it: these are kept, since they
    are small.
    """
    wanted = _Wanted()
    for one in questions:
        wanted.want(one.hash, one.levels)
    for preimage in preimages:
        if not wanted.missing:
            break
        wanted.see(preimage)
    return wanted.found.get


@dataclass
class _Wanted:
    """Hashes that are wanted with so many levels below them. small: nodes seen that nobody wanted yet."""

    levels: dict[bytes, int] = field(default_factory=dict)
    missing: set[bytes] = field(default_factory=set)
    found: dict[bytes, bytes] = field(default_factory=dict)
    small: dict[bytes, bytes] = field(default_factory=dict)

    def want(self, digest: bytes, levels: int) -> None:
        """Want a hash and what lies below it."""
        if levels <= self.levels.get(digest, 0):
            return
        self.levels[digest] = levels
        preimage = self.found.get(digest) or self.small.get(digest)
        if preimage is None:
            self.missing.add(digest)
        else:
            self._take(digest, preimage)

    def see(self, preimage: bytes) -> None:
        """Keep a preimage that is wanted, or may be."""
        digest = keccak(preimage)
        if digest in self.missing:
            self._take(digest, preimage)
        elif preimage[:1] in _SMALL:
            self.small[digest] = preimage

    def _take(self, digest: bytes, preimage: bytes) -> None:
        self.missing.discard(digest)
        self.found[digest] = preimage
        if self.levels[digest] > 1:
            for below in children(preimage):
                self.want(below, self.levels[digest] - 1)


def answer_from(question: OpenQuestion, lookup: Lookup) -> Answer | None:
    """The answer to a question; None if a preimage of it is not known."""
    level, preimages = [question.hash], []
    for _ in range(question.levels):
        opened = [lookup(digest) for digest in level]
        if not all(opened):
            return None
        preimages += [one for one in opened if one is not None]
        level = [below for one in opened if one is not None for below in children(one)]
    return Answer(question.hash, question.levels, tuple(preimages))


def open_questions(contract: FederationContract, proposed: RoundProposed) -> list[OpenQuestion]:
    """What was asked of a proposal and is not answered, the most urgent first."""
    open_: dict[tuple[bytes, int], OpenQuestion] = {}
    disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
    for event in disputes.events([DataDemanded, DataAnswered], first=proposed.at.block_number):
        if not isinstance(event, DataDemanded | DataAnswered):
            continue
        if (event.round, event.attempt) != (proposed.round, proposed.attempt):
            continue
        key = event.hash, event.levels
        if isinstance(event, DataDemanded):
            open_[key] = OpenQuestion(*key, event.due)
        else:
            open_.pop(key, None)
    return sorted(open_.values(), key=lambda one: one.due)


def answer_questions(
    contract: FederationContract, account: LocalAccount, proposed: RoundProposed, finder: Finder
) -> int:
    """Answer what is asked of the pending proposal, known and not overdue; returns how many answers were sent.

    All are sent at once, in as few transactions as hold them. account: pays for the gas; half of the fees goes to who
    made the proposal, once it is final.
    """
    now = int(contract.w3.eth.get_block("latest")["timestamp"])
    open_ = [one for one in open_questions(contract, proposed) if one.due > now]
    if not open_:
        return 0
    lookup = finder(open_)
    answers = [answer for one in open_ if (answer := answer_from(one, lookup)) is not None]
    if answers:
        disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
        disputes.answer_many(account, proposed.round, batches(answers))
    return len(answers)


def reject_overdue(
    contract: FederationContract, account: LocalAccount, number: int, question: OpenQuestion
) -> None:
    """Bring a proposal down for a question whose answer is overdue."""
    disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
    disputes.reject_unanswered(account, number, question.hash, question.levels)


def batches(answers: Iterable[Answer]) -> list[list[Answer]]:
    """Answers in their order, in groups that fit a transaction."""
    groups: list[list[Answer]] = []
    room = 0
    for one in answers:
        gas = _ANSWER_GAS + sum(_PREIMAGE_GAS + _BYTE_GAS * len(preimage) for preimage in one.preimages)
        if not groups or gas > room:
            groups.append([])
            room = _BATCH_GAS
        groups[-1].append(one)
        room -= gas
    return groups
