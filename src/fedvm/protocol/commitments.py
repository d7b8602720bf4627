"""The commitments to a round's accepted updates that the contract keeps: a Merkle mountain range.

Source: P. Todd, "Merkle Mountain Ranges", 2012; here the peaks are kept separately, by their heights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fedvm.evm.keccak import keccak
from fedvm.protocol.checks import address_bytes, check_bytes, check_uint
from fedvm.protocol.errors import RangeError

COMMITMENT_LEAF, COMMITMENT_NODE = b"\x0a", b"\x0b"


@dataclass(frozen=True)
class Commitment:
    """An accepted update: member (hex address), weight the contract gave, root and Σd² of its sum tree.

    Raises:
        EncodingError: a field is malformed or, as RangeError, does not fit its width.
    """

    member: str
    weight: int
    update_root: bytes
    sum_squares: int

    def __post_init__(self) -> None:
        address_bytes("member", self.member)
        check_uint("weight", self.weight, 32)
        check_bytes("update_root", self.update_root, 32)
        check_uint("sum_squares", self.sum_squares, 128)

    def preimage(self) -> bytes:
        """0x0a ‖ member:20 ‖ weight:u32 ‖ updateRoot:32 ‖ sumSquares:u128, 73 bytes."""
        member = address_bytes("member", self.member)
        words = member + self.weight.to_bytes(4) + self.update_root + self.sum_squares.to_bytes(16)
        return COMMITMENT_LEAF + words

    def digest(self) -> bytes:
        """Hash of the leaf, 32 bytes."""
        return keccak(self.preimage())

    def as_tuple(self) -> tuple[str, int, bytes, int]:
        """The fields in the struct's order, as web3 takes a struct."""
        return self.member, self.weight, self.update_root, self.sum_squares


@dataclass(frozen=True)
class CommitmentTree:
    """Perfect trees over the leaves, largest first: height → levels of hashes, leaves first."""

    count: int
    peaks: dict[int, tuple[tuple[bytes, ...], ...]]

    def siblings(self, index: int) -> tuple[bytes, ...]:
        """Siblings of the path from leaf ``index`` to its peak. Raises RangeError if there is no such leaf."""
        height, position = _locate(self.count, index)
        levels = self.peaks[height]
        return tuple(levels[level][(position >> level) ^ 1] for level in range(height))

    def peak(self, height: int) -> bytes:
        """Hash of the peak of a height whose bit is set in ``count``."""
        return self.peaks[height][-1][0]

    @property
    def peak_hashes(self) -> tuple[bytes, ...]:
        """Hashes of all peaks, the largest first."""
        return tuple(self.peak(height) for height in self.peaks)

    def digest(self) -> bytes:
        """Hash of the whole range, 32 bytes: keccak(count:u32 ‖ its peaks, the largest first)."""
        return range_hash(self.count, self.peak)

    def nodes(self) -> Iterator[bytes]:
        """Preimages of all inner nodes, those of the largest peak first."""
        for levels in self.peaks.values():
            for level in levels[:-1]:
                below = iter(level)
                for left, right in zip(below, below, strict=True):
                    yield COMMITMENT_NODE + left + right


def range_hash(count: int, peak: Callable[[int], bytes]) -> bytes:
    """Hash of a mountain range over ``count`` leaves, 32 bytes. peak: gives the peak, 32 bytes, of a height."""
    return keccak(count.to_bytes(4) + b"".join(map(peak, peak_heights(count))))


def peak_heights(count: int) -> tuple[int, ...]:
    """Heights of the peaks over ``count`` leaves, one for each bit that is set, the largest first."""
    return tuple(height for height in reversed(range(count.bit_length())) if count >> height & 1)


def commitment_tree(commitments: Sequence[Commitment]) -> CommitmentTree:
    """The mountain range over accepted updates in the order of their acceptance."""
    return mountain_range([commitment.digest() for commitment in commitments])


def mountain_range(leaves: Sequence[bytes]) -> CommitmentTree:
    """The mountain range over these hashes of leaves, 32 bytes each, in their order."""
    peaks = {}
    start = 0
    for height in peak_heights(len(leaves)):
        peaks[height] = _perfect(leaves[start : start + (1 << height)])
        start += 1 << height
    return CommitmentTree(len(leaves), peaks)


def _perfect(leaves: Sequence[bytes]) -> tuple[tuple[bytes, ...], ...]:
    levels = [tuple(leaves)]
    while len(levels[-1]) > 1:
        below = iter(levels[-1])
        levels.append(tuple(keccak(COMMITMENT_NODE + a + b) for a, b in zip(below, below, strict=True)))
    return tuple(levels)


def _locate(count: int, index: int) -> tuple[int, int]:
    if not 0 <= index < count:
        raise RangeError(f"there is no update {index}; {count} were accepted")
    position = index
    for height in peak_heights(count):
        if position < 1 << height:
            return height, position
        position -= 1 << height
    raise AssertionError("every index below the count lies under a peak")
