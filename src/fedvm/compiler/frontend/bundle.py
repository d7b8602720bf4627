"""Reads an ONNX file, and the weights that lie in files beside it, as one file that needs no other.

PyTorch's exporter writes weights to `model.onnx.data` beside `model.onnx`. The names, offsets and lengths of such data
come from the file, which is untrusted: nothing outside the model's folder is ever read (ONNX, docs/ExternalData.md).
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper

from fedvm.compiler.errors import ModelError

MAX_BYTES = 256 << 20
"""Largest model read, with its weights; far above what fits a chain."""


def self_contained(model: str | Path | bytes | onnx.ModelProto) -> bytes:
    """The model as one ONNX file that holds its weights.

    A file without weights beside it stays the same to the byte. Raises ModelError if it is unreadable or too large, or
    if the data beside it are missing, cut off, or not in its folder.
    """
    if isinstance(model, onnx.ModelProto):
        _check_size(model.ByteSize())
        _refuse_external(model, "onnx.load(path) reads them")
        return bytes(model.SerializeToString(deterministic=True))
    if isinstance(model, bytes):
        _refuse_external(_parsed(model), "give the path of the file, beside which they lie")
        return model
    if not isinstance(model, str | Path):
        raise ModelError(
            f"the model is a {type(model).__name__}; give a path, the file's bytes, or a ModelProto"
        )
    path = Path(model)
    data = _read(path)
    proto = _parsed(data)
    external = [tensor for tensor in _tensors(proto) if _is_external(tensor)]
    if not external:
        return data
    _embed(external, path.absolute().parent)
    _check_size(proto.ByteSize())
    return bytes(proto.SerializeToString(deterministic=True))


def _embed(tensors: list[onnx.TensorProto], folder: Path) -> None:
    """Move the data of the tensors from files in `folder` into the tensors."""
    left = MAX_BYTES
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        size = _size(tensor)
        left -= size
        if left < 0:
            raise ModelError(
                f"the weights beside the model take over {MAX_BYTES} bytes; no such model fits a chain"
            )
        offset, length = (_count(tensor, entries, key) for key in ("offset", "length"))
        if length not in (None, size):
            raise ModelError(
                f"tensor {tensor.name} of the shape {list(tensor.dims)} takes {size} bytes, but the file gives it "
                f"{length}; export the model again"
            )
        tensor.raw_data = _read_slice(tensor, folder, entries.get("location", ""), offset or 0, size)
        del tensor.external_data[:]
        tensor.ClearField("data_location")


def _read_slice(tensor: onnx.TensorProto, folder: Path, location: str, offset: int, size: int) -> bytes:
    path = _inside(tensor, folder, location)
    try:
        # Without blocking: a pipe that nobody writes to must not hold up the reader before it is seen to be one.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            there = stat.S_ISREG(status.st_mode) and offset + size <= status.st_size
            data = _at(file, offset, size) if there else b""
    except FileNotFoundError:
        raise ModelError(
            f"the weights (tensor {tensor.name}) lie in a file beside the model, {location!r}, which is missing: "
            f"put it at {path}, or export the model as one file (torch.onnx.export(..., external_data=False))"
        ) from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); it holds the model's weights") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"tensor {tensor.name} lies in {location!r}, which is no ordinary file")
    if len(data) != size:
        raise ModelError(
            f"tensor {tensor.name} needs the bytes {offset} to {offset + size} of {path.name}, which has only "
            f"{status.st_size}: it is cut off or of another export; copy or export it again"
        )
    return data


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _inside(tensor: onnx.TensorProto, folder: Path, location: str) -> Path:
    """The file at `location`, which must lie in `folder` even after links are followed."""
    pure = PurePosixPath(location)
    outside = pure.is_absolute() or ".." in pure.parts or "\\" in location or "\0" in location
    if not location or outside or PureWindowsPath(location).drive:
        raise ModelError(
            f"tensor {tensor.name} names the file {location[:100]!r} for its data; only files in the model's own "
            "folder are read. Move the data there and save the model again"
        )
    path = folder / pure
    if folder.resolve() not in path.resolve().parents:
        raise ModelError(
            f"tensor {tensor.name} names the file {location[:100]!r}, a link that leads out of the model's folder; "
            "put the file itself there"
        )
    return path


def _size(tensor: onnx.TensorProto) -> int:
    """Bytes of the tensor's data."""
    try:
        item = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError):
        item = 0
    if not item or tensor.data_type == TensorProto.STRING or any(d < 0 for d in tensor.dims):
        raise ModelError(f"tensor {tensor.name} has no numeric type or a bad shape; export the model again")
    return int(math.prod(tensor.dims) * item)


def _count(tensor: onnx.TensorProto, entries: dict[str, str], key: str) -> int | None:
    if key not in entries:
        return None
    text = entries[key]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ModelError(
            f"tensor {tensor.name} has the {key} {text[:30]!r}, no number of bytes; export the model again"
        )
    return int(text)


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL or bool(tensor.external_data)


def _refuse_external(proto: onnx.ModelProto, hint: str) -> None:
    for tensor in _tensors(proto):
        if _is_external(tensor):
            raise ModelError(
                f"tensor {tensor.name} is stored in another file: {hint}, or export the model as one file "
                "(torch.onnx.export(..., external_data=False))"
            )


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors of the file: of the graph, of its nodes, of the graphs in them, and of functions."""
    graphs, nodes = [proto.graph], [node for function in proto.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            graphs.extend(attribute.graphs)
            if attribute.HasField("g"):
                graphs.append(attribute.g)


def _parsed(data: bytes) -> onnx.ModelProto:
    _check_size(len(data))
    try:
        return onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ModelError("not an ONNX file, or cut off; download or export it again") from error


def _check_size(size: int) -> None:
    if not 0 < size <= MAX_BYTES:
        raise ModelError(f"the model has {size} bytes; expected 1 to {MAX_BYTES}")


def _read(path: Path) -> bytes:
    try:
        if path.is_file():
            _check_size(path.stat().st_size)
            return path.read_bytes()
        reason = "no such file"
    except OSError as error:  # no right to read it, or no name that a file can have
        reason = error.strerror or type(error).__name__
    raise ModelError(f"{str(path)[:200]} cannot be read ({reason}); give the path of an ONNX file")
