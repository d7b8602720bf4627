"""`fedvm predict`: ask the contract what is in an image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.paying import paying, user_of
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.spending import Spending, with_spending

if TYPE_CHECKING:
    from fedvm.pipeline.ask import Answer

_ROWS = 10


@with_spending
@placed("service", stored=True)
def predict(
    place: Place,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[IMAGE...]", help="PNG, JPEG or similar files, folders of them, or - for standard input."
        ),
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|N,N,...",
            help="Numbers instead of images: a .csv, .npy or .npz with one input a row, or the numbers of one input.",
        ),
    ] = None,
    record: Annotated[
        bool,
        typer.Option("--record", help="Record the decisions on chain. The inputs become public for ever."),
    ] = False,
    max_fee: Annotated[
        int | None,
        typer.Option("--max-fee", min=0, help="With --record: most wei to pay for a decision. Default: 0."),
    ] = None,
    *,
    spending: Spending,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line an input.")] = False,
) -> None:
    """Ask the ModelService contract what is in each IMAGE, or about numbers, and show what the contract saw.

    An image is prepared as the version says (photo: turned upright, scaled, the middle kept; drawing: strokes made
    bright on black, scaled and centred; raw: unchanged). Every conversion is printed. Percentages are the softmax of
    the contract's scores.

    With --record, several images share as few transactions as possible; each transaction records all of its images
    or none, and its inputs are public from then on. --run also takes what `fedvm deploy` or `fedvm compile -o` wrote.
    Without a run, --store says where the version's ONNX file is: it has the classes' names and how an image is
    prepared.
    """
    from fedvm.cli.console import out

    if bool(images) == (values is not None):
        raise typer.BadParameter("give images or --values, one of them")
    if max_fee is not None and not record:
        raise typer.BadParameter("--max-fee needs --record: only a decision on record pays a fee")
    if spending != Spending() and not record:
        raise typer.BadParameter("asking sends nothing: give a key, and how to send, with --record only")
    asked = _answers(place, images or [], values, spending if record else None, max_fee, as_json)
    for number, answer in enumerate(asked):
        if as_json:
            typer.echo(json.dumps(answer.to_json()))
            continue
        if number:
            out().print()
        _show(answer)


def _answers(
    place: Place,
    images: list[Path],
    values: str | None,
    spending: Spending | None,
    max_fee: int | None,
    as_json: bool,
) -> Iterator[Answer]:
    """spending: how the decisions are sent that are recorded, None if none are."""
    from fedvm.pipeline.ask import ask
    from fedvm.pipeline.errors import UsageError
    from fedvm.rundir.layout import RunDirectory

    if place.run is not None and not RunDirectory(place.run).deployment.is_file():
        if spending is not None:
            raise UsageError(
                f"{place.run} holds a program that is on no chain: leave --record out, or deploy it first"
            )
        yield from ask(images, place.run, values=values)
    elif spending is None:
        with place.opened() as run:
            yield from ask(images, run, values=values)
    else:
        with (
            place.opened(read_only=spending.reads) as run,
            paying(spending, run.w3, run.chain, as_json=as_json, default=user_of(run.chain)) as user,
        ):
            yield from ask(images, run, values=values, user=user, max_fee=max_fee)


def _show(answer: Answer) -> None:
    from rich.table import Table
    from rich.text import Text

    from fedvm.cli.console import err, out
    from fedvm.cli.picture import picture

    messages, console = err(), out()
    asked = "contract" if answer.version else "program"
    if answer.seen is not None:
        messages.print(f"What the {asked} sees of {answer.image}:", style="dim", markup=False)
        messages.print(picture(answer.seen, messages))
    else:
        messages.print(answer.image, style="dim", markup=False)
    for note in answer.notes:
        messages.print(f"Note: {note}", style="dim", markup=False)
    name = answer.class_names[answer.label]
    if len(answer.scores) == 1:
        name = f"{answer.values[0]:.6g}"
    console.print(Text(name, "bold yellow" if answer.doubt else "bold green"), end="")
    console.print(f"  not sure: {answer.doubt}" if answer.doubt else "", style="yellow", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    table.add_column("share", justify="right")
    table.add_column("score", justify="right", style="dim")
    ranked = sorted(
        range(len(answer.scores)), key=lambda label: (label != answer.label, -answer.scores[label])
    )
    for label in ranked[:_ROWS]:
        style = "bold" if label == answer.label else ""
        share, score = f"{answer.shares[label]:.1%}", f"{answer.scores[label]:,}"
        table.add_row(Text(answer.class_names[label]), share, score, style=style)
    console.print(table)
    if rest := ranked[_ROWS:]:
        together = sum(answer.shares[label] for label in rest)
        console.print(f"and {len(rest)} more, {together:.1%} together (all of them with --json)", style="dim")
    where = f"version {answer.version}" if answer.version else "run here, on no chain"
    title = f"{answer.title}, " if answer.title else ""
    console.print(f"{title}{where}, {answer.gas:,} gas as a transaction", style="dim", markup=False)
    if answer.decision is not None:
        console.print(f"Recorded as decision [bold]{answer.decision}[/] in transaction {answer.tx}")


COMMAND = Command(
    "predict",
    predict,
    (
        ("fedvm predict seven.png --run runs/demo", ""),
        ("fedvm predict photos/ --run runs/cifar10 --json", "all images of a folder"),
        ("fedvm predict --values 5.1,3.5,1.4,0.2 --run program/", "a model of numbers"),
        ("fedvm predict seven.png --run runs/demo --record", "put the decision on record"),
        (
            "fedvm predict photos/ --run runs/demo --record --max-fee 1000",
            "together, 1,000 wei at most for each",
        ),
        (
            "fedvm predict seven.png --network filecoin-calibration --service 0x… --store https://gateway.example",
            "a service on a network",
        ),
        ("fedvm predict seven.png --run program/", "without a chain: what `fedvm compile -o` wrote"),
    ),
)
