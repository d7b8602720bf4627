"""What networks do to FedVM, and how fast it serves them.

Run: python benchmarks/bench_networks.py [--part PART]. Writes its figures into benchmarks/results/networks.json and
leaves others that are there. The parts:

storage: megabytes a second of piece CIDs, and of writing and reading CAR files. Each is the best of five runs over
64 MiB of random bytes, by the CPU time of this process, which is one core's: other work on the machine lengthens it
little.

faults: a federation's life, again and again, on a local chain like Filecoin's and on anvil, over a proxy that fails:
`faults_injected` over all runs, at least `FAULTS`; `faults_lost`: things that are not as without faults, over all runs.
Some half an hour; a run that ends wrong is printed with its seed.
"""

from __future__ import annotations

import argparse
import io
import json
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from faults_bench.campaign import NodeSilent, on_anvil, on_lotus

from fedvm.chain.errors import NetworkError
from fedvm.chain.networks import connect
from fedvm.devnet.faults import Fault
from fedvm.store import cid_of
from fedvm.store.car import blocks_from_root, read_car, write_car
from fedvm.store.piece import piece_of

BYTES, REPEATS = 64 << 20, 5
FAULTS, SHARE = 10_000, 0.4
PARTS = ("storage", "faults")
ANVIL = Path(__file__).parents[1] / "contracts" / "node_modules" / ".bin" / "anvil"
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


def faults(least: int) -> dict[str, float]:
    injected: Counter[Fault] = Counter()
    lost = runs = 0
    while injected.total() < least:
        with tempfile.TemporaryDirectory() as folder:
            # Every third run is on anvil, whose reorganisations forget all transactions.
            if runs % 3 == 2:
                with anvil() as url:
                    try:
                        result = on_anvil(url, Path(folder), runs, SHARE)
                    except NodeSilent as error:
                        print(f"run {runs:>4} does not count: {error}", flush=True)
                        runs += 1
                        continue
            else:
                result = on_lotus(Path(folder), runs, SHARE)
        injected += result.injected
        lost += len(result.lost)
        runs += 1
        wrong = "; ".join(result.lost) or "as without faults"
        print(f"run {runs:>4}, {injected.total():>6,} faults, {result.seconds:5.1f} s: {wrong}", flush=True)
    for fault, count in injected.most_common():
        print(f"{count:>6,} × {fault.value}")
    return {"faults_injected": injected.total(), "faults_lost": lost, "faults_runs": runs}


@contextmanager
def anvil() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(ANVIL), "--host", "127.0.0.1", "--port", str(port), "--silent", "--hardfork", "cancun"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    connect(url, timeout=1)
                    break
                except NetworkError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given again")
    parser.add_argument(
        "--faults", type=int, default=FAULTS, help="how many faults at least (default: %(default)s)"
    )
    chosen = parser.parse_args()
    figures: dict[str, float] = {}
    if "storage" in (chosen.part or PARTS):
        figures |= measured(np.random.default_rng(0).bytes(BYTES))
    if "faults" in (chosen.part or PARTS):
        figures |= faults(chosen.faults)
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text(json.dumps(dict(sorted((kept | figures).items())), indent=1) + "\n")
    temporary.replace(RESULTS)
    for name, value in figures.items():
        print(f"{name:<34} {value:>10,.1f}")


if __name__ == "__main__":
    main()
