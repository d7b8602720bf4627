import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedvm.store import Cid, ContentStore, CorruptBlock, InvalidCid, MissingBlock, StoreError
from fedvm.store.cid import DAG_PB, RAW
from fedvm.store.dag import leaves
from fedvm.store.unixfs import Link, encode_node

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


@pytest.mark.parametrize("size", [0, 1, 248_024, MIB, MIB + 1, 3 * MIB + 7])
def test_what_was_put_comes_back(store: ContentStore, size: int) -> None:
    data = os.urandom(size)
    cid = store.put(data)
    assert store.has(cid)
    assert store.get(cid) == data
    assert store.get(Cid.parse(cid).binary) == data
    assert ContentStore(store.path).get(cid) == data


def test_blocks_are_files_named_by_cid(store: ContentStore) -> None:
    small, large = store.put(b"hello world"), store.put(bytes(MIB) + b"x")
    assert small == "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    assert (store.path / small).read_bytes() == b"hello world"
    assert len(list(store)) == 4  # and the large one's root and two leaves
    assert {small, large} < set(store)
    assert sorted(p.name for p in store.path.iterdir()) == list(store)


def test_putting_twice_writes_once(store: ContentStore) -> None:
    cid = store.put(b"abc")
    before = store.file_of(cid).stat().st_mtime_ns
    assert store.put(b"abc") == cid
    assert store.file_of(cid).stat().st_mtime_ns == before


def test_putting_again_heals_a_corrupt_block(store: ContentStore) -> None:
    cid = store.put(b"abc")
    store.file_of(cid).write_bytes(b"abd")
    store.put(b"abc")
    assert store.get(cid) == b"abc"


def test_opening_alone_writes_nothing(store: ContentStore) -> None:
    assert not store.has("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
    assert list(store) == []
    assert not store.path.exists()


def test_a_missing_block_is_named(store: ContentStore) -> None:
    cid = store.put(bytes(2 * MIB))
    leaf = next(name for name in store if name != cid)
    store.file_of(leaf).unlink()
    assert not store.has(cid)
    with pytest.raises(MissingBlock, match=leaf):
        store.get(cid)


@pytest.mark.parametrize("size", [100, MIB + 100])
@pytest.mark.parametrize("change", ["flip", "cut", "extend", "huge", "empty"])
def test_every_change_of_any_block_is_found_and_named(store: ContentStore, size: int, change: str) -> None:
    cid = store.put(os.urandom(size))
    for name in list(store):
        file = store.file_of(name)
        good = file.read_bytes()
        middle = len(good) // 2
        file.write_bytes(
            {
                "flip": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
                "cut": good[:-1],
                "extend": good + b"\0",
                "huge": good + bytes(2 * MIB),
                "empty": b"",
            }[change]
        )
        with pytest.raises(CorruptBlock, match=name) as caught:
            store.get(cid)
        assert str(file) in str(caught.value)
        assert [name in str(error) for error in store.corrupt_blocks()] == [True]
        file.write_bytes(good)
    assert store.get(cid)
    assert list(store.corrupt_blocks()) == []


def test_cids_cannot_lead_out_of_the_directory(store: ContentStore) -> None:
    (store.path.parent / "secret").write_text("x")
    for text in ("../secret", "/etc/passwd", ".", ""):
        with pytest.raises(InvalidCid):
            store.get(text)


def test_an_artefact_above_the_limit_is_refused_before_it_is_read(store: ContentStore) -> None:
    for cid in (store.put(bytes(1000)), store.put(bytes(MIB + 1))):
        with pytest.raises(StoreError, match="more than the 999"):
            store.get(cid, max_bytes=999)


def plant(store: ContentStore, codec: int, data: bytes) -> Cid:
    cid = Cid.of_block(codec, data)
    store.path.mkdir(exist_ok=True)
    (store.path / str(cid)).write_bytes(data)
    return cid


def test_trees_of_another_shape_are_refused(store: ContentStore) -> None:
    leaf = plant(store, RAW, b"x")
    one = Link(leaf, 1, 1)
    lying = Link(leaf, MIB, MIB)
    tiny = plant(store, DAG_PB, encode_node([one]))
    small = Link(plant(store, RAW, bytes(7000)), 7000, 7000)
    repeated = plant(store, DAG_PB, encode_node([small] * 174))
    stated = plant(store, DAG_PB, encode_node([lying, one]))
    nested = plant(store, DAG_PB, encode_node([Link(stated, MIB, MIB), one]))
    junk = plant(store, DAG_PB, b"junk")
    with pytest.raises(CorruptBlock, match="one raw block would do"):
        store.get(str(tiny))
    with pytest.raises(CorruptBlock, match="does not divide 1218000 bytes"):
        store.get(str(repeated))
    with pytest.raises(CorruptBlock, match=r"holds 1 bytes, its parent states 1048576"):
        store.get(str(stated))
    with pytest.raises(CorruptBlock, match="wrong kind"):
        store.get(str(nested))
    with pytest.raises(CorruptBlock, match="not a node"):
        store.get(str(junk))


def test_a_bomb_of_repeated_nodes_is_refused_by_its_stated_size(store: ContentStore) -> None:
    leaf = plant(store, RAW, bytes(MIB))
    link = Link(leaf, MIB, MIB)
    for _ in range(4):
        node = plant(store, DAG_PB, encode_node([link] * 174))
        link = Link(node, link.file_bytes * 174, 0)
    with pytest.raises(StoreError, match="raise max_bytes"):
        store.get(str(link.cid))
    with pytest.raises(StoreError, match="raise max_bytes"):
        store.has(str(link.cid))


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("x")
    with pytest.raises(StoreError, match="not a directory"):
        ContentStore(tmp_path / "store")


def test_a_failing_write_leaves_nothing_behind(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(b"first")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.put(b"second")
    assert len(list(store.path.iterdir())) == 1


WRITER = """
import sys
from fedvm.store import ContentStore
store = ContentStore(sys.argv[1])
for i in range(100000):
    store.put(i.to_bytes(4, "big") * 50000)
    print(i, flush=True)
"""


def test_kill_at_any_moment_leaves_only_whole_blocks(store: ContentStore) -> None:
    for wait in (3, 7):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        written = [int(process.stdout.readline()) for _ in range(wait)]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert list(store.corrupt_blocks()) == []
        for i in written:
            assert store.has(str(Cid.of_block(RAW, i.to_bytes(4, "big") * 50000)))


def test_staged_artefacts_are_there_and_synced(store: ContentStore) -> None:
    store.sync()  # nothing yet
    cids = [store.stage(data) for data in (b"abc", bytes(MIB + 1))]
    store.sync()
    assert [store.get(cid) for cid in cids] == [b"abc", bytes(MIB + 1)]
    assert store.put(b"abc") == cids[0]


def test_putting_what_was_staged_syncs_it(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    store.stage(b"abc")
    assert not synced
    store.put(b"abc")
    assert len(synced) == 2  # the file and its directory


def test_a_leaf_of_another_length_is_not_there(store: ContentStore) -> None:
    cid = store.put(bytes(3 * MIB))
    leaf = next(iter(leaves(Cid.parse(cid), store.get_block))).cid
    assert store.has(cid)
    store.file_of(leaf).write_bytes(b"half")
    assert not store.has(cid)
