"""Fixed-point vectors: floats in, int32 out, and exact bounds on what an update may hold.

A stored integer n stands for the real n · 2^−fraction_bits.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol.checks import check_uint
from fedvm.protocol.errors import EncodingError, RangeError, ShapeError
from fedvm.protocol.spec import FloatVector

IntVector = NDArray[np.int32]
SumVector = NDArray[np.int64]

MAX_FRACTION_BITS = 30
_INT32 = np.iinfo(np.int32)
# First step by which an update that float rounding has left too long is shrunk. The rounding error of float64 is 2^−53,
# so one step exceeds the error of a whole norm. Doubling the step bounds the number of steps for any input.
_FIRST_SHRINK = 2.0**-40


def max_sum_squares(bound: float, fraction_bits: int) -> int:
    """floor((bound · 2^fraction_bits)²): the integer form of an L2 bound, exact for any float.

    Raises:
        EncodingError: ``bound`` is not a positive finite number, or no nonzero update would pass.
        RangeError: the result does not fit the contract's uint128.
    """
    _check_fraction_bits(fraction_bits)
    if not np.isfinite(bound) or bound <= 0:
        raise EncodingError(f"the norm bound must be positive and finite, not {bound}")
    limit = int((Fraction(bound) * 2**fraction_bits) ** 2)
    if limit == 0:
        raise EncodingError(f"the norm bound {bound} is below one step of 2^−{fraction_bits}; raise either")
    return check_uint("max_sum_squares", limit, 128)


def sum_squares(vector: IntVector) -> int:
    """Σd² of an int32 vector of any length, exact.

    Raises:
        ShapeError: not a one-dimensional int32 array.
    """
    squares = _squares(check_vector("update", vector, np.int32))
    # Halves of 32 bits: their sums cannot leave 64 bits for fewer than 2^32 elements.
    low = int((squares & np.uint64(0xFFFFFFFF)).sum(dtype=np.uint64))
    high = int((squares >> np.uint64(32)).sum(dtype=np.uint64))
    return (high << 32) + low


def quantize_model(values: FloatVector, fraction_bits: int) -> IntVector:
    """Round a float model of shape (n,) to nearest, ties to even. Only a federation's first model is made this way.

    Raises:
        EncodingError: a value is not finite.
        RangeError: a value does not fit int32 at this scale.
    """
    _check_fraction_bits(fraction_bits)
    scaled = np.rint(_finite("model", values) * 2.0**fraction_bits)
    return _to_int32("model", scaled, fraction_bits)


def dequantize(vector: IntVector | SumVector, fraction_bits: int) -> FloatVector:
    """The float64 values, of shape (n,), that a fixed-point vector stands for; exact below 2^53."""
    _check_fraction_bits(fraction_bits)
    return vector.astype(np.float64) * 2.0**-fraction_bits


def quantize_update(difference: FloatVector, bound: float, fraction_bits: int) -> IntVector:
    """Clip a float difference of shape (n,) to L2 norm ``bound`` and round toward zero.

    The result always satisfies ``sum_squares(result) <= max_sum_squares(bound, fraction_bits)``. Rounding
    toward zero never lengthens the vector; rounding to nearest would push about half of the clipped
    updates back over the bound. Clipping is that of DP-SGD (Abadi et al. 2016, arXiv:1607.00133, alg. 1).

    Raises:
        EncodingError: an element is not finite, or ``bound`` is not positive and finite.
        RangeError: an element does not fit int32 at this scale.
    """
    limit = max_sum_squares(bound, fraction_bits)
    finite = _finite("update", difference)
    # Relative to the largest element, the squares of huge finite values cannot overflow.
    largest = float(np.max(np.abs(finite), initial=0.0))
    norm = largest * length(finite / largest) if largest > 0.0 else 0.0
    scale = min(1.0, bound / norm) if norm > 0.0 else 1.0
    shrink = _FIRST_SHRINK
    while True:
        update = _to_int32("update", np.trunc(finite * scale * 2.0**fraction_bits), fraction_bits)
        # Float rounding can leave the clipped vector a few units of 2^−53 too long: the integers decide.
        if sum_squares(update) <= limit:
            return update
        scale *= 1.0 - shrink
        shrink *= 2.0


def to_bytes(vector: IntVector | SumVector) -> bytes:
    """The stored form of a vector: its elements big-endian, 4 bytes each for int32, 8 for int64.

    A chunk of a tree is a slice of these bytes.
    """
    return vector.astype(vector.dtype.newbyteorder(">")).tobytes()


def int32_from_bytes(data: bytes, elements: int) -> IntVector:
    """Inverse of :func:`to_bytes`: int32 of shape (elements,). Raises ShapeError on another length."""
    _check_length(data, elements, 4)
    return np.frombuffer(data, dtype=">i4").astype(np.int32)


def int64_from_bytes(data: bytes, elements: int) -> SumVector:
    """Inverse of :func:`to_bytes`: int64 of shape (elements,). Raises ShapeError on another length."""
    _check_length(data, elements, 8)
    return np.frombuffer(data, dtype=">i8").astype(np.int64)


def check_vector(name: str, vector: NDArray[np.generic], dtype: type[np.generic]) -> NDArray[np.generic]:
    """Return ``vector`` if it is a non-empty one-dimensional array of ``dtype``, else raise ShapeError."""
    wanted = np.dtype(dtype)
    if not isinstance(vector, np.ndarray) or vector.ndim != 1 or vector.dtype != wanted:
        found = (
            f"{vector.dtype}{list(vector.shape)}" if isinstance(vector, np.ndarray) else type(vector).__name__
        )
        raise ShapeError(f"the {name} must be a one-dimensional {wanted} array, not {found}")
    if vector.size == 0:
        raise ShapeError(f"the {name} is empty; a vector has at least one element")
    return vector


def length(values: FloatVector) -> float:
    """The L2 norm of a vector, float32 or float64 (n,), the same to the bit on any number of threads."""
    # Not np.linalg.norm: BLAS splits the sum over its threads, so that its last bit depends on their number.
    return math.sqrt(float(np.square(values).sum()))


def _squares(vector: NDArray[np.generic]) -> NDArray[np.uint64]:
    wide = vector.astype(np.int64)
    return (wide * wide).astype(np.uint64)


def _finite(name: str, values: FloatVector) -> FloatVector:
    check_vector(name, values, np.float64)
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise EncodingError(f"element {at} of the {name} is {values[at]}; training diverged, lower its rate")
    return values


def _to_int32(name: str, scaled: FloatVector, fraction_bits: int) -> IntVector:
    outside = (scaled < _INT32.min) | (scaled > _INT32.max)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        value = float(np.ldexp(scaled[at], -fraction_bits))
        raise RangeError(
            f"element {at} of the {name} is {value}, outside int32 at {fraction_bits} fraction bits"
        )
    return scaled.astype(np.int32)


def _check_fraction_bits(fraction_bits: int) -> None:
    if check_uint("fraction_bits", fraction_bits, 8) > MAX_FRACTION_BITS:
        raise RangeError(
            f"fraction_bits is {fraction_bits}; int32 leaves room for at most {MAX_FRACTION_BITS}"
        )


def _check_length(data: bytes, elements: int, width: int) -> None:
    if len(data) != elements * width or elements == 0:
        raise ShapeError(f"{len(data)} bytes cannot hold exactly {elements} elements of {width} bytes")
