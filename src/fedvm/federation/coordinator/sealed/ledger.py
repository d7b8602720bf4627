"""What the coordinator of a sealed federation reads from its chain and does there, beside `ChainLedger`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from eth_account.signers.local import LocalAccount

from fedvm.chain.epoch_types import EpochStanding, EpochState, SignedEnrolment
from fedvm.chain.epochs import DRAWN_AFTER, EpochsContract
from fedvm.chain.errors import unless_done
from fedvm.chain.federation import FederationContract
from fedvm.chain.rule_book import keys_in_round
from fedvm.chain.sealed_rounds import SealedRollup, SealedRoundsContract
from fedvm.federation.coordinator.sealed.preimages import sealed_preimages
from fedvm.federation.errors import FederationStalled
from fedvm.protocol import Rules
from fedvm.protocol.sealed.bitmaps import set_bits
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.recomputation import Terms
from fedvm.protocol.sealed.records import SealedFile
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.store import Store
from fedvm.store.vectors import stored_vector


@dataclass(frozen=True)
class SealedLedger:
    """Epochs and sealed rounds of one federation on its chain.

    sender: a context with the coordinator's account, after which the chain's head is asked for again. wait: passes so
    many seconds of chain time. now: Unix seconds of the latest block. first_block: at or before the federation's
    creation.
    """

    contract: FederationContract
    sender: Callable[[], AbstractContextManager[LocalAccount]]
    wait: Callable[[int], None]
    now: Callable[[], int]
    first_block: int

    @cached_property
    def rules(self) -> SealedRules:
        """How rounds are sealed, which never changes."""
        return self._epochs.sealed_rules()

    def standing(self) -> EpochStanding:
        """The latest epoch; its number is 0 before the first."""
        return self._epochs.standing()

    def is_usable(self, standing: EpochStanding) -> bool:
        """Whether another round can be sealed in an epoch, perhaps after a wait."""
        left = standing.closed_rounds < self.rules.epoch_rounds
        return standing.state is EpochState.DRAWN and standing.is_stated and left

    def open_epoch(self) -> EpochStanding:
        """Let enrolment begin for the next epoch."""
        with self.sender() as account:
            self._epochs.open_epoch(account)
        return self.standing()

    def enrol(self, number: int, enrolments: Sequence[SignedEnrolment]) -> None:
        """Bring signed enrolments; those that are there already are passed over."""
        with self.sender() as account:
            self._epochs.enrol(account, number, enrolments)

    def draw(self, standing: EpochStanding) -> Draw:
        """Close enrolment when its time is over, and draw the groups.

        Raises:
            FederationStalled: too few members enrolled, or the draw was missed; the epoch failed.
        """
        if standing.state is EpochState.ENROLLING:
            self._wait_until(standing.until)
            with unless_done("WrongEpochState"), self.sender() as account:
                self._epochs.close_enrolment(account, standing.number)
            standing = self.standing()
            if standing.state is EpochState.FAILED:
                raise FederationStalled(
                    f"{standing.members} members enrolled for epoch {standing.number}, the sealed rules ask for "
                    f"{self.rules.min_roster}: connect more clients and resume the run"
                )
        if standing.state is EpochState.CLOSED:
            # A node estimates the gas by its latest block, so that one must do.
            while self.contract.w3.eth.block_number <= standing.closed_in + DRAWN_AFTER:
                self.wait(1)
            with unless_done("WrongEpochState"), self.sender() as account:
                self._epochs.draw(account, standing.number)
            standing = self.standing()
        if standing.state is not EpochState.DRAWN:
            raise FederationStalled(f"epoch {standing.number} failed: its draw was missed; resume the run")
        return self._epochs.drawn(standing.number, self.first_block)

    def state_ready(self, number: int, ready: bytes) -> None:
        """State who is ready: a bitmap over places."""
        with self.sender() as account:
            self._epochs.state_ready(account, number, ready)

    def fail_epoch(self, standing: EpochStanding) -> None:
        """End an epoch in which nobody stated in time who is ready."""
        self._wait_until(standing.until)
        with unless_done("WrongEpochState"), self.sender() as account:
            self._epochs.fail_epoch(account, standing.number)

    def agreed(self, standing: EpochStanding, known: Epoch | None = None) -> Epoch:
        """The epoch, once members whom the coordinator left out have had their time to add themselves. known: what it
        was when it was last read, which is read again only where the chain has another by now."""
        self._wait_until(standing.until)
        if known is not None and self.standing().is_of(known):
            return known
        return self._epochs.agreed(standing.number, self.first_block)

    def closed(self, number: int) -> bytes | None:
        """The bitmap of included places of a round that is closed; None if it is not."""
        if self._rounds.latest().round != number:
            return None
        return self._rounds.closed_event(number, self.first_block).included

    def close(self, number: int, epoch: Epoch, included: bytes) -> None:
        """State whose updates came."""
        with self.sender() as account:
            self._rounds.close(account, number, epoch, included)

    def submit(self, number: int, rollup: SealedRollup) -> None:
        """State which groups count, under the bond."""
        with self.sender() as account:
            self._rounds.submit(self.contract, account, number, rollup)

    def counting(self, number: int) -> tuple[bytes, bytes]:
        """The bitmap of groups that count of a round that is rolled up, and the binary CID of its file."""
        stated = self._rounds.submitted_event(number, self.first_block)
        return stated.counting, stated.cid

    def file(self, number: int, store: Store) -> SealedFile:
        """The published file of a round that is rolled up. Raises as the store."""
        return SealedFile.parse(store.get(self.counting(number)[1]))

    def cids(self, number: int, store: Store) -> set[bytes]:
        """Binary CIDs of what the chain names for a round that is rolled up: its file, and the masked updates in that.
        Raises as the store."""
        cid = self.counting(number)[1]
        return {cid} | {one.masked.cid for one in SealedFile.parse(store.get(cid)).parsed}

    def stated(self, close: Close, store: Store) -> tuple[tuple[int, ...], SealedFile]:
        """The groups that count of a round that is rolled up, and its published file. Raises as the store."""
        counting, cid = self.counting(close.round)
        return set_bits("counting", counting, len(close.groups)), SealedFile.parse(store.get(cid))

    def preimages(
        self, number: int, store: Store, rules: Rules, base_cid: bytes, model_cid: bytes
    ) -> Iterator[bytes]:
        """What can be asked about the proposal of a round; see `sealed_preimages`."""
        included = self.closed(number)
        if included is None:
            return
        close = Close(self.agreed(self.standing()), number, included)
        counting, file = self.stated(close, store)
        base = stored_vector(store, base_cid, rules.elements)
        terms = Terms(rules, self.rules, base, keys_in_round(self.contract, number))
        yield from sealed_preimages(close, counting, file, store, terms, model_cid)

    def _wait_until(self, until: int) -> None:
        while (missing := until + 1 - self.now()) > 0:
            self.wait(missing)

    @cached_property
    def _epochs(self) -> EpochsContract:
        return EpochsContract.of(self.contract)

    @cached_property
    def _rounds(self) -> SealedRoundsContract:
        return SealedRoundsContract.of(self.contract)
