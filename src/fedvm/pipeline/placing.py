"""A compiled model of the user's own on a chain: its program, a ModelService that serves it, and a directory that names
both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.audit.description import write_description
from fedvm.audit.recipe import CompileRecipe, write_recipe
from fedvm.chain.creation_block import creation_block
from fedvm.chain.deployer import Deployer
from fedvm.chain.errors import DeploymentError
from fedvm.chain.model_service import ModelService
from fedvm.chain.program import Progress
from fedvm.chain.sender import Sender
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.gate import read_samples
from fedvm.pipeline.onnx_model import Prepared
from fedvm.pipeline.publish import publish
from fedvm.pipeline.serve import Served, serve, served_before
from fedvm.pipeline.trial import Custodian, try_version
from fedvm.protocol import SampleTree
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.errors import RunDirectoryError
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import Run
from fedvm.store import DEFAULT_STORES, Cid, cid_of, open_store

Counted = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Deployable:
    """What a deployment leaves in a store: the ONNX file with recipe and description, and the calibration inputs."""

    onnx: bytes
    calibration: bytes

    @classmethod
    def of(cls, prepared: Prepared) -> Deployable:
        """The files of a prepared model: the same for the same model and inputs."""
        federated = prepared.federated
        calibration = prepared.calibration.tobytes()
        recipe = CompileRecipe(
            calibration=str(cid_of(calibration)),
            calibration_shape=prepared.calibration.shape,
            preprocess=prepared.preprocess,
            tensors=federated.tensors if federated else (),
            fraction_bits=federated.fraction_bits if federated else 0,
            options=prepared.options,
        )
        return cls(write_description(write_recipe(prepared.onnx, recipe), prepared.description), calibration)

    @property
    def onnx_cid(self) -> Cid:
        """Under which the version names the file."""
        return cid_of(self.onnx)


def require_own(directory: RunDirectory, deployable: Deployable) -> None:
    """Raise RunDirectoryError unless the directory is free, or holds an unfinished deployment of this very model."""
    unfinished = directory.deployment.is_file() and not directory.started and directory.onnx.is_file()
    if not unfinished:
        directory.require_free()
    elif Deployment.load(directory.path).service is not None:
        raise RunDirectoryError(
            f"{directory.path} holds a deployment that is finished: name another directory with --out"
        )
    elif directory.onnx.read_bytes() != deployable.onnx:
        raise RunDirectoryError(
            f"{directory.path} holds an unfinished deployment of another model, or of this one with other options: "
            "give the same command as then to go on, or name another directory with --out"
        )


def leave(
    prepared: Prepared,
    endpoint: ChainRef,
    chain_id: int,
    block: int,
    directory: RunDirectory,
    *,
    service: str,
    program: tuple[str, ...],
) -> None:
    """Write the directory of a deployment that somebody else sends. service, program: where everything will be; block:
    before it. Raises RunDirectoryError as `require_own`."""
    deployable = Deployable.of(prepared)
    require_own(directory, deployable)
    with directory.locked():
        store = open_store(DEFAULT_STORES, directory.path)
        store.put(deployable.calibration)
        publish(deployable.onnx, prepared.compiled, store, directory)
        _with_lineage(Deployment(endpoint, chain_id, None, service, program, block), prepared).save(
            directory.path
        )


def deploy(
    prepared: Prepared,
    w3: Web3,
    rpc_url: str,
    owner: LocalAccount,
    directory: RunDirectory,
    progress: Progress | None = None,
) -> Served:
    """Deploy with a ModelService and leave a directory that `predict`, `decisions` and `audit` understand.

    The version has the lineage of `prepared.federated`, else none. What an interrupted deployment has put on the
    chain is found there, and not paid for again. rpc_url: as it may be stored. Raises RunDirectoryError as
    `require_own`, ChainError when a transaction fails.
    """
    deployable = Deployable.of(prepared)
    require_own(directory, deployable)
    with directory.locked():
        require_own(directory, deployable)
        store = open_store(DEFAULT_STORES, directory.path)
        store.put(deployable.calibration)
        onnx_cid = publish(deployable.onnx, prepared.compiled, store, directory)
        chain_id = int(w3.eth.chain_id)
        if not directory.deployment.is_file():
            at = ChainRef("rpc", rpc_url)
            Deployment(at, chain_id, block=w3.eth.block_number).save(directory.path)
        elif (begun := Deployment.load(directory.path).chain_id) != chain_id:
            raise RunDirectoryError(f"{directory.path} was begun on chain {begun}: name another with --out")
        deployer = Deployer.ensure(Sender(w3), owner)
        lineage = prepared.federated.lineage if prepared.federated else None
        served = serve(
            w3, owner, prepared.compiled, onnx_cid, directory, lineage, progress, deployer=deployer
        )
        named = [served.service.address] + ([lineage.federation] if lineage else [])
        first = min(creation_block(w3, address) for address in named)
        _with_lineage(replace(Deployment.load(directory.path), block=first), prepared).save(directory.path)
        return served


def deploy_beside(prepared: Prepared, run: Run, counted: Counted = lambda what, done, total: None) -> Served:
    """Deploy on the embedded chain of a federation's directory, which then has all that a finished run's has.

    run: open for writing. The owner pays, whose account the chain has. The version has the lineage of
    `prepared.federated`, else none. Where the directory has a service, a later round becomes its next version, and of
    the round that it serves nothing is registered again. Where the service has a gate (`own_gate`), a trial
    comes before a version serves. counted: told what is counted, how many are done and how many there are.

    Raises:
        DeploymentError: the federation is on a network; or the directory has a service, and the model no lineage.
        UsageError: the service there has this round's model compiled with other options, or a gate for other inputs.
        GateFailed: the version did not pass its trial.
        ChainError: a transaction failed.
    """
    if run.chain is None or run.path is None:
        raise DeploymentError("the federation is on a network: deploy there, with `fedvm serve`")
    deployable, directory = Deployable.of(prepared), RunDirectory(run.path)
    lineage = prepared.federated.lineage if prepared.federated else None
    before = served_before(run.w3, directory)
    if run.deployment.service is not None and lineage is None:
        raise DeploymentError(
            f"{run.path} has a service already, {run.deployment.service}: name another directory"
        )
    service = None if run.deployment.service is None else run.model_service
    samples = _samples_for(service, prepared, directory)
    owner = run.chain.account("owner")
    with directory.locked():
        if before is not None and lineage is not None and lineage.is_of(before.registered.version):
            if before.registered.version.onnx_cid != deployable.onnx_cid.binary:
                raise UsageError(
                    f"{before.service.address} has round {lineage.round} already, compiled in another way: train more "
                    "rounds, or serve from a copy of the directory as it was before"
                )
            served = before
        else:
            run.store.put(deployable.calibration)
            onnx_cid = publish(deployable.onnx, prepared.compiled, run.store, directory)
            told = partial(counted, "transactions")
            served = serve(
                run.w3, owner, prepared.compiled, onnx_cid, directory, lineage, told, service=service
            )
        if samples is not None:
            pass_time, custodian = run.chain.advance_time, Custodian(owner, samples, run.deployment.block)
            names, told = prepared.description.classes, partial(counted, "samples")
            served, _ = try_version(served, custodian, names, lambda: pass_time(0), told)
    run.deployment = Deployment.load(run.path)
    return served


def _samples_for(
    service: ModelService | None, prepared: Prepared, directory: RunDirectory
) -> SampleTree | None:
    """The samples on which a gate tries the version, None without a gate. Raises UsageError if the program takes other
    inputs or has another number of scores, so that no version of it could pass."""
    gate = None if service is None else service.gate()
    if gate is None:
        return None
    samples, manifest = read_samples(directory), prepared.compiled.manifest
    takes, given = math.prod(manifest["input"]["shape"]), len(samples.samples[0].input)
    scores, classes = manifest["output"]["scores"], gate.terms().classes
    if (takes, scores) != (given, classes):
        raise UsageError(
            f"the program takes {takes} bytes and has {scores} scores; the gate, fixed before training, has samples of "
            f"{given} bytes in {classes} classes: serve the network that it was fixed for"
        )
    return samples


def _with_lineage(done: Deployment, prepared: Prepared) -> Deployment:
    """With the federation that the model comes from, if any, and its stores."""
    federated = prepared.federated
    if federated is None:
        return done
    return replace(done, federation=federated.lineage.federation, stores=(*DEFAULT_STORES, *federated.stores))
