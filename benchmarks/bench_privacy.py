"""What local differential privacy costs: accuracy against ε on MNIST-5k.

    python benchmarks/bench_privacy.py [--clients N] [--rounds N] [--seeds N]

Softmax regression on 7×7 pixels among many clients that all take part in every round. For each ε the least noise is
found whose (ε, 10⁻⁵) after all rounds stays within it. Clipping, noise and accounting are the product's own
(`fedvm.federation.client.privacy`); the noisy updates are averaged in floating point without a chain, which changes
nothing that could be seen here. Writes benchmarks/results/privacy.json and the table in docs/privacy.md.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from compiler_bench.rows import machine, markdown_table
from numpy.typing import NDArray

from fedvm.federation.client.privacy import LocalPrivacy
from fedvm.federation.reproducible import derive_seed
from fedvm.files import write_atomically
from fedvm.learning.data import ImageData, Normalisation
from fedvm.learning.datasets import load_dataset
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.partition import partition
from fedvm.learning.training import evaluate, train

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results" / "privacy.json", HERE.parent / "docs" / "privacy.md"
MARK = "<!-- bench_privacy: results -->"
BUDGETS = (None, 200.0, 100.0, 50.0, 25.0, 10.0)
CLIP, LR, BATCH = 1.0, 4.0, 32
INK = Normalisation(1 / 255, 0.0)
"""Paper is 0: otherwise every update would mostly say how much paper there is."""


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, and return the exit status."""
    options = _parser().parse_args(arguments)
    data = load_dataset("mnist", size=(7, 7), seed=0)
    rows = []
    for budget in BUDGETS:
        privacy = None if budget is None else least_noise(budget, options.rounds)
        accuracies = [
            play(data, privacy, options.clients, options.rounds, seed) for seed in range(options.seeds)
        ]
        row = {
            "name": "accuracy_without_privacy" if budget is None else f"accuracy_epsilon_{budget:g}",
            "value": round(100 * statistics.fmean(accuracies), 2),
            "unit": "%",
            "lowest": round(100 * min(accuracies), 2),
            "highest": round(100 * max(accuracies), 2),
            "epsilon_of_one_round": None if privacy is None else round(privacy.epsilon(1), 3),
            "noise_multiplier": None if privacy is None else round(privacy.noise_multiplier, 4),
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    content = {
        "machine": machine(), "clients": options.clients, "rounds": options.rounds, "seeds": options.seeds,
        "clip": CLIP, "delta": 1e-5, "rows": rows,
    }  # fmt: skip
    write_atomically(RESULTS, json.dumps(content, indent=1) + "\n")
    page = PAGE.read_text(encoding="utf-8")
    filled = re.sub(f"{MARK}.*?{MARK}", f"{MARK}\n{_table(rows)}\n{MARK}", page, flags=re.DOTALL)
    write_atomically(PAGE, filled)
    return 0


def least_noise(budget: float, rounds: int) -> LocalPrivacy:
    """The settings with the least noise whose ε after `rounds` updates is within `budget`."""
    low, high = 0.01, 1000.0
    for _ in range(50):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if LocalPrivacy(CLIP, middle).epsilon(rounds) <= budget else (middle, high)
    return LocalPrivacy(CLIP, high, max_epsilon=budget)


def play(data: ImageData, privacy: LocalPrivacy | None, clients: int, rounds: int, seed: int) -> float:
    """Test accuracy (0..1) after the rounds; without privacy the updates are only averaged."""
    spec = ModelSpec.for_data("linear", data)
    parts = partition(data.train.labels, clients, seed=seed)
    model = build_model(spec, seed=seed)
    vector = _vector(model)
    for number in range(1, rounds + 1):
        total = np.zeros_like(vector)
        for client, part in enumerate(parts):
            _load(model, vector)
            own = data.train.take(part.train_indices)
            train(
                model, own.images, own.labels, batch_size=BATCH, lr=LR, normalisation=INK,
                seed=derive_seed(seed, "train", number, client),
            )  # fmt: skip
            difference = _vector(model) - vector
            if privacy is not None:
                noise = np.random.default_rng(derive_seed(seed, "privacy", number, client))
                difference = privacy.privatise(difference, noise.standard_normal)
            total += difference
        vector = vector + total / clients
    _load(model, vector)
    return evaluate(model, data.test.images, data.test.labels, normalisation=INK).accuracy


def _vector(model: torch.nn.Module) -> NDArray[np.float64]:
    parts = [parameter.detach().numpy().ravel() for parameter in model.parameters()]
    return np.concatenate(parts).astype(np.float64)


def _load(model: torch.nn.Module, vector: NDArray[np.float64]) -> None:
    torch.nn.utils.vector_to_parameters(torch.from_numpy(vector.astype(np.float32)), model.parameters())


def _table(rows: list[dict[str, object]]) -> str:
    lines = []
    for row, budget in zip(rows, BUDGETS, strict=True):
        noise, once = row["noise_multiplier"], row["epsilon_of_one_round"]
        lines.append(
            (
                "no noise, not clipped" if budget is None else f"{budget:g}",
                "–" if once is None else f"{once:.2f}",
                "0" if noise is None else f"{noise:.2f}",
                f"{row['value']:.1f} %",
                f"{row['lowest']:.1f} to {row['highest']:.1f} %",
            )
        )
    return markdown_table(
        ("ε after all rounds", "ε of one round", "noise multiplier", "accuracy", "seeds"), lines
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Accuracy against ε on MNIST-5k.")
    parser.add_argument("--clients", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(main())
