"""Transposed convolutions, and rearrangements between channels and places (ONNX operator schemas)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.operators.linear import convolve, dilated
from fedvm.compiler.frontend.operators.node import Node
from fedvm.compiler.frontend.operators.windows import apart, pair_of, side_by_side
from fedvm.compiler.frontend.phases import from_phases, transposed_as_phases
from fedvm.compiler.frontend.values import Tensor


def _conv_transpose(node: Node) -> list[Tensor]:
    tensor, weight = node.tensor(), np.asarray(node.array(1), np.float64)
    spatial = weight.ndim - 2
    if spatial not in (1, 2) or tensor.index.ndim != weight.ndim:
        raise node.refuse("only 1-D and 2-D transposed convolutions are supported")
    weight = dilated(node, weight)
    if spatial == 1:
        tensor, weight = replace(tensor, index=tensor.index[:, :, None, :]), weight[:, :, None, :]
    groups = int(node.attribute("group", 1))
    if weight.shape[0] != tensor.index.shape[1] or groups < 1 or weight.shape[0] % groups:
        raise ModelError(f"{node.label}: weight {weight.shape} and {groups} groups do not fit")
    tensor, frames = side_by_side(tensor)
    weight, groups = np.tile(weight, (frames, 1, 1, 1)), groups * frames
    stride = pair_of(node, "strides", spatial, (1, 1))
    height, width = tensor.index.shape[2:]
    size = (int(height), int(width))
    pads, out = _geometry(node, size, (weight.shape[2], weight.shape[3]), stride, spatial)
    flat, around = transposed_as_phases(weight, stride, pads, size, out, groups)
    bias = (
        np.asarray(node.array(2), np.float64).ravel()
        if node.given(2)
        else np.zeros(weight.shape[1] * groups // frames)
    )
    each = np.repeat(np.tile(bias, frames), stride[0] * stride[1])
    result = convolve(node, tensor, flat, (1, 1), around, groups, each)
    output = apart(from_phases(result, stride, out), frames)
    return [replace(output, index=output.index[:, :, 0]) if spatial == 1 else output]


def _geometry(
    node: Node, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], spatial: int
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """(pads, height and width of the result)."""
    lead = [0] * (2 - spatial)
    extra = lead + [int(n) for n in node.attribute("output_padding", [0] * spatial)]
    mode = node.attribute("auto_pad", "NOTSET")
    wanted = node.attribute("output_shape")
    given = (
        [int(n) for n in node.attribute("pads", [0] * 2 * spatial)] if mode == "NOTSET" else [0] * 2 * spatial
    )
    begin, end = lead + given[:spatial], lead + given[spatial:]
    full = [stride[a] * (size[a] - 1) + extra[a] + kernel[a] for a in range(2)]
    if wanted or mode in ("SAME_UPPER", "SAME_LOWER"):
        shape = (
            [*lead, *(int(n) for n in (wanted or ()))][-2:]
            if wanted
            else [size[a] * stride[a] for a in range(2)]
        )
        if spatial == 1:
            shape[0] = 1
        for a in range(2):
            total = full[a] - shape[a]
            if total < 0:
                raise node.refuse("an output larger than the kernel reaches has no kernel")
            small = total // 2
            # ONNX: SAME_UPPER puts the odd one at the end of the padding that is cut off, others at its beginning
            begin[a] = small if mode == "SAME_UPPER" else total - small
            end[a] = total - begin[a]
    out = [full[a] - begin[a] - end[a] for a in range(2)]
    if min(begin + end) < 0 or min(out) < 1:
        raise ModelError(f"{node.label} has bad pads: {begin + end}")
    return (begin[0], begin[1], end[0], end[1]), (out[0], out[1])


def _depth_to_space(node: Node) -> list[Tensor]:
    tensor, block = node.tensor(), int(node.attribute("blocksize"))
    batch, _, height, width = tensor.index.shape
    if node.attribute("mode", "DCR") == "DCR":
        index = tensor.index.reshape(batch, block, block, -1, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        index = tensor.index.reshape(batch, -1, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    return [replace(tensor, index=index.reshape(batch, -1, height * block, width * block))]


def _space_to_depth(node: Node) -> list[Tensor]:
    tensor, block = node.tensor(), int(node.attribute("blocksize"))
    batch, channels, height, width = tensor.index.shape
    index = tensor.index.reshape(batch, channels, height // block, block, width // block, block)
    index = index.transpose(0, 3, 5, 1, 2, 4)
    return [replace(tensor, index=index.reshape(batch, -1, height // block, width // block))]


TRANSPOSED: dict[str, Callable[[Node], list[Tensor]]] = {
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
