"""A proposed sealed round as the chain has it: what a challenger holds its data against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fedvm.audit.pending_round import base_model
from fedvm.audit.sealed_verdict import Expected, is_signed
from fedvm.chain.epochs import EpochsContract, RosterProof, roster_proof
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Round
from fedvm.chain.history import FederationHistory
from fedvm.chain.rule_book import keys_in_round
from fedvm.chain.sealed_proofs import GroupShape, Seat
from fedvm.chain.sealed_rounds import SealedRollupSubmitted, SealedRoundsContract
from fedvm.protocol import Refusal
from fedvm.protocol.sealed.bitmaps import set_bits
from fedvm.protocol.sealed.close import Close, GroupClose
from fedvm.protocol.sealed.recomputation import Terms, make_record
from fedvm.protocol.sealed.records import SealedRecord, SealedSubmission
from fedvm.protocol.trees import PlainTree
from fedvm.store import Store


@dataclass(frozen=True)
class Spot:
    """Where an update that counts stands. group_rank: of its group among those that count; rank: of the member in its
    group; position: among the group's included members."""

    group: GroupClose
    group_rank: int
    rank: int
    position: int

    @property
    def place(self) -> int:
        """The member's place."""
        return self.group.group.first + self.rank

    @property
    def member(self) -> str:
        """The member at the place."""
        return self.group.group.members[self.rank]


@dataclass(frozen=True)
class StatedRecord:
    """A record with its Merkle path, and the submission that it names. trail: preimages from its peak down to this."""

    index: int
    record: SealedRecord
    siblings: tuple[bytes, ...]
    submission: SealedSubmission
    trail: tuple[bytes, ...]

    @property
    def seat(self) -> Seat:
        """What proofs open of it."""
        return Seat(self.index, self.record, self.siblings, self.submission)


@dataclass(frozen=True)
class SealedCase:
    """The round, its close and its roll-up. base: the tree over the model that it trains from; closed_at: Unix
    seconds."""

    round: Round
    close: Close
    stated: SealedRollupSubmitted
    terms: Terms
    base: PlainTree
    closed_at: int

    @property
    def number(self) -> int:
        """Number of the round."""
        return self.close.round

    @cached_property
    def counting(self) -> tuple[GroupClose, ...]:
        """The groups that count, in their order; the contract let no other be stated."""
        groups = self.close.groups
        return tuple(groups[number] for number in set_bits("counting", self.stated.counting, len(groups)))

    @cached_property
    def spots(self) -> tuple[Spot, ...]:
        """Of each update that counts, by its index among the records."""
        return tuple(
            Spot(group, group_rank, rank, position)
            for group_rank, group in enumerate(self.counting)
            for position, rank in enumerate(group.included)
        )

    @property
    def height(self) -> int:
        """Of each group's tree."""
        return self.close.epoch.draw.grouping.height

    @property
    def shape(self) -> GroupShape:
        """The bitmaps that proofs show."""
        return GroupShape(self.close.epoch.ready, self.close.included, self.stated.counting)

    def index_at(self, group_rank: int, position: int) -> int:
        """The index of a member's record; position: among the group's included members."""
        return sum(len(group.included) for group in self.counting[:group_rank]) + position

    def roster(self, index: int) -> RosterProof:
        """That the member at the place of an index is enrolled."""
        return roster_proof(self.close.epoch.draw, self.spots[index].member)

    def context(self, index: int) -> bytes:
        """Context of the update at an index, 32 bytes."""
        where = self.close.epoch.draw.domain.place(self.number, self.spots[index].member)
        return where.context(self.terms.base.size)

    def is_right(self, stated: StatedRecord) -> bool:
        """Whether a record is that of the member at its place, and its submission one that counts."""
        spot, one = self.spots[stated.index], stated.submission
        if one.member != spot.member or stated.record != make_record(one, spot.place, self.terms.rules):
            return False
        epoch, rules = self.close.epoch, self.terms.rules
        expected = Expected(rules, self.number, self.terms.base_root, epoch.root, self.closed_at)
        signed = is_signed(one, epoch.draw.domain, self.terms.key_of)
        return signed and expected.refusal(one.masked) is Refusal.NONE


def sealed_case(contract: FederationContract, store: Store, number: int, first_block: int) -> SealedCase:
    """The sealed round that was proposed. first_block: at or before the federation's creation.

    Raises AuditError when the store lacks the base model, ChainError if the round was not closed and rolled up.
    """
    rounds, epochs = SealedRoundsContract.of(contract), EpochsContract.of(contract)
    closed = rounds.closed_event(number, first_block)
    stated = rounds.submitted_event(number, first_block)
    epoch = epochs.agreed(closed.epoch, first_block)
    rules = contract.rules()
    history = FederationHistory(contract, first_block=first_block).read()
    base = base_model(store, history.model_cid or b"", rules.elements, contract.model_root())
    vector = base.vector.astype(np.int32)
    terms = Terms(rules, epochs.sealed_rules(), vector, keys_in_round(contract, number))
    close = Close(epoch, number, closed.included)
    return SealedCase(contract.round(number), close, stated, terms, base, rounds.latest().closed_at)
