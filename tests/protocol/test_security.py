"""How long a proposal can be put off, as `contracts/src/libraries/Phases.sol` counts the phases."""

from __future__ import annotations

from dataclasses import MISSING, fields

import pytest

import conditions
from fedvm.protocol import Rules, Security
from fedvm.protocol.security import longest_delay, question_phases


@pytest.mark.parametrize(
    ("leaves", "elements", "phases"),
    [
        (1, 1, 2),
        (16, 61_706, 3),
        (32, 61_706, 3),
        (33, 61_706, 4),
        (1000, 61_706, 4),
        (2**20, 61_706, 6),
        (2, 2**31, 6),
    ],
)
def test_phases_follow_from_the_sizes(leaves: int, elements: int, phases: int) -> None:
    assert question_phases(leaves, elements) == phases
    security = conditions.security(challenge_seconds=100, answer_seconds=60)
    assert longest_delay(security, leaves, elements) == 100 + 120 * phases


@pytest.mark.parametrize("kind", [Rules, Security])
def test_the_contract_s_structs_have_no_defaults_beside_those_of_the_settings(kind: type) -> None:
    assert all(field.default is field.default_factory is MISSING for field in fields(kind))
