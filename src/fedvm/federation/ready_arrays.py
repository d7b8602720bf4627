"""Flower arrays that are decoded fast: a round holds thousands of arrays in a few forms, and NumPy reads the form of
each anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, RecordDict
from numpy.lib import format as npy
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = 10
"""Bytes before the header of a .npy file of version 1.0; the last two are the header's length."""


class ReadyArray(Array):
    """An array that is decoded fast. It pickles as an ordinary one."""

    @classmethod
    def of(cls, array: Array) -> Array:
        """The array as one; the array itself where its bytes are not those of a plain .npy file."""
        return array if _elements(array) is None else cls._like(array)

    @classmethod
    def _like(cls, array: Array) -> ReadyArray:
        made = cls.__new__(cls)  # Flower's own initialisation takes longer than all else here
        made.__dict__.update(array.__dict__)
        return made

    def numpy(self) -> NDArray[Any]:
        """A copy of the elements, which its reader may change."""
        return _copy(self, otherwise=super().numpy)

    def __copy__(self) -> ReadyArray:
        return self._like(self)

    def deflate(self) -> bytes:
        """As Flower sends it, and as its id follows from: an ordinary array."""
        return Array(self.dtype, self.shape, self.stype, self.data).deflate()

    def __reduce__(self) -> tuple[Any, ...]:
        return Array, (self.dtype, self.shape, self.stype, self.data)


def decode(array: Array) -> NDArray[Any]:
    """What `array.numpy()` returns: a copy of the elements, which its reader may change. Raises what that raises."""
    return _copy(array, otherwise=array.numpy)


def make_ready(content: RecordDict) -> None:
    """Let the arrays of a content be decoded fast, in place."""
    for record in content.array_records.values():
        for name, array in record.items():
            record[name] = ReadyArray.of(array)


def _copy(array: Array, otherwise: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    elements = _elements(array)
    return otherwise() if elements is None else np.array(elements, order="K")


@dataclass(frozen=True)
class _Form:
    """What the head of a .npy file says. order: "C" or "F"."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Any
    count: int


def _elements(array: Array) -> NDArray[Any] | None:
    """A view of the elements in the array's bytes."""
    data = array.data
    if array.stype != "numpy.ndarray" or data[: len(_MAGIC)] != _MAGIC:
        return None
    end = _HEADER + int.from_bytes(data[len(_MAGIC) : _HEADER], "little")
    form = _form(data[:end])
    if form is None or len(data) - end < form.count * form.dtype.itemsize:
        return None  # whoever reads it is told what is wrong with it
    flat = np.frombuffer(data, dtype=form.dtype, offset=end, count=form.count)
    return flat.reshape(form.shape, order=form.order)


@lru_cache(maxsize=1_024)
def _form(head: bytes) -> _Form | None:
    """None where elements are no plain numbers, there are none, or the head is malformed."""
    file = BytesIO(head)
    try:
        npy.read_magic(file)
        shape, fortran_order, dtype = npy.read_array_header_1_0(file)
    except Exception:  # NumPy raises what Python's parser does
        return None
    count = int(np.prod(shape, dtype=np.int64))
    if dtype.hasobject or count < 1:
        return None
    return _Form(dtype, shape, "F" if fortran_order else "C", count)
