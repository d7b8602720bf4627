"""How exports are written: JSON and Markdown whose bytes follow from the facts alone, in which names stay text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, Final

from fedvm.exports.facts import Source

TO_WRITE: Final = "TO BE WRITTEN BY A PERSON"
"""Marks what no chain can say."""
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>()#|!~:@&$^]|^[-+=]|(?<=www)\.)", re.IGNORECASE)
"""What begins markup: anywhere, or at the beginning of a line, or as a link that Markdown makes by itself."""

_NUMBERED: Final = re.compile(r"^(\d+)\.")
"""What begins a numbered list."""


def json_bytes(value: Any) -> bytes:
    """Plain data as indented JSON with a newline at its end. Keys keep their order."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def json_line(value: Any) -> bytes:
    """Plain data as one line of JSON Lines."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()


def hexadecimal(data: bytes) -> str:
    """Bytes with 0x."""
    return "0x" + data.hex()


def moment(seconds: int) -> str:
    """Unix seconds in UTC as RFC 3339 has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def source_json(source: Source) -> dict[str, Any]:
    """Where a fact is said, for JSON."""
    return {
        "contract": source.contract,
        "event": source.event,
        "block": source.block,
        "log_index": source.log_index,
        "transaction": source.tx,
        "command": source.command,
    }


def escaped(text: str) -> str:
    """Text as Markdown that shows it as it is, on one line: no markup, link, HTML or cell of a table begins in it."""
    plain = " ".join(text.split())
    return _NUMBERED.sub(r"\1\\.", _SPECIAL.sub(r"\\\1", plain))


def to_write(what: str) -> str:
    """The mark for what a person must write, as Markdown."""
    return f"**[{TO_WRITE}: {what}]**"


def table(titles: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table; what is in the cells is Markdown already."""
    lines = [titles, ["---"] * len(titles), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


class References:
    """Numbers the sources of a Markdown document, and lists them at its end."""

    def __init__(self) -> None:
        self._numbers: dict[Source, int] = {}

    def mark(self, source: Source) -> str:
        """A link to the source."""
        number = self._numbers.setdefault(source, len(self._numbers) + 1)
        return f"[\\[{number}\\]](#source-{number})"

    def section(self) -> list[str]:
        """The lines of the list, with its heading."""
        lines = [
            "## Sources",
            "",
            "Each number above is marked with the event that says it. RUN, RPC and STORE stand for a run's "
            "directory, a node of the chain and a store with the artefacts.",
            "",
        ]
        for source, number in self._numbers.items():
            lines.append(
                f'{number}. <a id="source-{number}"></a>`{source.event}` of `{source.contract}`, block {source.block}, '
                f"transaction `{source.tx}`: `{source.command}`"
            )
        return lines
