"""Seconds to build the trees of one round: 16 updates of 62,006 parameters, and the model and aggregate.

Run: python benchmarks/bench_trees.py. Writes benchmarks/results/trees.json. Each work is timed by the wall
clock, which other work on the machine lengthens, and by the CPU time of this process, which it hardly does.
Both are the least of five runs; on an idle machine they agree.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedvm.protocol import (
    Commitment,
    CountedUpdate,
    Place,
    aggregate_root,
    model_root,
    open_update,
    quantize_update,
    update_tree,
    verify_update,
    weighted_mean,
)

CLIENTS, ELEMENTS, REPEATS = 16, 62_006, 5
RESULTS = Path(__file__).parent / "results" / "trees.json"
FEDERATION = "0x" + "fe" * 20


def least_seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    times = []
    for _ in range(REPEATS):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    rng = np.random.default_rng(0)
    floats = [rng.normal(scale=0.01, size=ELEMENTS) for _ in range(CLIENTS)]
    updates = [quantize_update(difference, 1.0, 16) for difference in floats]
    members = [f"0x{i + 1:040x}" for i in range(CLIENTS)]
    places = [Place(31415926, FEDERATION, 1, member) for member in members]
    contributions = [
        CountedUpdate(Commitment(m, 281, bytes(32), 0), u) for m, u in zip(members, updates, strict=True)
    ]
    base = np.zeros(ELEMENTS, dtype=np.int32)
    mean = weighted_mean(base, contributions)
    tree = update_tree(updates[0], places[0])
    opening = open_update(tree, 500)

    def build_all() -> None:
        for update, place in zip(updates, places, strict=True):
            update_tree(update, place)

    def quantize_all() -> None:
        for difference in floats:
            quantize_update(difference, 1.0, 16)

    timed: list[tuple[str, Callable[[], object]]] = [
        (f"update trees, {CLIENTS} × {ELEMENTS:,} parameters", build_all),
        (f"model root, {ELEMENTS:,} parameters", lambda: model_root(mean.model)),
        (f"aggregate root, {ELEMENTS:,} parameters", lambda: aggregate_root(mean.sums)),
        (f"clip and quantize, {CLIENTS} × {ELEMENTS:,} parameters", quantize_all),
        (f"weighted mean of {CLIENTS} updates", lambda: weighted_mean(base, contributions)),
        (
            "verify one opening",
            lambda: verify_update(opening, tree.root, tree.sum_squares, places[0], ELEMENTS),
        ),
    ]
    clocks = [("wall", time.perf_counter), ("CPU", time.process_time)]
    rows = [
        {"name": f"{name}, {label}", "value": round(least_seconds(work, clock), 6), "unit": "s"}
        for name, work in timed
        for label, clock in clocks
    ]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text(json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n")
    temporary.replace(RESULTS)
    for row in rows:
        print(f"{row['name']:<52} {row['value']:.6f} {row['unit']}")


if __name__ == "__main__":
    main()
