"""Pointwise functions become tables: exactly the reference's, close to the network's, whatever an exporter wrote."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from evm import PREDICT, Machine, encode
from graphs import draw_input
from models import export, graph_model, random_bytes, randomise, run_float, run_graph
from onnx import TensorProto, helper
from torch import nn

from fedvm.compiler import compile_integer, compile_model
from fedvm.compiler.assembler import Assembler, AssemblyError
from fedvm.compiler.canonical import canonical
from fedvm.compiler.culprit import wrong_layer_of_program
from fedvm.compiler.errors import CalibrationError
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.graph import INPUT, SQUARE, Conv, Dense, IntegerGraph, IntegerLayer, MaxPool, Pointwise
from fedvm.compiler.interpreter import run
from fedvm.compiler.kernels.table import aligned, emit_lookup, emit_table, room
from fedvm.compiler.layout import plan_layers
from fedvm.compiler.moves import prove_moves
from fedvm.compiler.probe import probe_inputs, reference_scores

node = helper.make_node

ACTIVATIONS = {
    "celu": lambda: nn.CELU(0.7),
    "elu": lambda: nn.ELU(1.3),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "hardshrink": lambda: nn.Hardshrink(0.3),
    "hardswish": nn.Hardswish,
    "leaky": lambda: nn.LeakyReLU(0.2),
    "logsigmoid": nn.LogSigmoid,
    "mish": nn.Mish,
    "prelu": lambda: nn.PReLU(init=0.3),
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softshrink": lambda: nn.Softshrink(0.3),
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
    "tanhshrink": nn.Tanhshrink,
}
RISING = set(ACTIVATIONS) - {"gelu", "gelu_tanh", "hardswish", "mish", "silu"}


class Scaled(nn.Module):
    """Bytes as numbers from −2 to 2."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x / 64 - 2)


def perceptron(activation) -> nn.Module:
    return randomise(
        Scaled(nn.Linear(20, 16), activation(), nn.Linear(16, 8), activation(), nn.Linear(8, 3)), 3
    )


def convolutions(activation) -> nn.Module:
    return randomise(
        Scaled(
            nn.Conv2d(2, 4, 3, padding=1), activation(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1),
            nn.BatchNorm2d(4), activation(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 5),
        ), 3,
    )  # fmt: skip


def assert_exact(compiled, inputs) -> None:
    """Contract, ONNX Runtime on the reference and predicted gas."""
    machine = Machine(compiled)
    expected = reference_scores(compiled.reference.SerializeToString(), inputs)
    assert np.array_equal(machine.predict(inputs), expected)
    outcome = machine.cold(encode(PREDICT, inputs[0].tobytes()))
    assert outcome.returned and outcome.gas == compiled.manifest["gas"]["evm"]


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_exact_and_close(name):
    for make, shape in ((perceptron, (20,)), (convolutions, (2, 8, 8))):
        model = export(make(ACTIVATIONS[name]), shape)
        graph = load_graph(model)
        noise = random_bytes(shape, 8)
        wanted = run_float(model, noise.astype(np.float32))
        assert np.allclose(run_graph(graph, noise), wanted, atol=2e-4 * np.abs(wanted).max())
        tables = [layer for layer in graph.layers if isinstance(layer.activation, Pointwise)]
        assert len(tables) == 2
        assert all(layer.activation.increasing == (name in RISING) for layer in tables)
        compiled = compile_model(model, random_bytes(shape, 256))  # the default bars hold
        assert_exact(compiled, probe_inputs(graph.input.onnx_shape, noise, 60))
        assert compiled.manifest["quality"]["correlation"] > 0.99
        ops = [row["op"] for row in compiled.manifest["layers"]]
        assert sum("table" in op for op in ops) == 2


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("optimize", ["run", "deploy"])
def test_any_bits_and_aim(bits, optimize):
    model = export(convolutions(nn.SiLU), (2, 8, 8))
    options = {"activation_bits": bits, "optimize": optimize, "min_agreement": 0, "min_correlation": 0}
    compiled = compile_model(model, random_bytes((2, 8, 8), 64), **options)
    assert_exact(compiled, random_bytes((2, 8, 8), 20))


