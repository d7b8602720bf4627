"""One federation's life on every local chain: is it the same everywhere?

Run: python benchmarks/bench_scenario.py [--chain embedded|anvil|devnet …] [--keep DIR].

On each chain an open federation is created and joined, and plays two rounds, the second after a false proposal was
brought down; a sealed federation plays one. The model is deployed, tried by a gate where the chain has what a gate
draws from, and decides. Everything is published into one file, and fetched, audited and exported where there is nothing
else. `scenario_same_digest` in benchmarks/results/networks.json is 1 if addresses, models and decision are the same on
all three chains.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from scenario_bench.grounds import CHAINS
from scenario_bench.play import Ending, play

from fedvm.chain.outbox import STATE_VARIABLE
from fedvm.files import write_atomically

RESULTS = Path(__file__).parent / "results" / "networks.json"


def played(chain: str, home: Path) -> Ending:
    """The scenario on one chain, in a folder of its own; progress goes to standard output."""
    begun = time.monotonic()

    def tell(text: str) -> None:
        print(f"{chain:<9} {time.monotonic() - begun:>6.1f} s  {text}", flush=True)

    (home / chain / "run").mkdir(parents=True)
    with CHAINS[chain](home / chain / "run") as place:
        return play(place, home / chain, tell)


def differences(endings: dict[str, Ending]) -> list[str]:
    """What is not the same on all chains, or not right on one."""
    found = [
        f"{chain}: what was fetched elsewhere is not right" for chain, one in endings.items() if not one.right
    ]
    first, *others = endings
    for chain in others:
        for name in ("addresses", "models", "digest", "label"):
            here, there = getattr(endings[first], name), getattr(endings[chain], name)
            if here != there:
                found.append(f"{name}: {first} has {here}, {chain} {there}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--chain", action="append", choices=[*CHAINS], help="only this chain; may be given again"
    )
    parser.add_argument("--keep", type=Path, help="an empty folder that keeps what was made")
    chosen = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.WARNING)
    chains = chosen.chain or [*CHAINS]
    with ExitStack() as stack:
        home = chosen.keep or Path(stack.enter_context(TemporaryDirectory()))
        os.environ[STATE_VARIABLE] = str(home / "state")
        endings = {chain: played(chain, home) for chain in chains}
    wrong = differences(endings)
    for line in wrong:
        print(line)
    print("the same" if not wrong else "not the same", "on", ", ".join(chains))
    if {*chains} == {*CHAINS}:
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        row = {"scenario_same_digest": 0 if wrong else 1}
        write_atomically(RESULTS, json.dumps(dict(sorted((kept | row).items())), indent=1) + "\n")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
