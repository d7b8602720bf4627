"""What the help says, at any width, and what it costs to say it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from test_cli import call

from fedvm.cli.app import app
from fedvm.pipeline.config_file import settings_by_key

Words = tuple[str, ...]
ROOT = app


def commands(group: click.Command = ROOT, path: Words = ()) -> Iterator[tuple[Words, click.Command]]:
    """Every command with the words that name it."""
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))
    else:
        yield path, group


COMMANDS = dict(commands())


def words_of(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.get_params(click.Context(command))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_argument_and_option_is_explained(path: Words) -> None:
    for parameter in words_of(COMMANDS[path]):
        assert getattr(parameter, "help", None), f"{' '.join(path)} {parameter.name} has no words"


def test_every_flag_of_a_setting_has_its_words_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "run", "--help")
    plain = " ".join(re.sub(r"[│╭╮╰╯─]", " ", out).split())
    flags = [one for one in settings_by_key().values() if one.setting.flag]
    assert status == 0 and len(flags) > 40
    assert len({one.setting.flag for one in flags}) == len(flags)
    for one in flags:
        assert one.setting.flag.partition("/")[0] in plain
        assert one.setting.words.replace("`", "") in plain, one.setting.flag
    assert plain.count("default: ") >= len(flags)


@pytest.mark.quick_cases(every=5)
@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_no_name_of_an_option_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, path: Words, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERMINAL_WIDTH", str(width))
    status, out, _ = call(capsys, *path, "--help")
    assert status == 0
    for parameter in words_of(COMMANDS[path]):
        for name in (*parameter.opts, *parameter.secondary_opts):
            shown = (
                name
                if isinstance(parameter, click.Option)
                else str(parameter.make_metavar(click.Context(ROOT)))
            )
            assert shown.strip("[].") in out or shown in out, f"{shown} at {width} columns"
    # The names of an option are never broken, so their line may be longer.
    assert all(len(line) <= width for line in out.splitlines() if not line.startswith("  -"))


def test_an_example_is_told_from_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "run", "--help")
    assert "fedvm run # 16 clients learn digits" in out  # as a shell reads it when pasted


def test_help_of_run_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom fedvm.cli.entry import run\nassert run(['run', '--help']) == 0\n"
        "heavy = {'torch', 'flwr', 'web3', 'onnx', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and "--min-clients" in ended.stdout, ended.stderr


def test_a_mistyped_command_is_suggested_once(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["predit"], ["keys", "shwo"]):
        status, _, err = call(capsys, *words)
        assert status == 2 and err.count("Did you mean") == 1


def test_what_other_tools_call_a_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for word, meant in (("help", "fedvm --help"), ("list", "fedvm runs"), ("ui", "fedvm web")):
        status, _, err = call(capsys, word)
        assert status == 2 and f"Use {meant}." in err
    assert "Use fedvm" not in call(capsys, "account", "list")[2]  # where a command has that name


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        *(("ascii", words) for words in (["--help"], ["run", "--help"], ["settings"])),
        ("cp1252", ["run", "--help"]),
        ("latin-1", ["--help"]),
        ("utf-8", ["settings"]),
    ],
)
def test_any_encoding_of_standard_output_does(encoding: str, words: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from fedvm.cli import main; main()", *words],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=False,
    )
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    assert len(ended.stdout.decode(encoding)) > 500


def test_the_version_has_a_short_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "-V") == call(capsys, "--version")
