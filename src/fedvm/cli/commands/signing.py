"""Whose key signs what a command sends: an account of this machine, a key file, or PRIVATE_KEY. One reader for all."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

AccountOption = Annotated[
    str | None,
    typer.Option(
        "--account",
        metavar="NAME|ADDRESS",
        help="Who sends and pays, of `fedvm account list`; else PRIVATE_KEY of the environment or .env.",
    ),
]
KeyFileOption = Annotated[
    Path | None, typer.Option("--key-file", help="Instead of --account: a file that `fedvm keys new` made.")
]


@dataclass(frozen=True)
class Signing:
    """What the options say of the key."""

    account: str | None = None
    key_file: Path | None = None

    @property
    def is_named(self) -> bool:
        """Whether a key was named at all."""
        return self.account is not None or self.key_file is not None

    def load(self) -> LocalAccount:
        """The account whose key it is. Asks for a password in a terminal. Raises BadParameter and KeyFileError."""
        from fedvm.chain.accounts import Accounts
        from fedvm.chain.keys import load_key, read_key_file

        if self.account is not None and self.key_file is not None:
            raise typer.BadParameter("give --account or --key-file, not both")
        if self.key_file is not None:
            return read_key_file(self.key_file)
        if self.account is not None:
            accounts = Accounts()
            return accounts.unlock(accounts.find(self.account), ask_password)
        return load_key()


def address_of(named: str) -> str:
    """The address (checksummed) of an account of this machine, by its name, or the one that is written out. Raises
    SettingsError for what is neither."""
    from fedvm.chain.accounts import Accounts
    from fedvm.federation.client.appointment import checked_address

    known = next((one for one in Accounts().all() if one.name == named), None)
    return known.address if known is not None else checked_address("account", named)


def ask_password(name: str) -> str | None:
    """The password of an account from a person in front of a terminal, None if there is nobody."""
    if not sys.stdin.isatty():
        return None
    return str(typer.prompt(f"Password of {name}", hide_input=True, err=True))


def new_password(name: str) -> str:
    """A password for a new account, asked twice in a terminal, else from the environment. Raises KeyFileError where
    there is neither."""
    import os

    from fedvm.chain.accounts import PASSWORD
    from fedvm.chain.errors import KeyFileError

    if given := os.environ.get(PASSWORD):
        return given
    if not sys.stdin.isatty():
        raise KeyFileError(f"no password for {name}: set {PASSWORD}, or run this in a terminal")
    return str(typer.prompt(f"New password of {name}", hide_input=True, confirmation_prompt=True, err=True))
