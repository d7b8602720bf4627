"""Keeps artefacts in an IPFS node over Kubo's RPC API v0: blocks are put, then the file is pinned."""

from __future__ import annotations

import secrets
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from fedvm.jsontext import parse_json
from fedvm.store.cid import RAW, Cid, as_cid
from fedvm.store.dag import read_file
from fedvm.store.errors import CorruptBlock, InvalidCid, MissingBlock, StoreError
from fedvm.store.http import Answer, HttpServer, Patience
from fedvm.store.unixfs import CHUNK_BYTES, blocks_of

_Kind = TypeVar("_Kind", str, list[Any])
_ANSWER_BYTES: Final = 1 << 16
_ABSENT: Final = ("could not find", "not found")


class KuboStore:
    """The blocks of the node at `kubo://HOST[:PORT]`, port 5001 unless it is named, or `kubo+https://…`.

    It reads what the node has, and does not make it search the network: a search has no end. The node's gateway, named
    as another store, does search.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        scheme, _, rest = url.partition("://")
        secure = scheme.endswith("+https")
        self._server = HttpServer(f"{'https' if secure else 'http'}://{_with_port(rest, secure)}", patience)

    def put(self, data: bytes) -> str:
        """Keep `data` in the node, pinned, and return its CID.

        Raises:
            StoreError: the node cannot be reached, or refuses.
        """
        root = None
        for block in blocks_of(bytes(data)):
            root = block.link.cid
            self._put_block(root, block.data)
        assert root is not None
        pinned = self._call("pin/add", {"arg": str(root), "recursive": "true", "offline": "true"})
        if str(root) not in _field(pinned, "Pins", list):
            raise StoreError(f"{self._server.url} did not say that it pinned {root}: {pinned.message}")
        return str(root)

    stage = put

    def sync(self) -> None:
        """A node keeps what it was given before it answers."""

    def get(self, cid: str | bytes) -> bytes:
        """The file of a CID, of at most 1 GiB.

        Raises:
            InvalidCid: malformed.
            MissingBlock: the node does not have a block.
            CorruptBlock: it gave other bytes.
            StoreError: it cannot be reached, or refuses.
        """
        return read_file(as_cid(cid), self._block)

    def _put_block(self, cid: Cid, data: bytes) -> None:
        codec = "raw" if cid.codec == RAW else "dag-pb"
        options = {"cid-codec": codec, "mhtype": "sha2-256", "mhlen": "32", "pin": "false"}
        key = _field(self._call("block/put", options, data), "Key", str)
        try:
            same = Cid.parse(key) == cid
        except InvalidCid:
            same = False
        if not same:
            raise StoreError(f"{self._server.url} kept block {cid} as {key}; is it Kubo 0.14 or later?")

    def _block(self, cid: Cid) -> bytes:
        data = self._call("block/get", {"arg": str(cid), "offline": "true"}, max_bytes=CHUNK_BYTES).body
        if Cid.of_block(cid.codec, data) != cid:
            raise CorruptBlock(f"{self._server.url} gave other bytes for block {cid}; verify its repository")
        return data

    def _call(
        self,
        command: str,
        options: dict[str, str],
        data: bytes | None = None,
        *,
        max_bytes: int = _ANSWER_BYTES,
    ) -> Answer:
        """A command of the RPC; all are sent with POST. Repeating one changes nothing."""
        headers, body = ({}, b"") if data is None else _one_file(data)
        answer = self._server.exchange(
            "POST", f"/api/v0/{command}?{urlencode(options)}", max_bytes=max_bytes, headers=headers, body=body
        )
        if answer.status == 200:
            return answer
        reason = _reason(answer)
        if command == "block/get" and any(words in reason for words in _ABSENT):
            raise MissingBlock(f"block {options['arg']} is not in the node at {self._server.url}")
        raise StoreError(f"{self._server.url} refused {command}: {answer.status}, {reason}")


def _with_port(rest: str, secure: bool) -> str:
    host, slash, path = rest.partition("/")
    has_port = ":" in host.rpartition("]")[2]
    return (host if has_port or secure else f"{host}:5001") + slash + path


def _one_file(data: bytes) -> tuple[dict[str, str], bytes]:
    """A form (multipart/form-data, RFC 7578) with one file: its headers and its body."""
    boundary = secrets.token_hex(32)
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="data"; filename="block"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body


def _fields(answer: Answer) -> dict[str, Any]:
    try:
        fields = parse_json(answer.body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _field(answer: Answer, name: str, kind: type[_Kind]) -> _Kind:
    value = _fields(answer).get(name)
    return value if isinstance(value, kind) else kind()


def _reason(answer: Answer) -> str:
    """Kubo's own words, {"Message": …, "Code": 0, "Type": "error"}."""
    return _field(answer, "Message", str) or answer.message
