"""Brings a file's input into one form: a batch axis of 1 or of any size, then axes of fixed size.

Files come with a fixed batch of several inputs, with free height and width, without a batch axis, or with whole numbers
as inputs. All are rewritten here, once, so that everything after this sees one kind of file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.choice import constant_tensors, inputs_of
from fedvm.compiler.frontend.load import INPUT_TYPES, MAX_ELEMENTS, type_name
from fedvm.compiler.frontend.runner import run_rows

INTEGERS = {
    TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64,
    TensorProto.UINT64,
}  # fmt: skip
"""Whole numbers that a float input can stand for, where the network casts them before it computes."""
SAME = 1e-4
"""Largest difference, relative to the largest value, between one input of a batch and that input alone."""
TRIED = 2
"""Batches of random inputs with which that is checked."""
_MOVES = {"Cast", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Transpose", "Unsqueeze"}
_COMPARES = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "OneHot"}


def takes_integers(proto: onnx.ModelProto) -> bool:
    """Whether the input is whole numbers wider than a byte, or is cast to such before anything is computed."""
    value = _only_input(proto)
    return value.type.tensor_type.elem_type in INTEGERS or _whole_readers(proto, value.name, False)


def with_plain_input(proto: onnx.ModelProto, sample: Sequence[int] | None = None) -> onnx.ModelProto:
    """The model with an input `[1 or N, *fixed]` of floats or bytes; itself if it has one already.

    sample: the shape of one input, which sets axes that the file leaves open and says whether the first is the batch.
    Raises ModelError if the input cannot be brought into that form.
    """
    value = _only_input(proto)
    dims = [_size(dim) for dim in value.type.tensor_type.shape.dim]
    sizes = [_size_or(dim, size) for dim, size in zip(dims[1:], _matching(dims[1:], sample), strict=True)]
    alone = not _has_batch(dims, sample)
    kind = value.type.tensor_type.elem_type
    if kind not in INTEGERS:
        _whole_readers(proto, value.name, False)
    if not alone and dims[0] in (None, 1) and sizes == dims[1:] and kind in INPUT_TYPES:
        return proto
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    result.ir_version = max(result.ir_version, 4)  # from which on constants need not be among the inputs
    value = _only_input(result)
    if kind in INTEGERS:
        _as_floats(result, value)
    if alone:
        _add_batch(
            result, value, [_size_or(dim, size) for dim, size in zip(dims, sample or dims, strict=True)]
        )
    else:
        _set_dims(value, [dims[0] if dims[0] == 1 else None, *sizes])
        if dims[0] not in (None, 1):
            assert dims[0] is not None
            _unbatch(result, value.name, dims[0])
    _forget_shapes(result)
    _check(result)
    if not alone and dims[0] not in (None, 1) and None not in sizes:
        assert dims[0] is not None
        _check_batch(proto, result, value.name, dims[0], [size for size in sizes if size])
    return result


def model_input(proto: onnx.ModelProto) -> tuple[str, tuple[int, ...], int]:
    """Name of the one input, its shape without the batch axis, and its ONNX element type.

    ModelError if there are several inputs, or one whose shape or type cannot be compiled.
    """
    value = _only_input(proto)
    kind = value.type.tensor_type
    batch, *rest = (_size(dim) for dim in kind.shape.dim)
    if batch not in (None, 1):
        raise ModelError(
            f"input {value.name} has the batch size {batch}; export with a batch of 1 or dynamic"
        )
    for axis, (size, dim) in enumerate(zip(rest, list(kind.shape.dim)[1:], strict=True), 1):
        if size is None:
            raise ModelError(
                f"input {value.name}: axis {axis} is {dim.dim_param or dim.dim_value}; give calibration data of the "
                "size to compile for, or input_shape, or export with a fixed, positive size"
            )
    shape = tuple(size for size in rest if size is not None)
    if math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(f"input {value.name} has the shape {shape}; at most {MAX_ELEMENTS} elements fit")
    return value.name, shape, kind.elem_type


def _only_input(proto: onnx.ModelProto) -> onnx.ValueInfoProto:
    inputs = inputs_of(proto.graph)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(f"the model has {len(inputs)} inputs ({names}); exactly one is supported")
    value: onnx.ValueInfoProto = inputs[0]
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type not in INPUT_TYPES | INTEGERS:
        raise ModelError(
            f"input {value.name} has the type {type_name(kind.elem_type)}; use float32, uint8 or another integer"
        )
    if not kind.HasField("shape") or not kind.shape.dim:
        raise ModelError(f"input {value.name} needs a shape with a batch axis, such as [N, 3, 32, 32]")
    return value


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | None:
    """The size of an axis, None if the file leaves it open."""
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def _size_or(size: int | None, other: int | None) -> int | None:
    return other if size is None else size


def _has_batch(dims: Sequence[int | None], sample: Sequence[int] | None) -> bool:
    """Whether the first axis is the batch. With one axis there is none; with as many as one input has, and the same
    size, the file takes one input at a time."""
    if sample is not None and len(sample) == len(dims) and dims[0] is not None:
        return any(size not in (None, given) for size, given in zip(dims, sample, strict=True))
    return len(dims) > 1


def _matching(dims: Sequence[int | None], sample: Sequence[int] | None) -> Sequence[int | None]:
    """The sizes that `sample` gives to these axes, None where it has no such axes."""
    return sample if sample is not None and len(sample) == len(dims) else [None] * len(dims)


def _set_dims(value: onnx.ValueInfoProto, sizes: Sequence[int | None]) -> None:
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for axis, size in enumerate(sizes):
        dim = shape.dim.add()
        if size is None:
            dim.dim_param = "N" if axis == 0 else f"axis{axis}"
        else:
            dim.dim_value = size


def _as_floats(proto: onnx.ModelProto, value: onnx.ValueInfoProto) -> None:
    """Let the input be floats; a cast to whole numbers comes first where more reads them than casts and moves."""
    if _whole_readers(proto, value.name, True):
        _cast_input(proto, value)
    value.type.tensor_type.elem_type = TensorProto.FLOAT


def _whole_readers(proto: onnx.ModelProto, name: str, is_whole: bool) -> bool:
    """Whether nodes look something up by the input's whole numbers, or compare them. is_whole: the input is integers;
    else a cast may make them.

    Raises ModelError if a node computes with them: a division of integers, for example, is none of real numbers.
    """
    follows, whole = {name}, {name} if is_whole else set()
    found = False
    for node in proto.graph.node:
        if not follows.intersection(node.input):
            continue
        to = next((a.i for a in node.attribute if a.name == "to"), 0) if node.op_type == "Cast" else 0
        if not whole.intersection(node.input):
            if node.op_type in _MOVES - {"Shape"}:
                follows.update(node.output)
                whole.update(node.output if to in INTEGERS else ())
            continue
        looks_up = node.op_type == "Gather" and node.input[0] not in whole
        if looks_up or node.op_type in _COMPARES:
            found = True
        elif node.op_type not in _MOVES | {"Gather"}:
            raise ModelError(
                f"node {node.name or node.output[0]} ({node.op_type}) computes with the input's whole numbers "
                f"({_kind_of(proto, name)}); cast the input to float32 first, or export with a float32 input"
            )
        elif node.op_type != "Shape" and (node.op_type != "Cast" or to in INTEGERS):
            follows.update(node.output)
            whole.update(node.output)
    return found


def _kind_of(proto: onnx.ModelProto, name: str) -> str:
    return next(type_name(v.type.tensor_type.elem_type) for v in proto.graph.input if v.name == name)


def _cast_input(proto: onnx.ModelProto, value: onnx.ValueInfoProto) -> None:
    """Let the input be floats that are cast to whole numbers first."""
    names = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    inner = _new_name(names, f"{value.name}_whole")
    for node in proto.graph.node:
        for position, name in enumerate(node.input):
            if name == value.name:
                node.input[position] = inner
    kind = value.type.tensor_type.elem_type
    proto.graph.node.insert(0, helper.make_node("Cast", [value.name], [inner], name=inner, to=kind))


def _add_batch(proto: onnx.ModelProto, value: onnx.ValueInfoProto, sizes: Sequence[int | None]) -> None:
    """Give the input a batch axis of 1, which a Reshape takes away again."""
    if None in sizes:
        _set_dims(value, [1, *sizes])
        return
    names = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    inner, shape = _new_name(names, f"{value.name}_alone"), _new_name(names, f"{value.name}_shape")
    for node in proto.graph.node:
        for position, name in enumerate(node.input):
            if name == value.name:
                node.input[position] = inner
    proto.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), shape))
    proto.graph.node.insert(0, helper.make_node("Reshape", [value.name, shape], [inner], name=inner))
    _set_dims(value, [1, *sizes])


def _unbatch(proto: onnx.ModelProto, name: str, batch: int) -> None:
    """Divide the leading size of every reshape of activations by the batch."""
    constants = constant_tensors(proto.graph)
    names = {given for node in proto.graph.node for given in (*node.input, *node.output)} | set(constants)
    follows = {name}
    for node in proto.graph.node:
        if not follows.intersection(node.input):
            continue
        if node.op_type not in ("Shape", "Size"):
            follows.update(node.output)
        if node.op_type not in ("Reshape", "Expand") or len(node.input) < 2 or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]]).astype(np.int64).ravel()
        if not len(shape) or shape[0] <= 0 or (node.op_type == "Expand" and shape[0] == 1):
            continue
        if shape[0] % batch:
            raise ModelError(
                f"node {node.name or node.output[0]} ({node.op_type}) arranges a batch of {batch} inputs as "
                f"{shape.tolist()}, which mixes them; export with a batch of 1 or dynamic"
            )
        shape[0] //= batch
        node.input[1] = _new_name(names, f"{node.input[1]}_of_one")
        proto.graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))


def _new_name(names: set[str], wanted: str) -> str:
    while wanted in names:
        wanted += "_"
    names.add(wanted)
    return wanted


def _forget_shapes(proto: onnx.ModelProto) -> None:
    """Drop the sizes that the file states for intermediate and final tensors: they hold for its own input."""
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        shape = value.type.tensor_type.shape
        for axis, dim in enumerate(shape.dim):
            dim.Clear()
            dim.dim_param = f"{value.name}_{axis}"


def _check(proto: onnx.ModelProto) -> None:
    try:
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except Exception as error:  # the checker raises several unrelated classes
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"the model does not fit one input of its own size: {line[:300]}; export it with a dynamic batch axis and "
            "a float32 input"
        ) from error


def _check_batch(
    proto: onnx.ModelProto, alone: onnx.ModelProto, name: str, batch: int, shape: Sequence[int]
) -> None:
    """Check that each input of a batch gives what it gives alone: nothing mixes them."""
    names = [output.name for output in proto.graph.output]
    random = np.random.default_rng(0).random((TRIED, batch, *shape)) * 255
    for together in np.floor(random):
        whole = run_rows(proto, names, name, together[None])[0]
        parts = run_rows(alone, names, name, together[:, None])
        for number, (output, wanted) in enumerate(zip(names, whole, strict=True)):
            # Random numbers may be too large for the model's floats; what becomes infinite is infinite in both.
            got = np.nan_to_num(np.stack([np.asarray(row[number], np.float64).ravel() for row in parts]))
            held = np.nan_to_num(np.asarray(wanted, np.float64))
            size = max(float(np.abs(held).max(initial=0)), 1e-6)
            if (
                held.size != got.size
                or not np.abs(held.reshape(got.shape) - got).max(initial=0) <= SAME * size
            ):
                raise ModelError(
                    f"output {output} of one input depends on the others of the model's batch of {batch}; export with "
                    "a batch of 1 or dynamic"
                )
