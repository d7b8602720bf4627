"""fedvm.protocol against the shared vectors, and the vectors against their generator."""

import json

import make_vectors
import numpy as np
import pytest

from fedvm.protocol import (
    Commitment,
    CountedUpdate,
    Domain,
    Judged,
    Place,
    Rollup,
    Rules,
    Submission,
    Update,
    aggregate_tree,
    aggregation_tree,
    commitment_tree,
    model_tree,
    recover_signer,
    roll_up,
    sign_update,
    update_digest,
    update_tree,
)
from fedvm.protocol.consent import DirectConsent, KeyProof

VECTORS = json.loads(make_vectors.PATH.read_text())
PLACE = VECTORS["place"]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def named(cases: list[dict]) -> list:
    return [pytest.param(case, id=case["name"]) for case in cases]


def test_the_file_is_what_the_generator_writes() -> None:
    assert make_vectors.PATH.read_text() == make_vectors.render()


@pytest.mark.parametrize("case", named(VECTORS["updates"]))
def test_update_trees(case: dict) -> None:
    values = np.array(case["values"], dtype=np.int32)
    context = Place(PLACE["chainId"], PLACE["federation"], PLACE["round"], PLACE["member"])
    tree = update_tree(values, context)
    assert tree.context == unhex(case["context"])
    assert tree.hashes == tuple([unhex(node["hash"]) for node in level] for level in case["levels"])
    assert tree.sums == tuple([int(node["sumSquares"]) for node in level] for level in case["levels"])
    assert tree.root == unhex(case["root"])
    assert tree.sum_squares == int(case["sumSquares"])


@pytest.mark.parametrize("case", named(VECTORS["models"]))
def test_model_trees(case: dict) -> None:
    tree = model_tree(np.array([int(v) for v in case["values"]], dtype=np.int32))
    assert tree.hashes == tuple([unhex(node) for node in level] for level in case["levels"])
    assert tree.root == unhex(case["root"])


@pytest.mark.parametrize("case", named(VECTORS["aggregates"]))
def test_aggregate_trees(case: dict) -> None:
    tree = aggregate_tree(np.array([int(v) for v in case["values"]], dtype=np.int64))
    assert tree.hashes == tuple([unhex(node) for node in level] for level in case["levels"])
    assert tree.root == unhex(case["root"])


def test_rules_hash() -> None:
    *numbers, aggregator = VECTORS["rules"]["rules"].values()
    rules = Rules(*(int(value) for value in numbers), aggregator=unhex(aggregator))
    assert rules.max_weight == VECTORS["rules"]["maxWeight"]
    assert rules.digest() == unhex(VECTORS["rules"]["rulesHash"])


def test_typed_data() -> None:
    case = VECTORS["typedData"]
    message = case["message"]
    update = Update(
        round=message["round"],
        rules_hash=unhex(message["rulesHash"]),
        base_root=unhex(message["baseRoot"]),
        update_root=unhex(message["updateRoot"]),
        sum_squares=int(message["sumSquares"]),
        elements=message["elements"],
        fraction_bits=message["fractionBits"],
        examples=message["examples"],
        accuracy_ppm=message["accuracyPpm"],
        loss_micros=message["lossMicros"],
        labels=message["labels"],
        epsilon_micros=message["epsilonMicros"],
        deadline=message["deadline"],
        cid=unhex(message["cid"]),
    )
    domain = Domain(case["domain"]["chainId"], case["domain"]["verifyingContract"])
    assert domain.separator() == unhex(case["domainSeparator"])
    assert update.struct_hash() == unhex(case["structHash"])
    assert update_digest(update, domain) == unhex(case["digest"])
    assert sign_update(update, domain, case["privateKey"]) == unhex(case["signature"])
    assert recover_signer(update, domain, unhex(case["signature"])) == case["signer"]

    case = VECTORS["direct"]
    consent = DirectConsent.to(update, case["message"]["member"])
    assert (consent.round, consent.update) == (case["message"]["round"], unhex(case["message"]["update"]))
    assert consent.struct_hash() == unhex(case["structHash"])
    assert consent.sign(domain, case["privateKey"]) == unhex(case["signature"])

    case = VECTORS["signingKey"]
    proof = KeyProof(case["message"]["member"], case["message"]["nonce"])
    assert proof.struct_hash() == unhex(case["structHash"])
    assert proof.sign(domain, case["privateKey"]) == unhex(case["signature"])
    assert proof.signer(domain, unhex(case["signature"])) == case["signer"]


@pytest.mark.parametrize("case", named(VECTORS["aggregations"]))
def test_aggregations(case: dict) -> None:
    commitments = [
        Commitment(c["member"], c["weight"], unhex(c["updateRoot"]), int(c["sumSquares"]))
        for c in case["commitments"]
    ]
    assert [c.digest() for c in commitments] == [unhex(c["leaf"]) for c in case["commitments"]]
    peaks = commitment_tree(commitments)
    assert {str(height): peaks.peak(height) for height in peaks.peaks} == {
        height: unhex(peak) for height, peak in case["peaks"].items()
    }
    assert peaks.digest() == unhex(case["range"])
    updates = [
        CountedUpdate(commitment, np.array(stated["values"], dtype=np.int32))
        for commitment, stated in zip(commitments, case["commitments"], strict=True)
    ]
    tree = aggregation_tree(updates)
    assert [
        [node and (node.weight, node.sums.root, node.hash) for node in level] for level in tree.levels
    ] == [
        [node and (node["weight"], unhex(node["sums"]), unhex(node["hash"])) for node in level]
        for level in case["levels"]
    ]
    assert tree.root == unhex(case["aggregationRoot"]) and tree.top.weight == case["totalWeight"]
    assert tree.top.sums.root == unhex(case["aggregateRoot"])


@pytest.mark.parametrize("case", named(VECTORS["rollups"]))
def test_rollups(case: dict) -> None:
    judged = []
    for stated in case["records"]:
        one = Submission.parse(stated["member"], unhex(stated["bytes"]))
        assert one.signature == unhex(stated["signature"])
        assert (one.update.update_root, one.update.sum_squares) == (
            unhex(stated["updateRoot"]),
            int(stated["sumSquares"]),
        )
        assert one.update.cid == unhex(VECTORS["typedData"]["message"]["cid"])
        judged.append(Judged(one.member, one.update, one.signature, stated["reason"], stated["weight"]))
    rollup = roll_up(judged)
    assert rollup.submissions == tuple(unhex(stated["bytes"]) for stated in case["records"])
    fields = ("member", "reason", "weight", "accepted", "total")
    assert [record.as_tuple() for record in rollup.records] == [
        (*(stated[field] for field in fields), unhex(stated["submission"])) for stated in case["records"]
    ]
    assert [record.digest() for record in rollup.records] == [
        unhex(stated["leaf"]) for stated in case["records"]
    ]
    assert rollup.tree.root == unhex(case["recordsRoot"])
    assert (rollup.accepted, rollup.total_weight) == (case["accepted"], case["totalWeight"])
    assert {str(height): rollup.range.peak(height) for height in rollup.range.peaks} == {
        height: unhex(peak) for height, peak in case["peaks"].items()
    }
    assert Rollup.parse(rollup.to_bytes()) == rollup
