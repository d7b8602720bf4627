"""The whole run, step by step, in one directory. Each step finds what an interrupted run has left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Final

import numpy as np
from eth_account.signers.local import LocalAccount
from numpy.typing import NDArray
from web3 import Web3

import fedvm
from fedvm.audit.description import Description
from fedvm.chain.model_service import ModelService
from fedvm.chain.revm import RevmProgram
from fedvm.files import write_atomically
from fedvm.images.encode import png
from fedvm.learning.device import resolve_device
from fedvm.learning.models import model_size
from fedvm.learning.training import evaluate
from fedvm.pipeline.aggregation import aggregation_rule
from fedvm.pipeline.baseline import baseline
from fedvm.pipeline.build import Built, build
from fedvm.pipeline.check import Checked, check_predictions
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import save_config
from fedvm.pipeline.cost import forecast, size_of
from fedvm.pipeline.data import PreparedData, prepare_data
from fedvm.pipeline.events import Observer, Observers
from fedvm.pipeline.federate import Trained, federate, federation_settings, sealing_notes
from fedvm.pipeline.from_chain import rebuild
from fedvm.pipeline.gas import read_gas
from fedvm.pipeline.gate import gate_terms, gated_service, sample_tree, save_samples
from fedvm.pipeline.ground import Ground, opened_ground
from fedvm.pipeline.heartbeat import heartbeat
from fedvm.pipeline.preflight import check_settings
from fedvm.pipeline.results import (
    ChainFacts,
    DataFacts,
    FairnessFacts,
    GasFacts,
    GateFacts,
    LayerFacts,
    ModelFacts,
    PrivacyFacts,
    ProgramPart,
    RunReport,
    SealedFacts,
)
from fedvm.pipeline.resume import keep_growth
from fedvm.pipeline.sealed_facts import sealed_facts
from fedvm.pipeline.serve import Lineage, Served, serve, served_before
from fedvm.pipeline.trial import Custodian, try_version
from fedvm.pipeline.writers import writers_of
from fedvm.protocol import SampleTree
from fedvm.protocol.aggregators import aggregator_named
from fedvm.rundir.layout import RunDirectory
from fedvm.store import Cid, Store, open_store

BY_CLASS: Final = "by-class"
"""Folder of `images/` with examples of each class, `<class>-<number>.png`."""
_PICTURES_PER_CLASS: Final = 2


@dataclass
class _Steps:
    """Announces the steps and measures them."""

    observer: Observer
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[None]:
        self.observer.step(title)
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 3)


def run_all(
    config: RunConfig,
    *,
    resume: bool = False,
    from_chain: str | None = None,
    observer: Observer | None = None,
    account: LocalAccount | None = None,
) -> RunReport:
    """Run everything that `config` says, or go on with a run that was interrupted at any moment.

    from_chain: with resume, the address of the run's federation, whose directory is lost: it is rebuilt
    (`fedvm.pipeline.from_chain`). account: on a network, who pays, owns and coordinates.

    With the same configuration the result is the same, interrupted or not: `model_root` and the weights to
    the bit. Raises RunDirectoryError when the directory is in use, not empty, or (resuming) holds no run;
    otherwise what the steps raise. KeyboardInterrupt passes through; nothing needs to be cleaned up.
    """
    watcher = Observers(observer or Observer(), *writers_of(config))
    directory = RunDirectory(config.out)
    if resume and from_chain is None:
        directory.require_run()
    elif from_chain is None or not directory.has_memory_alone:
        directory.require_free()
    steps = _Steps(watcher)
    with directory.locked(), _announced(watcher, config, resume):
        with steps.step("data", f"Reading {config.data.dataset} and dealing it out"):
            data = prepare_data(config)
            check_settings(config, data)
            size = size_of(config, data)
            watcher.note(_describe(data))
            for note in data.images.notes:
                watcher.note(note)
            watcher.note(
                f"network {config.model.name}: {size.parameters:,} parameters, "
                f"{size.macs:,} multiplications a prediction"
            )
            watcher.note(f"aggregation: {aggregation_rule(config).describe()}")
            for note in sealing_notes(config, data):
                watcher.note(note)
        if config.compiler.forecast and not resume:
            with steps.step("forecast", "Compiling the network as it begins, to say what it will cost"):
                with heartbeat(watcher, "compiling"):
                    cost = forecast(config, data, size)
                watcher.note(
                    cost.describe() if cost else "too big for a forecast: compiling it will take minutes"
                )
        if from_chain is not None:
            with steps.step("rebuild", "Rebuilding the run's directory from chain and store"):
                for note in rebuild(config, data, directory, from_chain, account):
                    watcher.note(note)
        elif not resume:
            directory.require_free()  # check again, now that no other process can begin here
            save_config(config, directory.config)
        else:
            keep_growth(config, directory)
        with opened_ground(config, directory, account, resume=resume) as ground:
            for note in ground.notes:
                watcher.note(note)
            return _run(config, directory, data, ground, steps)


@contextmanager
def _announced(watcher: Observer, config: RunConfig, resume: bool) -> Iterator[None]:
    """Tells an observer that the run has started, and in any case that it has ended."""
    try:
        watcher.started(config, resume)
        yield
    finally:
        watcher.ended()


def _run(
    config: RunConfig, directory: RunDirectory, data: PreparedData, chain: Ground, steps: _Steps
) -> RunReport:
    observer, store = steps.observer, open_store(config.run.store, directory.path)
    owner, service, samples = chain.owner, None, None
    if config.gate.enabled:
        with steps.step("gate", "Committing to the samples that versions will be tried on"):
            validation = data.validation
            inputs, labels = [one.tobytes() for one in validation.images], validation.labels.tolist()
            samples = sample_tree(inputs, labels, owner)
            save_samples(samples, directory)
            service = gated_service(chain, gate_terms(config.gate, samples, len(data.images.class_names)))
    with steps.step("federation", f"Federating {config.federation.rounds} rounds under the contract's rules"):
        trained = federate(config, data, chain, store, directory, observer)
        if trained.stopped:
            observer.note(f"stopped early: {trained.stopped}")
        if trained.round != trained.rounds[-1].round:
            observer.note(f"the model of round {trained.round} goes on")
    central = None
    if config.baseline.enabled:
        with steps.step("baseline", "Training without federating, to compare"):
            central = baseline(config, data, len(trained.rounds), directory, observer)
    compiling = steps.step("compile", "Exporting and compiling the federated model")
    with compiling, heartbeat(observer, "compiling"):
        built = build(config, data, trained, store, directory)
    served, trial = _promote(config, data, trained, built, directory, chain, service, samples, steps)
    with steps.step("check", "Asking the contract about held-out images"):
        checked = check_predictions(
            data.images,
            config.evaluation.test_images,
            trained.model,
            directory.reference.read_bytes(),
            RevmProgram.from_chain(chain.w3, [part.account for part in served.registered.version.parts]),
            served.service,
            lambda done, total: observer.progress("images", done, total),
        )
        fairness = FairnessFacts.of(trained.clients, _class_accuracy(config, data, trained))
    report = RunReport(
        fedvm=fedvm.__version__,
        name=config.run.name,
        seed=config.run.seed,
        data=_data_facts(config, data, trained),
        rules=_rules(trained),
        aggregation=aggregator_named(trained.contract.rules().aggregator).describe(),
        rounds=trained.rounds,
        baseline=central,
        model=_model_facts(config, data, trained, built, served, chain),
        chain=_chain_facts(trained, served, chain),
        gas=_gas_facts(trained, built, served, checked, chain),
        evaluation=checked.facts,
        seconds=steps.seconds,
        fairness=fairness,
        privacy=_privacy_facts(config, trained),
        stopped=trained.stopped,
        gate=trial,
        sealed=_sealed_facts(trained, store),
    )
    with steps.step("report", "Writing the report"):
        _write_report(report, data, checked, directory)
    return report


def _sealed_facts(trained: Trained, store: Store) -> SealedFacts | None:
    final = {row.round for row in trained.rounds if row.final}
    return sealed_facts(trained.contract, store, final)


def _promote(
    config: RunConfig,
    data: PreparedData,
    trained: Trained,
    built: Built,
    directory: RunDirectory,
    chain: Ground,
    service: ModelService | None,
    samples: SampleTree | None,
    steps: _Steps,
) -> tuple[Served, GateFacts | None]:
    """The version on chain, and its trial where there is a gate."""
    observer, owner, trial = steps.observer, chain.owner, None
    lineage = Lineage(trained.contract.address, trained.round, trained.model_root)
    with steps.step("deploy", "Deploying the program and registering the version"):
        before = served_before(chain.w3, directory)
        # A version of an earlier round is the run's result before it was prolonged.
        finished = before is not None and lineage.is_of(before.registered.version)
        served = (
            before
            if before is not None and finished
            else serve(
                chain.w3,
                owner,
                built.compiled,
                built.onnx_cid,
                directory,
                lineage,
                lambda done, total: observer.progress("transactions", done, total),
                service=service or (before.service if before is not None else None),
                answer_gas=config.compiler.answer_gas,
                deployer=chain.deployer,
            )
        )
    if samples is not None:
        with steps.step("trial", "Trying the version on samples drawn after its registration"):
            custodian = Custodian(owner, samples, first_block=chain.first_block)
            served, trial = try_version(
                served,
                custodian,
                data.images.class_names,
                chain.pass_block,
                lambda done, total: observer.progress("samples", done, total),
            )
            observer.note(f"{trial.right} of {trial.asked} right: the version serves")
    return served, trial


def _write_report(report: RunReport, data: PreparedData, checked: Checked, directory: RunDirectory) -> None:
    by_class = directory.images / BY_CLASS
    by_class.mkdir(parents=True, exist_ok=True)
    for position, pictures in enumerate(_pictures(data)):
        for number, image in enumerate(pictures, start=1):
            write_atomically(by_class / f"{position}-{number}.png", png(image))
    for number, (example, image) in enumerate(
        zip(checked.facts.examples, checked.images, strict=True), start=1
    ):
        label = data.images.class_names[example.true]
        write_atomically(directory.images / f"{number:02d}-{_file_name(label)}.png", png(image))
    report.save(directory.report)


def _class_accuracy(config: RunConfig, data: PreparedData, trained: Trained) -> tuple[float | None, ...]:
    test = data.images.test
    result = evaluate(
        trained.model,
        test.images,
        test.labels,
        criterion=config.training.criterion,
        normalisation=data.images.normalisation,
        device=resolve_device(config.training.device).type,
    )
    return result.class_accuracy


def _privacy_facts(config: RunConfig, trained: Trained) -> PrivacyFacts | None:
    settings = federation_settings(config)
    if settings.privacy is None:
        return None
    epsilon: dict[int, float] = {}
    for row in trained.rounds:
        for member in row.accepted:
            epsilon[member.client] = max(member.epsilon, epsilon.get(member.client, 0.0))
    return PrivacyFacts(
        **asdict(settings.privacy),
        in_sums=config.noise_in_sums,
        seeded=settings.seeded_noise,
        epsilon=dict(sorted(epsilon.items())),
    )


def _file_name(label: str) -> str:
    """The label, reduced to characters that every file system allows."""
    return "".join(c if c.isalnum() else "-" for c in label)


def _describe(data: PreparedData) -> str:
    gate = f"{len(data.validation)} for the gate, " if len(data.validation) else ""
    public = (
        f"{len(data.calibration)} public images for the compiler, {gate}{len(data.images.test):,} held out"
    )
    if not data.partitions:
        return f"{public}; the clients have their own"
    sizes = [len(part.train_indices) for part in data.partitions]
    spread = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    return f"{len(data.images.train):,} images for {len(sizes)} clients ({spread} to train on each), {public}"


def _data_facts(config: RunConfig, data: PreparedData, trained: Trained) -> DataFacts:
    """What the report says of the data; where the clients have their own, what they attested."""
    facts = data.facts(config)
    if data.partitions:
        return facts
    attested = [0] * config.data.clients
    for member in (member for row in trained.rounds for member in row.accepted):
        attested[member.client] = max(attested[member.client], member.examples)
    return replace(facts, train=sum(attested), partition="their own", client_examples=tuple(attested))


def _rules(trained: Trained) -> dict[str, int | str]:
    """The rules by the contract's names, and the greatest weight that follows from them."""
    rules = trained.contract.rules()
    named = {_camel(name): value for name, value in asdict(rules).items()}
    return {**named, "aggregator": "0x" + rules.aggregator.hex(), "maxWeight": rules.max_weight}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _model_facts(
    config: RunConfig,
    data: PreparedData,
    trained: Trained,
    built: Built,
    served: Served,
    chain: Ground,
) -> ModelFacts:
    size = model_size(trained.model, data.images.shape)
    version = served.registered.version
    description = Description.from_json(built.compiled.manifest["description"])
    return ModelFacts(
        name=config.model.name,
        parameters=size.parameters,
        macs=size.macs,
        round=version.round,
        version=served.registered.id,
        model_root="0x" + version.model_root.hex(),
        onnx_cid=str(Cid.from_binary(version.onnx_cid)),
        integer_onnx_sha256="0x" + version.integer_onnx_digest.hex(),
        parts=tuple(
            ProgramPart(part.account, "0x" + part.code_hash.hex(), _size(chain, part.account))
            for part in version.parts
        ),
        layers=tuple(
            LayerFacts(row["name"], row["op"], row["macs"], row["gas"])
            for row in built.compiled.manifest["layers"]
        ),
        title=description.title,
        preparation=description.input.preparation,
        score_scale=description.score_scale,
        quantization_aware=config.training.quantization_aware,
    )