def table_graph(table, *, shape=(2, 6, 13), pool=None, lane_high=63) -> IntegerGraph:
    rng = np.random.default_rng(len(table))
    channels, height, width = shape
    rows, columns = (height, width) if pool is None else (
        (height + pool.pads[0] + pool.pads[2] - pool.kernel[0]) // pool.stride[0] + 1,
        (width + pool.pads[1] + pool.pads[3] - pool.kernel[1]) // pool.stride[1] + 1,
    )  # fmt: skip
    first = IntegerLayer(
        "table", (Conv(INPUT, rng.integers(-9, 10, (3, channels, 3, 3)), pads=(1, 1, 1, 1), pad_value=7),),
        rng.integers(-99, 99, 3), np.full(3, 6), (3, rows, columns), np.ones(3), 0, int(max(table)) | lane_high, pool,
        np.asarray(table),
    )  # fmt: skip
    weight = rng.integers(-20, 21, (4, 3, 3, 3))
    second = Conv("table", weight, pads=(1, 1, 1, 1), pad_value=int(table[0]))
    layers = (
        first,
        IntegerLayer("conv", (second,), rng.integers(-99, 99, 4), np.full(4, 7), (4, rows, columns), np.ones(4)),
        IntegerLayer("scores", (Dense("conv", rng.integers(-9, 10, (5, 4 * rows * columns))),), np.zeros(5, np.int64),
                     np.zeros(5, np.int64), (5, 1, 1), np.ones(5), 0, None),
    )  # fmt: skip
    return IntegerGraph(draw_input(shape, "CHW"), layers)


@pytest.mark.parametrize("entries", [2, 8, 32, 128, 256])
@pytest.mark.parametrize("pool", [None, MaxPool((2, 3), (2, 2)), MaxPool((3, 3), (2, 1), (1, 1, 1, 1))])
def test_tables_of_any_length_after_any_pool(entries, pool):
    rng = np.random.default_rng(entries)
    graph = table_graph(rng.integers(0, 64, entries), pool=pool)
    compiled = compile_integer(graph)
    inputs = np.concatenate([probe_inputs(graph.input.onnx_shape, None, 22), random_bytes((2, 6, 13), 8)])
    assert_exact(compiled, inputs)
    assert np.array_equal(Machine(compiled).predict(inputs), run(graph, inputs))


# -- the proof --------------------------------------------------------------------------------------------------------


def test_a_build_proves_its_tables(monkeypatch):
    plan = plan_layers(table_graph(np.arange(64)))
    prove_moves(plan)

    def wrong_lane(a, entries, at, bits, lane_bits):
        seats = sorted(bits)
        emit_lookup(a, entries, at, [*seats[:-1], seats[-1] - 1], lane_bits)

    def no_mask(a, entries, at, bits, lane_bits):
        start = len(a.instructions)
        emit_lookup(a, entries, at, bits, lane_bits)
        a.instructions[start:] = [
            replace(i, immediate=(1 << 200) - 1) if i.immediate == entries - 1 else i for i in a.instructions[start:]
        ]  # fmt: skip

    def wrong_entry(a, table, at):
        emit_table(a, [*table[:-1], table[-1] ^ 1], at)

    for name, broken in (("emit_lookup", wrong_lane), ("emit_lookup", no_mask), ("emit_table", wrong_entry)):
        with monkeypatch.context() as patch:
            patch.setattr(f"fedvm.compiler.moves.{name}", broken)
            with pytest.raises(AssemblyError, match="layer 'table'"):
                prove_moves(plan)


@pytest.mark.parametrize("entries", [2, 32, 256])
def test_a_table_fits_its_room_wherever_it_begins(entries):
    for base in range(0, 1024, 32):
        at = aligned(base, entries)
        assert at % entries == 0 and base <= at and at + entries - 1 + 32 <= base + room(entries)


def test_a_look_up_costs_some_thirty_gas_a_lane():
    a = Assembler()
    a.push(0)
    emit_lookup(a, 256, 0x8000, range(0, 252, 21), 21)
    assert sum(s.gas for s in a.sections.values()) < 32 * 12 + 10


# -- chains -----------------------------------------------------------------------------------------------------------

EYE = np.eye(6, dtype=np.float32) / 50
WEIGHTS = {"w": EYE, "v": np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)}


def chain_model(nodes, constants=None, opset=17) -> onnx.ModelProto:
    """MatMul, the nodes from "a" to "z", MatMul."""
    whole = [node("MatMul", ["x", "w"], ["a"]), *nodes, node("MatMul", ["z", "v"], ["y"])]
    return graph_model(whole, WEIGHTS | (constants or {}), ("N", 6), opset=opset)


