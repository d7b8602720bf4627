"""CAR files: what is written, what libipld and @ipld/car read of it, and hostile files."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import libipld
import pytest

from fedvm.store import Cid, CorruptBlock, StoreError, cid_of, unixfs
from fedvm.store.car import MAX_HEADER_BYTES, MAX_SECTION_BYTES, blocks_from_root, read_car, write_car
from fedvm.store.cid import DAG_PB, RAW
from fedvm.store.errors import InvalidCar
from fedvm.store.protobuf import encode_varint

MIB = 1 << 20
FILES = (b"abc", bytes(range(256)) * 8192 + b"x", b"", b"abc" + bytes(MIB))
NODE = Path(__file__).parent / "node"


def car_of(*files: bytes) -> bytes:
    out = io.BytesIO()
    write_car(
        out, [cid_of(data) for data in files], (one for data in files for one in blocks_from_root(data))
    )
    return out.getvalue()


def read(data: bytes) -> list[tuple[Cid, bytes]]:
    return list(read_car(io.BytesIO(data)).blocks)


def test_what_is_written_is_read_back_in_order() -> None:
    car = read_car(io.BytesIO(car_of(*FILES)))
    assert list(car.roots) == [cid_of(data) for data in FILES]
    blocks = list(car.blocks)
    assert blocks == list(dict(one for data in FILES for one in blocks_from_root(data)).items())
    assert (
        len(blocks) == 8
    )  # of the two large files 4 and 3, of the others 1: the zeros are the leaf of none else


def test_blocks_come_depth_first_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unixfs, "MAX_LINKS", 2)  # so that five leaves make a tree of height three
    large = b"".join(bytes([leaf]) * MIB for leaf in range(4)) + b"x"
    blocks = list(blocks_from_root(large))
    assert blocks[0][0] == cid_of(large)
    kinds = "".join("n" if cid.codec == DAG_PB else "." for cid, _ in blocks)
    assert kinds == "nnn..n..nn."
    assert b"".join(data for cid, data in blocks if cid.codec == RAW) == large


@pytest.mark.slow
def test_ipld_car_reads_and_writes_the_same_bytes(tmp_path: Path) -> None:
    """@ipld/car 5 (npm), with `multiformats` to hash: an implementation of other people."""
    if shutil.which("node") is None or not (NODE / "node_modules").is_dir():
        pytest.skip("needs node and the packages of tests/store/node: npm ci --prefix tests/store/node")
    ours, theirs = tmp_path / "ours.car", tmp_path / "theirs.car"
    ours.write_bytes(car_of(*FILES))
    done = subprocess.run(
        ["node", "exchange.mjs", str(ours), str(theirs)], cwd=NODE, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert said["roots"] == [str(cid_of(data)) for data in FILES]
    assert said["blocks"] == [[str(cid), len(data)] for cid, data in read(ours.read_bytes())]
    assert theirs.read_bytes() == ours.read_bytes()


def section(cid: bytes, data: bytes) -> bytes:
    return encode_varint(len(cid) + len(data)) + cid + data


def headed(fields: object, body: bytes = b"") -> bytes:
    header = libipld.encode_dag_cbor(fields)
    return encode_varint(len(header)) + header + body


ABC = cid_of(b"abc").binary
OF_ABC = {"version": 1, "roots": [ABC]}
GOOD = section(ABC, b"abc")
IDENTITY = b"\x01\x55\x00\x03abc"
SHA1 = b"\x01\x55\x11\x14" + bytes(20)
CBOR = b"\x01\x71" + ABC[2:]
VERSION_0 = ABC[2:]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\x00", "a header of 0 bytes"),
        (b"\xff" * 8 + b"\x7f", "a header of 9223372036854775807 bytes"),
        (b"\xff" * 10, "no varint"),
        (b"\x80\x00", "no varint"),
        (b"\x80", "ends at byte 1"),
        (encode_varint(MAX_HEADER_BYTES + 1) + b"x", "none of a CAR"),
        (b"\x05abc", "ends at byte 4, in the middle of the header"),
        (b"PK\x03\x04" + bytes(100), "is it such a CAR"),
        (bytes.fromhex("0aa16776657273696f6e02") + bytes(40), "a CAR of version 2"),
        (b"\xc0\x84\x3d" + b"\x81" * 1_000_000, "is it such a CAR"),
        (headed({"version": 2, "roots": [ABC]}, GOOD), "is it such a CAR"),
        (headed([1], GOOD), "is it such a CAR"),
        (headed({**OF_ABC, "more": 1}, GOOD), "is it such a CAR"),
        (headed({"version": 1, "roots": []}, GOOD), "names no root"),
        (headed({"version": 1, "roots": [ABC, ABC]}, GOOD), "or one twice"),
        (headed({"version": 1, "roots": ["abc"]}, GOOD), "is it such a CAR"),
        (headed({"version": 1, "roots": ["a" * 39]}, GOOD), "is no CID"),
        (headed({"version": 1, "roots": [CBOR]}, GOOD), "codec 0x71"),
        (headed({"version": 1, "roots": [IDENTITY]}, GOOD), "with sha2-256"),
        (headed(OF_ABC), "lacks the block of 1 of its roots"),
        (headed({"version": 1, "roots": [ABC, cid_of(b"x").binary]}, GOOD), f"{cid_of(b'x')} first"),
        (headed(OF_ABC, GOOD + b"\x00"), "at byte 99 is empty"),
        (headed(OF_ABC, GOOD[:-1]), "in the middle of the section at byte 59"),
        (headed(OF_ABC, GOOD + b"\xa7"), "in the middle of a section's length"),
        (headed(OF_ABC, GOOD + encode_varint(MAX_SECTION_BYTES + 1)), "more than a block of 1048576 bytes"),
        (headed(OF_ABC, GOOD + b"\xff" * 8 + b"\x01"), "more than a block"),
        (headed(OF_ABC, GOOD + section(IDENTITY, b"")), "is an identity"),
        (headed(OF_ABC, GOOD + section(SHA1, b"abc" * 9)), "cannot be stored here"),
        (headed(OF_ABC, GOOD + section(CBOR, b"abc")), "codec 0x71"),
        (headed(OF_ABC, GOOD + section(VERSION_0, b"abc")), "cannot be stored here"),
        (headed(OF_ABC, GOOD + section(ABC[:20], b"")), "cannot be stored here"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_hostile_files_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidCar, match=words):
        read(data)


def test_a_header_with_keys_in_another_order_is_refused() -> None:
    header = libipld.encode_dag_cbor(OF_ABC)
    roots, version = header[1:-9], header[-9:]
    swapped = header[:1] + version + roots
    with pytest.raises(InvalidCar, match="is it such a CAR"):
        read(encode_varint(len(swapped)) + swapped + GOOD)


@pytest.mark.parametrize("count", [1, 23, 24, 255, 256, 65_536])
def test_headers_of_any_number_of_roots_are_dag_cbor(count: int) -> None:
    roots = [Cid(RAW, number.to_bytes(32)) for number in range(count)]
    out = io.BytesIO()
    with pytest.raises(ValueError, match="not among the blocks"):
        write_car(out, roots, [])
    expected = libipld.encode_dag_cbor({"version": 1, "roots": [root.binary for root in roots]})
    assert out.getvalue() == encode_varint(len(expected)) + expected
    assert read_car(io.BytesIO(out.getvalue())).roots == tuple(roots)


def test_every_flipped_byte_and_every_cut_is_found() -> None:
    good = car_of(b"abc", b"defg")
    assert len(read(good)) == 2
    for at in range(len(good)):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            with pytest.raises(StoreError):
                read(bad)


def test_other_bytes_under_a_cid_are_refused() -> None:
    with pytest.raises(CorruptBlock, match=r"at byte 59 .* has other bytes"):
        read(headed(OF_ABC, section(ABC, b"abd")))


def test_blocks_that_come_twice_are_no_harm_and_no_root_needs_to_come_first() -> None:
    x = cid_of(b"x").binary
    assert len(read(headed(OF_ABC, section(x, b"x") + GOOD + GOOD))) == 3


def nothing() -> list[tuple[Cid, bytes]]:
    return []


@pytest.mark.parametrize(
    ("roots", "blocks", "words"),
    [
        ([], nothing, "at least one root"),
        ([cid_of(b"x")] * 2, nothing, "each once"),
        ([cid_of(b"x")], nothing, "is not among the blocks"),
    ],
)
def test_a_car_without_its_roots_is_not_written(
    roots: list[Cid], blocks: Callable[[], list[tuple[Cid, bytes]]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        write_car(io.BytesIO(), roots, blocks())
