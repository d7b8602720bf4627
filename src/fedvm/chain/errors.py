"""What can go wrong between FedVM and a chain, as exceptions that say what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ChainError(Exception):
    """Base of every error of :mod:`fedvm.chain`."""


class ChainNotFound(ChainError):
    """There is no embedded chain at the path."""


class ChainLocked(ChainError):
    """Another process has the embedded chain open for writing."""


class ChainMismatch(ChainError):
    """A chain, key or deployment is not the one that was asked for."""


class ArtifactError(ChainError):
    """A contract artefact is missing or malformed."""


class KeyFileError(ChainError):
    """The key for a real network is missing, malformed or kept unsafely. The message never shows the key."""


class MalformedEvent(ChainError):
    """An event cannot be what a contract told. ``tx_hash``: of its transaction."""

    def __init__(self, message: str, tx_hash: str) -> None:
        super().__init__(message)
        self.tx_hash = tx_hash


class NetworkError(ChainError):
    """An RPC endpoint is unreachable, too slow, or refuses what a client needs."""


class BadAnswer(NetworkError, OSError):
    """What answers at an RPC address does not speak JSON-RPC, or not as Ethereum's nodes do. It may be a gateway that
    fails for a moment, so it is an OSError, too: who tries again after those does so here."""


class MalformedAnswer(NetworkError):
    """A node says of its chain what has not the form of such a thing. It does not pass by itself as an outage does."""


class TransactionFailed(ChainError):
    """A transaction was refused or reverted.

    ``reason`` is the decoded custom error (``"QuorumNotReached(3, 4)"``), the revert string, or what the
    node said; ``data`` the revert data, empty if the node gave none; ``tx_hash`` the transaction, None if it
    was never sent.
    """

    def __init__(self, action: str, reason: str, *, data: bytes = b"", tx_hash: str | None = None) -> None:
        self.action, self.reason, self.data, self.tx_hash = action, reason, data, tx_hash
        where = f" (transaction {tx_hash})" if tx_hash else ""
        super().__init__(f"{action} failed: {reason}{where}")


@contextmanager
def unless_done(*errors: str) -> Iterator[None]:
    """For what anyone may do: another's transaction in front of the one inside is as good. errors: names of the
    contract's errors that say so. Other failures are raised."""
    try:
        yield
    except TransactionFailed as failed:
        if not failed.reason.startswith(tuple(f"{name}(" for name in errors)):
            raise


class CallFailed(ChainError):
    """A read-only call reverted or ran out of gas; fields as in :class:`TransactionFailed`."""

    def __init__(self, action: str, reason: str, *, data: bytes = b"", gas_used: int = 0) -> None:
        self.action, self.reason, self.data, self.gas_used = action, reason, data, gas_used
        super().__init__(f"{action} failed: {reason}")


class AddressError(ChainError, ValueError):
    """A text is no address of an account."""


class DeploymentError(ChainError):
    """``deployment.json`` is missing, malformed, or does not match the chain."""
