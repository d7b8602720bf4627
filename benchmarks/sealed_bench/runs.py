"""Whole federations in this process, sealed and open in turns: seconds, bytes and gas of a round.

16 phones train a LeNet, and so do 1,000 clients in groups of 32. These train a network of 3,850 parameters, too, for
which keys and shares weigh more. Both sides train the same images by the same seed, and so come to the same models.
Of a side's rounds the first is not counted: processes and slots are new in it.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from contracts_bench.meter import Meter, Work, metered

from fedvm.chain.factory import FederationFactory
from fedvm.devnet.embedded import open_chain
from fedvm.federation import (
    ClientData,
    FederationSettings,
    Watch,
    image_nodes,
    initial_arrays,
    run_federation,
)
from fedvm.federation.arrays import named_arrays
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.coordinator.founding import first_model, found
from fedvm.federation.rule_units import contract_rules
from fedvm.federation.settings import RulesSettings, SecuritySettings
from fedvm.learning.data import Split
from fedvm.learning.datasets import load_dataset
from fedvm.learning.models import ModelSpec
from fedvm.learning.settings import TrainingSettings
from fedvm.pipeline.rule_units import contract_security
from fedvm.protocol import WEIGHTED_MEAN, Rules
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.store import ContentStore

SEED, EPOCH_ROUNDS = 7, 20
SEALED = SealedRules(8, EPOCH_ROUNDS, 16, 1, 1_000_000, 0, 300, 300, 120)
Row = dict[str, object]


@dataclass(frozen=True)
class Comparison:
    """What both sides of a comparison do. images: of each client; shape: of an image."""

    clients: int
    group_size: int
    images: int
    model: str
    step: int
    rounds: int

    @property
    def spec(self) -> ModelSpec:
        side = 28 // self.step
        return ModelSpec(self.model, (1, side, side), 10)

    def data(self, partition: int) -> ClientData:
        images, labels = _mnist(self.step)
        own = (np.arange(self.images + 2) + partition * self.images) % len(labels)
        return ClientData(
            Split(images[own[:-2]], labels[own[:-2]]), Split(images[own[-2:]], labels[own[-2:]])
        )


@dataclass(frozen=True)
class Side:
    """seconds: of the counted rounds; models: roots; bytes_a_client: what one sends in a round; work: of the
    transactions of the last round, and of the epoch before the first."""

    seconds: list[float]
    models: list[str]
    bytes_a_client: float
    round_work: Work
    before: Work


SIXTEEN = Comparison(clients=16, group_size=8, images=240, model="lenet", step=1, rounds=5)
THOUSAND = Comparison(clients=1_000, group_size=32, images=5, model="lenet", step=1, rounds=3)
SMALL = replace(THOUSAND, model="mlp", step=4)


def play(work: Comparison, sealed: bool, meter: Meter, workers: int = 2) -> Side:
    """One side: a federation from its creation to its last round."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        chain = open_chain(path, seed=SEED, create=True)
        store = ContentStore(path / "store")
        initial = initial_arrays(work.spec, SEED)
        elements = sum(array.size for array in named_arrays(initial).values())
        fields = {**contract_rules(RulesSettings()), "min_clients": 8, "min_examples": 1, "max_examples": 400}
        fields["round_seconds"] = 7_200
        rules = Rules(**fields, elements=elements, aggregator=WEIGHTED_MEAN)
        security = contract_security(SecuritySettings())
        members = [chain.account("member", index) for index in range(work.clients)]
        shape = replace(SEALED, group_size=work.group_size, min_roster=work.clients)
        begun = len(meter.done)
        contract, _ = found(
            FederationFactory.deploy_first(chain.w3, chain.account("owner")),
            chain.account("owner"),
            store,
            first_model(initial, rules, security),
            coordinator=chain.account("coordinator").address,
            rules=rules,
            members=[member.address for member in members],
            security=security,
            sealed=shape if sealed else None,
        )
        keys = [member.key.hex() for member in members]
        marks: list[tuple[float, int]] = []
        settings = FederationSettings(
            clients=work.clients,
            rounds=work.rounds,
            fraction_evaluate=0.0,
            min_train_nodes=work.clients,
            min_evaluate_nodes=0,
            submission="auto",
            training=TrainingSettings(lr=0.05, batch_size=32),
        )
        begun = len(meter.done)
        watch = Watch(on_round=lambda record: marks.append((record.seconds, len(meter.done))))
        result = run_federation(
            settings,
            ledger=ChainLedger(
                contract, chain.account("coordinator"), pass_time=chain.advance_time, store=store
            ),
            store=store,
            nodes=image_nodes(
                settings,
                model=work.spec,
                data=work.data,
                keys=keys,
                seed=SEED,
                home=path / "clients" if sealed else None,
            ),
            keys=keys,
            initial=initial,
            seed=SEED,
            workers=workers,
            watch=watch,
        )
        chain.close()
        every = [meter.done[first:last] for (_, first), (_, last) in pairwise(marks)]
        first = meter.done[begun : marks[0][1]]
        sent = _bytes_sent(path, elements, sealed)
        return Side(
            seconds=[seconds for seconds, _ in marks[1:]],
            models=[record.model_root for record in result.records],
            bytes_a_client=sent,
            round_work=sum(every[-1], Work()),
            before=sum(first[: len(first) - len(every[-1])], Work()),
        )