CHAINS = {
    "gelu": (
        [node("Div", ["a", "root"], ["b"]), node("Erf", ["b"], ["c"]), node("Add", ["c", "one"], ["d"]),
         node("Mul", ["a", "d"], ["e"]), node("Mul", ["e", "half"], ["z"])],
        {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)},
    ),
    "hardswish": (
        [node("Add", ["a", "three"], ["b"]), node("Clip", ["b", "zero", "six"], ["c"]), node("Mul", ["a", "c"], ["d"]),
         node("Div", ["d", "six"], ["z"])],
        {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)},
    ),
    "square": ([node("Mul", ["a", "a"], ["z"])], {}),
    "power": ([node("Pow", ["a", "three"], ["z"])], {"three": np.float32(3)}),
    "abs": ([node("Abs", ["a"], ["z"])], {}),
    "root": ([node("Abs", ["a"], ["b"]), node("Sqrt", ["b"], ["z"])], {}),
    "exp": ([node("Neg", ["a"], ["b"]), node("Exp", ["b"], ["z"])], {}),
    "thresholded": ([node("ThresholdedRelu", ["a"], ["z"], alpha=0.5)], {}),
    "shrink": ([node("Shrink", ["a"], ["z"], lambd=0.5, bias=0.25)], {}),
    "below_one": ([node("Sub", ["one", "a"], ["b"]), node("Tanh", ["b"], ["z"])], {"one": np.float32(1)}),
    "over": ([node("Mul", ["a", "a"], ["b"]), node("Add", ["b", "one"], ["c"]), node("Div", ["one", "c"], ["z"])],
             {"one": np.float32(1)}),
    "where": ([node("Greater", ["a", "one"], ["b"]), node("Sigmoid", ["a"], ["c"]),
               node("Where", ["b", "c", "half"], ["z"])], {"one": np.float32(0.3), "half": np.float32(0.5)}),
    "long": ([node("Tanh", ["a"], ["b"]), node("Relu", ["b"], ["c"]), node("Softplus", ["c"], ["d"]),
              node("Cos", ["d"], ["z"])], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_one_table(name):
    nodes, constants = CHAINS[name]
    model = chain_model(nodes, constants)
    graph = load_graph(model)
    assert [isinstance(layer.activation, Pointwise) for layer in graph.layers] == [True, False]
    noise = random_bytes((6,), 12)
    wanted = run_float(model, noise.astype(np.float32))
    assert np.allclose(run_graph(graph, noise), wanted, atol=2e-4 * np.abs(wanted).max() + 1e-6)
    compiled = compile_model(model, random_bytes((6,), 200), min_agreement=0)
    assert_exact(compiled, noise)


@pytest.mark.parametrize(("op", "opset", "attributes"), [
    ("Gelu", 20, {}), ("Gelu", 20, {"approximate": "tanh"}), ("Mish", 18, {}), ("HardSwish", 14, {}),
    ("Swish", 24, {"alpha": 1.5}), ("Celu", 12, {"alpha": 2.0}),
])  # fmt: skip
def test_operators_of_newer_sets(op, opset, attributes):
    model = chain_model([node(op, ["a"], ["z"], **attributes)], opset=opset)
    compiled = compile_model(model, random_bytes((6,), 200), min_agreement=0)
    assert_exact(compiled, random_bytes((6,), 12))


def test_bounds_alone_need_no_table():
    nodes = [node("Relu", ["a"], ["b"]), node("Mul", ["b", "two"], ["c"]), node("Min", ["c", "two"], ["z"])]
    graph = load_graph(chain_model(nodes, {"two": np.float32(2)}))
    assert not any(isinstance(layer.activation, Pointwise) for layer in graph.layers)


def test_what_moves_or_stretches_a_function_costs_nothing():
    nodes = [node("Tanh", ["a"], ["b"]), node("Mul", ["b", "big"], ["c"]), node("Add", ["c", "big"], ["z"])]
    model = chain_model(nodes, {"big": np.float32(100)})
    graph = load_graph(model)
    assert [layer.activation.name for layer in graph.layers[:-1]] == ["Tanh"]
    assert compile_model(model, random_bytes((6,), 200)).manifest["quality"]["correlation"] > 0.995


def test_what_others_read_is_no_part_of_a_chain():
    """The sum of a tensor and its own function is one function, unless somebody else reads what lies in between."""
    nodes = [node("Sigmoid", ["a"], ["b"]), node("Mul", ["a", "b"], ["c"])]
    model = chain_model([*nodes, node("MatMul", ["b", "w"], ["d"]), node("Add", ["c", "d"], ["z"])])
    assert (
        sum(layer.activation is SQUARE for layer in load_graph(model).layers) == 2
    )  # a product of two tensors
    model = chain_model([*nodes, node("MatMul", ["a", "w"], ["d"]), node("Add", ["c", "d"], ["z"])])
    noise = random_bytes((6,), 8)
    wanted = run_float(model, noise.astype(np.float32))
    assert np.allclose(run_graph(load_graph(model), noise), wanted, atol=2e-4 * np.abs(wanted).max())
    assert_exact(compile_model(model, random_bytes((6,), 200)), noise)


def test_slopes_by_channel():
    module = randomise(Scaled(nn.Conv2d(2, 4, 3), nn.PReLU(4), nn.Flatten(), nn.Linear(64, 3)), 2)
    with torch.no_grad():
        module.layers[1].weight.copy_(torch.tensor([0.1, -0.5, 0.9, 1.5]))
    model = export(module, (2, 6, 6))
    noise = random_bytes((2, 6, 6), 8)
    wanted = run_float(model, noise.astype(np.float32))
    assert np.allclose(run_graph(load_graph(model), noise), wanted, atol=2e-4 * np.abs(wanted).max())
    assert_exact(compile_model(model, random_bytes((2, 6, 6), 100)), noise)


def test_padded_values_go_through_the_function():
    constants = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "k": np.ones((1, 1, 3, 3), np.float32) / 99}
    nodes = [node("Conv", ["x", "k"], ["a"]), node("Tanh", ["a"], ["t"]), node("Pad", ["t", "pads"], ["p"]),
             node("Abs", ["p"], ["b"]), node("Conv", ["b", "k"], ["c"]), node("Flatten", ["c"], ["y"])]  # fmt: skip
    model = graph_model(nodes, constants, ("N", 1, 6, 6))
    noise = random_bytes((1, 6, 6), 8)
    wanted = run_float(model, noise.astype(np.float32))
    assert np.allclose(run_graph(load_graph(model), noise), wanted, atol=2e-4 * np.abs(wanted).max())


