"""The SealedRounds contract of a sealed federation, typed: how rounds are closed and rolled up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.artifacts import SEALED_COURT, SEALED_ROUNDS
from fedvm.chain.call import read
from fedvm.chain.court import Court
from fedvm.chain.errors import ChainError
from fedvm.chain.events import EventReader, Place, RawEvent
from fedvm.chain.federation import FederationContract
from fedvm.chain.sender import Receipt, Sender
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.commitments import peak_heights
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.protocol.sealed.records import SealedFile


@dataclass(frozen=True)
class SealedRollup:
    """What the coordinator states of all masked updates of a round at once; the contract's struct.

    ready, included: bitmaps of places, those of the epoch and of the close. counting: bitmap of groups. accepted:
    included members of counting groups; total_weight: of their updates. peaks: of the range over their records, 32
    bytes each, the largest first. cid: binary, of the published `SealedFile`.
    """

    ready: bytes
    included: bytes
    counting: bytes
    accepted: int
    total_weight: int
    peaks: tuple[bytes, ...]
    cid: bytes

    def as_tuple(self) -> tuple[Any, ...]:
        """The fields in the struct's order, as web3 takes a struct."""
        shape = self.ready, self.included, self.counting
        return *shape, self.accepted, self.total_weight, list(self.peaks), self.cid


def sealed_rollup(close: Close, counting: Sequence[int], file: SealedFile, cid: bytes) -> SealedRollup:
    """The roll-up of a round that its published file makes. counting: groups, ascending. cid: binary, of the file."""
    groups = bitmap(close.epoch.draw.grouping.groups, counting)
    shape = close.epoch.ready, close.included, groups
    return SealedRollup(*shape, len(file.records), file.total_weight, file.range.peak_hashes, cid)


@dataclass(frozen=True)
class SealedSummary:
    """What the contract keeps of the latest round that was closed; hashes are keccak of bitmaps, 32 bytes.

    closed_at: Unix seconds of the close, with which the updates' deadlines are compared. places, groups: of the roster.
    group_height: levels of each group's tree above its leaves; upper_height: levels above the groups' nodes.
    lane_bytes: bytes of a lane. ready_hash, included_hash: of these bitmaps; shape_hash: of the hashes of all three
    (`GroupShape`). The last, the fields from places to lane_bytes, and accepted are zero before the roll-up.
    """

    round: int
    closed_at: int
    accepted: int
    places: int
    groups: int
    group_height: int
    upper_height: int
    lane_bytes: int
    ready_hash: bytes
    included_hash: bytes
    shape_hash: bytes

    @classmethod
    def of(cls, value: Any) -> SealedSummary:
        """The contract's ``SealedSummary`` struct, as web3 decodes it."""
        round_, closed_at, accepted, plan, *hashes = value
        return cls(round_, closed_at, accepted, *plan, *hashes)


@dataclass(frozen=True)
class RoundClosed:
    """These members' updates came: a bitmap of places. Shares are signed for the hash."""

    round: int
    epoch: int
    closed_hash: bytes
    included: bytes
    at: Place


@dataclass(frozen=True)
class SealedRollupSubmitted:
    """Which groups count, and what lies behind them; see `SealedRollup`."""

    round: int
    accepted: int
    total_weight: int
    counting: bytes
    peaks: tuple[bytes, ...]
    cid: bytes
    at: Place

    @property
    def peaks_by_height(self) -> dict[int, bytes]:
        """Peaks of the range over the records, one for each bit of the number of updates that count."""
        return dict(zip(peak_heights(self.accepted), self.peaks, strict=True))


SealedEvent = RoundClosed | SealedRollupSubmitted
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (RoundClosed, SealedRollupSubmitted)}


class SealedRoundsContract(Court):
    """The contract that takes closes and roll-ups of one sealed federation, and judges what was submitted in them.

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(
        self, w3: Web3, address: str, *, hearing: str | None = None, sender: Sender | None = None
    ) -> None:
        super().__init__(w3, SEALED_ROUNDS, address, hearing=hearing, sender=sender)
        self._events = EventReader(w3, self.contract, self.sender.network)

    @classmethod
    def of(cls, federation: FederationContract) -> SealedRoundsContract:
        """The contract of a sealed federation."""
        hearing, sender = federation.disputes(), federation.sender
        return cls(federation.w3, federation.rollups(), hearing=hearing, sender=sender)

    def close(self, account: LocalAccount, number: int, epoch: Epoch, included: bytes) -> Receipt:
        """State whose updates came, once a round, between ``open_seconds`` and the deadline (coordinator).

        epoch: the one that the round is sealed in; it fails where the chain has another by now. included: bitmap of
        places that count.
        """
        return self._send(account, "close", number, epoch.root, epoch.ready, included)

    def submit(
        self, federation: FederationContract, account: LocalAccount, number: int, rollup: SealedRollup
    ) -> Receipt:
        """State which groups count (coordinator), and pay in what the bond lacks."""
        bond = federation.lacking_bond(account.address)
        return self._send(account, "submit", number, rollup.as_tuple(), value=bond)

    def latest(self) -> SealedSummary:
        """The latest round that was closed; its number is 0 before the first."""
        return SealedSummary.of(read(self.contract, "latest"))

    def court_address(self) -> Address:
        """Address of the contract that judges how masked updates become sums."""
        return to_address(str(read(self.contract, "court")))

    def court(self) -> Court:
        """That contract: proofs whose court is `SEALED_COURT` are shown there."""
        hearing = self.hearing.address
        return Court(self.w3, SEALED_COURT, self.court_address(), hearing=hearing, sender=self.sender)

    def closed_event(self, number: int, first: int = 0, last: int | None = None) -> RoundClosed:
        """How a round was closed. first: a block at or before its close; last: None for the head.

        Raises ChainError if it was not, up to block ``last``.
        """
        for event in self.events(number, [RoundClosed], first, last):
            if isinstance(event, RoundClosed):
                return event
        raise ChainError(f"round {number} is not closed yet; wait for its coordinator")

    def submitted_event(self, number: int, first: int = 0, last: int | None = None) -> SealedRollupSubmitted:
        """The roll-up of a round; arguments and errors as of :meth:`closed_event`."""
        for event in self.events(number, [SealedRollupSubmitted], first, last):
            if isinstance(event, SealedRollupSubmitted):
                return event
        raise ChainError(f"round {number} is not rolled up yet; wait for its coordinator")

    def events(
        self,
        number: int | None = None,
        kinds: Sequence[type[Any]] = (),
        first: int = 0,
        last: int | None = None,
    ) -> Iterator[SealedEvent]:
        """Events in order, of one round or of all, of the given dataclasses or all, from block ``first`` to
        ``last`` (None: the head)."""
        names = [kind.__name__ for kind in kinds] or list(_KINDS)
        indexed = () if number is None else (number.to_bytes(32),)
        for event in self._events.fetch(names, first, last, indexed=indexed):
            yield _typed(event)

    def events_of(self, receipt: Receipt) -> list[SealedEvent]:
        """This contract's events in one transaction, proofs aside."""
        decoded = self._events.decode(receipt.raw["logs"])
        return [_typed(event) for event in decoded if event.name in _KINDS]


def _typed(event: RawEvent) -> SealedEvent:
    typed: SealedEvent = _KINDS[event.name](**event.fields, at=event.at)
    return typed
