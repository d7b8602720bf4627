"""JSON that somebody else may have written. Every package may use this module."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text, nested no deeper than 200 levels.

    The reader of Python's library goes as deep as the interpreter's recursion limit, which libraries for Ethereum raise
    to where the stack of the process ends: a hundred kilobytes of brackets, in an answer or a reply, would end it.

    Raises:
        ValueError: it is no JSON, or nested deeper.
    """
    return from_json(text)
