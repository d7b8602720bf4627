"""Replays the epochs of a sealed federation: who enrolled, how groups were drawn, who is ready.

It folds the events itself, as `FederationReplay` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.findings import Ledger, Place, cid_text
from fedvm.chain.decoding import decoded_input, plain
from fedvm.chain.epoch_types import (
    Enrolled,
    EnrolmentRefused,
    EpochEvent,
    EpochFailed,
    EpochOpened,
    GroupsDrawn,
    ReadyAdded,
    ReadyStated,
    RosterClosed,
)
from fedvm.chain.epochs import DRAWN_AFTER, EpochsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.rule_book import keys_in_round
from fedvm.protocol import EncodingError, Refusal, Rules, SignatureError
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.sealed.bitmaps import bitmap, bits, set_bits
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.roster import Enrolment, roster_range
from fedvm.protocol.sealed.shuffle import group_seed
from fedvm.protocol.sealed.typed_data import Enrol
from fedvm.protocol.verdict import signs_for

_KNOWN = 256
"""Blocks after the drawing one for which every chain knows its hash: before that no draw is missed."""


@dataclass(frozen=True)
class Now:
    """What the federation's events say up to an epoch's event. members: checksummed addresses. latest: number of the
    latest round; is_between: no round is open."""

    rules: Rules
    members: frozenset[str]
    latest: int
    is_between: bool


@dataclass
class _Standing:
    """The latest epoch. until: Unix seconds, as the contract keeps them. ready: the bitmap that stands."""

    number: int
    until: int
    roster: list[Enrolment] = field(default_factory=list)
    closed: RosterClosed | None = None
    draw: Draw | None = None
    first_round: int = 0
    ready: bytes = b""
    failed: bool = False
    rounds: int = 0  # that were rolled up in it


@dataclass(frozen=True)
class _Verdict:
    """What the rules say of an enrolment as a transaction's calldata holds it."""

    member: Address
    reason: Refusal
    statement: Enrol

    def agrees(self, event: Enrolled | EnrolmentRefused, stated: Refusal) -> bool:
        """Whether the contract told the same; the stake, which is not replayed, is believed."""
        if isinstance(event, Enrolled):
            keys = (self.statement.x25519, self.statement.mlkem)
            if keys != (event.x25519, event.mlkem):
                return False
        reasons = (stated, Refusal.NONE) if stated is Refusal.STAKE_TOO_LOW else (stated,)
        return event.member == self.member and self.reason in reasons


