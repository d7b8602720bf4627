"""Errors of the audit itself; what an audit finds is a `Finding`."""

from __future__ import annotations


class AuditError(Exception):
    """The audit cannot be carried out."""


class RecipeError(AuditError):
    """An ONNX file does not say how it was compiled."""


class DescriptionError(AuditError, ValueError):
    """An ONNX file has no description of its input and classes, or names in it do not fit."""


class OutOfOrder(AuditError):
    """An event is told where the contract cannot have told it. ``tx_hash``: of its transaction."""

    def __init__(self, message: str, tx_hash: str, round_: int | None = None) -> None:
        super().__init__(message)
        self.tx_hash, self.round = tx_hash, round_
