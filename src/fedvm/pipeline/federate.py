"""Steps 2 to 4: the initial model, the federation contract, the rounds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from flwr.app import ArrayRecord, MetricRecord

from fedvm.chain.federation import FederationContract
from fedvm.federation.arrays import named_arrays
from fedvm.federation.client.app import ClientData
from fedvm.federation.client.consent import Consent
from fedvm.federation.client.distributed_privacy import DistributedPrivacy
from fedvm.federation.client.privacy import LocalPrivacy
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.coordinator.client_scores import ClientScore, ScoreQuestion
from fedvm.federation.coordinator.founding import first_model, found
from fedvm.federation.coordinator.journal import RoundJournal
from fedvm.federation.coordinator.records import RoundRecord
from fedvm.federation.coordinator.stopping import Stopping
from fedvm.federation.engines.grid import Finished
from fedvm.federation.engines.workers import forking_supported
from fedvm.federation.rule_units import contract_rules
from fedvm.federation.simulated.server import Watch, image_nodes, initial_arrays, run_federation
from fedvm.federation.simulated.settings import FederationSettings
from fedvm.learning.device import resolve_device
from fedvm.learning.models import ModelSpec, load_model
from fedvm.learning.settings import DeviceName
from fedvm.learning.training import evaluate
from fedvm.pipeline.aggregation import aggregation_rule, strategy_settings
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.data import PreparedData
from fedvm.pipeline.engines import flower_grid
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.events import Observer
from fedvm.pipeline.ground import Ground
from fedvm.pipeline.network import model_spec
from fedvm.pipeline.preflight import example_cap
from fedvm.pipeline.results import ClientRow, MemberRow, RoundRow
from fedvm.pipeline.rule_units import (
    contract_security,
    described_noise,
    described_sealing,
    require_sealable,
    sealed_rules,
)
from fedvm.protocol import Rules, VectorSpec
from fedvm.protocol.rules import PPM
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.protocol.vector import IntVector
from fedvm.rundir.deployment import Deployment
from fedvm.rundir.layout import RunDirectory
from fedvm.store import Store


@dataclass(frozen=True)
class Trained:
    """The result of the rounds: the network with the federated weights, and the round they are from.

    vector: the model on chain, int32; spec: how it maps to tensors; round: the final round that gave it; clients:
    what every client measured of it; stopped: why the run ended before its last round, if it did.
    """

    model: torch.nn.Module
    model_spec: ModelSpec
    spec: VectorSpec
    vector: IntVector
    model_root: bytes
    round: int
    contract: FederationContract
    rounds: tuple[RoundRow, ...]
    clients: tuple[ClientRow, ...] = ()
    stopped: str | None = None


def federate(
    config: RunConfig,
    data: PreparedData,
    chain: Ground,
    store: Store,
    directory: RunDirectory,
    observer: Observer,
) -> Trained:
    """Create the federation, or find the one of an interrupted run, and play its rounds to the last.

    Raises ConfigError when every round failed, and what `fedvm.federation` raises.
    """
    spec = model_spec(config, data.images)
    settings = federation_settings(config)
    initial = initial_arrays(spec, config.run.seed, data.calibration)
    clients = {address: index for index, address in enumerate(chain.addresses(config.deployment.members))}
    contract = _contract(config, data, chain, store, initial, list(clients))
    _put_at_stake(contract, chain, config)
    if not directory.deployment.is_file():
        at = Deployment(chain.at, chain.chain_id, contract.address, block=chain.first_block)
        replace(at, stores=config.run.store).save(directory.path)
    rows: list[RoundRow] = []

    def on_round(record: RoundRecord) -> None:
        rows.append(round_row(record, clients))
        observer.round_done(rows[-1], config.federation.rounds)

    def on_client(finished: Finished) -> None:
        observer.progress("clients", finished.done, finished.total)

    def test(number: int, arrays: ArrayRecord) -> MetricRecord | None:
        wanted = number % config.evaluation.every == 0 or number == config.federation.rounds
        return _test(config, data, spec, arrays, settings.training.device) if wanted else None

    run = partial(
        run_federation,
        settings,
        ledger=_ledger(contract, chain, store, observer),
        store=store,
        initial=initial,
        seed=config.run.seed,
        evaluate_fn=test,
        journal=RoundJournal(directory.rounds),
        watch=Watch(on_client=on_client, on_round=on_round),
    )
    if config.federation.engine == "inprocess":
        keys = [member.key.hex() for member in chain.members]
        nodes = image_nodes(
            settings,
            model=spec,
            data=lambda index: client_data(data, index),
            keys=keys,
            seed=config.run.seed,
            normalisation=data.images.normalisation,
            home=directory.clients if config.sealed.group_size else None,
        )
        limit = config.federation.client_timeout
        result = run(nodes=nodes, keys=keys, workers=_workers(config), client_timeout=limit)
    else:
        with flower_grid(config, data, directory, on_client) as grid:
            result = run(grid=grid)
    final = [row.round for row in rows if row.final]
    if not final:
        raise ConfigError(
            f"no round reached its quorum of {config.rules.min_clients} accepted updates: see why in the "
            "table above, then begin a new run with other rules"
        )
    return Trained(
        model=_network(spec, result.arrays),
        model_spec=spec,
        spec=VectorSpec.from_arrays({name: array.numpy() for name, array in result.arrays.items()}),
        vector=result.vector,
        model_root=bytes.fromhex(result.model_root.removeprefix("0x")),
        round=result.round,
        contract=contract,
        rounds=tuple(rows),
        clients=tuple(_client_row(score, clients) for score in result.scores),
        stopped=result.stopped,
    )


def _ledger(contract: FederationContract, chain: Ground, store: Store, observer: Observer) -> ChainLedger:
    """What the coordinator reads and does on the run's chain; waits are told to the observer."""
    return ChainLedger(
        contract,
        chain.coordinator,
        first_block=chain.first_block,
        pass_time=chain.pass_time,
        store=store,
        tell=observer.note,
    )


