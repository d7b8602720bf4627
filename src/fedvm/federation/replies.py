"""A signed update inside a Flower train reply."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedvm.federation.arrays import VECTOR
from fedvm.federation.commitment import SignedUpdate
from fedvm.federation.errors import CommitmentError
from fedvm.federation.terms import RECORD
from fedvm.jsontext import parse_json
from fedvm.protocol import EncodingError, Update
from fedvm.protocol.address import to_address

_BYTES = tuple(field.name for field in fields(Update) if field.type == "bytes")


@dataclass(frozen=True)
class Rounding:
    """What became of a float update on its way to integers; unsigned, for the server's log.

    L2 norms in real units: norm, as the app trained it; sent, of what was signed; lost, of what rounding took, beside
    what clipping took.
    """

    norm: float
    sent: float
    lost: float


def write_reply(
    content: RecordDict, signed: SignedUpdate, *, arrays_key: str, rounding: Rounding | None = None
) -> None:
    """Put the integer update in the place of the app's arrays, and statement and signature beside it."""
    content[arrays_key] = ArrayRecord({VECTOR: Array(signed.vector)})
    statement: dict[str, Any] = asdict(signed.update)
    statement.update({name: statement[name].hex() for name in _BYTES})
    record = ConfigRecord(
        {"member": signed.member, "update": json.dumps(statement), "signature": signed.signature}
    )
    if rounding is not None:
        record["rounding"] = [rounding.norm, rounding.sent, rounding.lost]
    content[RECORD] = record


def read_rounding(content: RecordDict) -> Rounding | None:
    """What a reply says of its rounding, None if it says nothing that can be read."""
    record = content.config_records.get(RECORD)
    stated = None if record is None else record.get("rounding")
    if not isinstance(stated, list) or len(stated) != 3:
        return None
    return Rounding(*(float(value) for value in stated))


def read_reply(content: RecordDict) -> SignedUpdate:
    """The signed update of a reply. Raises CommitmentError if the reply has none, or not in this form."""
    arrays = list(content.array_records.values())
    record = content.config_records.get(RECORD)
    if record is None or len(arrays) != 1 or VECTOR not in arrays[0]:
        raise CommitmentError(
            "the reply holds no signed update; add fedvm_mod to the ClientApp: ClientApp(mods=[fedvm_mod])"
        )
    try:
        statement = parse_json(str(record["update"]))
        statement.update({name: bytes.fromhex(statement[name]) for name in _BYTES})
        update, signature = Update(**statement), record["signature"]
        member = to_address(str(record["member"]), "member")
        vector = arrays[0][VECTOR].numpy()
    except (KeyError, TypeError, ValueError, EncodingError) as error:
        raise CommitmentError(f"the signed update of a reply cannot be read: {error}") from error
    if not isinstance(signature, bytes):
        raise CommitmentError("the signed update of a reply lacks a signature")
    if vector.ndim != 1 or vector.dtype != np.int32:
        raise CommitmentError(f"the update of {member} is {vector.dtype}{list(vector.shape)}, not int32[n]")
    return SignedUpdate(member, update, signature, vector)
