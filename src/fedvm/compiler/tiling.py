"""How a row of outputs is cut into words, and the taps of a kernel that is too wide for a word into stretches.

One product of a word of x with a word of k taps gives n − k + 1 complete sums in n lanes. If all taps of a kernel fit,
each word of outputs takes one product. If not (an average over a wide row, a long 1-D kernel), the taps are cut into
stretches of `unit` columns: words of x begin every `unit` columns, and each stretch reads the word that begins where
its columns do, so that all their sums lie in the same lanes and add up.

Where several rows fit a word beside each other, they are computed together: their words of x are shifted into one when
they are loaded, and one product serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.compiler.graph import MaxPool

WORD_BITS = 256
NO_POOL = MaxPool((1, 1), (1, 1))


NARROWEST = 10
"""Lanes of a word at least: sums have 24 bits at most."""


@dataclass(frozen=True)
class Rows:
    """What the rows of a convolutional layer need. width: pooled outputs of a row; kernel: taps, from the leftmost of
    all terms on; stride, pool: along the row; height: rows of sums; extent: columns of x from the leftmost tap of the
    first output to the end of the widest source, 0 if rows may not share words."""

    width: int
    kernel: int
    stride: int = 1
    pool: MaxPool = NO_POOL
    height: int = 1
    extent: int = 0

    @property
    def reach(self) -> int:
        """Columns of x under a whole row of outputs."""
        return ((self.width - 1) * self.pool.stride[1] + self.pool.kernel[1] - 1) * self.stride + self.kernel


@dataclass(frozen=True)
class Tiling:
    """columns: pooled outputs a word gives; chunks: words of outputs a row; unit: columns from one word of x to the
    next; segments: words of x under one word of outputs; advance: words of x from one word of outputs to the next;
    rows: how many rows of outputs a word gives; pitch: lanes from one of them to the next."""

    columns: int
    chunks: int
    unit: int
    segments: int = 1
    advance: int = 1
    rows: int = 1
    pitch: int = 0

    @property
    def row_words(self) -> int:
        """Words of x in a row."""
        return (self.chunks - 1) * self.advance + self.segments

    def products(self, height: int) -> int:
        """Products that `height` rows of outputs take for one channel and one row of the kernel."""
        return self.chunks * self.segments * (height // self.rows)


def is_wide(pool: MaxPool, stride: int) -> bool:
    """Whether a window of the pool over sums `stride` lanes apart may not fit a word; such pools are split."""
    return (pool.kernel[1] - 1) * stride >= NARROWEST


def tile(rows: Rows, lane_bits: int) -> Tiling | None:
    """The tiling with the fewest products; None if not even one tap fits beside the window of the pool."""
    lanes = WORD_BITS // lane_bits
    pool, kernel = rows.pool, rows.kernel
    step = pool.stride[1] * rows.stride
    window = (pool.kernel[1] - 1) * rows.stride
    most = (lanes - kernel - window) // step + 1 if lanes >= kernel + window else 0
    if most > 0:
        chunks = -(-rows.width // most)
        columns = -(-rows.width // chunks)
        together, pitch = _together(rows, lanes) if chunks == 1 else (1, 0)
        return Tiling(columns, chunks, columns * step, rows=together, pitch=pitch)
    found = [
        _cut(rows.width, columns, room, kernel, step)
        for columns in range(1, rows.width + 1)
        if (room := lanes - window - (columns - 1) * step) > 0
    ]
    return min(found, key=lambda t: (t.products(1), t.row_words), default=None)


def _together(rows: Rows, lanes: int) -> tuple[int, int]:
    """How many rows a word gives, and the lanes from one to the next: far enough that no column of one row lies
    among those of the next. Their number divides the height."""
    if not rows.extent:
        return 1, 0
    pitch = max(rows.reach, rows.extent)
    fits = [
        r for r in range(2, rows.height + 1) if rows.height % r == 0 and (r - 1) * pitch + rows.reach <= lanes
    ]
    return (fits[-1], pitch) if fits else (1, 0)


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
