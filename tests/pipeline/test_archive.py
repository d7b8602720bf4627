"""CARs that are whole as files and lack something as archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedvm.audit.artefacts import Artefact
from fedvm.pipeline.archive import MissingArtefacts, fetch_car, of_rounds, publish_car
from fedvm.pipeline.errors import UsageError
from fedvm.store import ContentStore, CorruptBlock, StoreError, cid_of
from fedvm.store.car import blocks_from_root, write_car
from fedvm.store.cid import DAG_PB, RAW, Cid
from fedvm.store.unixfs import Link, encode_node

MIB = 1 << 20
LARGE = bytes(MIB) + b"x"


def artefact(data: bytes, round_: int | None = 0, *, model: bool = False) -> Artefact:
    return Artefact(cid_of(data).binary, repr(data[:9]), round_, model)


def write(file: Path, roots: list[Cid], blocks: list[tuple[Cid, bytes]]) -> Path:
    with file.open("wb") as out:
        write_car(out, roots, blocks)
    return file


def test_a_file_that_lacks_leaves_is_refused_and_another_completes_it(tmp_path: Path) -> None:
    root, *leaves = blocks_from_root(LARGE)
    cut = write(tmp_path / "cut.car", [root[0]], [root, leaves[0]])
    rest = write(tmp_path / "rest.car", [root[0]], [root, leaves[1]])
    with pytest.raises(MissingArtefacts, match=f"lacks blocks of 1 of its 1 artefacts, {root[0]} first"):
        fetch_car(cut, tmp_path / "blocks")
    assert fetch_car(rest, tmp_path / "blocks").blocks == 2
    assert ContentStore(tmp_path / "blocks").get(str(root[0])) == LARGE


def test_a_tree_of_another_shape_or_without_end_is_refused(tmp_path: Path) -> None:
    leaf = bytes(MIB)
    link = Link(Cid.of_block(RAW, leaf), MIB, MIB)
    blocks = [(link.cid, leaf)]
    for _ in range(4):  # terabytes, in five blocks
        node = encode_node([link] * 174)
        link = Link(Cid.of_block(DAG_PB, node), link.file_bytes * 174, 0)
        blocks.append((link.cid, node))
    with pytest.raises(StoreError, match="more than the 1073741824 allowed"):
        fetch_car(write(tmp_path / "bomb.car", [link.cid], blocks), tmp_path / "blocks")
    odd = encode_node([Link(blocks[0][0], 5, 5)])
    named = Cid.of_block(DAG_PB, odd)
    with pytest.raises(CorruptBlock, match="one raw block would do"):
        fetch_car(write(tmp_path / "odd.car", [named], [(named, odd)]), tmp_path / "blocks")


def test_artefacts_are_published_once_each_in_order(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "store")
    for data in (b"a", b"b", LARGE):
        store.put(data)
    listed = [artefact(b"b"), artefact(LARGE), artefact(b"a"), artefact(b"b")]
    seen: list[tuple[int, int]] = []
    done = publish_car(listed, store, tmp_path / "x.car", progress=lambda *at: seen.append(at))
    assert (done.artefacts, done.blocks, done.bytes) == (3, 5, (tmp_path / "x.car").stat().st_size)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    fetched = fetch_car(tmp_path / "x.car", tmp_path / "blocks")
    assert (fetched.artefacts, fetched.blocks, fetched.bytes) == (
        3,
        5,
        2 + sum(len(one) for _, one in blocks_from_root(LARGE)),
    )


def test_what_is_missing_or_has_no_name_is_told(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "store")
    store.put(b"a")
    nameless = Artefact(b"\x01\x02", "the update of 0x12", 1)
    for listed, words in (
        ([artefact(b"a"), nameless], "lacks 1 artefacts .*the update of 0x12: a binary CID"),
        ([artefact(b"a"), artefact(b"x")], "lacks 1 artefacts .*b'x': block"),
        ([], "there is nothing to publish"),
    ):
        with pytest.raises(MissingArtefacts, match=words):
            publish_car(listed, store, tmp_path / "x.car")
    with pytest.raises(MissingArtefacts, match="nothing to publish: b'x'"):
        publish_car([artefact(b"x")], store, tmp_path / "x.car", allow_missing=True)
    assert {file.name for file in tmp_path.iterdir()} == {"store", ".x.car.part"}
    done = publish_car(
        [artefact(b"a"), nameless, artefact(b"x")], store, tmp_path / "x.car", allow_missing=True
    )
    assert done.artefacts == 1 and [one.split(":")[0] for one in done.missing] == [
        "the update of 0x12",
        "b'x'",
    ]


def test_rounds_come_with_the_model_they_train_from() -> None:
    first, failed = artefact(b"model 0", 0, model=True), artefact(b"update 2", 2)
    of_1 = [artefact(b"update 1", 1), artefact(b"model 1", 1, model=True)]
    of_3 = [artefact(b"update 3", 3), artefact(b"model 3", 3, model=True)]
    listed = [first, *of_1, failed, *of_3, artefact(b"onnx", None)]
    assert list(of_rounds(listed, [1])) == [first, *of_1]
    assert list(of_rounds(listed, [3])) == [of_1[1], *of_3]  # round 2 made no model
    assert list(of_rounds(listed, [1, 2])) == [first, *of_1, of_1[1], failed]
    with pytest.raises(UsageError, match="nothing of round 4"):
        list(of_rounds(listed, [3, 4]))
