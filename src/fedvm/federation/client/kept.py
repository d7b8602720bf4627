"""Signed updates that a client keeps, so that it can submit one itself when the coordinator ignores it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fedvm.federation.commitment import SignedUpdate
from fedvm.federation.errors import CommitmentError
from fedvm.files import write_atomically
from fedvm.jsontext import parse_json
from fedvm.protocol import Domain, EncodingError, Update, int32_from_bytes, to_bytes
from fedvm.protocol.address import to_address

_BYTES = tuple(field.name for field in fields(Update) if field.type == "bytes")


@dataclass(frozen=True)
class KeptUpdate:
    """A signed update, and the federation that it was signed for."""

    domain: Domain
    signed: SignedUpdate


def keep_update(directory: Path, domain: Domain, signed: SignedUpdate) -> Path:
    """Write an update to `DIRECTORY/FEDERATION/round-N.json`, the vector beside it, and return the path.

    An update kept for the same round before is overwritten.
    """
    path = directory / domain.federation / f"round-{signed.update.round}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(_vector_of(path), to_bytes(signed.vector))
    update: dict[str, Any] = asdict(signed.update)
    update.update({name: update[name].hex() for name in _BYTES})
    kept = {
        "chain_id": domain.chain_id,
        "federation": domain.federation,
        "member": signed.member,
        "signature": signed.signature.hex(),
        "update": update,
    }
    write_atomically(path, json.dumps(kept, indent=2) + "\n")
    return path


def read_kept_update(path: Path) -> KeptUpdate:
    """What :func:`keep_update` wrote. Raises CommitmentError, naming the file, if it is missing or malformed."""
    try:
        kept = parse_json(path.read_text())
        statement = kept["update"]
        statement.update({name: bytes.fromhex(statement[name]) for name in _BYTES})
        update = Update(**statement)
        vector = int32_from_bytes(_vector_of(path).read_bytes(), update.elements)
        signed = SignedUpdate(to_address(kept["member"]), update, bytes.fromhex(kept["signature"]), vector)
        return KeptUpdate(Domain(int(kept["chain_id"]), to_address(kept["federation"])), signed)
    except (OSError, KeyError, TypeError, ValueError, EncodingError) as error:
        raise CommitmentError(f"{path} holds no kept update (fedvm-keep writes them): {error}") from error


def _vector_of(path: Path) -> Path:
    return path.with_suffix(".int32")
