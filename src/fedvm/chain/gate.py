"""The promotion gate of a ModelService, typed, and the trials that versions take in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import PROMOTION_GATE, contract_at
from fedvm.chain.beacon import draws_by_drand, shown_header
from fedvm.chain.call import read
from fedvm.chain.events import EventReader, Place, RawEvent, as_told
from fedvm.chain.headers import block_header
from fedvm.chain.sender import Receipt, Sender
from fedvm.protocol import AccuracyTest, SamplePool, Thresholds

NO_ANSWER = 2**32 - 1
"""What the contract records where a program failed or did not return one score a class."""

SEED_WINDOW = 8_191
"""Blocks after the one that draws, after which a trial that is not drawn has lapsed."""
_HASHES = 256
"""Blocks for which every EVM knows a block's hash; with EIP-2935 it is `SEED_WINDOW`."""
_HISTORY = "0x0000F90827F1C53a10cb7A02335B175320002935"


@dataclass(frozen=True)
class GateTerms:
    """What versions must pass; fixed when a service is created (`IPromotionGate.GateTerms`).

    trial_seconds from the draw on, bond in wei.
    """

    samples_root: bytes
    samples: int
    classes: int
    test: AccuracyTest
    max_samples: int
    margin: int
    attempts: int
    trial_seconds: int
    bond: int

    def as_tuple(self) -> tuple[Any, ...]:
        """The fields in the struct's order, as web3 takes a struct."""
        return tuple(
            value.as_tuple() if isinstance(value, AccuracyTest) else value
            for value in (getattr(self, name) for name in self.__dataclass_fields__)
        )

    @classmethod
    def of(cls, value: Any) -> GateTerms:
        """From the contract's struct."""
        root, samples, classes, test, *rest = value
        return cls(bytes(root), samples, classes, AccuracyTest(*test), *rest)


NO_GATE: tuple[Any, ...] = (bytes(32), 0, 0, (0, 0, 0, 0), 0, 0, 0, 0, 0)
"""Terms of a service whose versions need pass nothing."""


class TrialState(IntEnum):
    """The state of a trial; the contract's enum."""

    NONE = 0
    REGISTERED = 1
    DRAWN = 2
    PASSED = 3
    FAILED = 4
    LAPSED = 5

    @property
    def is_over(self) -> bool:
        """Whether the trial has ended."""
        return self in (TrialState.PASSED, TrialState.FAILED, TrialState.LAPSED)


@dataclass(frozen=True)
class Trial:
    """A version's trial as the contract stores it.

    until: Unix seconds, 0 before the draw; better, worse: samples that this version alone, or the rival alone, got
    right; rival: the version that served when this one was registered, 0 if none did.
    """

    state: TrialState
    seed_block: int
    until: int
    asked: int
    right: int
    better: int
    worse: int
    registrant: str
    bond: int
    rival: int
    seed: bytes

    @classmethod
    def of(cls, value: Any) -> Trial:
        """From the contract's struct."""
        fields = dict(zip(cls.__dataclass_fields__, value, strict=True))
        return cls(**fields | {"state": TrialState(value[0]), "seed": value[-1]})


@dataclass(frozen=True)
class ClassCount:
    """Samples of a class that a version was asked, and those it got right."""

    asked: int
    right: int


@dataclass(frozen=True)
class GateFixed:
    terms: GateTerms
    thresholds: Thresholds
    at: Place


@dataclass(frozen=True)
class TrialOpened:
    version: int
    rival: int
    attempt: int
    seed_block: int
    bond: int
    at: Place


@dataclass(frozen=True)
class TrialDrawn:
    version: int
    seed: bytes
    until: int
    at: Place


@dataclass(frozen=True)
class SampleAsked:
    """index: of the sample in the validation set; number: among the trial's samples, from 0."""

    version: int
    index: int
    number: int
    label: int
    answer: int
    rival_answer: int
    at: Place


@dataclass(frozen=True)
class TrialEnded:
    version: int
    outcome: TrialState
    asked: int
    right: int
    better: int
    worse: int
    at: Place


GateEvent = GateFixed | TrialOpened | TrialDrawn | SampleAsked | TrialEnded
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (GateFixed, TrialOpened, TrialDrawn, SampleAsked, TrialEnded)
}

OpenedSample = tuple[bytes, int, bytes, list[bytes]]
"""Salt, label, input and siblings, as `SampleTree.opened` gives them."""