def test_the_reference_is_a_standard_file():
    compiled = compile_model(export(perceptron(nn.Tanh), (20,)), random_bytes((20,), 100))
    onnx.checker.check_model(compiled.reference, full_check=True)
    ops = [n.op_type for n in compiled.reference.graph.node]
    assert ops.count("Gather") == 2 and {i.domain for i in compiled.reference.opset_import} == {""}
    assert compiled.reference.graph.output[0].type.tensor_type.elem_type == TensorProto.INT32


def test_a_function_that_ends_within_its_steps():
    """A logarithm has no value below 0; inputs that calibration has not seen go there all the same."""
    nodes = [node("Abs", ["a"], ["b"]), node("Add", ["b", "half"], ["c"]), node("Log", ["c"], ["d"]),
             node("MatMul", ["d", "u"], ["e"]), node("Log", ["e"], ["z"])]  # fmt: skip
    constants = {"half": np.float32(2), "u": np.eye(6, dtype=np.float32)}
    model = chain_model(nodes, constants)
    compiled = compile_model(model, random_bytes((6,), 200), min_agreement=0)
    assert_exact(compiled, probe_inputs(load_graph(model).input.onnx_shape, None, 22))


def test_infinities_in_the_calibration_data_are_named():
    data = np.full((40, 6), 9, np.uint8)
    data[:, 0], data[7] = np.arange(40), 0
    model = chain_model([node("Log", ["a"], ["z"], name="depth")])
    with pytest.raises(CalibrationError, match="NaN or infinity"):
        compile_model(model, data)


def test_functions_of_what_was_joined_and_cut():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 4, 1)
            self.c, self.head = nn.Conv2d(7, 6, 3), nn.Linear(3 * 4 * 4, 2)

        def forward(self, x):
            x = x / 64 - 2
            x = nn.functional.silu(torch.cat([self.a(x), self.b(x)], 1))
            left, right = self.c(x).chunk(2, dim=1)
            return self.head((torch.tanh(left) + nn.functional.elu(right)).flatten(1))

    model = export(randomise(Joined(), 4), (2, 6, 6))
    noise = random_bytes((2, 6, 6), 10)
    wanted = run_float(model, noise.astype(np.float32))
    assert np.allclose(run_graph(load_graph(model), noise), wanted, atol=2e-4 * np.abs(wanted).max())
    assert_exact(compile_model(model, random_bytes((2, 6, 6), 100)), noise)


@pytest.mark.parametrize("pool", [None, MaxPool((3, 3), (2, 1), (1, 1, 1, 1))])
def test_tables_in_stages(pool):
    """With every step a stage of its own, each state holds what the layers before it give."""
    graph = table_graph(np.random.default_rng(1).integers(0, 64, 256), pool=pool)
    plan = plan_layers(canonical(graph))
    assert (
        wrong_layer_of_program(plan, graph, random_bytes((2, 6, 13), 4)) == "scores"
    )  # which end in no state
