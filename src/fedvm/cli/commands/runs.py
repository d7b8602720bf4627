"""`fedvm runs`: the runs in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder that the runs lie in.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """List the runs in FOLDER: finished, running or interrupted, after how many rounds, and with what accuracy."""
    from dataclasses import asdict

    from rich.markup import escape

    from fedvm.cli.console import out
    from fedvm.cli.terminal import command_line
    from fedvm.pipeline.runs import RunState, runs_in

    rows = runs_in(folder)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    colours = {RunState.FINISHED: "green", RunState.RUNNING: "cyan"}
    for row in rows:
        colour = colours.get(row.state, "yellow")
        accuracy = "" if row.accuracy is None else f", accuracy {row.accuracy:.1%}"
        facts = f"{row.dataset}, {row.rounds} of {row.planned} rounds{accuracy}" if row.planned else ""
        out().print(f"[bold]{escape(row.directory)}[/]  [{colour}]{row.state}[/]  {escape(facts)}".rstrip())
        if row.state is RunState.INTERRUPTED:
            again = command_line("fedvm", "run", "--out", row.directory, "--resume")
            out().print(f"  go on: {again}", markup=False)
    if not rows:
        out().print(f"No runs in {folder}. Begin one: fedvm run", markup=False)


COMMAND = Command(
    "runs", runs, (("fedvm runs", "those in runs/"), ("fedvm runs /srv/runs --json", "for a script"))
)
