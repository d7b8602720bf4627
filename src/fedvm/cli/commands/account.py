"""`fedvm account`: the accounts of this machine that send and pay, in keystores that a password encrypts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.group import command_group
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, checked_endpoint
from fedvm.cli.commands.signing import new_password
from fedvm.cli.help import HelpfulCommand

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from fedvm.chain.accounts import StoredAccount

GROUP = command_group(
    "Make, import and look at the accounts of this machine, which send transactions and pay."
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What you call it.")]
KeyringOption = Annotated[
    bool, typer.Option("--keyring", help="Let the operating system's keyring remember the password.")
]


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm account new me`")
def new(name: NameArgument, keyring: KeyringOption = False, as_json: JsonOption = False) -> None:
    """Make an account: a new key, encrypted with a password in a file that only you can read.

    The password is asked for, or read from FEDVM_PASSWORD. Nobody can restore a key whose password is lost. Then
    `--account NAME` has the account send and pay.
    """
    from eth_account import Account

    _keep(name, Account.create(), keyring, as_json)


@GROUP.command(
    "import", cls=HelpfulCommand, epilog="Example: `fedvm account import me --key-file member.key`"
)
def import_(
    name: NameArgument,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            help="A file that `fedvm keys new` made. Default: PRIVATE_KEY, from the environment or .env.",
        ),
    ] = None,
    keyring: KeyringOption = False,
    as_json: JsonOption = False,
) -> None:
    """Keep a key that you have as an account. A key is never given on the command line, where others could read it."""
    from fedvm.chain.keys import load_key, read_key_file

    _keep(name, load_key() if key_file is None else read_key_file(key_file), keyring, as_json)


@GROUP.command("list", cls=HelpfulCommand, epilog="Example: `fedvm account list --json`")
def list_(as_json: JsonOption = False) -> None:
    """List the accounts of this machine."""
    from rich.table import Table

    from fedvm.chain.accounts import Accounts
    from fedvm.cli.console import out

    accounts = Accounts()
    known = accounts.all()
    if as_json:
        print_json([_facts(one) for one in known])
        return
    if not known:
        out().print(f"No account is in {accounts.folder}. Make one: fedvm account new NAME", markup=False)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name", style="bold")
    for title in ("address", "on Filecoin"):
        table.add_column(title, overflow="fold")
    for one in known:
        table.add_row(one.name, one.address, _facts(one)["filecoin"])
    out().print(table)


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm account show me --network filecoin-calibration`")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME|ADDRESS", help="As `fedvm account list` shows it.")],
    network: NetworkOption = None,
    rpc: RpcUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an account's addresses, on a network what it owns, too. Needs no password; never shows the key."""
    from fedvm.chain.accounts import Accounts
    from fedvm.chain.network_funds import funds_of
    from fedvm.chain.networks import network_of
    from fedvm.cli.addresses import print_address
    from fedvm.cli.console import out

    stored, endpoint = Accounts().find(name), checked_endpoint(network, rpc)
    facts = _facts(stored)
    if endpoint is None:
        if as_json:
            print_json(facts)
            return
        out().print(f"{stored.name}  {stored.address}\n{facts['filecoin']}\n{stored.file}", markup=False)
        return
    w3 = endpoint.connect()
    at = network_of(w3)
    funds = funds_of(w3, stored.address, at)
    if as_json:
        print_json({**facts, "network": at.name, "balance": str(funds.balance)})
        return
    print_address(stored.name, stored.address, at)
    out().print(f"{funds.balance / 1e18:.6g} {at.currency} on {at.title}", markup=False)
    if not funds.balance and at.faucet:
        out().print(f"Get some at {at.faucet}", markup=False)


def _keep(name: str, account: LocalAccount, keyring: bool, as_json: bool) -> None:
    from fedvm.chain.accounts import Accounts, keep_in_keyring
    from fedvm.cli.console import out

    password = new_password(name)
    stored = Accounts().keep(name, account, password)
    if keyring:
        keep_in_keyring(stored, password)
    if as_json:
        print_json(_facts(stored))
    else:
        out().print(f"{stored.address}\n{_facts(stored)['filecoin']}\nkept in {stored.file}", markup=False)


def _facts(stored: StoredAccount) -> dict[str, Any]:
    from fedvm.chain.filecoin_address import filecoin_address

    return {
        "name": stored.name,
        "address": stored.address,
        "filecoin": filecoin_address(stored.address, testnet=False),
        "file": str(stored.file),
    }
