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

    @property
    def meaning(self) -> str:
        """What it says of the update, in a sentence or two for people; "" for NONE."""
        return _MEANINGS.get(self, "")


_MEANINGS = {
    Refusal.NOT_MEMBER: "It came from an account that is no member of this federation.",
    Refusal.DUPLICATE: "The member had sent an update in this round already. Only one counts.",
    Refusal.BAD_SIGNATURE: (
        "It was not signed by the member, nor by a key that the member appointed. So anyone may have made it."
    ),
    Refusal.WRONG_ROUND: "It was made for another round.",
    Refusal.WRONG_RULES: "It was made under other rules than those in force.",
    Refusal.WRONG_BASE: "It was trained from another model than the one that this round began with.",
    Refusal.WRONG_SHAPE: "It does not have the size or the form of this model.",
    Refusal.EXPIRED: "It came too late.",
    Refusal.TOO_FEW_EXAMPLES: "It was trained on fewer examples than the rules ask for.",
    Refusal.NORM_TOO_LARGE: "It would have changed the model by more than the rules allow one member to.",
    Refusal.ACCURACY_TOO_LOW: "The member states a lower accuracy than the rules ask for.",
    Refusal.LOSS_TOO_HIGH: "The member states a greater loss than the rules allow.",
    Refusal.STAKE_TOO_LOW: "The member has less money at stake than the federation asks for.",
    Refusal.TOO_FEW_LABELS: "The member's data have fewer different classes than the rules ask for.",
    Refusal.BUDGET_SPENT: "The member's privacy budget is spent, or it did not say how much is.",
    Refusal.TOO_SOON: "An update of the member counted a short time ago. The rules make it rest.",
}
