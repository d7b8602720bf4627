"""Proposing the result of a round that was rolled up, in place of a coordinator that does not."""

from __future__ import annotations

from dataclasses import dataclass

from eth_account.signers.local import LocalAccount

from fedvm.audit.rolled_up import Result, rolled_up_result
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Round, RoundProposed, RoundState
from fedvm.chain.stored_evidence import StoredEvidenceContract
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.coordinator.directory import ledger_of
from fedvm.pipeline.call_advice import utc
from fedvm.pipeline.errors import UsageError
from fedvm.protocol import to_bytes
from fedvm.protocol.aggregators import aggregator_named
from fedvm.protocol.rules import WEIGHTED_MEAN
from fedvm.rundir.run import Run
from fedvm.store import Store


@dataclass(frozen=True)
class Proposing:
    """The latest round of a federation, for which an account (hex address) may propose now."""

    run: Run
    number: int
    standing: Round
    account: str

    @classmethod
    def of(cls, run: Run, account: str, number: int | None = None) -> Proposing:
        """number: of the round that is meant, the latest unless given. Raises UsageError if the account may not propose
        for it now; the message says who may, and when."""
        contract = run.federation_contract
        latest = contract.current_round()
        if not latest or number not in (None, latest):
            what = f"the latest round is {latest}" if latest else "no round was opened yet"
            raise UsageError(f"{what}: nothing can be proposed for {f'round {number}' if number else 'it'}")
        standing = contract.round(latest)
        _require_takes(latest, standing)
        _require_disputable(contract, latest, standing)
        _require_turn(contract, latest, standing, account)
        return cls(run, latest, standing, account)

    def result(self, *, keeps: bool) -> Result:
        """What the round comes to. keeps: whether all that it follows from is written wherever it can be: who proposes
        must show it later, though the others' stores may be gone by then.

        Raises AuditError if nothing should be proposed over its roll-up, or cannot be.
        """
        run = self.run
        store = _Keeping(run.store) if keeps else run.store
        return rolled_up_result(run.federation_contract, store, self.number, run.deployment.block)

    def require_evidence(self) -> None:
        """Raise UsageError if the federation asks for stored evidence and the account has none named."""
        lacking = StoredEvidenceContract.of(self.run.federation_contract).lacking(self.number, self.account)
        if lacking:
            raise UsageError(
                f"the federation asks that the evidence of round {self.number} is stored first: {lacking}. Without "
                "--dry-run or --unsigned, this command has it stored where --store names a provider"
            )

    def send(self, result: Result, payer: LocalAccount) -> RoundProposed:
        """Store the model and what evidence is asked for, and propose. Raises UsageError if that is not stored before
        the round's time is over, and as `EvidenceKeeper.keep`."""
        run, proposal = self.run, result.proposal
        contract = run.federation_contract
        run.store.put(to_bytes(result.sums))
        run.store.put(to_bytes(result.model))
        run.store.sync()
        if not self._ledger(payer).store_evidence(self.number, proposal):
            raise UsageError(
                f"the evidence of round {self.number} was not stored in time: anybody can end it now "
                "(fedvm coordinator end)"
            )
        proposed, _ = contract.propose(payer, self.number, proposal, bonded=self.is_bonded)
        return proposed

    @property
    def is_bonded(self) -> bool:
        """Whether a bond of the account stands under the roll-up already."""
        contract = self.run.federation_contract
        return self.standing.attempt == 0 and contract.coordinator() == self.account

    def _ledger(self, payer: LocalAccount) -> ChainLedger:
        return ledger_of(self.run, payer, for_all=True)


@dataclass(frozen=True)
class _Keeping:
    """A store that writes what is read from it wherever it can, durably after `sync`."""

    store: Store

    def put(self, data: bytes) -> str:
        return self.store.put(data)

    def stage(self, data: bytes) -> str:
        return self.store.stage(data)

    def sync(self) -> None:
        self.store.sync()

    def get(self, cid: str | bytes) -> bytes:
        data = self.store.get(cid)
        self.store.stage(data)
        return data


def _require_takes(number: int, standing: Round) -> None:
    if standing.state is RoundState.PROPOSED:
        raise UsageError(
            f"proposal {standing.attempt} of round {number} stands: judge it with fedvm challenge; if it falls, "
            "another can be made"
        )
    if standing.state.is_over:
        raise UsageError(f"round {number} is {standing.state.name.lower()}: nothing can be proposed any more")


def _require_disputable(contract: FederationContract, number: int, standing: Round) -> None:
    if not standing.rolled_up:
        raise UsageError(
            f"the updates of round {number} were not handed in at once: its coordinator alone can propose what they "
            "come to"
        )
    rules = contract.rules()
    if rules.aggregator != WEIGHTED_MEAN:
        raise UsageError(
            f"the rules make the model by {aggregator_named(rules.aggregator).name}, and no proof would be against a "
            "false one: the coordinator alone can propose"
        )


def _require_turn(contract: FederationContract, number: int, standing: Round, account: str) -> None:
    if account == contract.coordinator():
        return
    if int(contract.w3.eth.get_block("latest")["timestamp"]) <= standing.until:
        raise UsageError(
            f"the coordinator may still propose for round {number}, until {utc(standing.until)}; after that anybody "
            f"may, until {utc(contract.fails_after(standing))} at least"
        )
