"""A storage provider on the loopback that answers as Curio's PDP service does, with a chain that it sends to.

Statuses, headers and fields are those of filecoin-project/curio (`pdp/`) and of what FilOzone/synapse-sdk parses. It
computes piece CIDs of what it gets, checks the client's signatures against the contract's typed data, takes a nonce
once, and serves the blocks of CARs that it has indexed. It misbehaves when it is told to.
"""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from eth_abi.abi import decode
from eth_account import Account
from eth_account.messages import encode_typed_data

from fedvm.store.car import read_car
from fedvm.store.piece import piece_of
from fedvm.store.warm_storage import cid_bytes

SERVICE, PAYEE, CHAIN = "0x" + "5e" * 20, "0x" + "9a" * 20, 314159
Misdeed = Callable[[BaseHTTPRequestHandler], None]
ENTRY = [{"name": "key", "type": "string"}, {"name": "value", "type": "string"}]
CREATE = {
    "MetadataEntry": ENTRY,
    "CreateDataSet": [
        {"name": "clientDataSetId", "type": "uint256"},
        {"name": "payee", "type": "address"},
        {"name": "metadata", "type": "MetadataEntry[]"},
    ],
}
ADD = {
    "MetadataEntry": ENTRY,
    "Cid": [{"name": "data", "type": "bytes"}],
    "PieceMetadata": [
        {"name": "pieceIndex", "type": "uint256"},
        {"name": "metadata", "type": "MetadataEntry[]"},
    ],
    "AddPieces": [
        {"name": "clientDataSetId", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "pieceData", "type": "Cid[]"},
        {"name": "pieceMetadata", "type": "PieceMetadata[]"},
    ],
}


@dataclass
class Transaction:
    """What the provider sent to the chain. looks: how often it is still pending; rejected: what then becomes of it."""

    data_set: int
    pieces: list[str]
    creates: bool
    looks: int = 1
    rejected: bool = False


@dataclass
class Pdp:
    """The provider. client: the only address whose signatures count. slow: looks for which a piece is worked on.
    misdeeds: by "METHOD /path beginning", one for each matching request."""

    client: str
    url: str = ""
    uploads: dict[str, bytes | None] = field(default_factory=dict)
    parked: dict[str, bytes] = field(default_factory=dict)
    working: dict[str, int] = field(default_factory=dict)
    data_sets: dict[int, list[str]] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    transactions: dict[str, Transaction] = field(default_factory=dict)
    blocks: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    misdeeds: list[tuple[str, Misdeed]] = field(default_factory=list)
    slow: int = 0
    rejects: int = 0

    def count(self, begins: str) -> int:
        """How many requests began like this."""
        return sum(one.startswith(begins) for one in self.requests)

    def signer(self, types: dict[str, Any], message: dict[str, Any], signature: bytes) -> str:
        domain = {
            "name": "FilecoinWarmStorageService",
            "version": "1",
            "chainId": CHAIN,
            "verifyingContract": SERVICE,
        }
        return str(Account.recover_message(encode_typed_data(domain, types, message), signature=signature))

    def takes_addition(self, extra: bytes, number: int, pieces: list[str]) -> bool:
        """Whether the contract takes the client's consent, which then is used up."""
        nonce, keys, values, signature = decode(["uint256", "string[][]", "string[][]", "bytes"], extra)
        metadata = [
            [{"key": key, "value": value} for key, value in zip(*one, strict=True)]
            for one in zip(keys, values, strict=True)
        ]
        message = {
            "clientDataSetId": number,
            "nonce": nonce,
            "pieceData": [{"data": cid_bytes(one)} for one in pieces],
            "pieceMetadata": [{"pieceIndex": index, "metadata": one} for index, one in enumerate(metadata)],
        }
        if nonce in self.used or self.signer(ADD, message, signature) != self.client:
            return False
        self.used.add(nonce)
        return all(one == [{"key": "withIPFSIndexing", "value": ""}] for one in metadata)

    def takes_creation(self, extra: bytes) -> int | None:
        payer, number, keys, values, signature = decode(
            ["address", "uint256", "string[]", "string[]", "bytes"], extra
        )
        entries = [{"key": key, "value": value} for key, value in zip(keys, values, strict=True)]
        message = {"clientDataSetId": number, "payee": PAYEE, "metadata": entries}
        right = self.signer(CREATE, message, signature) == self.client and payer == self.client.lower()
        return int(number) if right and number not in self.numbers else None

    def send(self, data_set: int, pieces: list[str], creates: bool) -> str:
        name = "0x" + uuid.uuid4().hex + uuid.uuid4().hex
        self.rejects, rejected = max(self.rejects - 1, 0), self.rejects > 0
        self.transactions[name] = Transaction(data_set, pieces, creates, rejected=rejected)
        if not rejected:
            self.data_sets.setdefault(data_set, []).extend(pieces)
            for one in pieces:  # indexed
                self.blocks |= {str(cid): data for cid, data in read_car(io.BytesIO(self.parked[one])).blocks}
        return name


