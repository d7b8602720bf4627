"""`fedvm doctor`: what is missing on this machine, in a run's directory or on a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.federation_options import rpc_option
from fedvm.cli.commands.json_option import JsonOption, print_json


def doctor(
    folder: Annotated[Path, typer.Argument(help="The folder in which runs are to be made.")] = Path("runs"),
    run: Annotated[Path | None, typer.Option("--run", help="Look at this run's directory, too.")] = None,
    rpc: Annotated[str | None, rpc_option("Look at this network, too")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="Key of the account that pays on the network; else PRIVATE_KEY.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what would stop FedVM: Python and its packages, the folder, the disk; a run's contracts and models; a
    network's chain and the funds of the account that pays.

    Sends nothing. Exit status 1 when something failed; a warning concerns what only some need.
    """
    from dataclasses import asdict

    from rich.text import Text

    from fedvm.cli.console import out
    from fedvm.cli.status import FAILURE
    from fedvm.pipeline.doctor import Verdict, examine

    checks = list(examine(folder, run=run, rpc=rpc, key_file=key_file))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        marks = {
            Verdict.OK: ("✓", "green"),
            Verdict.WARNING: ("!", "yellow"),
            Verdict.FAILED: ("✗", "bold red"),
        }
        for check in checks:
            mark, style = marks[check.verdict]
            out().print(Text.assemble((mark, style), " ", (check.name, "bold"), " ", check.found))
    if any(check.verdict is Verdict.FAILED for check in checks):
        raise typer.Exit(FAILURE)


COMMAND = Command(
    "doctor",
    doctor,
    (
        ("fedvm doctor", "before the first run"),
        ("fedvm doctor --run runs/demo", "why a run does not go on"),
        ("fedvm doctor --rpc calibration --key-file me.key --json", "before something is sent to a network"),
    ),
)
