"""Final accuracy of every strategy under every attack, with 0 to 40 % of 20 clients attacking.

Run: python benchmarks/bench_byzantine.py. Fills docs/robustness.md, draws docs/img/byzantine.svg and writes
benchmarks/results/byzantine.json. Clients, attacks and aggregation are the product's; the chain, which changes no
model, is left out. A row takes some seconds; those in the results file are not played again (--again does).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from byzantine_bench.play import ATTACKS, CLIENTS, STRATEGIES, Arena, Game
from byzantine_bench.show import draw, summary_table, tables
from compiler_bench.report import update_document
from compiler_bench.rows import machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "byzantine.json"
PAGE = ROOT / "docs" / "robustness.md"
IMAGE = ROOT / "docs" / "img" / "byzantine.svg"
SHARES = (0, 10, 20, 30, 40)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--again", action="store_true", help="play also what the results file has")
    options = parser.parse_args()
    known = {} if options.again else _read()
    arena, games = Arena(), _games()
    for at, game in enumerate(games, start=1):
        if game.key not in known:
            start = time.monotonic()
            known[game.key] = arena.play(game)
            _write(known)
            print(
                f"{at}/{len(games)} {game.key}: {known[game.key]:.3f}, {time.monotonic() - start:.1f} s",
                flush=True,
            )
    rows = {game.key: known[game.key] for game in games}
    update_document(PAGE, {"byzantine": tables(rows, SHARES), "byzantine-worst": summary_table(rows, SHARES)})
    draw(rows, SHARES, IMAGE)


def _games() -> Sequence[Game]:
    peaceful = [Game(strategy, "none", 0) for strategy in STRATEGIES]
    attacked = [
        Game(strategy, attack, CLIENTS * share // 100)
        for attack in ATTACKS
        for strategy in STRATEGIES
        for share in SHARES
        if share
    ]
    return [*peaceful, *attacked]


def _read() -> dict[str, float]:
    if not RESULTS.is_file():
        return {}
    accuracies: dict[str, float] = json.loads(RESULTS.read_text(encoding="utf-8"))["accuracy"]
    return accuracies


def _write(accuracies: dict[str, float]) -> None:
    content = {"machine": machine(), "accuracy": accuracies}
    RESULTS.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