class PromotionGate:
    """The gate of one service. Reverts surface as TransactionFailed with the contract's error decoded."""

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.w3 = w3
        self.contract: Contract = contract_at(w3, PROMOTION_GATE, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self._events = EventReader(w3, self.contract, self.sender.network)

    def terms(self) -> GateTerms:
        """What versions must pass."""
        return GateTerms.of(read(self.contract, "terms"))

    def thresholds(self) -> Thresholds:
        """The integer weights and thresholds of its accuracy test."""
        return Thresholds(*read(self.contract, "thresholds"))

    def pending_trial(self) -> int:
        """Version whose trial is not over; 0 if there is none."""
        return int(read(self.contract, "pendingTrial"))

    def trial(self, version_id: int) -> Trial:
        """A version's trial."""
        return Trial.of(read(self.contract, "trial", version_id))

    def class_counts(self, version_id: int, classes: int) -> tuple[ClassCount, ...]:
        """For each class, the samples asked in a version's trial and those answered rightly."""
        return tuple(
            ClassCount(*read(self.contract, "classCounts", version_id, label)) for label in range(classes)
        )

    def samples_remaining(self) -> int:
        """Samples that were not used yet."""
        return int(read(self.contract, "samplesRemaining"))

    def pool(self, first: int = 0) -> SamplePool:
        """The indices not drawn yet, from the events of block `first` (the gate's creation) on."""
        return replayed_pool(self.terms().samples, self.events((TrialDrawn, SampleAsked), first))

    def trials_lost(self) -> int:
        """Trials that failed or lapsed, of the `attempts` that may."""
        return int(read(self.contract, "trialsLost"))

    def randomness(self, seed_block: int) -> bytes:
        """The beacon's value that a trial of this block is drawn by, 32 bytes.

        Raises:
            NetworkError: the block is not there, or the chain has no beacon.
        """
        if draws_by_drand(self.contract):
            return bytes(read(self.contract, "randomness", seed_block, b""))
        return block_header(self.w3, seed_block)[1]

    def can_draw(self, seed_block: int, head: int) -> bool:
        """Whether a transaction after block `head` can draw by a block."""
        if not seed_block <= head < seed_block + SEED_WINDOW:
            return False
        return (
            head < seed_block + _HASHES
            or draws_by_drand(self.contract)
            or bool(self.w3.eth.get_code(Web3.to_checksum_address(_HISTORY)))
        )

    def draw(self, account: LocalAccount) -> Receipt:
        """Draw the pending trial's samples by its block's beacon value (anyone). Raises as `randomness` does."""
        seed_block = self.trial(self.pending_trial()).seed_block
        return self._send(account, "draw", shown_header(self.contract, seed_block))

    def run_samples(
        self, account: LocalAccount, first: int, samples: Sequence[OpenedSample], *, gas: int | None = None
    ) -> Receipt:
        """Ask the pending trial's version about its next samples, in the order of the draw (anyone).

        first: number of the first of them in the trial; what others asked meanwhile is skipped. gas: limit for the
        transaction; without it the limit is estimated, which runs all samples several times.
        """
        return self._send(account, "runSamples", first, list(samples), gas=gas)

    def lapse(self, account: LocalAccount) -> Receipt:
        """End the pending trial, whose draw or time is missed (anyone)."""
        return self._send(account, "lapse")

    def withdraw(self, account: LocalAccount) -> Receipt:
        """Send the account all it is owed: bonds of versions that passed."""
        return self._send(account, "withdraw")

    def owed(self, address: str) -> int:
        """Wei that an account may withdraw."""
        return int(read(self.contract, "owed", address))

    def events(
        self, kinds: Sequence[type[Any]] = (), first: int = 0, last: int | None = None
    ) -> Iterator[GateEvent]:
        """Events in order, of the given dataclasses or all, from block `first` to `last` (None: the head)."""
        names = [kind.__name__ for kind in kinds] or list(_KINDS)
        for event in self._events.fetch(names, first, last):
            yield _typed(event)

    def events_of(self, receipt: Receipt) -> tuple[GateEvent, ...]:
        """The gate's events in a transaction."""
        return tuple(_typed(event) for event in self._events.decode(receipt.raw["logs"]))

    def _send(self, account: LocalAccount, function: str, *arguments: Any, gas: int | None = None) -> Receipt:
        return self.sender.transact(account, self.contract, f"PromotionGate.{function}", *arguments, gas=gas)


def replayed_pool(samples: int, events: Iterator[GateEvent]) -> SamplePool:
    """The pool of `samples` samples after the draws that events tell of."""
    pool, seed = SamplePool(samples), b""
    for event in events:
        if isinstance(event, TrialDrawn):
            seed = event.seed
        elif isinstance(event, SampleAsked):
            pool.draw(seed, event.number)
    return pool


def _typed(event: RawEvent) -> GateEvent:
    args, fields = event.args, event.fields
    with as_told(event.name, event.at.tx_hash):
        if event.name == "GateFixed":
            terms, limits = _values(args["terms"]), _values(args["thresholds"])
            return GateFixed(GateTerms.of(terms), Thresholds(*limits), event.at)
        if event.name == "TrialEnded":
            fields["outcome"] = TrialState(fields["outcome"])
        typed: GateEvent = _KINDS[event.name](**fields, at=event.at)
    return typed


def _values(struct: Any) -> tuple[Any, ...]:
    """A decoded struct as nested tuples, whichever form web3 gives it in."""
    parts = struct.values() if isinstance(struct, Mapping) else struct
    return tuple(_values(part) if isinstance(part, Mapping | tuple | list) else part for part in parts)
