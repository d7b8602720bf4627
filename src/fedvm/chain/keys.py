"""Private keys: a real network's from the environment or ``.env``, a client's in a file; never shown."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from eth_account import Account
from eth_account.signers.local import LocalAccount

from fedvm.chain.errors import KeyFileError

VARIABLE: Final = "PRIVATE_KEY"


def load_key(env_file: Path | str = ".env") -> LocalAccount:
    """The account whose key is in ``$PRIVATE_KEY`` or, failing that, in ``env_file``.

    Raises :class:`KeyFileError` if there is none, if it is not a key, or if git tracks the file.
    """
    if os.environ.get(VARIABLE):
        return _account(os.environ[VARIABLE], f"${VARIABLE}")
    path = Path(env_file)
    if not path.is_file():
        raise KeyFileError(
            f"no key: set {VARIABLE} in the environment, or put a line {VARIABLE}=0x… into {path} "
            "(see .env.example)"
        )
    if _is_tracked(path):
        raise KeyFileError(
            f"git tracks {path}, so its key is or will be public: take it out (git rm --cached {path.name}), "
            "add it to .gitignore, and use a new key"
        )
    value = dotenv_values(path).get(VARIABLE)
    if not value:
        raise KeyFileError(f"{path} has no {VARIABLE}; add a line {VARIABLE}=0x…")
    return _account(value, str(path))


def create_key_file(path: Path | str) -> LocalAccount:
    """Make a new key, keep it in a file that only its owner can read, and return its account.

    The file holds 0x and 64 hexadecimal digits. Raises :class:`KeyFileError` if it exists already, so that no key
    is ever overwritten, or cannot be written.
    """
    account: LocalAccount = Account.create()
    keep_key(path, account)
    return account


def keep_key(path: Path | str, account: LocalAccount) -> None:
    """Write an account's key to a file, as :func:`create_key_file` does; raises the same errors."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} exists; a key is never overwritten: name another file") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("0x" + bytes(account.key).hex() + "\n")


def read_key_file(path: Path | str) -> LocalAccount:
    """The account of a file that :func:`create_key_file` wrote.

    Raises :class:`KeyFileError` if it cannot be read, holds no key, or others than its owner may read it.
    """
    file = Path(path)
    try:
        shared = file.stat().st_mode & 0o077
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} cannot be read: {error}") from None
    if shared:
        raise KeyFileError(f"others may read {path}: make it yours alone (chmod 600 {path})")
    return _account(text, str(path))


def _account(text: str, source: str) -> LocalAccount:
    digits = text.strip().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
        raise KeyFileError(
            f"what {source} holds is not a private key: 64 hexadecimal digits wanted, "
            f"{len(digits)} characters found"
        )
    try:
        account: LocalAccount = Account.from_key(bytes.fromhex(digits))
    except Exception:
        # No chaining: the library's message may quote the value.
        raise KeyFileError(f"what {source} holds is out of the range of keys") from None
    return account


def _is_tracked(path: Path) -> bool:
    directory = path.resolve().parent
    command = ["git", "-C", str(directory), "ls-files", "--error-unmatch", "--", path.resolve().name]
    try:
        answer = subprocess.run(command, capture_output=True, check=False, timeout=20)
    except FileNotFoundError:
        if any((parent / ".git").exists() for parent in (directory, *directory.parents)):
            raise KeyFileError(
                f"cannot tell whether git tracks {path}: git is not installed; "
                f"set {VARIABLE} in the environment instead"
            ) from None
        return False
    return answer.returncode == 0
