"""The audit: replays a federation and a service from their chain and a store, and makes a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from web3 import Web3

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.decisions import replay_decisions
from fedvm.audit.findings import AuditReport, Ledger, Place
from fedvm.audit.gate import GateReplay
from fedvm.audit.open_round import FinalRound
from fedvm.audit.rounds import FederationReplay
from fedvm.audit.versions import VersionReplay
from fedvm.chain.federation import FederationContract
from fedvm.chain.genuine import deviations, service_deviations
from fedvm.chain.model_service import ModelService
from fedvm.store import Store

Progress = Callable[[str, int, int], None]


def audit(
    w3: Web3,
    store: Store,
    *,
    federation: str | None,
    service: str | None,
    first_block: int = 0,
    progress: Progress | None = None,
) -> AuditReport:
    """Replay everything that the chain records of a federation and a model service, and report what does not follow.

    Nothing is trusted but the chain. Contracts that are not this package's are a finding, and what they say of
    themselves is not replayed. federation, service: addresses (hex) of the contracts, None to leave one out.
    store: holds the models, updates and ONNX files by CID. first_block: a block at or before the creation of both
    contracts. progress: called with the name of what is replayed, how many items are done, and how many there are.

    Raises:
        AuditError: the contracts' events cannot belong to such contracts, or their creation is not among them.
        ChainError: the chain cannot be read.
    """
    reader, ledger = ChainReader(w3), Ledger()
    tell = progress or (lambda what, done, total: None)
    finals: dict[str, dict[int, FinalRound]] = {}
    openings: dict[str, int] = {}
    aggregation, gated = "", None
    if federation is not None and _hold(ledger, deviations(w3, federation)):
        contract = FederationContract(w3, federation)
        rounds = FederationReplay(reader, contract, store, ledger)
        rounds.run(first_block, partial(tell, "federation's events"))
        finals[contract.address] = rounds.finals
        if rounds.first_opened is not None:
            openings[contract.address] = rounds.first_opened
        aggregation = rounds.aggregation
    if service is not None and _hold(ledger, service_deviations(w3, service, first_block=first_block)):
        served = ModelService(w3, service)
        versions = VersionReplay(reader, served, store, ledger, finals)
        versions.run(first_block, partial(tell, "versions"))
        gated = served.gate() is not None
        gate = GateReplay(reader, served, ledger, openings, versions.served)
        gate.run(first_block, partial(tell, "trials"))
        replay_decisions(served, ledger, versions.served, first_block, partial(tell, "decisions"))
    return AuditReport(
        chain_id=reader.chain_id,
        federation=federation or "",
        service=service or "",
        aggregation=aggregation,
        passed=dict(ledger.passed),
        findings=tuple(ledger.findings),
        gated=gated,
    )


def _hold(ledger: Ledger, deviations: Iterable[str]) -> bool:
    """Record what is wrong with a contract, or that nothing is; return whether nothing is."""
    wrong = list(deviations)
    for message in wrong or [""]:
        ledger.check("contracts", not message, Place(), message)
    return not wrong
