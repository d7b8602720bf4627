"""Small networks for the compiler's tests, as PyTorch modules and as hand-written ONNX graphs."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fedvm.compiler.calibration import evaluate
from fedvm.compiler.graph import INPUT, FloatGraph
from fedvm.compiler.interpreter import as_chw

torch.set_num_threads(1)


def export(module: nn.Module, shape: Sequence[int], *, dynamo: bool = False, dynamic: bool = True) -> bytes:
    """The module in evaluation mode as ONNX bytes, for inputs `[N, *shape]`."""
    module.eval()
    example = torch.zeros(1, *shape)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
            assert program is not None
            return program.model_proto.SerializeToString()
        torch.onnx.export(
            module,
            (example,),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "N"}} if dynamic else None,
        )
    return buffer.getvalue()


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """The module with weights of a useful size and batch statistics that are not those of a fresh layer."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator) * 0.2)
                layer.running_var.copy_(torch.rand(layer.num_features, generator=generator) + 0.5)
                layer.weight.copy_(torch.rand(layer.num_features, generator=generator) + 0.5)
                layer.bias.copy_(torch.randn(layer.num_features, generator=generator) * 0.2)
            elif isinstance(layer, nn.Conv2d | nn.Conv1d | nn.Linear):
                fan_in = layer.weight[0].numel()
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * (2 / fan_in) ** 0.5)
                if layer.bias is not None:
                    layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * 0.2)
    return module


class Residual(nn.Module):
    """Stem, one basic block with a strided projection, one with an identity shortcut, mean, dense."""

    def __init__(self, channels: int = 4, classes: int = 3) -> None:
        super().__init__()
        c = channels
        self.stem = nn.Sequential(nn.Conv2d(3, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU())
        self.a = nn.Sequential(
            nn.Conv2d(c, 2 * c, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(2 * c), nn.ReLU(),
            nn.Conv2d(2 * c, 2 * c, 3, padding=1, bias=False), nn.BatchNorm2d(2 * c),
        )  # fmt: skip
        self.project = nn.Sequential(nn.Conv2d(c, 2 * c, 1, stride=2, bias=False), nn.BatchNorm2d(2 * c))
        self.b = nn.Sequential(nn.Conv2d(2 * c, 2 * c, 3, padding=1), nn.BatchNorm2d(2 * c))
        self.head = nn.Linear(2 * c, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(self.a(x) + self.project(x))
        x = torch.relu(self.b(x) + x)
        return self.head(x.mean(dim=(2, 3)))


class PreActivation(nn.Module):
    """A block whose shortcut is linear and whose normalisation follows the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.last, self.head = nn.BatchNorm2d(4), nn.Linear(4 * 4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.conv(torch.relu(self.norm(x)))
        x = torch.nn.functional.avg_pool2d(torch.relu(self.last(x)), 2)
        return self.head(x.view(x.size(0), -1))


class DenselyConnected(nn.Module):
    """Channels joined twice, pooled together, then convolved and flattened together."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(7, 2, 3, padding=1)
        self.c, self.norm = nn.Conv2d(9, 5, 1), nn.BatchNorm2d(9)
        self.head = nn.Linear(5 * 4 * 4 + 9 * 4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([x, torch.relu(self.a(x))], 1)
        x = torch.cat([x, torch.relu(self.b(x))], 1)
        x = torch.nn.functional.max_pool2d(self.norm(x), 2)
        y = torch.relu(self.c(x))
        return self.head(torch.cat([x.flatten(1), y.flatten(1)], 1))


class Shuffle(nn.Module):
    """Split, grouped convolution and channel shuffle as in ShuffleNet v2 (Ma et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.point, self.group = nn.Conv2d(4, 4, 1), nn.Conv2d(8, 8, 3, groups=2)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        a, b = x.chunk(2, dim=1)
        b = torch.relu(self.point(self.depth(b)))
        x = torch.cat([a, b], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = torch.nn.functional.hardtanh(self.group(x), -0.5, 1.5)
        return self.head(x).amax(dim=(2, 3))


class Normalising(nn.Module):
    """Normalises its input per channel, pads with real zeros, uses ReLU6 and strided pooling with padding."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.49, 0.48, 0.44]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.25, 0.24, 0.26]).view(1, 3, 1, 1))
        self.conv, self.depth = (
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6),
        )
        self.head = nn.Linear(6 * 2 * 2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x / 255.0 - self.mean) / self.std
        x = torch.nn.functional.relu6(self.conv(x))
        x = torch.nn.functional.max_pool2d(x, 3, stride=2, padding=1)
        x = torch.relu(self.depth(x))
        return torch.softmax(self.head(torch.flatten(x, 1)), dim=1)


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6 * 2 * 2, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 5),
    )  # fmt: skip


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 16), nn.LeakyReLU(0.1), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def tanh_perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3), nn.Softmax(1)
    )


