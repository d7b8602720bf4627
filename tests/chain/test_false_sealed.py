"""A sealed federation of the true code that its maker initialised otherwise than the factory: the check names it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from false_court import FalseFactory
from sealed_game import RULES, SEALED, SECURITY
from setup_federation import BASE, some_cid

from fedvm.chain.artifacts import (
    EPOCHS,
    FEDERATION,
    RULE_BOOK,
    SEALED_COURT,
    SEALED_DISPUTES,
    SEALED_ROUNDS,
)
from fedvm.chain.genuine import deviations, is_sealed
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.protocol import model_root

PLACE = b"\7" * 32
SIDECARS = (SEALED_DISPUTES, SEALED_ROUNDS, RULE_BOOK, EPOCHS)


@pytest.fixture
def factory(chain: EmbeddedChain) -> FalseFactory:
    return FalseFactory.deploy(chain.w3, chain.account("user"))


def made(chain: EmbeddedChain, factory: FalseFactory, **changes: Any) -> str:
    """A federation that a false factory makes as the true one does, but for: ``federation_rules``, which the federation
    has and the epochs are not told of; ``sealed``; ``court`` of the rounds; ``elements`` of the court; ``security`` of
    the epochs; and addresses of sidecars by their names."""
    attacker = chain.account("user").address
    federation = factory.clone(FEDERATION, PLACE, PLACE)
    salt = bytes(12) + bytes.fromhex(federation.address[2:])
    clones = {name: factory.clone(name, salt) for name in (*SIDECARS, SEALED_COURT)}
    rules, security = changes.get("federation_rules", RULES), SECURITY
    members = [chain.account("member", index).address for index in range(3)]
    terms = (rules.as_tuple(), security.as_tuple(), False, members, model_root(BASE), some_cid("model 0"))
    given = tuple(changes.get(name, clones[name].address) for name in SIDECARS)
    factory.call(clones[RULE_BOOK], "initialize", federation.address)
    factory.call(federation, "initialize", (attacker, attacker, *terms), given)
    elements = RULES.elements
    factory.call(clones[SEALED_DISPUTES], "initialize", federation.address, elements, security.as_tuple())
    factory.call(clones[SEALED_COURT], "initialize", federation.address, changes.get("elements", elements))
    court = changes.get("court", clones[SEALED_COURT].address)
    factory.call(clones[SEALED_ROUNDS], "initialize", federation.address, court)
    told = changes.get("security", security).as_tuple()
    sealed = changes.get("sealed", SEALED).as_tuple()
    factory.call(clones[EPOCHS], "initialize", federation.address, RULES.as_tuple(), told, sealed)
    return federation.address


def test_whoever_makes_it_right_may_have_made_it(chain: EmbeddedChain, factory: FalseFactory) -> None:
    address = made(chain, factory)
    assert list(deviations(chain.w3, address)) == []
    assert is_sealed(chain.w3, address)


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"elements": 1}, f"the {SEALED_COURT} of .* was initialised with elements = 1"),
        ({"court": "0x" + "11" * 20}, f"the {SEALED_ROUNDS} of .* was initialised with court = 0x1111"),
        (
            {"security": replace(SECURITY, answer_seconds=61)},
            f"the {EPOCHS} of .* was initialised with answerSeconds = 61",
        ),
        ({"federation_rules": replace(RULES, max_sum_squares=1 << 61, max_examples=10**6)}, "lanes of"),
        ({"federation_rules": replace(RULES, aggregator=b"\1" * 32)}, "has more than the 2 parameters"),
        ({"sealed": replace(SEALED, unmask_seconds=3500), "federation_rules": replace(RULES, round_seconds=3000)},
         "exceed"),
        ({SEALED_DISPUTES: "0x" + "11" * 20}, f"the {SEALED_DISPUTES} of .* is 0x1111"),
        ({EPOCHS: "0x" + "11" * 20}, f"the {EPOCHS} of .* is 0x1111"),
    ],
)  # fmt: skip
def test_what_is_otherwise_is_named(
    chain: EmbeddedChain, factory: FalseFactory, changes: dict[str, Any], told: str
) -> None:
    (found,) = deviations(chain.w3, made(chain, factory, **changes))
    assert re.search(told, found), found
