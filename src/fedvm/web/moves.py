"""What the events of a round say, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedvm.web import words

_Body = Mapping[str, Any]


@dataclass(frozen=True)
class Telling:
    """How an event is told. text: from its fields; dispute: whether it is part of one; bad: whether something went
    wrong."""

    text: Callable[[_Body], str]
    dispute: bool = False
    bad: bool = False


def _always(text: str) -> Callable[[_Body], str]:
    return lambda body: text


def _who(name: str, text: str) -> Callable[[_Body], str]:
    """A text with the short address or hash of a field in it."""
    return lambda body: text.format(words.short(str(body[name])))


def _included(body: _Body) -> str:
    taken = "was taken in." if not body["reason"] else f"was refused: {words.refusal(body['reason'])[1]}"
    return f"The update that {words.short(body['member'])} submitted itself {taken}"


def _proposed(body: _Body) -> str:
    again = f", attempt {body['attempt']}" if body["attempt"] > 1 else ""
    who = (
        "The coordinator"
        if body["in_turn"]
        else f"{words.short(body['proposer'])}, in the coordinator's place,"
    )
    return f"{who} stated the new model{again}. It can be challenged."


def _proved(body: _Body) -> str:
    what = next(
        (text for fraud, text in words.FRAUDS.items() if fraud == body["fraud"]), "the result is wrong"
    )
    return f"{words.short(body['challenger'])} proved to the contract: {what}."


def _demanded(body: _Body) -> str:
    return f"{words.short(body['challenger'])} asked to see the data behind {words.short(body['hash'])}."


MOVES: Final[Mapping[str, Telling]] = {
    "RoundOpened": Telling(_always("The coordinator opened the round.")),
    "SubmittedDirectly": Telling(_who("member", "{} submitted its update itself, without the coordinator.")),
    "Included": Telling(_included),
    "VectorForfeited": Telling(_who("member", "The update of {} was given up, since its data did not come.")),
    "RoundClosed": Telling(_always("The coordinator said whose sealed updates came.")),
    "RollupSubmitted": Telling(_always("The coordinator handed in the list of all updates at once.")),
    "SealedRollupSubmitted": Telling(_always("The coordinator handed in the list of all updates at once.")),
    "RoundProposed": Telling(_proposed),
    "ChallengeExtended": Telling(
        _always("The time to challenge was extended, since a question is open."), dispute=True
    ),
    "ProposalRejected": Telling(
        _who("challenger", "The result was rejected. {} had challenged it."), dispute=True, bad=True
    ),
    "FraudProved": Telling(_proved, dispute=True, bad=True),
    "DataDemanded": Telling(_demanded, dispute=True),
    "DataAnswered": Telling(_who("hash", "The data behind {} were shown."), dispute=True),
    "ShareClaimed": Telling(_who("challenger", "{} took its share of the lost bond."), dispute=True),
    "RoundFinal": Telling(_always("Nobody proved it wrong in time: the result became final.")),
    "RoundFailed": Telling(_always("The round failed. The model stays as it was."), bad=True),
}
"""Event → how it is told; those without an entry are told by others."""
