"""`fedvm predict`: ask the contract what is in an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command


def predict(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG or similar file.")],
    run: Annotated[Path, typer.Option("--run", help="Directory of a finished run.")],
    record: Annotated[
        bool,
        typer.Option("--record", help="Record the decision on chain. The image becomes public for ever."),
    ] = False,
    max_fee: Annotated[
        int, typer.Option("--max-fee", min=0, help="With --record: most wei to pay for the decision.")
    ] = 0,
    resize: Annotated[
        bool, typer.Option("--resize", help="Scale the image to the model's size and keep its middle.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the ModelService contract what is in IMAGE, a PNG, JPEG or similar file.

    Colour becomes grey by BT.601 luma and grey becomes colour by repetition, as the model needs; transparent
    parts lie over black. Any conversion is printed. Images of another size are refused without --resize.
    """
    from dataclasses import asdict

    from rich.table import Table

    from fedvm.cli.console import err, out
    from fedvm.pipeline.ask import ask

    answer = ask(image, run, resize=resize, record=record, max_fee=max_fee)
    if as_json:
        typer.echo(json.dumps({**asdict(answer), "class": answer.class_names[answer.label]}))
        return
    for note in answer.notes:
        err().print(f"Note: {note}", style="dim", markup=False)
    console = out()
    console.print(f"[bold green]{answer.class_names[answer.label]}[/]")
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    table.add_column("score", justify="right")
    for label in sorted(range(len(answer.scores)), key=lambda label: -answer.scores[label]):
        style = "bold" if label == answer.label else ""
        table.add_row(answer.class_names[label], f"{answer.scores[label]:,}", style=style)
    console.print(table)
    console.print(f"version {answer.version}, {answer.gas:,} gas", style="dim")
    if answer.decision is not None:
        console.print(f"Recorded as decision [bold]{answer.decision}[/] in transaction {answer.tx}")


COMMAND = Command(
    "predict",
    predict,
    (
        ("fedvm predict seven.png --run runs/demo", ""),
        (
            "fedvm predict photo.jpg --run runs/demo --resize --record",
            "scale it, and put the decision on record",
        ),
    ),
)
