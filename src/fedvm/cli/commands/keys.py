"""`fedvm keys`: a client's signing key in a file of its own, and the member that it signs for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.appoint import (
    APPOINT_EPILOG,
    GIVE_UP_EPILOG,
    OF_EPILOG,
    PROVE_EPILOG,
    appoint,
    give_up,
    of,
    prove,
)
from fedvm.cli.commands.group import command_group
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.help import HelpfulCommand

GROUP = command_group("Make and look at a client's key, and have it sign for a member.")


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm keys new --out client.key`")
def new(
    out: Annotated[Path, typer.Option(help="The file to make; it must not exist.")],
    as_json: JsonOption = False,
) -> None:
    """Make a signing key in a file that only you can read, and print its address.

    The address is what the federation's owner needs to make you a member. The key itself is never printed and
    never leaves your machine: a SuperNode reads it from `--node-config 'fedvm-key-file="client.key"'`.
    """
    from fedvm.chain.keys import create_key_file

    _print_address(create_key_file(out).address, as_json)


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm keys show client.key`")
def show(
    file: Annotated[Path, typer.Argument(help="A file that `fedvm keys new` made.")],
    as_json: JsonOption = False,
) -> None:
    """Print the address of a key file."""
    from fedvm.chain.keys import read_key_file

    _print_address(read_key_file(file).address, as_json)


def _print_address(address: str, as_json: bool) -> None:
    if as_json:
        print_json({"address": address})
    else:
        print(address)


GROUP.command(cls=HelpfulCommand, epilog=APPOINT_EPILOG)(appoint)
GROUP.command(cls=HelpfulCommand, epilog=PROVE_EPILOG)(prove)
GROUP.command("give-up", cls=HelpfulCommand, epilog=GIVE_UP_EPILOG)(give_up)
GROUP.command(cls=HelpfulCommand, epilog=OF_EPILOG)(of)
