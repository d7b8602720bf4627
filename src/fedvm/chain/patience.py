"""Watching a chain whose RPC comes and goes: a look that fails is told of and taken again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from web3.exceptions import Web3Exception

from fedvm.chain.errors import ChainError
from fedvm.chain.revert import explain

Seen = TypeVar("Seen")


def patiently(look: Callable[[], Seen], *, tell: Callable[[str], None], pause: Callable[[], None]) -> Seen:
    """What a look at the chain returns, which is taken until it succeeds.

    tell: called with what went wrong, once for each thing in a row that does, and when it is over. pause: called before
    the next look. Errors that do not come from the chain or its RPC are raised.
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
