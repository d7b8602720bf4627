"""`fedvm predict`: ask the contract what is in an image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.signing import AccountOption, KeyFileOption, Signing
from fedvm.cli.commands.spending import YesOption, amount, confirm

if TYPE_CHECKING:
    from fedvm.pipeline.ask import Answer
    from fedvm.rundir.run import Run

_ROWS = 10


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
    yes: YesOption = False,
    account: AccountOption = None,
    key_file: KeyFileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line an input.")] = False,
) -> None:
    """Ask the ModelService contract what is in each IMAGE, or about numbers, and show what the contract saw.

    An image is prepared as the version says (photo: turned upright, scaled, the middle kept; drawing: strokes made
    bright on black, scaled and centred; raw: unchanged). Every conversion is printed. Percentages are the softmax of
    the contract's scores.

    With --record, several images share as few transactions as possible; each transaction records all of its images
    or none. --run also takes what `fedvm deploy` or `fedvm compile -o` wrote. Without a run, --store says where the
    version's ONNX file is: it has the classes' names and how an image is prepared.
    """
    from fedvm.cli.console import out

    if bool(images) == (values is not None):
        raise typer.BadParameter("give images or --values, one of them")
    if max_fee is not None and not record:
        raise typer.BadParameter("--max-fee needs --record: only a decision on record pays a fee")
    signing = Signing(account, key_file)
    if signing.is_named and not record:
        raise typer.BadParameter("asking needs no key: give one with --record only")
    for number, answer in enumerate(_answers(place, signing, images or [], values, record, max_fee, yes)):
        if as_json:
            typer.echo(json.dumps(answer.to_json()))
            continue
        if number:
            out().print()
        _show(answer)


def _answers(
    place: Place,
    signing: Signing,
    images: list[Path],
    values: str | None,
    record: bool,
    max_fee: int | None,
    yes: bool,
) -> Iterator[Answer]:
    from fedvm.pipeline.ask import ask
    from fedvm.pipeline.errors import UsageError
    from fedvm.rundir.layout import RunDirectory

    if place.run is not None and not RunDirectory(place.run).deployment.is_file():
        if record:
            raise UsageError(
                f"{place.run} holds a program that is on no chain: leave --record out, or deploy it first"
            )
        yield from ask(images, place.run, values=values)
        return
    with place.opened(read_only=not record) as run:
        user = None
        if record:
            user = run.chain.account("user") if run.chain is not None else signing.load()
            _confirm_decision(run, str(user.address), yes=yes)
        yield from ask(images, run, values=values, user=user, max_fee=max_fee)


def _confirm_decision(run: Run, payer: str, *, yes: bool) -> None:
    """Say what a decision costs on a network, and ask."""
    from fedvm.chain.network_funds import gas_price
    from fedvm.chain.networks import EMBEDDED, network_of

    network, service = network_of(run.w3), run.model_service
    if network is EMBEDDED or not (number := service.current_version()):
        return
    gas, fee = service.version(number).gas, service.fee_terms(number).amount
    cost = amount(gas * gas_price(run.w3), network, None)
    sentence = (
        f"{payer} pays some {gas:,} gas a decision, {cost}, and a fee of {fee:,} wei; inputs become public."
    )
    confirm(sentence, network, yes=yes)


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
