"""Gas of rounds and disputes, seconds of the trees, and the share of lies that the challenger catches.

Run: python benchmarks/bench_contracts.py [--campaign]. Writes benchmarks/results/contracts.json. Everything is
measured on an embedded chain, which charges exact gas, calldata and the 21,000 included; the liars are those of the
tests.
Beside today's gas stand the gas under the schedule of Ethereum's next fork and an estimate of Filecoin gas; see
`contracts_bench/meter.py`. Only the figure for 2^20 clients comes from a test in Solidity
(`contracts/snapshots/Disputes.json`), which states such a round in a roll-up without a million clients.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "audit")]

from contracts_bench import campaign  # noqa: E402
from contracts_bench.meter import Meter, Work, metered  # noqa: E402
from court_bench import SECURITY, create_court, random_updates, refuse_the_first  # noqa: E402
from lies import LIES, Facts, Liar, honest, random_roots, tell  # noqa: E402
from rollup_lies import ROLLUP_LIES, RollupLiar  # noqa: E402

from fedvm.chain.court import Fraud  # noqa: E402
from fedvm.chain.federation_types import Proposal  # noqa: E402
from fedvm.chain.rollups import submit_rollup  # noqa: E402
from fedvm.evm.keccak import keccak  # noqa: E402
from fedvm.federation.settings import SecuritySettings  # noqa: E402
from fedvm.pipeline.rule_units import contract_security  # noqa: E402
from fedvm.protocol import (  # noqa: E402
    Commitment,
    CountedUpdate,
    Place,
    aggregation_tree,
    model_root,
    update_tree,
    weighted_mean,
)
from fedvm.protocol.security import longest_delay  # noqa: E402
from fedvm.protocol.vector import IntVector  # noqa: E402
from fedvm.store import Cid  # noqa: E402
from premises import premises_of  # noqa: E402

CLIENTS, ELEMENTS, LIE_COUNT, ROLLUP_LIE_COUNT = 16, 61_706, 200, 100
ROLLUP_CLIENTS = 1000
GAS_PRICE = 2 * 10**9
"""Wei a gas, at which the price of a delay is stated."""
SNAPSHOT = ROOT / "contracts" / "snapshots" / "Disputes.json"
RESULTS = ROOT / "benchmarks" / "results" / "contracts.json"
Row = dict[str, object]


def _vectors(seed: int, clients: int) -> list[IntVector]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-30_000, 30_000, ELEMENTS, dtype=np.int32) for _ in range(clients)]


def _gas_row(name: str, work: Work, share: int = 1) -> Row:
    """Gas under today's schedule, the next fork's and Filecoin's, divided among so many."""
    return {
        "name": name,
        "value": work.gas // share,
        "unit": "gas",
        "next_fork": work.next_fork // share,
        "filecoin": int(work.filecoin) // share,
    }


def round_gas(directory: Path, meter: Meter) -> list[Row]:
    """Opening a federation of 16, and a second round of 16 clients, everything in it divided by 16: the first round
    pays for slots that stay."""
    court = create_court(directory, elements=ELEMENTS, members=CLIENTS)
    created, before = meter.done[-1], 0
    for number in (1, 2):
        before = len(meter.done)
        facts = court.open_round(_vectors(number, CLIENTS), random.Random(number))
        truth = honest(facts)
        court.propose(truth)
        court.chain.advance_time(SECURITY.challenge_seconds + 1)
        court.contract.finalize_round(court.coordinator, number)
        court.base = _new_model(court.base, facts)
        court.store.put(court.base.astype(">i4").tobytes())
    court.chain.close()
    return [
        _gas_row("client_round_gas_16", meter.since(before), CLIENTS),
        _gas_row("create_gas_16", created),
    ]


def rollup_gas(directory: Path, meter: Meter) -> list[Row]:
    """A second round of 1,000 clients, rolled up; their models are small, which changes no gas."""
    court = create_court(directory, elements=65, members=1)
    members = [court.chain.account("member", index).address for index in range(1, ROLLUP_CLIENTS)]
    for at in range(0, len(members), 100):
        court.contract.add_members(members[at : at + 100]).send(court.chain.account("owner"))
    before, submitted = 0, Work()
    for number in (1, 2):
        before = len(meter.done)
        vectors = random_updates(random.Random(number), ROLLUP_CLIENTS, 65)
        _, judged_at, rollup = court.open_rollup(vectors, random.Random(number))
        cid = Cid.parse(court.store.put(rollup.to_bytes())).binary
        submit_rollup(court.contract, court.coordinator, number, rollup, judged_at=judged_at, cid=cid)
        submitted = meter.done[-1]
        roots = (keccak(b"aggregation"), keccak(b"aggregate"), keccak(b"model"))
        court.contract.propose(court.coordinator, number, Proposal(premises_of(court.contract), *roots, cid))
        court.chain.advance_time(SECURITY.challenge_seconds + 1)
        court.contract.finalize_round(court.coordinator, number)
    assert rollup.accepted == ROLLUP_CLIENTS
    court.chain.close()
    return [
        _gas_row("client_life_gas_rollup_1000", meter.since(before), ROLLUP_CLIENTS),
        _gas_row("rollup_gas_1000", submitted),
    ]


def _new_model(base: IntVector, facts: Facts) -> IntVector:
    contributions = [
        CountedUpdate(Commitment(c.member, c.weight, bytes(32), 0), np.array(v, dtype=np.int32))
        for c, v in zip(facts.commitments, facts.vectors, strict=True)
    ]
    return weighted_mean(base, contributions).model


