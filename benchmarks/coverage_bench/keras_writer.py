"""Keras layers as the ONNX nodes that tf2onnx writes for them: channels last, transposed around convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 15
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class Keras:
    """A model under construction. Every layer takes the name of a tensor, and returns that of its output; `size` has
    the shape of each tensor without its batch axis."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.size: dict[str, tuple[int, ...]] = {"x": shape}
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def model(self, output: str, *, fixed: bool = False) -> bytes:
        """The file. fixed: a batch axis of 1 instead of an open one."""
        batch: Any = 1 if fixed else "unk__1"
        shapes = {name: [batch, *self.size[name]] for name in ("x", output)}
        inputs, outputs = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])] for name in ("x", output)
        )
        graph = helper.make_graph(self._nodes, "tf2onnx", inputs, outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 2)]
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())

    # -- pieces -----------------------------------------------------------------------------------------------------

    def node(
        self, op: str, inputs: Sequence[str], size: Sequence[int], outputs: int = 1, **given: Any
    ) -> str:
        """A node; the name of its first output."""
        name = f"{op.lower()}_{len(self._nodes)}"
        names = [name, *(f"{name}:{i}" for i in range(1, outputs))]
        self._nodes.append(helper.make_node(op, list(inputs), names, name=name, **given))
        self.size.update((each, tuple(size)) for each in names)
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"const_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weights(self, *shape: int, gain: float = 2.0) -> NDArray[np.float64]:
        inside = math.prod(shape[1:]) if len(shape) > 2 else shape[0]
        return self.rng.normal(0, math.sqrt(gain / inside), shape)

    def activate(self, x: str, name: str) -> str:
        """An activation by Keras' name."""
        size = self.size[x]
        if name in ("relu", "tanh", "sigmoid", "elu", "selu", "softplus", "softsign", "exp"):
            return self.node(name.capitalize() if name != "relu" else "Relu", [x], size)
        if name == "leaky":
            return self.node("LeakyRelu", [x], size, alpha=0.3)
        if name == "relu6":
            return self.node("Clip", [x, self.constant(0.0), self.constant(6.0)], size)
        if name == "swish":
            return self.node("Mul", [x, self.node("Sigmoid", [x], size)], size)
        if name == "hard_sigmoid":
            return self.node("HardSigmoid", [x], size, alpha=1 / 6, beta=0.5)
        if name == "gelu":
            inner = self.node("Erf", [self.node("Mul", [x, self.constant(math.sqrt(0.5))], size)], size)
            half = self.node("Mul", [x, self.constant(0.5)], size)
            return self.node("Mul", [half, self.node("Add", [inner, self.constant(1.0)], size)], size)
        if name == "softmax":
            return self.node("Softmax", [x], size, axis=-1)
        return x

    # -- layers -----------------------------------------------------------------------------------------------------

    def dense(self, x: str, units: int, activation: str = "") -> str:
        *lead, inside = self.size[x]
        product = self.node("MatMul", [x, self.constant(self.weights(inside, units))], (*lead, units))
        added = self.node("Add", [product, self.constant(self.rng.normal(0, 0.1, units))], (*lead, units))
        return self.activate(added, activation)

    def conv(
        self, x: str, filters: int, kernel: tuple[int, int] = (3, 3), stride: int = 1, same: bool = True,
        activation: str = "", groups: int = 1, dilation: int = 1,
    ) -> str:  # fmt: skip
        """Conv2D; with as many groups as channels DepthwiseConv2D, whose filters are per channel."""
        height, width, inside = self.size[x]
        out = [
            -(-n // stride) if same else (n - (k - 1) * dilation - 1) // stride + 1
            for n, k in zip((height, width), kernel, strict=True)
        ]
        outside = inside * filters if groups > 1 else filters
        weight = self.constant(self.weights(outside, inside // groups, *kernel))
        bias = self.constant(self.rng.normal(0, 0.1, outside))
        first = self.node("Transpose", [x], (inside, height, width), perm=FIRST)
        given: dict[str, Any] = (
            {"auto_pad": "SAME_UPPER"} if same and dilation == 1 else {"pads": [0, 0, 0, 0]}
        )
        if same and dilation > 1:
            given = {"pads": [(k - 1) * dilation // 2 for k in kernel] * 2}
        done = self.node(
            "Conv", [first, weight, bias], (outside, *out), strides=[stride, stride], group=groups,
            kernel_shape=list(kernel), dilations=[dilation, dilation], **given,
        )  # fmt: skip
        return self.node("Transpose", [self.activate(done, activation)], (*out, outside), perm=LAST)

    def conv1d(
        self, x: str, filters: int, kernel: int, activation: str = "", same: bool = True, dilation: int = 1
    ) -> str:
        """Conv1D, which tf2onnx writes as a convolution over one row; causal padding as a Pad before."""
        steps, inside = self.size[x]
        wide = self.node("Unsqueeze", [x, self.constant([1], np.int64)], (1, steps, inside))
        if dilation > 1:
            room = (kernel - 1) * dilation
            pads = self.constant([0, 0, room, 0, 0, 0, 0, 0], np.int64)
            wide = self.node("Pad", [wide, pads], (1, steps + room, inside))
        done = self.conv(wide, filters, (1, kernel), 1, same and dilation == 1, activation, 1, dilation)
        return self.node("Squeeze", [done, self.constant([1], np.int64)], self.size[done][1:])

    def transposed(self, x: str, filters: int, kernel: int, stride: int, activation: str = "") -> str:
        height, width, inside = self.size[x]
        weight = self.constant(self.weights(inside, filters, kernel, kernel))
        first = self.node("Transpose", [x], (inside, height, width), perm=FIRST)
        out = (filters, height * stride, width * stride)
        done = self.node("ConvTranspose", [first, weight], out, strides=[stride] * 2, auto_pad="SAME_UPPER")
        return self.node("Transpose", [self.activate(done, activation)], (*out[1:], filters), perm=LAST)

    def pool(self, x: str, kind: str = "MaxPool", size: int = 2, stride: int = 0, same: bool = False) -> str:
        height, width, channels = self.size[x]
        stride = stride or size
        out = [-(-n // stride) if same else (n - size) // stride + 1 for n in (height, width)]
        first = self.node("Transpose", [x], (channels, height, width), perm=FIRST)
        done = self.node(
            kind, [first], (channels, *out), kernel_shape=[size] * 2, strides=[stride] * 2,
            auto_pad="SAME_UPPER" if same else "VALID",
        )  # fmt: skip
        return self.node("Transpose", [done], (*out, channels), perm=LAST)

    def reduce(
        self, x: str, kind: str = "ReduceMean", axes: Sequence[int] = (1, 2), keep: bool = False
    ) -> str:
        size = [1 if i in axes else n for i, n in enumerate(self.size[x], 1) if keep or i not in axes]
        if kind == "ReduceSum":
            return self.node(kind, [x, self.constant(list(axes), np.int64)], size, keepdims=int(keep))
        return self.node(kind, [x], size, axes=list(axes), keepdims=int(keep))

    def flatten(self, x: str) -> str:
        count = math.prod(self.size[x])
        return self.reshape(x, (count,))

    def reshape(self, x: str, size: Sequence[int]) -> str:
        return self.node("Reshape", [x, self.constant([-1, *size], np.int64)], size)

    def norm(self, x: str) -> str:
        """BatchNormalization over the last axis, as tf2onnx folds it where no convolution is before it."""
        size = self.size[x]
        scaled = self.node("Mul", [x, self.constant(self.rng.uniform(0.5, 1.5, size[-1]))], size)
        return self.node("Add", [scaled, self.constant(self.rng.normal(0, 0.2, size[-1]))], size)

    def layer_norm(self, x: str) -> str:
        """LayerNormalization over the last axis, node by node."""
        size, one = self.size[x], (*self.size[x][:-1], 1)
        centred = self.node("Sub", [x, self.node("ReduceMean", [x], one, axes=[-1], keepdims=1)], size)
        squares = self.node("Mul", [centred, centred], size)
        variance = self.node("ReduceMean", [squares], one, axes=[-1], keepdims=1)
        root = self.node("Sqrt", [self.node("Add", [variance, self.constant(1e-3)], one)], one)
        return self.norm(self.node("Mul", [centred, self.node("Reciprocal", [root], one)], size))

    def join(self, *names: str) -> str:
        size = self.size[names[0]]
        return self.node("Concat", names, (*size[:-1], sum(self.size[n][-1] for n in names)), axis=-1)

    def add(self, a: str, b: str) -> str:
        return self.node("Add", [a, b], self.size[a])

    def mul(self, a: str, b: str) -> str:
        return self.node("Mul", [a, b], self.size[a])

    def upsample(self, x: str, factor: int = 2) -> str:
        height, width, channels = self.size[x]
        first = self.node("Transpose", [x], (channels, height, width), perm=FIRST)
        out = (channels, height * factor, width * factor)
        scales = self.constant([1, 1, factor, factor])
        done = self.node(
            "Resize", [first, "", scales], out, mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
        return self.node("Transpose", [done], (*out[1:], channels), perm=LAST)

    def recurrent(self, x: str, kind: str, units: int, every: bool = False, both: bool = False) -> str:
        """LSTM, GRU or SimpleRNN: time first. every: return_sequences; both: Bidirectional."""
        steps, inside = self.size[x]
        gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if both else 1
        given: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
        if both:
            given["direction"] = "bidirectional"
        first = self.node("Transpose", [x], (inside,), perm=[1, 0, 2])
        names = [
            first,
            self.constant(self.rng.normal(0, 1 / math.sqrt(inside), (ways, gates * units, inside))),
            self.constant(self.rng.normal(0, 1 / math.sqrt(units), (ways, gates * units, units))),
            self.constant(self.rng.normal(0, 0.1, (ways, 2 * gates * units))),
        ]
        done = self.node(kind, names, (units,), 3 if kind == "LSTM" else 2, hidden_size=units, **given)
        if every:
            moved = self.node("Transpose", [done], (steps, ways, units), perm=[2, 0, 1, 3])
            return self.reshape(moved, (steps, ways * units))
        moved = self.node("Transpose", [f"{done}:1"], (ways, units), perm=[1, 0, 2])
        return self.reshape(moved, (ways * units,))

    def attention(self, q: str, k: str, v: str) -> str:
        """keras.layers.Attention."""
        steps, width = self.size[q]
        other = self.size[k][0]
        turned = self.node("Transpose", [k], (width, other), perm=[0, 2, 1])
        scores = self.node("MatMul", [q, turned], (steps, other))
        return self.node("MatMul", [self.activate(scores, "softmax"), v], (steps, self.size[v][1]))
