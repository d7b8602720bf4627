"""The address of an RPC endpoint may hold a key, in its path or elsewhere; it is shown and stored without."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from dotenv import dotenv_values

from fedvm.chain.errors import NetworkError

VARIABLE: Final = "FEDVM_RPC"
_HIDDEN: Final = "…"
_HARMLESS: Final = re.compile(r"[a-z]{0,10}|[A-Za-z0-9]{1,4}")
"""Parts of a path that are no keys: names such as ``rpc``, ``mainnet``, ``v1``. Keys are longer, and no words."""


def shown(url: str) -> str:
    """A URL as it may be printed and stored: without user, password and query, and with "…" for each part of its path
    that may be a key. Alchemy, Infura and others have their keys in the path."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return _HIDDEN
    pieces = parts.path.split("/")
    path = "/".join(piece if _HARMLESS.fullmatch(piece) else _HIDDEN for piece in pieces)
    query = "?" + _HIDDEN if parts.query else ""
    user = _HIDDEN + "@" if "@" in parts.netloc else ""
    return urlunsplit((parts.scheme, user + host, path, "", "")) + query


def whole(stored: str) -> str:
    """The URL to connect to for one that was stored by :func:`shown`.

    If that left something out, the whole one is in ``$FEDVM_RPC`` or a line of ``.env``.

    Raises:
        NetworkError: it is not there, or is another endpoint's.
    """
    if _HIDDEN not in stored:
        return stored
    given = os.environ.get(VARIABLE) or _from_file(Path(".env"))
    if not given:
        raise NetworkError(
            f"{stored} had a key, which is never stored: set {VARIABLE} to the whole address, in the environment or in "
            ".env, or give it with --rpc"
        )
    if shown(given) != stored:
        raise NetworkError(
            f"{VARIABLE} names {shown(given)}, not {stored}: correct it, or name the other endpoint with --rpc"
        )
    return given


def _from_file(path: Path) -> str | None:
    return dotenv_values(path).get(VARIABLE) if path.is_file() else None