def dispute_gas(directory: Path, meter: Meter) -> list[Row]:
    """The transaction that shows a lie, at its deepest: a product, a sum, and the model."""
    rows: list[Row] = []
    court = create_court(directory, elements=ELEMENTS, members=CLIENTS)
    for number, (kind, level) in enumerate({"product": 0, "sum": 1, "mean": None}.items()):
        facts = court.open_round(_vectors(number, CLIENTS), random.Random(number))
        liar = Liar(facts, random.Random(number))
        if level is None:
            liar.model_value = 1
        else:
            liar.at, liar.node_value = (level, 0), 1
        lie = liar.build()
        court.propose(lie)
        upheld = court.challenge(published=lie.preimages.get, answered={}.get)
        assert upheld is not None and upheld.fraud is Fraud[f"WRONG_{kind.upper()}"]
        # Claims of the reward follow the proof.
        proof = next(work for work in reversed(meter.done) if work.gas == upheld.gas_used)
        rows.append(_gas_row(f"dispute_gas_{kind}_16", proof))
        court.give_up()
    court.chain.close()
    worst = max(rows, key=lambda row: int(str(row["value"])))
    far = int(json.loads(SNAPSHOT.read_text())["proveWrongProduct, 2^20 clients"])
    return [
        {**worst, "name": "dispute_gas"},
        *rows,
        {"name": "dispute_gas_2^20", "value": far, "unit": "gas"},
    ]


def delay_and_its_price() -> list[Row]:
    """How long others can put a true proposal off, and what that costs them beside what it costs the coordinator, with
    the defaults of a run."""
    security, snapshot = contract_security(SecuritySettings()), json.loads(SNAPSHOT.read_text())
    asked, price = int(snapshot["demand, one level"]), GAS_PRICE
    narrow = (security.demand_fee + asked * price) / (int(snapshot["answerMany, one level"]) * price)
    # A question of six levels has 32 units.
    wide = (32 * security.demand_fee + asked * price) / (
        int(snapshot["answerMany, six levels with 32 chunks"]) * price
    )
    return [
        {
            "name": "delay_bound_seconds",
            "value": longest_delay(security, CLIENTS, ELEMENTS),
            "unit": f"s, {CLIENTS} clients; {longest_delay(security, ROLLUP_CLIENTS, ELEMENTS)} for {ROLLUP_CLIENTS}",
        },
        {
            "name": "attack_cost_ratio",
            "value": round(min(narrow, wide), 1),
            "unit": f"of the answers' gas at {GAS_PRICE // 10**9} gwei",
        },
    ]


def tree_seconds() -> Row:
    """All trees of a round of 16: the updates', the aggregation with its 31 vectors, the model's."""
    vectors, best = _vectors(3, CLIENTS), float("inf")
    members = [f"0x{index + 1:040x}" for index in range(CLIENTS)]
    places = [Place(1, "0x" + "fe" * 20, 1, member) for member in members]
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
    """Random lies about aggregates and in roll-ups, caught if the challenger won the bond for each."""
    caught = _aggregate_lies_caught(directory / "aggregates") + _rollup_lies_caught(directory / "rollups")
    lies = LIE_COUNT + ROLLUP_LIE_COUNT
    unit = f"of {lies}: {LIE_COUNT} about aggregates, {ROLLUP_LIE_COUNT} in roll-ups"
    return {"name": "lies_caught_share", "value": caught / lies, "unit": unit}


def _rollup_lies_caught(directory: Path) -> int:
    """Most of them published, every eighth withheld."""
    caught, kinds = 0, list(ROLLUP_LIES)
    for batch in range(ROLLUP_LIE_COUNT // 25):
        court = create_court(directory / str(batch), elements=3, members=7)
        for number in range(25 * batch, 25 * (batch + 1)):
            rng = random.Random(20_000 + number)
            vectors = random_updates(rng, rng.randrange(3, 8), 3)
            round_, judged_at, rollup = court.open_rollup(vectors, rng, refuse_the_first())
            liar = RollupLiar(rollup, court.sign_as, court.stranger.address, rng)
            kinds[number % len(kinds)](liar)
            lie, withheld = liar.build(), number % 8 == 7
            court.state(round_, judged_at, lie, published=not withheld)
            court.propose(random_roots(rng))
            upheld = court.challenge(published={}.get if withheld else lie.preimages.get, answered={}.get)
            caught += upheld is not None and upheld.reward == SECURITY.bond // 2
            if withheld:
                court.give_up()
        court.chain.close()
    return caught


def _aggregate_lies_caught(directory: Path) -> int:
    """A third each published, answered on demand, and withheld."""
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
    return caught


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--campaign",
        action="store_true",
        help="plays the long invariant campaigns too, an hour; else its rows stay as they are",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with metered() as meter:
            rows = [*round_gas(directory / "round", meter), *rollup_gas(directory / "rollup", meter)]
            rows += dispute_gas(directory / "dispute", meter)
        rows += [*delay_and_its_price(), tree_seconds()]
        rows.append(lies_caught(directory / "lies"))
    rows += campaign.campaign() if arguments.campaign else _kept()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text(json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n")
    temporary.replace(RESULTS)
    for row in rows:
        print(f"{row['name']}: {row['value']} {row['unit']}{_elsewhere(row)}")


def _kept() -> list[Row]:
    """Rows of the last campaigns."""
    if not RESULTS.exists():
        return []
    rows: list[Row] = json.loads(RESULTS.read_text())["rows"]
    return [row for row in rows if row["name"] in campaign.ROWS]


def _elsewhere(row: Row) -> str:
    if "filecoin" not in row:
        return ""
    return f" ({row['next_fork']} under the next fork's schedule, {row['filecoin']} Filecoin gas)"


if __name__ == "__main__":
    main()
