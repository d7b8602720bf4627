"""Every encoding of docs/protocol.md, for random values: Python's equals what the Solidity libraries compute.

The libraries run in revm behind contracts/test/harness/Encodings.sol, which `forge build` compiles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_abi.abi import decode
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from test_typed_data import anything, uint, word
from web3 import Web3

from fedvm.chain.revm import RevmProgram
from fedvm.protocol import (
    AGGREGATE,
    MODEL,
    AccuracyTest,
    Commitment,
    CountedUpdate,
    Judged,
    Place,
    PlainTree,
    Rules,
    Sample,
    SamplePool,
    SampleTree,
    Update,
    aggregate_tree,
    aggregation_tree,
    commitment_tree,
    model_tree,
    open_plain,
    open_update,
    roll_up,
    thresholds,
    update_tree,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text()
BUILT = ROOT / "contracts" / "out" / "Encodings.sol" / "Encodings.json"
AT = "0x" + "00" * 18 + "fedd"
KINDS = {MODEL: 0, AGGREGATE: 1}
FEW = settings(max_examples=25, deadline=None)

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: Web3.to_checksum_address(raw))
# Lengths on both sides of a chunk's end and of a level's.
lengths = st.sampled_from([1, 2, 63, 64, 65, 127, 128, 129, 192, 200, 300])
commitments = st.builds(Commitment, addresses, uint(32), word, uint(128))
samples = st.builds(Sample, word, uint(32), st.binary(max_size=80))


def vectors(bits: int) -> st.SearchStrategy[Any]:
    def of(seed: int, length: int) -> Any:
        bounds = np.iinfo(np.int32 if bits == 32 else np.int64)
        values = np.random.default_rng(seed).integers(
            bounds.min, bounds.max, length, bounds.dtype, endpoint=True
        )
        values[seed % length] = bounds.min if seed % 2 else bounds.max
        return values

    return st.builds(of, uint(32), lengths)


class Harness:
    """Calls the Solidity function of a name; one value as it is, several as a tuple."""

    def __init__(self) -> None:
        built = json.loads(BUILT.read_text())
        self._contract = Web3().eth.contract(abi=built["abi"])
        self._outputs = {
            entry["name"]: [_type(output) for output in entry["outputs"]]
            for entry in built["abi"]
            if entry["type"] == "function"
        }
        code = bytes.fromhex(built["deployedBytecode"]["object"].removeprefix("0x"))
        self._program = RevmProgram({AT: code}, AT)

    def call(self, name: str, *arguments: Any) -> Any:
        data = bytes.fromhex(self._contract.encode_abi(name, list(arguments)).removeprefix("0x"))
        result = self._program.call(data)
        assert result.success, result.reason
        values = decode(self._outputs[name], result.output)
        return values[0] if len(values) == 1 else values


def _type(output: dict[str, Any]) -> str:
    if not output["type"].startswith("tuple"):
        return str(output["type"])
    return "(" + ",".join(map(_type, output["components"])) + ")" + output["type"].removeprefix("tuple")


_HARNESS: list[Harness] = []


def solidity(name: str, *arguments: Any) -> Any:
    if not BUILT.exists():
        pytest.skip("run `forge build` in contracts/ to compile the harness")
    if not _HARNESS:
        _HARNESS.append(Harness())
    return _HARNESS[0].call(name, *arguments)


@FEW
@given(uint(64), addresses, uint(64), addresses, vectors(32), st.data())
def test_update_trees(
    chain_id: int, federation: str, number: int, member: str, vector: Any, data: st.DataObject
) -> None:
    place = Place(chain_id, federation, number, member)
    stated = (chain_id, federation, number, member, vector.size)
    assert solidity("context", stated) == place.context(vector.size)
    tree = update_tree(vector, place)
    opening = open_update(tree, data.draw(st.integers(0, (vector.size - 1) // 64)))
    siblings = [(sibling.hash, sibling.sum_squares) for sibling in opening.siblings]
    root = (tree.root, tree.sum_squares)
    assert solidity("updateHolds", stated, opening.index, opening.payload, siblings, root)
    assert not solidity(
        "updateHolds", stated, opening.index, opening.payload, siblings, (tree.root, root[1] + 1)
    )


def _check_plain(tree: PlainTree, size: int, kind: int, index: int) -> None:
    opening = open_plain(tree, index)
    chunk = (opening.payload, [sibling.hash for sibling in opening.siblings])
    assert solidity("vectorHolds", kind, size, index, chunk, tree.root)
    assert not solidity("vectorHolds", kind, size, index, chunk, keccak(tree.root))


@FEW
@given(vectors(32), st.data())
def test_model_trees(vector: Any, data: st.DataObject) -> None:
    _check_plain(
        model_tree(vector), vector.size, KINDS[MODEL], data.draw(st.integers(0, (vector.size - 1) // 64))
    )


@FEW
@given(vectors(64), st.data())
def test_aggregate_trees(vector: Any, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, (vector.size - 1) // 64))
    _check_plain(aggregate_tree(vector), vector.size, KINDS[AGGREGATE], index)


@FEW
@given(st.lists(commitments, min_size=1, max_size=9))
def test_commitments(accepted: list[Commitment]) -> None:
    tree = commitment_tree(accepted)
    found = solidity("peaks", [one.as_tuple() for one in accepted])
    for height in tree.peaks:
        assert found[height] == tree.peak(height)


weighty = st.builds(Commitment, addresses, st.integers(1, 10**8), word, uint(128))


@FEW
@given(
    st.lists(
        st.tuples(weighty, st.integers(-100, 100)),
        min_size=1,
        max_size=6,
        unique_by=lambda one: one[0].member,
    ),
    st.data(),
)
def test_aggregation_trees(counted: list[tuple[Commitment, int]], data: st.DataObject) -> None:
    counted.sort(key=lambda one: int(one[0].member, 16))
    tree = aggregation_tree(
        [CountedUpdate(one, np.arange(70, dtype=np.int32) * step) for one, step in counted]
    )
    position = data.draw(st.integers(0, len(counted) - 1))
    leaf = tree.levels[0][position]
    assert leaf is not None
    path = [step.as_tuple() for step in tree.path(position)]
    assert solidity("aggregationTop", (position, leaf.preimage, path)) == tree.root
    commitment, step = counted[position]
    sums = aggregate_tree(np.arange(70, dtype=np.int64) * step * commitment.weight).root
    assert solidity("aggregationLeaf", leaf.preimage) == (commitment.weight, sums, commitment.digest())


judged = st.builds(
    Judged, addresses, anything, st.binary(min_size=65, max_size=65), st.integers(0, 1), st.just(0)
)


@FEW
@given(st.lists(judged, min_size=1, max_size=6, unique_by=lambda one: one.member), st.data())
def test_rollups(stated: list[Judged], data: st.DataObject) -> None:
    stated.sort(key=lambda one: int(one.member, 16))
    rollup = roll_up(stated)
    index = data.draw(st.integers(0, len(stated) - 1))
    record, one = rollup.records[index], stated[index]
    proof = (index, record.as_tuple(), list(rollup.tree.siblings(index)))
    assert solidity("recordHolds", len(stated), proof, rollup.tree.root)
    assert not solidity("recordHolds", len(stated), proof, keccak(rollup.tree.root))
    assert solidity("submission", (one.member, one.update.as_tuple(), one.signature)) == record.submission


rules = st.builds(
    Rules,
    st.integers(1, 1000), st.integers(1, 1000), uint(32), uint(128), uint(64), uint(8), uint(32), uint(32), uint(64),
    st.integers(1, 10**6), uint(32), uint(32), uint(64), st.sampled_from([bytes(32), bytes([4, 1]) + bytes(30)]),
)  # fmt: skip


@FEW
@given(rules)
def test_rules(stated: Rules) -> None:
    digest, max_weight = solidity("rules", stated.as_tuple())
    assert digest == stated.digest() and max_weight == stated.max_weight


@FEW
@given(anything)
def test_update_structs(update: Update) -> None:
    assert solidity("updateStruct", update.as_tuple()) == update.struct_hash()


@FEW
@given(st.lists(samples, min_size=1, max_size=9), st.data())
def test_samples(validation: list[Sample], data: st.DataObject) -> None:
    tree, index = SampleTree(tuple(validation)), data.draw(st.integers(0, len(validation) - 1))
    assert solidity("sampleRoot", len(validation), index, tree.opened(index)) == tree.root


@FEW
@given(st.integers(1, 40), word, st.data())
def test_draws(size: int, seed: bytes, data: st.DataObject) -> None:
    count, pool = data.draw(st.integers(1, size)), SamplePool(size)
    assert solidity("draws", size, seed, count) == tuple(pool.draw(seed, number) for number in range(count))


@FEW
@given(st.integers(1, 999_998), st.data())
def test_thresholds(fail_ppm: int, data: st.DataObject) -> None:
    pass_ppm = data.draw(st.integers(fail_ppm + 1, 999_999))
    errors = [data.draw(st.integers(1, 999_999)) for _ in range(2)]
    found = thresholds(AccuracyTest(fail_ppm, pass_ppm, *errors))
    stated = (found.gain, found.loss, found.pass_at, found.fail_at)
    assert solidity("thresholds", (fail_ppm, pass_ppm, *errors)) == stated


CASES: dict[str, Callable[..., None] | str] = {
    "context": test_update_trees,
    "0x00": test_update_trees,
    "0x01": test_update_trees,
    "0x02": test_model_trees,
    "0x03": test_model_trees,
    "0x04": test_model_trees,
    "0x05": test_aggregate_trees,
    "0x06": test_aggregate_trees,
    "0x07": test_aggregate_trees,
    "0x08": test_aggregation_trees,
    "0x09": test_aggregation_trees,
    "0x0a": test_commitments,
    "0x0b": test_commitments,
    "0x0c": test_rollups,
    "0x0d": test_rollups,
    "0x0e": test_rollups,
    "0x20": test_samples,
    "0x21": test_samples,
    "0x22": test_samples,
    "Rules": test_rules,
    "Update": test_update_structs,
    "Node": "goes to no contract",
    "draw": test_draws,
    "test": test_thresholds,
}
"""What the page encodes, by first byte or name: the test that compares it, or why none can."""


def test_every_encoding_of_the_page_is_compared() -> None:
    kinds = set(re.findall(r"`(0x[0-9a-f]{2}) ‖", PAGE))
    structs = set(re.findall(r"^(\w+)\(u?int\d+ ", PAGE, re.MULTILINE))
    words = {word for word in ("context", "Rules", "draw", "test") if word in PAGE}
    assert kinds and structs == {"Update", "Node"}
    assert kinds | structs | words == set(CASES)


def test_every_hash_of_encoded_words_on_the_page_is_known() -> None:
    """Those of `abi.encode`, which no first byte marks: a new one needs a case above, or a reason here."""
    known = {
        "abi.encode(uint256 chainId, address federation, uint64 round, address member, uint64 elements)",
        "abi.encode(Rules)",
        "abi.encode(sender, keccak(calldata))",  # of each proof that the court's tests show
        "abi.encode(stages)",  # of each session that the tests of inference deploy
        "abi.encode(creator of the federation, its salt)",  # of each federation that is found genuine
    }
    assert set(re.findall(r"abi\.encode\((?:[^()`]|\([^()]*\))*\)", PAGE)) == known
