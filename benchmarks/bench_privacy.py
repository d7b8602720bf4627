"""What differential privacy costs: accuracy against ε on MNIST-5k, by where the noise is added.

    python benchmarks/bench_privacy.py [--clients N] [--rounds N] [--seeds N]

Softmax regression on 7×7 pixels among many clients that all take part in every round, each with the same weight. The
noise is in every update (local), in the sum of every group (sealed, by group size), or in the sum of all, added by
somebody whom everybody trusts. For each ε the least noise is found whose (ε, 10⁻⁵) after all rounds stays within it.
Clipping, noise and accounting of the first two are the product's own (`fedvm.federation.client.privacy` and
`distributed_privacy`); sums are taken without masks and without a chain, which changes none of them. Writes
benchmarks/results/privacy.json and the table in docs/privacy.md.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compiler_bench.rows import machine, markdown_table
from numpy.typing import NDArray

from fedvm.federation.client.accountant import PrivacyBudget
from fedvm.federation.client.discrete_gaussian import seeded_words
from fedvm.federation.client.distributed_privacy import DistributedPrivacy
from fedvm.federation.client.privacy import LocalPrivacy
from fedvm.federation.reproducible import derive_seed
from fedvm.federation.sealed.settings import SealedSettings
from fedvm.files import write_atomically
from fedvm.learning.data import ImageData, Normalisation
from fedvm.learning.datasets import load_dataset
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.partition import partition
from fedvm.learning.training import evaluate, train
from fedvm.protocol import WEIGHTED_MEAN, Rules, max_sum_squares
from fedvm.protocol.rules import PPM
from fedvm.protocol.sealed.grouping import Grouping
from fedvm.protocol.sealed.noise import certain_members, member_scale

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results" / "privacy.json", HERE.parent / "docs" / "privacy.md"
MARK = "<!-- bench_privacy: results -->"
BUDGETS = (2.0, 4.0, 10.0, 50.0)
BOUNDS_AT, MANY = 10.0, 62_006
"""For which ε, and for how many parameters beside the model's own (LeNet's for CIFAR-10), the page compares noise with
the norm bound."""
CLIP, LR, BATCH, FRACTION_BITS = 1.0, 7.6, 32, 20
INK = Normalisation(1 / 255, 0.0)
"""Paper is 0: otherwise every update would mostly say how much paper there is."""
Vector = NDArray[np.float64]
Combine = Callable[[int, list[Vector]], Vector]
"""From a round's number and the clients' differences to the mean that becomes known."""


@dataclass(frozen=True)
class Place:
    """Where noise is added. groups: how many sums become known, 0 where every update does. counted: members whose noise
    is counted in a sum."""

    name: str
    label: str
    group_size: int
    groups: int
    counted: int

    @classmethod
    def all_of(cls, clients: int) -> list[Place]:
        """For so many clients; groups of an eighth, of a quarter, and of all of them."""
        found = [cls("local", "local: every update", 1, 0, 1)]
        for groups in (8, 4, 1):
            size = clients // groups if groups > 1 else clients // 2 + 1
            if 8 <= size <= 128 and Grouping(clients, size).groups == groups:
                least = clients // groups
                counted = certain_members(least, SealedSettings(group_size=size).corrupt)
                label = f"sealed: groups of {least}" if groups > 1 else "sealed: one group"
                found.append(cls(f"sealed_{groups}", label, size, groups, counted))
        return [*found, cls("curator", "trusted curator", clients, 1, clients)]

    def privacy(self, multiplier: float) -> PrivacyBudget:
        """The product's mechanism with so much noise; for the curator its accountant alone."""
        if self.name == "local":
            return LocalPrivacy(CLIP, multiplier)
        if self.name == "curator":
            return PrivacyBudget(CLIP, multiplier)
        corrupt = SealedSettings(group_size=self.group_size).corrupt
        return DistributedPrivacy(CLIP, multiplier, assumed_corrupt=corrupt)

    def noise_over_bound(self, multiplier: float, elements: int, clients: int) -> float:
        """Norm of the noise over the bound on the norm of what becomes known: an update, a group's sum, the sum."""
        if self.name == "local":
            return multiplier * math.sqrt(elements)
        if self.name == "curator":
            return multiplier * math.sqrt(elements) / clients
        total, members = multiplier * CLIP * 2**FRACTION_BITS, clients / self.groups
        noise = member_scale(total, self.counted) * math.sqrt(members * elements)
        return noise / (members * CLIP * 2**FRACTION_BITS)

    def combine(self, privacy: PrivacyBudget, seed: int) -> Combine:
        """How updates become the mean that is known, with noise from a seed."""
        if isinstance(privacy, LocalPrivacy):
            return lambda number, updates: _local(privacy, updates, derive_seed(seed, "privacy", number))
        if isinstance(privacy, DistributedPrivacy):
            return lambda number, updates: _sealed(
                privacy, updates, self.group_size, derive_seed(seed, "privacy", number)
            )
        return lambda number, updates: _curated(privacy, updates, derive_seed(seed, "privacy", number))


