"""A chain of tipsets: each epoch has one or none, and the messages of a tipset count once it has a child."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import Final

from fedvm.devnet.lotus.machine import Epoch, Machine, Outcome
from fedvm.devnet.lotus.market import (
    effective_premium,
    next_base_fee,
    premium_at_percentile,
    suggested_premium,
)
from fedvm.devnet.lotus.pool import Pool, Signed, decoded
from fedvm.evm.keccak import keccak

KNOWN_HASHES: Final = 256
_GENESIS_BASE_FEE: Final = 1_000_000


@dataclass(frozen=True)
class Weather:
    """What happens to a chain by itself. null_rounds, held: probability that an epoch has no tipset, and that a message
    is passed over for ``held_epochs``; lost: share of the messages of a tipset that leaves the chain which no node
    remembers; finality: epochs after which a tipset stays."""

    null_rounds: float = 0.05
    held: float = 0.0
    held_epochs: int = 20
    lost: float = 0.5
    finality: int = 5


@dataclass(frozen=True)
class Done:
    """A message in its tipset, and what it came to."""

    signed: Signed
    outcome: Outcome
    tipset: Tipset
    index: int
    first_log: int

    @property
    def gas_price(self) -> int:
        fee = self.tipset.base_fee
        return min(fee, self.signed.fee_cap) + effective_premium(
            self.signed.fee_cap, self.signed.premium, fee
        )


@dataclass(eq=False)
class Tipset:
    """root: state after its messages, which a node tells of only once a child is there. timestamp: seconds."""

    epoch: int
    timestamp: int
    hash: bytes
    parent: bytes
    base_fee: int
    beacon: bytes
    root: bytes = b""
    done: list[Done] = field(default_factory=list)


class TipsetChain:
    """The chain of one node. Safe to use from several threads: all hold ``lock``.

    ``balances``: address → attoFIL; ``started``: timestamp of the genesis; ``block_time``: seconds of an epoch.
    """

    def __init__(
        self,
        chain_id: int,
        balances: dict[bytes, int],
        *,
        started: int,
        block_time: int = 30,
        weather: Weather | None = None,
        seed: int = 0,
    ) -> None:
        self.machine = Machine(chain_id, balances)
        self.chain_id, self.block_time, self.weather = chain_id, block_time, weather or Weather()
        self.lock = threading.RLock()
        self.pool = Pool()
        self.by_hash: dict[bytes, Done] = {}
        self._random = random.Random(seed)
        self._beacons = keccak(b"beacons of a local chain" + seed.to_bytes(32, "big"))
        self._started = started
        self.epoch = 0
        genesis = Tipset(
            0,
            started,
            keccak(b"genesis" + self._beacons + started.to_bytes(8, "big")),
            bytes(32),
            _GENESIS_BASE_FEE,
            self._beacon(0, 0),
            self.machine.genesis_root,
        )
        self.tipsets: list[Tipset] = [genesis]
        self._forks = 0
        self._append(0)
        self._append(0)

    @property
    def head(self) -> Tipset:
        return self.tipsets[-1]

    @property
    def latest(self) -> Tipset:
        """The last tipset whose messages were executed: the head's parent."""
        return self.tipsets[-2]

    @property
    def finalized(self) -> Tipset:
        return self.at(max(self.latest.epoch - self.weather.finality, 0))

    def at(self, epoch: int) -> Tipset:
        """The tipset of an epoch, or the one before a null round."""
        low, high = 0, len(self.tipsets) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.tipsets[middle].epoch <= epoch:
                low = middle
            else:
                high = middle - 1
        return self.tipsets[low]

    def executed(self, tx_hash: bytes) -> Done | None:
        """A message of a tipset that has a child."""
        done = self.by_hash.get(tx_hash)
        return done if done is not None and done.tipset is not self.head else None

    def push(self, raw: bytes) -> bytes:
        """Take a signed transaction into the pool; its hash. Raises MessageRefused."""
        signed = decoded(raw, self.chain_id)
        with self.lock:
            self.pool.add(signed, self.machine, self.head.root)
            if self._random.random() < self.weather.held:
                self.pool.held[signed.hash] = self.epoch + self.weather.held_epochs
        return signed.hash

    def tick(self) -> None:
        """One epoch passes."""
        with self.lock:
            if self._random.random() < self.weather.null_rounds:
                self.epoch += 1
            else:
                self._append(self._forks)

    def reorganise(self, depth: int) -> int:
        """The last ``depth`` tipsets, or as many as are not final, leave the chain, and as many and one more take their
        places. Returns how many left. Their messages wait again, but for those that no node remembers."""
        with self.lock:
            depth = min(depth, sum(t.epoch > self.finalized.epoch for t in self.tipsets[2:]))
            if depth < 1:
                return 0
            gone = self.tipsets[-depth:]
            del self.tipsets[-depth:]
            reached, self.epoch = self.epoch, self.head.epoch
            self._forks += 1
            for tipset in gone:
                for done in tipset.done:
                    del self.by_hash[done.signed.hash]
                    if self._random.random() >= self.weather.lost:
                        self.pool.restore([done.signed])
            # The other branch had not heard of them, so it begins with tipsets of its own.
            for _ in range(depth):
                self._append(self._forks, empty=True)
            self.epoch = max(self.epoch, reached)
            self._append(self._forks)
            return depth

    def surroundings(self, tipset: Tipset) -> Epoch:
        """In which a call on the state after a tipset runs."""
        hashes = self._hashes_before(tipset.epoch)
        return Epoch(tipset.epoch, tipset.timestamp, tipset.base_fee, tipset.beacon, hashes)

    def _hashes_before(self, epoch: int) -> list[bytes]:
        """What BLOCKHASH knows in an epoch, of those before it, the newest first: of a null round the hash of the
        tipset before that."""
        last = epoch - 1
        return [self.at(number).hash for number in range(last, max(last - KNOWN_HASHES, -1), -1)]

    def premium(self) -> int:
        """AttoFIL a gas that a node suggests."""
        return suggested_premium(self.head.base_fee)

    def _append(self, fork: int, *, empty: bool = False) -> None:
        parent = self.head
        self.epoch = max(self.epoch, parent.epoch) + 1
        before = [
            (effective_premium(d.signed.fee_cap, d.signed.premium, parent.base_fee), d.signed.gas)
            for d in parent.done
        ]
        tipset = Tipset(
            self.epoch,
            self._started + self.epoch * self.block_time,
            keccak(parent.hash + self.epoch.to_bytes(8, "big") + fork.to_bytes(8, "big")),
            parent.hash,
            next_base_fee(parent.base_fee, premium_at_percentile(before)),
            self._beacon(self.epoch, fork),
        )
        recent = self._hashes_before(tipset.epoch)
        around = Epoch(tipset.epoch, tipset.timestamp, tipset.base_fee, tipset.beacon, recent)
        root, logs = parent.root, 0
        chosen = [] if empty else self.pool.choose(self.machine, parent.root, tipset.base_fee, tipset.epoch)
        for index, signed in enumerate(chosen):
            root, outcome = self.machine.apply(
                root, around, signed.message, signed.gas, signed.fee_cap, signed.premium
            )
            done = Done(signed, outcome, tipset, index, logs)
            tipset.done.append(done)
            self.by_hash[signed.hash] = done
            logs += len(outcome.logs)
        tipset.root = root
        self.tipsets.append(tipset)

    def _beacon(self, epoch: int, fork: int) -> bytes:
        return keccak(self._beacons + epoch.to_bytes(8, "big") + fork.to_bytes(8, "big"))
