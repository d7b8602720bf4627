"""The index follows a chain: what is new is read once, and what the chain no longer says is dropped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedvm.chain.events import Place
from fedvm.chain.federation_types import RoundOpened, UpdateAccepted
from fedvm.devnet.embedded import open_chain
from fedvm.pipeline.results import RunReport
from fedvm.protocol.address import to_address
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS
from fedvm.rundir.run import open_run
from fedvm.rundir.target import Target
from fedvm.web.chronicle import Chronicle
from fedvm.web.database import Index
from fedvm.web.source import open_source
from fedvm.web.sync import Reader

Finished = tuple[Path, RunReport]
TABLES = ("events", "updates", "decisions", "samples", "receipts")


def counts(index: Index) -> dict[str, int]:
    return {table: index.count(f"SELECT COUNT(*) FROM {table}") for table in TABLES}


@pytest.fixture
def copy(tmp_path: Path, finished: Finished) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "run"))


def read(run: Path, index: Index) -> None:
    with open_source(Target(run=run)) as source:
        Reader(index, source).read()


def test_the_index_holds_what_the_run_reported(copy: Path, finished: Finished) -> None:
    _, report = finished
    index = Index()
    read(copy, index)
    rounds = Chronicle(index).rounds
    assert [one.state for one in rounds.values()] == ["final", "final"]
    for told, row in zip(rounds.values(), report.rounds, strict=True):
        assert (told.accepted, told.refused) == (len(row.accepted), len(row.refused))
        assert told.capped == sum(member.capped for member in row.members)
        assert told.gas == sum(row.gas.values())
        assert told.tested == row.test_accuracy
        assert told.roots["new model"] == row.model_root
    assert index.count("SELECT COUNT(*) FROM wanted") == 0
    shares = [one.share for one in Chronicle(index).members]
    assert sum(shares) == pytest.approx(1) and len(shares) == 4
    assert max(one.share for one in Chronicle(index).members) < 0.5


def test_only_what_is_new_is_read_again(copy: Path, tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    read(copy, index)
    before, revision = counts(index), index.revision
    read(copy, index)
    assert counts(index) == before and index.revision == revision
    with open_run(copy, read_only=False) as run:
        assert run.chain is not None
        size = len(run.program.codes) and 256
        run.model_service.decide(run.chain.account("user"), bytes(size))
    read(copy, index)
    assert counts(index)["decisions"] == before["decisions"] + 1
    index.close()
    again = Index(tmp_path / "index.sqlite")
    assert counts(again)["decisions"] == before["decisions"] + 1
    again.close()


def test_two_processes_may_keep_one_index(copy: Path, tmp_path: Path) -> None:
    first, second = Index(tmp_path / "index.sqlite"), Index(tmp_path / "index.sqlite")
    read(copy, first)
    seen = second.revision
    read(copy, second)
    assert counts(first) == counts(second) and counts(first)["updates"] == 8
    with first.changing() as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('x', 'y')")
    assert second.revision != seen
    first.close()
    second.close()


def test_an_index_of_another_chain_is_made_anew(copy: Path, tmp_path: Path) -> None:
    index = Index()
    read(copy, index)
    right = counts(index)
    index.set_meta({"identity": "{}"})
    with index.changing() as db:
        db.execute("UPDATE updates SET member = 'somebody else'")
    read(copy, index)
    assert (
        counts(index) == right
        and index.count("SELECT COUNT(*) FROM updates WHERE member = 'somebody else'") == 0
    )


def test_what_a_reorganised_chain_no_longer_says_is_dropped(copy: Path) -> None:
    """Blocks after the last checkpoint that still holds are read again; those before are kept."""
    index = Index()
    read(copy, index)
    right = counts(index)
    middle = index.count("SELECT MAX(block) FROM events WHERE name = 'RoundFinal' AND round = 1")
    with open_chain(copy / "chain.sqlite", read_only=True) as chain:
        kept = bytes(chain.w3.eth.get_block(middle)["hash"]).hex()
    with index.changing() as db:
        db.execute("UPDATE checkpoints SET hash = 'another'")
        db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (middle, kept))
        db.execute("UPDATE decisions SET class = 'of another fork'")
        db.execute("UPDATE updates SET cid = 'kept' WHERE round = 1")
    read(copy, index)
    assert counts(index) == right
    assert index.count("SELECT COUNT(*) FROM decisions WHERE class = 'of another fork'") == 0
    assert index.count("SELECT COUNT(*) FROM updates WHERE cid = 'kept'") == 4


def test_a_store_without_the_files_is_said_and_not_fatal(copy: Path) -> None:
    shutil.rmtree(copy / "store")
    (copy / "store").mkdir()
    index = Index()
    read(copy, index)
    assert index.one("SELECT class FROM decisions WHERE id = 1")["class"].startswith("class ")
    assert len(Chronicle(index).rounds) == 2


def test_losses_that_are_not_stated_and_such_as_no_network_has(copy: Path) -> None:
    def accepted(number: int, member: int, loss: int) -> UpdateAccepted:
        address, place = to_address(f"0x{member:040x}"), Place(number, f"0x{number:064x}", member)
        return UpdateAccepted(number, address, bytes(32), 10, 10, 500_000, loss, 0, 0, 4, 9, b"", b"", place)

    index = Index()
    with open_source(Target(run=copy)) as source, index.changing() as db:
        reader = Reader(index, source)
        for number in (1, 2, 3):
            at = Place(number, f"0x{number:064x}", 0)
            reader.add(db, "federation", RoundOpened(number, bytes(32), bytes(32), bytes(32), 9, at))
        for event in (
            *(accepted(1, member, NOT_ATTESTED_LOSS) for member in (1, 2)),
            *(accepted(2, member, loss) for member, loss in ((1, NOT_ATTESTED_LOSS), (2, 3_000_000))),
            accepted(3, 1, NOT_ATTESTED_LOSS - 1),
        ):
            reader.add(db, "federation", event)
    assert [(one.accuracy, one.loss) for one in Chronicle(index).rounds.values()] == [
        (0.5, None), (0.5, 3.0), (0.5, pytest.approx(2**64 / 1e6)),
    ]  # fmt: skip
