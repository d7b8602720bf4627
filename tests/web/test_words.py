"""Every term of the contracts has words for people."""

from __future__ import annotations

import re

import pytest

from fedvm.chain.court import Fraud
from fedvm.protocol import Refusal, Rules
from fedvm.protocol.aggregators import Krum
from fedvm.protocol.durations import spoken
from fedvm.web import words
from fedvm.web.charts import Series, line_chart

RULES = Rules(10, 50, 300, (10 << 20) ** 2, 1000, 20, 3600, 0, 0, 1_000_000, 0, 0, 0, bytes(32))


def test_every_refusal_and_every_fraud_is_explained() -> None:
    for reason in Refusal:
        assert bool(reason.meaning) == (reason is not Refusal.NONE)
    assert len({reason.meaning for reason in Refusal}) == len(Refusal)
    assert set(words.FRAUDS) == set(Fraud)
    assert words.refusal(250) == ("reason 250", "The contract gave a reason that this version does not know.")


def test_rules_are_said_in_sentences_and_none_that_does_not_hold() -> None:
    said = " ".join(words.rule_sentences(RULES))
    assert (
        "at least 10 updates" in said and "fewer than 50 examples" in said and "count as 300 at most" in said
    )
    assert "takes updates for 1 hour." in said
    assert "more than 10 (" in said and "the mean of the accepted updates" in said
    for absent in ("the say", "tests", "loss", "classes", "sits the next", "privacy"):
        assert absent not in said, absent


def test_an_aggregator_is_said_and_who_can_check_it() -> None:
    for identifier, words_of in (
        (Krum(1, 3).identifier, "no proof on chain covers it"),
        (b"\xff" * 32, "does not know"),
    ):
        assert words_of in words.aggregation_sentence(identifier)


def test_numbers_are_written_for_people() -> None:
    assert words.number(1_234_567) == "1\u202f234\u202f567" and words.number(None) == "–"
    assert words.coins(10**16, "FIL") == "0.01 FIL" and words.coins(0, "FIL") == "0 FIL"
    assert [spoken(n) for n in (1, 90, 120, 3600, 86_400 * 2)] == [
        "1 second",
        "90 seconds",
        "2 minutes",
        "1 hour",
        "2 days",
    ]
    assert [words.chance(share) for share in (0.05, 0.01, 1e-4, 3e-6)] == ["5%", "1%", "0.01%", "0.0003%"]


@pytest.mark.parametrize("values", [[0.0], [0.5, 0.5], [1e-9, 3e-9], [0, 1e12], [0.2, 0.9, 0.4]])
def test_a_chart_places_every_point_inside(values: list[float]) -> None:
    svg = line_chart("<b>", [Series("a & b", "one", list(enumerate(values)))], str)
    assert svg.count("<circle") == len(values) and "<b>" not in svg and "a & b" not in svg
    heights = [float(part.split('"')[0]) for part in svg.split('cy="')[1:]]
    assert all(12 <= height <= 180 for height in heights)


def test_a_chart_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        line_chart("x", [Series("a", "one", [])], str)


@pytest.mark.parametrize(("most", "ticks"), [(0, "0 1"), (1, "0 1"), (2, "0 1 2"), (9, "0 3 6 9")])
def test_an_axis_of_counts_has_no_fractions(most: int, ticks: str) -> None:
    chart = line_chart(
        "refused", [Series("refused", "refused", [(1, 0), (2, most)])], lambda value: f"{value:.0f}"
    )
    assert re.findall(r'text-anchor="end">(\d+)<', chart) == ticks.split()
