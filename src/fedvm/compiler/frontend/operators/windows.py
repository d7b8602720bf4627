"""What convolutions and pooling share: kernels, strides, padding, frames."""

from __future__ import annotations

from dataclasses import replace

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.operators.node import Node
from fedvm.compiler.frontend.values import Tensor


def pair_of(node: Node, name: str, spatial: int, default: tuple[int, int] | None) -> tuple[int, int]:
    """The attribute as (height, width); a row of positions has the height 1. ModelError if it does not fit."""
    value = node.attribute(name)
    if value is None:
        if default is None:
            raise ModelError(f"node {node.proto.name or node.proto.op_type} has no {name}")
        return default
    if len(value) != spatial or min(value) < 1:
        raise ModelError(f"node {node.proto.name or node.proto.op_type} has a bad {name}: {list(value)}")
    return (1, int(value[0])) if spatial == 1 else (int(value[0]), int(value[1]))


def window_pads(
    node: Node, size: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], spatial: int
) -> tuple[int, int, int, int]:
    """Rows and columns of padding (top, left, bottom, right) by `auto_pad` or `pads`. ModelError if they are none."""
    mode = node.attribute("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = [], []
        for axis in range(2):
            total = (-(-size[axis] // stride[axis]) - 1) * stride[axis] + kernel[axis] - size[axis]
            if total < -1:
                raise node.refuse(
                    "auto_pad SAME with a stride far wider than the window; export it with pads"
                )
            total = max(0, total)
            small, large = total // 2, total - total // 2
            begin.append(small if mode == "SAME_UPPER" else large)
            end.append(large if mode == "SAME_UPPER" else small)
        return begin[0], begin[1], end[0], end[1]
    given = (
        [int(n) for n in node.attribute("pads", [0] * 2 * spatial)] if mode == "NOTSET" else [0] * 2 * spatial
    )
    if len(given) != 2 * spatial or min(given) < 0 or max(given) > 4096:
        raise ModelError(f"node {node.proto.name or node.proto.op_type} has bad pads: {given}")
    return (0, given[0], 0, given[1]) if spatial == 1 else (given[0], given[1], given[2], given[3])


def check_positions(
    node: Node, size: tuple[int, ...], kernel: tuple[int, ...], pads: tuple[int, int, int, int]
) -> None:
    """ModelError if the window is larger than what it slides over."""
    for axis in range(2):
        if size[axis] + pads[axis] + pads[axis + 2] < kernel[axis]:
            raise ModelError(
                f"node {node.proto.name or node.proto.op_type}: a window of {tuple(kernel)} does not fit "
                f"activations of {tuple(size)}"
            )


def side_by_side(tensor: Tensor) -> tuple[Tensor, int]:
    """`[B, C, H, W]` as `[1, B·C, H, W]`, and B: what is done to each frame is done to groups of channels."""
    frames = tensor.index.shape[0]
    return replace(tensor, index=tensor.index.reshape(1, -1, *tensor.index.shape[2:])), frames


def apart(tensor: Tensor, frames: int) -> Tensor:
    """Undoes `side_by_side`."""
    return replace(tensor, index=tensor.index.reshape(frames, -1, *tensor.index.shape[2:]))
