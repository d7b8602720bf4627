"""How a tensor lies in memory: which word holds which columns of a row, and at which bits."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedvm.compiler.tiling import WORD_BITS

WORD_BYTES = 32


@dataclass(frozen=True)
class View:
    """A tensor in memory: for every channel, row and word J the columns start + J·step … in lanes.

    `every`: only each so-manieth column is held, since its readers skip the others. `stride`: lanes from one column
    that is held to the next (1, or the stride and pooling of the layer that wrote it). `top` and `bottom` rows of
    padding are stored with the tensor; columns outside 0..width−1 hold `pad_value`. `padded`: whether a reader looks at
    any padding; `reach`: how many columns of a word it looks at.
    """

    tensor: str
    channels: int
    height: int
    width: int
    lane_bits: int
    start: int
    step: int
    words: int
    stride: int = 1
    every: int = 1
    top: int = 0
    bottom: int = 0
    pad_value: int = 0
    padded: bool = field(default=False, compare=False)
    reach: int = field(default=1, compare=False)

    @property
    def lanes(self) -> int:
        return WORD_BITS // self.lane_bits

    @property
    def rows(self) -> int:
        return self.top + self.height + self.bottom

    @property
    def row_bytes(self) -> int:
        return WORD_BYTES * self.words

    @property
    def channel_bytes(self) -> int:
        return self.rows * self.row_bytes

    @property
    def bytes(self) -> int:
        return self.channels * self.channel_bytes

    def columns(self, word: int) -> range:
        """Columns, padding included, that word J of a row holds."""
        first = self.start + word * self.step
        return range(first, first + ((self.lanes - 1) // self.stride + 1) * self.every, self.every)

    def bit(self, word: int, column: int) -> int:
        """Lowest bit of the lane of `column` in word J."""
        place = (column - self.columns(word).start) // self.every
        return self.lane_bits * (self.lanes - 1 - place * self.stride)

    @property
    def holds_all(self) -> bool:
        """Whether every column of the image lies in some word, where `locate` looks for it."""
        return all(any(self.owns(word, column) for word in range(self.words)) for column in range(self.width))

    def owns(self, word: int, column: int) -> bool:
        """Whether a column is read from word J: it lies there, and the next word does not begin with or before it."""
        before_next = word == self.words - 1 or column < self.start + (word + 1) * self.step
        return before_next and column in self.columns(word)

    def locate(self, element: int) -> tuple[int, int]:
        """(byte offset of its word, lowest bit of its lane) of an element in (C, H, W) order."""
        channel, rest = divmod(element, self.height * self.width)
        row, column = divmod(rest, self.width)
        for word in range(self.words):
            if self.owns(word, column):
                offset = channel * self.channel_bytes + (self.top + row) * self.row_bytes + word * WORD_BYTES
                return offset, self.bit(word, column)
        raise AssertionError(f"{self} does not hold column {column}")
