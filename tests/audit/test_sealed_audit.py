"""The audit of a sealed federation: clean as it is, and every tampering found and named."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from asked import listed_and_asked
from sealed_game import RULES, SEALED, SECURITY, play
from sealed_game import found as begin
from sealed_record import FINAL_LIES, Recorded, audited, final_round, record_lies
from web3 import Web3

from fedvm.audit.findings import CHECKS, SEALED_CHECKS, AuditReport
from fedvm.chain.artifacts import EPOCHS, SEALED_ROUNDS, load_artifact
from fedvm.chain.epoch_types import SignedEnrolment
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.federation import FederationContract
from fedvm.devnet.embedded import open_chain
from fedvm.protocol.sealed.keys import EpochKeys
from fedvm.protocol.sealed.typed_data import Enrol
from fedvm.store import Cid, ContentStore


@pytest.fixture
def recorded(recorded_sealed: Recorded) -> Recorded:
    return recorded_sealed


@pytest.fixture
def copy(recorded: Recorded, tmp_path: Path) -> Path:
    return shutil.copytree(recorded.path, tmp_path / "copy")


def found(path: Path, recorded: Recorded) -> set[tuple[str, int | None]]:
    report = audited(path, recorded.federation)
    assert not report.clean
    return {(finding.check, finding.place.round) for finding in report.findings}


def flip(path: Path, cid: bytes, at: int) -> None:
    file = ContentStore(path / "store").file_of(Cid.from_binary(cid))
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_an_honest_federation_is_clean(recorded: Recorded) -> None:
    report = audited(recorded.path, recorded.federation)
    assert report.findings == ()
    held = report.passed
    assert set(SEALED_CHECKS) <= set(held) and set(SEALED_CHECKS) < set(CHECKS)
    updates = sum(len(play.order) for play in recorded.plays)
    assert held["record"] == held["signature"] == held["submission"] == held["update root"] == updates == 31
    assert held["seed"] == sum(len(play.file.seeds) for play in recorded.plays)
    assert held["enrolment"] == 17 and held["roster"] == 18
    assert held["ready"] == 2 and held["group draw"] == held["epoch"] == 1
    assert held["close"] == held["counting groups"] == held["aggregate"] == held["model"] == 2
    assert held["group norm"] == 4


def test_what_it_reads_can_be_listed_without_it(recorded: Recorded) -> None:
    with open_chain(recorded.path, read_only=True) as chain:
        store = ContentStore(recorded.path / "store")
        listed, asked = listed_and_asked(chain.w3, store, recorded.federation, None)
    assert {one.cid for one in listed} == asked and len(listed) == 3 + 2 + 31


@pytest.mark.parametrize("at", [0, 200, -1])
def test_an_altered_update_is_named(copy: Path, recorded: Recorded, at: int) -> None:
    play = recorded.plays[1]
    one = play.file.parsed[4]
    flip(copy, one.masked.cid, at)
    report = audited(copy, recorded.federation)
    (finding,) = [finding for finding in report.findings if finding.check == "update data"]
    assert (finding.place.round, finding.place.member) == (play.number, one.member)
    assert {finding.check for finding in report.findings} == {"update data", "aggregate"}


def test_an_altered_round_file_is_named(copy: Path, recorded: Recorded) -> None:
    play = recorded.plays[0]
    stored = Cid.parse(ContentStore(copy / "store").put(play.file.to_bytes())).binary
    flip(copy, stored, 60)
    assert found(copy, recorded) == {("round file", 1), ("aggregate", 1)}


def test_a_missing_update_is_named(copy: Path, recorded: Recorded) -> None:
    one = recorded.plays[0].file.parsed[0]
    ContentStore(copy / "store").file_of(Cid.from_binary(one.masked.cid)).unlink()
    assert found(copy, recorded) == {("update data", 1), ("aggregate", 1)}


def test_epochs_that_fail_and_refused_enrolments_are_replayed(copy: Path, recorded: Recorded) -> None:
    with open_chain(copy) as chain:
        epochs = EpochsContract.of(FederationContract(chain.w3, recorded.federation))
        coordinator, member = chain.account("coordinator"), chain.account("member", 0)
        chain.advance_time(SEALED.epoch_rounds * RULES.round_seconds + SECURITY.answer_seconds)
        epochs.open_epoch(coordinator)
        keys = EpochKeys.generate().enrolment(member.address)
        enrol = Enrol(2, RULES.digest(), SEALED.digest(), keys.x25519, keys.mlkem, 2**40)
        for key in (chain.account("user").key, member.key, member.key):  # the last is passed over
            signature = enrol.sign(epochs.domain(), key)
            epochs.enrol(coordinator, 2, [SignedEnrolment(member.address, enrol, signature)])
        chain.advance_time(SEALED.enrol_seconds + 1)
        epochs.close_enrolment(coordinator, 2)
        epochs.open_epoch(coordinator)
    report = audited(copy, recorded.federation)
    assert report.findings == ()
    assert report.passed["epoch"] == 4 and report.passed["enrolment"] == 17 + 2
    forge(copy, EPOCHS, "EnrolmentRefused", 0, 31)
    assert {check for check, _ in found(copy, recorded)} == {"enrolment", "receipts"}


def test_a_round_that_is_given_up_does_not_count_for_its_epoch(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    with open_chain(path, seed=12, create=True) as chain:
        sealed = replace(SEALED, epoch_rounds=1)
        game = begin(chain, 17, sealed=sealed, store=ContentStore(path / "store"))
        given_up = play(game)
        chain.advance_time(RULES.round_seconds * 2)
        game.federation.fail_round(game.coordinator, given_up.number)
        final_round(game, ())
        EpochsContract.of(game.federation).open_epoch(game.coordinator)
    report = audited(path, game.federation.address)
    assert report.findings == ()
    assert report.passed["close"] == report.passed["epoch"] == 2 and report.passed["model"] == 1


@pytest.fixture(scope="module")
def lied(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], AuditReport]:
    """A federation whose rounds became final over one lie each, since nobody challenged them; and its audit."""
    path = tmp_path_factory.mktemp("lied") / "run"
    federation, rounds = record_lies(path, FINAL_LIES)
    return rounds, audited(path, federation)


@pytest.mark.parametrize("name", FINAL_LIES)
def test_what_became_final_over_a_lie_is_named(lied: tuple[dict[str, int], AuditReport], name: str) -> None:
    rounds, report = lied
    checks = {finding.check for finding in report.findings if finding.place.round == rounds[name]}
    assert checks == FINAL_LIES[name][1]


# The event, which of its kind, the byte of its data that is changed, and the checks that must fail.
FORGED = [
    (EPOCHS, "EpochOpened", 0, 31, {"epoch"}),
    (EPOCHS, "Enrolled", 2, 63, {"enrolment", "roster"}),  # a key
    (EPOCHS, "RosterClosed", 0, 31, {"roster"}),  # how many
    (EPOCHS, "RosterClosed", 0, 63, {"roster", "group draw"}),  # the block
    (EPOCHS, "GroupsDrawn", 0, 5, {"group draw"}),  # the seed
    (EPOCHS, "ReadyStated", 0, 63, {"ready"}),  # the first round
    (EPOCHS, "ReadyStated", 0, -32, {"close"}),  # who is ready
    (EPOCHS, "ReadyAdded", 0, 31, {"ready"}),  # the place
    (SEALED_ROUNDS, "RoundClosed", 0, 31, {"close"}),  # the hash
    (SEALED_ROUNDS, "RoundClosed", 0, -32, {"close"}),  # who is included
    (SEALED_ROUNDS, "SealedRollupSubmitted", 1, 31, {"counting groups"}),  # how many
    (SEALED_ROUNDS, "SealedRollupSubmitted", 1, 63, {"round file"}),  # their weight
    (SEALED_ROUNDS, "SealedRollupSubmitted", 1, 224 - 32, {"counting groups"}),  # the groups
    (SEALED_ROUNDS, "SealedRollupSubmitted", 1, 256, {"round file"}),  # a peak
]


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize(("home", "event", "number", "byte", "expected"), FORGED)
def test_forged_events_are_found(
    copy: Path, recorded: Recorded, home: str, event: str, number: int, byte: int, expected: set[str]
) -> None:
    forge(copy, home, event, number, byte)
    assert expected <= {check for check, _ in found(copy, recorded)}


def forge(path: Path, home: str, event: str, number: int, byte: int) -> None:
    """Change a byte of an event's data in what serves the chain."""
    contract = Web3().eth.contract(abi=load_artifact(home).abi)
    topic = bytes.fromhex(contract.events[event]().topic.removeprefix("0x"))
    with sqlite3.connect(path / "chain.sqlite") as connection:
        query = "SELECT block_number, log_index, data FROM logs WHERE topic0 = ? ORDER BY 1, 2"
        block, index, data = connection.execute(query, [topic]).fetchall()[number]
        forged = bytearray(data)
        forged[byte] ^= 1
        change = "UPDATE logs SET data = ? WHERE block_number = ? AND log_index = ?"
        assert connection.execute(change, [bytes(forged), block, index]).rowcount == 1
