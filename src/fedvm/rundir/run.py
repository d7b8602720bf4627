"""A finished or running run, opened from its directory: the chain, the contracts, the store."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType

from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import FEDERATION, MODEL_SERVICE, contract_at
from fedvm.chain.errors import ChainMismatch, DeploymentError
from fedvm.chain.federation import FederationContract
from fedvm.chain.model_service import ModelService
from fedvm.chain.networks import connect
from fedvm.chain.revm import RevmProgram
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.rundir.deployment import Deployment
from fedvm.store import open_store


class Run:
    """An open run; a context manager.

    ``w3`` reaches its chain; ``federation`` and ``service`` are web3 contracts, ``federation_contract`` and
    ``model_service`` the same with types; ``program`` runs the compiled model in revm; ``store`` holds the
    artefacts; ``chain`` is the embedded chain, or None on a network. Each raises :class:`DeploymentError` if the run
    has not deployed it yet.
    """

    def __init__(self, path: Path, deployment: Deployment, w3: Web3, chain: EmbeddedChain | None) -> None:
        self.path = path
        self.deployment = deployment
        self.w3 = w3
        self.chain = chain
        self.store = open_store(deployment.stores, path)

    @cached_property
    def federation(self) -> Contract:
        return contract_at(self.w3, FEDERATION, self._deployed(self.deployment.federation, "federation"))

    @cached_property
    def service(self) -> Contract:
        return contract_at(self.w3, MODEL_SERVICE, self._deployed(self.deployment.service, "model service"))

    @cached_property
    def federation_contract(self) -> FederationContract:
        return FederationContract(self.w3, self._deployed(self.deployment.federation, "federation"))

    @cached_property
    def model_service(self) -> ModelService:
        return ModelService(self.w3, self._deployed(self.deployment.service, "model service"))

    @cached_property
    def program(self) -> RevmProgram:
        if not self.deployment.program:
            raise DeploymentError(f"the run in {self.path} has no program; let it end or resume it")
        return RevmProgram.from_chain(self.w3, self.deployment.program)

    def close(self) -> None:
        if self.chain is not None:
            self.chain.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _deployed(self, address: str | None, what: str) -> str:
        if address is None:
            raise DeploymentError(f"the run in {self.path} has no {what}; let it end or resume it")
        return address


def open_run(path: Path | str, *, read_only: bool = True) -> Run:
    """Open the run in the directory ``path``.

    ``read_only`` concerns an embedded chain: several processes may read it while one writes; to record a
    decision open it with ``read_only=False``.

    Raises :class:`DeploymentError` if the directory holds no run, and what
    :func:`~fedvm.devnet.embedded.open_chain` and :func:`~fedvm.chain.networks.connect` raise.
    """
    directory = Path(path)
    deployment = Deployment.load(directory)
    if deployment.chain.kind == "rpc":
        w3 = connect(deployment.chain.location, chain_id=deployment.chain_id)
        return Run(directory, deployment, w3, None)
    chain = open_chain(directory / deployment.chain.location, read_only=read_only)
    if chain.chain_id != deployment.chain_id:
        chain.close()
        raise ChainMismatch(
            f"{chain.path} is chain {chain.chain_id}, deployment.json says {deployment.chain_id}; "
            "they belong to different runs"
        )
    return Run(directory, deployment, chain.w3, chain)