def _workers(config: RunConfig) -> int:
    """How many processes to fork: none if clients run one at a time, unless `client_timeout` must be able to stop
    one."""
    timed = config.federation.client_timeout is not None
    if not forking_supported():
        if timed:
            raise ConfigError(
                "federation.client_timeout needs worker processes, which are for Linux: leave it out"
            )
        return 0
    return config.training.workers if config.training.workers > 1 or timed else 0


def rules_for(config: RunConfig, *, max_examples: int, elements: int) -> Rules:
    """The contract's rules: `rules` of the configuration in the contract's units, with the given cap on examples."""
    budget = round((config.rules.max_epsilon or config.privacy.max_epsilon or 0.0) * PPM)
    fields = contract_rules(config.rules) | {"max_examples": max_examples, "max_epsilon_micros": budget}
    return Rules(elements=elements, aggregator=aggregation_rule(config).identifier, **fields)


def federation_rules(config: RunConfig, data: PreparedData, initial: ArrayRecord) -> Rules:
    """The rules that the run's federation is created with. initial: its first model, named tensors."""
    elements = VectorSpec.from_arrays(named_arrays(initial)).elements
    return rules_for(config, max_examples=example_cap(config, data), elements=elements)


def sealing_notes(config: RunConfig, data: PreparedData) -> tuple[str, ...]:
    """What sealed rounds and their noise promise, in lines for the console; none where rounds are open. Raises as
    `sealing`."""
    if not config.sealed.group_size:
        return ()
    initial = initial_arrays(model_spec(config, data.images), config.run.seed, data.calibration)
    rules, privacy = federation_rules(config, data, initial), distributed_privacy(config)
    sealing(config, rules)
    notes = (described_sealing(config.sealed, config.data.clients),)
    if privacy is None:
        return notes
    return (*notes, described_noise(privacy, rules, config.sealed.group_size, config.federation.rounds))


def round_row(record: RoundRecord, clients: dict[str, int]) -> RoundRow:
    """A round's record as the report shows it. clients: member's address → the client's number."""
    rows = [
        MemberRow(clients[one.member], one.member, one.examples, one.weight, epsilon=one.epsilon)
        for one in record.accepted
    ]
    rows += [MemberRow(clients[one.member], one.member, 0, 0, refused=one.reason) for one in record.refused]
    rows += [MemberRow(clients[one.member], one.member, 0, 0, failure=one.reason) for one in record.failures]
    return RoundRow(
        round=record.round,
        final=record.status == "final",
        members=tuple(sorted(rows, key=lambda row: row.client)),
        train_loss=record.train_loss,
        validation_loss=record.validation_loss,
        validation_accuracy=record.validation_accuracy,
        test_loss=record.test_loss,
        test_accuracy=record.test_accuracy,
        seconds=record.seconds or None,
        gas={"open": record.gas.open, "submit": record.gas.submit, "close": record.gas.close},
        model_root=record.model_root,
        model_cid=record.model_cid or "",
    )


