"""Operators that repeat elements: resizing by the nearest one, tiling, dilated kernels.

Repetition is an arrangement of elements, which a dense layer or a global average folds into its weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.frontend.load import MAX_ELEMENTS
from fedvm.compiler.frontend.operators.node import Node
from fedvm.compiler.frontend.values import Tensor
from fedvm.compiler.graph import FloatArray, IntArray

_NEAREST: dict[str, Callable[[FloatArray], NDArray[Any]]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
}
ROUNDING = 1e-6
"""Positions that differ by less from a whole number, or from the middle between two, do so by float noise."""


def _resize(node: Node) -> list[Tensor]:
    """The nearest element for every position (ONNX Resize; Upsample and the first Resize count from the corner)."""
    tensor = node.tensor()
    if node.attribute("mode", "nearest") != "nearest":
        raise node.refuse(f"interpolation ({node.attribute('mode')}) has no kernel; use mode nearest")
    before = tensor.index.shape
    first = node.proto.op_type == "Upsample" or node.opset < 11
    coordinates = "asymmetric" if first else node.attribute("coordinate_transformation_mode", "half_pixel")
    nearest = "floor" if first else node.attribute("nearest_mode", "round_prefer_floor")
    if nearest not in _NEAREST or node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.refuse("this form of resizing has no kernel; export it with scales")
    axes = [axis % len(before) for axis in node.attribute("axes", range(len(before)))]
    scales, sizes = _scales(node, first)
    index = tensor.index
    for position, axis in enumerate(axes):
        length = before[axis]
        size = int(sizes[position]) if sizes is not None else math.floor(length * scales[position] + ROUNDING)
        if size < 1 or index.size // length * size > MAX_ELEMENTS:
            raise node.refuse(f"axis {axis} would be resized from {length} to {size}")
        scale = float(scales[position]) if sizes is None else size / length
        at = _positions(node, coordinates, length, size, scale)
        chosen = np.clip(_NEAREST[nearest](np.round(at / ROUNDING) * ROUNDING), 0, length - 1)
        index = index.take(chosen.astype(np.int64), axis=axis)
    return [replace(tensor, index=index)]


def _scales(node: Node, first: bool) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The scale of each axis, or if they are given the sizes."""
    if node.attribute("scales") is not None:
        return np.asarray(node.attribute("scales"), np.float64), None
    if first:
        return np.asarray(node.array(1), np.float64).ravel(), None
    if node.given(3) and node.array(3).size:
        return np.zeros(0), node.array(3).ravel()
    return np.asarray(node.array(2), np.float64).ravel(), None


def _positions(node: Node, coordinates: str, length: int, size: int, scale: float) -> FloatArray:
    """Where each element of the result lies in the input."""
    i = np.arange(size, dtype=np.float64)
    if coordinates == "asymmetric":
        return i / scale
    if coordinates == "align_corners":
        return i * (length - 1) / max(1, size - 1)
    if coordinates == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and size > 1):
        return (i + 0.5) / scale - 0.5
    if coordinates == "pytorch_half_pixel":
        return np.zeros(1)
    raise node.refuse(f"coordinate_transformation_mode {coordinates} has no kernel; use asymmetric")


def _tile(node: Node) -> list[Tensor]:
    repeats = [int(n) for n in node.array(1).ravel()]
    tensor = node.tensor()
    if len(repeats) != tensor.index.ndim or min(repeats) < 1:
        raise node.refuse(f"repeats {repeats} do not fit the axes {tensor.index.shape}")
    if tensor.index.size * math.prod(repeats) > MAX_ELEMENTS:
        raise node.refuse("the result is too large")
    return [replace(tensor, index=np.tile(tensor.index, repeats))]


def _expand(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    shape = tuple(int(n) for n in node.array(1).ravel())
    try:
        result = np.broadcast_shapes(tensor.index.shape, shape)
    except ValueError as error:
        raise node.refuse(f"{tensor.index.shape} cannot be expanded to {shape}") from error
    if math.prod(result) > MAX_ELEMENTS:
        raise node.refuse("the result is too large")
    index: IntArray = np.broadcast_to(tensor.index, result).copy()
    return [replace(tensor, index=index)]


RESAMPLING: dict[str, Callable[[Node], list[Tensor]]] = {
    "Expand": _expand,
    "Resize": _resize,
    "Tile": _tile,
    "Upsample": _resize,
}
