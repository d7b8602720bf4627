"""A federation for a model of the user's own: imported from a Flower app, created with rules from a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount
from flwr.app import ArrayRecord

from fedvm.chain.endpoint import Endpoint
from fedvm.chain.founding_plan import UnsignedFounding
from fedvm.federation.arrays import named_arrays
from fedvm.federation.coordinator.directory import (
    create_federation,
    create_federation_on,
    leave_federation_on,
)
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.factory import made_by
from fedvm.pipeline.federate import rules_for, sealing
from fedvm.pipeline.own_gate import fix_gate, read_validation
from fedvm.pipeline.preflight import check_cap
from fedvm.pipeline.rule_units import contract_security
from fedvm.protocol import Rules, Security, VectorSpec
from fedvm.rundir.run import open_run


def import_model(reference: str, directory: Path) -> ArrayRecord:
    """The state of the model that `MODULE:FUNCTION` returns, imported with `directory` on the path.

    The function returns a PyTorch module, its state dict, or an ArrayRecord. Its code runs in this process.
    Raises ConfigError if there is no such function or it returns something else.
    """
    return state_of(made_by(reference, directory), reference)


def state_of(model: Any, reference: str) -> ArrayRecord:
    """The state of a PyTorch module, a state dict or an ArrayRecord. Raises ConfigError for something else, which names
    `reference`."""
    if isinstance(model, ArrayRecord):
        return model
    state = model.state_dict() if hasattr(model, "state_dict") else model
    try:
        return ArrayRecord(state)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"--model {reference} returned {type(model).__name__}: return a PyTorch module, its state dict, or an "
            f"ArrayRecord ({error})"
        ) from error


def create_for_model(
    path: Path, config: RunConfig, initial: ArrayRecord, *, seed: int, validation: Path | None = None
) -> str:
    """Create the federation of a directory under the configuration's rules; the contract's address. validation: a file
    of a gate's samples, as `own_gate.read_validation` takes it.

    Raises ConfigError without `rules.max_examples`, and what `create_federation` and `read_validation` raise.
    """
    rules, security = _terms(config, initial)
    if validation is not None:
        read_validation(validation, config.gate)  # refuses before anything is made
    address = create_federation(
        path,
        initial,
        rules=rules,
        security=security,
        clients=config.data.clients,
        seed=seed,
        stores=config.run.store,
        sealed=sealing(config, rules),
    )
    if validation is not None:
        with open_run(path, read_only=False) as run:
            fix_gate(run, read_validation(validation, config.gate))
    return address


def create_for_model_on(
    endpoint: Endpoint,
    path: Path,
    config: RunConfig,
    initial: ArrayRecord,
    *,
    members: Sequence[str],
    account: LocalAccount,
    coordinator: str | None = None,
) -> str:
    """The same on a network, paid for by `account`, which becomes the coordinator unless another address is given."""
    rules, security = _terms(config, initial)
    return create_federation_on(
        endpoint,
        path,
        initial,
        rules=rules,
        security=security,
        members=members,
        account=account,
        coordinator=coordinator,
        stores=config.run.store,
        sealed=sealing(config, rules),
    )


def leave_for_model_on(
    endpoint: Endpoint,
    path: Path,
    config: RunConfig,
    initial: ArrayRecord,
    *,
    members: Sequence[str],
    owner: str,
    coordinator: str,
) -> UnsignedFounding:
    """The same for a wallet (owner) to send: addresses are checksummed."""
    rules, security = _terms(config, initial)
    return leave_federation_on(
        endpoint,
        path,
        initial,
        rules=rules,
        security=security,
        members=members,
        owner=owner,
        coordinator=coordinator,
        stores=config.run.store,
        sealed=sealing(config, rules),
    )


def _terms(config: RunConfig, initial: ArrayRecord) -> tuple[Rules, Security]:
    if config.rules.max_examples is None:
        raise ConfigError(
            "rules.max_examples is needed: nothing else tells how much one client may count for"
        )
    check_cap(config.data.clients, config.rules.max_examples)
    spec = VectorSpec.from_arrays(named_arrays(initial))
    rules = rules_for(config, max_examples=config.rules.max_examples, elements=spec.elements)
    return rules, contract_security(config.security)