def _client_row(score: ClientScore, clients: dict[str, int]) -> ClientRow:
    return ClientRow(
        client=clients[score.member],
        member=score.member,
        examples=score.examples,
        accuracy=score.accuracy,
        class_correct=score.class_correct,
        class_examples=score.class_examples,
        personal_accuracy=score.personal_accuracy,
    )


def federation_settings(config: RunConfig) -> FederationSettings:
    """What the run's configuration tells the federation to do; a device of this machine."""
    device = DeviceName(resolve_device(config.training.device).type)
    served = config.federation
    return FederationSettings(
        clients=config.data.clients,
        rounds=served.rounds,
        fraction_train=served.fraction_train,
        fraction_evaluate=served.fraction_evaluate,
        min_train_nodes=served.min_train_nodes,
        min_evaluate_nodes=served.min_evaluate_nodes,
        min_available_nodes=served.min_available_nodes,
        submission=served.submission.value,
        keep=served.keep,
        strategy=strategy_settings(config),
        training=replace(config.training, device=device),
        stopping=Stopping(**asdict(config.stopping)),
        question=_question(config),
        privacy=distributed_privacy(config) or local_privacy(config),
        seeded_noise=config.federation.engine != "deployment",  # those clients are real
        adversaries=config.adversaries,
        consent=simulated_consent(config),
    )


def simulated_consent(config: RunConfig) -> Consent:
    """What every simulated client of this run agrees to sign."""
    return Consent(**asdict(config.consent))


def local_privacy(config: RunConfig) -> LocalPrivacy | None:
    """The noise that each client hides its own update with, None without it. Raises SettingsError if the budget does
    not allow a single update."""
    if not config.privacy.noise_multiplier or config.noise_in_sums:
        return None
    return LocalPrivacy(**asdict(config.privacy))


def distributed_privacy(config: RunConfig) -> DistributedPrivacy | None:
    """The noise that clients add to the sums of their sealed groups, None without it. Raises as `local_privacy`."""
    if not config.noise_in_sums:
        return None
    return DistributedPrivacy(**asdict(config.privacy), assumed_corrupt=config.sealed.corrupt)


def sealing(config: RunConfig, rules: Rules) -> SealedRules | None:
    """How the rounds of this configuration are sealed, None if they are open. Raises as `sealed_rules`, and UsageError
    if these rules have no sealed rounds."""
    made = sealed_rules(config.sealed, rules, distributed_privacy(config))
    if made is not None:
        require_sealable(made, rules, config.security.open_seconds)
    return made


def _question(config: RunConfig) -> ScoreQuestion | None:
    if not config.evaluation.clients and not config.personal.epochs:
        return None
    return ScoreQuestion(config.personal.epochs, config.personal.lr or config.training.lr / 10)


def _contract(
    config: RunConfig,
    data: PreparedData,
    chain: Ground,
    store: Store,
    initial: ArrayRecord,
    members: list[str],
) -> FederationContract:
    """The federation of this run, created now or found on the chain."""
    if chain.federation is not None:
        return FederationContract(chain.w3, chain.federation)
    owner = chain.owner
    rules = federation_rules(config, data, initial)
    security = contract_security(config.security)
    contract, _ = found(
        chain.factory(),
        owner,
        store,
        first_model(initial, rules, security),
        coordinator=str(chain.coordinator.address),
        rules=rules,
        members=members,
        security=security,
        sealed=sealing(config, rules),
        salt=chain.salt,
    )
    return contract


def _put_at_stake(contract: FederationContract, chain: Ground, config: RunConfig) -> None:
    """Each member deposits what its stake lacks, so that the contract accepts its updates."""
    for member in chain.members if config.security.stake else ():
        lacking = config.security.stake - contract.stake_of(member.address)
        if lacking > 0:
            contract.stake(lacking).send(member)


def client_data(data: PreparedData, index: int) -> ClientData:
    """The images dealt out to client `index`."""
    part, train = data.partitions[index], data.images.train
    return ClientData(train.take(part.train_indices), train.take(part.validation_indices))


def _network(spec: ModelSpec, arrays: ArrayRecord) -> torch.nn.Module:
    return load_model(spec, arrays.to_torch_state_dict()).eval()


def _test(
    config: RunConfig, data: PreparedData, spec: ModelSpec, arrays: ArrayRecord, device: str
) -> MetricRecord:
    test = data.images.test
    result = evaluate(
        _network(spec, arrays),
        test.images,
        test.labels,
        criterion=config.training.criterion,
        normalisation=data.images.normalisation,
        device=device,
    )
    return MetricRecord({"loss": result.loss, "accuracy": result.accuracy})
