"""A small federation of real parts: the contract on the embedded chain, real images, real Flower apps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord

import conditions
from fedvm.chain.federation import FederationContract
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.federation import (
    ChainLedger,
    ClientData,
    FederationResult,
    FederationSettings,
    Node,
    RoundJournal,
    image_nodes,
    initial_arrays,
    publish_model,
    run_federation,
)
from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.learning.data import Split
from fedvm.learning.datasets import load_dataset
from fedvm.learning.models import ModelSpec
from fedvm.learning.settings import TrainingSettings
from fedvm.protocol import Rules, max_sum_squares
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.store import Cid, ContentStore

SEED = 11
FRACTION_BITS = 16
TRAINING = TrainingSettings(lr=0.05, batch_size=16)


@cache
def mnist() -> Split:
    """MNIST's training images at a quarter of their width and height, in random order."""
    train = load_dataset("mnist", seed=SEED).train
    order = np.random.default_rng(SEED).permutation(len(train))
    return Split(np.ascontiguousarray(train.images[order][:, :, 2::4, 2::4]), train.labels[order])


MODEL = ModelSpec("mlp", (1, 7, 7), 10)


def client_data(partition: int) -> ClientData:
    """80 images a client to train on, 40 to validate."""
    own = np.arange(partition * 120, (partition + 1) * 120)
    return ClientData(mnist().take(own[:80]), mnist().take(own[80:]))


def rules(**changes: Any) -> Rules:
    elements = sum(array.size for array in named_arrays(initial_arrays(MODEL, SEED)).values())
    values: dict[str, Any] = {
        "max_examples": 200,
        "max_sum_squares": max_sum_squares(4.0, FRACTION_BITS),
        "elements": elements,
        "fraction_bits": FRACTION_BITS,
        "max_loss_micros": 100_000_000,
    }
    return conditions.rules(**{**values, **changes})


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
        home = self.path / "clients" if self.ledger.sealed else None
        return image_nodes(settings, model=MODEL, data=client_data, keys=self.keys, seed=SEED, home=home)

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


def create_bench(path: Path, clients: int, sealed: SealedRules | None = None, **rule_changes: Any) -> Bench:
    """Create chain, store and contract in a new directory. The caller closes the chain. sealed: how rounds are
    sealed."""
    path.mkdir()
    chain = open_chain(path, seed=SEED, create=True)
    store = ContentStore(path / "store")
    initial = initial_arrays(MODEL, SEED)
    arrays = named_arrays(initial)
    vector = ModelCodec.for_arrays(arrays, FRACTION_BITS).quantize(arrays)
    root, cid = publish_model(store, vector)
    accounts = [chain.account("member", index) for index in range(clients)]
    contract, receipt = FederationContract.deploy(
        chain.w3,
        chain.account("owner"),
        coordinator=chain.account("coordinator").address,
        rules=rules(**rule_changes),
        security=conditions.security(),
        members=[account.address for account in accounts],
        model_root=root,
        model_cid=Cid.parse(cid).binary,
        sealed=sealed,
    )
    ledger = ChainLedger(
        contract,
        chain.account("coordinator"),
        first_block=receipt.block_number,
        pass_time=chain.advance_time,
        store=store,
    )
    keys = ["0x" + bytes(account.key).hex() for account in accounts]
    return Bench(path, chain, ledger, store, keys, initial)


def reopen_bench(path: Path, federation: str, clients: int) -> Bench:
    """The bench that `create_bench` made in this directory, in another process. The caller closes the chain."""
    chain = open_chain(path)
    contract = FederationContract(chain.w3, federation)
    store = ContentStore(path / "store")
    ledger = ChainLedger(contract, chain.account("coordinator"), pass_time=chain.advance_time, store=store)
    keys = ["0x" + bytes(chain.account("member", index).key).hex() for index in range(clients)]
    return Bench(path, chain, ledger, store, keys, initial_arrays(MODEL, SEED))
