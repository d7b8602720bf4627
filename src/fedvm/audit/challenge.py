"""An automatic challenger: recomputes a proposal, and proves or demands what is wrong until it falls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from fedvm.audit.pending_round import PendingRound, pending_round
from fedvm.audit.preimages import Preimages, first_known
from fedvm.audit.proposal_fraud import find_fraud
from fedvm.audit.vector_walk import PreimageMissing
from fedvm.chain.disputes import DataAnswered, DataDemanded, DisputesContract, Fraud
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState
from fedvm.store import ContentStore

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


class Challenger:
    """Challenges the proposals of one federation with `account`, which pays gas and the fees of demands.

    source: preimages that the coordinator published, beside the answers on the chain. pass_time: called with the
    seconds until an answer is due, and may return earlier; sleeps unless given.
    """

    def __init__(
        self,
        contract: FederationContract,
        store: ContentStore,
        account: LocalAccount,
        *,
        source: Preimages = lambda wanted: None,
        pass_time: Callable[[int], None] | None = None,
        first_block: int = 0,
    ) -> None:
        self._contract, self._store, self._account = contract, store, account
        self._disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
        self._answers: dict[bytes, bytes] = {}
        self._source = first_known(source, self._answers.get)
        self._pass_time = pass_time or _sleep
        self._first_block = first_block

    def challenge(self) -> Upheld | None:
        """Challenge the pending proposal until it is rejected; None if there is none or nothing is wrong with it.

        Raises AuditError when the base model is not in the store, TransactionFailed when somebody else's
        challenge came first.
        """
        pending = pending_round(self._contract, self._store, first_block=self._first_block)
        if pending is None:
            return None
        owed, demands = self._contract.owed(self._account.address), 0
        while True:
            try:
                evidence = find_fraud(pending, self._source)
            except PreimageMissing as missing:
                demands += 1
                gas = self._demand(pending, missing)
                if gas is None:
                    continue
                fraud = Fraud.MISSING_DATA
            else:
                if evidence is None:
                    return None
                fraud = evidence.fraud
                gas = self._disputes.prove(self._account, pending.number, evidence).gas_used
            reward = self._contract.owed(self._account.address) - owed
            return Upheld(pending.number, pending.attempt, fraud, gas, demands, reward)

    def _demand(self, pending: PendingRound, missing: PreimageMissing) -> int | None:
        """Demand data and wait. None once they are there; the gas of the rejection if they did not come."""
        number, account = pending.number, self._account
        state = self._demanded(pending)
        parent = b""
        for preimage in missing.trail:  # what was not asked for on chain yet must be before what it holds
            digest = keccak(preimage)
            if digest not in state:
                self._disputes.demand(account, number, digest, parent)
            if state.get(digest, 0) is not None:
                self._disputes.answer(account, number, preimage)
            parent = preimage
        if missing.wanted not in state:
            self._disputes.demand(account, number, missing.wanted, parent)
        due = self._demanded(pending)[missing.wanted]
        while due is not None and self._is_pending(pending):
            left = due + 1 - self._now()
            if left <= 0:
                return self._disputes.reject_unanswered(account, number, missing.wanted).gas_used
            self._pass_time(left)
            due = self._demanded(pending)[missing.wanted]
        return None

    def _demanded(self, pending: PendingRound) -> dict[bytes, int | None]:
        """Hashes demanded so far for this attempt: when their answer is due, None for those answered."""
        state: dict[bytes, int | None] = {}
        for event in self._disputes.events([DataDemanded, DataAnswered], first=self._first_block):
            if (event.round, event.attempt) != (pending.number, pending.attempt):
                continue
            if isinstance(event, DataDemanded):
                state[bytes(event.hash)] = event.due
            elif isinstance(event, DataAnswered):
                state[bytes(event.hash)] = None
                self._answers[bytes(event.hash)] = bytes(event.preimage)
        return state

    def _is_pending(self, pending: PendingRound) -> bool:
        round_ = self._contract.round(pending.number)
        return (round_.state, round_.attempt) == (RoundState.PROPOSED, pending.attempt)

    def _now(self) -> int:
        return int(self._contract.w3.eth.get_block("latest")["timestamp"])


def answer_demands(
    contract: FederationContract, account: LocalAccount, source: Preimages, *, first_block: int = 0
) -> int:
    """The coordinator's side: answer what is demanded of the pending proposal and known; returns how many.

    source: preimages of the proposal's trees (`preimages.by_hash`).
    """
    disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
    number = contract.current_round()
    attempt = contract.round(number).attempt
    open_: dict[bytes, None] = {}
    for event in disputes.events([DataDemanded, DataAnswered], first=first_block):
        if isinstance(event, DataDemanded) and (event.round, event.attempt) == (number, attempt):
            open_[bytes(event.hash)] = None
        elif isinstance(event, DataAnswered):
            open_.pop(bytes(event.hash), None)
    known = [found for wanted in open_ if (found := source(wanted)) is not None]
    for preimage in known:
        disputes.answer(account, number, preimage)
    return len(known)


def _sleep(seconds: int) -> None:
    time.sleep(min(float(seconds), _LONGEST_SLEEP))
