"""Writes vectors.json: the encodings as any implementation must produce them.

The trees here are computed straight from docs/protocol.md, one hash at a time with plain integers and no
code of fedvm.protocol; the typed data comes from eth_account. So the vectors are a second opinion.
Run: python tests/protocol/make_vectors.py
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
        {"name": "labels", "type": "uint32"},
        {"name": "epsilonMicros", "type": "uint64"},
        {"name": "deadline", "type": "uint64"},
        {"name": "cid", "type": "bytes"},
    ],
    "Direct": [
        {"name": "member", "type": "address"},
        {"name": "round", "type": "uint64"},
        {"name": "update", "type": "bytes32"},
    ],
    "SigningKey": [
        {"name": "member", "type": "address"},
        {"name": "nonce", "type": "uint64"},
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
    "maxSharePpm": (32, 250_000),
    "minLabels": (32, 3),
    "restRounds": (32, 1),
    "maxEpsilonMicros": (64, 8_000_000),
}
AGGREGATOR = bytes([4, 1]) + (100_000).to_bytes(4, "big") + bytes(26)  # trimmed mean, a tenth off


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


def aggregation_case(name: str, count: int, elements: int) -> dict[str, Any]:
    members = sorted(
        (Account.from_key(keccak(b"fedvm client" + bytes([i]))).address for i in range(count)),
        key=lambda member: int(member, 16),
    )
    commitments, leaves = [], []
    for i, member in enumerate(members):
        weight, values = 100 * i + 7, [(i + 3) * (j * j % 101 - 50) for j in range(elements)]
        root, squares = keccak(b"update" + bytes([i])), sum(value * value for value in values)
        words = bytes.fromhex(member[2:]) + weight.to_bytes(4, "big") + root + squares.to_bytes(16, "big")
        leaf = keccak(b"\x0a" + words)
        commitments.append(
            {
                "member": member,
                "weight": weight,
                "updateRoot": hex0x(root),
                "sumSquares": str(squares),
                "leaf": hex0x(leaf),
                "values": values,
            }
        )
        leaves.append((weight, [weight * v for v in values], leaf))
    levels = [[leaf and aggregation_node(b"\x08", leaf[0], leaf[1], leaf[2]) for leaf in pad(leaves, None)]]
    while len(levels[-1]) > 1:
        levels.append([add_nodes(a, b) for a, b in zip(levels[-1][::2], levels[-1][1::2], strict=True)])
    shown = [
        [node and {"weight": node[0], "sums": hex0x(node[2]), "hash": hex0x(node[3])} for node in level]
        for level in levels
    ]
    digests = [bytes.fromhex(commitment["leaf"][2:]) for commitment in commitments]
    return {
        "name": name,
        "commitments": commitments,
        "peaks": (peaks := mountains(digests)),
        "range": hex0x(keccak(count.to_bytes(4, "big") + largest_first(peaks))),
        "levels": shown,
        "aggregationRoot": shown[-1][0]["hash"],
        "aggregateRoot": shown[-1][0]["sums"],
        "totalWeight": shown[-1][0]["weight"],
    }


def largest_first(peaks: dict[str, str]) -> bytes:
    return b"".join(bytes.fromhex(peaks[height][2:]) for height in sorted(peaks, key=int, reverse=True))


def aggregation_node(kind: bytes, weight: int, values: list[int], rest: bytes) -> tuple[Any, ...]:
    root = bytes.fromhex(plain_case("", values, b"\x05", b"\x06", b"\x07", 8)["root"][2:])
    return weight, values, root, keccak(kind + weight.to_bytes(8, "big") + root + rest)


def add_nodes(left: Any, right: Any) -> Any:
    children = [child for child in (left, right) if child]
    if not children:
        return None
    values = [sum(column) for column in zip(*(child[1] for child in children), strict=True)]
    hashes = b"".join(child[3] if child else bytes(32) for child in (left, right))
    return aggregation_node(b"\x09", sum(child[0] for child in children), values, hashes)


def mountains(leaves: list[bytes]) -> dict[str, str]:
    """Add leaf after leaf: two mountains of one height become one that is higher."""
    peaks: dict[int, bytes] = {}
    for leaf in leaves:
        height, peak = 0, leaf
        while height in peaks:
            peak = keccak(b"\x0b" + peaks.pop(height) + peak)
            height += 1
        peaks[height] = peak
    return {str(height): hex0x(peak) for height, peak in sorted(peaks.items())}


def submission_bytes(message: dict[str, Any], signature: bytes) -> bytes:
    """0x0e ‖ signature ‖ the fields in the order of the typed data, each in its width."""
    parts = [b"\x0e", signature]
    for field in TYPES["Update"]:
        value = message[field["name"]]
        if field["type"].startswith("uint"):
            parts.append(int(value).to_bytes(int(field["type"][4:]) // 8, "big"))
        else:
            parts.append(bytes.fromhex(value[2:]))
    return b"".join(parts)


def rollup_case(name: str, reasons: list[int], message: dict[str, Any]) -> dict[str, Any]:
    members = sorted(
        (Account.from_key(keccak(b"fedvm client" + bytes([i]))).address for i in range(len(reasons))),
        key=lambda member: int(member, 16),
    )
    records, leaves, commitments, accepted, total = [], [], [], 0, 0
    for i, (member, reason) in enumerate(zip(members, reasons, strict=True)):
        received = dict(message, updateRoot=hex0x(keccak(b"update" + bytes([i]))), sumSquares=str(1000 + i))
        signature = keccak(b"r" + bytes([i])) + keccak(b"s" + bytes([i])) + b"\x1b"
        data = submission_bytes(received, signature)
        weight = 0 if reason else 281
        accepted, total = accepted + (reason == 0), total + weight
        record = {
            "member": member,
            "reason": reason,
            "weight": weight,
            "accepted": accepted,
            "total": total,
            "submission": hex0x(keccak(data)),
        }
        head = b"\x0c" + bytes.fromhex(member[2:]) + bytes([reason]) + weight.to_bytes(4, "big")
        totals = accepted.to_bytes(4, "big") + total.to_bytes(8, "big")
        leaves.append(keccak(head + totals + keccak(data)))
        records.append({**record, "leaf": hex0x(leaves[-1]), "bytes": hex0x(data)})
        records[-1].update(signature=hex0x(signature), updateRoot=received["updateRoot"])
        records[-1]["sumSquares"] = received["sumSquares"]
        if reason == 0:
            words = bytes.fromhex(member[2:]) + weight.to_bytes(4, "big")
            words += bytes.fromhex(received["updateRoot"][2:]) + (1000 + i).to_bytes(16, "big")
            commitments.append(keccak(b"\x0a" + words))
    level = pad(leaves, bytes(32))
    while len(level) > 1:
        level = [keccak(b"\x0d" + a + b) for a, b in zip(level[::2], level[1::2], strict=True)]
    return {
        "name": name,
        "records": records,
        "recordsRoot": hex0x(level[0]),
        "accepted": accepted,
        "totalWeight": total,
        "peaks": mountains(commitments),
    }


def rules_case() -> dict[str, Any]:
    types = [*(f"uint{bits}" for bits, _ in RULES.values()), "bytes32"]
    encoded = encode(types, [*(value for _, value in RULES.values()), AGGREGATOR])
    rules = {name: str(value) for name, (_, value) in RULES.items()}
    rules["aggregator"] = hex0x(AGGREGATOR)
    # Others weigh at least (10 − 1) · 20 = 180; a quarter of the whole is then at most a third of that.
    return {"rules": rules, "encoded": hex0x(encoded), "rulesHash": hex0x(keccak(encoded)), "maxWeight": 60}


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
        "labels": 9,
        "epsilonMicros": 2_500_000,
        "deadline": 1_800_000_000,
        "cid": "0x01551220" + "ab" * 32,
    }
    case = signed_case("Update", message)
    message["sumSquares"] = update["sumSquares"]  # as a string: JSON readers lose integers above 2^53
    return case


def signed_case(primary: str, message: dict[str, Any]) -> dict[str, Any]:
    """A message of this type in the domain, hashed and signed."""
    domain = {"name": "FedVM", "version": "1", "chainId": CHAIN_ID, "verifyingContract": FEDERATION}
    types = {name: TYPES[name] for name in ("EIP712Domain", primary)}
    full = {"types": types, "primaryType": primary, "domain": domain, "message": message}
    signable = encode_typed_data(full_message=full)
    signed_message = Account.sign_message(signable, KEY)
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
    typed = typed_case(rules["rulesHash"], updates[3], models[3])
    return {
        "place": {"chainId": CHAIN_ID, "federation": FEDERATION, "round": ROUND, "member": MEMBER},
        "updates": updates,
        "models": models,
        "aggregates": [plain_case(n, v, b"\x05", b"\x06", b"\x07", 8) for n, v in sums.items()],
        "aggregations": [
            aggregation_case("one client", 1, 65),
            aggregation_case("three clients", 3, 65),
            aggregation_case("six clients", 6, 130),
        ],
        "rules": rules,
        "typedData": typed,
        "signingKey": signed_case("SigningKey", {"member": "0x" + "c0" * 20, "nonce": 2}),
        "direct": signed_case("Direct", {"member": MEMBER, "round": ROUND, "update": typed["structHash"]}),
        "rollups": [
            rollup_case("one update", [0], typed["message"]),
            rollup_case("three updates, one refused", [0, 9, 0], typed["message"]),
            rollup_case("seven updates, three refused", [3, 0, 0, 10, 0, 0, 1], typed["message"]),
        ],
    }


def render() -> str:
    return json.dumps(build(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(render())
