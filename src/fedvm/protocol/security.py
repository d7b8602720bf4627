"""What secures a coordinator's proposals and an owner's changes: bond, stake, fees, times and notice."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final

from fedvm.protocol.checks import check_uint

QUESTION_LEVELS: Final = 6
"""Most levels of a tree that one question about a proposal opens."""

UNITS_A_DOUBLING: Final = 256
"""Units of questions after which their price doubles in a phase; so many cost the bond at least."""

_BITS = {
    "challenge_seconds": 64,
    "answer_seconds": 64,
    "bond": 128,
    "stake": 128,
    "demand_fee": 128,
    "post_fee": 128,
    "notice_seconds": 64,
    "open_seconds": 64,
}


@dataclass(frozen=True)
class Security:
    """The contract's ``Security`` struct, field by field in its order. Construction checks every width.

    Raises:
        EncodingError: a field is not an integer, or does not fit its width (RangeError).
    """

    challenge_seconds: int
    """Seconds in which a proposal can be challenged before it may become final."""
    answer_seconds: int
    """Seconds to answer what is asked in a phase, and again to go on from the answers."""
    bond: int
    """Wei that the coordinator loses for a proposal that is proved wrong."""
    stake: int
    """Wei that a member must have at stake to sign; 0 asks for none."""
    demand_fee: int
    """Wei that the first units asked in a phase cost; at least a 256th of the bond."""
    post_fee: int
    """Wei a chunk that the demand for a directly submitted vector costs: the most that posting it is paid, and no more
    than posting cost; the rest comes back."""
    notice_seconds: int
    """Seconds from the announcement of other rules to when they can be adopted."""
    open_seconds: int
    """Seconds from a round's opening in which nothing can be proposed or rolled up, so that members whom the
    coordinator ignores can submit themselves; at most half of a round's ``round_seconds``."""

    def __post_init__(self) -> None:
        for name, bits in _BITS.items():
            check_uint(f"security.{name}", getattr(self, name), bits)

    def as_tuple(self) -> tuple[int, ...]:
        """The fields in the struct's order, as web3 takes a struct."""
        return astuple(self)


def question_phases(leaves: int, elements: int) -> int:
    """k: in how many phases the data behind a proposal can be asked for (docs/protocol.md, "Questions in phases").

    leaves: records of a roll-up, or accepted updates that were relayed, at least 1. elements: length of the model's
    vector, at least 1.
    """
    tree, vector = (leaves - 1).bit_length(), (-(-elements // 64) - 1).bit_length()
    return -(-(tree + 1) // QUESTION_LEVELS) + -(-(vector + 2) // QUESTION_LEVELS)


def longest_delay(security: Security, leaves: int, elements: int) -> int:
    """W + 2·A·k: seconds after which a proposal is final, or has fallen, whatever others do."""
    phases = question_phases(leaves, elements)
    return security.challenge_seconds + 2 * security.answer_seconds * phases


def posting_seconds(elements: int) -> int:
    """Seconds in which a member can post a vector of so many elements, as the contract reckons: a chunk of 64 takes
    25,000 gas, and 25 chunks a second are sure to find room in blocks. Where members have stakes, ``answer_seconds``
    must be no less."""
    chunks = -(-elements // 64)
    return -(-chunks // 25)
