"""The history of a federation's rounds, folded from its events, which are read once and in order.

All code that needs to know what became of a round asks here. Only the audit folds the events itself, since its task is
to check them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fedvm.chain.direct import DirectState
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import (
    FederationCreated,
    FederationEvent,
    Included,
    MemberAdded,
    MemberRemoved,
    RollupSubmitted,
    RoundFailed,
    RoundFinal,
    RoundOpened,
    RoundProposed,
    RulesAdopted,
    SubmittedDirectly,
    UpdateAccepted,
    UpdateRefused,
    VectorForfeited,
)
from fedvm.chain.rollups import rolled_events
from fedvm.protocol import Refusal, Rollup, Rules
from fedvm.protocol.address import Address
from fedvm.protocol.journal import EMPTY_JOURNAL, journal_after

Verdict = UpdateAccepted | UpdateRefused
RoundEvent = Verdict | RoundOpened | RollupSubmitted | RoundProposed | RoundFinal | RoundFailed


@dataclass
class RoundHistory:
    """What the events so far say of one round. verdicts: in the order of the chain. direct: by member, the updates that
    members submitted themselves, also those that are dealt with. journal: the running hash over these and what
    became of them. proposals: by attempt. opened: None if events were read only from a later block on.
    """

    number: int
    opened: RoundOpened | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    direct: dict[str, SubmittedDirectly] = field(default_factory=dict)
    journal: bytes = EMPTY_JOURNAL
    rollup: RollupSubmitted | None = None
    proposals: dict[int, RoundProposed] = field(default_factory=dict)
    ended: RoundFinal | RoundFailed | None = None
    _has_records: bool = False

    @property
    def accepted(self) -> tuple[UpdateAccepted, ...]:
        """The updates that were accepted, which all count, in the order of acceptance."""
        return tuple(one for one in self.verdicts if isinstance(one, UpdateAccepted))

    @property
    def refused(self) -> tuple[UpdateRefused, ...]:
        """All updates that were refused."""
        return tuple(one for one in self.verdicts if isinstance(one, UpdateRefused))

    @property
    def cids(self) -> set[bytes]:
        """Binary CIDs of the accepted updates, as they were signed, and of the file of a roll-up."""
        return {one.cid for one in self.accepted} | ({self.rollup.cid} if self.rollup else set())

    @property
    def proposal(self) -> RoundProposed | None:
        """The latest proposal, whether or not it was rejected."""
        return self.proposals[max(self.proposals)] if self.proposals else None

    @property
    def lacks_records(self) -> bool:
        """Whether the round was rolled up and its records, which hold the verdicts, were not given to `take_records`
        yet."""
        return self.rollup is not None and not self._has_records

    def take_records(self, rollup: Rollup) -> None:
        """Take the verdicts of a roll-up from its records, which must be the ones that were committed to on chain."""
        if self.rollup is not None and self.lacks_records:
            self.verdicts.extend(rolled_events(self.rollup, rollup))
            self._has_records = True

    @property
    def opening(self) -> tuple[str, ...]:
        """Hash of the transaction that opened the round, if it was seen."""
        return _transactions([self.opened])

    @property
    def submitting(self) -> tuple[str, ...]:
        """Hashes of the transactions that brought verdicts."""
        return _transactions([*self.verdicts, self.rollup])

    @property
    def closing(self) -> tuple[str, ...]:
        """Hashes of the transactions that proposed, finalised or failed the round."""
        return _transactions([*self.proposals.values(), self.ended])


def answerer_of(contract: FederationContract) -> Address:
    """Who answers for the latest round (checksummed address): whose proposal was the last in it; the coordinator before
    any."""
    number, answerer = contract.current_round(), Address(contract.coordinator())
    standing = contract.round(number)
    if standing.attempt == 0:
        return answerer
    for event in contract.events([RoundProposed], first=standing.opened_in):
        if isinstance(event, RoundProposed) and event.round == number:
            answerer = event.proposer
    return answerer


class FederationHistory:
    """A federation's events, folded; each `read` continues after the last block read. first_block: a block at or before
    the contract's creation. After a reorganisation of the chain that is deeper than the confirmations FedVM waits for,
    a new history is needed. created, rules, members: None, None and empty where the creation lies before first_block.
    aggregator_since: the first round since which the rules have named the present aggregator; it may still have to be
    opened.
    """

    def __init__(self, contract: FederationContract, *, first_block: int = 0) -> None:
        self.contract, self.first_block = contract, first_block
        self.created: FederationCreated | None = None
        self.rules: Rules | None = None
        self.members: set[str] = set()
        self.rounds: dict[int, RoundHistory] = {}
        self.final: RoundHistory | None = None
        self.aggregator_since = 1
        self._aggregator = b""
        self._next_block = first_block

    def read(self, head: int | None = None) -> FederationHistory:
        """Read on to block `head`, the chain's own if it is None; returns itself."""
        last = int(self.contract.w3.eth.block_number) if head is None else head
        if last >= self._next_block:
            # Fold all of it or nothing: if the RPC fails half-way, no event may be read twice.
            events = list(self.contract.events(first=self._next_block, last=last))
            self._next_block = last + 1
            for event in events:
                self._fold(event)
        return self

    def round(self, number: int) -> RoundHistory:
        """The history of a round; empty for a round that was not opened."""
        return self.rounds.get(number) or RoundHistory(number)

    @property
    def model_cid(self) -> bytes | None:
        """Binary CID of the latest final model, or of the first; None where no event that was read has it."""
        if self.final is not None:
            attempt = self.final.ended.attempt if isinstance(self.final.ended, RoundFinal) else 0
            return self.final.proposals[attempt].cid
        return None if self.created is None else self.created.model_cid

    def _fold(self, event: FederationEvent) -> None:
        match event:
            case FederationCreated():
                self.created, self.rules, self._aggregator = event, event.rules, event.rules.aggregator
            case RulesAdopted():
                if event.rules.aggregator != self._aggregator:
                    self.aggregator_since = max(self.rounds, default=0) + 1
                self.rules, self._aggregator = event.rules, event.rules.aggregator
            case MemberAdded():
                self.members.add(event.member)
            case MemberRemoved():
                self.members.discard(event.member)
            case _:
                self._fold_round(event)

    def _fold_round(self, event: FederationEvent) -> None:
        match event:
            case RoundOpened():
                self._of(event.round).opened = event
            case UpdateAccepted() | UpdateRefused():
                self._of(event.round).verdicts.append(event)
            case SubmittedDirectly():
                self._of(event.round).direct[event.member] = event
                self._enter(event.round, event.member, DirectState.WAITING)
            case Included():
                accepted = event.reason is Refusal.NONE
                state = DirectState.INCLUDED if accepted else DirectState.REFUSED
                self._enter(event.round, event.member, state)
            case VectorForfeited():
                self._enter(event.round, event.member, DirectState.FORFEITED)
            case RollupSubmitted():
                self._of(event.round).rollup = event
            case RoundProposed():
                self._of(event.round).proposals[event.attempt] = event
            case RoundFinal():
                self._of(event.round).ended = event
                self.final = self._of(event.round)
            case RoundFailed():
                self._of(event.round).ended = event
            case _:  # the contract's own events say the rest
                pass

    def _enter(self, number: int, member: Address, state: DirectState) -> None:
        told = self._of(number)
        # Without the submission's event, which a history from a later block lacks, there is no journal to continue.
        if member in told.direct:
            told.journal = journal_after(told.journal, state, member, told.direct[member].submission)

    def _of(self, number: int) -> RoundHistory:
        return self.rounds.setdefault(number, RoundHistory(number))


def _transactions(events: Iterable[RoundEvent | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(event.at.tx_hash for event in events if event is not None))
