"""Keystores: what is kept, who may read it, and what opens it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from fedvm.chain import accounts as module
from fedvm.chain.accounts import PASSWORD, Accounts, default_folder, keep_in_keyring
from fedvm.chain.errors import KeyFileError

KEY = "0x" + "5e" * 32
WORDS = "correct horse"


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    monkeypatch.delenv(PASSWORD, raising=False)
    monkeypatch.setattr(module, "_keyring", lambda: None)
    return Accounts(tmp_path / "accounts", kdf="pbkdf2", iterations=1000)


@pytest.fixture
def account() -> LocalAccount:
    made: LocalAccount = Account.from_key(KEY)
    return made


def test_kept_and_found_again(accounts: Accounts, account: LocalAccount) -> None:
    assert accounts.all() == []
    stored = accounts.keep("me", account, WORDS)
    assert accounts.all() == [stored] == [accounts.find("me")] == [accounts.find(account.address.lower())]
    assert stored.file.stat().st_mode & 0o777 == 0o600
    assert accounts.folder.stat().st_mode & 0o777 == 0o700
    assert KEY[2:] not in stored.file.read_text()
    assert accounts.unlock(stored, lambda name: WORDS).key == account.key
    # Other programs read it: it is plain Web3 Secret Storage.
    assert Account.decrypt(json.loads(stored.file.read_text()), WORDS) == account.key


def test_where_the_password_comes_from(
    accounts: Accounts, account: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = accounts.keep("me", account, WORDS)
    with pytest.raises(KeyFileError, match=f"set {PASSWORD}"):
        accounts.unlock(stored, lambda name: None)
    with pytest.raises(KeyFileError, match="is wrong") as raised:
        accounts.unlock(stored, lambda name: "wrong horse")
    assert "wrong horse" not in str(raised.value) and raised.value.__cause__ is None
    with pytest.raises(KeyFileError, match="keyring is not installed"):
        keep_in_keyring(stored, WORDS)
    kept: dict[Any, str] = {}

    class Ring:
        def get_password(self, service: str, user: str) -> str | None:
            return kept.get((service, user))

        def set_password(self, service: str, user: str, password: str) -> None:
            kept[service, user] = password

    monkeypatch.setattr(module, "_keyring", Ring)
    keep_in_keyring(stored, WORDS)
    assert accounts.unlock(stored, lambda name: None).address == account.address
    kept.clear()
    monkeypatch.setenv(PASSWORD, WORDS)
    assert accounts.unlock(stored, lambda name: None).address == account.address


def test_nothing_is_overwritten_or_kept_twice(accounts: Accounts, account: LocalAccount) -> None:
    accounts.keep("me", account, WORDS)
    with pytest.raises(KeyFileError, match="never overwritten"):
        accounts.keep("me", Account.create(), WORDS)
    with pytest.raises(KeyFileError, match="kept already, as me"):
        accounts.keep("again", account, WORDS)
    for name in ("", "../me", "a/b", ".hidden", "x" * 65, "0x" + "12" * 20):
        with pytest.raises(KeyFileError, match="name"):
            accounts.keep(name, Account.create(), WORDS)
    with pytest.raises(KeyFileError, match="8 are the fewest"):
        accounts.keep("weak", Account.create(), "short")
    with pytest.raises(KeyFileError, match="there are me"):
        accounts.find("you")


@pytest.mark.parametrize("who", ["file", "folder"])
def test_what_others_may_read_is_refused(accounts: Accounts, account: LocalAccount, who: str) -> None:
    stored = accounts.keep("me", account, WORDS)
    (stored.file if who == "file" else accounts.folder).chmod(0o755 if who == "folder" else 0o644)
    with pytest.raises(KeyFileError, match=r"others may read.*chmod"):
        accounts.find("me")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 1, "address": "12"}', "\x00"])
def test_what_is_no_keystore(accounts: Accounts, account: LocalAccount, text: str) -> None:
    stored = accounts.keep("me", account, WORDS)
    stored.file.write_text(text)
    with pytest.raises(KeyFileError, match="no keystore"):
        accounts.all()


def test_a_keystore_of_another_key(accounts: Accounts, account: LocalAccount) -> None:
    stored = accounts.keep("me", account, WORDS)
    fields = json.loads(stored.file.read_text())
    fields["address"] = "12" * 20
    stored.file.write_text(json.dumps(fields))
    stored.file.chmod(0o600)
    with pytest.raises(KeyFileError, match="holds the key of"):
        accounts.unlock(accounts.find("me"), lambda name: WORDS)


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDVM_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "accounts"
    monkeypatch.delenv("FEDVM_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "fedvm" / "accounts"
