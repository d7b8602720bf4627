"""The command line `fedvm`: Typer commands over `fedvm.pipeline` and `fedvm.audit`.

Nothing heavy is imported before a command needs it, so that `fedvm --help` answers at once.
"""

from __future__ import annotations

from fedvm.cli.entry import main

__all__ = ["main"]
