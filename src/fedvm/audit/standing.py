"""What contracts say now, compared with what their events come to: so that nothing was left out of the events.

A node that lists no event of a block is not asked for that block. But every event changes what the contract says of
itself: the state of a round, how many members and decisions there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from web3.contract import Contract

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.findings import Ledger, Place
from fedvm.chain.call import read
from fedvm.chain.events import EventReader
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import (
    ChallengeExtended,
    CoordinatorReplaced,
    FederationCreated,
    MemberAdded,
    MemberRemoved,
    ProposalRejected,
    RollupSubmitted,
    Round,
    RoundFailed,
    RoundFinal,
    RoundOpened,
    RoundProposed,
    RoundState,
    RulesAdopted,
    SecuritySet,
    UpdateAccepted,
    security_of,
)
from fedvm.chain.networks import network_of
from fedvm.chain.sealed_rounds import SealedRollupSubmitted
from fedvm.protocol.address import Address, by_address

NOBODY = "0x" + 40 * "0"


@dataclass
class _Round:
    """What the events say of a round, by the names of `fedvm.chain.federation_types.Round`."""

    tx: str
    stated: dict[str, Any]
    state: RoundState = RoundState.OPEN


@dataclass
class FederationStanding:
    """Folds the events of a federation; then `compare` asks the contract."""

    rounds: dict[int, _Round] = field(default_factory=dict)
    members: set[Address] = field(default_factory=set)
    created: FederationCreated | None = None
    coordinators: list[CoordinatorReplaced] = field(default_factory=list)
    rules_hash: bytes = b""
    security: SecuritySet | None = None
    open_membership: bool = False

    def note(self, event: Any, time: int) -> None:
        """Take an event in, in the order of the chain. time: of its block, Unix seconds."""
        match event:
            case FederationCreated():
                self.created, self.rules_hash = event, event.rules_hash
                self.open_membership = event.open_membership
            case SecuritySet():
                self.security = event
            case RulesAdopted():
                self.rules_hash = event.rules_hash
            case CoordinatorReplaced():
                self.coordinators.append(event)
            case MemberAdded():
                self.members.add(event.member)
            case MemberRemoved():
                self.members.discard(event.member)
            case RoundOpened():
                stated = {"opened_at": time, "deadline": event.deadline, "accepted": 0, "attempt": 0}
                self.rounds[event.round] = _Round(event.at.tx_hash, stated)
            case _ if getattr(event, "round", None) in self.rounds:
                self._in_round(self.rounds[event.round], event)

    def _in_round(self, one: _Round, event: Any) -> None:
        stated = one.stated
        match event:
            case UpdateAccepted():
                stated["accepted"] += 1
            case RollupSubmitted() | SealedRollupSubmitted():
                stated["accepted"] = event.accepted
            case RoundProposed():
                one.state = RoundState.PROPOSED
                stated["attempt"], stated["model_root"] = event.attempt, event.model_root
                stated["aggregation_root"] = event.aggregation_root
            case ChallengeExtended():
                pass
            case ProposalRejected():
                one.state = RoundState.SUBMITTED
            case RoundFinal():
                one.state = RoundState.FINAL
                stated["accepted"] = event.accepted
            case RoundFailed():
                one.state = RoundState.FAILED

    def compare(
        self, contract: FederationContract, reader: ChainReader, ledger: Ledger, first_block: int
    ) -> None:
        """Compare with what the contract says as of the audit's last block."""
        head = reader.head
        coordinators = [(one.previous, one.coordinator, one.at.tx_hash) for one in self.coordinators]
        owners = owners_told(contract.contract, reader, first_block)
        created = self.created
        holders = (("coordinator", coordinators, "CoordinatorReplaced"), ("owner", owners, TRANSFERRED))
        for what, told_, event in holders:
            check_holders(what, told_, read(contract.contract, what, block=head), event, ledger)
            if created is not None and told_:
                stated_ = getattr(created, what)
                place = Place(tx=created.at.tx_hash, event="FederationCreated", field=what)
                message = f"is stated to be {stated_} at the creation, and {told_[0][1]} beside it"
                ledger.check("standing", stated_ == told_[0][1], place, message)
        for number, one in self.rounds.items():
            said = asdict(Round.of(read(contract.contract, "round", number, block=head)))
            one.stated |= {"state": one.state} if one.state.is_over else {}
            if said["state"].is_over != one.state.is_over:
                one.stated["state"] = one.state
            for name, value in one.stated.items():
                message = f"the events of round {number} come to {name} = {_shown(value)}, the contract says "
                place = Place(round=number, tx=one.tx, field=name)
                ledger.check("standing", value == said[name], place, message + _shown(said[name]))
        current = read(contract.contract, "currentRound", block=head)
        security = security_of(read(contract.contract, "security", block=head))
        told_security = None if self.security is None else self.security.security
        stated: Mapping[str, tuple[Any, Any]] = {
            "currentRound": (max(self.rounds, default=0), current),
            "memberCount": (len(self.members), read(contract.contract, "memberCount", block=head)),
            "rulesHash": (self.rules_hash, read(contract.contract, "rulesHash", block=head)),
            "disputes": (
                None if self.security is None else self.security.disputes,
                read(contract.contract, "disputes", block=head),
            ),
            "openMembership": (self.open_membership, read(contract.contract, "openMembership", block=head)),
            **{
                f"security.{name}": (
                    None if told_security is None else getattr(told_security, name),
                    value,
                )
                for name, value in asdict(security).items()
            },
        }
        for name, (told, says) in stated.items():
            message = f"the events come to {name} = {_shown(told)}, the contract says {_shown(says)}"
            ledger.check("standing", told == says, Place(field=name), message)
        for member in sorted(self.members, key=by_address):
            is_member = read(contract.contract, "isMember", member, block=head)
            message = "is a member by the events, and by what the contract says not"
            ledger.check("standing", is_member, Place(member=member, field="isMember"), message)


