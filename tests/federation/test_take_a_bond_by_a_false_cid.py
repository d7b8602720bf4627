"""A member wants the bond of an honest coordinator: it signs a CID of nothing, posts its vector on demand, and asks for
data that only this vector gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from test_direct import Parties, federation_of

from fedvm.chain.disputes import DisputesContract, Question
from fedvm.federation.commitment import SignedUpdate
from fedvm.protocol import Update, sign_update, to_bytes
from fedvm.store import Cid


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    with federation_of(tmp_path, 3) as made:
        yield made


def under(parties: Parties, index: int, cid: bytes) -> SignedUpdate:
    """The honest update of a member, signed under another CID."""
    honest = parties.signed(index)
    update: Update = replace(honest.update, cid=cid)
    signature = sign_update(update, parties.ledger.domain, parties.members[index].key)
    return replace(honest, update=update, signature=signature)


@pytest.mark.parametrize("form", ["auto", "rollup"])
@pytest.mark.parametrize("names", ["nothing", "another vector"])
def test_what_was_posted_is_answered_from(
    parties: Parties, form: Literal["auto", "rollup"], names: str
) -> None:
    another = Cid.parse(parties.store.put(to_bytes(parties.signed(0).vector))).binary
    false = under(parties, 2, another if names == "another vector" else Cid.of_block(0x55, b"nothing").binary)
    member, direct = parties.members[2], parties.direct
    direct.submit(member, 1, false.submission)

    def post() -> None:
        direct.post(member, 1, member.address, to_bytes(false.vector))
        parties.meanwhile = ask

    def ask() -> None:
        disputes = DisputesContract(parties.chain.w3, parties.contract.disputes())
        root = parties.contract.round(1).aggregation_root
        disputes.demand(parties.chain.account("user"), 1, Question(root, (), 6))

    parties.meanwhile = post
    settlement = parties.relay_and_settle([0, 1], form)
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1, 2])).all()
    assert settlement.round.status.is_over
    assert parties.contract.owed(parties.chain.account("coordinator").address) == 10**15
