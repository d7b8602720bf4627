"""The ledger on a real chain: the Federation contract over any web3 provider."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

from eth_account.signers.local import LocalAccount
from eth_typing import HexStr

from fedvm.chain.direct import DirectState, DirectSubmissionsContract
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import (
    FederationCreated,
    FederationEvent,
    MemberAdded,
    MemberRemoved,
    Proposal,
    RollupSubmitted,
    RoundFailed,
    RoundFinal,
    RoundOpened,
    RoundProposed,
    RoundState,
    RulesAdopted,
    SubmittedDirectly,
    UpdateAccepted,
    UpdateExcluded,
    UpdateRefused,
)
from fedvm.chain.rollups import judged_rollup, rolled_events, rollup_judge, stated_rollup, submit_rollup
from fedvm.chain.rule_book import keys_in_round
from fedvm.federation.coordinator.answers import ProposedRound, answer_demands, find, open_demands
from fedvm.federation.coordinator.ledger import (
    AcceptedUpdate,
    LedgerRound,
    RefusedUpdate,
    RoundGas,
    Verdict,
    by_address,
)
from fedvm.federation.errors import LedgerMismatch, SettingsError, UpdatesWaiting
from fedvm.protocol import EncodingError, Rules, Submission
from fedvm.store import Cid, Store, StoreError

Event = TypeVar(
    "Event",
    RoundOpened,
    SubmittedDirectly,
    UpdateAccepted,
    UpdateRefused,
    RollupSubmitted,
    UpdateExcluded,
    RoundProposed,
    RoundFinal,
    RoundFailed,
)

_LONGEST_SLEEP = 30.0
_NO_ROOT = bytes(32)
_WITH_PROPOSAL = (RoundState.PROPOSED, RoundState.FINAL)


class ChainLedger:
    """A `Ledger` over the contract; `coordinator` signs the transactions.

    first_block: the block the contract was created in, so that no earlier one is searched for its events.
    pass_time: called with the seconds of chain time that are left to wait; sleeps unless given. An embedded
    chain passes its `advance_time`.
    store: where rounds that are rolled up say which updates they received; without it there can be none.
    Events are read once and kept, each call reading on from the last block seen; a chain that reorganises
    deeper than the network's receipts are waited for would need a new ChainLedger.
    """

    def __init__(
        self,
        contract: FederationContract,
        coordinator: LocalAccount,
        *,
        first_block: int = 0,
        pass_time: Callable[[int], None] | None = None,
        store: Store | None = None,
    ) -> None:
        self._contract = contract
        self._coordinator = coordinator
        self._rules = contract.rules()
        self._chain_id = int(contract.w3.eth.chain_id)
        self._events: list[FederationEvent] = []
        self._first_block = self._next_block = first_block
        self._gas_by_transaction: dict[str, int] = {}
        self._seeds: dict[int, bytes] = {}
        self._verdicts_by_rollup: dict[str, list[UpdateAccepted | UpdateRefused]] = {}
        self._pass_time = pass_time or _sleep
        self._store = store

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""
        return self._chain_id

    @property
    def address(self) -> str:
        """Checksummed address of the contract."""
        return self._contract.address

    def rules(self) -> Rules:
        """The rules in force: as read in the beginning, or as adopted since."""
        adopted = [event.rules for event in self._read() if isinstance(event, RulesAdopted)]
        return adopted[-1] if adopted else self._rules

    def aggregator_since(self) -> int:
        """The first round for which the rules name the present aggregator, as they have since."""
        since, latest, named = 1, 0, b""
        for event in self._read():
            if isinstance(event, FederationCreated):
                named = event.rules.aggregator
            elif isinstance(event, RoundOpened):
                latest = event.round
            elif isinstance(event, RulesAdopted) and event.rules.aggregator != named:
                since, named = latest + 1, event.rules.aggregator
        return since

    def members(self) -> tuple[str, ...]:
        """Checksummed addresses, ascending."""
        members: set[str] = set()
        told = False
        for event in self._read():
            if isinstance(event, FederationCreated):
                told = True
            elif isinstance(event, MemberAdded):
                members.add(event.member)
            elif isinstance(event, MemberRemoved):
                members.discard(event.member)
        # The contract is asked only where its beginning was not read: listing a thousand takes py-evm a second.
        return tuple(sorted(members, key=by_address)) if told else tuple(self._contract.members())

    def key_of(self, member: str) -> str:
        """Lower-case hex address of the key that a member appointed for the round to come, "" if none."""
        return keys_in_round(self._contract, self.current_round() + 1)(member)

    def current_round(self) -> int:
        """Number of the latest round, 0 before the first."""
        return self._contract.current_round()

    def round(self, number: int) -> LedgerRound:
        """State of a round. Raises CallFailed if it was never opened."""
        stored = self._contract.round(number)
        status = stored.state
        stated = status in _WITH_PROPOSAL
        proposed = self._of(RoundProposed, number)
        return LedgerRound(
            number=number,
            status=status,
            seed=self._seed_of(number),
            base_root=bytes(stored.base_root),
            model_root=bytes(stored.model_root) if stated else _NO_ROOT,
            aggregate_root=bytes(stored.aggregate_root) if stated else _NO_ROOT,
            aggregation_root=bytes(stored.aggregation_root) if stated else _NO_ROOT,
            deadline=stored.deadline,
            accepted=stored.accepted - stored.excluded,
            total_weight=stored.total_weight,
            model_cid=bytes(proposed[-1].cid) if stated else b"",
            rolled_up=stored.rolled_up,
        )

    def model_cid(self) -> bytes:
        """Binary CID of the latest final model, or of the first. Raises LedgerMismatch if no event has it."""
        events = self._read()
        final = [event for event in events if isinstance(event, RoundFinal)]
        proposals = {
            (event.round, event.attempt): event for event in events if isinstance(event, RoundProposed)
        }
        created = [event for event in events if isinstance(event, FederationCreated)]
        if not final and not created:
            raise LedgerMismatch(f"{self.address} tells of no model; search from an earlier first_block")
        if not final:
            return bytes(created[0].model_cid)
        return bytes(proposals[final[-1].round, final[-1].attempt].cid)

    def model_root(self) -> bytes:
        """Root of that model."""
        return self._contract.model_root()

    def verdicts(self, number: int) -> tuple[Verdict, ...]:
        """Verdicts of a round so far, in the order of the chain."""
        told: list[UpdateAccepted | UpdateRefused] = []
        for event in self._read():
            if isinstance(event, UpdateAccepted | UpdateRefused) and event.round == number:
                told.append(event)
            elif isinstance(event, RollupSubmitted) and event.round == number:
                told.extend(self._rolled_up(event))
        direct = frozenset(event.member for event in self._of(SubmittedDirectly, number))
        return tuple(_accepted(e, direct) if isinstance(e, UpdateAccepted) else _refused(e) for e in told)

    def excluded(self, number: int) -> frozenset[str]:
        """Members (lower-case hex) whose accepted update was proved bad."""
        return frozenset(event.member.lower() for event in self._of(UpdateExcluded, number))

    def gas(self, number: int) -> RoundGas:
        """Gas the round's transactions used."""
        opened = self._of(RoundOpened, number)
        submitted: list[FederationEvent] = [
            *self._of(UpdateAccepted, number),
            *self._of(UpdateRefused, number),
            *self._of(RollupSubmitted, number),
        ]
        closed: list[FederationEvent] = [
            *self._of(RoundProposed, number),
            *self._of(RoundFinal, number),
            *self._of(RoundFailed, number),
        ]
        return RoundGas(self._gas_of(opened), self._gas_of(submitted), self._gas_of(closed))

    def now(self) -> int:
        """Unix seconds of the latest block."""
        return int(self._contract.w3.eth.get_block("latest")["timestamp"])

    def open_round(self) -> LedgerRound:
        """Open the next round over the latest model."""
        opened, _ = self._contract.open_round(self._coordinator)
        return self.round(opened.round)

    def submit(self, number: int, updates: Sequence[Submission]) -> None:
        """Relay updates, ascending by member, in as few transactions as hold them."""
        self._contract.submit(self._coordinator, number, updates)

    def submit_rollup(self, number: int, submissions: Sequence[Submission], waiting: int = 0) -> None:
        """Judge updates as the contract would, publish the records, and state them in one transaction."""
        judged_at = min(self.now(), self._contract.round(number).deadline)
        members = [one.member for one in submissions]
        judge = rollup_judge(self._contract, number, members, judged_at, of=self.members())
        rollup = judged_rollup(judge, submissions)
        cid = Cid.parse(self._published.put(rollup.to_bytes())).binary
        with _awaiting(number):
            submit_rollup(
                self._contract,
                self._coordinator,
                number,
                rollup,
                judged_at=judged_at,
                waiting=waiting,
                cid=cid,
            )

    @property
    def _published(self) -> Store:
        if self._store is None:
            raise SettingsError(
                "rounds that are rolled up are read from the store: give it to ChainLedger(store=…)"
            )
        return self._store

    def _rolled_up(self, event: RollupSubmitted) -> list[UpdateAccepted | UpdateRefused]:
        """Its verdicts; read and hashed once, since a round asks for them several times."""
        tx_hash = event.at.tx_hash
        if tx_hash not in self._verdicts_by_rollup:
            try:
                rollup = stated_rollup(event, self._published.get(bytes(event.cid)))
            except (StoreError, EncodingError) as error:
                raise LedgerMismatch(
                    f"the records of round {event.round} cannot be read from the store: {error}"
                ) from error
            self._verdicts_by_rollup[tx_hash] = list(rolled_events(event, rollup))
        return self._verdicts_by_rollup[tx_hash]

    def hold_open(self, number: int) -> None:
        """Wait until a round has been open for ``Security.open_seconds``, before which nothing can be proposed."""
        if not self._open_seconds:
            return
        closable = self._contract.round(number).opened_at + self._open_seconds
        while (missing := closable - self.now()) > 0:
            self._pass_time(missing)

    def waiting(self, number: int) -> tuple[Submission, ...]:
        """Updates that members submitted themselves and that are neither included nor given up."""
        if not self._contract.round(number).waiting:
            return ()
        submitted = [event.submission for event in self._of(SubmittedDirectly, number)]
        return tuple(
            one
            for one in submitted
            if self._direct.update_of(number, one.member).state is DirectState.WAITING
        )

    def include(self, number: int, submission: Submission) -> None:
        """Take a waiting update in, where updates are relayed one by one."""
        self._direct.include(self._coordinator, number, submission)

    def demand_vector(self, number: int, member: str) -> bytes | None:
        """The vector of a waiting update, which its member posts on demand; None if it did not in time."""
        if not self._direct.update_of(number, member).due:
            self._direct.demand_posting(self._coordinator, number, member)
        while (posted := self.posted_vector(number, member)) is None:
            missing = self._direct.update_of(number, member).due + 1 - self.now()
            if missing <= 0:
                self._direct.forfeit(self._coordinator, number, member)
                return None
            self._pass_time(missing)
        return posted

    def posted_vector(self, number: int, member: str) -> bytes | None:
        """The vector that a member posted on demand, as it is stored; None if it posted none."""
        return self._direct.posted_vector(number, member, first_block=self._first_block)

    @cached_property
    def _open_seconds(self) -> int:
        return self._contract.security().open_seconds  # fixed when the federation was created

    @cached_property
    def _direct(self) -> DirectSubmissionsContract:
        return DirectSubmissionsContract.of(self._contract)

    def propose(self, number: int, proposal: Proposal) -> None:
        """State what a round with its quorum came to."""
        with _awaiting(number):
            self._contract.propose(self._coordinator, number, proposal)

    def conclude(self, number: int) -> RoundState:
        """Wait for the end of the challenge window and make the proposal final, unless it is rejected; meanwhile
        answer what is demanded."""
        while True:
            stored = self._contract.round(number)
            status = stored.state
            if status is not RoundState.PROPOSED:
                return status
            missing = stored.until + 1 - self.now()
            if missing <= 0:
                self._contract.finalize_round(self._coordinator, number)
            elif self.answer_demands(number) == 0:
                self._pass_time(missing)

    def answer_demands(self, number: int) -> int:
        """Show what is demanded of the pending proposal of a round, from the store; returns how many answers went out.

        What the store has lost stays open: then the proposal falls when the answer is overdue.
        """
        proposed = self._of(RoundProposed, number)
        if self._store is None or not proposed:
            return 0
        store, rollups = self._store, self._of(RollupSubmitted, number)

        def finder(wanted: Collection[bytes]) -> dict[bytes, bytes]:
            round_ = ProposedRound(
                chain_id=self._chain_id,
                federation=self.address,
                number=number,
                elements=self.rules().elements,
                accepted=[one for one in self.verdicts(number) if isinstance(one, AcceptedUpdate)],
                excluded=self.excluded(number),
                model_cid=bytes(proposed[-1].cid),
                rollup_cid=bytes(rollups[-1].cid) if rollups else b"",
            )
            return find(wanted, round_.preimages(store))

        block = proposed[-1].at.block_number
        return answer_demands(self._contract, self._coordinator, finder, first_block=block)

    def open_demands(self, number: int) -> list[bytes]:
        """Hashes that are demanded of the latest round's proposal and not answered."""
        proposed = self._of(RoundProposed, number)
        return open_demands(self._contract, first_block=proposed[-1].at.block_number) if proposed else []

    def fail(self, number: int) -> None:
        """Close a round without result."""
        self._contract.fail_round(self._coordinator, number)

    def _read(self) -> list[FederationEvent]:
        head = int(self._contract.w3.eth.block_number)
        if head >= self._next_block:
            # Whole or not at all: an RPC that fails half-way must leave nothing to be read twice.
            self._events.extend(list(self._contract.events(first=self._next_block, last=head)))
            self._next_block = head + 1
        return self._events

    def _of(self, kind: type[Event], number: int) -> list[Event]:
        return [event for event in self._read() if isinstance(event, kind) and event.round == number]

    def _seed_of(self, number: int) -> bytes:
        if number not in self._seeds:
            self._seeds[number] = self._contract.round_seed(number)
        return self._seeds[number]

    def _gas_of(self, events: Sequence[FederationEvent]) -> int:
        sent = dict.fromkeys(event.at.tx_hash for event in events)
        return sum(self._gas_used(tx_hash) for tx_hash in sent)

    def _gas_used(self, tx_hash: str) -> int:
        if tx_hash not in self._gas_by_transaction:
            receipt = self._contract.w3.eth.get_transaction_receipt(HexStr(tx_hash))
            self._gas_by_transaction[tx_hash] = int(receipt["gasUsed"])
        return self._gas_by_transaction[tx_hash]


def _sleep(seconds: int) -> None:
    time.sleep(min(float(seconds), _LONGEST_SLEEP))


@contextmanager
def _awaiting(number: int) -> Iterator[None]:
    """Names the refusal of a transaction that misses what members submitted themselves in the meantime."""
    try:
        yield
    except TransactionFailed as failed:
        if failed.reason.startswith("UpdatesWaiting("):
            raise UpdatesWaiting(f"round {number} has updates that members submitted themselves") from failed
        raise


def _accepted(event: UpdateAccepted, direct: frozenset[str]) -> AcceptedUpdate:
    return AcceptedUpdate(
        member=event.member,
        weight=event.weight,
        examples=event.examples,
        update_root=bytes(event.update_root),
        sum_squares=event.sum_squares,
        accuracy_ppm=event.accuracy_ppm,
        loss_micros=event.loss_micros,
        labels=event.labels,
        epsilon_micros=event.epsilon_micros,
        cid=bytes(event.cid),
        direct=event.member in direct,
    )


def _refused(event: UpdateRefused) -> RefusedUpdate:
    return RefusedUpdate(event.member, event.reason.label, bytes(event.update_root), bytes(event.cid))
