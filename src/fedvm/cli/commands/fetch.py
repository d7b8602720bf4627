"""`fedvm fetch`: from a published file into a folder that an audit reads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json


def fetch(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A CAR file, e.g. of `fedvm publish`.")
    ],
    to: Annotated[Path, typer.Option("--to", file_okay=False, help="The folder that keeps the blocks.")],
    as_json: JsonOption = False,
) -> None:
    """Check every block of a CAR file against its CID, and keep it in a folder that serves as a store.

    Files of other tools are read as well, if their blocks are those that FedVM stores: files in raw leaves of 1 MiB,
    CIDv1 and SHA2-256. After an interruption the same command goes on.
    """
    from fedvm.cli.console import err
    from fedvm.cli.progress import CountDisplay
    from fedvm.pipeline.archive import fetch_car

    with CountDisplay(err()) as display:
        done = fetch_car(file, to, progress=lambda done, total: display.progress("bytes", done, total))
    if as_json:
        print_json({"store": str(to), **asdict(done)})
        return
    print(f"{done.artefacts} artefacts in {done.blocks} blocks, {done.bytes:,} bytes: {to}")
    print(f"Audit with: fedvm audit --run RUN --store {to}")


COMMAND = Command("fetch", fetch, (("fedvm fetch demo.car --to blocks", ""),))
