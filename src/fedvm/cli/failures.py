"""What a command that fails says: one message on standard error, or with `--json` one object on standard output."""

from __future__ import annotations

import errno
import json
import sqlite3
from typing import Any, Final, cast

import click
from rich.markup import escape

from fedvm.cli.console import err
from fedvm.cli.status import BAD_INPUT, FAILURE

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_ROOM: Final = "Free some space, then give the same command again; what was finished is kept"
_RIGHTS: Final = "It must be writable: change its rights, or work on a copy elsewhere"
_SQLITE: Final = {
    sqlite3.SQLITE_FULL: _ROOM,
    sqlite3.SQLITE_IOERR: f"The disk is full, or broken. {_ROOM}",
    sqlite3.SQLITE_READONLY: _RIGHTS,
    sqlite3.SQLITE_CANTOPEN: _RIGHTS,
}
"""By SQLite's primary result code."""


def status_of(error: Exception) -> int:
    """BAD_INPUT for what the caller can correct in the input, FAILURE for the rest.

    In this package errors about input are ValueErrors. Errors about the world (a chain, a store) are not; the
    exceptions are a run or a key that is missing where the caller said it is.
    """
    from fedvm.chain.errors import ChainNotFound, DeploymentError, KeyFileError

    if isinstance(error, click.ClickException):
        return BAD_INPUT
    named_wrongly = isinstance(error, ChainNotFound | DeploymentError | KeyFileError)
    return BAD_INPUT if named_wrongly or (_is_ours(error) and isinstance(error, ValueError)) else FAILURE


def show_failure(error: Exception, *, as_json: bool) -> None:
    """Say what went wrong and what to do next; an exception that is not FedVM's own is reported as unexpected."""
    expected = message_of(error)
    text = expected or f"{type(error).__name__}: {error}"
    if as_json:
        kind = type(error).__name__
        click.echo(json.dumps({"error": text, "kind": kind, "status": status_of(error)}))
    elif isinstance(error, click.ClickException):
        error.show()
    elif expected is not None:
        err().print(f"[bold red]Error:[/] {escape(expected)}")
    else:
        err().print(f"[bold red]Unexpected error:[/] {escape(text)}")
        err().print("Run again with --debug to see where it comes from.", style="dim")


def message_of(error: Exception) -> str | None:
    """The message for a person, None for an unexpected error."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if _is_ours(error):
        return str(error) or type(error).__name__
    if type(error).__module__.startswith("requests."):  # worded by `fedvm.chain.discreet.DiscreetProvider`
        return f"{error}; try again, or name another endpoint (fedvm networks check NAME|URL says what one can do)"
    if type(error).__module__ == "web3.exceptions":
        from fedvm.chain.revert import explain

        return f"The chain's node answers: {explain(cast(Any, error))}"
    return _of_the_disk(error)


def _of_the_disk(error: Exception) -> str | None:
    """The message for a full or read-only disk, None for any other error."""
    if isinstance(error, OSError) and error.errno in _FULL | _FORBIDDEN:
        place = f"{error.filename}: " if error.filename else ""
        what, advice = error.strerror or str(error), _ROOM if error.errno in _FULL else _RIGHTS
    elif isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in _SQLITE:
        place, what = "chain.sqlite: ", str(error)
        advice = _SQLITE[error.sqlite_errorcode & 0xFF]
    else:
        return None
    return " ".join([f"{place}{what}. {advice}.", *getattr(error, "__notes__", ())])


def _is_ours(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "fedvm"