def _bytes_sent(path: Path, elements: int, sealed: bool) -> float:
    if not sealed:
        return 4.0 * elements
    files = [file.stat().st_size for file in (path / "clients").rglob("round-*.masked")]
    return statistics.mean(files)


@cache
def _mnist(step: int) -> tuple[np.ndarray, np.ndarray]:
    train, offset = load_dataset("mnist", seed=SEED).train, step // 2
    return np.ascontiguousarray(train.images[:, :, offset::step, offset::step]), train.labels


def compare(work: Comparison, name: str, turns: int) -> list[Row]:
    """Sealed and open in turns; the ratio of the medians of their rounds' seconds."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    sides: dict[bool, Side] = {}
    for _ in range(turns):
        for sealed in (True, False):
            sides[sealed] = play(work, sealed, Meter())
            seconds[sealed] += sides[sealed].seconds
    medians = {sealed: statistics.median(found) for sealed, found in seconds.items()}
    rows: list[Row] = [
        {
            "name": f"wall_ratio_{name}",
            "value": round(medians[True] / medians[False], 3),
            "unit": f"of an open round's {medians[False]:.2f} s, {work.clients} clients in groups of {work.group_size}",
        },
        {
            "name": f"bytes_ratio_{name}",
            "value": round(sides[True].bytes_a_client / sides[False].bytes_a_client, 3),
            "unit": f"of the {sides[False].bytes_a_client:,.0f} bytes of an open update",
        },
    ]
    same = sides[True].models == sides[False].models
    rows.append({"name": f"same_models_{name}", "value": same, "unit": "sealed and open, by their roots"})
    return rows


COMPARISONS = {"16": (SIXTEEN, 2), "1000": (THOUSAND, 1), "1000_small": (SMALL, 1)}
"""By name, with how many turns each is played."""


def walls(names: Iterable[str] = COMPARISONS) -> list[Row]:
    """The rows of some comparisons: seconds, bytes, and whether the models are the same."""
    return [row for name in names for row in compare(COMPARISONS[name][0], name, COMPARISONS[name][1])]


def runs() -> list[Row]:
    """The rows of whole rounds. Counting opcodes takes its time, so gas has runs of its own."""
    rows = walls()
    for work, name, epoch in (
        (SIXTEEN, "client_round_gas_16", "client_epoch_gas_16"),
        (SMALL, "client_life_gas_rollup_1000", "client_epoch_gas_1000"),
    ):
        with metered() as meter:
            side = play(replace(work, rounds=2), True, meter)
        rows += [gas_row(name, side.round_work, work.clients), gas_row(epoch, side.before, work.clients)]
    rows.append(
        {
            "name": "accuracy_gap_points",
            "value": 0.0
            if all(row["value"] for row in rows if str(row["name"]).startswith("same_models"))
            else None,
            "unit": "sealed against open, nobody absent: the models are the same",
        }
    )
    return rows


def gas_row(name: str, work: Work, share: int = 1) -> Row:
    """A row of gas, and of the same under other schedules; of each of `share` clients."""
    return {
        "name": name,
        "value": work.gas // share,
        "unit": "gas",
        "next_fork": work.next_fork // share,
        "filecoin": int(work.filecoin) // share,
    }
