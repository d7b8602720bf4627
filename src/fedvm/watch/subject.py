"""What is watched: a federation, a service, or both, where they are reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from web3 import Web3

from fedvm.audit.chain_reader import ChainReader
from fedvm.chain.artifacts import FEDERATION
from fedvm.chain.federation import FederationContract
from fedvm.chain.genuine import sidecars
from fedvm.chain.model_service import ModelService
from fedvm.rundir.deployment import Deployment
from fedvm.rundir.run import Run


@dataclass
class Subject:
    """Contracts that are audited together. name: in what is told; open: connects to them, and may fail as long as the
    node is away."""

    name: str
    open: Callable[[], Run]

    @cached_property
    def run(self) -> Run:
        """The open contracts. Raises what `open` raises, and tries again the next time."""
        return self.open()

    @property
    def w3(self) -> Web3:
        """Their chain."""
        return self.run.w3

    def refresh(self) -> None:
        """Read again which contracts a run's directory names: a run deploys its service last."""
        if self.run.path is not None:
            stores = self.run.deployment.stores
            self.run.deployment = replace(Deployment.load(self.run.path), stores=stores)

    @property
    def service(self) -> str | None:
        """The service's address."""
        return self.run.deployment.service

    @property
    def federation(self) -> str | None:
        """The federation's address; of a service alone that from which its latest version comes, once there is one."""
        named = self.run.deployment.federation
        if named is not None or self.service is None:
            return named
        versions = [*self.run.model_service.versions(first=self.run.deployment.block)]
        came_from = [one.version.federation for one in versions if one.version.has_lineage]
        return came_from[-1] if came_from else None

    def version_rounds(self) -> tuple[int, ...]:
        """The rounds that the versions come from."""
        versions = self.run.model_service.versions(first=self.run.deployment.block)
        return tuple({one.version.round for one in versions if one.version.has_lineage})

    @property
    def contract(self) -> FederationContract | None:
        """The federation that is watched itself, None where a service alone is."""
        return None if self.run.deployment.federation is None else self.run.federation_contract

    def addresses(self) -> Sequence[str]:
        """Of every contract whose events are of interest."""
        found: list[str] = []
        if (federation := self.run.deployment.federation) is not None:
            found += [federation, *sidecars(self.w3, federation).values()]
        if self.service is not None:
            served = ModelService(self.w3, self.service)
            gate = served.gate()
            found += [self.service, *([gate.contract.address] if gate is not None else [])]
        return found

    def has_news(self, first: int) -> bool:
        """Whether anything is listed of the contracts from a block on."""
        return bool(ChainReader(self.w3).logs(self.addresses(), first))

    def state(self) -> str:
        """What the contracts say of where they stand; a node that lists no events has to lie here, too."""
        told = []
        if self.contract is not None:
            number = self.contract.current_round()
            round_ = self.contract.round(number) if number else None
            told.append(f"{FEDERATION} {number}" + (f" {round_.state} {round_.attempt}" if round_ else ""))
        if self.service is not None:
            served = ModelService(self.w3, self.service)
            told.append(f"service {served.version_count()} {served.current_version()}")
        return "; ".join(told)
