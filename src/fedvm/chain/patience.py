"""Watching a chain whose RPC can fail: a failed read is reported and repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from web3.exceptions import Web3Exception

from fedvm.chain.errors import ChainError
from fedvm.chain.revert import explain

Seen = TypeVar("Seen")


def patiently(look: Callable[[], Seen], *, tell: Callable[[str], None], pause: Callable[[], None]) -> Seen:
    """Read from the chain, again and again until it succeeds, and return the result. tell: called with each error,
    though not again if the same one repeats, and when the errors have ended. pause: called before the next attempt.
    Errors that do not come from the chain or its RPC are raised.
    """
    told = ""
    while True:
        try:
            seen = look()
        except (OSError, Web3Exception, ChainError) as error:
            if (wrong := _shown(error)) != told:
                tell(f"The chain cannot be read or written to ({wrong}); trying on.")
                told = wrong
            pause()
        else:
            if told:
                tell("The chain answers again.")
            return seen


def _shown(error: Exception) -> str:
    if isinstance(error, ChainError):
        return str(error)
    if isinstance(error, Web3Exception):
        return explain(error)
    return type(error).__name__  # its text may quote the RPC's whole address, with a key in it
