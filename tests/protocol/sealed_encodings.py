"""The trees and encodings of sealed rounds in plain integers, one hash at a time, without code of fedvm.protocol."""

from __future__ import annotations

from functools import cache
from math import isqrt
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from sealed_reference import hkdf

CHAIN_ID = 31415926
FEDERATION = "0x" + "fe" * 20
EPOCH, FIRST_ROUND, ROUND = 2, 5, 7
ELEMENTS = 65
RULES_HASH, BASE_ROOT = keccak(b"fedvm sealed rules"), keccak(b"fedvm sealed base")
MAX_EXAMPLES, MAX_SUM_SQUARES = 1000, (5 * 2**16) ** 2
SEALED = {
    "groupSize": (16, 8),
    "epochRounds": (16, 20),
    "minRoster": (32, 24),
    "minGroups": (16, 2),
    "groupNormPpm": (32, 900_000),
    "noiseSquares": (128, 3 * 2**40),
    "enrolSeconds": (32, 600),
    "keySeconds": (32, 300),
    "unmaskSeconds": (32, 120),
}
TYPES = {
    "Enrol": "uint64 epoch,bytes32 rulesHash,bytes32 sealedHash,bytes32 x25519,bytes32 mlkem,uint64 deadline",
    "Ready": "uint64 epoch,bytes32 rosterRoot,bytes cid",
    "Masked": "uint64 round,bytes32 rulesHash,bytes32 baseRoot,bytes32 epochRoot,bytes32 maskedRoot,"
    "bytes32 seedsRoot,uint32 examples,uint32 accuracyPpm,uint64 lossMicros,uint32 labels,"
    "uint64 epsilonMicros,uint64 deadline,bytes cid",
    "Shares": "uint64 round,bytes32 closedHash,bytes32 sharesHash",
}
EDGE_TURNS = ROUND - FIRST_ROUND
# Roster of 31 in three groups of 11, 10 and 10: group 0 has one that is not ready and two that are absent, group 1
# too few included (void), group 2 one absent. So groups 0 and 2 count.
COUNT = 31
NOT_READY, ABSENT = {4}, {0, 7, 12, 15, 20, 25}


def hex0x(data: bytes) -> str:
    return "0x" + data.hex()


