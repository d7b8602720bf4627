"""Runs the application and turns whatever happens into one message and an exit status (`fedvm.cli.status`)."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from fedvm.cli.status import INTERRUPTED, OK, TERMINATED
from fedvm.cli.terminal import show_all_characters

_DEBUG, _JSON = "--debug", "--json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always ends in SystemExit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = _DEBUG in given or os.environ.get("FEDVM_DEBUG", "") not in ("", "0")
    sys.exit(run([word for word in given if word != _DEBUG], debug=debug))


def run(arguments: Sequence[str], *, debug: bool = False) -> int:
    """Run one command and return its exit status; `debug` lets exceptions through with their traceback."""
    import click

    from fedvm.cli.app import app
    from fedvm.cli.console import Interrupted
    from fedvm.cli.failures import show_failure, status_of

    _quiet_libraries()
    show_all_characters()
    as_json = _JSON in arguments
    with _ending_like_ctrl_c() as ending:
        try:
            status = app(args=list(arguments), prog_name="fedvm", standalone_mode=False)
            if status == INTERRUPTED:  # Typer turns Ctrl-C into this status, without a word
                return _interrupted("", ending, as_json)
            return status if isinstance(status, int) else OK
        except click.exceptions.Exit as ended:
            return ended.exit_code
        except Interrupted as interrupt:
            return _interrupted(str(interrupt), ending, as_json)
        except (KeyboardInterrupt, click.Abort):
            return _interrupted("", ending, as_json)
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output has closed it, as in `fedvm decisions | head`
            return OK
        except Exception as error:
            if debug and not isinstance(error, click.ClickException):
                raise
            show_failure(error, as_json=as_json)
            return status_of(error)


def _interrupted(hint: str, ending: list[int], as_json: bool) -> int:
    from fedvm.cli.console import show_interrupt

    status = TERMINATED if ending else INTERRUPTED
    if as_json:
        print(json.dumps({"error": hint or "interrupted", "kind": "Interrupted", "status": status}))
    else:
        show_interrupt("Asked to end." if ending else "Interrupted.", hint)
    return status


@contextmanager
def _ending_like_ctrl_c() -> Iterator[list[int]]:
    """Within this context SIGTERM ends a command like Ctrl-C, and prints what to do next. Yields the list of signals
    received."""
    received: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread, and signals arrive only there
        yield received
        return
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _quiet_libraries() -> None:
    """Keep libraries from sending telemetry, looking for updates or downloading anything."""
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


if __name__ == "__main__":
    main()
