"""Artefacts over HTTP: a trustless gateway and a Kubo node on the loopback, and how they may misbehave."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ipfs_servers import (
    Ipfs,
    Misdeed,
    announce,
    chunked,
    drip,
    end_early,
    flood,
    flood_a_chunk,
    hang_up,
    serving,
    status,
)

from fedvm.store import (
    ContentStore,
    CorruptBlock,
    InvalidCid,
    MissingBlock,
    ReadOnlyStore,
    StoreError,
    cid_of,
    open_store,
)
from fedvm.store.car import blocks_from_root
from fedvm.store.gateway import TrustlessGateway
from fedvm.store.http import Patience
from fedvm.store.kubo import KuboStore
from fedvm.store.mirrored import MirroredStore

MIB = 1 << 20
LARGE = bytes(MIB) + bytes(range(256)) * 4096 + b"x"
ABC = str(cid_of(b"abc"))
QUICK = Patience(attempts=3, pause=0.01, max_pause=0.05, seconds=0.5, rest=60)
NODE = Path(__file__).parent / "node"


@pytest.fixture
def ipfs() -> Iterator[Ipfs]:
    with serving() as server:
        for data in (b"abc", LARGE, b""):
            server.blocks |= {str(cid): block for cid, block in blocks_from_root(data)}
        yield server


@pytest.fixture
def gateway(ipfs: Ipfs) -> TrustlessGateway:
    return TrustlessGateway(ipfs.url, QUICK)


@pytest.fixture
def kubo(ipfs: Ipfs) -> KuboStore:
    return KuboStore(ipfs.url.replace("http", "kubo"), QUICK)


def test_a_gateway_gives_files_block_by_block(ipfs: Ipfs, gateway: TrustlessGateway) -> None:
    for data in (b"abc", LARGE, b""):
        assert gateway.get(str(cid_of(data))) == gateway.get(cid_of(data).binary) == data
    assert ("GET", f"/ipfs/{ABC}?format=raw") in ipfs.requests
    with pytest.raises(MissingBlock, match="is not at http://127"):
        gateway.get(str(cid_of(b"nowhere")))
    with pytest.raises(InvalidCid):
        gateway.get("../etc/passwd")
    gateway.sync()
    for write in (gateway.put, gateway.stage):
        with pytest.raises(ReadOnlyStore, match="name a store beside it"):
            write(b"abc")


def test_answers_in_chunks_are_read(ipfs: Ipfs, gateway: TrustlessGateway) -> None:
    ipfs.misdeeds.append(chunked(bytes(MIB)))
    assert gateway.get(str(cid_of(bytes(MIB)))) == bytes(MIB)


def test_a_gateway_below_a_path_is_found(ipfs: Ipfs) -> None:
    with pytest.raises(StoreError, match=r"refused block .*: 400, this gateway is trustless"):
        TrustlessGateway(f"{ipfs.url}/below/", QUICK).get(ABC)
    assert ipfs.requests == [("GET", f"/below/ipfs/{ABC}?format=raw")]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_other_bytes_are_refused_wherever_they_stand(ipfs: Ipfs, gateway: TrustlessGateway, at: int) -> None:
    cid = list(blocks_from_root(LARGE))[at][0]
    ipfs.blocks[str(cid)] = ipfs.blocks[str(cid)][:-1] + b"?"
    with pytest.raises(CorruptBlock, match=f"other bytes for block {cid}"):
        gateway.get(str(cid_of(LARGE)))


@pytest.mark.parametrize(
    "misdeed",
    [hang_up, end_early, status(429, Retry_After="0"), status(503), status(504), status(500), drip("body")],
    ids=["hang up", "end early", "429", "503", "504", "500", "drip"],
)
def test_a_passing_fault_is_waited_out(ipfs: Ipfs, gateway: TrustlessGateway, misdeed: Misdeed) -> None:
    ipfs.misdeeds += [misdeed, misdeed]
    assert gateway.get(ABC) == b"abc"
    assert len(ipfs.requests) == 3


@pytest.mark.parametrize(
    ("misdeed", "words", "requests"),
    [
        (hang_up, "did not answer in 3 attempts", 3),
        (end_early, "ended after 3 of 1000 bytes", 3),
        (announce("9" * 5000), "ended after 5 of 9999", 3),
        (drip("body"), "nothing complete came within 0.5 s", 3),
        (drip("headers"), "nothing complete came within 0.5 s", 3),
        (status(503, b"come back\nlater"), "503, come back later", 3),
        (flood, "more than 1048576 bytes", 1),
        (flood_a_chunk, "more than 1048576 bytes", 1),
        (status(200, bytes(MIB + 1)), "more than 1048576 bytes", 1),
        (status(403, b"<html>no"), "403, <html>no", 1),
        (status(302, Location="http://127.0.0.1:1/x"), "sends to http://127.0.0.1:1/x", 1),
    ],
    ids=[
        "hang up",
        "end early",
        "more digits than a number has",
        "drip body",
        "drip headers",
        "503",
        "flood",
        "flood a chunk",
        "too large",
        "403",
        "302",
    ],
)
def test_a_lasting_fault_is_given_up(
    ipfs: Ipfs, gateway: TrustlessGateway, misdeed: Misdeed, words: str, requests: int
) -> None:
    ipfs.misdeeds += [misdeed] * 3
    begun = time.monotonic()
    with pytest.raises(StoreError, match=words) as caught:
        gateway.get(ABC)
    assert not isinstance(caught.value, MissingBlock | CorruptBlock)
    assert len(ipfs.requests) == requests and time.monotonic() - begun < 4


def test_a_server_that_is_not_there_rests() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = TrustlessGateway(f"http://127.0.0.1:{port}", Patience(attempts=3, pause=0.1, rest=60))
    with pytest.raises(StoreError, match="did not answer in 3 attempts"):
        store.get(ABC)
    begun = time.monotonic()
    with pytest.raises(StoreError, match="did not answer in 3 attempts"):
        store.get(ABC)
    assert time.monotonic() - begun < 0.1


def test_a_server_that_does_not_answer_in_time_rests(ipfs: Ipfs, tmp_path: Path) -> None:
    ipfs.misdeeds += [drip("headers")] * 6
    slow, folder = TrustlessGateway(ipfs.url, QUICK), ContentStore(tmp_path)
    both = MirroredStore([("slow", slow), ("folder", folder)])
    cid = folder.put(b"abc")
    assert both.get(cid) == b"abc" and len(ipfs.requests) == 3
    begun = time.monotonic()
    assert both.get(cid) == b"abc" and len(ipfs.requests) == 3
    assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
def test_a_name_that_no_host_has_is_a_store_that_fails(tmp_path: Path, host: str) -> None:
    folder = ContentStore(tmp_path)
    both = MirroredStore([("odd", TrustlessGateway(f"http://{host}", QUICK)), ("folder", folder)])
    assert both.get(folder.put(b"abc")) == b"abc"


def test_a_length_that_is_no_number_takes_no_other_store_down(ipfs: Ipfs, tmp_path: Path) -> None:
    ipfs.misdeeds += [announce("\xb2")] * 3
    folder = ContentStore(tmp_path)
    both = MirroredStore([("odd", TrustlessGateway(ipfs.url, QUICK)), ("folder", folder)])
    assert both.get(folder.put(b"abc")) == b"abc"


def test_what_a_server_says_moves_no_cursor(ipfs: Ipfs, gateway: TrustlessGateway) -> None:
    ipfs.misdeeds += [status(403, b"\x1b]0;title\x07no\x1b[2J")]
    with pytest.raises(StoreError) as caught:
        gateway.get(ABC)
    assert str(caught.value).isprintable() and "no" in str(caught.value)


def test_a_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(certificate_in=tmp_path) as ipfs:
        ipfs.blocks[ABC] = b"abc"
        with pytest.raises(StoreError, match="certificate verify failed"):
            TrustlessGateway(ipfs.url, QUICK).get(ABC)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        gateway = TrustlessGateway(ipfs.url, QUICK)
        assert gateway.get(ABC) == b"abc"
        ipfs.misdeeds += [drip("headers"), drip("body")]
        assert gateway.get(ABC) == b"abc"


def test_a_node_keeps_and_pins_what_it_is_given(ipfs: Ipfs, kubo: KuboStore) -> None:
    ipfs.blocks.clear()
    for data in (b"abc", LARGE, b"", b"--\r\nno boundary\r\n--"):
        cid = kubo.put(data)
        assert cid == str(cid_of(data)) and cid in ipfs.pins and kubo.get(cid) == data
    kubo.stage(b"xyz")
    kubo.sync()
    assert str(cid_of(b"xyz")) in ipfs.pins
    assert len(ipfs.blocks) == 8
    with pytest.raises(MissingBlock, match="is not in the node"):
        kubo.get(str(cid_of(b"nowhere")))
    assert all(method == "POST" for method, _ in ipfs.requests)


def test_a_node_that_answers_something_else_is_refused(ipfs: Ipfs, kubo: KuboStore) -> None:
    wrong = json.dumps({"Key": ABC, "Size": 3}).encode()
    for body, words in (
        (wrong, f"kept block .* as {ABC}"),
        (b'{"Key": 7}', "is it Kubo 0.14 or later"),
        (b"[" * 50_000, "is it Kubo 0.14 or later"),
    ):
        ipfs.misdeeds.append(status(200, body))
        with pytest.raises(StoreError, match=words):
            kubo.put(b"xyz")
    ipfs.misdeeds.append(status(403, b"403 - Forbidden"))
    with pytest.raises(StoreError, match="refused block/put: 403, 403 - Forbidden"):
        kubo.put(b"xyz")
    ipfs.misdeeds.append(status(500, b'{"Message": "no space left on device", "Code": 0, "Type": "error"}'))
    with pytest.raises(StoreError, match="refused block/put: 500, no space left on device"):
        kubo.put(b"xyz")
    ipfs.blocks[ABC] = b"abd"
    with pytest.raises(CorruptBlock, match="verify its repository"):
        kubo.get(ABC)


def test_locations_name_servers(ipfs: Ipfs) -> None:
    assert isinstance(open_store("kubo+https://[::1]:5001/below"), KuboStore)
    assert open_store(ipfs.url).get(ABC) == b"abc"
    assert open_store(ipfs.url.replace("http", "kubo")).get(ABC) == b"abc"
    for wrong, words in (
        ("https://", "names no server"),
        ("https://host/?x=1", "names no server"),
        ("https://host:port", "is no URL"),
        ("https://host/a b", "letters that no URL has"),
        ("https://host/ä", "letters that no URL has"),
        ("https://user:secret@host", "leave the password out"),
        ("kubo://user:secret@host", "leave the password out"),
    ):
        with pytest.raises(StoreError, match=words) as caught:
            open_store(wrong)
        assert "secret" not in str(caught.value)


def test_a_gateway_beside_a_folder_is_read_and_not_written(
    ipfs: Ipfs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = open_store((str(tmp_path / "store"), ipfs.url))
    cid = both.put(b"xyz")
    both.stage(b"staged")
    both.sync()
    assert ContentStore(tmp_path / "store").get(cid) == b"xyz" and not caplog.records
    assert both.get(str(cid_of(LARGE))) == LARGE
    with pytest.raises(StoreError, match="no store took it"):
        open_store((ipfs.url, f"{ipfs.url}/other")).put(b"xyz")


@pytest.mark.slow
def test_the_official_client_takes_the_server_for_kubo(ipfs: Ipfs, kubo: KuboStore) -> None:
    """kubo-rpc-client (npm) against the server of these tests: so it answers as Kubo does."""
    if shutil.which("node") is None or not (NODE / "node_modules" / "kubo-rpc-client").is_dir():
        pytest.skip("needs node and the packages of tests/store/node: npm ci --prefix tests/store/node")
    kubo.put(LARGE)
    done = subprocess.run(
        ["node", "kubo_client.mjs", ipfs.url, str(cid_of(LARGE))],
        cwd=NODE,
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert said["put"] == str(cid_of(b"from the client")) and said["pinned"] == [said["put"]]
    assert said["root"] == ipfs.blocks[str(cid_of(LARGE))].hex()
    assert "could not find" in said["missing"]
    assert kubo.get(said["put"]) == b"from the client"
