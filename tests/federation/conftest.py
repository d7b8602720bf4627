"""A small federation of real parts: the contract on the embedded chain, real images, real Flower apps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord

from fedvm.chain.artifacts import FEDERATION, load_artifact
from fedvm.chain.embedded import EmbeddedChain, open_chain
from fedvm.encoding import Rules, max_sum_squares
from fedvm.federation import (
    ChainLedger,
    ClientData,
    FederationResult,
    FederationSettings,
    Node,
    RoundJournal,
    TrainingSettings,
    image_nodes,
    initial_arrays,
    publish_model,
    run_federation,
)
from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.learning.data import ImageData, load_dataset
from fedvm.learning.models import ModelSpec
from fedvm.store import Cid, ContentStore

SEED = 11
FRACTION_BITS = 16
TRAINING = TrainingSettings(lr=0.05, batch_size=16)


@cache
def mnist() -> ImageData:
    return load_dataset("mnist", seed=SEED)


MODEL = ModelSpec("mlp", (1, 28, 28), 10)


def client_data(partition: int) -> ClientData:
    """80 images a client to train on, 40 to validate."""
    train = mnist().train
    order = np.random.default_rng(SEED).permutation(len(train))
    indices = order[partition * 120 : (partition + 1) * 120]
    return ClientData(train.take(indices[:80]), train.take(indices[80:]))


def rules(**changes: int) -> Rules:
    elements = sum(array.size for array in named_arrays(initial_arrays(MODEL, SEED)).values())
    values: dict[str, int] = {
        "min_clients": 2,
        "min_examples": 1,
        "max_examples": 200,
        "max_sum_squares": max_sum_squares(4.0, FRACTION_BITS),
        "elements": elements,
        "fraction_bits": FRACTION_BITS,
        "round_seconds": 3600,
        "min_accuracy_ppm": 0,
        "max_loss_micros": 100_000_000,
    }
    return Rules(**{**values, **changes})


@dataclass
class Bench:
    """One federation on disk, run as often as a test likes."""

    path: Path
    chain: EmbeddedChain
    ledger: ChainLedger
    store: ContentStore
    keys: list[str]
    initial: ArrayRecord

    @property
    def members(self) -> list[str]:
        return [self.chain.account("member", index).address for index in range(len(self.keys))]

    def nodes(self, settings: FederationSettings) -> list[Node]:
        return image_nodes(settings, model=MODEL, data=client_data, keys=self.keys, seed=SEED)

    def run(self, settings: FederationSettings, **options: object) -> FederationResult:
        arguments: dict[str, object] = {
            "ledger": self.ledger,
            "store": self.store,
            "nodes": self.nodes(settings),
            "keys": self.keys,
            "initial": self.initial,
            "seed": SEED,
            **options,
        }
        return run_federation(settings, **arguments)  # type: ignore[arg-type]

    @property
    def journal(self) -> RoundJournal:
        return RoundJournal(self.path / "rounds")


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(tmp_path: Path) -> MakeBench:
    chains: list[EmbeddedChain] = []

    def make(clients: int, name: str = "run", **rule_changes: int) -> Bench:
        path = tmp_path / name
        path.mkdir()
        chain = open_chain(path, seed=SEED, create=True)
        chains.append(chain)
        store = ContentStore(path / "store")
        initial = initial_arrays(MODEL, SEED)
        arrays = named_arrays(initial)
        vector = ModelCodec.for_arrays(arrays, FRACTION_BITS).quantize(arrays)
        root, cid = publish_model(store, vector)
        accounts = [chain.account("member", index) for index in range(clients)]
        owner, coordinator = chain.account("owner").address, chain.account("coordinator").address
        artifact = load_artifact(FEDERATION)
        factory = chain.w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        sent = factory.constructor(
            owner,
            coordinator,
            rules(**rule_changes).as_tuple(),
            [account.address for account in accounts],
            root,
            Cid.parse(cid).binary,
        ).transact({"from": owner})
        address = chain.w3.eth.wait_for_transaction_receipt(sent)["contractAddress"]
        contract = chain.w3.eth.contract(address=address, abi=artifact.abi)
        ledger = ChainLedger(contract, coordinator)
        keys = ["0x" + bytes(account.key).hex() for account in accounts]
        return Bench(path, chain, ledger, store, keys, initial)

    yield make
    for chain in chains:
        chain.close()