def _size(chain: Ground, address: str) -> int:
    return len(chain.w3.eth.get_code(Web3.to_checksum_address(address)))


def _chain_facts(trained: Trained, served: Served, chain: Ground) -> ChainFacts:
    return ChainFacts(
        network=chain.network.name,
        title=chain.network.title,
        explorer=chain.network.explorer or "",
        chain_id=chain.chain_id,
        federation=trained.contract.address,
        service=served.service.address,
        program=served.registered.version.program,
        coordinator=trained.contract.coordinator(),
    )


def _gas_facts(trained: Trained, built: Built, served: Served, checked: Checked, chain: Ground) -> GasFacts:
    gas = read_gas(chain.w3, first=chain.first_block, sender=str(chain.owner.address))
    forecast = built.compiled.manifest["gas"]
    return GasFacts(
        federation_deploy=gas.creating([trained.contract.address]),
        service_deploy=gas.creating([served.service.address]),
        program_deploy=gas.creating(part.account for part in served.registered.version.parts),
        register=gas.transactions[served.registered.at.tx_hash],
        rounds=sum(sum(row.gas.values()) for row in trained.rounds),
        predict=int(np.rint(checked.gas.mean())),
        predict_estimate=int(forecast["evm"]),
        filecoin_predict_estimate=int(forecast["filecoin"]),
    )


def _pictures(data: PreparedData) -> list[list[NDArray[np.uint8]]]:
    """Two held-out images of each class: those of the clients stay with them."""
    test = data.images.test
    return [
        [test.images[n] for n in np.flatnonzero(test.labels == label)[:_PICTURES_PER_CLASS]]
        for label in range(len(data.images.class_names))
    ]
