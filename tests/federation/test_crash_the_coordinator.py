"""A griefer wants the coordinator's process to end: what anyone may do, it does right before the coordinator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from direct_parties import Parties, federation_of
from eth_account.signers.local import LocalAccount

from fedvm.chain.direct import DirectSubmissionsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundFinal, RoundState


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    with federation_of(tmp_path, 3) as made:
        yield made


def test_a_forfeit_by_another_stops_no_round(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    parties.direct.submit(parties.members[2], 1, parties.signed(2).submission)
    give_up = DirectSubmissionsContract.forfeit

    def in_front(direct: DirectSubmissionsContract, account: LocalAccount, number: int, member: str) -> None:
        give_up(direct, parties.chain.account("user"), number, member)
        give_up(direct, account, number, member)

    monkeypatch.setattr(DirectSubmissionsContract, "forfeit", in_front)
    settlement = parties.relay_and_settle([0, 1])
    assert settlement.round.status is RoundState.FINAL


def test_a_round_that_another_made_final_is_final(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    finalize = FederationContract.finalize_round

    def in_front(
        contract: FederationContract, account: LocalAccount, number: int
    ) -> tuple[RoundFinal, object]:
        finalize(contract, parties.chain.account("user"), number)
        return finalize(contract, account, number)

    monkeypatch.setattr(FederationContract, "finalize_round", in_front)
    settlement = parties.relay_and_settle([0, 1])
    assert settlement.round.status is RoundState.FINAL and settlement.model is not None
