"""Why an update does not count."""

from __future__ import annotations

from enum import IntEnum


class Refusal(IntEnum):
    """Why an update does not count; the contract's enum."""

    NONE = 0
    NOT_MEMBER = 1
    DUPLICATE = 2
    BAD_SIGNATURE = 3
    WRONG_ROUND = 4
    WRONG_RULES = 5
    WRONG_BASE = 6
    WRONG_SHAPE = 7
    EXPIRED = 8
    TOO_FEW_EXAMPLES = 9
    NORM_TOO_LARGE = 10
    ACCURACY_TOO_LOW = 11
    LOSS_TOO_HIGH = 12
    STAKE_TOO_LOW = 13
    TOO_FEW_LABELS = 14
    BUDGET_SPENT = 15
    TOO_SOON = 16

    @property
    def label(self) -> str:
        """The name in the contract, e.g. ``NormTooLarge``."""
        return "".join(word.capitalize() for word in self.name.split("_"))
