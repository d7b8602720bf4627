"""A federation without a chain: the product's training, attacks and aggregation rules, round after round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.federation.coordinator.flower_rules import rule_of
from fedvm.federation.coordinator.flower_strategies import StrategySettings, make_strategy
from fedvm.federation.reproducible import derive_seed
from fedvm.federation.rule_units import contract_rules
from fedvm.federation.settings import RulesSettings
from fedvm.federation.simulated.adversaries import ADVERSARIES, Adversary
from fedvm.federation.simulated.server import initial_arrays
from fedvm.learning.data import Split
from fedvm.learning.datasets import load_dataset
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.training import evaluate, train
from fedvm.protocol import WEIGHTED_MEAN, Commitment, CountedUpdate, Rules
from fedvm.protocol.aggregators import RoundFacts, aggregate
from fedvm.protocol.vector import IntVector

SEED, CLIENTS, ROUNDS, FRACTION_BITS, MAX_NORM = 5, 20, 7, 20, 10.0
BORNE = 8  # the robust strategies are set for so many attackers of the 20
TRAINING = {"epochs": 2, "batch_size": 32, "optimizer": "nesterov", "lr": 0.03}
MODEL = ModelSpec("mlp", (1, 14, 14), 10)
ATTACKS = ("sign_flip", "scaling", "label_flip", "gaussian", "colluding", "free_rider")
STRATEGIES: dict[str, dict[str, float | int]] = {
    "fedavg": {},
    "fedavgm": {"server_momentum": 0.5},
    "fedadam": {"eta": 0.05, "beta_1": 0.5, "tau": 0.01},
    "fedmedian": {},
    "fedtrimmedavg": {"beta": BORNE / CLIENTS},
    "krum": {"num_malicious_nodes": BORNE},
    "multikrum": {"num_malicious_nodes": BORNE, "num_nodes_to_select": CLIENTS - BORNE},
}
HONEST = Adversary("trains and sends what it learnt")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Game:
    """One federation: a key of `STRATEGIES`, one of `ATTACKS` (or "none"), and how many clients attack."""

    strategy: str
    attack: str
    attackers: int

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.strategy} / {self.attack} / {self.attackers}"


class Arena:
    """Plays games on MNIST-5k at half its width and height, dealt out evenly among the clients."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        data = load_dataset("mnist", seed=SEED)
        self._test = _halved(data.test)
        train_images = _halved(data.train)
        order = np.random.default_rng(SEED).permutation(len(train_images))
        self._parts = [train_images.take(part) for part in np.array_split(order, CLIENTS)]
        self._hostile = np.random.default_rng(SEED + 1).permutation(CLIENTS).tolist()
        arrays = named_arrays(initial_arrays(MODEL, SEED))
        self._codec = ModelCodec.for_arrays(arrays, FRACTION_BITS)
        self._start = self._codec.quantize(arrays)
        settings = RulesSettings(
            min_clients=CLIENTS, max_examples=1_000, max_norm=MAX_NORM, fraction_bits=FRACTION_BITS
        )
        self._rules = Rules(elements=self._start.size, aggregator=WEIGHTED_MEAN, **contract_rules(settings))
        # What the first round teaches a client, with true labels or others: the same in every game.
        self._first: dict[tuple[int, bool], Floats] = {}

    def play(self, game: Game, rounds: int = ROUNDS) -> float:
        """Test accuracy of the last round's model."""
        rule = rule_of(make_strategy(StrategySettings(game.strategy, STRATEGIES[game.strategy])))
        hostile = sorted(self._hostile[: game.attackers])
        model = self._start
        memory: tuple[IntVector, ...] = ()
        for number in range(1, rounds + 1):
            updates = self._updates(number, model, ADVERSARIES.get(game.attack, HONEST), hostile)
            contributions = [
                CountedUpdate(
                    Commitment(f"0x{client + 1:040x}", len(self._parts[client]), bytes(32), 0), update
                )
                for client, update in enumerate(updates)
            ]
            result = aggregate(rule, model, contributions, memory, RoundFacts(number, FRACTION_BITS))
            model, memory = result.model, result.state
        network = build_model(MODEL, seed=0)
        network.load_state_dict(self._codec.floats(model).to_torch_state_dict())
        return evaluate(network, self._test.images, self._test.labels).accuracy

    def _updates(
        self, number: int, model: IntVector, adversary: Adversary, hostile: list[int]
    ) -> list[IntVector]:
        acting = [adversary if client in hostile else HONEST for client in range(CLIENTS)]
        learnt = [self._learnt(number, model, client, how) for client, how in enumerate(acting)]
        if adversary.craft is not None and hostile:
            crafted = adversary.craft(np.stack([learnt[client] for client in hostile]), CLIENTS)
            learnt = [crafted if client in hostile else own for client, own in enumerate(learnt)]
        return [how.quantizer(own, self._rules) for how, own in zip(acting, learnt, strict=True)]

    def _learnt(self, number: int, model: IntVector, client: int, how: Adversary) -> Floats:
        key = (client, how.labels is not None)
        if number == 1 and key in self._first:
            return self._first[key]
        own = self._parts[client] if how.labels is None else how.labels(self._parts[client])
        network = build_model(MODEL, seed=0)
        network.load_state_dict(self._codec.floats(model).to_torch_state_dict())
        seed = derive_seed(SEED, "train", number, client)
        train(network, own.images, own.labels, **TRAINING, seed=seed)  # type: ignore[arg-type]
        after = self._codec.spec.flatten(
            {name: value.numpy() for name, value in network.state_dict().items()}
        )
        difference: Floats = after - model / 2.0**FRACTION_BITS
        if number == 1:
            self._first[key] = difference
        return difference


def _halved(images: Split) -> Split:
    count, channels, height, width = images.images.shape
    blocks = images.images.reshape(count, channels, height // 2, 2, width // 2, 2)
    return Split(blocks.mean(axis=(3, 5)).round().astype(np.uint8), images.labels)
