"""Step 6: the program on the chain, and a ModelService that serves it with its lineage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.deployment import Deployment
from fedvm.chain.model_service import ModelService, Version, VersionRegistered, pin_parts
from fedvm.compiler import CompiledModel
from fedvm.pipeline.directory import RunDirectory
from fedvm.store import Cid

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from: federation (hex address), final round, and that round's model root."""

    federation: str
    round: int
    model_root: bytes


@dataclass(frozen=True)
class Served:
    """A registered version and the service that serves it."""

    service: ModelService
    registered: VersionRegistered


def serve(
    w3: Web3,
    owner: LocalAccount,
    compiled: CompiledModel,
    onnx_cid: str,
    directory: RunDirectory,
    lineage: Lineage | None,
    progress: Progress | None = None,
) -> Served:
    """Deploy the program and a ModelService, register the version, and complete `deployment.json`.

    `deployment.json` is written last, so that an interrupted deployment is done anew.
    Raises CompileError or ChainError when a transaction fails.
    """
    tell = progress or (lambda done, total: None)
    units = len(compiled.units)
    deployed = compiled.deploy(
        w3, owner.address, on_transaction=lambda done, total, address: tell(done, units + 2)
    )
    service, _ = ModelService.deploy(w3, owner)
    tell(units + 1, units + 2)
    addresses = (deployed.address, *deployed.parts)
    digest = sha256(compiled.reference.SerializeToString(deterministic=True)).digest()
    version = Version(pin_parts(w3, addresses), digest, Cid.parse(onnx_cid).binary)
    if lineage is not None:
        version = replace(
            version,
            federation=lineage.federation,
            round=lineage.round,
            model_root=lineage.model_root,
        )
    registered, _ = service.register(owner, version)
    tell(units + 2, units + 2)
    replace(Deployment.load(directory.path), service=service.address, program=addresses).save(directory.path)
    return Served(service, registered)


def served_before(w3: Web3, directory: RunDirectory) -> Served | None:
    """What an earlier start of this run has deployed; None if it did not get that far."""
    deployment = Deployment.load(directory.path)
    if deployment.service is None:
        return None
    service = ModelService(w3, deployment.service)
    return Served(service, next(service.versions(first=deployment.block)))
