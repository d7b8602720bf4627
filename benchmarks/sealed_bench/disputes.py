"""Gas of the proof that a leaf of a sealed round is not its masked update without the masks that were revealed.

A LeNet of 62,006 parameters and 64 members with real keys, in two groups of 32: of one some are absent, whose masks the
proof takes off one by one. What plays the round are the parties of the tests, on the embedded chain.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from contracts_bench.meter import metered

from sealed_bench.runs import Row, gas_row

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "chain")]

from sealed_game import RULES, SEALED, found, play  # noqa: E402
from sealed_openings import lane, propose  # noqa: E402
from stated_tree import one_more, with_sums  # noqa: E402

from fedvm.devnet.embedded import open_chain  # noqa: E402

ELEMENTS, MEMBERS, GROUP = 62_006, 64, 32
CHUNK, BLOCK = 500, 3
ABSENT = (0, 5, 8)
"""Members of a group of 32: with more than eight absent it is void."""


def disputes() -> list[Row]:
    """A row for each number of absent members."""
    rows: list[Row] = []
    rules = replace(RULES, elements=ELEMENTS)
    sealed = replace(SEALED, group_size=GROUP, min_roster=MEMBERS)
    with (
        metered() as meter,
        tempfile.TemporaryDirectory() as name,
        open_chain(Path(name), seed=11, create=True) as chain,
    ):
        game = found(chain, MEMBERS, sealed=sealed, rules=rules)
        for absent in ABSENT:
            played = play(game, range(1, 1 + absent))
            played.roll_up()
            said = propose(played, {(0, 0): with_sums(one_more(64 * CHUNK + 8 * BLOCK))})
            shown = game.prove(played.number, lane(0, CHUNK, BLOCK)(said))
            work = next(one for one in reversed(meter.done) if one.gas == shown.gas_used)
            rows.append(gas_row(f"dispute_gas_{absent}_absent", work))
    return rows
