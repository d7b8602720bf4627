"""What a node means when it refuses a transaction: Lotus, geth, anvil and reth each have words of their own."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Refusal(Enum):
    """Why a node did not take a transaction into its pool."""

    KNOWN = "known"
    """It has it already."""
    NONCE_USED = "nonce used"
    """A transaction with this nonce is on the chain, or waits with as good a fee."""
    UNDERPRICED = "underpriced"
    """Another one with this nonce waits, and the fee is not enough to replace it."""
    FEE_TOO_LOW = "fee too low"
    NONCE_GAP = "nonce gap"
    POOL_FULL = "pool full"
    FUNDS = "funds"
    OTHER = "other"


_WORDS: Final = {
    Refusal.KNOWN: "already known|already imported|known transaction|message with nonce already exists",
    Refusal.UNDERPRICED: "replacement transaction underpriced|too low gaspremium|replace by fee",
    Refusal.NONCE_USED: "nonce too low|nonce is too low|minimum expected nonce|oldnonce",
    Refusal.NONCE_GAP: "nonce has too big|nonce gap|nonce too high",
    Refusal.POOL_FULL: "too many pending|txpool is full|mempool.*full",
    Refusal.FUNDS: "insufficient funds|not enough funds|insufficient balance",
    Refusal.FEE_TOO_LOW: "fee cap too low|less than block base fee|max fee per gas less|transaction underpriced|"
    "fee too low|feecap",
}
"""In this order: some words occur in the sentences for several."""
_COMPILED: Final = tuple((refusal, re.compile(words, re.IGNORECASE)) for refusal, words in _WORDS.items())

_ADVICE: Final = {
    Refusal.NONCE_USED: "another program or wallet sends from this account; let it finish, then run the same again",
    Refusal.UNDERPRICED: "a transaction of this account waits with a higher fee; wait until it has landed, then run "
    "the same again",
    Refusal.NONCE_GAP: "an earlier transaction of this account is missing in the node's pool; wait until those that "
    "wait have landed, then run the same again",
    Refusal.POOL_FULL: "too many transactions of this account wait; let them land, then run the same again",
    Refusal.FUNDS: "fund the account, then run the same again",
    Refusal.FEE_TOO_LOW: "the base fee has risen meanwhile; run the same again",
}


def refusal_of(message: str) -> Refusal:
    """What the node's error message means."""
    return next((refusal for refusal, words in _COMPILED if words.search(message)), Refusal.OTHER)


def advised(message: str) -> str:
    """The node's message with the way out behind it, where there is one."""
    advice = _ADVICE.get(refusal_of(message))
    return f"{message}; {advice}" if advice else message
