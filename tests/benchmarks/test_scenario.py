"""The scenario of `make scenario`, on the embedded chain; and what it says of chains that differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bench_scenario import differences, played
from scenario_bench.play import Ending


@pytest.mark.slow
def test_a_federations_life_comes_to_the_same_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endings = {"a": played("embedded", tmp_path / "a"), "b": played("embedded", tmp_path / "b")}
    assert differences(endings) == []
    one = endings["a"]
    assert len(set(one.addresses.values())) == len(one.addresses) >= 6
    assert [*one.models] == ["round 1", "round 2", "sealed round 1"] and len(set(one.models.values())) == 3
    said = capsys.readouterr().out
    for words in (
        "one more joined",
        "a false proposal was brought down",
        "the gate let it pass",
        "elsewhere",
    ):
        assert words in said


def test_what_differs_is_named() -> None:
    one = Ending({"federation": "0x1"}, {"round 1": "0x2"}, "aa", 3, True)
    assert differences({"a": one, "b": one}) == []
    other = replace(one, addresses={"federation": "0x9"}, digest="bb", right=False)
    assert [line.partition(":")[0] for line in differences({"a": one, "b": other})] == [
        "b",
        "addresses",
        "digest",
    ]
