"""An automatic challenger: recomputes a roll-up and a proposal, and asks for data and proves faults until a wrong one
is rejected."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eth_account.signers.local import LocalAccount

from fedvm.audit.pending_round import PendingRound, pending_round
from fedvm.audit.preimages import Preimages, first_known
from fedvm.audit.proposal_fraud import find_fraud
from fedvm.audit.rollup_fraud import RollupCase, rollup_case
from fedvm.audit.sealed_case import sealed_case
from fedvm.audit.sealed_fraud import SealedFraud
from fedvm.audit.vector_walk import Asked, PreimagesMissing
from fedvm.chain.artifacts import ROLLUPS
from fedvm.chain.court import Court, Evidence, Fraud
from fedvm.chain.disputes import DataAnswered, DataDemanded, DataGiven, DisputesContract, Question
from fedvm.chain.errors import TransactionFailed, unless_done
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RollupSubmitted, RoundState
from fedvm.chain.genuine import is_sealed
from fedvm.chain.sealed_disputes import SealedDisputesContract
from fedvm.chain.sealed_proofs import not_sealed
from fedvm.chain.sealed_rounds import SealedRoundsContract
from fedvm.evm.keccak import keccak
from fedvm.protocol.preimages import by_hash, of_rollup
from fedvm.store import Store, StoreError

_LONGEST_SLEEP = 30.0
_MOST_UNITS = 256
"""Units that are asked for at once: up to these the price stays what it is at first."""

_Asked = dict[tuple[bytes, int], int | None]
"""Hash and levels of the questions of an attempt: when their answer is due, None for those answered."""


@dataclass(frozen=True)
class Upheld:
    """A challenge that succeeded: the round, the attempt, what was wrong, gas of the transaction that showed it,
    questions asked on the way, and wei that are owed to the challenger for it, its share of the bond included."""

    round: int
    attempt: int
    fraud: Fraud
    gas_used: int
    demands: int
    reward: int


@dataclass(frozen=True)
class Suspicion:
    """What a challenge would say of a proposal. fraud: what can be proved at once; None where data have to be asked for
    first, since what was proposed does not follow from what is published."""

    round: int
    attempt: int
    fraud: Fraud | None
    questions: int


@dataclass
class _Standing:
    """The proposal that is challenged. round: the data it must follow from, once they are known. asked: what the
    challenger itself asked; each is paid back when the proposal falls."""

    number: int
    attempt: int
    round: PendingRound | None = None
    sealed: SealedFraud | None = None
    asked: list[Asked] = field(default_factory=list)


class Challenger:
    """Challenges the proposals of one federation with `account`, which pays gas and the fees of questions.

    source: preimages that the coordinator published, beside the answers on the chain. pass_time: called with the
    seconds until an answer is due, and may return earlier; sleeps unless given.
    """

    def __init__(
        self,
        contract: FederationContract,
        store: Store,
        account: LocalAccount,
        *,
        source: Preimages = lambda wanted: None,
        pass_time: Callable[[int], None] | None = None,
        first_block: int = 0,
    ) -> None:
        self._contract, self._store, self._account = contract, store, account
        self._is_sealed = is_sealed(contract.w3, contract.address)
        self._disputes = (
            SealedDisputesContract.of(contract)
            if self._is_sealed
            else DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
        )
        self._courts = {court.name: court for court in (self._disputes, *self._other_courts())}
        self._answers: dict[bytes, bytes] = {}
        self._source = first_known(source, self._answers.get)
        self._pass_time = pass_time or _sleep
        self._first_block = first_block

    def challenge(self) -> Upheld | None:
        """Challenge the pending proposal until it is rejected; None if there is none or nothing is wrong with it.

        Raises AuditError when the base model is not in the store, TransactionFailed when somebody else's
        challenge came first (then the challenger's share and fees are fetched all the same) or no question can be
        asked any more.
        """
        standing = self._standing()
        if standing is None:
            return None
        case = self._rollup_case(standing.number)
        try:
            shown = self._bring_down(standing, case)
        except TransactionFailed:
            if not self._is_pending(standing):  # somebody else was first
                self._collect(standing)
            raise
        if shown is None:
            return None
        fraud, gas = shown
        return Upheld(
            standing.number, standing.attempt, fraud, gas, len(standing.asked), self._collect(standing)
        )

    def examine(self) -> Suspicion | None:
        """What `challenge` would begin with; None if there is no pending proposal or nothing is wrong with it. Nothing
        is sent.

        Raises AuditError when the base model is not in the store.
        """
        standing = self._standing()
        if standing is None:
            return None
        try:
            evidence = self._find_fraud(standing, self._rollup_case(standing.number))
        except PreimagesMissing as missing:
            return Suspicion(standing.number, standing.attempt, None, len(missing.questions))
        return None if evidence is None else Suspicion(standing.number, standing.attempt, evidence.fraud, 0)

    def _other_courts(self) -> Sequence[Court]:
        """The contracts that judge proofs besides that of the disputes."""
        contract, hearing = self._contract, self._disputes.address
        if self._is_sealed:
            rounds = SealedRoundsContract.of(contract)
            return rounds, rounds.court()
        return (Court(contract.w3, ROLLUPS, contract.rollups(), hearing=hearing, sender=contract.sender),)

    def _bring_down(self, standing: _Standing, case: RollupCase | None) -> tuple[Fraud, int] | None:
        """Ask and prove until the proposal falls; returns why, and the gas it took. None if nothing is wrong."""
        while True:
            try:
                evidence = self._find_fraud(standing, case)
            except PreimagesMissing as missing:
                gas = self._ask(standing, missing.questions)
                if gas is None:
                    continue
                return Fraud.MISSING_DATA, gas
            if evidence is None:
                return None
            court = self._courts[evidence.court]
            return evidence.fraud, court.prove(self._account, standing.number, evidence).gas_used

    def _collect(self, standing: _Standing) -> int:
        """Take what the challenger has of the bond, if it has any, and its fees back; returns the former in wei."""
        number, attempt = standing.number, standing.attempt
        for one in standing.asked:
            with unless_done("NotDemanded"):
                self._disputes.reclaim(self._account, number, attempt, one.wanted, one.levels)
        try:
            return self._disputes.claim_share(self._account, number, attempt)
        except TransactionFailed as failed:
            if failed.reason.startswith(("NoShare(", "NotFallen(")):
                return 0
            raise

    def _standing(self) -> _Standing | None:
        number = self._contract.current_round()
        round_ = self._contract.round(number)
        return _Standing(number, round_.attempt) if round_.state is RoundState.PROPOSED else None

    def _rollup_case(self, number: int) -> RollupCase | None:
        """The roll-up of the round, None if its updates were relayed one by one, or sealed."""
        if self._is_sealed:
            return None
        case = rollup_case(self._contract, number, self._first_block)
        if case is not None:
            self._source = first_known(self._source, self._published(case.stated))
        return case

    def _published(self, event: RollupSubmitted) -> Preimages:
        """The preimages that the store has of a roll-up's file, even if the file is not the one committed to."""
        try:
            return by_hash(of_rollup(self._store.get(event.cid))).get
        except StoreError:  # the data can be demanded on the chain
            return lambda wanted: None

    def _find_fraud(self, standing: _Standing, case: RollupCase | None) -> Evidence | None:
        """What is wrong, in the roll-up or else in the proposal over it. Raises PreimagesMissing."""
        if self._is_sealed:
            return self._find_sealed_fraud(standing)
        if standing.round is None:
            rollup = None if case is None else case.examine(self._source)
            if isinstance(rollup, Evidence):
                return rollup
            standing.round = pending_round(
                self._contract, self._store, first_block=self._first_block, rollup=rollup
            )
        return None if standing.round is None else find_fraud(standing.round, self._source)

    def _find_sealed_fraud(self, standing: _Standing) -> Evidence | None:
        if not self._contract.round(standing.number).rolled_up:
            return not_sealed()
        if standing.sealed is None:
            case = sealed_case(self._contract, self._store, standing.number, self._first_block)
            standing.sealed = SealedFraud(case, self._store)
        return standing.sealed.find(self._source)

    def _put(self, number: int, one: Asked) -> None:
        if isinstance(one, Question):
            self._disputes.demand(self._account, number, one)
        else:
            assert isinstance(self._disputes, SealedDisputesContract)  # nobody else reveals seeds
            self._disputes.demand_seed(self._account, number, one)

    def _ask(self, standing: _Standing, questions: Sequence[Asked]) -> int | None:
        """Ask for data and wait. Returns None once they are there, or the gas of the rejection if they did not come."""
        asked, units = self._asked(standing), 0
        wanted = dict.fromkeys((one.wanted, one.levels) for one in questions)
        for one in questions:
            units += 1 << (one.levels - 1)
            key = one.wanted, one.levels
            if units > _MOST_UNITS and asked:
                break  # what is left is asked for when these are answered
            if key not in asked:
                with unless_done("AlreadyDemanded"):
                    self._put(standing.number, one)
                    standing.asked.append(one)
                asked[key] = 0
        while self._is_pending(standing):
            asked = self._asked(standing)
            now = self._now()
            due = {key: due for key, due in asked.items() if due is not None}
            overdue = next((key for key, until in due.items() if until < now), None)
            if overdue is not None:
                return self._disputes.reject_unanswered(self._account, standing.number, *overdue).gas_used
            waiting = [until for key, until in due.items() if key in wanted]
            if not waiting:
                return None
            self._pass_time(min(waiting) + 1 - now)
        return None

    def _asked(self, standing: _Standing) -> _Asked:
        """What was asked so far in this attempt; answers are kept."""
        state: _Asked = {}
        for event in self._disputes.events([DataDemanded, DataAnswered, DataGiven], first=self._first_block):
            if isinstance(event, DataGiven):
                if event.round == standing.number:
                    self._answers[keccak(event.preimage)] = event.preimage
                continue
            if not isinstance(event, DataDemanded | DataAnswered):
                continue
            if (event.round, event.attempt) == (standing.number, standing.attempt):
                due = event.due if isinstance(event, DataDemanded) else None
                state[event.hash, event.levels] = due
        return state

    def _is_pending(self, standing: _Standing) -> bool:
        round_ = self._contract.round(standing.number)
        return (round_.state, round_.attempt) == (RoundState.PROPOSED, standing.attempt)

    def _now(self) -> int:
        return int(self._contract.w3.eth.get_block("latest")["timestamp"])


def _sleep(seconds: int) -> None:
    time.sleep(min(float(seconds), _LONGEST_SLEEP))
