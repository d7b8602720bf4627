"""Megabytes a second of what publishing on storage networks takes: piece CIDs, and writing and reading CAR files.

Run: python benchmarks/bench_networks.py. Writes its figures into benchmarks/results/networks.json and leaves others
that are there. Each is the best of five runs over 64 MiB of random bytes, by the CPU time of this process, which is one
core's: other work on the machine lengthens it little.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedvm.store import cid_of
from fedvm.store.car import blocks_from_root, read_car, write_car
from fedvm.store.piece import piece_of

BYTES, REPEATS = 64 << 20, 5
RESULTS = Path(__file__).parent / "results" / "networks.json"


def megabytes_per_second(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return round(BYTES / 1e6 / min(times), 1)


def car_of(data: bytes) -> bytes:
    out = io.BytesIO()
    write_car(out, [cid_of(data)], blocks_from_root(data))
    return out.getvalue()


def measured(data: bytes) -> dict[str, float]:
    car = car_of(data)
    works: dict[str, Callable[[], object]] = {
        "piececid": lambda: piece_of(io.BytesIO(data)),
        "car_write": lambda: car_of(data),
        "car_read": lambda: [None for _ in read_car(io.BytesIO(car)).blocks],
    }
    return {f"{name}_mb_per_second": megabytes_per_second(work) for name, work in works.items()}


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    figures = measured(np.random.default_rng(0).bytes(BYTES))
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text(json.dumps(dict(sorted((kept | figures).items())), indent=1) + "\n")
    temporary.replace(RESULTS)
    for name, value in figures.items():
        print(f"{name:<34} {value:>8,.1f}")


if __name__ == "__main__":
    main()
