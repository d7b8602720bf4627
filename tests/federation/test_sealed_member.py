"""What members of a sealed federation give away to a coordinator that asks for more than the protocol has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account import Account
from flwr.app import ConfigRecord, Message, RecordDict

import conditions
from fedvm.evm.keccak import keccak
from fedvm.federation.client.consent import Consent
from fedvm.federation.client.distributed_privacy import SealedNoise
from fedvm.federation.client.sealed import SealedMember
from fedvm.federation.client.sealed_state import MOST_TURNS, EpochState, KeptUpdate, SealedFolder
from fedvm.federation.commitment import Attestation
from fedvm.federation.engines.flower_task import set_server_identity
from fedvm.federation.errors import TermsError
from fedvm.federation.keys import SealedHome
from fedvm.federation.sealed.messages import (
    EdgesRequest,
    EnrolReply,
    EnrolRequest,
    KeysReply,
    KeysRequest,
    SharesReply,
    SharesRequest,
    step_content,
)
from fedvm.federation.terms import SEALED_STEP, RoundTerms
from fedvm.protocol import Domain, Rules
from fedvm.protocol.address import to_address
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.deposit import parts_of
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.roster import Enrolment
from fedvm.protocol.sealed.rules import SealedRules, lane_bytes

DOMAIN = Domain(31_415_926, to_address("0x" + "ab" * 20))
RULES = conditions.rules(elements=70, max_sum_squares=4_000_000, max_share_ppm=1_000_000)
SEALED = SealedRules(8, 20, 10, 1, 1_000_000, 0, 60, 60, 60)
SAID = Attestation(examples=3, accuracy=None, loss=None, labels=None, epsilon=None)
COUNT, BASE = 10, bytes([7]) * 32
Request = EnrolRequest | KeysRequest | EdgesRequest | SharesRequest


class Epochs:
    """Ten members, and a coordinator that leads them through epochs. noise: what they all add to their updates."""

    def __init__(
        self,
        path: Path,
        noise: SealedNoise | None = None,
        rules: Rules = RULES,
        sealed: SealedRules = SEALED,
    ) -> None:
        set_server_identity(1)
        self.rules, self.sealed = rules, sealed
        accounts = [Account.from_key(keccak(b"member" + bytes([index]))) for index in range(COUNT)]
        self.members = {
            to_address(one.address): SealedMember(
                to_address(one.address), one.key.hex(), SealedHome(path / one.address, True), noise=noise
            )
            for one in accounts
        }

    def ask(self, member: str, request: Request) -> ConfigRecord:
        message = Message(step_content(request), dst_node_id=1000, message_type="train")
        reply = self.members[to_address(member)].step(message, Consent.from_node_config({}))
        return reply.content.config_records[SEALED_STEP]

    def enrolled(self, number: int) -> tuple[list[Enrolment], dict[str, bytes]]:
        request = EnrolRequest(DOMAIN, number, self.rules, self.sealed, 2**40)
        replies = [EnrolReply.from_record(self.ask(member, request)) for member in self.members]
        roster = [Enrolment(one.member, one.x25519, keccak(one.mlkem)) for one in replies]
        return roster, {one.member: one.mlkem for one in replies}

    def begun(self, number: int, first_round: int) -> Epoch:
        roster, mlkem = self.enrolled(number)
        draw = Draw(DOMAIN, number, SEALED.group_size, tuple(roster), bytes([number]) * 32)
        files = {
            member: KeysReply.from_record(self.ask(member, KeysRequest(draw, others(mlkem, member)))).file
            for member in self.members
        }
        epoch = Epoch(draw, first_round, bitmap(COUNT, range(COUNT)))
        for member in self.members:
            request = EdgesRequest(DOMAIN, number, first_round, epoch.ready, others(files, member), {})
            self.ask(member, request)
        return epoch

    def state(self, member: str) -> EpochState:
        state = self.folder(member).latest()
        assert state is not None
        return state

    def folder(self, member: str) -> SealedFolder:
        address = to_address(member)
        return SealedFolder(self.members[address].home, DOMAIN, address)

    def seal(self, member: str, epoch: Epoch, number: int, base: bytes = BASE) -> KeptUpdate:
        terms = RoundTerms(DOMAIN, number, self.rules, base, 2**40)
        update = np.full(self.rules.elements, len(member), dtype=np.int32)
        return self.members[to_address(member)].seal(epoch.draw.number, terms, update, SAID, {})

    def shares(
        self, member: str, epoch: Epoch, number: int, included: Sequence[int], base: bytes = BASE
    ) -> SharesReply:
        group = epoch.group_of(member)
        here = group.rank_of(member)
        parts = {}
        for rank in included:
            if rank != here:
                update = self.state(group.members[rank]).update
                assert update is not None
                file = MaskedFile.parse(update.file, group, RULES.elements, lane_bytes(RULES, SEALED))
                parts[group.members[rank]] = parts_of(group, rank, file.deposit)[here]
        stated = bitmap(COUNT, included)
        request = SharesRequest(DOMAIN, epoch.draw.number, number, base, stated, parts)
        return SharesReply.from_record(self.ask(member, request))


def others(values: dict[str, bytes], member: str) -> Any:
    return {to_address(one): value for one, value in values.items() if one != member}


@pytest.fixture
def game(tmp_path: Path) -> Epochs:
    return Epochs(tmp_path)


def test_groups_of_another_size_than_was_signed_are_refused(game: Epochs) -> None:
    roster, mlkem = game.enrolled(1)
    member = roster[0].member
    small = Draw(DOMAIN, 1, 2, tuple(roster), bytes(32))
    with pytest.raises(TermsError, match="groups of 2; the sealed rules that this client signed say 8"):
        game.ask(member, KeysRequest(small, others(mlkem, member)))
    few = Draw(DOMAIN, 1, 8, tuple(roster[:8]), bytes(32))
    with pytest.raises(TermsError, match="8 members; the sealed rules that this client signed ask for 10"):
        game.ask(member, KeysRequest(few, others(mlkem, member)))


def test_of_keys_nothing_is_left_once_edges_are_agreed(game: Epochs) -> None:
    epoch = game.begun(1, 4)
    for member in game.members:
        state = game.state(member)
        assert state.keys is None and state.own is not None and not state.own.kem
        assert state.edges is not None and state.edges.round == 4
    # Whoever is asked again says the same.
    roster, mlkem = game.enrolled(1)
    assert tuple(roster) == epoch.draw.roster
    member = roster[0].member
    file = KeysReply.from_record(game.ask(member, KeysRequest(epoch.draw, others(mlkem, member)))).file
    assert file == game.state(member).own.data  # type: ignore[union-attr]


def test_a_base_is_remembered_in_the_next_epoch(game: Epochs) -> None:
    everybody, fewer = range(COUNT), range(1, COUNT)
    epoch = game.begun(1, 4)
    for member in game.members:
        game.seal(member, epoch, 4)
    for member in game.members:
        game.shares(member, epoch, 4, everybody)
    # The round fails, and the epoch is over. Of the same base without one member the difference would be its update.
    epoch = game.begun(2, 5)
    for member in game.members:
        game.seal(member, epoch, 5)
    last = epoch.draw.seats[-1].member
    for included in (fewer, range(2, COUNT)):
        with pytest.raises(TermsError, match="over the same base was answered for another included set"):
            game.shares(last, epoch, 5, included)
    game.shares(last, epoch, 5, everybody)
    # Over another base it is free again.
    for member in game.members:
        game.seal(member, epoch, 6, bytes(32))
    game.shares(last, epoch, 6, fewer, bytes(32))
    assert [one.round for one in game.state(last).answered] == [4, 5, 6]
    game.begun(3, 7)
    assert [one.round for one in game.state(last).answered] == [6]


def test_an_epoch_that_is_over_does_not_come_again(game: Epochs) -> None:
    game.begun(1, 4)
    game.enrolled(2)
    with pytest.raises(TermsError, match="epoch 1 is over"):
        game.enrolled(1)


def test_a_state_that_cannot_be_read_is_not_replaced(game: Epochs) -> None:
    game.begun(1, 4)
    member = next(iter(game.members))
    path = next(game.members[member].home.path.rglob("epoch.json"))
    path.write_text(path.read_text()[:-9])
    with pytest.raises(TermsError, match="cannot be read"):
        game.enrolled(2)


def test_of_a_process_that_was_killed_while_it_wrote_nothing_stays(game: Epochs) -> None:
    epoch = game.begun(1, 4)
    member = next(iter(game.members))
    game.seal(member, epoch, 4)
    folder = next(game.members[member].home.path.rglob("epoch.json")).parent
    for name in (".epoch.json.k2x9", ".round-4.masked.a_b1", ".round-5.masked.zz00"):
        shutil.copy(folder / "epoch.json", folder / name)
    shutil.copy(folder / "round-4.masked", folder / ".round-5.masked.")
    kept = game.seal(member, epoch, 5)
    of_epoch = {".lock", "epoch.json", "epoch-1.roster", "epoch-1.keys"}
    assert {one.name for one in folder.iterdir()} == of_epoch | {"round-4.masked", "round-5.masked"}
    assert game.state(member).update == kept


def test_an_update_is_written_over_the_one_before_the_last(
    game: Epochs, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = game.begun(1, 4)
    member = next(iter(game.members))
    game.seal(member, epoch, 4)
    game.seal(member, epoch, 5)
    folder = next(game.members[member].home.path.rglob("epoch.json")).parent
    file = (folder / "round-4.masked").stat().st_ino
    last = game.seal(member, epoch, 6)
    assert (folder / "round-6.masked").stat().st_ino == file
    assert {one.name for one in folder.glob("round-*")} == {"round-5.masked", "round-6.masked"}

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fedvm.federation.client.sealed_state.write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            game.seal(member, epoch, 8)
    assert game.state(member).update == last  # what the state names is whole
    kept = game.seal(member, epoch, 8)
    assert game.state(member).update == kept


def test_a_far_round_does_not_keep_a_member_busy(game: Epochs) -> None:
    epoch = game.begun(1, 4)
    member = next(iter(game.members))
    for number in (4 + MOST_TURNS + 1, 2**63):
        with pytest.raises(TermsError, match="no epoch has as many rounds"):
            game.shares(member, epoch, number, [])


def test_of_two_closes_at_once_one_is_answered(game: Epochs) -> None:
    epoch = game.begun(1, 4)
    for member in game.members:
        game.seal(member, epoch, 4)
    member = epoch.draw.seats[-1].member
    closes = [range(COUNT), range(1, COUNT), range(2, COUNT)] * 3

    def asked(included: range) -> bytes | None:
        try:
            return game.shares(member, epoch, 4, included).shares
        except TermsError:
            return None

    with ThreadPoolExecutor(len(closes)) as pool:
        given = list(pool.map(asked, closes))
    assert len({len(one) for one in given if one}) == 1
    assert len(game.state(member).answered) == 1


def test_of_two_updates_at_once_one_leaves(game: Epochs) -> None:
    epoch = game.begun(1, 4)
    member = next(iter(game.members))
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: game.seal(member, epoch, 4).file, range(4)))
    assert len(set(made)) == 1
    assert game.state(member).update == replace(game.seal(member, epoch, 4))


def test_requests_of_a_step_name_their_federation(game: Epochs) -> None:
    member = next(iter(game.members.values()))
    record = RecordDict({SEALED_STEP: ConfigRecord({"step": "enrol", "chain-id": "x", "federation": "0x12"})})
    with pytest.raises(TermsError, match="cannot be read"):
        member.step(Message(record, dst_node_id=1, message_type="train"), Consent.from_node_config({}))


def test_a_member_flushes_what_it_wrote_once_and_a_simulated_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = Epochs(tmp_path)
    epoch = members.begun(1, 1)
    (first, *_) = members.members
    kept = members.seal(first, epoch, 1)
    folder, flushed, flush = members.folder(first), list[int](), os.fsync

    def spy(handle: int) -> None:
        flushed.append(handle)
        flush(handle)

    monkeypatch.setattr(os, "fsync", spy)
    state = members.state(first)
    folder.save(state)
    assert len(flushed) == 2  # the state and the folder; the update is there already
    (file,) = folder._folder.glob("round-*")
    file.write_bytes(b"another")  # of a process that was killed before it wrote its state
    folder.save(state)
    assert file.read_bytes() == kept.file and len(flushed) == 6
    replace(folder, home=SealedHome(folder.home.path, durable=False)).save(state)
    assert len(flushed) == 6
