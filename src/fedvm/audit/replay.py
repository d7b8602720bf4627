"""The audit: replays a federation and a service from their chain and a store, and makes a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from web3 import Web3
from web3.contract import Contract

from fedvm.audit.blocks import BlockReplay
from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.decisions import DecisionReplay
from fedvm.audit.errors import AuditError, OutOfOrder
from fedvm.audit.evidence import EvidenceReplay
from fedvm.audit.findings import AuditReport, Ledger, Place
from fedvm.audit.gate import GateReplay
from fedvm.audit.open_round import FinalRound
from fedvm.audit.rounds import FederationReplay
from fedvm.audit.run_files import RunFiles
from fedvm.audit.scope import WHOLE, Scope
from fedvm.audit.service_standing import check_service
from fedvm.audit.versions import VersionReplay
from fedvm.chain.artifacts import FEDERATION, contract_at
from fedvm.chain.errors import MalformedAnswer, MalformedEvent
from fedvm.chain.federation import FederationContract
from fedvm.chain.genuine import deviations, service_deviations, sidecars
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
    files: RunFiles | None = None,
    scope: Scope = WHOLE,
    progress: Progress | None = None,
) -> AuditReport:
    """Replay everything that the chain records of a federation and a model service, and report what does not follow.

    Nothing is trusted but the chain. Contracts that are not this package's are a finding, and what they say of
    themselves is not replayed. federation, service: addresses (hex) of the contracts, None to leave one out.
    store: holds the models, updates and ONNX files by CID. first_block: a block at or before the creation of both
    contracts. files: of a run's directory, to be compared, too. scope: the rounds that are computed again; all events
    are replayed in any case. progress: called with the name of what is replayed, how many items are done, and how many
    there are.

    Raises:
        AuditError: neither contract is named, or the creation of one is not among its events.
        ChainError: the chain cannot be read.
    """
    if federation is None and service is None:
        raise AuditError("there is nothing to audit: neither a federation nor a service is named")
    reader, ledger = ChainReader(w3), Ledger()
    tell = progress or (lambda what, done, total: None)
    finals: dict[str, dict[int, FinalRound]] = {}
    openings: dict[str, int] = {}
    aggregation, gated = "", None
    has_federation = federation is not None and _hold(ledger, deviations(w3, federation))
    has_service = service is not None and _hold(
        ledger, service_deviations(w3, service, first_block=first_block)
    )
    told = [*_contracts(w3, federation if has_federation else None, service if has_service else None)]
    BlockReplay(reader, told, ledger).run(first_block, partial(tell, "blocks"))
    if has_federation:
        assert federation is not None
        contract = FederationContract(w3, federation)
        rounds = FederationReplay(reader, contract, store, ledger, scope)
        with _in_order(ledger):
            rounds.run(first_block, partial(tell, "federation's events"))
            EvidenceReplay(reader, contract, store, ledger, scope).run(first_block)
        finals[contract.address] = rounds.finals
        if rounds.first_opened is not None:
            openings[contract.address] = rounds.first_opened
        aggregation = rounds.aggregation
    if has_service:
        assert service is not None
        served = ModelService(w3, service)
        versions = VersionReplay(reader, served, store, ledger, finals)
        with _in_order(ledger):
            versions.run(first_block, partial(tell, "versions"))
        gated = served.gate() is not None
        if files is not None:
            files.check(served, versions.compiled, versions.registered, ledger)
        gate = GateReplay(reader, served, ledger, openings, versions.served)
        with _in_order(ledger):
            gate.run(first_block, partial(tell, "trials"))
        with _in_order(ledger):
            check_service(served, reader, ledger, first_block)
            DecisionReplay(reader, served, ledger, versions.served).run(
                first_block, partial(tell, "decisions")
            )
    return AuditReport(
        chain_id=reader.chain_id,
        federation=federation or "",
        service=service or "",
        aggregation=aggregation,
        passed=dict(ledger.passed),
        findings=tuple(ledger.findings),
        gated=gated,
        has_headers=reader.has_headers,
    )


def _contracts(w3: Web3, federation: str | None, service: str | None) -> Iterator[Contract]:
    """Every contract whose events are compared with receipts."""
    if federation is not None:
        yield contract_at(w3, FEDERATION, federation)
        for name, address in sidecars(w3, federation).items():
            yield contract_at(w3, name, address)
    if service is not None:
        served = ModelService(w3, service)
        yield served.contract
        if (gate := served.gate()) is not None:
            yield gate.contract


@contextmanager
def _in_order(ledger: Ledger) -> Iterator[None]:
    """Record that the events inside cannot be a contract's; what comes after them is not replayed then."""
    try:
        yield
    except OutOfOrder as error:
        ledger.check("event order", False, Place(round=error.round, tx=error.tx_hash), str(error))
    except MalformedEvent as error:
        ledger.check("event order", False, Place(tx=error.tx_hash), str(error))
    except MalformedAnswer as error:
        ledger.check("event order", False, Place(), str(error))
    except AuditError as error:
        if not ledger.findings:  # the operator's mistake, and not a node's lie
            raise
        ledger.check("event order", False, Place(), str(error))
    else:
        ledger.check("event order", True, Place(), "")


def _hold(ledger: Ledger, deviations: Iterable[str]) -> bool:
    """Record what is wrong with a contract, or that nothing is; return whether nothing is."""
    wrong = list(deviations)
    for message in wrong or [""]:
        ledger.check("contracts", not message, Place(), message)
    return not wrong
