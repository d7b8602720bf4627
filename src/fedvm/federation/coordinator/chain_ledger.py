"""What a coordinator reads from a chain and does there: the Federation contract over any web3 provider."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TypeVar

from eth_account.signers.local import LocalAccount
from eth_typing import HexStr

from fedvm.chain.direct import DirectState, DirectSubmissionsContract
from fedvm.chain.errors import unless_done
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Proposal, Round, RoundFinal, RoundState
from fedvm.chain.genuine import is_sealed
from fedvm.chain.history import FederationHistory, RoundHistory
from fedvm.chain.passing_time import Waiting, keep_pace
from fedvm.chain.patience import patiently
from fedvm.chain.rollups import (
    judged_again,
    judged_rollup,
    rollup_judge,
    stated_rollup,
    submit_rollup,
)
from fedvm.chain.rule_book import keys_in_round
from fedvm.federation.coordinator.answers import (
    Lookup,
    OpenQuestion,
    ProposedRound,
    answer_questions,
    find,
    open_questions,
    reject_overdue,
)
from fedvm.federation.coordinator.evidence import EvidenceKeeper
from fedvm.federation.coordinator.ledger import Head, LedgerRound, RoundGas, awaiting
from fedvm.federation.coordinator.sealed.ledger import SealedLedger
from fedvm.federation.errors import LedgerMismatch, SettingsError
from fedvm.protocol import Domain, EncodingError, Rules, Submission
from fedvm.protocol.address import by_address
from fedvm.store import Cid, Store, StoreError
from fedvm.store.vectors import UpdateVectors

Answer = TypeVar("Answer")

_LOG = logging.getLogger(__name__)
_LONGEST_SLEEP = 30.0
_NO_ROOT = bytes(32)
_WITH_PROPOSAL = (RoundState.PROPOSED, RoundState.FINAL)


class ChainLedger:
    """One federation on its chain; `coordinator` signs the transactions.

    first_block: the block in which the contract was created; earlier blocks are not searched for events. pass_time:
    called with the seconds of chain time that are left to wait; sleeps unless given, and tells of it with `tell`. An
    embedded chain passes its `advance_time`. store: holds the records of rounds that are rolled up; without it no round
    can be rolled up. Events are read once and kept (`FederationHistory`). The contract's state is read once per block:
    every call asks for the chain's head, but within a `step` only the first one does, and the state is read again only
    if the head has moved. Transactions return when they are in a block; all raise TransactionFailed on a revert.
    """

    def __init__(
        self,
        contract: FederationContract,
        coordinator: LocalAccount,
        *,
        first_block: int = 0,
        pass_time: Callable[[int], None] | None = None,
        store: Store | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._contract = contract
        self._coordinator = coordinator
        self._domain = Domain(int(contract.w3.eth.chain_id), contract.address)
        self._history = FederationHistory(contract, first_block=first_block)
        self._first_block = first_block
        self._head = Head()
        self._in_step = self._has_looked = False
        self._gas_by_transaction: dict[str, int] = {}
        self._pass_time = pass_time
        self._store = store
        self._tell = tell or _LOG.warning
        self._waiting = Waiting(contract.sender.network, self._tell)
        self._keep_pace = keep_pace(contract.w3, contract.sender.network)

    @property
    def domain(self) -> Domain:
        """The chain, by its EIP-155 id, and the contract on it."""
        return self._domain

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""
        return self._domain.chain_id

    @property
    def address(self) -> str:
        """Checksummed address of the contract."""
        return self._contract.address

    def rules(self) -> Rules:
        """The rules in force."""
        told = self._told().rules
        return self._asked("rules", self._contract.rules) if told is None else told

    def aggregator_since(self) -> int:
        """The first round, opened or yet to open, for which the rules name the present aggregator, as they have since:
        1 if they never named another."""
        return self._told().aggregator_since

    def members(self) -> tuple[str, ...]:
        """Checksummed addresses, ascending."""
        told = self._told()
        if told.created is None:  # the beginning was not read: all members' events are
            return tuple(self._asked("members", self._contract.members))
        return tuple(sorted(told.members, key=by_address))

    def key_of(self, member: str) -> str:
        """Checksummed address of the key that a member appointed for the round to come, "" if none."""
        return keys_in_round(self._contract, self.current_round() + 1)(member)

    def key_in(self, number: int) -> Callable[[str], str]:
        """From a member to the key (checksummed) that it had appointed for a round, "" if none."""
        return keys_in_round(self._contract, number)

    @cached_property
    def sealed(self) -> SealedLedger | None:
        """Epochs and sealed rounds; None if the federation's rounds are open."""
        if not is_sealed(self._contract.w3, self._contract.address):
            return None
        return SealedLedger(self._contract, self._sender, self._wait, self.now, self._first_block)

    def current_round(self) -> int:
        """Number of the latest round, 0 before the first."""
        told = self._told()
        if told.created is None and not told.rounds:
            return self._asked("current_round", self._contract.current_round)
        return max(told.rounds, default=0)

    def round(self, number: int) -> LedgerRound:
        """State of a round. Raises ChainError if it was never opened."""
        told, stored = self._told().round(number), self._stored(number)
        opened = told.opened or self._contract.opening(number)
        stated = stored.state in _WITH_PROPOSAL
        proposed = told.proposal
        # Of a round that is over the contract keeps no totals.
        totals = told.ended if isinstance(told.ended, RoundFinal) else stored
        return LedgerRound(
            number=number,
            status=stored.state,
            seed=opened.seed,
            base_root=opened.base_root,
            model_root=stored.model_root if stated else _NO_ROOT,
            aggregate_root=totals.aggregate_root if stated else _NO_ROOT,
            aggregation_root=stored.aggregation_root if stated else _NO_ROOT,
            deadline=stored.deadline,
            accepted=stored.accepted,
            total_weight=totals.total_weight,
            model_cid=proposed.cid if stated and proposed else b"",
            rolled_up=stored.rolled_up,
        )

    def model_cid(self) -> bytes:
        """Binary CID of the latest final model; of the first before any round is final. Raises LedgerMismatch if no
        event has it."""
        cid = self._told().model_cid
        if cid is None:
            raise LedgerMismatch(f"{self.address} tells of no model; search from an earlier first_block")
        return cid

    def model_root(self) -> bytes:
        """Root of that model."""
        return self._asked("model_root", self._contract.model_root)

    def history(self, number: int) -> RoundHistory:
        """What was told of a round so far, its verdicts among it. Raises LedgerMismatch where the records of a roll-up
        cannot be read from the store."""
        told = self._told().round(number)
        if told.rollup is not None and told.lacks_records:
            try:
                told.take_records(stated_rollup(told.rollup, self._published.get(told.rollup.cid)))
            except (StoreError, EncodingError) as error:
                raise LedgerMismatch(
                    f"the records of round {number} cannot be read from the store: {error}"
                ) from error
        return told

    def gas(self, number: int) -> RoundGas:
        """Gas the round's transactions used."""
        told = self._told().round(number)
        return RoundGas(*map(self._gas_of, (told.opening, told.submitting, told.closing)))

    def now(self) -> int:
        """Unix seconds of the latest block."""
        return self._look().time

    def open_round(self) -> LedgerRound:
        """Open the next round over the latest model. Raises as `EvidenceKeeper.require_store`."""
        self.evidence.require_store(self._store)
        with self._sender() as account:
            opened, _ = self._contract.open_round(account)
        return self.round(opened.round)

    def submit(self, number: int, updates: Sequence[Submission]) -> None:
        """Relay updates, ascending by member, in as few transactions as hold them."""
        with self._sender() as account:
            self._contract.submit(account, number, updates)

    def submit_rollup(self, number: int, submissions: Sequence[Submission], journal: bytes) -> None:
        """Judge updates as the contract would, publish the records, and state them in one transaction.

        journal: that of the round (`RoundHistory`) when the updates were gathered. Raises UpdatesWaiting if members
        have submitted others since.
        """
        head = self._look()
        judged_at = min(self.now(), self._stored(number).deadline)
        members = [one.member for one in submissions]
        judge = rollup_judge(self._contract, number, members, judged_at, of=self.members())
        rollup = judged_rollup(judge, submissions)
        cid = Cid.parse(self._published.put(rollup.to_bytes())).binary
        with awaiting(number), self._sender() as account:
            submit_rollup(
                self._contract,
                account,
                number,
                rollup,
                judged_at=judged_at,
                cid=cid,
                journal=journal,
                anchor=(head.number, head.hash),
            )

    @property
    def _published(self) -> Store:
        if self._store is None:
            raise SettingsError(
                "rounds that are rolled up are read from the store: give it to ChainLedger(store=…)"
            )
        return self._store

    def judge_again(self, number: int) -> None:
        """Judge the records of a roll-up that stands on chain again.

        Raises LedgerMismatch if they are not true, or leave out an update that waits: whoever proposed over them would
        lose its bond.
        """
        told = self.history(number)
        if told.rollup is None:
            return
        rollup = stated_rollup(told.rollup, self._published.get(told.rollup.cid))
        records = {one.member: one for one in rollup.judged}
        judge = rollup_judge(self._contract, number, records, told.rollup.judged_at, of=self.members())
        true = judged_again(judge, rollup)
        left_out = [
            one.member
            for one in self.waiting(number)
            if (record := records.get(one.member)) is None
            or (record.reason and (record.update, record.signature) != (one.update, one.signature))
        ]
        if true.tree.root != told.rollup.records_root or left_out:
            raise LedgerMismatch(
                f"the roll-up of round {number} does not follow from the rules; let the round run out and fail it"
            )

    def hold_open(self, number: int) -> None:
        """Wait until a round has been open for ``Security.open_seconds``; before that nothing can be proposed."""
        if not self._open_seconds:
            return
        closable = self._stored(number).opened_at + self._open_seconds
        while (missing := closable - self.now()) > 0:
            self._wait(missing, f"members' own updates of round {number}")

    def waiting(self, number: int) -> tuple[Submission, ...]:
        """Updates that members submitted themselves and that are neither included nor given up."""
        if not self._stored(number).waiting:
            return ()
        submitted = [event.submission for event in self._told().round(number).direct.values()]
        return tuple(
            one
            for one in submitted
            if self._direct.update_of(number, one.member).state is DirectState.WAITING
        )

    def include(self, number: int, submission: Submission) -> None:
        """Take a waiting update in, where updates are relayed one by one."""
        with self._sender() as account:
            self._direct.include(account, number, submission)

    def await_vectors(self, number: int, members: Sequence[str]) -> bool:
        """Demand the vectors of these members' waiting updates, all at once, and wait a while; False if all are posted.

        The contract takes demands only so long after the deadline, so none may wait for another's answer. And until the
        deadline others can submit: the wait ends there at the latest, for the caller to look again. An update whose
        vector was not posted in time is given up.
        """
        standing = {one: self._direct.update_of(number, one) for one in members}
        lacking = [one for one in members if not standing[one].settled]
        for one in lacking:
            if not standing[one].due:
                with self._sender() as account:
                    self._direct.demand_posting(account, number, one)
                standing[one] = self._direct.update_of(number, one)
        late = [one for one in lacking if standing[one].due < self.now()]
        for one in late:
            with unless_done("NotWaiting", "NotDemanded"), self._sender() as account:
                self._direct.forfeit(account, number, one)
        if lacking and not late:
            now, ends = self.now(), [standing[one].due for one in lacking]
            if now <= (deadline := self._stored(number).deadline):
                ends.append(deadline)
            self._wait(min(ends) + 1 - now, f"vectors of round {number}")
        return bool(lacking)

    def vectors_in(self, store: Store) -> UpdateVectors:
        """Finds the vectors of updates in a store, or among those posted on chain."""

        def posted(number: int, member: str) -> bytes | None:
            opened = self._told().round(number).opened
            first = opened.at.block_number if opened else self._first_block
            return self._direct.posted_vector(number, member, first_block=first)

        return UpdateVectors(store, self._domain, self.rules().elements, posted)

    @cached_property
    def _open_seconds(self) -> int:
        return self._contract.security().open_seconds  # fixed when the federation was created

    @cached_property
    def _answer_seconds(self) -> int:
        return self._contract.security().answer_seconds  # fixed, too

    @cached_property
    def _direct(self) -> DirectSubmissionsContract:
        return DirectSubmissionsContract.of(self._contract)

    def store_evidence(self, number: int, proposal: Proposal) -> bool:
        """Have a proposal's evidence stored and named as the federation asks, before it is made; False if that is not
        to be had before the round runs out. Raises as `EvidenceKeeper.keep`."""

        def named() -> set[bytes]:
            own = (
                self.history(number).cids
                if self.sealed is None
                else self.sealed.cids(number, self._published)
            )
            return {self.model_cid(), proposal.cid} | own

        return self.evidence.keep(number, partial(self._stored, number), self._store, named)

    @cached_property
    def evidence(self) -> EvidenceKeeper:
        """What the federation asks of the storage of its evidence."""
        return EvidenceKeeper(self._contract, self._sender, self._wait, self.now, self._tell)

    def propose(self, number: int, proposal: Proposal) -> None:
        """Propose the result of a round that has its quorum."""
        stored = self._stored(number)
        bonded = stored.rolled_up and stored.attempt == 0
        with awaiting(number), self._sender() as account:
            self._contract.propose(account, number, proposal, bonded=bonded)

    def conclude(self, number: int) -> RoundState:
        """Wait for the end of the challenge window and make the proposal final, unless it is rejected; meanwhile
        answer what is asked.

        While it waits for real time to pass, outages of the chain's RPC are sat out.
        """
        while True:
            if self._pass_time is None:
                state = patiently(
                    partial(self._concluded, number), tell=self._tell, pause=partial(time.sleep, 5)
                )
            else:
                state = self._concluded(number)
            if state is not RoundState.PROPOSED:
                return state

    def _concluded(self, number: int) -> RoundState:
        """Do what there is to do for a pending proposal, or wait; returns where the round stood before."""
        self._has_looked = False
        stored = self._stored(number)
        if stored.state is not RoundState.PROPOSED:
            return stored.state
        missing = stored.until + 1 - self.now()
        if missing > 0:
            if self.answer_questions(number) == 0:
                self._wait(missing, f"the end of the challenge window of round {number}")
        elif open_ := self.open_questions(number):
            # The store has lost data: the proposal cannot become final any more, but the round can go on.
            with unless_done("NotProposed", "NotDemanded"), self._sender() as account:
                reject_overdue(self._contract, account, number, open_[0])
        else:
            with unless_done("WrongState"), self._sender() as account:
                self._contract.finalize_round(account, number)
        return stored.state

    def answer_questions(self, number: int) -> int:
        """Show what is asked of the pending proposal of a round, from the store; returns how many answers went out.

        A question for data that the store has lost stays open; the proposal is rejected when the answer is overdue.
        """
        proposed = self._told().round(number).proposal
        if self._store is None or proposed is None:
            return 0
        store = self._store

        def finder(questions: Collection[OpenQuestion]) -> Lookup:
            if self.sealed is not None:
                return find(
                    questions,
                    self.sealed.preimages(number, store, self.rules(), self.model_cid(), proposed.cid),
                )
            round_ = ProposedRound(self.vectors_in(store), self.history(number))
            return find(questions, round_.preimages())

        with self._sender() as account:
            return answer_questions(self._contract, account, proposed, finder)

    def open_questions(self, number: int) -> list[OpenQuestion]:
        """What is asked of the latest round's proposal and not answered, the most urgent first."""
        proposed = self._told().round(number).proposal
        return open_questions(self._contract, proposed) if proposed else []

    def fail(self, number: int) -> None:
        """Close a round without result."""
        with unless_done("WrongState"), self._sender() as account:
            self._contract.fail_round(account, number)

    @contextmanager
    def step(self) -> Iterator[None]:
        """A context in which the chain's head is asked for once, and again after each transaction and each wait."""
        outer, self._in_step, self._has_looked = self._in_step, True, False
        try:
            yield
        finally:
            self._in_step = outer

    @contextmanager
    def _sender(self) -> Iterator[LocalAccount]:
        """The account that signs the transaction inside the context; after it the chain's head is asked for again."""
        try:
            yield self._coordinator
        finally:
            self._has_looked = False

    def _wait(self, seconds: int, what: str = "the chain's time") -> None:
        if self._pass_time is None:
            self._waiting.look(what, seconds, self.now())
            # What is asked must be answered in time, so there are several looks within it.
            time.sleep(min(float(seconds), _LONGEST_SLEEP, self._answer_seconds / 8))
            if self._keep_pace is not None:
                self._keep_pace()
        else:
            self._pass_time(seconds)
        self._has_looked = False

    def _look(self) -> Head:
        """The chain's head; answers from another head are forgotten."""
        if self._in_step and self._has_looked:
            return self._head
        self._has_looked = True
        latest = self._contract.w3.eth.get_block("latest")
        if bytes(latest["hash"]) != self._head.hash:
            self._head = Head(latest["number"], bytes(latest["hash"]), latest["timestamp"])
        return self._head

    def _told(self) -> FederationHistory:
        return self._history.read(self._look().number)

    def _stored(self, number: int) -> Round:
        return self._asked(f"round {number}", partial(self._contract.round, number))

    def _asked(self, what: str, ask: Callable[[], Answer]) -> Answer:
        """What the contract answers at the present head; each question is asked once."""
        answers = self._look().answers
        if what not in answers:
            answers[what] = ask()
        answer: Answer = answers[what]
        return answer

    def _gas_of(self, transactions: Sequence[str]) -> int:
        return sum(self._gas_used(tx_hash) for tx_hash in transactions)

    def _gas_used(self, tx_hash: str) -> int:
        if tx_hash not in self._gas_by_transaction:
            receipt = self._contract.w3.eth.get_transaction_receipt(HexStr(tx_hash))
            self._gas_by_transaction[tx_hash] = int(receipt["gasUsed"])
        return self._gas_by_transaction[tx_hash]
