"""The chance that a group can be opened, and the table of it in SECURITY.md."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from fedvm.protocol.errors import RangeError
from fedvm.protocol.sealed.odds import chance_of_an_open_group, openers

PAGE = Path(__file__).parents[2] / "SECURITY.md"
ROW = re.compile(r"^\| (\d+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$", re.MULTILINE)


def test_the_table_is_what_the_function_gives() -> None:
    found = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert [int(row[0]) for row in found] == [8, 16, 32, 64]
    for size, *stated in found:
        group, kept_out = int(size), int(size) // 10
        expected = [
            f"{chance_of_an_open_group(1000, corrupt, group, absent=absent):.0e}"
            for absent in (0, kept_out)
            for corrupt in (100, 200)
        ]
        assert stated == expected


def test_it_counts_draws() -> None:
    members, corrupt, size = 16, 6, 8
    draws = list(combinations(range(members), size))
    bad = sum(sum(one < corrupt for one in draw) >= openers(size) for draw in draws)
    assert chance_of_an_open_group(members, corrupt, size) == pytest.approx(2 * bad / len(draws))
    assert chance_of_an_open_group(16, 4, 8) == 0.0
    assert chance_of_an_open_group(16, 16, 8) == 1.0
    with pytest.raises(RangeError, match="cannot be corrupt"):
        chance_of_an_open_group(16, 17, 8)