TRANSFERRED = "OwnershipTransferred"
_Told = tuple[str, str, str]
"""Who held an office, who holds it, and the transaction that says so."""


def owners_told(contract: Contract, reader: ChainReader, first_block: int) -> list[_Told]:
    """Every change of a contract's owner, in order."""
    events = EventReader(reader.w3, contract, network_of(reader.w3))
    told = events.fetch((TRANSFERRED,), first_block, reader.head)
    return [(one.args["previousOwner"], one.args["newOwner"], one.at.tx_hash) for one in told]


def check_holders(what: str, told: Sequence[_Told], says: str, event: str, ledger: Ledger) -> None:
    """Check that each holder of an office follows the one before, and that the last holds it now."""
    before = NOBODY
    for previous, holder, tx in told:
        place = Place(tx=tx, event=event, field=f"previous {what}")
        ledger.check("standing", previous == before, place, f"{previous} gave way, {before} held it")
        before = holder
    place = Place(tx=told[-1][2] if told else "", event=event, field=what)
    message = f"the {what} is {before} by the events, {says} by what the contract says"
    ledger.check("standing", before == says, place, message)


def numbered(
    numbers: Iterator[int],
    count: int,
    what: Literal["version", "decision"],
    field_: str,
    ledger: Ledger,
) -> None:
    """Check that events with the numbers 1 … count are there, each once, in order."""
    expected = 1
    for number in numbers:
        place = Place(version=number) if what == "version" else Place(decision=number)
        message = f"{what} {number} is told where {what} {expected} should be"
        if not ledger.check("standing", number == expected, place, message):
            return
        expected += 1
    message = f"the events tell of {expected - 1} {what}s, the contract says {field_} = {count}"
    ledger.check("standing", expected - 1 == count, Place(field=field_), message)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value.name if isinstance(value, RoundState) else str(value)
