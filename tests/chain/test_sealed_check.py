"""What a member with an RPC of its own finds out when its coordinator lies about an epoch or a close."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sealed_game
from sealed_game import Game

from fedvm.devnet.embedded import open_chain
from fedvm.federation.client import chain_check, sealed_check
from fedvm.federation.client.chain_check import genuine_federation
from fedvm.federation.client.sealed_check import check_close, check_draw, check_key_files, check_ready
from fedvm.federation.errors import TermsError
from fedvm.protocol import Domain, model_root
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.epoch import Draw
from fedvm.protocol.sealed.typed_data import Ready
from fedvm.store.unixfs import cid_of

RPC = "embedded"
PLACES, LATE = 16, 9


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    with open_chain(tmp_path_factory.mktemp("chain") / "chain.db", seed=11, create=True) as chain:
        yield sealed_game.found(chain, PLACES, not_ready=[3], late=[LATE])


@pytest.fixture(autouse=True)
def on_the_embedded_chain(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's address of its RPC leads to the embedded chain, which has none."""
    monkeypatch.setattr(chain_check, "connect", lambda rpc, chain_id: game.chain.w3)
    genuine_federation.cache_clear()


def fewer(game: Game) -> bytes:
    return bitmap(PLACES, game.places[1:])


def lies_about_the_draw(draw: Draw) -> dict[str, Draw]:
    return {
        "number": replace(draw, number=2),
        "seed": replace(draw, seed=bytes(32)),
        "roster": replace(draw, roster=draw.roster[::-1]),
        "group size": replace(draw, group_size=2),
    }


@pytest.mark.parametrize("name", ["number", "seed", "roster", "group size"])
def test_another_draw_is_found_out(game: Game, name: str) -> None:
    check_draw(RPC, game.epoch.draw)
    lie = lies_about_the_draw(game.epoch.draw)[name]
    with pytest.raises(TermsError, match=f"not on the chain as the server names it: its .*{name}"):
        check_draw(RPC, lie)
    with pytest.raises(TermsError, match=name):
        check_ready(RPC, replace(game.epoch, draw=lie))


def test_other_ready_members_are_found_out(game: Game) -> None:
    check_ready(RPC, game.epoch)
    with pytest.raises(TermsError, match="its ready members differ"):
        check_ready(RPC, replace(game.epoch, ready=fewer(game)))
    with pytest.raises(TermsError, match="its first round differ"):
        check_ready(RPC, replace(game.epoch, first_round=2))


def test_a_federation_of_another_kind_or_chain_is_found_out(game: Game) -> None:
    with pytest.raises(TermsError, match="asks for an open update"):
        genuine_federation(RPC, game.epoch.draw.domain, sealed=False)
    elsewhere = Domain(game.epoch.draw.domain.chain_id, game.coordinator.address)
    with pytest.raises(TermsError, match="is not a federation"):
        check_draw(RPC, replace(game.epoch.draw, domain=elsewhere))


def test_key_files_are_those_that_their_members_stated(game: Game) -> None:
    draw, epoch = game.epoch.draw, game.epoch
    group = next(group for group in epoch.groups if LATE in range(group.first, group.first + 8))
    last = group.members[group.ready[-1]]
    below = [group.members[rank] for rank in group.ready[:-1]]
    late = draw.seats[LATE].member
    files = {mate: f"key file of {draw.place_of(mate)}".encode() for mate in below}
    signatures = {
        mate: Ready(1, draw.roster_root, cid_of(files[mate]).binary).sign(
            draw.domain, game.accounts[mate].key
        )
        for mate in below
        if mate != late
    }
    check_key_files(RPC, epoch, last, files, signatures)
    for forged in (late, next(mate for mate in below if mate != late)):
        with pytest.raises(TermsError, match="is not one that it stated"):
            check_key_files(RPC, epoch, last, files | {forged: b"of the coordinator's"}, signatures)
    with pytest.raises(TermsError, match="is not signed by its member"):
        check_key_files(RPC, epoch, last, files, signatures | {below[0]: bytes(65)})


def test_an_rpc_may_be_some_blocks_behind(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    game.federation.open_round(game.coordinator)
    game.chain.advance_time(sealed_game.SECURITY.open_seconds)
    close = Close(game.epoch, game.federation.current_round(), bitmap(PLACES, game.places))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            game.rounds.close(game.coordinator, close.round, game.epoch, close.included)

    with monkeypatch.context() as patch:
        patch.setattr(chain_check.time, "sleep", sleep)
        check_close(RPC, close, model_root(game.base))
    assert len(slept) >= 2
    game.federation.fail_round(game.coordinator, close.round)


def test_no_share_is_given_but_for_the_final_close(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    base, everybody = model_root(game.base), bitmap(PLACES, game.places)
    game.federation.open_round(game.coordinator)
    number = game.federation.current_round()
    true = Close(game.epoch, number, everybody)
    with pytest.raises(TermsError, match="is not closed on the chain"):
        check_close(RPC, true, base)
    game.chain.advance_time(sealed_game.SECURITY.open_seconds)
    before = game.chain.w3.eth.block_number
    game.rounds.close(game.coordinator, number, game.epoch, everybody)
    check_close(RPC, true, base)
    for lie, match in (
        (replace(true, included=fewer(game)), "its included members differ"),
        (replace(true, epoch=replace(game.epoch, ready=fewer(game)), included=fewer(game)), "ready members"),
    ):
        with pytest.raises(TermsError, match=match):
            check_close(RPC, lie, base)
    with pytest.raises(TermsError, match="is not closed on the chain"):
        check_close(RPC, replace(true, round=number + 1), base)
    with pytest.raises(TermsError, match="its base differ"):
        check_close(RPC, true, bytes(32))

    slept: list[float] = []
    final = {"number": before}

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            final["number"] = game.chain.w3.eth.block_number

    get_block = game.chain.w3.eth.get_block
    late: Any = lambda which, *more: final if which == sealed_check.FINAL else get_block(which, *more)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(game.chain.w3.eth, "get_block", late)
        patch.setattr(sealed_check.time, "sleep", sleep)
        check_close(RPC, true, base)
        assert len(slept) == 3
        final["number"] = before
        ticks = iter(range(0, 10**6, sealed_game.SEALED.unmask_seconds))
        patch.setattr(sealed_check.time, "monotonic", lambda: next(ticks))
        with pytest.raises(TermsError, match="was not final after 300 s"):
            check_close(RPC, true, base)

    game.federation.fail_round(game.coordinator, number)
    with pytest.raises(TermsError, match="its state of the round differ"):
        check_close(RPC, true, base)
