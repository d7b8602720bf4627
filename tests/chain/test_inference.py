"""Predictions in several transactions: the scores of one call, whoever runs the stages and whenever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hexbytes import HexBytes
from torch import nn

from fedvm.chain.errors import CallFailed, ChainError
from fedvm.chain.inference import InferenceSession
from fedvm.chain.networks import ANVIL
from fedvm.chain.program import deploy_program
from fedvm.chain.sender import Sender
from fedvm.compiler import CompiledModel, compile_model
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.evm.limits import ETHEREUM_TRANSACTION_GAS_LIMIT
from fedvm.learning.export import export_onnx


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (40, 1, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def staged(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> CompiledModel:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 24, 3),
        nn.ReLU(),
        nn.Conv2d(24, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 5),
    )
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_onnx(network, (1, 28, 28), path)
    whole = compile_model(path, images, preprocess=(1 / 127.5, -1.0))
    limit = whole.manifest["gas"]["transaction"] - 1
    return compile_model(path, images, preprocess=(1 / 127.5, -1.0), max_gas=limit)


def needs(model: CompiledModel) -> list[int]:
    return [row["need"] for row in model.manifest["stages"]]


def _expected(model: CompiledModel, images: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model.reference.SerializeToString())
    return np.asarray(session.run(None, {"input": images})[0])


@pytest.mark.slow
def test_stages_give_the_scores_of_one_call_and_resume(
    staged: CompiledModel, images: np.ndarray, tmp_path: Path
) -> None:
    assert len(staged.stages) > 1
    expected = _expected(staged, images[:3])
    with open_chain(tmp_path / "chain.sqlite", seed=5, create=True) as chain:
        owner, user = chain.account("owner"), chain.account("user")
        stages = [deploy_program(Sender(chain.w3), owner, units).addresses for units in staged.stages]
        sessions, _ = InferenceSession.deploy(chain.w3, owner)
        program, _ = sessions.register(owner, stages, needs(staged))
        assert sessions.register(user, stages, needs(staged))[0] == program  # again is harmless
        first, _ = sessions.start(owner, program, images[0].tobytes())
        second, _ = sessions.start(user, program, images[1].tobytes())
        with pytest.raises(CallFailed, match="NotFinished"):
            sessions.result(first)
        address = sessions.address
    # another process, another account: the state is on the chain
    with open_chain(tmp_path / "chain.sqlite") as chain:
        other = chain.account("user", 1)
        sessions = InferenceSession(chain.w3, address)
        seen: list[tuple[int, int]] = []
        scores = sessions.finish(other, first, progress=lambda done, of: seen.append((done, of)))
        assert np.array_equal(scores, expected[0])
        assert seen[-1] == (len(staged.stages), len(staged.stages))
        assert np.array_equal(sessions.finish(other, second), expected[1])
        assert sessions.state(first).finished and not sessions.state(first).checkpoint
        with pytest.raises(ChainError, match="AlreadyFinished"):
            sessions.advance(other, first)


@pytest.mark.slow
def test_every_transaction_runs_on_the_gas_that_was_predicted(
    staged: CompiledModel, images: np.ndarray, chain: EmbeddedChain
) -> None:
    owner = chain.account("owner")
    stages = [deploy_program(Sender(chain.w3), owner, units).addresses for units in staged.stages]
    sessions, _ = InferenceSession.deploy(chain.w3, owner)
    program, _ = sessions.register(owner, stages, needs(staged))
    limits = [row["transaction"] for row in staged.manifest["stages"]]
    dearest = np.full((1, 1, 28, 28), 255, np.uint8)
    start = sessions.contract.encode_abi("start", args=[program, dearest.tobytes()])
    gas = []
    for number, limit in enumerate(limits):
        data = sessions.contract.encode_abi("advance", args=[1]) if number else start
        receipt = sessions.sender.send(owner, {"to": sessions.address, "data": data, "gas": limit})
        gas.append(receipt.gas_used)
    assert max(limits) <= staged.manifest["max_gas"]["gas"]
    assert all(limit - 35_000 <= used <= limit for used, limit in zip(gas, limits, strict=True)), (
        gas,
        limits,
    )
    assert np.array_equal(sessions.result(1), _expected(staged, dearest)[0])


def test_room_above_an_estimate_keeps_a_transaction_valid(chain: EmbeddedChain) -> None:
    # PUSH1 0 PUSH3 2,700,000 MSTORE: some 14 million gas of memory; then return no code
    code = bytes.fromhex("6000") + b"\x62" + (2_700_000).to_bytes(3, "big") + bytes.fromhex("5260006000f3")
    receipt = Sender(chain.w3, ANVIL).send(chain.account("owner"), {"data": code})
    sent = chain.w3.eth.get_transaction(HexBytes(receipt.tx_hash))
    assert receipt.gas_used * 1.25 > ETHEREUM_TRANSACTION_GAS_LIMIT
    assert receipt.gas_used < sent["gas"] == ETHEREUM_TRANSACTION_GAS_LIMIT


def test_wrong_input_and_unknown_sessions_are_refused(staged: CompiledModel, chain: EmbeddedChain) -> None:
    owner = chain.account("owner")
    stages = [deploy_program(Sender(chain.w3), owner, units).addresses for units in staged.stages]
    sessions, _ = InferenceSession.deploy(chain.w3, owner)
    program, _ = sessions.register(owner, stages, needs(staged))
    with pytest.raises(ChainError):
        sessions.start(owner, program, b"too short")
    with pytest.raises(CallFailed, match="UnknownSession"):
        sessions.state(1)
    with pytest.raises(ChainError, match="UnknownProgram"):
        sessions.start(owner, bytes(32), b"")
