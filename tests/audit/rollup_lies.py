"""A coordinator whose roll-up lies: builds records and both trees by hand, with one thing that does not follow.

Like `lies`, over bytes and integers, apart from the package's builders.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lies import EMPTY, Book

from fedvm.chain.court import Fraud
from fedvm.protocol import Refusal, Rollup, Submission, Update

Sign = Callable[[str, Update], bytes]
"""From a member's address, or "" for a stranger, and an update to the signature."""


@dataclass
class Entry:
    """What is said of one update."""

    member: str
    reason: int
    weight: int
    update: Update
    signature: bytes

    @property
    def counts(self) -> bool:
        return self.reason == 0


@dataclass(frozen=True)
class RollupLie:
    """The contract's `Rollup` without the CID, what its hashes are of, and the file to publish."""

    root: bytes
    records: int
    accepted: int
    total: int
    peaks: list[bytes]
    preimages: dict[bytes, bytes]
    file: bytes


@dataclass
class RollupLiar:
    """Builds the roll-up of `honest`, but for what a lie changes. Number 0 is refused, the others count."""

    honest: Rollup
    sign: Sign
    stranger: str
    rng: random.Random
    book: Book = field(default_factory=Book)
    entries: list[Entry] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    """Added to the running number of updates, from a record on."""
    totals: dict[int, int] = field(default_factory=dict)
    """Added to the running total, from a record on."""
    submissions: dict[int, bytes] = field(default_factory=dict)
    record: dict[int, bytes] = field(default_factory=dict)
    """Appended to the preimage of a record."""
    padding: bytes = EMPTY
    leaf: dict[int, bytes] = field(default_factory=dict)
    """Hashes that stand in the records' tree instead of a record's."""
    node: Callable[[int, bytes], bytes] = lambda level, preimage: preimage
    hash_of_node: Callable[[int, bytes], bytes] = lambda level, digest: digest
    range_leaf: dict[int, bytes] = field(default_factory=dict)
    range_node: Callable[[bytes], bytes] = lambda preimage: preimage
    range_hash: Callable[[bytes], bytes] = lambda digest: digest
    hidden: int | None = None
    """The record that states 0 as the hash of what was received."""
    said_accepted: int = 0
    said_total: int = 0

    def __post_init__(self) -> None:
        self.entries = [
            Entry(o.member, o.reason, o.weight, o.update, o.signature) for o in self.honest.judged
        ]
        self.refused = 0
        self.counted = self.rng.randrange(1, len(self.entries))
        self.delta = 1 + self.rng.randrange(2**20)

    def build(self) -> RollupLie:
        accepted = total = 0
        leaves, commitments, parts = [], [], []
        for index, one in enumerate(self.entries):
            accepted += one.counts + self.counts.get(index, 0)
            total += one.weight + self.totals.get(index, 0)
            data = self.submissions.get(index) or Submission(one.member, one.update, one.signature).to_bytes()
            submission = EMPTY if index == self.hidden else self.book.hash(data)
            words = bytes([0x0C]) + bytes.fromhex(one.member[2:]) + bytes([one.reason])
            words += one.weight.to_bytes(4) + accepted.to_bytes(4) + total.to_bytes(8) + submission
            words += self.record.get(index, b"")
            leaves.append(self.leaf.get(index, self.book.hash(words)))
            parts.append(words + len(data).to_bytes(2) + data)
            if one.counts:
                commitments.append(self.commitment(one))
        accepted, total = accepted + self.said_accepted, total + self.said_total
        commitments = (commitments + commitments[:1] * max(0, accepted - len(commitments)))[:accepted]
        commitments = [self.range_leaf.get(index, leaf) for index, leaf in enumerate(commitments)]
        return RollupLie(
            self._records_root(leaves),
            len(leaves),
            accepted,
            total,
            self._peaks(commitments),
            self.book.preimages,
            b"".join(parts),
        )

    def commitment(self, one: Entry) -> bytes:
        words = bytes.fromhex(one.member[2:]) + one.weight.to_bytes(4) + one.update.update_root
        return self.book.hash(bytes([0x0A]) + words + one.update.sum_squares.to_bytes(16))

    def resign(self, index: int, **fields: object) -> None:
        """Let another update be received of a member, signed by it."""
        one = self.entries[index]
        one.update = replace(one.update, **fields)  # type: ignore[arg-type]
        one.signature = self.sign(one.member, one.update)

    def _records_root(self, leaves: list[bytes]) -> bytes:
        level = leaves + [self.padding] * ((1 << (len(leaves) - 1).bit_length()) - len(leaves))
        height = 0
        while len(level) > 1:
            height += 1
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [
                self.hash_of_node(height, self.book.hash(self.node(height, bytes([0x0D]) + a + b)))
                for a, b in pairs
            ]
        return level[0]

    def _peaks(self, leaves: list[bytes]) -> list[bytes]:
        peaks, at = [], 0
        for height in reversed(range(len(leaves).bit_length())):
            if len(leaves) >> height & 1:
                level = leaves[at : at + (1 << height)]
                at += 1 << height
                while len(level) > 1:
                    pairs = zip(level[::2], level[1::2], strict=True)
                    hashes = [self.book.hash(self.range_node(bytes([0x0B]) + a + b)) for a, b in pairs]
                    level = [self.range_hash(digest) for digest in hashes]
                peaks.append(level[0])
        return peaks


