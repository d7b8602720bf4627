"""A validation set that is committed to before training and revealed sample by sample.

Because of the salts, samples that are not revealed yet cannot be guessed. Every index is drawn once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fedvm.evm.keccak import keccak
from fedvm.protocol.checks import check_bytes, check_uint
from fedvm.protocol.errors import EncodingError, RangeError
from fedvm.protocol.hashing import EMPTY

SAMPLE_LEAF, SAMPLE_NODE, SAMPLE_ROOT = b"\x20", b"\x21", b"\x22"


@dataclass(frozen=True)
class Sample:
    """An example: salt of 32 bytes, label as u32, and the bytes that a program takes.

    Raises:
        EncodingError: a field is malformed or, as RangeError, does not fit its width.
    """

    salt: bytes
    label: int
    input: bytes

    def __post_init__(self) -> None:
        check_bytes("salt", self.salt, 32)
        check_uint("label", self.label, 32)

    def digest(self) -> bytes:
        """keccak(0x20 ‖ salt:32 ‖ label:u32 ‖ input), 32 bytes."""
        return keccak(SAMPLE_LEAF + self.salt + self.label.to_bytes(4) + self.input)


@dataclass(frozen=True)
class SampleTree:
    """The Merkle tree over samples in their order. Raises EncodingError without a sample."""

    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise EncodingError("a validation set needs at least one sample")

    @cached_property
    def levels(self) -> tuple[tuple[bytes, ...], ...]:
        """Hashes, leaves first, padded with zeros to a power of two."""
        width = 1 << (len(self.samples) - 1).bit_length()
        leaves = [sample.digest() for sample in self.samples]
        levels = [tuple(leaves + [EMPTY] * (width - len(leaves)))]
        while len(levels[-1]) > 1:
            below = iter(levels[-1])
            levels.append(tuple(keccak(SAMPLE_NODE + a + b) for a, b in zip(below, below, strict=True)))
        return tuple(levels)

    @property
    def root(self) -> bytes:
        """keccak(0x22 ‖ count:u32 ‖ top), 32 bytes."""
        return keccak(SAMPLE_ROOT + len(self.samples).to_bytes(4) + self.levels[-1][0])

    def opened(self, index: int) -> tuple[bytes, int, bytes, list[bytes]]:
        """A sample and its Merkle path, as web3 takes the contract's struct. Raises RangeError if there is no such
        sample."""
        if not 0 <= index < len(self.samples):
            raise RangeError(f"there is no sample {index}; the set has {len(self.samples)}")
        sample = self.samples[index]
        siblings = [level[(index >> k) ^ 1] for k, level in enumerate(self.levels[:-1])]
        return sample.salt, sample.label, sample.input, siblings


def sample_root(count: int, index: int, sample: Sample, siblings: Sequence[bytes]) -> bytes:
    """The root that a sample's Merkle path leads to; EMPTY if the path's length is not the height of a tree over
    `count` samples."""
    if len(siblings) != (count - 1).bit_length():
        return EMPTY
    node = sample.digest()
    for level, sibling in enumerate(siblings):
        node = keccak(SAMPLE_NODE + (sibling + node if index >> level & 1 else node + sibling))
    return keccak(SAMPLE_ROOT + count.to_bytes(4) + node)


@dataclass
class SamplePool:
    """The indices that were not drawn yet, as the contract keeps them (R. A. Fisher and F. Yates, 1938)."""

    remaining: int
    _moved: dict[int, int] = field(default_factory=dict)

    def draw(self, seed: bytes, number: int) -> int:
        """Index of a trial's sample `number`, which is never drawn again. RangeError if none is left."""
        if self.remaining == 0:
            raise RangeError("all samples were used; create a service with a new validation set")
        place = int.from_bytes(keccak(seed + number.to_bytes(32))) % self.remaining
        self.remaining -= 1
        index = self._moved.get(place, place)
        self._moved[place] = self._moved.get(self.remaining, self.remaining)
        return index
