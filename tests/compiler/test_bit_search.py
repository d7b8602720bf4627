"""The compiler chooses bits: less gas, within the accuracy that may be lost, and the same program without a search."""

from __future__ import annotations

import numpy as np
import pytest
from models import random_bytes
from onnx import TensorProto, helper, numpy_helper

from fedvm.compiler import CalibrationError, CompileError, compile_model
from fedvm.compiler.bit_search import Loss


def classifier() -> bytes:
    """Two dense layers of random weights; what they say is the truth here."""
    rng = np.random.default_rng(3)
    first = rng.normal(size=(16, 40)).astype(np.float32) / 400
    second = rng.normal(size=(40, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "b")],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


def answers(model: bytes, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.astype(np.float32)})[0].argmax(axis=1)


def test_a_search_saves_gas_within_the_loss_and_its_bits_make_the_same_program_again():
    model, x = classifier(), random_bytes((16,), 1200)
    options = {"preprocess": (1.0, 0.0), "min_agreement": 0, "min_correlation": 0}
    labels = answers(model, x)
    plain = compile_model(model, x, **options, verify=False)
    found = compile_model(model, x, **options, labels=labels, max_accuracy_loss=12)
    search = found.manifest["search"]
    assert found.manifest["gas"]["evm"] < plain.manifest["gas"]["evm"]
    assert search["loss"] + search["error"] <= 12 and search["trials"] > 1
    assert search["fresh_loss"] <= 12
    assert search["rows"] + search["fresh_rows"] + 300 == 1200
    kept = {name: found.manifest["options"][name] for name in ("activation_bits", "input_bits", "lane_bits")}
    again = compile_model(model, x, **options, **kept, verify=False)
    assert again.codes == found.codes


@pytest.mark.slow
def test_more_that_may_be_lost_never_costs_more():
    model, x = classifier(), random_bytes((16,), 1200)
    options = {"preprocess": (1.0, 0.0), "min_agreement": 0, "min_correlation": 0, "verify": False}
    labels = answers(model, x)
    gas = [
        compile_model(model, x, **options, labels=labels, max_accuracy_loss=loss).manifest["gas"]["evm"]
        for loss in (6, 25)
    ]
    assert gas[0] >= gas[1]


def test_a_loss_counts_with_its_standard_error():
    before, after = np.ones(400, bool), np.ones(400, bool)
    after[:4] = False
    loss = Loss.of(before, after)
    assert loss.points == pytest.approx(1) and loss.error == pytest.approx(100 * np.sqrt(0.01 * 0.99 / 400))
    assert loss.within(1.5) and not loss.within(1.4)


def test_a_search_needs_labels_and_inputs():
    model, x = classifier(), random_bytes((16,), 200)
    options = {"preprocess": (1.0, 0.0), "min_agreement": 0, "min_correlation": 0}
    with pytest.raises(CalibrationError, match="without labels"):
        compile_model(model, x, **options, max_accuracy_loss=1)
    with pytest.raises(CalibrationError, match="at least 100"):
        compile_model(model, x[:50], **options, max_accuracy_loss=1, labels=answers(model, x[:50]))
    with pytest.raises(CompileError, match="between 0 and 100"):
        compile_model(model, x, **options, max_accuracy_loss=0)
    wrong = (answers(model, x) + 1) % 4
    with pytest.raises(CompileError):
        compile_model(model, x, **options, max_accuracy_loss=1, labels=wrong[:100])


def test_what_already_loses_too_much_is_said():
    model, x = classifier(), random_bytes((16,), 400)
    options = {"preprocess": (1.0, 0.0), "min_agreement": 0, "min_correlation": 0, "activation_bits": 1}
    with pytest.raises(CalibrationError, match="already before any bit is given up"):
        compile_model(model, x, **options, max_accuracy_loss=0.5, labels=answers(model, x))


def test_steps_are_taken_back_that_lose_too_much_on_inputs_kept_for_the_end(monkeypatch):
    model, x = classifier(), random_bytes((16,), 1200)
    options = {"preprocess": (1.0, 0.0), "min_agreement": 0, "min_correlation": 0, "verify": False}
    judged: list[float] = []

    def fresh(self, bits):
        judged.append(sum(bits.lanes.values()))
        return Loss(400, 99.0, 1.0)

    monkeypatch.setattr("fedvm.compiler.bit_search._Search.fresh", fresh)
    found = compile_model(model, x, **options, labels=answers(model, x), max_accuracy_loss=12)
    assert len(judged) > 1 and judged == sorted(judged)  # back up the steps, to the first choice
    assert found.codes == compile_model(model, x, **options).codes
