"""A fleet of a thousand phones: every round is one roll-up, whose gas is far below that of a transaction a phone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shown import ROOT, run

TRANSACTION = 21_000
"""What any transaction takes, whatever it does."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_round_of_two_hundred_phones_takes_the_gas_of_a_few_transactions(tmp_path: Path) -> None:
    file = ROOT / "examples" / "phone-fleet.toml"
    said = run(f"fedvm run {file} --out fleet", tmp_path, timeout=800)
    report = json.loads((tmp_path / "fleet" / "report.json").read_text())
    rounds = report["rounds"]
    assert len(rounds) == 8 and all(len(one["members"]) == 200 for one in rounds)
    assert all(sum(one["gas"].values()) < 200 * TRANSACTION / 4 for one in rounds)
    members = [member for one in rounds for member in one["members"]]
    assert not any(member["refused"] or member["failure"] for member in members)
    # Who is sampled follows from the chain: neither of the two need be.
    assert {one["client"] for one in members if one["weight"] < one["examples"]} <= {3, 700}
    assert all(one["weight"] == min(10, one["examples"]) for one in members)
    assert rounds[-1]["test_accuracy"] > max(0.4, 1.5 * rounds[0]["test_accuracy"])
    assert "1000 clients" in said
