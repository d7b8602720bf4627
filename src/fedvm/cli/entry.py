"""Runs the application and turns whatever happens into one message and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from fedvm.cli.status import BAD_INPUT, FAILURE, INTERRUPTED, OK

_DEBUG = "--debug"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always ends in SystemExit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = _DEBUG in given or os.environ.get("FEDVM_DEBUG", "") not in ("", "0")
    sys.exit(run([word for word in given if word != _DEBUG], debug=debug))


def run(arguments: Sequence[str], *, debug: bool = False) -> int:
    """Run one command and return its exit status; `debug` lets exceptions through with their traceback."""
    import click

    from fedvm.cli.app import app
    from fedvm.cli.console import Interrupted, show_error, show_interrupt

    _quiet_libraries()
    try:
        status = app(args=list(arguments), prog_name="fedvm", standalone_mode=False)
        if status == INTERRUPTED:  # Typer turns Ctrl-C into this status, without a word
            show_interrupt("")
        return status if isinstance(status, int) else OK
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except Interrupted as interrupt:
        show_interrupt(str(interrupt))
        return INTERRUPTED
    except (KeyboardInterrupt, click.Abort):
        show_interrupt("")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left, as `fedvm decisions | head` does
        return OK
    except Exception as error:
        if debug:
            raise
        show_error(error)
        return status_of(error)


def status_of(error: Exception) -> int:
    """BAD_INPUT for what the caller can mend in the input, FAILURE for the rest.

    In this package errors about input are ValueErrors; those about the world (a chain, a store) are not, but
    for a run or a key that is not where it was said to be.
    """
    from fedvm.chain.errors import ChainNotFound, DeploymentError, KeyFileError

    named_wrongly = isinstance(error, ChainNotFound | DeploymentError | KeyFileError)
    ours = type(error).__module__.partition(".")[0] == "fedvm"
    return BAD_INPUT if named_wrongly or (ours and isinstance(error, ValueError)) else FAILURE


def _quiet_libraries() -> None:
    """Nobody asked these libraries to report home, look for updates or download anything."""
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


if __name__ == "__main__":
    main()