def _handler(pdp: Pdp) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._do(self._get)

        def do_POST(self) -> None:
            self._do(self._post)

        def do_PUT(self) -> None:
            self._do(self._put)

        def _do(self, act: Callable[[bytes], None]) -> None:
            said = f"{self.command} {self.path}"
            pdp.requests.append(said)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            for index, (begins, misdeed) in enumerate(pdp.misdeeds):
                if said.startswith(begins):
                    del pdp.misdeeds[index]
                    if getattr(misdeed, "after", False):
                        self.wfile, kept = io.BytesIO(), self.wfile
                        act(body)
                        self.wfile = kept
                    misdeed(self)
                    return
            act(body)

        def _get(self, body: bytes) -> None:
            url = urlsplit(self.path)
            parts = url.path.strip("/").split("/")
            if url.path == "/pdp/piece":
                piece = parse_qs(url.query)["pieceCid"][0]
                if piece not in pdp.parked:
                    answer(self, 404, b"404 page not found")
                elif pdp.working.get(piece, 0):
                    pdp.working[piece] -= 1
                    answer(self, 202, {"status": "processing"})
                else:
                    answer(self, 200, {"pieceCid": piece})
            elif parts[0] == "ipfs":
                found = pdp.blocks.get(parts[1])
                answer(self, 200 if found is not None else 404, found or b"not found")
            elif parts[:3] == ["pdp", "data-sets", "created"]:
                self._created(parts[3])
            elif parts[3:5] == ["pieces", "added"]:
                self._added(int(parts[2]), parts[5])
            elif parts[:2] == ["pdp", "data-sets"] and int(parts[2]) in pdp.data_sets:
                pieces = pdp.data_sets[int(parts[2])]
                rows = [
                    {"pieceCid": one, "pieceId": index, "subPieceCid": one, "subPieceOffset": 0}
                    for index, one in enumerate(pieces)
                ]
                answer(self, 200, {"id": int(parts[2]), "nextChallengeEpoch": 7, "pieces": rows})
            else:
                answer(self, 404, b"Data set not found")

        def _created(self, name: str) -> None:
            sent = pdp.transactions.get(name)
            if sent is None:
                answer(self, 404, b"Data set creation not found")
                return
            said: dict[str, Any] = {"createMessageHash": name, "service": "public"}
            if sent.looks:
                sent.looks -= 1
                said |= {"dataSetCreated": False, "txStatus": "pending", "ok": None}
            elif sent.rejected:
                said |= {"dataSetCreated": False, "txStatus": "rejected", "ok": False}
            else:
                said |= {"dataSetCreated": True, "txStatus": "confirmed", "ok": True}
                said |= {"dataSetId": sent.data_set}
            answer(self, 200, said)

        def _added(self, number: int, name: str) -> None:
            sent = pdp.transactions.get(name)
            if sent is None or sent.data_set != number:
                answer(self, 404, b"not found")
                return
            said: dict[str, Any] = {"txHash": name, "dataSetId": number, "pieceCount": len(sent.pieces)}
            if sent.looks:
                sent.looks -= 1
                answer(self, 202, said | {"txStatus": "pending", "addMessageOk": None, "piecesAdded": False})
            elif sent.rejected:
                answer(self, 200, said | {"txStatus": "rejected", "addMessageOk": None, "piecesAdded": False})
            else:
                ids = list(range(len(sent.pieces)))
                said |= {"txStatus": "confirmed", "addMessageOk": True, "piecesAdded": True}
                answer(self, 200, said | {"confirmedPieceIds": ids})

        def _post(self, body: bytes) -> None:
            parts = urlsplit(self.path).path.strip("/").split("/")
            if parts == ["pdp", "piece", "uploads"]:
                name = str(uuid.uuid4())
                pdp.uploads[name] = None
                answer(self, 201, b"", {"Location": f"/pdp/piece/uploads/{name}"})
            elif parts[:3] == ["pdp", "piece", "uploads"]:
                self._close(parts[3], json.loads(body))
            elif parts == ["pdp", "data-sets", "create-and-add"]:
                self._create(json.loads(body))
            elif parts[:2] == ["pdp", "data-sets"] and parts[3] == "pieces":
                self._add(int(parts[2]), json.loads(body))
            else:
                answer(self, 404, b"404 page not found")

        def _put(self, body: bytes) -> None:
            name = self.path.rsplit("/", 1)[1]
            if name not in pdp.uploads:
                answer(self, 404, b"Upload UUID not found")
            elif pdp.uploads[name] is not None:
                answer(self, 409, b"Data has already been uploaded")
            else:
                pdp.uploads[name] = body
                answer(self, 204, b"")

        def _close(self, name: str, said: dict[str, Any]) -> None:
            data = pdp.uploads.get(name)
            if data is None:
                answer(self, 404, b"Upload UUID not found")
            elif piece_of(io.BytesIO(data)).cid_v2 != said["pieceCid"]:
                answer(self, 400, b"Computed hash does not match expected hash")
            else:
                del pdp.uploads[name]
                pdp.parked[said["pieceCid"]] = data
                pdp.working[said["pieceCid"]] = pdp.slow
                answer(self, 200, b"")

        def _create(self, said: dict[str, Any]) -> None:
            pieces = self._pieces(said)
            first, second = decode(["bytes", "bytes"], bytes.fromhex(said["extraData"][2:]))
            number = pdp.takes_creation(first)
            right = pieces is not None and number is not None and said["recordKeeper"] == SERVICE
            if (
                pieces is None
                or number is None
                or not right
                or not pdp.takes_addition(second, number, pieces)
            ):
                answer(self, 500, b"Failed to send transaction: execution reverted")
                return
            data_set = len(pdp.numbers) + 11
            name = pdp.send(data_set, pieces, creates=True)
            if not pdp.transactions[name].rejected:
                pdp.numbers[number] = data_set
            answer(self, 201, b"", {"Location": f"/pdp/data-sets/created/{name}"})

        def _add(self, data_set: int, said: dict[str, Any]) -> None:
            pieces = self._pieces(said)
            number = next((one for one, known in pdp.numbers.items() if known == data_set), None)
            extra = bytes.fromhex(said["extraData"][2:])
            if pieces is None or number is None or not pdp.takes_addition(extra, number, pieces):
                answer(self, 500, b"Failed to send transaction: execution reverted")
                return
            name = pdp.send(data_set, pieces, creates=False)
            answer(self, 201, b"", {"Location": f"/pdp/data-sets/{data_set}/pieces/added/{name}"})

        def _pieces(self, said: dict[str, Any]) -> list[str] | None:
            pieces = [one["pieceCid"] for one in said["pieces"]]
            whole = all(one["subPieces"] == [{"subPieceCid": one["pieceCid"]}] for one in said["pieces"])
            return pieces if whole and all(one in pdp.parked for one in pieces) else None

    return Handler


def answer(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes | dict[str, Any],
    more: dict[str, str] | None = None,
) -> None:
    """Answer with these bytes, or with these fields as JSON."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    handler.send_response(status)
    for name, value in (more or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """End the connection without a word."""
    handler.close_connection = True


def hang_up_after(handler: BaseHTTPRequestHandler) -> None:
    """The same after doing what was asked for: the answer is lost."""
    handler.close_connection = True


hang_up_after.after = True  # type: ignore[attr-defined]


def says(status: int, body: bytes | dict[str, Any] = b"", more: dict[str, str] | None = None) -> Misdeed:
    """Answer so, whatever is asked."""
    return lambda handler: answer(handler, status, body, more)


@contextmanager
def provider(client: str) -> Iterator[Pdp]:
    """A provider while the context lasts."""
    pdp = Pdp(client)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(pdp))
    pdp.url = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield pdp
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
