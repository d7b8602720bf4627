"""A storage provider of Filecoin Onchain Cloud, by the HTTP API that Curio serves (filecoin-project/curio, `pdp/`).

Pieces are uploaded under a UUID, closed with their piece CID, and parked; then they are added to a data set, which the
provider proves to hold from then on. Paths and answers are also those of FilOzone/synapse-sdk (`packages/synapse-core/
src/sp`). Nothing that a provider says is taken for more than its word.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fedvm.jsontext import parse_json
from fedvm.store.errors import StoreError
from fedvm.store.http import Answer, HttpServer, Patience

MIN_PIECE_BYTES: Final = 127
MAX_PIECE_BYTES: Final = 1_065_353_216
"""What one upload holds: 1 GiB, less what widening to field elements takes (fr32)."""
_ANSWER_BYTES: Final = 1 << 20
_LISTING_BYTES: Final = 1 << 26
"""Of an answer that lists the pieces of a data set, some 250 bytes each."""
_SLOWEST: Final = 250_000
"""Bytes a second that an upload reaches at least."""
_UUID: Final = re.compile(r"/pdp/piece/uploads/([0-9a-fA-F-]{36})/?$")
_TX: Final = re.compile(r"/(0x[0-9a-fA-F]{64})/?$")
_UPLOADS: Final = 3


class UploadRefused(StoreError):
    """A provider does not take a piece; another attempt would end as this one."""


@dataclass(frozen=True)
class Waiting:
    """How long something that a provider does in its own time is waited for, in seconds, and the pause between two
    looks."""

    seconds: float = 900
    pause: float = 4


class Provider:
    """A provider at a URL of `http` or `https`. Raises as `HttpServer`."""

    def __init__(self, url: str, patience: Patience | None = None, waiting: Waiting | None = None) -> None:
        self.url, self._patience, self._waiting = url, patience or Patience(), waiting or Waiting()
        self._server = HttpServer(url, self._patience)

    def has(self, piece: str) -> bool | None:
        """Whether a piece (its CID, version 2) is parked; None while the provider works on it.

        Raises:
            StoreError: it cannot be asked, or answers with another piece.
        """
        answer = self._ask("GET", f"/pdp/piece?pieceCid={piece}")
        if answer.status == 200:
            if (found := _fields(answer).get("pieceCid")) != piece:
                raise StoreError(f"{self.url} was asked for piece {piece} and has {str(found)[:80]!r}")
            return True
        if answer.status in (202, 404):
            return None if answer.status == 202 else False
        raise self._refusal("to look for a piece", answer)

    def upload(self, piece: str, data: bytes) -> None:
        """Have a piece parked: nothing is sent if it is. An upload that is cut off is begun anew.

        Raises:
            UploadRefused: the provider computes another piece CID, or wants no piece of this size.
            StoreError: it does not answer, or does not park the piece in time.
        """
        if not MIN_PIECE_BYTES <= len(data) <= MAX_PIECE_BYTES:
            raise UploadRefused(
                f"a piece has {MIN_PIECE_BYTES:,} to {MAX_PIECE_BYTES:,} bytes, not {len(data):,}"
            )
        if self.has(piece) is not False:
            self._wait_for(piece)
            return
        failed: StoreError | None = None
        for _ in range(_UPLOADS):
            try:
                self._send(piece, data)
                self._wait_for(piece)
            except UploadRefused:
                raise
            except StoreError as error:
                failed = error
                if self.has(piece):
                    return
            else:
                return
        assert failed is not None
        raise failed

    def add(self, data_set: int, pieces: Sequence[str], extra: bytes) -> str:
        """Ask that pieces are added to a data set; the hash of the provider's transaction. extra: the client's signed
        consent. Raises StoreError if it is refused."""
        answer = self._post(f"/pdp/data-sets/{data_set}/pieces", {**_added(pieces), "extraData": _hex(extra)})
        return self._transaction("to add pieces", answer)

    def create_and_add(self, service: str, pieces: Sequence[str], extra: bytes) -> str:
        """The same with a new data set. service: address of the contract that keeps its records."""
        body = {"recordKeeper": service, **_added(pieces), "extraData": _hex(extra)}
        return self._transaction("to create a data set", self._post("/pdp/data-sets/create-and-add", body))

    def created(self, transaction: str) -> int | None:
        """The number of the data set that a transaction created; None if the chain refused it. Waits until that is
        known."""
        said = self._status(f"/pdp/data-sets/created/{transaction}", "dataSetCreated")
        if said is None:
            return None
        number = said.get("dataSetId")
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise StoreError(f"{self.url} created a data set and does not say which: {str(number)[:80]!r}")
        return number

    def added(self, data_set: int, transaction: str) -> bool:
        """Whether a transaction has added its pieces; False if the chain refused it. Waits until that is known."""
        return (
            self._status(f"/pdp/data-sets/{data_set}/pieces/added/{transaction}", "piecesAdded") is not None
        )

    def pieces(self, data_set: int) -> frozenset[str]:
        """Piece CIDs that a data set holds, as the provider says. Raises StoreError."""
        return frozenset(str(one["pieceCid"]) for one in self._listed(data_set))

    def piece_ids(self, data_set: int) -> dict[str, int]:
        """The pieces that a data set holds, as the provider says: CID and number. Raises StoreError."""
        found = dict[str, int]()
        for one in self._listed(data_set):
            number = one.get("pieceId")
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise StoreError(f"{self.url} lists a piece and does not number it: {str(number)[:80]!r}")
            found[str(one["pieceCid"])] = number
        return found

    def _listed(self, data_set: int) -> list[dict[str, Any]]:
        answer = self._ask("GET", f"/pdp/data-sets/{data_set}", max_bytes=_LISTING_BYTES)
        listed = _fields(answer).get("pieces")
        if answer.status != 200 or not isinstance(listed, list):
            raise self._refusal(f"to show data set {data_set}", answer)
        return [one for one in listed if isinstance(one, dict) and "pieceCid" in one]

    def _send(self, piece: str, data: bytes) -> None:
        answer = self._ask("POST", "/pdp/piece/uploads", body=b"")
        place = _UUID.search(answer.headers.get("location", ""))
        if answer.status != 201 or place is None:
            raise self._refusal("an upload", answer)
        target = f"/pdp/piece/uploads/{place[1]}"
        # The bytes of a large piece take their time.
        slow = replace(self._patience, seconds=self._patience.seconds + len(data) / _SLOWEST)
        answer = HttpServer(self.url, slow).exchange(
            "PUT",
            target,
            max_bytes=_ANSWER_BYTES,
            headers={"Content-Type": "application/octet-stream"},
            body=data,
        )
        if answer.status == 413:
            raise UploadRefused(f"{self.url} takes no piece of {len(data):,} bytes: {answer.message}")
        # 409: it has them, from an attempt whose answer did not come.
        if answer.status not in (200, 204, 409):
            raise self._refusal("the bytes of a piece", answer)
        answer = self._post(target, {"pieceCid": piece})
        if answer.status == 400:
            raise UploadRefused(f"{self.url} does not take piece {piece}: {answer.message}")
        if answer.status not in (200, 404, 409):  # not found: it is closed already, or gone; a look will tell
            raise self._refusal("to close an upload", answer)

    def _wait_for(self, piece: str) -> None:
        ends = time.monotonic() + self._waiting.seconds
        while not self.has(piece):
            if time.monotonic() >= ends:
                raise StoreError(
                    f"{self.url} has not parked piece {piece} in {self._waiting.seconds:,.0f} s; try later"
                )
            time.sleep(self._waiting.pause)

    def _status(self, target: str, done: str) -> dict[str, Any] | None:
        ends = time.monotonic() + self._waiting.seconds
        while True:
            answer = self._ask("GET", target)
            said = _fields(answer)
            if answer.status in (200, 202) and said.get("txStatus") == "rejected":
                return None
            if answer.status == 200 and said.get(done) is True:
                return said
            if answer.status not in (200, 202, 404):
                raise self._refusal("to say what became of a transaction", answer)
            if time.monotonic() >= ends:
                raise StoreError(
                    f"{self.url} does not say within {self._waiting.seconds:,.0f} s what became of {target}; give the "
                    "same command again later"
                )
            time.sleep(self._waiting.pause)

    def _transaction(self, what: str, answer: Answer) -> str:
        found = _TX.search(answer.headers.get("location", ""))
        if answer.status != 201 or found is None:
            raise self._refusal(what, answer)
        return found[1].lower()

    def _post(self, target: str, fields: dict[str, Any]) -> Answer:
        return self._ask("POST", target, body=json.dumps(fields).encode())

    def _ask(
        self, method: str, target: str, body: bytes | None = None, max_bytes: int = _ANSWER_BYTES
    ) -> Answer:
        headers = {"Content-Type": "application/json"} if body else {}
        return self._server.exchange(method, target, max_bytes=max_bytes, headers=headers, body=body)

    def _refusal(self, what: str, answer: Answer) -> StoreError:
        return StoreError(f"{self.url} refused {what}: {answer.status}, {answer.message}")


def _fields(answer: Answer) -> dict[str, Any]:
    try:
        fields = parse_json(answer.body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _added(pieces: Sequence[str]) -> dict[str, Any]:
    return {"pieces": [{"pieceCid": one, "subPieces": [{"subPieceCid": one}]} for one in pieces]}


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
