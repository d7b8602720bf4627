"""fedvm.protocol.sealed against the shared vectors, and the vectors against their generator."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import make_sealed_vectors
import numpy as np
import pytest
import sealed_encodings
from sealed_reference import block_of

from fedvm.protocol import Domain, Rules, model_root
from fedvm.protocol.aggregators import RoundFacts, WeightedMean
from fedvm.protocol.errors import RangeError
from fedvm.protocol.rules import PPM, WEIGHTED_MEAN
from fedvm.protocol.sealed import masks
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate, sealed_tree
from fedvm.protocol.sealed.aggregation_fold import group_subtotal, sealed_aggregate, sealed_fold
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.edges import Edges, Secrets, first_edge, mask_seed, next_edge, share_key
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.grouping import Grouping
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.member import Masking, seal
from fedvm.protocol.sealed.records import SealedRecord, SealedSubmission, record_range
from fedvm.protocol.sealed.roster import Enrolment, roster_range
from fedvm.protocol.sealed.rules import SealedRules, lane_bytes
from fedvm.protocol.sealed.shares import interpolate, share
from fedvm.protocol.sealed.shuffle import group_seed, index_of, place_of, places
from fedvm.protocol.sealed.trees import masked_leaf, masked_tree, norm_tree, seed_commitment, seeds_tree
from fedvm.protocol.sealed.typed_data import Enrol, Masked, Ready, Shares
from fedvm.protocol.sealed.unmasking import check_seed, unmask

VECTORS = json.loads(make_sealed_vectors.PATH.read_text())
PLACE, ROUND = VECTORS["place"], VECTORS["round"]
DOMAIN = Domain(PLACE["chainId"], PLACE["federation"])
K, ELEMENTS = ROUND["laneBytes"], ROUND["elements"]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def numbers(texts: list[str]) -> np.ndarray:
    return np.array([int(text) for text in texts], dtype=np.int64)


def rows(data: list[str]) -> np.ndarray:
    return np.stack([np.frombuffer(unhex(text), dtype=np.uint8) for text in data])


def sealed_rules() -> SealedRules:
    return SealedRules(*(int(value) for name, value in VECTORS["sealedRules"].items() if name != "digest"))


@cache
def epoch() -> Epoch:
    roster = tuple(
        Enrolment(one["member"], unhex(one["x25519"]), unhex(one["mlkem"])) for one in ROUND["roster"]
    )
    draw = Draw(DOMAIN, PLACE["epoch"], sealed_rules().group_size, roster, unhex(ROUND["groupSeed"]))
    return Epoch(draw, PLACE["firstRound"], unhex(ROUND["readyBitmap"]))


@cache
def close() -> Close:
    return Close(epoch(), PLACE["round"], unhex(ROUND["includedBitmap"]))


def edge_secrets(case: dict[str, Any]) -> Secrets:
    return Secrets(unhex(case["x25519"]), unhex(case["kem"]), unhex(case["ciphertextHash"]))


def test_the_file_is_what_the_generator_writes() -> None:
    assert make_sealed_vectors.PATH.read_text() == make_sealed_vectors.render()


def test_the_reference_is_the_cipher_of_the_rfc() -> None:
    # RFC 8439, A.1, test vectors 1 and 2 of the block function.
    assert block_of(bytes(32), 0).hex().startswith("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc")
    assert block_of(bytes(32), 1).hex().startswith("9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e")


def test_rules() -> None:
    assert sealed_rules().digest() == unhex(VECTORS["sealedRules"]["digest"])


@pytest.mark.parametrize("case", VECTORS["laneBytes"])
def test_lane_bytes(case: dict[str, Any]) -> None:
    names = ("groupSize", "maxWeight", "maxSumSquares", "noiseSquares")
    group, weight, squares, noise = (int(case[name]) for name in names)
    rules = Rules(2, 1, weight, squares, 65, 16, 3600, 0, 0, PPM, 0, 0, 0, WEIGHTED_MEAN)
    sealed = SealedRules(group, 20, group, 1, 900_000, noise, 600, 300, 120)
    if case["laneBytes"] is None:
        with pytest.raises(RangeError):
            lane_bytes(rules, sealed)
    else:
        assert lane_bytes(rules, sealed) == case["laneBytes"]


@pytest.mark.parametrize("case", VECTORS["shuffles"], ids=lambda case: str(case["count"]))
def test_shuffles(case: dict[str, Any]) -> None:
    seed, count = unhex(case["seed"]), case["count"]
    assert places(seed, count).tolist() == case["places"]
    for index in range(0, count, max(1, count // 20)):
        assert place_of(seed, count, index) == case["places"][index]
        assert index_of(seed, count, case["places"][index]) == index


@pytest.mark.parametrize(
    "case", VECTORS["shapes"], ids=lambda case: f"{case['count']} by {case['groupSize']}"
)
def test_shapes(case: dict[str, Any]) -> None:
    grouping = Grouping(case["count"], case["groupSize"])
    assert (grouping.groups, grouping.height) == (case["groups"], case["height"])
    firsts = case["firstPlaces"]
    for group in range(grouping.groups):
        inside = grouping.places(group)
        assert (inside.start, inside.stop) == (firsts[group], firsts[group + 1])
        for place in (inside.start, inside.stop - 1):
            assert (grouping.group_of(place), grouping.rank_of(place)) == (group, place - inside.start)


@pytest.mark.parametrize("case", VECTORS["masks"], ids=lambda case: str(case["laneBytes"]))
def test_masks(case: dict[str, Any]) -> None:
    lanes = masks.mask(unhex(case["seed"]), 2**20 + 1, case["laneBytes"])
    assert {m: str(lanes[int(m)]) for m in case["lanes"]} == case["lanes"]


@pytest.mark.parametrize("case", VECTORS["shares"], ids=lambda case: str(case["threshold"]))
def test_shares(case: dict[str, Any]) -> None:
    coefficients = [unhex(one) for one in case["coefficients"]]
    flat = np.frombuffer(b"".join(coefficients), dtype=np.uint8).reshape(-1, 1, 32)
    xs = [int(x) for x in case["shares"]]
    made = share(rows([case["secret"]]), xs, flat)
    assert [one.tobytes() for one in made] == [unhex(one) for one in case["shares"].values()]
    last = len(xs) - case["threshold"]
    assert interpolate(made[last:], xs[last:]).tobytes() == unhex(case["secret"])


def test_edges() -> None:
    case = VECTORS["round"]["edge"]
    lower, higher = case["lower"], case["higher"]
    edge = first_edge(epoch().draw, lower, higher, edge_secrets(case))
    for found in case["edges"]:
        assert edge == unhex(found)
        last, edge = edge, next_edge(edge)
    assert mask_seed(last, PLACE["round"]) == unhex(case["maskSeed"])
    assert share_key(last, PLACE["round"], lower, higher) == unhex(case["shareKeyFromLower"])
    assert share_key(last, PLACE["round"], higher, lower) == unhex(case["shareKeyFromHigher"])


@pytest.mark.parametrize(
    ("case", "kind"), list(zip(VECTORS["typedData"], (Enrol, Ready, Masked, Shares), strict=True)), ids=str
)
def test_typed_data(case: dict[str, Any], kind: type) -> None:
    statement = kind(*(unhex(v) if isinstance(v, str) else v for v in case["message"].values()))
    assert case["type"] == kind.TYPE
    assert statement.struct_hash() == unhex(case["structHash"])
    assert statement.digest(DOMAIN) == unhex(case["digest"])
    assert statement.signer(DOMAIN, unhex(case["signature"])) == case["signer"]


def test_wide_sums() -> None:
    case = VECTORS["wideSums"]
    read = masks.read_signed(numbers(case["lanes"]), case["laneBytes"])
    assert read.tolist() == [int(v) for v in case["read"]]
    tree = norm_tree(read)
    assert (tree.top, tree.squares) == (unhex(case["norm"]["hash"]), int(case["norm"]["squares"]))
    check_norm_tree(norm_tree(numbers(case["extreme"]["values"])), case["extreme"]["levels"])


def check_norm_tree(tree: Any, levels: list[list[dict[str, str]]]) -> None:
    wanted = [[(unhex(node["hash"]), int(node["squares"])) for node in level] for level in levels]
    assert [list(level) for level in tree.levels] == wanted


def test_the_epoch_of_the_round() -> None:
    draw = epoch().draw
    assert [one.leaf() for one in draw.roster] == [unhex(one["leafHash"]) for one in ROUND["roster"]]
    assert draw.roster[3].preimage() == unhex(ROUND["roster"][3]["leaf"])
    peaks = roster_range(draw.roster).peaks
    assert [levels[-1][0] for levels in peaks.values()] == [unhex(peak) for peak in ROUND["rosterPeaks"]]
    assert draw.roster_root == unhex(ROUND["rosterRoot"])
    seed = group_seed(DOMAIN, PLACE["epoch"], draw.roster_root, unhex(ROUND["blockHash"]))
    assert seed == unhex(ROUND["groupSeed"])
    assert [draw.place_of(one["member"]) for one in ROUND["roster"]] == [
        one["place"] for one in ROUND["roster"]
    ]
    assert epoch().root == unhex(ROUND["epochRoot"])
    assert close().hash == unhex(ROUND["closedHash"])
    groups = epoch().groups
    assert [group.threshold for group in groups] == ROUND["thresholds"]
    assert [len(group.ready) for group in groups] == ROUND["readyCounts"]
    assert [group.is_open for group in close().groups] == [True, False, True]


def round_edges(case: dict[str, Any]) -> Edges:
    """The edges of a member in the round, from the secrets that the generator gives."""
    group = epoch().groups[case["group"]]
    keys = {}
    for rank in group.ready:
        if rank == case["rank"]:
            continue
        low, high = sorted((case["rank"], rank))
        made = sealed_encodings.edge_case(group.members[low], group.members[high], epoch().draw.roster_root)
        keys[rank] = unhex(made["edges"][-1])
    return Edges(PLACE["round"], keys)


def masking(case: dict[str, Any]) -> Masking:
    group = epoch().groups[case["group"]]
    game = make_sealed_vectors.Round()
    by_other = [game.coefficients(case["place"], group.first + rank) for rank in group.ready]
    flat = b"".join(by_other[j][c] for c in range(group.threshold - 1) for j in range(len(group.ready)))
    shape = (group.threshold - 1, len(group.ready), 32)
    return Masking(unhex(case["ownSeed"]), np.frombuffer(flat, dtype=np.uint8).reshape(shape))


@pytest.mark.parametrize("case", ROUND["members"], ids=lambda case: str(case["place"]))
def test_masked_updates(case: dict[str, Any]) -> None:
    values = case["weight"] * np.array(case["update"], dtype=np.int64)
    update = seal(epoch(), case["member"], round_edges(case), values, K, masking(case))
    group = epoch().groups[case["group"]]
    file = MaskedFile.parse(update.file, group, ELEMENTS, K)
    assert masks.to_bytes(file.lanes, K) == unhex(case["masked"])
    assert [file.commitments.get(rank, bytes(32)) for rank in range(len(group.members))] == [
        unhex(one) for one in case["commitments"]
    ]
    assert update.masked_root == unhex(case["maskedRoot"])
    assert update.seeds_root == unhex(case["seedsRoot"])
    if "deposit" in case:
        assert file.deposit == unhex(case["deposit"])
    tree = masked_tree(file.lanes, K, unhex(case["context"]))
    assert [[row.tobytes() for row in level] for level in tree.levels] == [
        [unhex(one) for one in level] for level in case["maskedTree"]
    ]
    leaf = masked_leaf(tree.context, 0, tree.open(0).payload, K)
    assert leaf == unhex(case["leaf0"])
    seeds = seeds_tree(group, file.commitments)
    assert [[row.tobytes() for row in level] for level in seeds.levels] == [
        [unhex(one) for one in level] for level in case["seedsTree"]
    ]
    assert (
        seed_commitment(tree.context, case["rank"], unhex(case["ownSeed"])) == file.commitments[case["rank"]]
    )


@pytest.mark.parametrize("case", ROUND["members"], ids=lambda case: str(case["place"]))
def test_submissions_and_records(case: dict[str, Any]) -> None:
    one = SealedSubmission.parse(unhex(case["submission"]))
    assert one.to_bytes() == unhex(case["submission"])
    assert (one.member, one.signature) == (case["member"], unhex(case["signature"]))
    assert one.masked.struct_hash() == unhex(case["structHash"])
    one.masked.check_signature(DOMAIN, one.signature, case["member"])
    assert one.digest() == unhex(case["submissionHash"])
    record = SealedRecord(case["place"], case["weight"], one.digest())
    assert record.preimage() == unhex(case["record"])
    assert record.digest() == unhex(case["recordHash"])
    assert SealedRecord.parse(record.preimage()) == record


def seeds_of(case: dict[str, Any]) -> dict[tuple[int, int], bytes]:
    first = epoch().groups[case["group"]].first
    seeds = {(case["rank"], case["rank"]): unhex(case["ownSeed"])}
    for place, seed in zip(case["absentPlaces"], case["absentSeeds"], strict=True):
        seeds[case["rank"], place - first] = unhex(seed)
    return seeds


def unmasked(case: dict[str, Any]) -> np.ndarray:
    lanes = masks.from_bytes(unhex(case["masked"]), ELEMENTS, K)
    return unmask(close().groups[case["group"]], case["rank"], lanes, seeds_of(case), K)


def test_unmasked_vectors() -> None:
    by_place = {case["place"]: case for case in ROUND["members"]}
    for place in ROUND["order"]:
        case = by_place[place]
        assert unmasked(case).tolist() == [int(v) for v in case["unmasked"]]
        for name, seed in seeds_of(case).items():
            check_seed(name, seed, unhex(case["commitments"][name[1]]), unhex(case["context"]))


def test_the_aggregation_of_the_round() -> None:
    by_place = {case["place"]: case for case in ROUND["members"]}
    assert unhex(ROUND["countingBitmap"]) == bitmap(len(epoch().groups), [0, 2])
    groups = []
    for number in (0, 2):
        inside = [by_place[place] for place in ROUND["order"] if by_place[place]["group"] == number]
        groups.append([UnmaskedUpdate(c["weight"], unmasked(c), unhex(c["recordHash"])) for c in inside])
    tree = sealed_tree(groups, ROUND["height"], K)
    levels = [
        [node for group in tree.lower for node in group.levels[level]] for level in range(ROUND["height"] + 1)
    ] + [list(level) for level in tree.upper.levels]
    for level, wanted in zip(levels, ROUND["levels"], strict=True):
        assert [node and node.preimage for node in level] == [
            case and unhex(case["preimage"]) for case in wanted
        ]
    for node, wanted in zip(tree.group_nodes, ROUND["normTrees"], strict=True):
        check_norm_tree(node.norm, wanted)
    stated = [case for level in ROUND["levels"] for case in level if case and "normRoot" in case]
    assert [node.norm.root for node in tree.group_nodes] == [unhex(case["normRoot"]) for case in stated]
    assert tree.root == unhex(ROUND["aggregationRoot"])
    nodes = [group_subtotal(updates, ROUND["height"], K) for updates in groups]
    folded = sealed_fold(nodes)
    assert (folded.hash, folded.sums_root) == (tree.root, tree.top.sums.root)
    assert tree.top.sums.root == unhex(ROUND["aggregateRoot"])
    base = np.array(ROUND["base"], dtype=np.int32)
    mean = sealed_aggregate(WeightedMean(), base, nodes, folded, RoundFacts(1, 16))
    assert mean.sums.tolist() == [int(v) for v in ROUND["sums"]]
    assert mean.total_weight == ROUND["totalWeight"]
    assert mean.model.tolist() == ROUND["model"]
    assert model_root(mean.model) == unhex(ROUND["modelRoot"])


def test_the_range_of_the_round() -> None:
    by_place = {case["place"]: case for case in ROUND["members"]}
    records = [SealedRecord.parse(unhex(by_place[place]["record"])) for place in ROUND["order"]]
    tree = record_range(records)
    assert [levels[-1][0] for levels in tree.peaks.values()] == [unhex(peak) for peak in ROUND["recordPeaks"]]
    assert tree.digest() == unhex(ROUND["recordsRange"])


@pytest.mark.parametrize(
    "case", [c for c in ROUND["members"] if "pairSeeds" in c], ids=lambda c: str(c["place"])
)
def test_pair_seeds(case: dict[str, Any]) -> None:
    edges, first = round_edges(case), epoch().groups[case["group"]].first
    found = {str(first + rank): mask_seed(key, PLACE["round"]) for rank, key in edges.keys.items()}
    assert found == {place: unhex(seed) for place, seed in case["pairSeeds"].items()}
