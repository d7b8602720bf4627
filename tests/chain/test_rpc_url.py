"""Addresses of endpoints without their keys, and errors that do not quote them."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from web3 import Web3
from web3.exceptions import Web3Exception

from fedvm.chain.errors import NetworkError
from fedvm.chain.networks import NETWORKS, connect
from fedvm.chain.rpc_url import VARIABLE, shown, whole
from fedvm.chain.transport import Patience
from fedvm.cli.failures import message_of

KEYED = [
    "https://eth-mainnet.g.alchemy.com/v2/demoKEY_1234567890abcdefgh",
    "https://sepolia.infura.io/v3/0123456789abcdef0123456789abcdef",
    "https://some-name.chain.quiknode.pro/0a1b2c3d4e5f6071/",
    "https://rpc.ankr.com/filecoin/9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "https://user:hunter2@example.org/rpc/v1",
    "https://example.org/rpc/v1?token=s3cret",
    "http://127.0.0.1:1/v2/SECRETKEY123",
]
SECRETS = ("demoKEY", "0123456789abcdef", "0a1b2c3d", "9f8e7d6c", "hunter2", "s3cret", "SECRETKEY")


@pytest.mark.parametrize("url", KEYED)
def test_keys_are_not_shown(url: str) -> None:
    assert not [secret for secret in SECRETS if secret in shown(url)]
    assert shown(url) != url and shown(shown(url)) == shown(url)


def test_what_holds_no_key_is_shown_whole() -> None:
    urls = [network.rpc_url for network in NETWORKS if network.rpc_url]
    assert [shown(url) for url in urls] == urls
    assert whole(urls[0]) == urls[0]
    assert shown("http://[bad") == "…"


@pytest.mark.parametrize("url", KEYED)
def test_the_key_comes_back_from_the_environment_alone(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(NetworkError, match=f"set {VARIABLE}"):
        whole(shown(url))
    monkeypatch.setenv(VARIABLE, "https://elsewhere.example/rpc")
    with pytest.raises(NetworkError, match=r"elsewhere\.example"):
        whole(shown(url))
    monkeypatch.setenv(VARIABLE, url)
    assert whole(shown(url)) == url
    monkeypatch.delenv(VARIABLE)
    (tmp_path / ".env").write_text(f"{VARIABLE}={url}\n")
    assert whole(shown(url)) == url


def test_errors_keep_the_key_when_the_node_goes_away(anvil_url: str, tmp_path: Path) -> None:
    w3 = connect(anvil_url, patience=Patience(total=0))
    provider = w3.provider
    provider.endpoint_uri = "http://127.0.0.1:1/v2/SECRETKEY123"  # type: ignore[attr-defined]
    with pytest.raises(NetworkError) as raised:
        w3.eth.block_number  # noqa: B018
    told = message_of(raised.value)
    assert "SECRETKEY" not in f"{raised.value!r} {told}"
    assert told is not None and "127.0.0.1:1/v2/…" in told and "another RPC address" in told


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://127.0.0.1:x/", "http://[::1", "http://:80"]
)
def test_a_port_that_is_none(url: str) -> None:
    with pytest.raises(NetworkError, match="RPC address"):
        connect(url)


class Babbler(BaseHTTPRequestHandler):
    """Answers every request with the same bytes, but for the chain's id where `honest` says so."""

    said = b""
    honest = False

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = type(self).said
        if type(self).honest and asked["method"] == "eth_chainId":
            body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "0xaa36a7"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("honest", [False, True])
def test_what_is_no_answer_is_said_in_a_sentence(honest: bool) -> None:
    results = [b"null", b'"0x"', b"[]", b"{}", b'"zz"', b'{"number": "0x1"}']
    said = [b"", b"null", b"[]", b"{}", b"<html>", b"\xff\xfe"]
    said += [b'{"jsonrpc": "2.0", "id": 0, "result": ' + one + b"}" for one in results]
    said += [
        b'{"jsonrpc": "2.0", "id": 0, "error": "x"}',
        b'{"jsonrpc": "2.0", "id": 0, "error": {"code": -1}}',
    ]
    handler = type("Server", (Babbler,), {"honest": honest})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for text in said:
            handler.said = text
            with pytest.raises((NetworkError, Web3Exception)) as raised:
                url = f"http://127.0.0.1:{server.server_address[1]}/v2/SECRETKEY123"
                w3 = connect(url, patience=Patience(total=0))
                w3.eth.get_balance(Web3.to_checksum_address("0x" + "12" * 20))
            told = message_of(raised.value)
            assert told and "SECRETKEY" not in told
        server.shutdown()
