"""Recurrent layers, unrolled, and tables looked up by numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import export, graph_model
from onnx import TensorProto, helper
from test_gates import lowered_right, rows
from test_varying import correct
from torch import nn

from fedvm.compiler import CompileError, compile_model
from fedvm.compiler.fidelity import check_fidelity
from fedvm.compiler.frontend import load_graph, load_lowered

node = helper.make_node


class Steps(nn.Module):
    def __init__(self, layer: nn.Module, last: bool = True) -> None:
        super().__init__()
        self.layer, self.last = layer, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x / 64 - 2)[0]
        return y[:, -1] if self.last else y.flatten(1)


LAYERS = {
    "RNN": lambda: nn.RNN(3, 4, batch_first=True),
    "RNN, relu": lambda: nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
    "GRU": lambda: nn.GRU(3, 4, batch_first=True),
    "LSTM": lambda: nn.LSTM(3, 4, batch_first=True),
    "two layers": lambda: nn.GRU(3, 3, 2, batch_first=True),
    "both directions": lambda: nn.LSTM(3, 3, bidirectional=True, batch_first=True),
}


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_unrolled_to_what_they_compute(name: str, last: bool) -> None:
    torch.manual_seed(1)
    lowered_right(Steps(LAYERS[name](), last), (4, 3))


def test_the_contract_computes_them() -> None:
    torch.manual_seed(2)
    correct(
        export(nn.Sequential(Steps(nn.GRU(3, 3, batch_first=True)), nn.Linear(3, 2)), (3, 3)),
        rows(3, 3).astype(np.float32),
    )


def recurrent(kind: str, gates: int, **given: object) -> bytes:
    """An operator over `[N, T, I]` as Keras' exporters write it."""
    rng = np.random.default_rng(0)
    ways = 2 if given.get("direction") == "bidirectional" else 1
    weights = {
        "w": rng.normal(0, 0.5, (ways, gates * 3, 2)).astype(np.float32),
        "r": rng.normal(0, 0.5, (ways, gates * 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.2, (ways, gates * 6)).astype(np.float32),
        "h": rng.normal(0, 0.5, (ways, 1, 3)).astype(np.float32),
    }
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node(kind, ["t", "w", "r", "b", "", "h"], ["every", "last"], hidden_size=3, **given),
        node("Transpose", ["last"], ["l"], perm=[1, 0, 2]), node("Flatten", ["l"], ["y"]),
    ]  # fmt: skip
    return graph_model(nodes, weights, (1, 4, 2), dtype=TensorProto.FLOAT)


@pytest.mark.parametrize(
    ("kind", "gates", "given"),
    [
        ("GRU", 3, {}), ("GRU", 3, {"linear_before_reset": 1}), ("GRU", 3, {"direction": "reverse"}),
        ("LSTM", 4, {"direction": "bidirectional"}), ("RNN", 1, {"activations": ["Softsign"]}),
    ],
)  # fmt: skip
def test_forms_of_the_operators(kind: str, gates: int, given: dict[str, object]) -> None:
    data = np.random.default_rng(0).normal(size=(100, 4, 2)).astype(np.float32)
    lowered = load_lowered(recurrent(kind, gates, **given), samples=data, probe=data)
    bits = np.random.default_rng(1).integers(0, 256, (8, 4, 2), dtype=np.uint8)
    check_fidelity(lowered, bits)


@pytest.mark.parametrize("given", [{"clip": 1.0}, {"activations": ["Affine"]}])
def test_rare_forms_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(CompileError, match=r"clip|Affine"):
        load_graph(recurrent("RNN", 1, **given), input_range=(-1, 1))


def embedding(rows_of_table: int = 16, kind: int = TensorProto.INT64) -> bytes:
    table = np.random.default_rng(0).normal(size=(rows_of_table, 4)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32)
    nodes = [
        node("Gather", ["t", "x"], ["e"]), node("Flatten", ["e"], ["f"]), node("MatMul", ["f", "w"], ["y"]),
    ]  # fmt: skip
    return graph_model(nodes, {"t": table, "w": weight}, ("N", 3), dtype=kind)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
def test_an_embedding_is_looked_up_by_whole_numbers(kind: int) -> None:
    tokens = np.random.default_rng(2).integers(0, 16, (200, 3))
    compiled = compile_model(embedding(kind=kind), tokens)
    assert compiled.manifest["input"]["scale"] == [1.0] * 3
    assert compiled.manifest["quality"]["correlation"] > 0.999
    assert np.array_equal(compiled.quantize_input(tokens), tokens - tokens.min())


def test_a_table_of_more_rows_than_a_byte_tells_apart_is_refused() -> None:
    with pytest.raises(CompileError, match="300 rows"):
        compile_model(embedding(300), np.random.default_rng(2).integers(0, 200, (100, 3)))


def test_one_hot_numbers() -> None:
    class OneHot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(24, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head((x[..., None] == torch.arange(8.0)).float().flatten(1))

    torch.manual_seed(0)
    data = np.random.default_rng(2).integers(0, 8, (200, 3)).astype(np.float32)
    compiled = compile_model(export(OneHot(), (3,)), data)
    assert compiled.manifest["quality"]["correlation"] > 0.999
