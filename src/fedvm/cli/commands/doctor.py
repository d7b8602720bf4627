"""`fedvm doctor`: what is missing on this machine, in a run's directory or on a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, checked_endpoint
from fedvm.cli.commands.signing import AccountOption, KeyFileOption, Signing


def doctor(
    folder: Annotated[Path, typer.Argument(help="The folder in which runs are to be made.")] = Path("runs"),
    run: Annotated[Path | None, typer.Option("--run", help="Look at this run's directory, too.")] = None,
    network: NetworkOption = None,
    rpc: RpcUrlOption = None,
    account: AccountOption = None,
    key_file: KeyFileOption = None,
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

    endpoint, signing = checked_endpoint(network, rpc), Signing(account, key_file)
    checks = list(examine(folder, run=run, endpoint=endpoint, load=signing.load))
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
        (
            "fedvm doctor --network filecoin-calibration --key-file me.key --json",
            "before something is sent to a network",
        ),
    ),
)
