"""Text that the terminal can show, and commands that can be pasted into a shell."""

from __future__ import annotations

import codecs
import io
import shlex
import sys
from pathlib import Path

_PLAIN = (
    {
        "✗": "x",
        "✓": "v",
        "▸": ">",
        "·": "-",
        "…": "...",
        "–": "-",
        "—": "-",
        "−": "-",
        "×": "x",
        "≥": ">=",
        "≤": "<=",
        "→": "->",
        "•": "*",
        "’": "'",
        "“": '"',
        "”": '"',
        "²": "^2",
        "α": "alpha",
        "β": "beta",
        "δ": "delta",
        "ε": "epsilon",
        "σ": "sigma",
        "τ": "tau",
        "μ": "mu",
        "₁": "1",
        "₂": "2",
    }
    | dict.fromkeys("─━", "-")
    | dict.fromkeys("│┃", "|")
    | dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+")
)
_HANDLER = "fedvm.plain"


def show_all_characters() -> None:
    """Let standard output and error print any text: what their encoding lacks becomes the nearest ASCII, or "?"."""
    codecs.register_error(_HANDLER, _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def command_line(*words: str | Path) -> str:
    """A command as it can be pasted into a shell, whatever characters its paths have."""
    return shlex.join(str(word) for word in words)


def printable(text: str) -> str:
    """A text of others in one line, without characters that a terminal obeys: those are shown by their numbers."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _nearest(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(one, "?") for one in error.object[error.start : error.end]), error.end
