"""The table of what a change touches: its counts, and the bounds that the house was built to."""

from __future__ import annotations

from changes import Row, rows

TABLE = {row.kind: row for row in rows()}
BOUNDS = {
    "a network": 1,
    "an operator of ONNX": 1,
    "another store": 1,
    "an attack": 3,
}
"""Most files of the package and the contracts that may mention one thing of the kind."""
RULE_FILES = 20
"""Most files of every column that may mention one rule of the contract."""


def code_of(row: Row) -> int:
    python, solidity, _, _ = row.counted()
    return python + solidity


def test_no_change_touches_more_code_than_the_table_says() -> None:
    assert len(TABLE) == 15
    more = {
        kind: (row.counts[:2], row.counted()[:2])
        for kind, row in TABLE.items()
        if any(now > stated for now, stated in zip(row.counted()[:2], row.counts[:2], strict=True))
    }
    assert more == {}, "a change spread; if that is right: python tests/architecture/changes.py"


def test_every_row_counts_something() -> None:
    assert all(sum(row.counted()) for row in TABLE.values())


def test_a_rule_touches_few_files_of_any_kind() -> None:
    kinds = ("a rule that an update must keep", "a rule over several rounds")
    assert {
        kind: sum(TABLE[kind].counted()) for kind in kinds if sum(TABLE[kind].counted()) > RULE_FILES
    } == {}


def test_the_bounds_hold() -> None:
    assert {kind: code_of(TABLE[kind]) for kind, most in BOUNDS.items() if code_of(TABLE[kind]) > most} == {}
