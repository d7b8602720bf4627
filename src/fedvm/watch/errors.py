"""What can be wrong with a watch itself, and how it words what went wrong elsewhere."""

from __future__ import annotations

from web3.exceptions import Web3Exception

from fedvm.chain.errors import NetworkError
from fedvm.chain.revert import explain


class WatchError(ValueError):
    """The watch cannot begin as it was asked to."""


def words(error: Exception) -> str:
    """What an error says, for a line that may be passed on: of others than FedVM's and web3's the kind alone, since
    their text may quote the RPC's whole address, with a key in it."""
    if isinstance(error, Web3Exception):
        return explain(error)
    is_ours = type(error).__module__.partition(".")[0] == "fedvm"
    return (str(error) if is_ours else "") or type(error).__name__


def is_outage(error: Exception) -> bool:
    """Whether an error says no more than that something cannot be reached now."""
    return isinstance(error, NetworkError | OSError)
