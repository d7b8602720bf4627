"""Writes a compiled program into a run's directory and store, for predictions and audits."""

from __future__ import annotations

from fedvm.compiler import CompiledModel
from fedvm.files import write_atomically
from fedvm.rundir.layout import RunDirectory
from fedvm.store import Store


def publish(onnx: bytes, compiled: CompiledModel, store: Store, directory: RunDirectory) -> str:
    """Write `model.onnx`, `model.int.onnx` and `program/`, and return the CID that the store keeps the ONNX file under.

    onnx: the file, with the recipe for compiling it again. A second call changes nothing.
    """
    write_atomically(directory.onnx, onnx)
    compiled.save(directory.program)
    write_atomically(directory.reference, compiled.reference.SerializeToString(deterministic=True))
    return store.put(onnx)
