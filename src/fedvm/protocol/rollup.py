"""A roll-up: commitments to any number of received updates, with a record of each update that anyone can check.

A record states whether an update counts or why it does not, its weight, and the running totals including it. So every
lie in a roll-up is a record that does not follow from its submission or from the record before it.

"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from eth_utils.address import to_checksum_address

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address
from fedvm.protocol.checks import address_bytes, check_bytes, check_uint
from fedvm.protocol.commitments import Commitment, CommitmentTree, commitment_tree
from fedvm.protocol.errors import EncodingError, RangeError
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.submissions import Submission

RECORD_LEAF, RECORD_NODE = b"\x0c", b"\x0d"
RECORD_BYTES, RECORD_NODE_BYTES = 70, 65
COUNTS = 0
"""The reason of a record whose update counts; others are the contract's ``Refusal``."""


@dataclass(frozen=True)
class Judged(Submission):
    """A judged submission: the reason why it does not count (0 if it counts), and its weight."""

    reason: int
    weight: int


@dataclass(frozen=True)
class Record:
    """What a roll-up states of one update. accepted, total: number of updates that count and sum of their weights, up
    to and including this one. submission: hash of the submission, 32 bytes.

    Raises:
        EncodingError: a field is malformed or, as RangeError, does not fit its width.
    """

    member: Address
    reason: int
    weight: int
    accepted: int
    total: int
    submission: bytes

    def __post_init__(self) -> None:
        address_bytes("member", self.member)
        for name, bits in (("reason", 8), ("weight", 32), ("accepted", 32), ("total", 64)):
            check_uint(name, getattr(self, name), bits)
        check_bytes("submission", self.submission, 32)

    def preimage(self) -> bytes:
        """0x0c ‖ member:20 ‖ reason:u8 ‖ weight:u32 ‖ accepted:u32 ‖ total:u64 ‖ submission:32, 70 bytes."""
        words = address_bytes("member", self.member) + self.reason.to_bytes(1) + self.weight.to_bytes(4)
        return RECORD_LEAF + words + self.accepted.to_bytes(4) + self.total.to_bytes(8) + self.submission

    def digest(self) -> bytes:
        """Hash of the leaf, 32 bytes."""
        return keccak(self.preimage())

    def as_tuple(self) -> tuple[str, int, int, int, int, bytes]:
        """The fields in the struct's order, as web3 takes a struct."""
        return self.member, self.reason, self.weight, self.accepted, self.total, self.submission

    @classmethod
    def parse(cls, preimage: bytes) -> Record:
        """The record with this leaf's preimage. Raises EncodingError for any other bytes."""
        if len(preimage) != RECORD_BYTES or preimage[:1] != RECORD_LEAF:
            raise EncodingError(f"{len(preimage)} bytes beginning with 0x{preimage[:1].hex()} are no record")
        member = Address(to_checksum_address(preimage[1:21]))
        reason, weight = preimage[21], int.from_bytes(preimage[22:26])
        accepted, total = int.from_bytes(preimage[26:30]), int.from_bytes(preimage[30:38])
        return cls(member, reason, weight, accepted, total, preimage[38:])


@dataclass(frozen=True)
class RecordTree:
    """Levels of hashes, leaves first, padded with zeros to a power of two."""

    count: int
    levels: tuple[tuple[bytes, ...], ...]

    @property
    def root(self) -> bytes:
        """The ``recordsRoot`` of a roll-up, 32 bytes."""
        return self.levels[-1][0]

    def siblings(self, index: int) -> tuple[bytes, ...]:
        """Hashes beside the path from leaf ``index`` up. Raises RangeError if there is no such record."""
        if not 0 <= index < self.count:
            raise RangeError(f"there is no record {index}; the roll-up has {self.count}")
        return tuple(level[(index >> height) ^ 1] for height, level in enumerate(self.levels[:-1]))

    def nodes(self) -> Iterator[bytes]:
        """Preimages of all inner nodes."""
        for level in self.levels[:-1]:
            below = iter(level)
            for left, right in zip(below, below, strict=True):
                yield RECORD_NODE + left + right


