"""What a watch tells: one line each, for a person, a program or a webhook."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What happened."""

    FINDING = "finding"
    CLEARED = "cleared"
    ROUND = "round"
    CHALLENGE = "challenge"
    ANSWER = "answer"
    UNANSWERED = "unanswered"
    REORGANISATION = "reorganisation"
    OUTAGE = "outage"
    RECOVERED = "recovered"
    WEBHOOK = "webhook"


URGENT = frozenset((Kind.FINDING, Kind.CHALLENGE, Kind.UNANSWERED, Kind.REORGANISATION))
"""What goes to a webhook."""


@dataclass(frozen=True)
class Event:
    """subject: the addresses that it is about, "" for the watch itself; text: for a person; fields: JSON values."""

    kind: Kind
    subject: str
    text: str
    fields: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One JSON object; the time is in Unix seconds."""
        named = {"event": self.kind.value, "time": int(time.time()), "subject": self.subject}
        return {**named, "text": self.text, **self.fields}
