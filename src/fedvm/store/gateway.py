"""Reads blocks from a trustless gateway (IPFS, "Trustless Gateway Specification"), and checks each."""

from __future__ import annotations

from typing import Final, NoReturn

from fedvm.store.cid import Cid, as_cid
from fedvm.store.dag import read_file
from fedvm.store.errors import CorruptBlock, MissingBlock, ReadOnlyStore, StoreError
from fedvm.store.http import HttpServer, Patience, printable
from fedvm.store.unixfs import CHUNK_BYTES

_RAW: Final = "application/vnd.ipld.raw"
_MISSING: Final = frozenset({404, 410, 412})
_REPEATED: Final = frozenset({500})


class TrustlessGateway:
    """The gateway at a URL, `https://HOST[/PATH]`. It can only be read, block by block; it need not be trusted."""

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self._server = HttpServer(url, patience)

    def put(self, data: bytes) -> NoReturn:
        """Raises ReadOnlyStore."""
        raise ReadOnlyStore(
            f"{self._server.url} is a gateway, which can only be read: name a store beside it"
        )

    stage = put

    def sync(self) -> None:
        """Nothing was written."""

    def get(self, cid: str | bytes) -> bytes:
        """The file of a CID, of at most 1 GiB.

        Raises:
            InvalidCid: malformed.
            MissingBlock: the gateway does not have a block, or did not find it.
            CorruptBlock: it gave other bytes.
            StoreError: it did not answer in time, gave more than a block, or refused.
        """
        return read_file(as_cid(cid), self._block)

    def _block(self, cid: Cid) -> bytes:
        answer = self._server.exchange(
            "GET",
            f"/ipfs/{cid}?format=raw",
            headers={"Accept": _RAW},
            max_bytes=CHUNK_BYTES,
            repeated=_REPEATED,
        )
        if answer.status in _MISSING:
            raise MissingBlock(f"block {cid} is not at {self._server.url}; name another store that has it")
        if 300 <= answer.status < 400:
            to = printable(answer.headers.get("location", "elsewhere"))
            raise StoreError(
                f"{self._server.url} sends to {to} for block {cid}: name that gateway as the store"
            )
        if answer.status != 200:
            raise StoreError(f"{self._server.url} refused block {cid}: {answer.status}, {answer.message}")
        if Cid.of_block(cid.codec, answer.body) != cid:
            raise CorruptBlock(
                f"{self._server.url} gave other bytes for block {cid}; is it a trustless gateway? Name another"
            )
        return answer.body