def record_tree(leaves: Sequence[bytes]) -> RecordTree:
    """The tree over the hashes of records, at least one."""
    if not leaves:
        raise EncodingError("a roll-up holds at least one update; fail the round instead")
    width = 1 << (len(leaves) - 1).bit_length()
    levels = [(*leaves, *[EMPTY] * (width - len(leaves)))]
    while len(levels[-1]) > 1:
        below = iter(levels[-1])
        levels.append(tuple(keccak(RECORD_NODE + a + b) for a, b in zip(below, below, strict=True)))
    return RecordTree(len(leaves), tuple(levels))


@dataclass(frozen=True)
class Rollup:
    """Records of all updates received, in ascending order of member, with each submission."""

    records: tuple[Record, ...]
    submissions: tuple[bytes, ...]

    @cached_property
    def tree(self) -> RecordTree:
        """The tree over the records."""
        return record_tree([record.digest() for record in self.records])

    @cached_property
    def judged(self) -> tuple[Judged, ...]:
        """The submissions with their verdicts. Raises EncodingError if the bytes of one are malformed."""
        read = (
            Submission.parse(one.member, data)
            for one, data in zip(self.records, self.submissions, strict=True)
        )
        return tuple(
            Judged(one.member, one.update, one.signature, record.reason, record.weight)
            for record, one in zip(self.records, read, strict=True)
        )

    @property
    def counted(self) -> tuple[Judged, ...]:
        """The submissions that count, in the order of their records."""
        return tuple(one for one in self.judged if one.reason == COUNTS)

    @cached_property
    def commitments(self) -> tuple[Commitment, ...]:
        """The commitments of the updates that count, in the order of their records."""
        return tuple(
            Commitment(one.member, one.weight, one.update.update_root, one.update.sum_squares)
            for one in self.counted
        )

    @cached_property
    def range(self) -> CommitmentTree:
        """The mountain range over the commitments."""
        return commitment_tree(self.commitments)

    @property
    def accepted(self) -> int:
        """Number of updates that count."""
        return self.records[-1].accepted

    @property
    def total_weight(self) -> int:
        """Sum of their weights."""
        return self.records[-1].total

    def to_bytes(self) -> bytes:
        """The published file: of each record its 70 bytes, the submission's length as u16, the submission."""
        parts = zip(self.records, self.submissions, strict=True)
        return b"".join(record.preimage() + len(data).to_bytes(2) + data for record, data in parts)

    @classmethod
    def parse(cls, data: bytes) -> Rollup:
        """The roll-up in a published file. Raises EncodingError if the file is truncated or malformed."""
        entries = list(rollup_entries(data))
        length = sum(len(record) + 2 + len(submission) for record, submission in entries)
        if not entries or length != len(data):
            raise EncodingError(
                f"the roll-up's file is cut: {len(data)} bytes hold no whole number of records"
            )
        records = tuple(Record.parse(record) for record, _ in entries)
        return cls(records, tuple(submission for _, submission in entries))


def rollup_entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a published file, as far as it is not truncated: for each update the record's bytes, which may be
    malformed, and the submission's bytes."""
    at = 0
    while True:
        begin = at + RECORD_BYTES + 2
        end = begin + int.from_bytes(data[begin - 2 : begin])
        if max(begin, end) > len(data):
            return
        yield data[at : begin - 2], data[begin:end]
        at = end


def roll_up(judged: Sequence[Judged]) -> Rollup:
    """Records with running totals, for updates in ascending order of member, one of each.

    Raises:
        EncodingError: no update, members out of order or twice, a refused one with a weight.
        RangeError: a total does not fit its width.
    """
    records: list[Record] = []
    submissions = []
    last, accepted, total = -1, 0, 0
    for one in judged:
        if int(one.member, 16) <= last:
            raise EncodingError(f"{one.member} is not above the member before it; sort, and drop duplicates")
        if one.reason != COUNTS and one.weight:
            raise EncodingError(f"the refused update of {one.member} has weight {one.weight}, not 0")
        last = int(one.member, 16)
        accepted += one.reason == COUNTS
        total += one.weight
        data = one.to_bytes()
        submissions.append(data)
        records.append(Record(one.member, one.reason, one.weight, accepted, total, keccak(data)))
    if not records:
        raise EncodingError("a roll-up holds at least one update; fail the round instead")
    return Rollup(tuple(records), tuple(submissions))
