"""What `compile_model` returns: files that come back the same or are refused, linking, deployment, refused calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest
from building import AIMS, compile_or_skip
from eth_account import Account
from eth_hash.auto import keccak
from evm import CLASSIFY, PREDICT, Machine, address_of, call, encode, fresh, scores_of
from exact_bench.inputs import hard_inputs
from graphs import big_network, draw_input, networks
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from web3 import HTTPProvider, Web3

from fedvm.chain.program import deploy_program
from fedvm.chain.sender import Sender
from fedvm.compiler import CompiledModel, CompileError, CompileOptions, compile_integer
from fedvm.compiler.graph import INPUT, Dense, IntegerGraph, IntegerLayer
from fedvm.compiler.interpreter import run
from fedvm.evm.creation import creation_code, creation_gas

ERRORS = {
    name: keccak(f"{name}({types})".encode())[:4]
    for name, types in {
        "WrongInputLength": "uint256,uint256", "MalformedInput": "", "PartFailed": "", "UnknownFunction": "",
    }.items()
}  # fmt: skip


@pytest.fixture(scope="module", params=AIMS)
def big(request) -> CompiledModel:
    return compile_integer(big_network(), options=CompileOptions(optimize=request.param))


def tiny_graph() -> IntegerGraph:
    weight = np.arange(-9, 9).reshape(3, 6)
    bias, still = np.array([5, -6, 7]), np.zeros(3, np.int64)
    layer = IntegerLayer("scores", (Dense(INPUT, weight),), bias, still, (3, 1, 1), np.ones(3), 0, None)
    return IntegerGraph(draw_input((6, 1, 1), "CHW"), (layer,))


@pytest.fixture(scope="module")
def tiny() -> CompiledModel:
    return compile_integer(tiny_graph())


# -- files ----------------------------------------------------------------------------------------------------------


def test_what_is_saved_comes_back(big, tmp_path):
    big.save(tmp_path / "out")
    loaded = CompiledModel.load(tmp_path / "out")
    assert loaded.units == big.units and loaded.manifest == json.loads(json.dumps(big.manifest))
    assert loaded.asm() == big.asm()
    assert loaded.reference.SerializeToString() == big.reference.SerializeToString()
    assert json.loads((tmp_path / "out" / "abi.json").read_text()) == big.abi
    assert not [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("name", ["entry.bin", "model.int.onnx"])
def test_a_changed_file_is_refused(tiny, tmp_path, name):
    tiny.save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CompileError, match=f"{name} is not the"):
        CompiledModel.load(tmp_path)


@pytest.mark.parametrize("name", ["entry.bin", "model.int.onnx", "manifest.json", "program.asm"])
def test_a_missing_file_is_named(tiny, tmp_path, name):
    tiny.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CompileError, match=f"holds no compiled model.*{name}"):
        CompiledModel.load(tmp_path)


def test_a_broken_manifest_is_refused(tiny, tmp_path):
    tiny.save(tmp_path)
    (tmp_path / "manifest.json").write_text('{"contracts": [')
    with pytest.raises(CompileError, match="holds no compiled model"):
        CompiledModel.load(tmp_path)


def test_foreign_code_is_refused_though_the_manifest_names_it(tiny, tmp_path):
    code = b"\x33" + tiny.codes[0]  # CALLER
    manifest = json.loads(json.dumps(tiny.manifest))
    manifest["contracts"][0]["code_hash"] = "0x" + keccak(code).hex()
    replace(tiny, manifest=manifest, units=(replace(tiny.units[0], code=code),)).save(tmp_path)
    with pytest.raises(CompileError, match="opcode 0x33"):
        CompiledModel.load(tmp_path)


# -- linking --------------------------------------------------------------------------------------------------------


def test_linking_fills_in_every_address(big):
    addresses = [address_of(i) for i in range(len(big.codes) - 1)]
    *_, entry = big.link(addresses)
    named = {symbol for unit in big.units for symbol in unit.symbols}
    assert named == {unit.name for unit in big.units[:-1]}
    for symbol, offsets in big.units[-1].symbols.items():
        index = [unit.name for unit in big.units].index(symbol)
        for at in offsets:
            assert entry[at : at + 20] == bytes.fromhex(addresses[index][2:])


def test_a_missing_address_is_named(big):
    with pytest.raises(CompileError, match="whose address is not given"):
        big.link([])


def test_no_contract_is_larger_than_allowed(big):
    assert all(len(code) <= 24_576 for code in big.codes)
    with pytest.raises(ValueError, match="a contract may have 24576"):
        creation_code(bytes(24_577))


@given(st.binary(min_size=1, max_size=3000))
@settings(max_examples=20, deadline=None)
def test_creation_code_creates_the_code_at_the_predicted_gas(runtime):
    runtime = b"\x00" + runtime
    evm = fresh([])
    address = evm.deploy("0x" + "00" * 19 + "01", creation_code(runtime))
    assert bytes(evm.get_code(address)).rstrip(b"\0") == runtime.rstrip(b"\0")
    assert evm.result.gas_used == creation_gas(runtime)


# -- refused calls --------------------------------------------------------------------------------------------------


def refusal(model: CompiledModel, calldata: bytes) -> bytes:
    outcome = Machine(model).cold(calldata)
    assert not outcome.returned
    return outcome.data


@pytest.mark.parametrize("selector", [PREDICT, CLASSIFY])
@pytest.mark.parametrize("length", [0, 1, 5, 7, 38, 262])
def test_another_length_is_refused_with_both_lengths(tiny, selector, length):
    wanted = ERRORS["WrongInputLength"] + (6).to_bytes(32, "big") + length.to_bytes(32, "big")
    assert refusal(tiny, encode(selector, bytes(length))) == wanted


@pytest.mark.parametrize(
    "calldata", [b"", b"\x01", PREDICT[:3], b"\0\0\0\0" + encode(PREDICT, bytes(6))[4:], bytes(200)]
)
def test_unknown_functions_are_refused(tiny, calldata):
    assert refusal(tiny, calldata) == ERRORS["UnknownFunction"]


def test_encodings_that_are_not_canonical_are_refused(tiny):
    good = encode(PREDICT, bytes([1, 2, 3, 4, 5, 6]))
    exact = good[: 68 + 6]
    assert Machine(tiny).cold(exact).returned
    assert refusal(tiny, exact[:-1]) == ERRORS["MalformedInput"]
    for offset in (0, 31, 33, 64, 2**255):
        assert refusal(tiny, good[:4] + offset.to_bytes(32, "big") + good[36:]) == ERRORS["MalformedInput"]


def test_what_follows_the_input_changes_nothing(tiny):
    data = bytes([1, 200, 3, 255, 5, 6])
    exact = encode(PREDICT, data)[: 68 + 6]
    wanted = run(tiny_graph(), np.frombuffer(data, np.uint8).reshape(1, 6, 1, 1))[0]
    for tail in (b"", b"\0" * 26, b"\xff" * 26, b"\xff" * 300):
        assert np.array_equal(scores_of(Machine(tiny).cold(exact + tail).data), wanted)


def test_a_missing_or_failing_part_fails_the_call(big):
    calldata = encode(PREDICT, bytes(432))
    linked = big.link([address_of(i) for i in range(len(big.codes) - 1)])
    entry = len(linked) - 1
    for index, unit in enumerate(big.units[:-1]):
        if unit.code[:1] == b"\0":
            continue  # weights, which are read and not called
        for other in (b"", b"\x5f\x5f\xfd", b"\xfe", b"\x5f\x5f\xf3", b"\x60\x01\x5f\xf3"):
            outcome = call(fresh([*linked[:index], other, *linked[index + 1 :]]), entry, calldata)
            assert not outcome.returned and outcome.data == ERRORS["PartFailed"]


def test_too_little_gas_gives_no_answer(big):
    machine = Machine(big)
    calldata = encode(PREDICT, bytes(432))
    needed = machine.cold(calldata).gas
    for share in (0.1, 0.5, 0.9, 0.999):
        assert not machine.cold(calldata, gas=int(needed * share)).returned


# -- a node ---------------------------------------------------------------------------------------------------------


OWNER = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
"""Public: anvil's account 0."""