class EpochReplay:
    """Replays the epochs of one federation into `ledger`."""

    def __init__(self, reader: ChainReader, contract: FederationContract, ledger: Ledger) -> None:
        epochs = EpochsContract.of(contract)
        self.rules = epochs.sealed_rules()
        self._sealed_hash = epochs.sealed_hash()
        self._domain, self._answer_seconds = epochs.domain(), epochs.answer_seconds()
        self._reader, self._contract, self._ledger = reader, contract, ledger
        self._epochs, self._abi = epochs, epochs.contract
        self._standing: _Standing | None = None
        self._verdicts: dict[str, Iterator[_Verdict]] = {}  # by transaction, in its order
        same = self.rules.digest() == self._sealed_hash
        ledger.check("sealed rules", same, Place(), "the hash of the sealed rules is not that of the rules")

    @property
    def number(self) -> int:
        """The latest epoch; 0 before the first."""
        return 0 if self._standing is None else self._standing.number

    def epoch_of(self, round_: int, opened_at: int) -> Epoch | None:
        """The epoch that a round is sealed in; None if none can be. opened_at: Unix seconds."""
        one = self._standing
        if one is None or one.draw is None or not one.ready or one.failed:
            return None
        in_time = round_ >= one.first_round and opened_at > one.until
        if not in_time or one.rounds >= self.rules.epoch_rounds:
            return None
        return Epoch(one.draw, one.first_round, one.ready)

    def count_round(self) -> None:
        """Count a round that was rolled up: those that are given up hasten no other draw."""
        if self._standing is not None:
            self._standing.rounds += 1

    def handle(self, event: EpochEvent, now: Now) -> None:
        """Check one event, in the order of the chain."""
        match event:
            case EpochOpened():
                self._on_opened(event, now)
            case Enrolled() | EnrolmentRefused():
                self._on_enrolment(event, now)
            case RosterClosed():
                self._on_closed(event)
            case GroupsDrawn():
                self._on_drawn(event)
            case ReadyStated():
                self._on_ready(event, now)
            case ReadyAdded():
                self._on_added(event)
            case EpochFailed():
                self._on_failed(event)

    def _check(self, name: str, event: EpochEvent, parts: dict[str, bool]) -> bool:
        wrong = ", ".join(part for part, holds in parts.items() if not holds)
        place = Place(epoch=event.epoch, tx=event.at.tx_hash)
        return self._ledger.check(name, not wrong, place, f"does not follow: {wrong}")

    def _left_out(self, name: str, event: EpochEvent) -> None:
        place = Place(epoch=event.epoch, tx=event.at.tx_hash)
        self._ledger.left_out(name, f"epoch {event.epoch}", place)

    def _time(self, event: EpochEvent) -> int:
        return self._reader.time(event.at.block_number)

    def _on_opened(self, event: EpochOpened, now: Now) -> None:
        one, time = self._standing, self._time(event)
        over = one is None or one.failed or one.rounds == self.rules.epoch_rounds
        if one is not None and not over:
            lasts = self.rules.epoch_rounds * now.rules.round_seconds
            over = bool(one.ready) and time > one.until + lasts
        parts = {
            "number": event.epoch == self.number + 1,
            "end of the epoch before": over,
            "end of the round before": now.is_between,
            "until": event.until == time + self.rules.enrol_seconds,
        }
        self._check("epoch", event, parts)
        self._standing = _Standing(event.epoch, event.until)

    def _on_enrolment(self, event: Enrolled | EnrolmentRefused, now: Now) -> None:
        one = self._of(event)
        if one is None:
            return
        tx, place = event.at.tx_hash, Place(epoch=event.epoch, member=event.member, tx=event.at.tx_hash)
        if tx not in self._verdicts:
            told = self._judged(self._reader.calldata(tx), one, now, self._time(event))
            self._verdicts[tx] = iter(told)
        stated = Refusal.NONE if isinstance(event, Enrolled) else event.reason
        expected = next(self._verdicts[tx], None)
        if expected is not None:
            same = expected.agrees(event, stated)
            message = (
                f"the verdict is {stated.label}, by the rules it is {expected.reason.label} for "
                f"{expected.member} with the keys that it signed"
            )
            self._ledger.check("enrolment", same, place, message)
        if isinstance(event, Enrolled):
            parts = {
                "index": event.index == len(one.roster),
                "time": self._time(event) <= one.until and one.closed is None,
                "member": event.member in now.members,
                "once": event.member not in {other.member for other in one.roster},
            }
            self._check("roster", event, parts)
            one.roster.append(Enrolment(event.member, event.x25519, event.mlkem))

    def _judged(self, calldata: bytes, one: _Standing, now: Now, time: int) -> Iterator[_Verdict]:
        """The verdict on each enrolment that a transaction brings; none if it went through another contract."""
        name, arguments = decoded_input(self._abi, calldata)
        if name != "enrol":
            return
        for said in arguments["enrolments"]:
            member = to_address(said["member"])
            # By now the events of those before it in the transaction are replayed.
            if member in {other.member for other in one.roster}:
                continue
            values = said["statement"]
            statement = Enrol(*plain(list(values.values() if isinstance(values, Mapping) else values)))
            reason = self._refusal(member, statement, bytes(said["signature"]), now, time)
            yield _Verdict(member, reason, statement)

    def _refusal(self, member: Address, enrol: Enrol, signature: bytes, now: Now, time: int) -> Refusal:
        """Why an enrolment is not taken, as `Epochs` judges it; the stake is believed."""
        if member not in now.members:
            return Refusal.NOT_MEMBER
        try:
            signer = enrol.signer(self._domain, signature)
        except SignatureError:
            signer = ""
        if not signs_for(signer, member, keys_in_round(self._contract, now.latest + 1)):
            return Refusal.BAD_SIGNATURE
        if enrol.epoch != self.number:
            return Refusal.WRONG_ROUND
        if (enrol.rules_hash, enrol.sealed_hash) != (now.rules.digest(), self._sealed_hash):
            return Refusal.WRONG_RULES
        if bytes(32) in (enrol.x25519, enrol.mlkem):
            return Refusal.WRONG_SHAPE
        return Refusal.EXPIRED if time > enrol.deadline else Refusal.NONE

    def _on_closed(self, event: RosterClosed) -> None:
        one = self._of(event)
        if one is None:
            return
        try:
            root = roster_range(one.roster).digest()
        except EncodingError:
            root = b""
        parts = {
            "root": root == event.roster_root,
            "members": event.members == len(one.roster) >= self.rules.min_roster,
            "block": event.closed_in == event.at.block_number,
            "time": self._time(event) > one.until,
        }
        self._check("roster", event, parts)
        one.closed = event

    def _on_drawn(self, event: GroupsDrawn) -> None:
        one = self._of(event)
        if one is None or one.closed is None:
            self._check("group draw", event, {"roster": False})
            if one is not None:
                self._left_out("RosterClosed", event)
            return
        block = one.closed.closed_in + DRAWN_AFTER
        is_known = block < event.at.block_number
        seed = b""
        if is_known:
            value = self._epochs.beacon(block)
            seed = group_seed(self._domain, event.epoch, one.closed.roster_root, value)
        time = self._time(event)
        parts = {
            "block": is_known,
            "seed": seed == event.group_seed,
            "until": event.until == time + self.rules.key_seconds,
        }
        self._check("group draw", event, parts)
        one.until = event.until
        try:
            one.draw = Draw(
                self._domain, event.epoch, self.rules.group_size, tuple(one.roster), event.group_seed
            )
        except EncodingError as error:
            self._ledger.check("roster", False, Place(epoch=event.epoch, tx=event.at.tx_hash), str(error))

    def _on_ready(self, event: ReadyStated, now: Now) -> None:
        one = self._of(event)
        if one is None:
            return
        time = self._time(event)
        parts = {
            "bitmap": _is_bitmap(event.ready, len(one.roster)),
            "draw": one.draw is not None,
            "once": not one.ready,
            "first round": event.first_round == now.latest + 1 and now.is_between,
            "time": time <= one.until and event.until == time + self._answer_seconds,
        }
        self._check("ready", event, parts)
        if one.draw is None:
            self._left_out("GroupsDrawn", event)
        one.first_round, one.until = event.first_round, event.until
        one.ready = event.ready if parts["bitmap"] else b""

    def _on_added(self, event: ReadyAdded) -> None:
        one = self._of(event)
        if one is None or one.draw is None or not one.ready:
            self._check("ready", event, {"draw": False})
            if one is not None and one.draw is not None:
                self._left_out("ReadyStated", event)
            return
        place = Place(epoch=event.epoch, member=event.member, tx=event.at.tx_hash, cid=cid_text(event.cid))
        try:
            follows = one.draw.place_of(event.member) == event.place and self._time(event) <= one.until
        except EncodingError:
            follows = False
        message = "a member that adds itself has another place, is not enrolled, or is late"
        if self._ledger.check("ready", follows, place, message):
            size = len(one.roster)
            standing = set_bits("ready", one.ready, size)
            one.ready = bitmap(size, [*standing, event.place])

    def _on_failed(self, event: EpochFailed) -> None:
        one = self._of(event)
        if one is None:
            return
        if one.closed is None:
            due = self._time(event) > one.until and len(one.roster) < self.rules.min_roster
        elif one.draw is None:
            due = event.at.block_number > one.closed.closed_in + DRAWN_AFTER + _KNOWN
        else:
            due = self._time(event) > one.until and not one.ready
        self._check("epoch", event, {"failure": due})
        one.failed = True

    def _of(self, event: EpochEvent) -> _Standing | None:
        """The epoch that an event is of, if that is the latest."""
        one = self._standing
        if one is None or one.number != event.epoch:
            self._check("epoch", event, {"number": False})
            if event.epoch > self.number:
                self._left_out("EpochOpened", event)
            return None
        return one


def _is_bitmap(data: bytes, size: int) -> bool:
    try:
        bits("ready", data, size)
    except EncodingError:
        return False
    return True
