"""A finished or running run, opened from its directory: the chain, the contracts, the store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType

from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import FEDERATION, MODEL_SERVICE, contract_at
from fedvm.chain.creation_block import creation_block
from fedvm.chain.endpoint import Endpoint
from fedvm.chain.errors import ChainMismatch, DeploymentError
from fedvm.chain.federation import FederationContract
from fedvm.chain.model_service import ModelService
from fedvm.chain.revm import RevmProgram
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.store import Store, open_store


class Run:
    """An open run, or contracts on a network that belong together; a context manager.

    ``w3`` reaches its chain; ``federation`` and ``service`` are web3 contracts, ``federation_contract`` and
    ``model_service`` the same with types; ``program`` runs the compiled model in revm; ``store`` holds the
    artefacts; ``chain`` is the embedded chain, or None on a network; ``path`` the directory, None without one. Each
    raises :class:`DeploymentError` if the run has not deployed it yet, or nobody named it.
    """

    def __init__(
        self, path: Path | None, deployment: Deployment, w3: Web3, chain: EmbeddedChain | None
    ) -> None:
        self.path = path
        self.deployment = deployment
        self.w3 = w3
        self.chain = chain

    @cached_property
    def store(self) -> Store:
        """Raises :class:`DeploymentError` if there is no directory and no store was named."""
        if not self.deployment.stores:
            raise DeploymentError("the files are in no store that was named: say with --store where they are")
        return open_store(self.deployment.stores, self.path)

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
            if self.path is None:
                raise DeploymentError(f"no {what} was named: give its address")
            raise DeploymentError(f"the run in {self.path} has no {what}; let it end or resume it")
        return address


def run_at(
    endpoint: Endpoint,
    *,
    federation: str | None = None,
    service: str | None = None,
    stores: Sequence[str] = (),
    first_block: int | None = None,
) -> Run:
    """Contracts on a network as a run without a directory.

    Addresses are checksummed. stores: where the artefacts are, none if nothing needs them. first_block: at or before
    the contracts' creation; found out unless given. Raises what connecting raises, and :class:`DeploymentError` where
    there is no code at an address.
    """
    w3 = endpoint.connect()
    blocks = [0]
    for what, address in (("federation", federation), ("service", service)):
        if address is None:
            continue
        if not w3.eth.get_code(Web3.to_checksum_address(address)):
            raise DeploymentError(
                f"there is no contract at {address}, named as the {what}, on chain {w3.eth.chain_id}: is it another "
                "network's, or an account?"
            )
        blocks.append(creation_block(w3, address) if first_block is None else first_block)
    first = min(blocks[1:], default=0)
    at = ChainRef("rpc", endpoint.shown)
    deployment = Deployment(at, int(w3.eth.chain_id), federation, service, block=first, stores=tuple(stores))
    return Run(None, deployment, w3, None)


def open_run(path: Path | str, *, read_only: bool = True, endpoint: Endpoint | None = None) -> Run:
    """Open the run in the directory ``path``.

    ``read_only`` concerns an embedded chain: several processes may read it while one writes; to record a
    decision open it with ``read_only=False``. ``endpoint``: to be asked instead of the one that the directory names.

    Raises :class:`DeploymentError` if the directory holds no run, and what
    :func:`~fedvm.devnet.embedded.open_chain` and :meth:`~fedvm.chain.endpoint.Endpoint.connect` raise.
    """
    directory = Path(path)
    deployment = Deployment.load(directory)
    if deployment.chain.kind == "rpc":
        at = endpoint or Endpoint(deployment.chain.location)
        return Run(directory, deployment, at.connect(chain_id=deployment.chain_id), None)
    if endpoint is not None:
        raise DeploymentError(f"the chain of {directory} is a file in it: leave --network and --rpc away")
    chain = open_chain(directory / deployment.chain.location, read_only=read_only)
    if chain.chain_id != deployment.chain_id:
        chain.close()
        raise ChainMismatch(
            f"{chain.path} is chain {chain.chain_id}, deployment.json says {deployment.chain_id}; "
            "they belong to different runs"
        )
    return Run(directory, deployment, chain.w3, chain)
