"""Every command that sends shows costs, can be tried, and prints its transactions; it has its key from one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import fedvm.cli.commands
from fedvm.cli.app import app

SENDING = {"--account", "--key-file", "--from", "--dry-run", "--unsigned", "--yes", "--price"}
SENDERS = {
    "run", "create", "predict", "collect", "challenge", "propose", "answer", "deploy", "serve", "submit", "watch",
    "keys appoint", "keys give-up",
    "rules announce", "rules adopt", "rules cancel", "rules evidence",
    "members add", "members remove", "members join", "members quit", "members stake", "members unstake",
    "members withdraw", "coordinator replace", "coordinator deposit", "coordinator end",
    "service fee", "service rollback",
}  # fmt: skip
WITHOUT = {
    "run": {"--unsigned", "--from", "--key-file"},  # it follows the chain for hours, so a key must be at hand
    # Nothing is sent without a key; what is sent later, nobody may be there to be asked about.
    "watch": {"--unsigned", "--from", "--dry-run", "--price"},
}
KEYS = {"load_key", "read_key_file", "unlock", "Signing"}
"""What gives a key that can sign a transaction."""
HOLDERS = {
    "signing.py": "the one that reads keys",
    "spending.py": "names whose key it is",
    "paying.py": "the one that hands them out",
    "run.py": "goes on with a run's account",
    "watch.py": "acts for hours with an account that was asked about at the start",
    "doctor.py": "says whether there is one",
    "account.py": "makes and shows accounts",
    "keys.py": "makes and shows keys of clients",
    "appoint.py": "a key proves that it agrees, which sends nothing",
    "submit.py": "the update's key consents, which sends nothing",
}
FOLDER = Path(fedvm.cli.commands.__file__).parent


def leaves(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for word in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), word)
            assert found is not None
            yield from leaves(found, f"{name} {word}".strip())
    else:
        yield name, command


def options(command: click.Command) -> set[str]:
    return {word for one in command.get_params(click.Context(command)) for word in one.opts}


ALL = dict(leaves(app))


def sends(command: click.Command) -> bool:
    """Whether it has one of the options that only sending needs."""
    return bool(options(command) & {"--unsigned", "--yes", "--price", "--from"})


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_command_has_all_options_of_sending_or_none(name: str) -> None:
    if sends(ALL[name]):
        assert name in SENDERS, f"{name} sends: add it to SENDERS, and a test of what it sends"
        lacking = SENDING - options(ALL[name]) - WITHOUT.get(name, set())
        assert not lacking, f"{name} lacks {sorted(lacking)}: use `with_spending` or `sent_to_federation`"
    else:
        assert name not in SENDERS


def test_no_command_reads_a_key_by_itself() -> None:
    """So whatever sends has its account from `paying`, which prices, asks, tells or prints before it."""
    for file in FOLDER.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        called = {
            getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
        }
        if called & KEYS:
            assert file.name in HOLDERS, f"{file.name} reads a key: have `paying` do it"


def test_the_walk_sees_a_command_that_lacks_an_option() -> None:
    bare = click.Command("bare", params=[click.Option(["--yes"])])
    assert sends(bare) and SENDING - options(bare) == SENDING - {"--yes"}
