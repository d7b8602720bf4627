"""What a command that fails says, and in what form."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from small_run import settings, write_digits
from test_cli import call
from test_help import COMMANDS

MAIN = [sys.executable, "-c", "from fedvm.cli import main; main()"]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_but_the_reference_takes_json(path: tuple[str, ...]) -> None:
    names = [name for one in COMMANDS[path].get_params(click.Context(COMMANDS[path])) for name in one.opts]
    assert ("--json" in names) == (path != ("settings",))


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["run", "--clients", "x"], 2, "'x' is not a valid integer"),
        (["run", "--set", "training.epohcs=3"], 2, "did you mean epochs?"),
        (["run", "--clients", "0"], 2, "data.clients (--clients) = 0"),
        (["audit", "--run", "{tmp}"], 2, "deployment.json"),
        (["predict", "x.png", "--run", "{tmp}"], 2, "holds no compiled model"),
        (["keys", "show", "{tmp}/none.key"], 2, "none.key"),
        (["keys", "of", "0x12", "--rpc", "anvll", "--federation", "0x12"], 2, "did you mean 'anvil'?"),
        (
            ["keys", "of", "0x12", "--rpc", "http://127.0.0.1:1", "--federation", f"0x{12:040}"],
            1,
            "127.0.0.1:1",
        ),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_errors_are_json_where_json_is_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], status: int, says: str
) -> None:
    code, out, err = call(capsys, *(word.format(tmp=tmp_path) for word in words), "--json")
    told = json.loads(out)
    assert code == told["status"] == status and says in told["error"] and not err


def test_a_name_of_a_network_stands_for_its_address(capsys: pytest.CaptureFixture[str]) -> None:
    from fedvm.chain.networks import NETWORKS, rpc_address

    assert {rpc_address(one.name) for one in NETWORKS if one.rpc_url} == {
        one.rpc_url for one in NETWORKS if one.rpc_url
    }
    assert rpc_address("https://example.org/rpc") == "https://example.org/rpc"
    status, _, err = call(capsys, "keys", "of", "0x12", "--network", "embedded", "--federation", "0x12")
    assert status == 2 and "name its run with --run" in " ".join(err.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "file"),
    [
        pytest.param(64, "config.toml", marks=pytest.mark.slow),
        pytest.param(70_000, "chain.sqlite", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_is_named_with_the_file_and_the_way_out(tmp_path: Path, limit: int, file: str) -> None:
    """Files that may not grow past a limit are the nearest to a full disk that needs no rights."""
    digits, out = write_digits(tmp_path / "digits"), tmp_path / "run"
    flags = [f"--set={key}={value}" for key, value in settings(digits, out).items()]
    ended = subprocess.run(
        [*MAIN, "run", *flags],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    told = " ".join(ended.stderr.split())
    assert ended.returncode == 1 and file in told, ended.stderr
    assert "Free some space" in told and "Unexpected" not in told
    assert (f"fedvm run --out {out} --resume" in told) == (file == "chain.sqlite")  # the other has not begun


def test_a_folder_without_rights_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    demo = Path(__file__).parents[2] / "examples" / "demo.toml"
    status, _, err = call(capsys, "split", str(demo), "--out", "/sys/parts")  # not even root may
    assert status == 1 and "/sys/parts: " in err and "must be writable" in err


@pytest.mark.slow
def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path: Path) -> None:
    digits, out = write_digits(tmp_path / "digits"), tmp_path / "my run's"
    flags = [f"--set={key}={value}" for key, value in settings(digits, out).items()]
    process = subprocess.Popen(
        [*MAIN, "run", *flags], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Federating" in line:
            break
    process.send_signal(signal.SIGTERM)
    told = process.stderr.read()
    assert process.wait() == 143 and "Asked to end." in told and "Traceback" not in told
    _, _, command = " ".join(told.split()).partition("Continue with: ")
    assert shlex.split(command) == ["fedvm", "run", "--out", str(out), "--resume"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_an_encoding_lacks_is_shown_in_ascii(encoding: str) -> None:
    code = (
        "from fedvm.cli.terminal import show_all_characters\nfrom fedvm.cli.console import out\n"
        "show_all_characters()\nout().print('✗ a · b … 字')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=True,
    )
    told = ended.stdout.decode(encoding).strip()
    assert told == {"ascii": "x a - b ... ?", "cp1252": "x a · b … ?"}[encoding]