@pytest.fixture(scope="module")
def w3(start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[Web3]:
    """An anvil of its own with the Osaka rules."""
    with start_anvil("--hardfork", "osaka") as url:
        yield Web3(HTTPProvider(url, request_kwargs={"timeout": 60}))


def answers(w3: Web3, model: CompiledModel, address: str, inputs):
    """Scores and classes as the node answers, through the ABI."""
    contract = w3.eth.contract(address=w3.to_checksum_address(address), abi=model.abi)
    scores = [contract.functions.predict(row.tobytes()).call() for row in inputs]
    classes = [contract.functions.classify(row.tobytes()).call() for row in inputs[:4]]
    return np.array(scores), np.array(classes)


def test_deployment_on_a_node(w3, big):
    seen: list[tuple[int, int]] = []
    deployed = deploy_program(Sender(w3), OWNER, big.units, lambda done, total: seen.append((done, total)))
    total = len(big.codes)
    assert seen == [(i + 1, total) for i in range(total)] and len(deployed.parts) == total - 1
    assert bytes(w3.eth.get_code(deployed.entry)) == big.link(deployed.parts)[-1]
    assert deployed.gas_used >= sum(creation_gas(code) for code in big.codes)
    assert (
        deployed.gas_used - sum(creation_gas(code) for code in big.codes) < 21 * 16 * total
    )  # addresses for zeros
    inputs = hard_inputs(big_network(), 12, 4)
    scores, classes = answers(w3, big, deployed.entry, inputs)
    wanted = run(big_network(), inputs)
    assert np.array_equal(scores, wanted) and np.array_equal(classes, wanted[:4].argmax(axis=1))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_cases_on_a_node(w3):
    compared = 0

    @settings(
        max_examples=60, deadline=None, database=None, derandomize=True, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(networks(), st.sampled_from(AIMS), st.integers(0, 2**32 - 1))
    def compare(graph, optimize, seed):
        nonlocal compared
        model = compile_or_skip(graph, optimize)
        deployed = deploy_program(Sender(w3), OWNER, model.units)
        inputs = hard_inputs(graph, 20, seed)
        wanted = run(graph, inputs).reshape(len(inputs), -1)
        scores, classes = answers(w3, model, deployed.entry, inputs)
        assert np.array_equal(scores, wanted) and np.array_equal(classes, wanted[:4].argmax(axis=1))
        compared += len(inputs)

    compare()
    assert compared >= 1000
