"""Gas of rounds and disputes, seconds of the trees, and the share of lies that the challenger catches.

Run: python benchmarks/bench_contracts.py. Writes benchmarks/results/contracts.json. Everything is measured on an
embedded chain, which charges exact gas, calldata and the 21,000 included; the liars are those of the tests.
Only the figure for 2^20 clients is computed: a proof grows by one step of the aggregation tree for each doubling,
and the gas of a step follows from proofs of two sizes.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "audit"))

from court_bench import SECURITY, Court, create_court, random_updates  # noqa: E402
from lies import LIES, Facts, Liar, honest, tell  # noqa: E402

from fedvm.chain.disputes import Fraud  # noqa: E402
from fedvm.encoding import (  # noqa: E402
    Commitment,
    Contribution,
    CountedUpdate,
    UpdateContext,
    aggregation_tree,
    model_root,
    update_tree,
    weighted_mean,
)
from fedvm.encoding.vector import IntVector  # noqa: E402

CLIENTS, ELEMENTS, LIE_COUNT = 16, 61_706, 200
RESULTS = ROOT / "benchmarks" / "results" / "contracts.json"
Row = dict[str, object]


def _vectors(seed: int, clients: int) -> list[IntVector]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-30_000, 30_000, ELEMENTS, dtype=np.int32) for _ in range(clients)]


def _gas_since(court: Court, block: int) -> int:
    """Gas of all transactions after a block."""
    w3, total = court.chain.w3, 0
    for number in range(block + 1, w3.eth.block_number + 1):
        for tx_hash in w3.eth.get_block(number)["transactions"]:
            total += w3.eth.get_transaction_receipt(tx_hash)["gasUsed"]  # type: ignore[arg-type]
    return total


def round_gas(directory: Path) -> Row:
    """A second round of 16 clients, everything in it divided by 16: the first pays for slots that stay."""
    court, gas = create_court(directory, elements=ELEMENTS, members=CLIENTS), 0
    for number in (1, 2):
        before = court.chain.w3.eth.block_number
        facts = court.open_round(_vectors(number, CLIENTS), random.Random(number))
        truth = honest(facts)
        court.propose(truth)
        court.chain.advance_time(SECURITY.challenge_seconds + 1)
        court.contract.finalize_round(court.coordinator, number)
        gas = _gas_since(court, before)
        court.base = _new_model(court.base, facts)
        court.store.put(court.base.astype(">i4").tobytes())
    court.chain.close()
    return {"name": "client_round_gas_16", "value": gas // CLIENTS, "unit": "gas"}


def _new_model(base: IntVector, facts: Facts) -> IntVector:
    contributions = [
        Contribution(c.member, c.weight, np.array(v, dtype=np.int32))
        for c, v in zip(facts.commitments, facts.vectors, strict=True)
    ]
    return weighted_mean(base, contributions).model


def dispute_gas(directory: Path) -> list[Row]:
    """The transaction that shows a lie, at its deepest: a product, a sum, and the model."""
    rows: list[Row] = []
    products: dict[int, int] = {}
    for clients in (2, CLIENTS):
        court = create_court(directory / str(clients), elements=ELEMENTS, members=clients)
        kinds = {"product": 0} if clients == 2 else {"product": 0, "sum": 1, "mean": None}
        for number, (kind, level) in enumerate(kinds.items()):
            facts = court.open_round(_vectors(number, clients), random.Random(number))
            liar = Liar(facts, random.Random(number))
            if level is None:
                liar.model_value = 1
            else:
                liar.at, liar.node_value = (level, 0), 1
            lie = liar.build()
            court.propose(lie)
            upheld = court.challenge(published=lie.preimages.get, answered={}.get)
            assert upheld is not None and upheld.fraud is Fraud[f"WRONG_{kind.upper()}"]
            if kind == "product":
                products[clients] = upheld.gas_used
            if clients == CLIENTS:
                rows.append({"name": f"dispute_gas_{kind}_16", "value": upheld.gas_used, "unit": "gas"})
            court.give_up()
        court.chain.close()
    step = (products[CLIENTS] - products[2]) / 3
    far = round(products[CLIENTS] + 16 * step)
    worst = max(int(str(row["value"])) for row in rows)
    return [
        {"name": "dispute_gas", "value": worst, "unit": "gas"},
        *rows,
        {"name": "dispute_gas_2^20 (computed)", "value": far, "unit": "gas"},
    ]


def tree_seconds() -> Row:
    """All trees of a round of 16: the updates', the aggregation with its 31 vectors, the model's."""
    vectors, best = _vectors(3, CLIENTS), float("inf")
    members = [f"0x{index + 1:040x}" for index in range(CLIENTS)]
    places = [UpdateContext(1, "0x" + "fe" * 20, 1, member, ELEMENTS) for member in members]
    for _ in range(3):
        begun = time.process_time()
        trees = [update_tree(vector, place) for vector, place in zip(vectors, places, strict=True)]
        counted = [
            CountedUpdate(Commitment(member, 281, tree.root, tree.sum_squares), tree.vector)
            for member, tree in zip(members, trees, strict=True)
        ]
        aggregation_tree(counted)
        model_root(vectors[0])
        best = min(best, time.process_time() - begun)
    return {"name": "tree_seconds_16", "value": round(best, 3), "unit": "s of CPU"}


def lies_caught(directory: Path) -> Row:
    """200 random lies, a third each published, answered on demand, and withheld."""
    caught = 0
    for batch in range(LIE_COUNT // 25):  # a court's log grows, and the challenger reads all of it
        elements = random.Random(batch).randrange(1, 300)
        court = create_court(directory / str(batch), elements=elements, members=5)
        for number in range(25 * batch, 25 * (batch + 1)):
            rng = random.Random(10_000 + number)
            facts = court.open_round(random_updates(rng, rng.randrange(1, 6), elements), rng)
            lie = tell(LIES[number % len(LIES)], facts, rng)
            court.propose(lie)
            known, mode = lie.preimages.get, number % 3
            upheld = court.challenge(
                published=known if mode == 0 else {}.get, answered=known if mode == 1 else {}.get
            )
            caught += upheld is not None and upheld.reward == SECURITY.bond // 2
            court.give_up()
        court.chain.close()
    return {"name": "lies_caught_share", "value": caught / LIE_COUNT, "unit": f"of {LIE_COUNT}"}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        rows = [round_gas(directory / "round"), *dispute_gas(directory), tree_seconds()]
        rows.append(lies_caught(directory / "lies"))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text(json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n")
    temporary.replace(RESULTS)
    for row in rows:
        print(f"{row['name']}: {row['value']} {row['unit']}")


if __name__ == "__main__":
    main()
