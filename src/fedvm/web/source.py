"""Where the pages' facts come from: a chain, the contracts on it, and the store with their artefacts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter
from web3 import Web3

from fedvm.chain.artifacts import ROLLUPS, SEALED_COURT, SEALED_ROUNDS, contract_at
from fedvm.chain.court import Fraud, FraudProved
from fedvm.chain.disputes import DisputesContract
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.events import EventReader
from fedvm.chain.federation import FederationContract
from fedvm.chain.gate import PromotionGate
from fedvm.chain.genuine import is_sealed
from fedvm.chain.model_service import ModelService
from fedvm.chain.networks import Network, network_of
from fedvm.chain.rule_book import RuleBookContract
from fedvm.chain.sealed_disputes import SealedDisputesContract
from fedvm.chain.sealed_rounds import SealedRoundsContract
from fedvm.jsontext import parse_json
from fedvm.pipeline.results import RunReport
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import Run
from fedvm.rundir.target import Target
from fedvm.store import Store

_REPORT: Final = TypeAdapter(RunReport)
_MOST: Final = 10**100


class _Proofs:
    """The proofs that a court took which is not the one that hears questions."""

    def __init__(self, source: Source, name: str, address: str) -> None:
        self._events = EventReader(source.w3, contract_at(source.w3, name, address), source.network)

    def events(self, first: int, last: int) -> Iterator[FraudProved]:
        """In order, of the blocks `first` to `last`."""
        for event in self._events.fetch([FraudProved.__name__], first, last):
            fields = event.fields | {"fraud": Fraud(event.args["fraud"])}
            yield FraudProved(**fields, at=event.at)


class Source:
    """An open target; a context manager. directory: of the run, None without one. federation, service: None where
    there is none yet."""

    def __init__(
        self,
        w3: Web3,
        store: Store,
        federation: str | None,
        service: str | None,
        first_block: int = 0,
        run: Run | None = None,
    ) -> None:
        self.w3, self.store, self.first_block, self.run = w3, store, first_block, run
        self.federation = None if federation is None else FederationContract(w3, federation)
        self.service = None if service is None else ModelService(w3, service)

    @property
    def directory(self) -> RunDirectory | None:
        """The run's directory."""
        return None if self.run is None or self.run.path is None else RunDirectory(self.run.path)

    @cached_property
    def network(self) -> Network:
        """The network that the chain is of."""
        return network_of(self.w3)

    @property
    def is_file(self) -> bool:
        """Whether the chain is a file of the run, which its coordinator writes alone."""
        return self.run is not None and self.run.chain is not None

    @cached_property
    def sealed(self) -> bool:
        """Whether the federation's rounds are sealed."""
        return self.federation is not None and is_sealed(self.w3, self.federation.address)

    @cached_property
    def gate(self) -> PromotionGate | None:
        """The gate that versions must pass, None without one."""
        return None if self.service is None else self.service.gate()

    @cached_property
    def readers(self) -> tuple[tuple[str, Any], ...]:
        """(name, contract) of all whose events tell of rounds, versions and decisions, each with an `events` method."""
        found: list[tuple[str, Any]] = []
        if self.federation is not None:
            federation = self.federation
            hearing = (
                SealedDisputesContract.of(federation)
                if self.sealed
                else DisputesContract(self.w3, federation.disputes(), sender=federation.sender)
            )
            found += [
                ("federation", federation),
                ("disputes", hearing),
                ("rules", RuleBookContract(self.w3, federation.rule_book(), sender=federation.sender)),
            ]
            if self.sealed:
                rounds = SealedRoundsContract.of(federation)
                court = _Proofs(self, SEALED_COURT, rounds.court_address())
                found += [
                    ("epochs", EpochsContract.of(federation)),
                    ("sealed", rounds),
                    ("sealed proofs", _Proofs(self, SEALED_ROUNDS, rounds.address)),
                    ("court", court),
                ]
            else:
                found.append(("rollups", _Proofs(self, ROLLUPS, federation.rollups())))
        if self.gate is not None:
            found.append(("gate", self.gate))
        return tuple(found)

    def events(self, first: int, last: int) -> Iterator[tuple[str, Any]]:
        """(contract, event) of the blocks `first` to `last`: those of each contract in their order."""
        for name, contract in self.readers:
            for event in contract.events(first=first, last=last):
                yield name, event
        if self.service is not None:
            for told in (self.service.versions, self.service.served, self.service.decisions):
                for event in told(first, last):
                    yield "service", event

    def identity(self) -> dict[str, str]:
        """What an index must be of to hold this target's events."""
        start = self.w3.eth.get_block(self.first_block)
        return {
            "chain": str(self.w3.eth.chain_id),
            "start": bytes(start["hash"]).hex(),
            "federation": "" if self.federation is None else self.federation.address,
        }

    def close(self) -> None:
        """Close what was opened."""
        if self.run is not None:
            self.run.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(target: Target) -> Source:
    """Open a target.

    Raises:
        DeploymentError: nothing is named, the run has not deployed its contracts yet, or no store has its artefacts.
        ChainError: the chain cannot be opened or read.
    """
    run = target.opened()
    try:
        at = run.deployment
        return Source(run.w3, run.store, at.federation, at.service, at.block, run)
    except Exception:
        run.close()
        raise


def statement_of(directory: RunDirectory) -> dict[str, Any] | None:
    """What a run says of itself in report.json; None before it has ended, or where the file is no report. Numbers that
    are not finite are None."""
    try:
        said = read_statement(directory.report)
        _REPORT.validate_json(json.dumps(said), strict=True)
    except (OSError, ValueError):
        return None
    return dict(said)


def read_statement(path: Path) -> Any:
    """The JSON values in a file of a run's directory, which somebody else may have written. Raises OSError and
    ValueError."""
    return _bounded(parse_json(path.read_bytes()))


def _bounded(value: Any) -> Any:
    """The same with None for numbers that are not finite. Raises ValueError for integers that no float can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        if abs(value) > _MOST:
            raise ValueError("a number that no float can hold")
        return value
    if isinstance(value, list):
        return [_bounded(one) for one in value]
    if isinstance(value, dict):
        return {name: _bounded(one) for name, one in value.items()}
    return value
