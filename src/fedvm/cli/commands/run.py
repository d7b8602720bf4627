"""`fedvm run`: data, federation, compilation, deployment, check, report."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Annotated, Any

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.setting_flags import SettingsCommand


def run(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file such as examples/demo.toml; flags override it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE",
            help="Any setting (`fedvm settings` lists them), e.g. --set adversaries.3=bad_signature.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model among clients under a contract's rules, compile it to EVM code, deploy it and check it.

    CONFIG is a TOML file such as examples/demo.toml; flags override it. Without one 16 honest clients learn
    digits (MNIST-5k) on the embedded chain. Everything is written to the run directory: chain, store, model, program,
    report, and `site/`, the pages of the run for any browser.
    """
    _run(config, dict(ctx.obj), assignments, resume, as_json)


def _run(
    path: Path | None, overrides: dict[str, Any], assignments: list[str] | None, resume: bool, as_json: bool
) -> None:
    from fedvm.cli.console import Interrupted
    from fedvm.cli.progress import RunDisplay
    from fedvm.cli.summary import print_summary
    from fedvm.cli.terminal import command_line
    from fedvm.pipeline.config_file import load_config, parse_assignment
    from fedvm.pipeline.resume import resumed_config
    from fedvm.rundir.layout import RunDirectory

    overrides |= dict(parse_assignment(assignment) for assignment in assignments or [])
    config = resumed_config(path, overrides) if resume else load_config(path, overrides)

    from fedvm.pipeline.run import run_all
    from fedvm.web.export import export
    from fedvm.web.source import Target

    logging.getLogger("flwr").setLevel(logging.WARNING)  # its log lines would break up the table of rounds
    with RunDisplay() as display:
        try:
            report = run_all(config, resume=resume, observer=display)
            display.step("Writing the pages")
            export(Target(run=config.out), RunDirectory(config.out).site)
        except (KeyboardInterrupt, OSError, sqlite3.OperationalError) as error:
            again = command_line("fedvm", "run", "--out", config.out, "--resume")
            hint = f"Nothing is lost. Continue with: {again}" if RunDirectory(config.out).started else ""
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(hint) from None
            error.add_note(hint)  # for the message about a full disk
            raise
    if as_json:
        print_json({"directory": str(config.out), **report.to_json()})
    else:
        print_summary(report, config.out)


COMMAND = Command(
    "run",
    run,
    (
        ("fedvm run", "16 clients learn digits"),
        ("fedvm run examples/demo.toml --out runs/a", "two of the 16 misbehave"),
        ("fedvm run --dataset cifar10 --data DIR --rounds 5 --baseline", "your own copy of CIFAR-10"),
        ("fedvm run --alpha 0.3 --max-examples 400", "uneven data, and a cap on one client's say"),
        ("fedvm run --out runs/a --resume", "go on after Ctrl-C or a crash"),
    ),
    kind=SettingsCommand,
)
