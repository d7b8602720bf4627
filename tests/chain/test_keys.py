"""Keys for real networks: where they may come from, and that they never show."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from eth_account import Account

from fedvm.chain.errors import KeyFileError
from fedvm.chain.keys import create_key_file, load_key, read_key_file

KEY = "0x" + "4c" * 32


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRIVATE_KEY", raising=False)


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True)


def test_reads_the_environment_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PRIVATE_KEY=garbage\n")
    monkeypatch.setenv("PRIVATE_KEY", KEY)
    assert load_key(tmp_path / ".env").address == Account.from_key(KEY).address


@pytest.mark.parametrize(
    "line", [f"PRIVATE_KEY={KEY}", f"PRIVATE_KEY='{KEY[2:]}'", f"export PRIVATE_KEY={KEY}"]
)
def test_reads_a_file(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"# my key\n{line}\n")
    assert load_key(tmp_path / ".env").address == Account.from_key(KEY).address


def test_refuses_a_file_that_git_tracks(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    file = tmp_path / ".env"
    file.write_text(f"PRIVATE_KEY={KEY}\n")
    load_key(file)
    git(tmp_path, "add", "-f", ".env")
    with pytest.raises(KeyFileError, match="git tracks"):
        load_key(file)


@pytest.mark.parametrize(
    "value", ["0x" + "4c" * 31, "4c" * 33, "zz" * 32, "0x" + "00" * 32, "0x" + "ff" * 32]
)
def test_never_shows_a_malformed_key(tmp_path: Path, value: str) -> None:
    (tmp_path / ".env").write_text(f"PRIVATE_KEY={value}\n")
    with pytest.raises(KeyFileError) as raised:
        load_key(tmp_path / ".env")
    shown = f"{raised.value} {raised.value.__cause__}"
    assert value.removeprefix("0x") not in shown
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_says_where_to_put_one(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="PRIVATE_KEY"):
        load_key(tmp_path / ".env")
    (tmp_path / ".env").write_text("OTHER=1\n")
    with pytest.raises(KeyFileError, match="no PRIVATE_KEY"):
        load_key(tmp_path / ".env")


def test_a_new_key_file_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "client.key"
    made = create_key_file(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_key_file(file).address == made.address
    assert create_key_file(tmp_path / "other.key").address != made.address
    before = file.read_text()
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_key_file(file)
    assert file.read_text() == before
    with pytest.raises(KeyFileError, match="cannot be written"):
        create_key_file(tmp_path / "nowhere" / "client.key")


def test_a_key_file_that_others_may_read_or_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "client.key"
    create_key_file(file)
    file.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key_file(file)
    file.chmod(0o600)
    file.write_text("secret words")
    with pytest.raises(KeyFileError, match="not a private key") as caught:
        read_key_file(file)
    assert "secret" not in str(caught.value)
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_key_file(tmp_path / "none")
