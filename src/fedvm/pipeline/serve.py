"""Step 6: the program on the chain, and a ModelService that serves it with its lineage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.creation_block import creation_block
from fedvm.chain.deployer import Deployer
from fedvm.chain.model_service import ModelService, ProgramPart, Version, VersionRegistered, pin_parts
from fedvm.chain.networks import EMBEDDED, network_of
from fedvm.chain.program import Progress, deploy_program
from fedvm.chain.sender import Sender
from fedvm.compiler import CompiledModel
from fedvm.evm.keccak import keccak
from fedvm.pipeline.answer_gas import serving_gas
from fedvm.rundir.deployment import Deployment
from fedvm.rundir.layout import RunDirectory
from fedvm.store import Cid

SCANNED_AT_ONCE = 150_000
"""Bytes of code that one transaction scans on a network; of more, each part is scanned by its own beforehand."""


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from: federation (hex address), final round, and that round's model root."""

    federation: str
    round: int
    model_root: bytes

    def is_of(self, version: Version) -> bool:
        """Whether a version has this lineage."""
        return (version.federation, version.round, version.model_root) == (
            self.federation,
            self.round,
            self.model_root,
        )


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
    *,
    service: ModelService | None = None,
    answer_gas: int | None = None,
    deployer: Deployer | None = None,
) -> Served:
    """Deploy the program and a ModelService, register the version, and complete `deployment.json`.

    deployer: puts the contracts at addresses that follow from the model alone, and what an interrupted deployment has
    put there is not paid for again; without one each has a transaction of its own.

    service: an existing service, whose gate holds the version back until `pass_gate`; None deploys one. answer_gas:
    what each answer is given, in the network's gas; None derives it from the program.
    `deployment.json` is written last, so an interrupted deployment is repeated; but a registration whose trial is
    pending is not.
    Raises CompileError or ChainError when a transaction fails, and before anything is paid what `serving_gas`
    raises.
    """
    tried = service is not None and service.gate() is not None
    gas = serving_gas(compiled.manifest["gas"], network_of(w3), answer_gas, tried=tried)
    tell = progress or (lambda done, total: None)
    total = len(compiled.units) + 2
    if service is not None and (pending := _pending(service)) is not None:
        return _saved(Served(service, pending), directory)
    deployed = deploy_program(
        Sender(w3), owner, compiled.units, lambda done, _: tell(done, total), deployer=deployer
    )
    cid = Cid.parse(onnx_cid).binary
    if service is None and deployer is not None:
        service = ModelService.deploy_at(deployer, owner, service_salt(cid))
    elif service is None:
        service, _ = ModelService.deploy(w3, owner)
    tell(total - 1, total)
    version = version_of(compiled, pin_parts(w3, deployed.addresses), gas, cid, lineage)
    registered = None
    if deployer is not None:
        told = service.versions(first=creation_block(w3, service.address))
        registered = next((event for event in told if event.version == version), None)
    registered = registered or _register(
        service, owner, version, sum(len(unit.code) for unit in compiled.units)
    )
    tell(total, total)
    return _saved(Served(service, registered), directory)


def version_of(
    compiled: CompiledModel,
    parts: tuple[ProgramPart, ...],
    gas: int,
    onnx_cid: bytes,
    lineage: Lineage | None,
) -> Version:
    """What is registered of a compiled model. parts: its contracts, the entry first; gas: what each answer is given;
    onnx_cid: binary CID of its file."""
    digest = sha256(compiled.reference.SerializeToString(deterministic=True)).digest()
    version = Version(parts, gas, digest, onnx_cid)
    if lineage is None:
        return version
    return replace(version, federation=lineage.federation, round=lineage.round, model_root=lineage.model_root)


def service_salt(onnx_cid: bytes) -> bytes:
    """The CREATE2 salt, 32 bytes, of the service for the model of a file with this binary CID."""
    return keccak(b"fedvm service" + onnx_cid)


def _register(
    service: ModelService, owner: LocalAccount, version: Version, code_bytes: int
) -> VersionRegistered:
    """Register, which has the contract scan all of the program's code."""
    if service.sender.network is EMBEDDED:
        # An estimate would scan again and again. Measured: 25 to 38 gas a byte, 80,000 a part.
        gas = 3_000_000 + 60 * code_bytes + 150_000 * len(version.parts)
        return service.register(owner, version, gas=gas)[0]
    if code_bytes > SCANNED_AT_ONCE:
        for index in range(len(version.parts)):
            service.scan_part(owner, version.parts, index)
    return service.register(owner, version)[0]


def _pending(service: ModelService) -> VersionRegistered | None:
    """The version whose trial is not over, registered by an earlier start of this run that was interrupted
    afterwards."""
    gate = service.gate()
    number = gate.pending_trial() if gate is not None else 0
    return next((event for event in service.versions() if event.id == number), None)


def _saved(served: Served, directory: RunDirectory) -> Served:
    addresses = tuple(part.account for part in served.registered.version.parts)
    deployment = Deployment.load(directory.path)
    replace(deployment, service=served.service.address, program=addresses).save(directory.path)
    return served


def served_before(w3: Web3, directory: RunDirectory) -> Served | None:
    """What an earlier start of this run has registered; None if it registered nothing."""
    deployment = Deployment.load(directory.path)
    if deployment.service is None:
        return None
    service = ModelService(w3, deployment.service)
    told = tuple(service.versions(first=deployment.block))
    return Served(service, told[-1]) if told else None
