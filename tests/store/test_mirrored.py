"""Several stores as one, of which some fail."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fedvm.store import ContentStore, CorruptBlock, InvalidCid, MissingBlock, StoreError, cid_of, open_store
from fedvm.store.mirrored import MirroredStore

MIB = 1 << 20
LARGE = bytes(MIB) + b"x"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[MirroredStore, ContentStore, ContentStore]:
    a, b = ContentStore(tmp_path / "a"), ContentStore(tmp_path / "b")
    return MirroredStore([("a", a), ("b", b)]), a, b


def test_all_are_written_and_the_first_that_verifies_is_read(
    pair: tuple[MirroredStore, ContentStore, ContentStore], caplog: pytest.LogCaptureFixture
) -> None:
    both, a, b = pair
    cids = [both.put(b"abc"), both.stage(LARGE), both.put(b"xyz")]
    both.sync()
    assert [a.get(cid) for cid in cids] == [b.get(cid) for cid in cids] == [b"abc", LARGE, b"xyz"]
    assert not caplog.records
    a.file_of(cids[0]).write_bytes(b"abd")  # corrupt in one
    a.file_of(cid_of(b"xyz")).unlink()  # missing in it
    for _ in range(2):
        assert [both.get(cid) for cid in cids] == [b"abc", LARGE, b"xyz"]
    (said,) = caplog.messages  # once
    assert said.startswith("reading the store a failed: block bafkrei") and "b has it" in said


def test_what_no_store_has_is_refused_by_kind(
    pair: tuple[MirroredStore, ContentStore, ContentStore],
) -> None:
    both, a, b = pair
    with pytest.raises(MissingBlock, match=r"a: block .*; b: block"):
        both.get(str(cid_of(b"abc")))
    cid = both.put(b"abc")
    a.file_of(cid).unlink()
    b.file_of(cid).write_bytes(b"abd")
    with pytest.raises(CorruptBlock, match="in none of the stores"):
        both.get(cid)
    with pytest.raises(InvalidCid):
        both.get("bafy")


class _Wrong(ContentStore):
    """A backend that does not check what it reads."""

    def get(self, cid: str | bytes, *, max_bytes: int = 0) -> bytes:
        return b"other bytes"


def test_a_store_that_gives_other_bytes_is_passed_over(tmp_path: Path) -> None:
    good = ContentStore(tmp_path / "b")
    both = MirroredStore([("wrong", _Wrong(tmp_path / "a")), ("b", good)])
    assert both.get(good.put(b"abc")) == b"abc"


class _Full(ContentStore):
    """A store whose disk is full while `full`."""

    full = True

    def put(self, data: bytes) -> str:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().put(data)

    stage = put


def test_a_store_that_takes_nothing_is_named_once_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full, good = _Full(tmp_path / "a"), ContentStore(tmp_path / "b")
    both = MirroredStore([("a", full), ("b", good)])
    cids = [both.put(b"1"), both.stage(b"2"), both.put(b"3")]
    both.sync()
    assert [good.get(cid) for cid in cids] == [b"1", b"2", b"3"]
    (said,) = caplog.messages
    assert "writing the store a failed: [Errno 28] No space left on device" in said
    assert caplog.records[0].levelno == logging.WARNING


def test_a_sync_that_leaves_something_nowhere_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, good = _Full(tmp_path / "a"), ContentStore(tmp_path / "b")
    both = MirroredStore([("a", full), ("b", good)])
    both.stage(b"1")

    def broken() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(good, "sync", broken)
    with pytest.raises(StoreError, match=r"no store took it: a: .*No space.*; b: .*Input/output"):
        both.sync()
    both.sync()  # a has nothing to miss any more


def test_what_is_staged_again_is_no_longer_missing(tmp_path: Path) -> None:
    stores = [_Full(tmp_path / name) for name in ("a", "b")]
    both = MirroredStore([("a", stores[0]), ("b", stores[1])])
    with pytest.raises(StoreError, match="No space"):
        both.stage(b"1")
    for store in stores:
        store.full = False
    cid = both.stage(b"1")
    both.sync()
    assert [store.get(cid) for store in stores] == [b"1", b"1"]


def test_no_store_that_takes_it_is_an_error(tmp_path: Path) -> None:
    both = MirroredStore([("a", _Full(tmp_path / "a")), ("b", _Full(tmp_path / "b"))])
    with pytest.raises(StoreError, match="make one of them writable"):
        both.put(b"1")


def test_locations_are_opened_together(tmp_path: Path) -> None:
    both = open_store(("store", str(tmp_path / "mirror")), tmp_path / "run")
    cid = both.put(b"abc")
    assert ContentStore(tmp_path / "run" / "store").get(cid) == b"abc"
    assert ContentStore(tmp_path / "mirror").get(cid) == b"abc"
    for wrong in ((), ("a", "a")):
        with pytest.raises(StoreError, match="at least one, and each once"):
            open_store(wrong, tmp_path)
