"""The validation set of a run's promotion gate, and the service that is created with it before the first round."""

from __future__ import annotations

import hmac
import io
from collections.abc import Sequence
from zipfile import BadZipFile

import numpy as np
from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.types import Nonce
from web3.utils import get_create_address

from fedvm.chain.factory import OPEN_IMPLEMENTATIONS, FederationFactory
from fedvm.chain.gate import GateTerms
from fedvm.chain.model_service import ModelService, service_code
from fedvm.files import write_atomically
from fedvm.pipeline.config import GateSettings
from fedvm.pipeline.errors import ConfigError, UsageError
from fedvm.pipeline.ground import Ground
from fedvm.protocol import AccuracyTest, Sample, SampleTree
from fedvm.rundir.layout import RunDirectory

_PPM = 1_000_000


def sample_tree(inputs: Sequence[bytes], labels: Sequence[int], owner: LocalAccount) -> SampleTree:
    """The tree over validation inputs and their classes, salted by HMAC-SHA-256 of their numbers under the owner's
    key."""
    return SampleTree(
        tuple(
            Sample(
                hmac.digest(bytes(owner.key), b"FedVM sample" + number.to_bytes(4), "sha256"),
                label,
                data,
            )
            for number, (data, label) in enumerate(zip(inputs, labels, strict=True))
        )
    )


def gate_terms(settings: GateSettings, tree: SampleTree, classes: int) -> GateTerms:
    """The gate's terms: `gate` of the configuration in the contract's units."""
    return GateTerms(
        samples_root=tree.root,
        samples=len(tree.samples),
        classes=classes,
        test=AccuracyTest(
            *(
                round(share * _PPM)
                for share in (
                    settings.fail_accuracy,
                    settings.pass_accuracy,
                    settings.alpha,
                    settings.beta,
                )
            )
        ),
        max_samples=settings.max_samples,
        margin=settings.margin,
        attempts=settings.attempts,
        trial_seconds=settings.trial_seconds,
        bond=settings.bond,
    )


def save_samples(tree: SampleTree, directory: RunDirectory) -> None:
    """Write what the custodian must keep secret: `inputs` uint8 `[N, bytes]`, `labels` and `salts` `[N, 32]`."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        inputs=np.array([list(sample.input) for sample in tree.samples], dtype=np.uint8),
        labels=np.array([sample.label for sample in tree.samples], dtype=np.int64),
        salts=np.array([list(sample.salt) for sample in tree.samples], dtype=np.uint8),
    )
    write_atomically(directory.samples, buffer.getvalue())


def read_samples(directory: RunDirectory) -> SampleTree:
    """What `save_samples` wrote. Raises UsageError if it is not there, or is something else."""
    try:
        with np.load(directory.samples, allow_pickle=False) as held:
            rows = zip(held["salts"], held["labels"].tolist(), held["inputs"], strict=True)
            return SampleTree(
                tuple(Sample(salt.tobytes(), label, data.tobytes()) for salt, label, data in rows)
            )
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise UsageError(
            f"{directory.samples} has the samples on which versions are tried, and cannot be read ({error}): restore it"
        ) from None


def gated_service(ground: Ground, terms: GateTerms) -> ModelService:
    """The service with this gate, created now, or by an earlier start of the same run.

    On an embedded chain the owner creates it right after the factory, so that its address is known beforehand; on a
    network its address follows from the run's salt and the gate.
    Raises ConfigError when the service there has another gate, or when rounds may have been played and there is none: a
    gate that is fixed after training proves nothing.
    """
    w3, owner = ground.w3, ground.owner
    if ground.deployer is not None:
        fixed = ground.deployer.address_of(service_code(w3, str(owner.address), terms), ground.salt)
        if ground.federation is not None and not w3.eth.get_code(Web3.to_checksum_address(fixed)):
            raise ConfigError(
                f"the federation {ground.federation} exists, and its gate, fixed before it, is not at {fixed}: give "
                "the name (run.name), the seed, the data set, the gate's settings and the account with which the run "
                "began, and the same version of FedVM"
            )
        return ModelService.deploy_at(ground.deployer, owner, ground.salt, gate=terms)
    FederationFactory.deploy_first(w3, owner)
    address = get_create_address(owner.address, Nonce(len(OPEN_IMPLEMENTATIONS) + 1))
    if not w3.eth.get_code(address):
        return ModelService.deploy(w3, owner, gate=terms)[0]
    service = ModelService(w3, address)
    gate = service.gate()
    if gate is None or gate.terms() != terms:
        raise ConfigError(
            f"the service {address} was created with another gate: did the data set change since the run began? "
            "Begin a new run with another --out."
        )
    return service
