"""Writes sealed_vectors.json: the encodings and arithmetic of sealed rounds as any implementation must produce them.

No code of fedvm.protocol: primitives in plain integers (`sealed_reference`), one hash at a time, typed data by
eth_account.
Run: python tests/protocol/make_sealed_vectors.py
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_hash.auto import keccak
from sealed_encodings import (
    ABSENT,
    BASE_ROOT,
    CHAIN_ID,
    COUNT,
    ELEMENTS,
    EPOCH,
    FEDERATION,
    FIRST_ROUND,
    MAX_EXAMPLES,
    MAX_SUM_SQUARES,
    NOT_READY,
    ROUND,
    RULES_HASH,
    SEALED,
    account,
    bitmap,
    edge_case,
    hex0x,
    lane_bytes,
    masked_leaves,
    model_root,
    mountains,
    norm_tree,
    range_hash,
    raw,
    sealed_hash,
    submission,
    sums_root,
    tree,
    typed,
    u,
)
from sealed_reference import aead_seal, chacha_block, lane, place_of, share

PATH = Path(__file__).with_name("sealed_vectors.json")


class Round:
    """One round over a roster of 31; what a round is made of is computed step by step in `case`."""

    def __init__(self) -> None:
        self.k = lane_bytes(8, MAX_EXAMPLES, MAX_SUM_SQUARES, SEALED["noiseSquares"][1])
        assert self.k is not None
        made = [account(b"member", i) for i in range(COUNT)]
        # The last one brought its enrolment itself, so it comes behind those in ascending order.
        self.accounts = sorted(made[:-1], key=lambda one: int(one.address, 16)) + made[-1:]
        self.members = [one.address for one in self.accounts]
        self.leaves = [
            b"\x30" + raw(member) + keccak(b"x" + raw(member)) + keccak(b"kem" + raw(member))
            for member in self.members
        ]
        self.roster_root = range_hash([keccak(leaf) for leaf in self.leaves])
        self.block_hash = keccak(b"block")
        self.seed = keccak(
            b"\x32" + u(CHAIN_ID, 32) + raw(FEDERATION) + u(EPOCH, 8) + self.roster_root + self.block_hash
        )
        self.places = [place_of(self.seed, COUNT, index) for index in range(COUNT)]
        self.at = {place: index for index, place in enumerate(self.places)}
        self.groups = COUNT // 8
        self.first = [-(-q * COUNT // self.groups) for q in range(self.groups + 1)]
        self.height = 4  # 2^4 is the first power of two that reaches ceil(31 / 3) = 11
        self.ready = set(range(COUNT)) - NOT_READY
        self.included = self.ready - ABSENT
        self.counting = {0, 2}
        self.ready_map, self.included_map = bitmap(COUNT, self.ready), bitmap(COUNT, self.included)
        self.epoch_root = keccak(b"\x35" + self.roster_root + self.seed + keccak(self.ready_map))
        self.closed_hash = keccak(b"\x36" + u(ROUND, 8) + self.epoch_root + keccak(self.included_map))

    def member(self, place: int) -> str:
        return self.members[self.at[place]]

    def group(self, place: int) -> int:
        return place * self.groups // COUNT

    def mates(self, place: int) -> list[int]:
        """The ready places of its group, its own among them."""
        q = self.group(place)
        return [p for p in range(self.first[q], self.first[q + 1]) if p in self.ready]

    def threshold(self, q: int) -> int:
        return 2 * len(self.mates(self.first[q])) // 3 + 1

    def own_seed(self, place: int) -> bytes:
        return keccak(b"self" + raw(self.member(place)))

    def pair_seed(self, a: int, b: int) -> bytes:
        low, high = self.member(min(a, b)), self.member(max(a, b))
        return bytes.fromhex(edge_case(low, high, self.roster_root)["maskSeed"][2:])

    def context(self, place: int) -> bytes:
        types = ["uint256", "address", "uint64", "address", "uint64"]
        return keccak(encode(types, [CHAIN_ID, FEDERATION, ROUND, self.member(place), ELEMENTS]))

    def examples(self, place: int) -> int:
        return 100 + 37 * place

    def weight(self, place: int) -> int:
        return min(self.examples(place), MAX_EXAMPLES)

    def update(self, place: int) -> list[int]:
        return [(place % 7 + 3) * (j * j % 101 - 50) * (97 if j % 2 else -89) for j in range(ELEMENTS)]

    def masked(self, place: int) -> list[int]:
        lanes = []
        for m in range(ELEMENTS):
            value = self.weight(place) * self.update(place)[m] + lane(self.own_seed(place), m, self.k)
            for other in self.mates(place):
                if other != place:
                    sign = 1 if other > place else -1
                    value += sign * lane(self.pair_seed(place, other), m, self.k)
            lanes.append(value % (1 << 8 * self.k))
        return lanes

    def unmasked(self, place: int, y: list[int]) -> list[int]:
        lanes = []
        for m in range(ELEMENTS):
            value = y[m] - lane(self.own_seed(place), m, self.k)
            for other in self.mates(place):
                if other not in self.included:
                    sign = 1 if other > place else -1
                    value -= sign * lane(self.pair_seed(place, other), m, self.k)
            lanes.append(value % (1 << 8 * self.k))
        return lanes

    def seed_of(self, place: int, other: int) -> bytes:
        return self.own_seed(place) if other == place else self.pair_seed(place, other)

    def commitments(self, place: int) -> list[bytes]:
        q = self.group(place)
        return [
            keccak(b"\x38" + self.context(place) + bytes([p - self.first[q]]) + self.seed_of(place, p))
            if p in self.ready
            else bytes(32)
            for p in range(self.first[q], self.first[q + 1])
        ]

    def coefficients(self, place: int, other: int) -> list[bytes]:
        name = raw(self.member(place)) + raw(self.member(other))
        return [
            keccak(b"coefficient" + name + bytes([c])) for c in range(1, self.threshold(self.group(place)))
        ]

    def share_for(self, place: int, other: int, holder: int) -> bytes:
        """The share, for `holder`, of the seed that `place` shares with `other` (its own seed at other = place)."""
        x = holder - self.first[self.group(place)] + 1
        return share(self.seed_of(place, other), self.coefficients(place, other), x)

    def deposit(self, place: int) -> bytes:
        sealed = b""
        for holder in self.mates(place):
            if holder == place:
                continue
            low, high = sorted((place, holder))
            edge = edge_case(self.member(low), self.member(high), self.roster_root)
            key = edge["shareKeyFromLower" if place == low else "shareKeyFromHigher"]
            plain = b"".join(self.share_for(place, other, holder) for other in self.mates(place))
            sealed += aead_seal(bytes.fromhex(key[2:]), plain)
        return sealed

    def answer(self, holder: int) -> bytes:
        """The shares that a ready member gives after the close."""
        mates = self.mates(holder)
        shares = b""
        for place in mates:
            if place in self.included:
                shares += self.share_for(place, place, holder)
                lost = [other for other in mates if other not in self.included]
                shares += b"".join(self.share_for(place, other, holder) for other in lost)
        return shares

    def message(self, place: int, masked_root: bytes, seeds_root: bytes) -> dict[str, Any]:
        return {
            "round": ROUND,
            "rulesHash": RULES_HASH,
            "baseRoot": BASE_ROOT,
            "epochRoot": self.epoch_root,
            "maskedRoot": masked_root,
            "seedsRoot": seeds_root,
            "examples": self.examples(place),
            "accuracyPpm": 800_000 + place,
            "lossMicros": 400_000 + place,
            "labels": 10,
            "epsilonMicros": 0,
            "deadline": 1_900_000_000,
            "cid": b"\x01\x55\x12\x20" + keccak(b"file" + u(place, 4)),
        }


def member_case(game: Round, place: int, full: bool) -> dict[str, Any]:
    q = game.group(place)
    assert sum(d * d for d in game.update(place)) <= MAX_SUM_SQUARES
    y = game.masked(place)
    context = game.context(place)
    leaves = masked_leaves(context, y, game.k)
    levels = tree([keccak(leaf) for leaf in leaves], b"\x34")
    seeds = tree(game.commitments(place), b"\x39", game.height)
    message = game.message(place, levels[-1][0], seeds[-1][0])
    signed = typed("Masked", message, game.accounts[game.at[place]])
    data = submission(game.member(place), message, bytes.fromhex(signed["signature"][2:]))
    record = b"\x3a" + u(place, 4) + u(game.weight(place), 4) + keccak(data)
    lost = [p for p in game.mates(place) if p not in game.included]
    case = {
        "place": place,
        "rosterIndex": game.at[place],
        "member": game.member(place),
        "group": q,
        "rank": place - game.first[q],
        "weight": game.weight(place),
        "update": game.update(place),
        "context": hex0x(context),
        "ownSeed": hex0x(game.own_seed(place)),
        "masked": hex0x(b"".join(u(v, game.k) for v in y)),
        "leaf0": hex0x(leaves[0]),
        "maskedTree": [[hex0x(h) for h in level] for level in levels],
        "maskedRoot": hex0x(levels[-1][0]),
        "commitments": [hex0x(h) for h in game.commitments(place)],
        "seedsTree": [[hex0x(h) for h in level] for level in seeds],
        "seedsRoot": hex0x(seeds[-1][0]),
        "structHash": signed["structHash"],
        "signature": signed["signature"],
        "submission": hex0x(data),
        "submissionHash": hex0x(keccak(data)),
        "record": hex0x(record),
        "recordHash": hex0x(keccak(record)),
        "absentPlaces": lost,
        "absentSeeds": [hex0x(game.pair_seed(place, p)) for p in lost],
        "unmasked": [str(v) for v in game.unmasked(place, y)],
        "answer": hex0x(game.answer(place)),
    }
    if full:
        case["typedData"] = signed
        case["pairSeeds"] = {str(p): hex0x(game.pair_seed(place, p)) for p in game.mates(place) if p != place}
        case["deposit"] = hex0x(game.deposit(place))
    return case


def aggregation_node(kind: bytes, weight: int, values: list[int], rest: bytes) -> dict[str, Any]:
    root = sums_root(values)
    data = kind + u(weight, 8) + root + rest
    return {"weight": weight, "values": values, "sums": root, "hash": keccak(data), "preimage": data}


def added(left: Any, right: Any) -> Any:
    children = [child for child in (left, right) if child]
    if not children:
        return None
    values = [sum(column) for column in zip(*(child["values"] for child in children), strict=True)]
    rest = b"".join(child["hash"] if child else bytes(32) for child in (left, right))
    return aggregation_node(b"\x09", sum(child["weight"] for child in children), values, rest)


def level_up(level: list[Any]) -> list[Any]:
    return [added(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]


def signed_reading(values: list[int], width: int) -> list[int]:
    modulus = 1 << (8 * width)
    read = [v % modulus for v in values]
    return [v - modulus if v >= modulus // 2 else v for v in read]


def group_node(child: dict[str, Any], width: int) -> dict[str, Any]:
    values = signed_reading(child["values"], width)
    norm, squares = norm_tree(values)[-1][0]
    norm_root = keccak(b"\x3f" + u(squares, 32) + norm)
    data = b"\x3c" + u(child["weight"], 8) + sums_root(values) + child["hash"] + norm_root
    return {
        "weight": child["weight"],
        "values": values,
        "sums": sums_root(values),
        "squares": squares,
        "norm": norm,
        "normRoot": norm_root,
        "hash": keccak(data),
        "preimage": data,
    }


def shown(node: Any) -> Any:
    if node is None:
        return None
    form = {"weight": node["weight"], "sums": hex0x(node["sums"]), "hash": hex0x(node["hash"])}
    form |= {"preimage": hex0x(node["preimage"])}
    if "squares" in node:
        form |= {"squares": str(node["squares"]), "norm": hex0x(node["norm"])}
        form |= {"normRoot": hex0x(node["normRoot"])}
        form |= {"values": [str(v) for v in node["values"]]}
    return form


def round_case() -> dict[str, Any]:
    game = Round()
    k = game.k
    members = [member_case(game, place, full=place in (1, 21)) for place in sorted(game.ready)]
    by_place = {member["place"]: member for member in members}
    order = [p for p in sorted(game.included) if game.group(p) in game.counting]
    levels: list[list[Any]] = [[None] * (len(game.counting) << game.height)]
    for group_rank, q in enumerate(sorted(game.counting)):
        for rank, place in enumerate(p for p in order if game.group(p) == q):
            case = by_place[place]
            values = [int(v) for v in case["unmasked"]]
            record = bytes.fromhex(case["recordHash"][2:])
            node = aggregation_node(b"\x08", case["weight"], values, record)
            levels[0][(group_rank << game.height) + rank] = node
    for _ in range(game.height):
        levels.append(level_up(levels[-1]))
    levels.append([group_node(child, k) for child in levels[-1]])
    groups = levels[-1]
    while len(levels[-1]) > 1:
        levels.append(level_up(levels[-1]))
    top = levels[-1][0]
    for q, node in zip(sorted(game.counting), groups, strict=True):
        inside = [p for p in order if game.group(p) == q]
        expected = [sum(game.weight(p) * game.update(p)[m] for p in inside) for m in range(ELEMENTS)]
        assert node["values"] == expected, "the masks do not cancel"
        bound = node["weight"] ** 2 * MAX_SUM_SQUARES * SEALED["groupNormPpm"][1] ** 2
        bound += SEALED["noiseSquares"][1] * len(inside) * 10**12
        assert node["squares"] * 10**12 <= bound
    base = [(j * 7919) % 4001 - 2000 for j in range(ELEMENTS)]
    model = [old + total // top["weight"] for old, total in zip(base, top["values"], strict=True)]
    records = [bytes.fromhex(by_place[p]["recordHash"][2:]) for p in order]
    return {
        "elements": ELEMENTS,
        "laneBytes": k,
        "height": game.height,
        "roster": [
            {"member": m, "x25519": hex0x(leaf[21:53]), "mlkem": hex0x(leaf[53:]), "leaf": hex0x(leaf),
             "leafHash": hex0x(keccak(leaf)), "place": place}
            for m, leaf, place in zip(game.members, game.leaves, game.places, strict=True)
        ],
        "rosterPeaks": [hex0x(p) for p in mountains([keccak(leaf) for leaf in game.leaves])],
        "rosterRoot": hex0x(game.roster_root),
        "blockHash": hex0x(game.block_hash),
        "groupSeed": hex0x(game.seed),
        "firstPlaces": game.first,
        "readyBitmap": hex0x(game.ready_map),
        "readyHash": hex0x(keccak(game.ready_map)),
        "includedBitmap": hex0x(game.included_map),
        "countingBitmap": hex0x(bitmap(game.groups, game.counting)),
        "epochRoot": hex0x(game.epoch_root),
        "closedHash": hex0x(game.closed_hash),
        "thresholds": [game.threshold(q) for q in range(game.groups)],
        "readyCounts": [len(game.mates(game.first[q])) for q in range(game.groups)],
        "members": members,
        "accepted": len(order),
        "order": order,
        "recordPeaks": [hex0x(p) for p in mountains(records)],
        "recordsRange": hex0x(range_hash(records)),
        "levels": [[shown(node) for node in level] for level in levels],
        "groupChildren": [[str(v) for v in child["values"]] for child in levels[game.height]],
        "normTrees": [
            [[{"hash": hex0x(h), "squares": str(s)} for h, s in level] for level in norm_tree(node["values"])]
            for node in groups
        ],
        "aggregationRoot": hex0x(top["hash"]),
        "aggregateRoot": hex0x(top["sums"]),
        "totalWeight": top["weight"],
        "sums": [str(v) for v in top["values"]],
        "base": base,
        "model": model,
        "modelRoot": hex0x(model_root(model)),
        "edge": edge_case(game.member(1), game.member(2), game.roster_root),
    }  # fmt: skip


def shuffle_case(count: int) -> dict[str, Any]:
    seed = keccak(b"fedvm shuffle" + u(count, 4))
    return {"count": count, "seed": hex0x(seed), "places": [place_of(seed, count, i) for i in range(count)]}


def shape_case(count: int, group: int) -> dict[str, Any]:
    groups = count // group
    first = [-(-q * count // groups) for q in range(groups + 1)]
    largest = max(b - a for a, b in pairwise(first))
    assert largest == -(-count // groups) <= 2 * group - 1
    height = next(h for h in range(9) if 1 << h >= largest)
    return {"count": count, "groupSize": group, "groups": groups, "firstPlaces": first, "height": height}


def mask_case(width: int) -> dict[str, Any]:
    seed = keccak(b"fedvm mask" + bytes([width]))
    indices = [*range(18), 63, 64, 65, 62_000, 62_005, 2**20 - 1, 2**20]
    return {
        "seed": hex0x(seed),
        "laneBytes": width,
        "lanes": {str(m): str(lane(seed, m, width)) for m in indices},
        "blocks": {str(b): hex0x(chacha_block(seed, b)) for b in (0, 1, 7750)},
    }


def share_case(threshold: int, length: int) -> dict[str, Any]:
    secret = keccak(b"fedvm secret")
    coefficients = [keccak(b"fedvm coefficient" + bytes([c])) for c in range(1, threshold)]
    return {
        "secret": hex0x(secret),
        "threshold": threshold,
        "coefficients": [hex0x(c) for c in coefficients],
        "shares": {str(x): hex0x(share(secret, coefficients, x)) for x in range(1, length + 1)},
    }


def wide_sums_case() -> dict[str, Any]:
    """Lanes at the ends of the range: their reading, and a norm that needs more than 128 bits."""
    width = 6
    modulus = 1 << 8 * width
    lanes = [0, 1, modulus // 2 - 1, modulus // 2, modulus - 1, modulus, 255 * (modulus - 1)] * 10
    values = signed_reading(lanes, width)
    full = [-(2**63), 2**63 - 1] * 40
    levels = norm_tree(full)
    return {
        "laneBytes": width,
        "lanes": [str(v) for v in lanes],
        "read": [str(v) for v in values],
        "norm": {"hash": hex0x(norm_tree(values)[-1][0][0]), "squares": str(norm_tree(values)[-1][0][1])},
        "extreme": {
            "values": [str(v) for v in full],
            "levels": [[{"hash": hex0x(h), "squares": str(s)} for h, s in level] for level in levels],
        },
    }


def typed_cases() -> list[dict[str, Any]]:
    signer = account(b"signer", 0)
    cid = b"\x01\x55\x12\x20" + keccak(b"a file")
    enrol = {
        "epoch": EPOCH,
        "rulesHash": RULES_HASH,
        "sealedHash": sealed_hash(),
        "x25519": keccak(b"x"),
        "mlkem": keccak(b"m"),
        "deadline": 1_900_000_000,
    }
    ready = {"epoch": EPOCH, "rosterRoot": keccak(b"roster"), "cid": cid}
    masked = Round().message(3, keccak(b"masked"), keccak(b"seeds"))
    shares = {"round": ROUND, "closedHash": keccak(b"closed"), "sharesHash": keccak(b"shares")}
    messages = {"Enrol": enrol, "Ready": ready, "Masked": masked, "Shares": shares}
    return [typed(kind, message, signer) for kind, message in messages.items()]


def lane_cases() -> list[dict[str, Any]]:
    cases = [(8, 1, 1, 0), (8, 1000, MAX_SUM_SQUARES, 0), (16, 400, MAX_SUM_SQUARES, 0), (128, 2**20, 2**40, 2**93),
             (8, 17, 64, 0), (8, 17, 64, 1), (128, 2**31, 2**60, 0), (32, 1000, 2**38, 3 * 2**40)]  # fmt: skip
    names = ("groupSize", "maxWeight", "maxSumSquares", "noiseSquares")
    return [
        {**{n: str(v) for n, v in zip(names, case, strict=True)}, "laneBytes": lane_bytes(*case)}
        for case in cases
    ]


def vectors() -> dict[str, Any]:
    edge_members = account(b"edge", 0).address, account(b"edge", 1).address
    return {
        "place": {"chainId": CHAIN_ID, "federation": FEDERATION, "epoch": EPOCH,
                  "firstRound": FIRST_ROUND, "round": ROUND},
        "rules": {"maxWeight": MAX_EXAMPLES, "maxSumSquares": str(MAX_SUM_SQUARES), "rulesHash": hex0x(RULES_HASH),
                  "baseRoot": hex0x(BASE_ROOT)},
        "sealedRules": {**{name: str(value) for name, (_, value) in SEALED.items()}, "digest": hex0x(sealed_hash())},
        "laneBytes": lane_cases(),
        "shuffles": [shuffle_case(count) for count in (1, 8, 16, 33, 1000)],
        "shapes": [shape_case(*case) for case in ((8, 8), (15, 8), (16, 8), (17, 8), (31, 8), (1000, 32),
                                                  (255, 128), (1000, 16), (65_535, 128))],
        "masks": [mask_case(width) for width in (4, 5, 6)],
        "shares": [share_case(1, 3), share_case(7, 10), share_case(171, 255)],
        "edge": edge_case(*edge_members, keccak(b"roster")),
        "typedData": typed_cases(),
        "wideSums": wide_sums_case(),
        "round": round_case(),
    }  # fmt: skip


def render() -> str:
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(render())
