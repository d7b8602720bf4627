"""Writes vectors.json: the encodings as any implementation must produce them.

The trees here are computed straight from docs/protocol.md, one hash at a time with plain integers and no
code of fedvm.encoding; the typed data comes from eth_account. So the vectors are a second opinion.
Run: python tests/encoding/make_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

PATH = Path(__file__).with_name("vectors.json")
CHAIN_ID = 31415926
FEDERATION = "0x" + "fe" * 20
ROUND = 3
KEY = keccak(b"fedvm test vector")  # a throwaway key that never held anything
MEMBER = Account.from_key(KEY).address
CASES = {
    "one element": [-1],
    "one full chunk": [i * i - 1000 for i in range(64)],
    "one chunk and one element": [(-1) ** i * i for i in range(65)],
    "five chunks, padded to eight": [(i * 2654435761) % 4001 - 2000 for i in range(300)],
    "extremes": [-(2**31), 2**31 - 1] * 40,
}
TYPES = {
    "EIP712Domain": [
        {"name": "name", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "Update": [
        {"name": "round", "type": "uint64"},
        {"name": "rulesHash", "type": "bytes32"},
        {"name": "baseRoot", "type": "bytes32"},
        {"name": "updateRoot", "type": "bytes32"},
        {"name": "sumSquares", "type": "uint128"},
        {"name": "elements", "type": "uint64"},
        {"name": "fractionBits", "type": "uint8"},
        {"name": "examples", "type": "uint32"},
        {"name": "accuracyPpm", "type": "uint32"},
        {"name": "lossMicros", "type": "uint64"},
        {"name": "deadline", "type": "uint64"},
        {"name": "cid", "type": "bytes"},
    ],
}
RULES = {
    "minClients": (32, 10),
    "minExamples": (32, 20),
    "maxExamples": (32, 400),
    "maxSumSquares": (128, (5 * 2**16) ** 2),
    "elements": (64, 300),
    "fractionBits": (8, 16),
    "roundSeconds": (64, 3600),
    "minAccuracyPpm": (32, 100_000),
    "maxLossMicros": (64, 5_000_000),
}


def hex0x(data: bytes) -> str:
    return "0x" + data.hex()


def chunks(values: list[int]) -> list[list[int]]:
    return [values[i : i + 64] for i in range(0, len(values), 64)]


def signed(values: list[int], width: int) -> bytes:
    return b"".join(v.to_bytes(width, "big", signed=True) for v in values)


def pad(nodes: list[Any], empty: Any) -> list[Any]:
    width = 1
    while width < len(nodes):
        width *= 2
    return nodes + [empty] * (width - len(nodes))


def update_case(name: str, values: list[int]) -> dict[str, Any]:
    types = ["uint256", "address", "uint64", "address", "uint64"]
    context = keccak(encode(types, [CHAIN_ID, FEDERATION, ROUND, MEMBER, len(values)]))
    leaves = []
    for index, chunk in enumerate(chunks(values)):
        total = sum(v * v for v in chunk)
        head = b"\x00" + context + index.to_bytes(4, "big") + len(chunk).to_bytes(4, "big")
        leaves.append((keccak(head + total.to_bytes(16, "big") + signed(chunk, 4)), total))
    levels = [pad(leaves, (bytes(32), 0))]
    while len(levels[-1]) > 1:
        below, above = levels[-1], []
        for left, right in zip(below[::2], below[1::2], strict=True):
            sides = [side[0] + side[1].to_bytes(16, "big") for side in (left, right)]
            above.append((keccak(b"\x01" + sides[0] + sides[1]), left[1] + right[1]))
        levels.append(above)
    return {
        "name": name,
        "values": values,
        "context": hex0x(context),
        "levels": [[{"hash": hex0x(h), "sumSquares": str(s)} for h, s in level] for level in levels],
        "root": hex0x(levels[-1][0][0]),
        "sumSquares": str(levels[-1][0][1]),
    }


def plain_case(
    name: str, values: list[int], leaf: bytes, node: bytes, root: bytes, width: int
) -> dict[str, Any]:
    leaves = [
        keccak(leaf + index.to_bytes(4, "big") + len(chunk).to_bytes(4, "big") + signed(chunk, width))
        for index, chunk in enumerate(chunks(values))
    ]
    levels = [pad(leaves, bytes(32))]
    while len(levels[-1]) > 1:
        pairs = zip(levels[-1][::2], levels[-1][1::2], strict=True)
        levels.append([keccak(node + left + right) for left, right in pairs])
    return {
        "name": name,
        "values": [str(v) for v in values],
        "levels": [[hex0x(h) for h in level] for level in levels],
        "root": hex0x(keccak(root + len(values).to_bytes(8, "big") + levels[-1][0])),
    }


def rules_case() -> dict[str, Any]:
    encoded = encode([f"uint{bits}" for bits, _ in RULES.values()], [value for _, value in RULES.values()])
    rules = {name: str(value) for name, (_, value) in RULES.items()}
    return {"rules": rules, "rulesHash": hex0x(keccak(encoded))}


def typed_case(rules_hash: str, update: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    message = {
        "round": ROUND,
        "rulesHash": rules_hash,
        "baseRoot": model["root"],
        "updateRoot": update["root"],
        "sumSquares": int(update["sumSquares"]),
        "elements": len(update["values"]),
        "fractionBits": 16,
        "examples": 281,
        "accuracyPpm": 914_285,
        "lossMicros": 302_117,
        "deadline": 1_800_000_000,
        "cid": "0x01551220" + "ab" * 32,
    }
    domain = {"name": "FedVM", "version": "1", "chainId": CHAIN_ID, "verifyingContract": FEDERATION}
    full = {"types": TYPES, "primaryType": "Update", "domain": domain, "message": message}
    signable = encode_typed_data(full_message=full)
    signed_message = Account.sign_message(signable, KEY)
    message["sumSquares"] = update["sumSquares"]  # as a string: JSON readers lose integers above 2^53
    return {
        "domain": domain,
        "message": message,
        "domainSeparator": hex0x(signable.header),
        "structHash": hex0x(signable.body),
        "digest": hex0x(keccak(b"\x19\x01" + signable.header + signable.body)),
        "privateKey": hex0x(KEY),
        "signer": MEMBER,
        "signature": hex0x(signed_message.signature),
    }


def build() -> dict[str, Any]:
    updates = [update_case(name, values) for name, values in CASES.items()]
    models = [plain_case(n, v, b"\x02", b"\x03", b"\x04", 4) for n, v in CASES.items()]
    sums = {name: [v * 6400 for v in values] for name, values in CASES.items()}
    rules = rules_case()
    return {
        "place": {"chainId": CHAIN_ID, "federation": FEDERATION, "round": ROUND, "member": MEMBER},
        "updates": updates,
        "models": models,
        "aggregates": [plain_case(n, v, b"\x05", b"\x06", b"\x07", 8) for n, v in sums.items()],
        "rules": rules,
        "typedData": typed_case(rules["rulesHash"], updates[3], models[3]),
    }


def render() -> str:
    return json.dumps(build(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(render())
