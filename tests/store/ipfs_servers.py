"""Servers on the loopback that answer as IPFS servers do, and misbehave when they are told to.

The gateway: raw blocks of the Trustless Gateway Specification of 2026-03-05. The node: `block/put`, `block/get` and
`pin/add` of Kubo's RPC API v0, with its statuses and messages; the official client, kubo-rpc-client of npm, exchanges
blocks with it (`test_ipfs.py`).
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fedvm.store import Cid
from fedvm.store.cid import DAG_PB, RAW
from fedvm.store.unixfs import decode_node

RAW_TYPE = "application/vnd.ipld.raw"
Misdeed = Callable[[BaseHTTPRequestHandler], None]


class Ipfs:
    """Blocks by their text CID, pins, the requests so far as (method, path and query), and misdeeds that are still to
    be done, one a request."""

    def __init__(self) -> None:
        self.blocks: dict[str, bytes] = {}
        self.pins: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.misdeeds: list[Misdeed] = []
        self.url = ""


def _handler(ipfs: Ipfs) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self._is_well_behaved():
                self._block()

        def do_POST(self) -> None:
            if self._is_well_behaved():
                self._command()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def _is_well_behaved(self) -> bool:
            ipfs.requests.append((self.command, self.path))
            if not ipfs.misdeeds:
                return True
            self._body()
            ipfs.misdeeds.pop(0)(self)
            return False

        def _block(self) -> None:
            url = urlsplit(self.path)
            name = url.path.removeprefix("/ipfs/")
            wanted = parse_qs(url.query).get("format", [self.headers.get("Accept", "")])[0]
            if not url.path.startswith("/ipfs/") or wanted not in ("raw", RAW_TYPE):
                answer(self, 400, b"this gateway is trustless: ask for a raw block")
            elif name not in ipfs.blocks:
                answer(self, 404, f"ipld: could not find {name}".encode())
            else:
                more = {
                    "Content-Type": RAW_TYPE,
                    "Etag": f'"{name}.raw"',
                    "Content-Disposition": f'attachment; filename="{name}.bin"',
                    "X-Content-Type-Options": "nosniff",
                }
                answer(self, 200, ipfs.blocks[name], more)

        def _command(self) -> None:
            url, body = urlsplit(self.path), self._body()
            options = {name: values[-1] for name, values in parse_qs(url.query).items()}
            match url.path:
                case "/api/v0/block/put":
                    self._put(options, body)
                case "/api/v0/block/get":
                    name = options["arg"]
                    if name in ipfs.blocks:
                        answer(self, 200, ipfs.blocks[name], {"X-Stream-Output": "1"})
                    else:
                        self._fail(f"block was not found locally (offline): ipld: could not find {name}")
                case "/api/v0/pin/add":
                    self._pin(options["arg"])
                case _:
                    answer(self, 404, b"404 page not found\n")

        def _put(self, options: dict[str, str], body: bytes) -> None:
            kind = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            form = BytesParser(policy=HTTP).parsebytes(kind + body)
            if not form.is_multipart():
                self._fail("expected a file argument")
                return
            (part,) = form.iter_parts()
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            if len(data) > 1 << 20:
                self._fail("produced block is over 1MiB: big blocks can't be exchanged with other peers")
                return
            codec = {"raw": RAW, "dag-pb": DAG_PB}[options.get("cid-codec", "raw")]
            assert options.get("mhtype", "sha2-256") == "sha2-256"
            cid = str(Cid.of_block(codec, data))
            ipfs.blocks[cid] = data
            self._say({"Key": cid, "Size": len(data)})

        def _pin(self, name: str) -> None:
            pending = [name]
            while pending:
                cid = pending.pop()
                if cid not in ipfs.blocks:
                    self._fail(f"pin: block was not found locally (offline): ipld: could not find {cid}")
                    return
                if Cid.parse(cid).codec == DAG_PB:
                    pending += [str(link.cid) for link in decode_node(ipfs.blocks[cid])]
            ipfs.pins.add(name)
            self._say({"Pins": [name]})

        def _say(self, fields: dict[str, object]) -> None:
            answer(self, 200, json.dumps(fields).encode() + b"\n", {"Content-Type": "application/json"})

        def _fail(self, message: str) -> None:
            fields = {"Message": message, "Code": 0, "Type": "error"}
            answer(self, 500, json.dumps(fields).encode() + b"\n", {"Content-Type": "application/json"})

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that refuse a certificate, or end a connection, are what is tested."""


@contextmanager
def serving(certificate_in: Path | None = None) -> Iterator[Ipfs]:
    """A gateway and a node over the same blocks, at `url`. certificate_in: a folder, to serve HTTPS with a certificate
    that is written there."""
    ipfs = Ipfs()
    server = _Server(("127.0.0.1", 0), _handler(ipfs))
    if certificate_in is not None:
        tls = _tls(certificate_in)
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    ipfs.url = f"{'http' if certificate_in is None else 'https'}://127.0.0.1:{server.server_port}"
    try:
        yield ipfs
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _tls(folder: Path) -> ssl.SSLContext:
    """TLS with a key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedvm test")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    kept, private = folder / "certificate.pem", folder / "private.pem"
    kept.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(kept, private)
    return context


def answer(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
) -> None:
    """A whole answer."""
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def status(code: int, body: bytes = b"", **headers: str) -> Misdeed:
    """An answer with this status; headers with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: answer(handler, code, body, named)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """No answer at all."""
    handler.close_connection = True


def end_early(handler: BaseHTTPRequestHandler) -> None:
    """Fewer bytes than were announced."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"abc")
    handler.close_connection = True


def announce(length: str) -> Misdeed:
    """Five bytes, and this as their number."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(b"hello")
        handler.close_connection = True

    return send


def flood(handler: BaseHTTPRequestHandler) -> None:
    """Bytes without end."""
    handler.send_response(200)
    handler.end_headers()
    _pour(handler)


def flood_a_chunk(handler: BaseHTTPRequestHandler) -> None:
    """The same in a chunk whose length is negative."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"-1\r\n")
    _pour(handler)


def _pour(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    try:
        while True:
            handler.wfile.write(bytes(1 << 16))
    except OSError:
        pass


def chunked(body: bytes) -> Misdeed:
    """A good answer, in chunks."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for at in range(0, len(body), 1000):
            part = body[at : at + 1000]
            handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return send


def drip(part: str) -> Misdeed:
    """A byte now and then, in the `headers` or in the `body`."""

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        if part == "body":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        try:
            for _ in range(200):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    return slowly
