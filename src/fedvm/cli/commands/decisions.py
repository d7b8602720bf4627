"""`fedvm decisions`: the decisions that a service has recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json


def decisions(
    run: Annotated[Path, typer.Option("--run", help="Directory of a finished run.")],
    as_json: JsonOption = False,
) -> None:
    """List the decisions recorded by a run's ModelService: who, which version, what it gave, and its lineage.

    `fedvm audit` runs every one of them again.
    """
    from rich.table import Table
    from rich.text import Text

    from fedvm.cli.console import out
    from fedvm.cli.terminal import command_line
    from fedvm.pipeline.ask import recorded_decisions, shown_decisions

    rows = list(shown_decisions(recorded_decisions(run)))
    if as_json:
        print_json(rows)
        return
    console = out()
    if not rows:
        console.print(
            "No decision is recorded. Record one: "
            + command_line("fedvm", "predict", "IMAGE", "--run", run, "--record"),
            markup=False,
        )
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("class")
    table.add_column("score", justify="right")
    table.add_column("version", justify="right")
    for title in ("caller", "input hash", "transaction"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(
            str(row["id"]),
            Text(row["class"]),
            f"{max(row['scores']):,}",
            str(row["version"]),
            row["caller"],
            row["input_hash"][:18] + "…",
            row["tx"][:18] + "…",
        )
    console.print(table)
    for lineage in {row["version"]: row["lineage"] for row in rows}.values():
        console.print(f"\nVersion [bold]{lineage['version']}[/] comes from", highlight=False)
        for name, value in lineage.items():
            if name != "version":
                console.print(
                    f"  [dim]{name.replace('_', ' '):<20}[/] {value}", highlight=False, soft_wrap=True
                )


COMMAND = Command(
    "decisions",
    decisions,
    (
        ("fedvm decisions --run runs/demo", ""),
        ("fedvm decisions --run runs/demo --json", ""),
    ),
)
