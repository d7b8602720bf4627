"""`fedvm fetch`: from a published file, or from a federation's stores, into a folder that an audit reads."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed

if TYPE_CHECKING:
    from fedvm.pipeline.archive import Fetched


@placed("federation", "service", stored=True)
def fetch(
    place: Place,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|ADDRESS]",
            help="A CAR file, e.g. of `fedvm publish`; or the Federation contract, 0x… or f410…, as --federation.",
        ),
    ] = None,
    *,
    to: Annotated[Path, typer.Option("--to", file_okay=False, help="The folder that keeps the blocks.")],
    as_json: JsonOption = False,
) -> None:
    """Keep what an audit reads in a folder that serves as a store, every block checked against its CID.

    From a CAR file; those of other tools are read as well, if their blocks are those that FedVM stores: files in raw
    leaves of 1 MiB, CIDv1 and SHA2-256. Or, given a contract's address and its network, everything that its events
    name, from the stores that --store names. After an interruption the same command goes on.
    """
    from fedvm.cli.console import err
    from fedvm.cli.progress import CountDisplay
    from fedvm.pipeline.archive import fetch_car

    if source is not None and _is_address(source):
        place, source = replace(place, federation=source), None
    if source is None:
        done, again = _from_chain(place, to), place.words()
    elif place != Place(place.contracts):
        raise typer.BadParameter("a file names all that is in it: leave the other options away")
    elif not Path(source).is_file():
        raise typer.BadParameter(f"{source}: no such file, and no address of a contract")
    else:
        with CountDisplay(err()) as display:
            done = fetch_car(
                Path(source), to, progress=lambda done, total: display.progress("bytes", done, total)
            )
        again = ["--run", "RUN"]
    if as_json:
        print_json({"store": str(to), **asdict(done)})
        return
    print(f"{done.artefacts} artefacts in {done.blocks} blocks, {done.bytes:,} bytes: {to}")
    print(f"Audit with: {_audit(again, to)}")


def _from_chain(place: Place, to: Path) -> Fetched:
    from fedvm.audit.artefacts import artefacts
    from fedvm.cli.console import err
    from fedvm.cli.progress import CountDisplay
    from fedvm.pipeline.archive import fetch_artefacts

    with place.opened() as run, CountDisplay(err()) as display:
        at = run.deployment
        store = run.store
        listed = artefacts(run.w3, store, federation=at.federation, service=at.service, first_block=at.block)
        return fetch_artefacts(
            listed, store, to, progress=lambda done, total: display.progress("artefacts", done, total)
        )


def _is_address(source: str) -> bool:
    from fedvm.federation.client.appointment import checked_address
    from fedvm.federation.errors import SettingsError

    try:
        checked_address("federation", source)
    except SettingsError:
        return False
    return True


def _audit(words: list[str], to: Path) -> str:
    from fedvm.cli.terminal import command_line

    named = [word for at, word in enumerate(words) if word != "--store" and words[at - 1 : at] != ["--store"]]
    return command_line("fedvm", "audit", *named, "--store", str(to))


COMMAND = Command(
    "fetch",
    fetch,
    (
        ("fedvm fetch demo.car --to blocks", ""),
        (
            "fedvm fetch 0x… --network filecoin-calibration --store https://gateway.example --to blocks",
            "what a federation on a network names",
        ),
    ),
)