def _refused_update_counts(liar: RollupLiar) -> None:
    one = liar.entries[liar.refused]
    one.reason, one.weight = 0, one.update.examples


def _other_signature_counts(liar: RollupLiar) -> None:
    one = liar.entries[liar.counted]
    one.signature = liar.sign("", one.update)


def _malleable_signature_counts(liar: RollupLiar) -> None:
    """The other s of the same signature, which signs as well to who does not look."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    one = liar.entries[liar.counted]
    r, s, v = one.signature[:32], int.from_bytes(one.signature[32:64]), one.signature[64]
    one.signature = r + (order - s).to_bytes(32) + bytes([55 - v])


def _update_of_no_member_counts(liar: RollupLiar) -> None:
    one = liar.entries[liar.counted]
    signature = liar.sign("", one.update)
    liar.entries[liar.counted] = Entry(liar.stranger, 0, one.weight, one.update, signature)
    liar.entries.sort(key=lambda entry: int(entry.member, 16))


def _update_of_another_round_counts(liar: RollupLiar) -> None:
    liar.resign(liar.counted, round=liar.entries[0].update.round - 1)


def _update_under_other_rules_counts(liar: RollupLiar) -> None:
    liar.resign(liar.counted, rules_hash=liar.rng.randbytes(32))


def _update_over_another_base_counts(liar: RollupLiar) -> None:
    liar.resign(liar.counted, base_root=liar.rng.randbytes(32))


def _expired_update_counts(liar: RollupLiar) -> None:
    liar.resign(liar.counted, deadline=1)


def _too_great_norm_counts(liar: RollupLiar) -> None:
    liar.resign(liar.counted, sum_squares=2**100 + liar.delta)


def _omitted(liar: RollupLiar) -> None:
    """An update that counts is said not to: of all, only its member can know that it is not so."""
    one = liar.entries[liar.counted]
    one.reason, one.weight = liar.rng.choice([Refusal.LOSS_TOO_HIGH, Refusal.EXPIRED, Refusal.NOT_MEMBER]), 0


def _other_reason(liar: RollupLiar) -> None:
    liar.entries[liar.refused].reason = Refusal.BAD_SIGNATURE


def _reason_that_is_none(liar: RollupLiar) -> None:
    liar.entries[liar.refused].reason = 255


def _duplicate_as_a_reason(liar: RollupLiar) -> None:
    liar.entries[liar.refused].reason = Refusal.DUPLICATE


def _weight_over_the_cap(liar: RollupLiar) -> None:
    liar.entries[liar.counted].weight = 1000 + liar.delta


def _weight_too_low(liar: RollupLiar) -> None:
    one = liar.entries[liar.counted]
    one.weight = one.weight - 1 or 2


def _weight_of_a_refused_update(liar: RollupLiar) -> None:
    liar.entries[liar.refused].weight = liar.delta


def _duplicate(liar: RollupLiar) -> None:
    liar.entries.insert(liar.counted, replace(liar.entries[liar.counted]))


def _second_update_of_a_member(liar: RollupLiar) -> None:
    liar.entries.insert(liar.counted, replace(liar.entries[liar.counted]))
    liar.resign(liar.counted, examples=1000)
    liar.entries[liar.counted].weight = 1000


def _wrong_order(liar: RollupLiar) -> None:
    at = liar.counted
    liar.entries[at - 1], liar.entries[at] = liar.entries[at], liar.entries[at - 1]


def _running_number(liar: RollupLiar) -> None:
    liar.counts[liar.rng.randrange(len(liar.entries))] = 1


def _running_number_mended_later(liar: RollupLiar) -> None:
    liar.counts = {0: 1, liar.counted: -1}


def _running_total(liar: RollupLiar) -> None:
    liar.totals[liar.rng.randrange(len(liar.entries))] = liar.delta


def _running_total_mended_later(liar: RollupLiar) -> None:
    liar.totals = {0: liar.delta, liar.counted: -liar.delta}


def _total(liar: RollupLiar) -> None:
    liar.said_total = liar.rng.choice([1, -1, liar.delta])


def _number(liar: RollupLiar) -> None:
    liar.said_accepted = liar.rng.choice([1, -1])


def _other_update_in_the_range(liar: RollupLiar) -> None:
    one = liar.entries[liar.counted]
    other = replace(one, update=replace(one.update, update_root=liar.rng.randbytes(32)))
    liar.range_leaf[liar.counted - 1] = liar.commitment(other)


def _other_weight_in_the_range(liar: RollupLiar) -> None:
    one = liar.entries[liar.counted]
    liar.range_leaf[liar.counted - 1] = liar.commitment(replace(one, weight=one.weight + liar.delta))


def _swapped_in_the_range(liar: RollupLiar) -> None:
    first, second = (liar.commitment(liar.entries[at]) for at in (1, 2))
    liar.range_leaf = {0: second, 1: first}


def _nothing_in_the_range(liar: RollupLiar) -> None:
    liar.range_leaf[liar.counted - 1] = EMPTY


def _no_submission(liar: RollupLiar) -> None:
    liar.submissions[liar.counted] = bytes([0x0E]) + liar.rng.randbytes(liar.rng.choice([10, 230, 400]))


def _submission_of_another_kind(liar: RollupLiar) -> None:
    one = liar.entries[liar.counted]
    liar.submissions[liar.counted] = (
        b"\x0f" + Submission(one.member, one.update, one.signature).to_bytes()[1:]
    )


def _long_record(liar: RollupLiar) -> None:
    liar.record[liar.counted] = b"\x00"


def _record_in_the_padding(liar: RollupLiar) -> None:
    del liar.entries[3:]  # three records leave room for one
    liar.counted = min(liar.counted, 2)
    liar.padding = liar.book.hash(b"a record")


def _node_of_another_kind(liar: RollupLiar) -> None:
    level = liar.rng.randrange(1, (len(liar.entries) - 1).bit_length() + 1)
    liar.node = lambda height, preimage: b"\x0b" + preimage[1:] if height == level else preimage


def _record_that_nobody_can_show(liar: RollupLiar) -> None:
    liar.leaf[liar.counted] = EMPTY


def _node_that_nobody_can_show(liar: RollupLiar) -> None:
    top = (len(liar.entries) - 1).bit_length()
    liar.hash_of_node = lambda height, digest: EMPTY if height == 1 < top else digest


def _submission_that_nobody_can_show(liar: RollupLiar) -> None:
    liar.hidden = liar.counted


def _node_of_the_range_that_nobody_can_show(liar: RollupLiar) -> None:
    liar.range_hash = lambda digest: EMPTY


def _cut_node(liar: RollupLiar) -> None:
    liar.node = lambda height, preimage: preimage[:-1]


def _node_of_the_range(liar: RollupLiar) -> None:
    liar.range_node = lambda preimage: liar.rng.choice([preimage[:-1], b"\x0d" + preimage[1:]])


ROLLUP_LIES: dict[Callable[[RollupLiar], None], Fraud] = {
    _refused_update_counts: Fraud.WRONG_RECORD,
    _other_signature_counts: Fraud.WRONG_RECORD,
    _malleable_signature_counts: Fraud.WRONG_RECORD,
    _update_of_no_member_counts: Fraud.WRONG_RECORD,
    _update_of_another_round_counts: Fraud.WRONG_RECORD,
    _update_under_other_rules_counts: Fraud.WRONG_RECORD,
    _update_over_another_base_counts: Fraud.WRONG_RECORD,
    _expired_update_counts: Fraud.WRONG_RECORD,
    _too_great_norm_counts: Fraud.WRONG_RECORD,
    _omitted: Fraud.WRONG_RECORD,
    _other_reason: Fraud.WRONG_RECORD,
    _reason_that_is_none: Fraud.WRONG_RECORD,
    _duplicate_as_a_reason: Fraud.WRONG_RECORD,
    _weight_over_the_cap: Fraud.WRONG_RECORD,
    _weight_too_low: Fraud.WRONG_RECORD,
    _weight_of_a_refused_update: Fraud.WRONG_RECORD,
    _duplicate: Fraud.WRONG_SEQUENCE,
    _second_update_of_a_member: Fraud.WRONG_SEQUENCE,
    _wrong_order: Fraud.WRONG_SEQUENCE,
    _running_number: Fraud.WRONG_SEQUENCE,
    _running_number_mended_later: Fraud.WRONG_SEQUENCE,
    _running_total: Fraud.WRONG_SEQUENCE,
    _running_total_mended_later: Fraud.WRONG_SEQUENCE,
    _total: Fraud.WRONG_SEQUENCE,
    _number: Fraud.WRONG_SEQUENCE,
    _other_update_in_the_range: Fraud.WRONG_COMMITMENT,
    _other_weight_in_the_range: Fraud.WRONG_COMMITMENT,
    _swapped_in_the_range: Fraud.WRONG_COMMITMENT,
    _nothing_in_the_range: Fraud.WRONG_COMMITMENT,
    _no_submission: Fraud.WRONG_RECORD,
    _submission_of_another_kind: Fraud.WRONG_RECORD,
    _long_record: Fraud.MALFORMED_ROLLUP,
    _record_in_the_padding: Fraud.MALFORMED_ROLLUP,
    _node_of_another_kind: Fraud.MALFORMED_ROLLUP,
    _cut_node: Fraud.MALFORMED_ROLLUP,
    _record_that_nobody_can_show: Fraud.MALFORMED_ROLLUP,
    _node_that_nobody_can_show: Fraud.MALFORMED_ROLLUP,
    _submission_that_nobody_can_show: Fraud.WRONG_RECORD,
    _node_of_the_range_that_nobody_can_show: Fraud.MALFORMED_ROLLUP,
    _node_of_the_range: Fraud.MALFORMED_ROLLUP,
}
"""Every kind of lie that a roll-up can tell, and what it falls for."""
