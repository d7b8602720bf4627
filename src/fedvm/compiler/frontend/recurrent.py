"""Recurrent layers, unrolled: every step of RNN, GRU and LSTM (ONNX operator schemas) as dense layers, functions and
products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.composite import call
from fedvm.compiler.frontend.operators.bounds import applied
from fedvm.compiler.frontend.operators.node import Node, Value
from fedvm.compiler.frontend.pointwise import FUNCTIONS
from fedvm.compiler.frontend.values import Tensor
from fedvm.compiler.graph import FloatArray, Pointwise

MOST_STEPS = 64
"""Steps that are unrolled: each takes a dozen layers."""
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
State = list[Value]
"""What a layer carries from step to step: h, and c of an LSTM, each `[1, H]`."""


def recurrent(node: Node) -> list[Tensor]:
    """The outputs Y `[T, D, 1, H]`, Y_h `[D, 1, H]` and for an LSTM Y_c. Raises UnsupportedOperator for forms that the
    operator allows and no exporter writes."""
    x = node.tensor()
    if node.attribute("layout", 0):
        x = replace(x, index=x.index.swapaxes(0, 1))
    steps, batch = x.index.shape[:2]
    if batch != 1 or steps > MOST_STEPS:
        raise node.refuse(f"{steps} steps of {batch} sequences; up to {MOST_STEPS} steps of one are unrolled")
    _refuse_rare(node)
    x = node.builder.settle_all(x)
    ways = {"forward": [1], "reverse": [-1], "bidirectional": [1, -1]}[node.attribute("direction", "forward")]
    size = len(node.array(2)[0][0])
    directions = [_Direction(node, number, size) for number in range(len(ways))]
    outputs, finals = [], []
    for way, direction in zip(ways, directions, strict=True):
        state, every = direction.start(), []
        for step in range(steps)[::way]:
            state = direction.step(replace(x, index=x.index[step]), state)
            every.append(state[0])
        outputs.append(every[::way])
        finals.append(state)
    whole = [_joined(node, [_tensor(node, h) for h in hs], (steps, 1, 1, size)) for hs in outputs]
    y = whole[0] if len(ways) == 1 else call(node, "Concat", *whole, axis=1)
    last = [
        _joined(node, [_tensor(node, state[i]) for state in finals], (len(ways), 1, size))
        for i in range(len(finals[0]))
    ]
    if node.attribute("layout", 0):
        y = replace(y, index=y.index.transpose(2, 0, 1, 3))
        last = [replace(each, index=each.index.swapaxes(0, 1)) for each in last]
    return [y, *last]


def _refuse_rare(node: Node) -> None:
    lengths = node.inputs[4] if node.given(4) else None
    if isinstance(lengths, Tensor) or (
        lengths is not None and (lengths != node.tensor().index.shape[0]).any()
    ):
        raise node.refuse("sequences of different lengths have no kernel; leave sequence_lens out")
    for name in ("clip", "input_forget"):
        if node.attribute(name) not in ((None,) if name == "clip" else (None, 0)):
            raise node.refuse(f"the attribute {name} has no kernel")
    if node.proto.op_type == "LSTM" and node.given(7):
        raise node.refuse("peepholes have no kernel")


class _Direction:
    """One direction's weights, by the names of ONNX: W, R, and the biases Wb and Rb."""

    def __init__(self, node: Node, number: int, size: int) -> None:
        self._node, self._kind, self._size = node, node.proto.op_type, size
        self._number = number
        self._w, self._r = (np.asarray(node.array(i), np.float64)[number] for i in (1, 2))
        gates = GATES[self._kind] * size
        bias = np.asarray(node.array(3), np.float64)[number] if node.given(3) else np.zeros(2 * gates)
        self._wb, self._rb = bias[:gates], bias[gates:]
        count = len(DEFAULTS[self._kind])
        names = list(node.attribute("activations", []) or [])
        named = [n.decode() if isinstance(n, bytes) else n for n in names] or DEFAULTS[self._kind] * (
            number + 1
        )
        self._functions = [self._function(name) for name in named[number * count : (number + 1) * count]]

    def start(self) -> State:
        """The initial state: zeros, unless the file gives another."""
        positions = (5, 6) if self._kind == "LSTM" else (5,)
        state: State = []
        for position in positions:
            given = self._node.inputs[position] if self._node.given(position) else None
            if isinstance(given, Tensor):
                state.append(replace(given, index=given.index[self._number]))
            else:
                state.append(
                    np.zeros((1, self._size))
                    if given is None
                    else np.asarray(given, np.float64)[self._number]
                )
        return state

    def step(self, x: Tensor, state: State) -> State:
        """The state after one more input `[1, I]`."""
        return {"RNN": self._rnn, "GRU": self._gru, "LSTM": self._lstm}[self._kind](x, state)

    def _function(self, name: str) -> Pointwise:
        given = any(self._node.attribute(f"activation_{one}") for one in ("alpha", "beta"))
        if given and name in ("HardSigmoid", "Elu"):
            raise UnsupportedOperator(
                f"{self._node.label}: {name} with numbers of its own has no kernel here"
            )
        if name not in ("Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softsign", "Softplus", "Elu"):
            raise UnsupportedOperator(f"{self._node.label}: the activation {name} has no kernel here")
        return Pointwise(name, lambda x: np.asarray(FUNCTIONS[name]({}, [x]), np.float64), increasing=True)

    def _sums(self, x: Tensor, h: Value, rows: Sequence[int], bias: NDArray[Any]) -> Tensor:
        """`x·Wᵀ + h·Rᵀ + bias` for the rows of some gates."""
        total = call(self._node, "MatMul", x, self._w[rows].T)
        return _plus(self._node, total, h, self._r[rows], bias)

    def _rows(self, *gates: int) -> list[int]:
        return [gate * self._size + i for gate in gates for i in range(self._size)]

    def _activated(self, tensor: Tensor, which: int) -> Tensor:
        return self._node.builder.settle_all(applied(self._node, tensor, self._functions[which]))

    def _rnn(self, x: Tensor, state: State) -> State:
        return [self._activated(self._sums(x, state[0], self._rows(0), self._wb + self._rb), 0)]

    def _lstm(self, x: Tensor, state: State) -> State:
        node, (h, c) = self._node, state
        bias = self._wb + self._rb
        rows = self._rows(0, 1, 2)  # i, o and f have one function
        gates = self._activated(self._sums(x, h, rows, bias[rows]), 0)
        i, o, f = (replace(gates, index=part) for part in np.split(gates.index, 3, axis=-1))
        rows = self._rows(3)
        new = self._activated(self._sums(x, h, rows, bias[rows]), 1)
        cell = call(node, "Mul", i, new)
        if isinstance(c, Tensor) or c.any():
            cell = call(node, "Add", cell, call(node, "Mul", f, c))
        cell = node.builder.settle_all(cell)
        return [node.builder.settle_all(call(node, "Mul", o, self._activated(cell, 2))), cell]

    def _gru(self, x: Tensor, state: State) -> State:
        node, h = self._node, state[0]
        rows = self._rows(0, 1)
        gates = self._activated(self._sums(x, h, rows, (self._wb + self._rb)[rows]), 0)
        z, r = (replace(gates, index=part) for part in np.split(gates.index, 2, axis=-1))
        rows = self._rows(2)
        new = call(node, "Add", call(node, "MatMul", x, self._w[rows].T), self._wb[rows])
        if node.attribute("linear_before_reset", 0):
            inner = _linear(node, h, self._r[rows], self._rb[rows])
            new = call(node, "Add", new, call(node, "Mul", r, inner))
        else:
            new = call(node, "Add", new, self._rb[rows])
            if isinstance(h, Tensor) or h.any():
                new = _plus(node, new, call(node, "Mul", r, h), self._r[rows], np.zeros(1))
        new = self._activated(new, 1)
        if not isinstance(h, Tensor) and not h.any():  # (1 − z)·n
            kept = call(node, "Sub", np.ones(1), z)
            return [node.builder.settle_all(call(node, "Mul", kept, new))]
        moved = call(node, "Mul", z, call(node, "Sub", h, new))  # n + z·(h − n)
        return [node.builder.settle_all(call(node, "Add", new, moved))]


def _linear(node: Node, h: Value, weight: FloatArray, bias: FloatArray) -> Value:
    if not isinstance(h, Tensor):
        return np.asarray(h @ weight.T + bias)
    return call(node, "Add", call(node, "MatMul", h, weight.T), bias)


def _plus(node: Node, total: Tensor, h: Value, weight: FloatArray, bias: FloatArray) -> Tensor:
    if isinstance(h, Tensor):
        total = call(node, "Add", total, call(node, "MatMul", h, weight.T))
    else:
        bias = bias + (h @ weight.T).ravel()
    return call(node, "Add", total, bias)


def _tensor(node: Node, value: Value) -> Tensor:
    if not isinstance(value, Tensor):
        raise node.refuse("a state that does not depend on the input has no kernel")
    return value


def _joined(node: Node, parts: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    joined = call(node, "Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
    return replace(joined, index=joined.index.reshape(shape))


RECURRENT: dict[str, Callable[[Node], list[Tensor]]] = dict.fromkeys(GATES, recurrent)