def _local(privacy: LocalPrivacy, updates: list[Vector], seed: int) -> Vector:
    normal = np.random.default_rng(seed).standard_normal
    return np.mean([privacy.privatise(update, normal) for update in updates], axis=0)


def _sealed(privacy: DistributedPrivacy, updates: list[Vector], group_size: int, seed: int) -> Vector:
    rules, words = _rules(updates[0].size), seeded_words(seed)
    grouping, total = Grouping(len(updates), group_size), np.zeros(updates[0].size, dtype=np.int64)
    for group in range(grouping.groups):
        places = grouping.places(group)
        for place in places:
            vector = privacy.quantize(updates[place], rules)
            total += privacy.privatise(vector, 1, rules, len(places), words)
    return total / (len(updates) * 2.0**FRACTION_BITS)


def _curated(privacy: PrivacyBudget, updates: list[Vector], seed: int) -> Vector:
    noise = np.random.default_rng(seed).standard_normal(updates[0].size)
    clipped = [update * min(1.0, CLIP / max(float(np.linalg.norm(update)), 1e-300)) for update in updates]
    return (np.sum(clipped, axis=0) + privacy.noise_multiplier * CLIP * noise) / len(updates)


def _rules(elements: int) -> Rules:
    return Rules(
        min_clients=2, min_examples=1, max_examples=1, max_sum_squares=max_sum_squares(CLIP, FRACTION_BITS),
        elements=elements, fraction_bits=FRACTION_BITS, round_seconds=3600, min_accuracy_ppm=0, max_loss_micros=0,
        max_share_ppm=PPM, min_labels=0, rest_rounds=0, max_epsilon_micros=0, aggregator=WEIGHTED_MEAN,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, and return the exit status."""
    options = _parser().parse_args(arguments)
    data, seeds = load_dataset("mnist", size=(7, 7), seed=0), range(options.seeds)
    federations = [Federation(data, options.clients, seed) for seed in seeds]
    plain = _row("accuracy_without_privacy", [one.play(_mean, options.rounds) for one in federations])
    print(json.dumps(plain), flush=True)
    rows = []
    for place in Place.all_of(options.clients):
        for budget in BUDGETS:
            privacy = least_noise(place, budget, options.rounds)
            accuracies = [one.play(place.combine(privacy, one.seed), options.rounds) for one in federations]
            multiplier = privacy.noise_multiplier
            row = _row(f"accuracy_{place.name}_epsilon_{budget:g}", accuracies) | {
                "place": place.label, "epsilon": budget, "counted": place.counted,
                "noise_multiplier": round(multiplier, 4),
                "noise_over_bound": round(
                    place.noise_over_bound(multiplier, federations[0].elements, options.clients), 4
                ),
                f"noise_over_bound_{MANY}": round(place.noise_over_bound(multiplier, MANY, options.clients), 4),
            }  # fmt: skip
            rows.append(row)
            print(json.dumps(row), flush=True)
    content = {
        "machine": machine(), "clients": options.clients, "rounds": options.rounds, "seeds": options.seeds,
        "parameters": federations[0].elements, "clip": CLIP, "delta": 1e-5, "rows": [plain, *rows],
    }  # fmt: skip
    write_atomically(RESULTS, json.dumps(content, indent=1) + "\n")
    page = PAGE.read_text(encoding="utf-8")
    filled = re.sub(f"{MARK}.*?{MARK}", f"{MARK}\n{table(content)}\n{MARK}", page, flags=re.DOTALL)
    write_atomically(PAGE, filled)
    return 0


def least_noise(place: Place, budget: float, rounds: int) -> PrivacyBudget:
    """The mechanism with the least noise whose ε after `rounds` updates is within `budget`."""
    low, high = 0.01, 1000.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if place.privacy(middle).epsilon(rounds) <= budget else (middle, high)
    return place.privacy(high)


class Federation:
    """Clients that each take one step of gradient descent a round: all of a client's images are one batch."""

    def __init__(self, data: ImageData, clients: int, seed: int) -> None:
        self.data, self.seed = data, seed
        self.model = build_model(ModelSpec.for_data("linear", data), seed=seed)
        self.start = _vector(self.model)
        self.elements = self.start.size
        self.own = [
            data.train.take(part.train_indices) for part in partition(data.train.labels, clients, seed=seed)
        ]
        assert max(len(own) for own in self.own) <= BATCH, "more images than a batch: raise BATCH"
        self.steps = self._steps()
        self._check_first()

    def play(self, combine: Combine, rounds: int) -> float:
        """Test accuracy (0..1) after the rounds."""
        vector = self.start
        for number in range(1, rounds + 1):
            vector = vector + combine(number, self.steps(vector))
        _load(self.model, vector)
        test = self.data.test
        return evaluate(self.model, test.images, test.labels, normalisation=INK).accuracy

    def _steps(self) -> Callable[[Vector], list[Vector]]:
        """The clients' differences at a model: −LR times the gradient of the mean cross-entropy of W·x + b. All at
        once, since a call of `train` for each would take hours in all."""
        inputs = [own.images.reshape(len(own), -1) * INK.scale + INK.offset for own in self.own]
        classes = len(self.data.class_names)
        labels = [np.eye(classes)[own.labels] for own in self.own]

        def steps(vector: Vector) -> list[Vector]:
            weights, bias = vector[:-classes].reshape(classes, -1), vector[-classes:]
            found = []
            for values, wanted in zip(inputs, labels, strict=True):
                scores = values @ weights.T + bias
                odds = np.exp(scores - scores.max(axis=1, keepdims=True))
                error = (odds / odds.sum(axis=1, keepdims=True) - wanted) / len(values)
                found.append(-LR * np.concatenate([(error.T @ values).ravel(), error.sum(axis=0)]))
            return found

        return steps

    def _check_first(self) -> None:
        """The first client's step is what the product's training comes to."""
        _load(self.model, self.start)
        own = self.own[0]
        train(
            self.model, own.images, own.labels, batch_size=BATCH, optimizer="sgd", lr=LR, momentum=0.0,
            normalisation=INK, seed=self.seed,
        )  # fmt: skip
        np.testing.assert_allclose(_vector(self.model) - self.start, self.steps(self.start)[0], atol=1e-5)


def _mean(_: int, updates: list[Vector]) -> Vector:
    return np.mean(updates, axis=0)


def _vector(model: torch.nn.Module) -> Vector:
    parts = [parameter.detach().numpy().ravel() for parameter in model.parameters()]
    return np.concatenate(parts).astype(np.float64)


def _load(model: torch.nn.Module, vector: Vector) -> None:
    torch.nn.utils.vector_to_parameters(torch.from_numpy(vector.astype(np.float32)), model.parameters())


def _row(name: str, accuracies: list[float]) -> dict[str, Any]:
    return {
        "name": name, "value": round(100 * statistics.fmean(accuracies), 2), "unit": "%",
        "lowest": round(100 * min(accuracies), 2), "highest": round(100 * max(accuracies), 2),
    }  # fmt: skip


def table(content: dict[str, Any]) -> str:
    """The table of the page, from what the results file holds (its parsed JSON)."""
    plain, *rows = content["rows"]
    lines = [("no noise, not clipped", "–", *[f"{plain['value']:.1f} %"] * len(BUDGETS), "–", "–")]
    for at in range(0, len(rows), len(BUDGETS)):
        own = rows[at : at + len(BUDGETS)]
        first, fixed = own[0], own[BUDGETS.index(BOUNDS_AT)]
        lines.append(
            (
                first["place"],
                str(first["counted"]),
                *(f"{row['value']:.1f} %" for row in own),
                _times(fixed["noise_over_bound"]),
                _times(fixed[f"noise_over_bound_{MANY}"]),
            )
        )
    over = f"noise / norm bound at ε = {BOUNDS_AT:g}, "
    header = (
        "noise in", "members counted", *(f"ε = {budget:g}" for budget in BUDGETS),
        f"{over}{content['parameters']} parameters", f"{MANY:,} parameters",
    )  # fmt: skip
    return markdown_table(header, lines)


def _times(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Accuracy against ε on MNIST-5k, by where noise is added.")
    parser.add_argument("--clients", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    return parser


if __name__ == "__main__":
    sys.exit(main())
