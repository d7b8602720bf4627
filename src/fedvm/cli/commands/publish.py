"""`fedvm publish`: everything that an auditor needs, as one file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed


@placed("federation", "service", stored=True)
def publish(
    place: Place,
    car: Annotated[Path, typer.Option("--car", dir_okay=False, help="The CAR file to write.")],
    rounds: Annotated[
        list[int] | None,
        typer.Option(
            "--round", min=1, help="These rounds alone, with the models they train from; repeat it."
        ),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out artefacts that the store lacks.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write everything that an audit reads of a federation and its model service into one CAR file (IPLD, version 1).

    Models, updates, the files of roll-ups, ONNX files and calibration images; every block is checked. With the file
    and the chain anybody can audit: `fedvm fetch FILE --to DIR`, then `fedvm audit … --store DIR`. The file appears
    whole or not at all, and the same artefacts give the same bytes; after an interruption the same command goes on.
    IPFS nodes take it with `ipfs dag import`, and `fedvm piece` computes the name by which Filecoin's storage providers
    know it.
    """
    from fedvm.audit.artefacts import artefacts
    from fedvm.cli.console import err, out
    from fedvm.cli.progress import CountDisplay
    from fedvm.pipeline.archive import of_rounds, publish_car

    with place.opened() as run, CountDisplay(err()) as display:
        at, store = run.deployment, run.store
        listed = artefacts(run.w3, store, federation=at.federation, service=at.service, first_block=at.block)
        done = publish_car(
            of_rounds(listed, rounds) if rounds else listed,
            store,
            car,
            allow_missing=allow_missing,
            progress=lambda done, total: display.progress("artefacts", done, total),
        )
    if as_json:
        print_json({"file": str(car), **asdict(done)})
        return
    print(f"{done.artefacts} artefacts in {done.blocks} blocks, {done.bytes:,} bytes: {car}")
    for one in done.missing:
        out().print(f"left out: {one}", markup=False)


COMMAND = Command(
    "publish",
    publish,
    (
        ("fedvm publish --run runs/demo --car demo.car", ""),
        ("fedvm publish --run runs/demo --round 3 --car round-3.car", ""),
        (
            "fedvm publish --network filecoin-calibration --federation 0x… --store blocks --car federation.car",
            "on a network",
        ),
    ),
)
