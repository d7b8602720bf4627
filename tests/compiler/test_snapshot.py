"""The exact gas and size of fixed programs, kept in git: what gets dearer or larger fails, and what gets cheaper is
recorded with `UPDATE_SNAPSHOTS=1 pytest tests/compiler/test_snapshot.py`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evm import PREDICT, Machine, encode
from graphs import big_network, draw_input
from models import CASES, export, keras_like, random_bytes, randomise

from fedvm.compiler import CompileOptions, compile_integer, compile_model
from fedvm.compiler.compiled import CompiledModel
from fedvm.compiler.graph import INPUT, Conv, Dense, IntegerGraph, IntegerLayer, MaxPool

SNAPSHOT = Path(__file__).parent / "snapshots" / "gas.json"
QUANTIZED = 0.01
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "models"


def integer_lenet() -> IntegerGraph:
    """The workshop's LeNet with weights drawn from a fixed seed: quantization cannot shift these figures."""
    rng = np.random.default_rng(1)

    def layer(name, term, outputs, shape, high: int | None = 63, pool=None):
        shift = np.full(outputs, 0 if high is None else 11)
        return IntegerLayer(
            name, (term,), rng.integers(-500, 500, outputs), shift, shape, np.ones(outputs), 0, high, pool
        )

    def weights(*shape):
        return rng.integers(-31, 32, shape)

    halves = MaxPool((2, 2), (2, 2))
    return IntegerGraph(
        draw_input((3, 32, 32), "CHW"),
        (
            layer("conv1", Conv(INPUT, weights(6, 3, 5, 5)), 6, (6, 14, 14), pool=halves),
            layer("conv2", Conv("conv1", weights(16, 6, 5, 5)), 16, (16, 5, 5), pool=halves),
            layer("fc1", Dense("conv2", weights(120, 400)), 120, (120, 1, 1)),
            layer("fc2", Dense("fc1", weights(84, 120)), 84, (84, 1, 1)),
            layer("fc3", Dense("fc2", weights(10, 84)), 10, (10, 1, 1), None),
        ),
    )


def small(name: str) -> CompiledModel:
    make, shape = CASES[name]
    return compile_model(export(randomise(make(), 3), shape), random_bytes(shape, 64))


def figures(model: CompiledModel) -> dict[str, Any]:
    gas = model.manifest["gas"]
    return {
        "predict": gas["evm"],
        "classify": gas["classify"],
        "deploy": gas["deploy"],
        "bytes": [len(code) for code in model.codes],
    }


INTEGER = {
    "integer LeNet": (integer_lenet, "run"),
    "integer LeNet, small code": (integer_lenet, "deploy"),
    "several contracts": (big_network, "run"),
    "several contracts, small code": (big_network, "deploy"),
}


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("name", INTEGER)
def test_integer_networks(name):
    make, optimize = INTEGER[name]
    check(name, compile_integer(make(), options=CompileOptions(optimize=optimize)))


@pytest.mark.parametrize(
    "name", ["lenet", "residual", "shuffle", "one_dimensional", "perceptron", "tanh_perceptron", "silu_block"]
)
def test_float_models(name):
    check(name, small(name), QUANTIZED)


def test_channels_last_model():
    check("channels last", compile_model(keras_like(), random_bytes((8, 8, 3), 64)), QUANTIZED)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("lenet_cifar10_trained", (3, 32, 32), {"preprocess": (1 / 255, 0.0), "activation_bits": 6}),
        pytest.param("mlperf_tiny_resnet8", (32, 32, 3), {}, marks=pytest.mark.slow),
    ],
)
def test_shared_models(name, shape, options):
    """Calibrated on fixed noise, so that no data set is needed; the accurate builds are in the benchmark."""
    path = SHARED / f"{name}.onnx"
    if not path.is_file():
        pytest.skip("no ../shared models")
    check(name, compile_model(path, random_bytes(shape, 64), **options), QUANTIZED)


def check(name: str, model: CompiledModel, slack: float = 0.0) -> None:
    """The figures are the recorded ones, and one prediction is charged exactly what is predicted.

    slack: relative, for models quantized here, where another processor's floating point may round a weight the
    other way; integer networks give the same program everywhere.
    """
    measured = figures(model)
    size = model.manifest["input"]["bytes"]
    outcome = Machine(model).cold(encode(PREDICT, bytes(range(256)) * (size // 256) + bytes(size % 256)))
    assert outcome.returned and outcome.gas == measured["predict"]
    recorded = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    if os.environ.get("UPDATE_SNAPSHOTS"):
        recorded[name] = measured
        SNAPSHOT.parent.mkdir(exist_ok=True)
        temporary = SNAPSHOT.with_suffix(".new")
        temporary.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
        temporary.replace(SNAPSHOT)
        return
    assert name in recorded, "run with UPDATE_SNAPSHOTS=1 and commit the snapshot"
    message = (
        f"{name}: now {measured}, recorded {recorded[name]}; UPDATE_SNAPSHOTS=1 records it if it is meant"
    )
    if not slack:
        assert measured == recorded[name], message
    for key in ("predict", "classify", "deploy"):
        assert measured[key] == pytest.approx(recorded[name][key], rel=slack), message