def u(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def account(name: bytes, index: int) -> Any:
    return Account.from_key(keccak(b"fedvm sealed " + name + bytes([index])))  # throwaway keys


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def lane_bytes(group: int, weight: int, squares: int, noise: int) -> int | None:
    most = (2 * group - 1) * (weight * isqrt(squares) + isqrt(noise))
    return next((k for k in range(1, 7) if most < 1 << (8 * k - 1)), None)


def tree(leaves: list[bytes], domain: bytes, height: int | None = None) -> list[list[bytes]]:
    """Levels of a tree padded with zeros to 2^height, or to the next power of two."""
    width = 1
    while width < len(leaves) or (height is not None and width < 1 << height):
        width *= 2
    levels = [leaves + [bytes(32)] * (width - len(leaves))]
    while len(levels[-1]) > 1:
        pairs = zip(levels[-1][::2], levels[-1][1::2], strict=True)
        levels.append([keccak(domain + left + right) for left, right in pairs])
    return levels


def mountains(leaves: list[bytes]) -> list[bytes]:
    """Peaks of the range, largest first."""
    peaks: dict[int, bytes] = {}
    for leaf in leaves:
        height, peak = 0, leaf
        while height in peaks:
            peak = keccak(b"\x0b" + peaks.pop(height) + peak)
            height += 1
        peaks[height] = peak
    return [peaks[height] for height in sorted(peaks, reverse=True)]


def range_hash(leaves: list[bytes]) -> bytes:
    return keccak(u(len(leaves), 4) + b"".join(mountains(leaves)))


def bitmap(size: int, chosen: set[int]) -> bytes:
    data = bytearray(-(-size // 8))
    for bit in chosen:
        data[bit // 8] |= 1 << (bit % 8)
    return bytes(data)


def chunks(values: list[int]) -> list[list[int]]:
    return [values[at : at + 64] for at in range(0, len(values), 64)]


def sums_root(values: list[int]) -> bytes:
    leaves = [
        keccak(
            b"\x05" + u(i, 4) + u(len(chunk), 4) + b"".join(v.to_bytes(8, "big", signed=True) for v in chunk)
        )
        for i, chunk in enumerate(chunks(values))
    ]
    return keccak(b"\x07" + u(len(values), 8) + tree(leaves, b"\x06")[-1][0])


def model_root(values: list[int]) -> bytes:
    leaves = [
        keccak(
            b"\x02" + u(i, 4) + u(len(chunk), 4) + b"".join(v.to_bytes(4, "big", signed=True) for v in chunk)
        )
        for i, chunk in enumerate(chunks(values))
    ]
    return keccak(b"\x04" + u(len(values), 8) + tree(leaves, b"\x03")[-1][0])


def norm_tree(values: list[int]) -> list[list[tuple[bytes, int]]]:
    """Levels of (hash, squares), leaves first."""
    leaves = []
    for i, chunk in enumerate(chunks(values)):
        squares = sum(v * v for v in chunk)
        payload = b"".join(v.to_bytes(8, "big", signed=True) for v in chunk)
        leaves.append((keccak(b"\x3d" + u(i, 4) + u(len(chunk), 4) + u(squares, 32) + payload), squares))
    width = 1
    while width < len(leaves):
        width *= 2
    levels = [leaves + [(bytes(32), 0)] * (width - len(leaves))]
    while len(levels[-1]) > 1:
        levels.append(
            [
                (keccak(b"\x3e" + a[0] + u(a[1], 32) + b[0] + u(b[1], 32)), a[1] + b[1])
                for a, b in zip(levels[-1][::2], levels[-1][1::2], strict=True)
            ]
        )
    return levels


def masked_leaves(context: bytes, lanes: list[int], width: int) -> list[bytes]:
    """Preimages of the leaves of a masked vector's tree."""
    return [
        b"\x33" + context + u(i, 4) + u(len(chunk), 4) + u(width, 1) + b"".join(u(v, width) for v in chunk)
        for i, chunk in enumerate(chunks(lanes))
    ]


def typed(kind: str, message: dict[str, Any], signer: Any) -> dict[str, Any]:
    fields = [dict(zip(("type", "name"), part.split(" "), strict=True)) for part in TYPES[kind].split(",")]
    domain = {"name": "FedVM", "version": "1", "chainId": CHAIN_ID, "verifyingContract": FEDERATION}
    outer = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    signable = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [{"name": name, "type": kind} for name, kind in outer.items()],
                kind: fields,
            },
            "primaryType": kind,
            "domain": domain,
            "message": message,
        }
    )
    signed = signer.sign_message(signable)
    shown = {name: hex0x(value) if isinstance(value, bytes) else value for name, value in message.items()}
    return {
        "type": f"{kind}({TYPES[kind]})",
        "typeHash": hex0x(keccak(f"{kind}({TYPES[kind]})".encode())),
        "message": shown,
        "domainSeparator": hex0x(signable.header),
        "structHash": hex0x(signable.body),
        "digest": hex0x(keccak(b"\x19\x01" + signable.header + signable.body)),
        "signature": hex0x(bytes(signed.signature)),
        "signer": signer.address,
    }


def sealed_hash() -> bytes:
    types = [f"uint{bits}" for bits, _ in SEALED.values()]
    return keccak(encode(types, [value for _, value in SEALED.values()]))


def pair_name(a: str, b: str) -> bytes:
    return raw(a) + raw(b)


@cache
def edge_case(a: str, b: str, roster_root: bytes) -> dict[str, Any]:
    """The edge of a (at the lower place) and b, from secrets that are given."""
    dh, kem = keccak(b"x25519" + pair_name(a, b)), keccak(b"mlkem" + pair_name(a, b))
    ciphertext_hash = keccak(b"ciphertext" + pair_name(a, b))
    info = b"FedVM edge" + u(CHAIN_ID, 32) + raw(FEDERATION) + u(EPOCH, 8) + pair_name(a, b) + ciphertext_hash
    keys = [hkdf(dh + kem, roster_root, info)]
    for _ in range(EDGE_TURNS):
        keys.append(hkdf(keys[-1], b"", b"FedVM next"))
    secrets = (b"FedVM shares" + u(ROUND, 8) + raw(one) + raw(other) for one, other in ((a, b), (b, a)))
    return {
        "lower": a,
        "higher": b,
        "x25519": hex0x(dh),
        "kem": hex0x(kem),
        "ciphertextHash": hex0x(ciphertext_hash),
        "edges": [hex0x(key) for key in keys],
        "maskSeed": hex0x(hkdf(keys[-1], b"", b"FedVM mask" + u(ROUND, 8))),
        "shareKeyFromLower": hex0x(hkdf(keys[-1], b"", next(secrets))),
        "shareKeyFromHigher": hex0x(hkdf(keys[-1], b"", next(secrets))),
    }


WIDTHS = (8, 32, 32, 32, 32, 32, 4, 4, 8, 4, 8, 8)


def submission(member: str, message: dict[str, Any], signature: bytes) -> bytes:
    *fields, cid = message.values()
    words = [f if isinstance(f, bytes) else u(f, size) for f, size in zip(fields, WIDTHS, strict=True)]
    return b"\x3b" + signature + raw(member) + b"".join(words) + cid
