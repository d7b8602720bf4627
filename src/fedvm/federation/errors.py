"""What can go wrong in a federation, as errors whose messages say what to do next."""

from __future__ import annotations

from typing import Final

BUDGET_SPENT: Final = "privacy budget is spent"
"""What every `PrivacyBudgetSpent` says, wherever its text ends up."""


class FederationError(Exception):
    """A federation cannot be run as asked."""


class SettingsError(FederationError, ValueError):
    """A setting is out of range or contradicts another."""


class CommitmentError(FederationError, ValueError):
    """A client's reply is inconsistent: its statement and its data differ, or a part is missing."""


class TermsError(FederationError, ValueError):
    """A server's message asks a client to sign what it should not, or cannot be read."""


class PrivacyBudgetSpent(FederationError):
    """A client sends no further update, since that would exceed its privacy budget."""


class EngineError(FederationError):
    """Flower's SuperLink cannot be reached, started or used."""


class LedgerMismatch(FederationError):
    """Chain, store and run disagree about the model."""


class UpdatesWaiting(FederationError):
    """Nothing can be proposed: members have submitted updates themselves, which must be included first."""


class FederationStalled(FederationError):
    """Too many rounds in a row failed."""
