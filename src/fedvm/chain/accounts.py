"""Accounts of a person on this machine: keystores that a password encrypts, one file each.

The files are Web3 Secret Storage, version 3, as wallets and nodes read and write it (eth-account). They lie in
`$FEDVM_HOME/accounts`, or `fedvm/accounts` of the folder for settings (`$XDG_CONFIG_HOME`, `~/.config`), and only their
owner may read them. Passwords come from `$FEDVM_PASSWORD`, the keyring of the operating system, or a question.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import is_address, to_checksum_address

from fedvm.chain.errors import KeyFileError
from fedvm.files import write_atomically
from fedvm.jsontext import parse_json

PASSWORD: Final = "FEDVM_PASSWORD"
HOME: Final = "FEDVM_HOME"
SHORTEST_PASSWORD: Final = 8
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SERVICE: Final = "fedvm"
Ask = Callable[[str], str | None]
"""Asks a person for the password of an account by its name; None if nobody can be asked."""


@dataclass(frozen=True)
class StoredAccount:
    """An account of this machine. address: checksummed."""

    name: str
    address: str
    file: Path


class Accounts:
    """The accounts in a folder, which is made when the first one is kept.

    kdf, iterations: how passwords are stretched; eth-account's own unless given.
    """

    def __init__(
        self, folder: Path | None = None, *, kdf: str | None = None, iterations: int | None = None
    ) -> None:
        self.folder = folder or default_folder()
        self._stretched: dict[str, Any] = {"kdf": kdf, "iterations": iterations}

    def all(self) -> list[StoredAccount]:
        """By name. Raises KeyFileError for a file that is no keystore or that others may read."""
        return [self._read(file) for file in sorted(self.folder.glob("*.json"))]

    def find(self, named: str) -> StoredAccount:
        """By name or address (0x…). Raises KeyFileError, which lists what is there."""
        known = self.all()
        for one in known:
            if named == one.name or (is_address(named) and to_checksum_address(named) == one.address):
                return one
        there = ", ".join(one.name for one in known) or "none yet: fedvm account new NAME"
        raise KeyFileError(f"no account {named!r} in {self.folder}; there are {there}")

    def keep(self, name: str, account: LocalAccount, password: str) -> StoredAccount:
        """Encrypt an account's key and write it. Raises KeyFileError if the name is taken or unfit, or the password too
        short."""
        if not _NAME.fullmatch(name):
            raise KeyFileError(f"{name!r} is no name: letters, digits, dots and dashes, at most 64")
        if is_address(name):
            raise KeyFileError("an account's name may not look like an address; choose another")
        if len(password) < SHORTEST_PASSWORD:
            raise KeyFileError(
                f"the password has {len(password)} characters; {SHORTEST_PASSWORD} are the fewest"
            )
        file = self.folder / f"{name}.json"
        if file.exists():
            raise KeyFileError(f"{file} exists; a key is never overwritten: choose another name")
        for other in self.all():
            if other.address == account.address:
                raise KeyFileError(f"{account.address} is kept already, as {other.name}")
        encrypted = Account.encrypt(account.key, password, **self._stretched)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._require_private(self.folder)
        write_atomically(file, json.dumps(encrypted, indent=1) + "\n", private=True)
        return self._read(file)

    def unlock(self, stored: StoredAccount, ask: Ask) -> LocalAccount:
        """Decrypt its key. ask: for the password where neither the environment nor the keyring has it.

        Raises:
            KeyFileError: there is no password, or it is wrong.
        """
        password = os.environ.get(PASSWORD) or password_in_keyring(stored) or ask(stored.name)
        if not password:
            raise KeyFileError(
                f"no password for {stored.name}: set {PASSWORD}, keep it in the keyring (fedvm account new --keyring), "
                "or run this in a terminal"
            )
        try:
            key = Account.decrypt(parse_json(stored.file.read_text(encoding="utf-8")), password)
        except (ValueError, KeyError, TypeError):
            # No chaining: nothing of what was tried may be quoted.
            raise KeyFileError(
                f"the password for {stored.name} is wrong, or {stored.file} is damaged"
            ) from None
        account: LocalAccount = Account.from_key(key)
        if account.address != stored.address:
            raise KeyFileError(f"{stored.file} says {stored.address}, but holds the key of {account.address}")
        return account

    def _read(self, file: Path) -> StoredAccount:
        self._require_private(self.folder)
        self._require_private(file)
        try:
            fields = parse_json(file.read_text(encoding="utf-8"))
            version, address = fields["version"], "0x" + str(fields["address"]).removeprefix("0x")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeyFileError(f"{file} is no keystore ({type(error).__name__}); move it elsewhere") from None
        if version != 3 or not is_address(address):
            raise KeyFileError(f"{file} is no keystore of version 3; move it elsewhere")
        return StoredAccount(file.stem, str(to_checksum_address(address)), file)

    def _require_private(self, path: Path) -> None:
        mode, wanted = path.stat().st_mode, "700" if path.is_dir() else "600"
        if mode & 0o077:
            raise KeyFileError(f"others may read {path}: make it yours alone (chmod {wanted} {path})")


def default_folder() -> Path:
    """Where a person's accounts are."""
    if own := os.environ.get(HOME):
        return Path(own) / "accounts"
    settings = os.environ.get("XDG_CONFIG_HOME")
    return (Path(settings) if settings else Path.home() / ".config") / "fedvm" / "accounts"


def password_in_keyring(stored: StoredAccount) -> str | None:
    """The password that the operating system's keyring has for an account; None if it has none, or there is none."""
    keyring = _keyring()
    if keyring is None:
        return None
    try:
        found: str | None = keyring.get_password(_SERVICE, stored.address)
    except Exception:  # a backend's own errors, of any kind: locked, refused, not running
        return None
    return found


def keep_in_keyring(stored: StoredAccount, password: str) -> None:
    """Let the operating system's keyring remember a password. Raises KeyFileError if there is no keyring."""
    keyring = _keyring()
    if keyring is None:
        raise KeyFileError("the package keyring is not installed: pip install 'fedvm[keyring]'")
    try:
        keyring.set_password(_SERVICE, stored.address, password)
    except Exception as error:  # a backend's own errors, of any kind
        raise KeyFileError(f"the keyring does not take the password ({type(error).__name__})") from None


def _keyring() -> Any:
    try:
        import keyring
    except ImportError:
        return None
    return keyring
