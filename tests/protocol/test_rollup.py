"""Roll-ups: what they refuse to hold, and that their published file cannot be read as another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from fedvm.protocol import (
    EncodingError,
    Judged,
    RangeError,
    Record,
    Rollup,
    Submission,
    Update,
    roll_up,
)
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.rollup import RECORD_NODE

SIGNATURE = bytes(range(65))


def _update(number: int) -> Update:
    return Update(
        *(
            3,
            b"\x01" * 32,
            b"\x02" * 32,
            keccak(bytes([number])),
            2**128 - 1,
            10,
            16,
            300,
            900_000,
            2**64 - 1,
        ),
        *(10, 5_000_000, 1_800_000_000, b"cid"),
    )


def _judged(number: int, reason: int = 0, weight: int = 5) -> Judged:
    return Judged(f"0x{number:040x}", _update(number), SIGNATURE, reason, weight)


def test_a_submission_reads_as_it_was_written() -> None:
    submission = Submission("0x" + "11" * 20, _update(1), SIGNATURE)
    data = submission.to_bytes()
    assert Submission.parse(submission.member, data) == submission
    assert len(data) == 231 + 3


@pytest.mark.parametrize("data", [b"", b"\x0e" * 231, b"\x0e" * (231 + 65), b"\x0f" * 240])
def test_what_is_no_submission(data: bytes) -> None:
    with pytest.raises(EncodingError, match="no submission"):
        Submission.parse("0x" + "11" * 20, data)


def test_a_signature_has_65_bytes() -> None:
    with pytest.raises(EncodingError, match="signature must hold 65 bytes"):
        Submission("0x" + "11" * 20, _update(1), bytes(64)).to_bytes()


def test_totals_run_and_padding_is_zero() -> None:
    rollup = roll_up([_judged(1), _judged(2, reason=9, weight=0), _judged(7)])
    assert [(record.accepted, record.total) for record in rollup.records] == [(1, 5), (1, 5), (2, 10)]
    assert [commitment.member for commitment in rollup.commitments] == [f"0x{n:040x}" for n in (1, 7)]
    tree = rollup.tree
    assert tree.levels[0][3] == EMPTY
    for index in range(3):
        top = rollup.records[index].digest()
        for level, sibling in enumerate(tree.siblings(index)):
            pair = (sibling, top) if index >> level & 1 else (top, sibling)
            top = keccak(RECORD_NODE + pair[0] + pair[1])
        assert top == tree.root
    with pytest.raises(RangeError, match="no record 3"):
        tree.siblings(3)


def test_members_ascend() -> None:
    for pair in ([_judged(2), _judged(1)], [_judged(1), _judged(1)]):
        with pytest.raises(EncodingError, match="not above the member before it"):
            roll_up(pair)


def test_refused_updates_weigh_nothing_and_none_is_no_rollup() -> None:
    with pytest.raises(EncodingError, match="has weight 5, not 0"):
        roll_up([_judged(1, reason=3)])
    with pytest.raises(EncodingError, match="at least one update"):
        roll_up([])


def test_a_file_that_is_cut_is_refused() -> None:
    data = roll_up([_judged(1), _judged(2)]).to_bytes()
    for cut in (1, 70, 72, len(data) // 2 + 1, len(data) - 1):
        with pytest.raises(EncodingError):
            Rollup.parse(data[:cut])
    with pytest.raises(EncodingError):
        Rollup.parse(b"")


def test_a_record_reads_as_it_was_written() -> None:
    record = roll_up([_judged(9)]).records[0]
    assert Record.parse(record.preimage()) == record
    assert Record.parse(replace(record, reason=255).preimage()).reason == 255
    for bad in (record.preimage()[:-1], b"\x0d" + record.preimage()[1:]):
        with pytest.raises(EncodingError, match="no record"):
            Record.parse(bad)