class SiluBlock(nn.Module):
    """A residual sum of functions, pooled, and a depthwise convolution of one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.depth, self.norm = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        silu = nn.functional.silu
        x = silu(self.stem(x / 64 - 2))
        x = x + torch.tanh(self.deep(x))
        x = silu(self.norm(self.depth(x)))
        return self.head(nn.functional.max_pool2d(x, 2).flatten(1))


def one_dimensional() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 3, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 2),
    )  # fmt: skip


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet": (lenet, (3, 14, 14)),
    "perceptron": (perceptron, (20,)),
    "one_dimensional": (one_dimensional, (2, 17)),
    "tanh_perceptron": (tanh_perceptron, (20,)),
    "silu_block": (SiluBlock, (3, 8, 8)),
    "residual": (Residual, (3, 8, 8)),
    "pre_activation": (PreActivation, (3, 8, 8)),
    "densely_connected": (DenselyConnected, (3, 8, 8)),
    "shuffle": (Shuffle, (3, 8, 8)),
    "normalising": (Normalising, (3, 8, 8)),
}


def graph_model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    shape: Sequence[int | str] = (1, 3, 8, 8),
    *,
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    output: str = "y",
) -> onnx.ModelProto:
    """A model of the nodes from input "x" to `output`."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    graph_output = model.graph.output[0].type.tensor_type
    with contextlib.suppress(Exception):  # models that are broken on purpose
        graph_output.CopyFrom(onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type)
    if not graph_output.HasField("shape"):
        graph_output.shape.dim.add().dim_param = "N"
        graph_output.shape.dim.add().dim_param = "O"
    return model


def keras_like(seed: int = 0) -> onnx.ModelProto:
    """NHWC in and out of every convolution, as tf2onnx writes it before it optimises."""
    rng = np.random.default_rng(seed)
    f = np.float32
    constants = {
        "w1": rng.normal(0, 0.05, (4, 3, 3, 3)).astype(f), "b1": rng.normal(0, 0.3, (1, 1, 1, 4)).astype(f),
        "w2": rng.normal(0, 0.3, (5, 4, 3, 3)).astype(f), "scale": np.full((1,), 1 / 255, f),
        "g": (rng.random(5) + 0.5).astype(f), "b": rng.normal(0, 0.2, 5).astype(f),
        "m": rng.normal(0, 0.2, 5).astype(f), "v": (rng.random(5) + 0.5).astype(f),
        "shape": np.array([-1, 4 * 4 * 5]), "dense": rng.normal(0, 0.2, (80, 3)).astype(f),
        "bias": rng.normal(0, 0.2, 3).astype(f),
    }  # fmt: skip
    node = helper.make_node
    to, back = [0, 3, 1, 2], [0, 2, 3, 1]
    nodes = [
        node("Mul", ["x", "scale"], ["x0"]),
        node("Transpose", ["x0"], ["x1"], perm=to),
        node("Conv", ["x1", "w1"], ["c1"], auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3]),
        node("Transpose", ["c1"], ["c1t"], perm=back),
        node("Add", ["c1t", "b1"], ["a1"]),
        node("Relu", ["a1"], ["r1"]),
        node("Transpose", ["r1"], ["r1t"], perm=to),
        node("Conv", ["r1t", "w2"], ["c2"], auto_pad="SAME_LOWER", kernel_shape=[3, 3]),
        node("BatchNormalization", ["c2", "g", "b", "m", "v"], ["n2"], epsilon=1e-3),
        node("Relu", ["n2"], ["r2"]),
        node("Transpose", ["r2"], ["r2t"], perm=back),
        node("Reshape", ["r2t", "shape"], ["flat"]),
        node("MatMul", ["flat", "dense"], ["d"]),
        node("Add", ["bias", "d"], ["scores"]),
        node("Softmax", ["scores"], ["y"]),
    ]
    return graph_model(nodes, constants, ("N", 8, 8, 3))


def random_bytes(shape: Sequence[int], count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise of varied brightness and contrast, with an all-0 and an all-255 sample in front."""
    rng = np.random.default_rng(seed)
    wide = (count, *[1] * len(shape))
    centre, width = rng.uniform(60, 200, wide), rng.uniform(5, 80, wide)
    noise = np.clip(rng.normal(centre, width, (count, *shape)), 0, 255).astype(np.uint8)
    noise[0], noise[1] = 0, 255
    return noise


def run_float(model: bytes | onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """First output of the model in ONNX Runtime, sample by sample (static batches allowed)."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # some fusions are inexact
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = [session.run(None, {name: inputs[i : i + 1]})[0] for i in range(len(inputs))]
    return np.concatenate(rows).astype(np.float64)


def run_graph(graph: FloatGraph, inputs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Scores of the float graph with its head applied, `[N, O]` (or `[N, C, H, W]` flattened)."""
    tensors = evaluate(graph.layers, {INPUT: as_chw(graph.input, inputs).astype(np.float64)})
    scores = tensors[graph.layers[-1].name].reshape(len(inputs), -1)
    if graph.head in ("softmax", "log_softmax"):
        shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares = np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
        return shares if graph.head == "softmax" else np.log(shares)
    return np.asarray(scores.argmax(axis=1, keepdims=True) if graph.head == "argmax" else scores)
