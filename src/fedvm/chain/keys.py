"""The private key for a real network: from the environment or ``.env``, never from git, never shown."""

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


def _account(text: str, source: str) -> LocalAccount:
    digits = text.strip().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
        raise KeyFileError(
            f"{VARIABLE} from {source} is not a private key: 64 hexadecimal digits wanted, "
            f"{len(digits)} characters found"
        )
    try:
        account: LocalAccount = Account.from_key(bytes.fromhex(digits))
    except Exception:
        # No chaining: the library's message may quote the value.
        raise KeyFileError(f"{VARIABLE} from {source} is out of the range of keys") from None
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
