"""What a command that fails says: one message on standard error, or with `--json` one object on standard output."""

from __future__ import annotations

import errno
import json
import sqlite3
from typing import Final

import click
from rich.markup import escape

from fedvm.cli.console import err
from fedvm.cli.status import BAD_INPUT, FAILURE

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_ROOM = "free some space, then give the same command again (a run: with --resume). What was finished is kept"
_RIGHTS = "it must be writable: change its rights, or work on a copy elsewhere"


def status_of(error: Exception) -> int:
    """BAD_INPUT for what the caller can mend in the input, FAILURE for the rest.

    In this package errors about input are ValueErrors; those about the world (a chain, a store) are not, but
    for a run or a key that is not where it was said to be.
    """
    from fedvm.chain.errors import ChainNotFound, DeploymentError, KeyFileError

    if isinstance(error, click.ClickException):
        return BAD_INPUT
    named_wrongly = isinstance(error, ChainNotFound | DeploymentError | KeyFileError)
    return BAD_INPUT if named_wrongly or (_is_ours(error) and isinstance(error, ValueError)) else FAILURE


def show_failure(error: Exception, *, as_json: bool) -> None:
    """Say what went wrong and what to do next; an error from elsewhere is named as unexpected."""
    expected = message_of(error)
    text = expected or f"{type(error).__name__}: {error}"
    if as_json:
        kind = type(error).__name__
        click.echo(json.dumps({"error": text, "kind": kind, "status": status_of(error)}, indent=2))
    elif isinstance(error, click.ClickException):
        error.show()
    elif expected is not None:
        err().print(f"[bold red]Error:[/] {escape(expected)}")
    else:
        err().print(f"[bold red]Unexpected error:[/] {escape(text)}")
        err().print("Run again with --debug to see where it comes from.", style="dim")


def message_of(error: Exception) -> str | None:
    """What a person is told, None for an error that nobody expected."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if _is_ours(error):
        return str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno in _FULL | _FORBIDDEN:
        place = f"{error.filename}: " if error.filename else ""
        advice = _ROOM if error.errno in _FULL else _RIGHTS
        return f"{place}{error.strerror or error}. {advice[0].upper()}{advice[1:]}."
    if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
        return f"the run's chain.sqlite cannot grow: {error}. {_ROOM[0].upper()}{_ROOM[1:]}."
    if isinstance(error, sqlite3.OperationalError) and (
        "readonly" in str(error) or "unable to open" in str(error)
    ):
        return f"the run's chain.sqlite cannot be written: {error}. {_RIGHTS[0].upper()}{_RIGHTS[1:]}."
    return None


def _is_ours(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "fedvm"
