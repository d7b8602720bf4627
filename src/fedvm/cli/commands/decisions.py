"""`fedvm decisions`: the decisions that a service has recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed

if TYPE_CHECKING:
    from rich.console import Console

_TABLE_WIDTH = 120
"""Columns that the table needs: 42 of an address, 19 of a hash twice, and the rest."""


@placed("service", stored=True)
def decisions(place: Place, as_json: JsonOption = False) -> None:
    """List the decisions recorded by a ModelService: who, which version, what it gave, and its lineage.

    `fedvm audit` runs every one of them again.
    """
    from fedvm.chain.networks import network_of
    from fedvm.cli.console import out
    from fedvm.cli.terminal import command_line
    from fedvm.pipeline.ask import recorded_decisions, shown_decisions

    with place.opened() as run:
        rows, network = list(shown_decisions(recorded_decisions(run))), network_of(run.w3)
    if as_json:
        print_json(rows)
        return
    console = out()
    if not rows:
        console.print(
            "No decision is recorded. Record one: "
            + command_line("fedvm", "predict", "IMAGE", *place.words(), "--record"),
            markup=False,
        )
        return
    narrow = console.width < _TABLE_WIDTH
    (_print_narrow if narrow else _print_table)(rows, console)
    for lineage in {row["version"]: row["lineage"] for row in rows}.values():
        console.print(f"\nVersion [bold]{lineage['version']}[/] comes from", highlight=False)
        for name, value in lineage.items():
            if name != "version":
                title = (
                    f"[dim]{name.replace('_', ' ')}[/]\n"
                    if narrow
                    else f"  [dim]{name.replace('_', ' '):<20}[/] "
                )
                console.print(f"{title}{value}", highlight=False, soft_wrap=True)
    if network.explorer:
        console.print(f"\nTransactions are at {network.transaction_link('…')}", style="dim", markup=False)


def _print_table(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("class")
    table.add_column("score", justify="right")
    table.add_column("version", justify="right")
    for title in ("caller", "input hash", "transaction"):
        table.add_column(title)
    for row in rows:
        table.add_row(
            str(row["id"]),
            Text(row["class"]),
            "–" if row["scores"] is None else f"{max(row['scores']):,}",
            str(row["version"]),
            row["caller"],
            row["input_hash"][:18] + "…",
            row["tx"][:18] + "…",
        )
    console.print(table)


def _print_narrow(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A paragraph a decision: an address and a hash have no room beside each other, and are of no use in pieces."""
    from rich.text import Text

    for number, row in enumerate(rows):
        if number:
            console.print()
        head = Text.assemble(f"{row['id']}  ", (row["class"], "bold"), f"  version {row['version']}")
        console.print(head, f"score {max(row['scores']):,}", soft_wrap=True, highlight=False)
        for name, key in (("caller", "caller"), ("input hash", "input_hash"), ("transaction", "tx")):
            console.print(f"[dim]{name}[/]\n{row[key]}", soft_wrap=True, highlight=False)


COMMAND = Command(
    "decisions",
    decisions,
    (
        ("fedvm decisions --run runs/demo", ""),
        ("fedvm decisions --run runs/demo --json", ""),
        ("fedvm decisions --network filecoin-calibration --service 0x…", "a service on a network"),
    ),
)
