"""How a row of outputs is cut into words, and the taps of a kernel that is too wide for a word into stretches.

One product of a word of x with a word of k taps gives n − k + 1 complete sums in n lanes. If all taps of a kernel fit,
each word of outputs takes one product. If not (an average over a wide row, a long 1-D kernel), the taps are cut into
stretches of `unit` columns: words of x begin every `unit` columns, and each stretch reads the word that begins where
its columns do, so that all their sums lie in the same lanes and add up.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.compiler.graph import MaxPool

WORD_BITS = 256
NO_POOL = MaxPool((1, 1), (1, 1))


NARROWEST = 10
"""Lanes of a word at least: sums have 24 bits at most."""


@dataclass(frozen=True)
class Tiling:
    """columns: pooled outputs a word gives; chunks: words of outputs a row; unit: columns from one word of x to the
    next; segments: words of x under one word of outputs; advance: words of x from one word of outputs to the next."""

    columns: int
    chunks: int
    unit: int
    segments: int = 1
    advance: int = 1

    @property
    def row_words(self) -> int:
        """Words of x in a row."""
        return (self.chunks - 1) * self.advance + self.segments

    @property
    def products(self) -> int:
        """Products that a row of outputs takes for one channel and one row of the kernel."""
        return self.chunks * self.segments


def is_wide(pool: MaxPool, stride: int) -> bool:
    """Whether a window of the pool over sums `stride` lanes apart may not fit a word; such pools are split."""
    return (pool.kernel[1] - 1) * stride >= NARROWEST


def tile(width: int, lane_bits: int, kernel: int, stride: int, pool: MaxPool = NO_POOL) -> Tiling | None:
    """The tiling of a row of `width` pooled outputs with the fewest products; None if not even one tap fits beside
    the window of the pool. kernel: taps, from the leftmost of all terms on."""
    lanes = WORD_BITS // lane_bits
    step = pool.stride[1] * stride
    window = (pool.kernel[1] - 1) * stride
    most = (lanes - kernel - window) // step + 1 if lanes >= kernel + window else 0
    if most > 0:
        chunks = -(-width // most)
        columns = -(-width // chunks)
        return Tiling(columns, chunks, columns * step)
    found = [
        _cut(width, columns, room, kernel, step)
        for columns in range(1, width + 1)
        if (room := lanes - window - (columns - 1) * step) > 0
    ]
    return min(found, key=lambda t: (t.products, t.row_words), default=None)


def _cut(width: int, columns: int, room: int, kernel: int, step: int) -> Tiling:
    """A tiling whose words give `columns` outputs each, from stretches of at most `room` taps."""
    chunks = -(-width // columns)
    if chunks == 1:
        segments = -(-kernel // room)
        return Tiling(columns, 1, -(-kernel // segments), segments)
    # the words of x that one word of outputs reads and those of the next must be the same words
    advance = next(
        r for r in range(1, columns * step + 1) if columns * step % r == 0 and columns * step // r <= room
    )
    unit = columns * step // advance
    return Tiling(columns, chunks, unit, -(-kernel // unit), advance)
