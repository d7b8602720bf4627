"""The part of Protocol Buffers' wire format that dag-pb needs: varints and length-delimited fields."""

from __future__ import annotations

VARINT, LENGTH_DELIMITED = 0, 2


def encode_varint(value: int) -> bytes:
    """Base 128, least significant group first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_field(number: int, value: int | bytes) -> bytes:
    """One field: integers as varints, bytes length-delimited."""
    if isinstance(value, int):
        return encode_varint(number << 3 | VARINT) + encode_varint(value)
    return encode_varint(number << 3 | LENGTH_DELIMITED) + encode_varint(len(value)) + value


def decode_fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """All fields in their order, as (number, value). Raises ValueError on truncated or other wire types."""
    fields: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        key, at = _decode_varint(data, at)
        value, at = _decode_varint(data, at)
        if key & 7 == VARINT:
            fields.append((key >> 3, value))
        elif key & 7 == LENGTH_DELIMITED:
            if at + value > len(data):
                raise ValueError("a field is longer than its message")
            fields.append((key >> 3, data[at : at + value]))
            at += value
        else:
            raise ValueError(f"wire type {key & 7} does not occur in dag-pb")
    return fields


def _decode_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(data):
            raise ValueError("a varint is truncated")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a varint is longer than nine bytes")
