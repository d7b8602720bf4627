"""An automatic challenger: recomputes a roll-up and a proposal, and demands data and proves faults until a wrong one is
rejected."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount

from fedvm.audit.pending_round import PendingRound, pending_round
from fedvm.audit.preimages import Preimages, first_known
from fedvm.audit.proposal_fraud import find_fraud
from fedvm.audit.rollup_fraud import RollupCase
from fedvm.audit.vector_walk import PreimageMissing
from fedvm.chain.artifacts import ROLLUPS
from fedvm.chain.court import Court, Evidence, Fraud
from fedvm.chain.disputes import DataAnswered, DataDemanded, DisputesContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RollupSubmitted, RoundState, SubmittedDirectly
from fedvm.evm.keccak import keccak
from fedvm.protocol.preimages import by_hash, of_rollup
from fedvm.store import Store, StoreError

_LONGEST_SLEEP = 30.0


@dataclass(frozen=True)
class Upheld:
    """A challenge that succeeded: the round, the attempt, what was wrong, gas of the transaction that showed it,
    demands made on the way, and wei that are owed to the challenger for it."""

    round: int
    attempt: int
    fraud: Fraud
    gas_used: int
    demands: int
    reward: int


@dataclass
class _Standing:
    """The proposal that is challenged. round: the data it must follow from, once they are known."""

    number: int
    attempt: int
    round: PendingRound | None = None


class Challenger:
    """Challenges the proposals of one federation with `account`, which pays gas and the fees of demands.

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
        self._disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
        rollups = Court(contract.w3, ROLLUPS, contract.rollups(), sender=contract.sender)
        self._courts = {court.name: court for court in (self._disputes, rollups)}
        self._answers: dict[bytes, bytes] = {}
        self._source = first_known(source, self._answers.get)
        self._pass_time = pass_time or _sleep
        self._first_block = first_block

    def challenge(self) -> Upheld | None:
        """Challenge the pending proposal until it is rejected; None if there is none or nothing is wrong with it.

        Raises AuditError when the base model is not in the store, TransactionFailed when somebody else's
        challenge came first.
        """
        standing = self._standing()
        if standing is None:
            return None
        case = self._rollup_case(standing.number)
        owed, demands = self._contract.owed(self._account.address), 0
        while True:
            try:
                evidence = self._find_fraud(standing, case)
            except PreimageMissing as missing:
                demands += 1
                gas = self._demand(standing, missing)
                if gas is None:
                    continue
                fraud = Fraud.MISSING_DATA
            else:
                if evidence is None:
                    return None
                fraud = evidence.fraud
                gas = self._courts[evidence.court].prove(self._account, standing.number, evidence).gas_used
            reward = self._contract.owed(self._account.address) - owed
            return Upheld(standing.number, standing.attempt, fraud, gas, demands, reward)

    def _standing(self) -> _Standing | None:
        number = self._contract.current_round()
        round_ = self._contract.round(number)
        return _Standing(number, round_.attempt) if round_.state is RoundState.PROPOSED else None

    def _rollup_case(self, number: int) -> RollupCase | None:
        """The roll-up of the round, None if its updates were relayed one by one."""
        submitted: list[SubmittedDirectly] = []
        for event in self._contract.events([RollupSubmitted, SubmittedDirectly], first=self._first_block):
            if isinstance(event, SubmittedDirectly) and event.round == number:
                submitted.append(event)
            if isinstance(event, RollupSubmitted) and event.round == number:
                self._source = first_known(self._source, self._published(event))
                return RollupCase(self._contract, event, tuple(submitted))
        return None

    def _published(self, event: RollupSubmitted) -> Preimages:
        """The preimages that the store has of a roll-up's file, even if the file is not the one committed to."""
        try:
            return by_hash(of_rollup(self._store.get(event.cid))).get
        except StoreError:  # the data can be demanded on the chain
            return lambda wanted: None

    def _find_fraud(self, standing: _Standing, case: RollupCase | None) -> Evidence | None:
        """What is wrong, in the roll-up or else in the proposal over it. Raises PreimageMissing."""
        if standing.round is None:
            rollup = None if case is None else case.examine(self._source)
            if isinstance(rollup, Evidence):
                return rollup
            standing.round = pending_round(
                self._contract, self._store, first_block=self._first_block, rollup=rollup
            )
        return None if standing.round is None else find_fraud(standing.round, self._source)

    def _demand(self, standing: _Standing, missing: PreimageMissing) -> int | None:
        """Demand data and wait. Returns None once they are there, or the gas of the rejection if they did not come."""
        number, account = standing.number, self._account
        state = self._demanded(standing)
        parent = b""
        for preimage in missing.trail:  # a node must be demanded before the hashes in it
            digest = keccak(preimage)
            if digest not in state:
                self._disputes.demand(account, number, digest, parent)
            if state.get(digest, 0) is not None:
                self._disputes.answer(account, number, preimage)
            parent = preimage
        if missing.wanted not in state:
            self._disputes.demand(account, number, missing.wanted, parent)
        due = self._demanded(standing)[missing.wanted]
        while due is not None and self._is_pending(standing):
            left = due + 1 - self._now()
            if left <= 0:
                return self._disputes.reject_unanswered(account, number, missing.wanted).gas_used
            self._pass_time(left)
            due = self._demanded(standing)[missing.wanted]
        return None

    def _demanded(self, standing: _Standing) -> dict[bytes, int | None]:
        """Hashes demanded so far for this attempt: when their answer is due, None for those answered."""
        state: dict[bytes, int | None] = {}
        for event in self._disputes.events([DataDemanded, DataAnswered], first=self._first_block):
            if (event.round, event.attempt) != (standing.number, standing.attempt):
                continue
            if isinstance(event, DataDemanded):
                state[event.hash] = event.due
            elif isinstance(event, DataAnswered):
                state[event.hash] = None
                self._answers[event.hash] = event.preimage
        return state

    def _is_pending(self, standing: _Standing) -> bool:
        round_ = self._contract.round(standing.number)
        return (round_.state, round_.attempt) == (RoundState.PROPOSED, standing.attempt)

    def _now(self) -> int:
        return int(self._contract.w3.eth.get_block("latest")["timestamp"])


def _sleep(seconds: int) -> None:
    time.sleep(min(float(seconds), _LONGEST_SLEEP))
