"""A coordinator's run directory, rebuilt on another machine from the chain, the store and the run's configuration.

The chain says what was decided and names every artefact; the configuration says what no contract records, such as the
data set and how clients train. It is held against the chain before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

from eth_account.signers.local import LocalAccount

from fedvm.chain.creation_block import creation_block
from fedvm.chain.endpoint import endpoint_of
from fedvm.chain.epoch_types import EpochState
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.genuine import is_sealed, require_genuine
from fedvm.chain.history import FederationHistory
from fedvm.chain.networks import EMBEDDED
from fedvm.devnet.accounts import derive_account
from fedvm.federation.coordinator.founding import first_model
from fedvm.federation.simulated.server import initial_arrays
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import save_config
from fedvm.pipeline.data import PreparedData
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.federate import federation_rules, sealing
from fedvm.pipeline.network import model_spec
from fedvm.pipeline.rule_units import contract_security
from fedvm.protocol import model_root
from fedvm.protocol.address import to_address
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.layout import RunDirectory
from fedvm.store import open_store
from fedvm.store.vectors import stored_vector


def rebuild(
    config: RunConfig,
    data: PreparedData,
    directory: RunDirectory,
    federation: str,
    account: LocalAccount | None,
) -> tuple[str, ...]:
    """Write what a resumed run starts from into an empty directory; returns lines for the console. The rest of it, the
    rounds' journal among it, the run makes itself. federation: the contract's address (hex).

    Raises:
        ConfigError: the configuration is not that of the federation, or the account not its coordinator's.
        DeploymentError: the federation is not one of this package's contracts.
        StoreError: the store lacks the latest model, or gives another one.
        ChainError: the chain cannot be read.
    """
    named = None if config.network.name == EMBEDDED.name else config.network.name
    endpoint = endpoint_of(named, config.network.rpc)
    if endpoint is None:
        raise ConfigError(
            "an embedded chain lies in its run's directory, so it is lost with it: --from-chain needs --network or "
            "--rpc. To go on elsewhere copy the directory, and resume there"
        )
    if account is None:
        raise ConfigError("--from-chain needs the coordinator's account: give --account, or set PRIVATE_KEY")
    w3 = endpoint.connect()
    require_genuine(w3, federation)
    contract = FederationContract(w3, to_address(federation))
    first_block = creation_block(w3, contract.address)
    history = FederationHistory(contract, first_block=first_block).read()
    _require_ours(config, contract, account)
    wrong = [*_differences(config, data, contract, history)]
    if wrong:
        raise ConfigError(
            f"the configuration is not the one with which {contract.address} was created:\n  "
            + "\n  ".join(wrong)
            + "\nGive the file and the flags of that run."
        )
    lost = _require_memory(config, contract, directory)
    store = open_store(config.run.store, directory.path)
    stored_vector(store, history.model_cid or b"", contract.rules().elements, contract.model_root())
    at = Deployment(
        ChainRef("rpc", endpoint.shown), int(w3.eth.chain_id), contract.address, block=first_block
    )
    replace(at, stores=config.run.store).save(directory.path)
    save_config(config, directory.config)  # last: from now on it is a run that can be resumed
    done = sum(one.ended is not None for one in history.rounds.values())
    return (
        f"rebuilt from the chain: {contract.address} has {done} rounds that are over, of {config.federation.rounds}",
        "not on chain, so not rebuilt: training losses, times and absences of those rounds, and figures that were "
        "logged elsewhere",
        *lost,
    )


def _require_ours(config: RunConfig, contract: FederationContract, account: LocalAccount) -> None:
    coordinator = contract.coordinator()
    if coordinator != account.address:
        raise ConfigError(
            f"{account.address} does not coordinate {contract.address}: {coordinator} does. Give its --account, or "
            f"have the owner name this one (fedvm coordinator replace {account.address} …)"
        )
    if config.gate.enabled and contract.owner() != account.address:
        raise ConfigError(
            f"the gate's samples are salted with the key of the owner, {contract.owner()}: only its account can go on "
            "with a run that has a gate"
        )


def _differences(
    config: RunConfig, data: PreparedData, contract: FederationContract, history: FederationHistory
) -> Iterator[str]:
    """What the configuration comes to, against what the chain says, a line each."""
    created = history.created
    initial = initial_arrays(model_spec(config, data.images), config.run.seed, data.calibration)
    rules, security = federation_rules(config, data, initial), contract_security(config.security)
    if created is None:
        yield "the node lists no event of its creation"
        return
    for what, ours, theirs in (("rules", rules, created.rules), ("security", security, contract.security())):
        for name, value in asdict(ours).items():
            if (stated := getattr(theirs, name)) != value:
                yield f"{what}: {name} is {_shown(stated)} on chain, {_shown(value)} by the configuration"
    sealed = sealing(config, rules)
    if is_sealed(contract.w3, contract.address) != (sealed is not None):
        yield f"its rounds are {'open' if sealed is not None else 'sealed'} on chain"
    elif sealed is not None and EpochsContract.of(contract).sealed_rules() != sealed:
        yield "its rules of sealed rounds are others"
    given = config.deployment.members or [
        derive_account(config.run.seed, "member", index).address for index in range(config.data.clients)
    ]
    strangers = {*map(str, contract.members())} - {to_address(one) for one in given}
    if strangers:
        yield f"{sorted(strangers)[0]} is a member, and none of the {len(given)} clients (data.clients, run.seed)"
    if created.rules.elements == rules.elements:
        root = model_root(first_model(initial, rules, security))
        if root != created.model_root:
            yield "the first model is another (run.seed, the data set, the network, the calibration images)"


def _require_memory(
    config: RunConfig, contract: FederationContract, directory: RunDirectory
) -> tuple[str, ...]:
    """What of the clients' own memory is lost, in words.

    Raises:
        ConfigError: the members' keys of a running epoch are lost with the machine.
    """
    if config.deployment.members:
        return ()
    if not config.sealed.group_size:
        noisy = config.privacy.noise_multiplier > 0
        return ("the simulated clients begin anew to count what noise they have spent",) if noisy else ()
    epochs = EpochsContract.of(contract)
    standing = epochs.standing()
    running = standing.state is EpochState.DRAWN and standing.closed_rounds < config.sealed.epoch_rounds
    if running and not directory.clients.is_dir():
        raise ConfigError(
            f"epoch {standing.number} has {config.sealed.epoch_rounds - standing.closed_rounds} rounds to go, and the "
            f"simulated members' keys for it were on the other machine: copy its folder clients/ to {directory.clients}"
            ". No chain and no store has them. Clients elsewhere keep their own (deployment.members)"
        )
    return ("the simulated members begin a new epoch with new keys",)


def _shown(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
