"""A long history of a federation, as the events that its contracts would tell, for an index to take."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from fedvm.chain.events import Place
from fedvm.chain.federation_types import (
    FederationCreated,
    MemberAdded,
    RoundFinal,
    RoundOpened,
    RoundProposed,
    SecuritySet,
    UpdateAccepted,
    UpdateRefused,
)
from fedvm.chain.model_service import Decision, Version, VersionRegistered, VersionServes
from fedvm.protocol import Refusal, Rules, Security
from fedvm.protocol.address import to_address

SECONDS_A_BLOCK = 30


def history(rounds: int, members: int, decisions: int, version: Version) -> Iterator[tuple[str, Any]]:
    """(contract, event) in the order of the chain: every member hands in an update in every round, one in 32 of them
    capped and one in 32 refused; then a version serves and decides. The same arguments give the same events."""
    draw, block = random.Random(7), 1
    who = [to_address(f"0x{draw.randbytes(20).hex()}", "member") for _ in range(members)]
    rules = Rules(
        members // 2, 50, 300, (10 << 20) ** 2, 44_426, 20, 3600, 0, 20_000_000, 1_000_000, 0, 0, 0, bytes(32)
    )

    def at(log: int) -> Place:
        return Place(block, f"0x{block:064x}", log)

    security = Security(3600, 1800, 10**18, 0, 10**16, 10**14, 86_400, 0)
    yield (
        "federation",
        FederationCreated(
            who[0], who[0], rules.digest(), rules, bytes(32), b"\x01\x55\x12\x20" + bytes(32), False, at(0)
        ),
    )
    yield "federation", SecuritySet(security, who[1], at(1))
    for log, member in enumerate(who, start=2):
        yield "federation", MemberAdded(member, at(log))
    for number in range(1, rounds + 1):
        block += 1
        root, cid = draw.randbytes(32), b"\x01\x55\x12\x20" + draw.randbytes(32)
        deadline = block * SECONDS_A_BLOCK + 3600
        yield "federation", RoundOpened(number, root, root, rules.digest(), deadline, at(0))
        block += 1
        weight = accepted = 0
        for log, member in enumerate(who):
            if draw.random() < 1 / 32:
                reason = draw.choice(list(Refusal)[1:])
                yield "federation", UpdateRefused(number, member, reason, root, cid, at(log))
                continue
            examples = 11_400 if draw.random() < 1 / 32 else draw.randrange(50, 300)
            accuracy = 1_000_000 - 900_000 // (number + 1) - draw.randrange(50_000)
            counted, accepted = rules.weight(examples), accepted + 1
            weight += counted
            yield "federation", UpdateAccepted(
                number, member, root, counted, examples, max(0, accuracy), 2_000_000 // number, 10, 0, 10**13, deadline,
                cid, bytes(65), at(log)
            )  # fmt: skip
        block += 1
        yield "federation", RoundProposed(number, root, root, 1, root, weight, deadline, who[0], cid, at(0))
        block += 1
        yield "federation", RoundFinal(number, root, root, weight, accepted, 1, at(0))
    block += 1
    yield "service", VersionRegistered(1, version, at(0))
    yield "service", VersionServes(1, 0, at(1))
    for number in range(1, decisions + 1):
        block += 1
        scores = tuple(draw.randrange(-9_000, 9_000) for _ in range(10))
        label = scores.index(max(scores))
        asked = draw.randbytes(784)
        yield (
            "service",
            Decision(
                number,
                draw.choice(who),
                1,
                draw.randbytes(32),
                asked,
                label,
                draw.randbytes(32),
                scores,
                at(0),
            ),
        )
