"""`fedvm export`: what a federation is accountable for, in the formats of those who ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed


@placed("federation", "service", stored=True)
def export(
    place: Place,
    formats: Annotated[
        list[str] | None, typer.Argument(metavar="FORMAT…", help="The formats to write.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All formats for which there is something on chain.")
    ] = False,
    to: Annotated[
        Path, typer.Option("--to", file_okay=False, help="The folder to write; exports in it are replaced.")
    ] = Path("exports"),
    block: Annotated[
        int | None, typer.Option("--block", min=0, help="Only what happened up to this block. Default: all.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            exists=True,
            dir_okay=False,
            help="A private key (PEM; P-256, P-384 or P-521) that signs model-signing.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write reports on a federation and its model, for auditors, registers and tools, from the chain and a store alone.

    Formats: in-toto, decision-log, cyclonedx, model-card, annex-iv, algorithm-registers, model-signing, croissant.

    Each number in them names the event that says it and the command that shows it again. What no chain can say is
    marked for a person to write. The same chain gives the same bytes; the folder appears whole or not at all.
    """
    from fedvm.chain.errors import DeploymentError
    from fedvm.cli.console import err, out
    from fedvm.exports.formats import FORMATS, check_names, require_free
    from fedvm.exports.formats import export as write
    from fedvm.exports.model_signing import signing_key
    from fedvm.exports.reading import read_facts

    if every and formats:
        raise typer.BadParameter("give names of formats or --all, not both")
    names = list(FORMATS) if every else list(formats or ())
    check_names(names)
    require_free(to)
    signer = None if key is None else signing_key(key)
    with place.opened() as run:
        try:
            store = run.store
        except DeploymentError:  # no --store was given: what it would have is said to be missing
            store = None
        facts = read_facts(
            run.w3,
            store,
            federation=run.deployment.federation,
            service=run.deployment.service,
            first_block=run.deployment.block,
            last_block=block,
        )
    done = write(facts, names, to, leave_out=every, key=signer)
    if as_json:
        print_json(
            {"folder": str(to), "block": facts.block, "formats": done.files, "left_out": done.left_out}
        )
        return
    for name, files in done.files.items():
        out().print(f"{name:<20} {', '.join(files)}", markup=False, highlight=False, soft_wrap=True)
    for name, why in done.left_out.items():
        err().print(f"left out: {name}: {why}", markup=False, highlight=False, soft_wrap=True)
    out().print(
        f"As of block {facts.block} of {facts.network}: {to}", markup=False, highlight=False, soft_wrap=True
    )


COMMAND = Command(
    "export",
    export,
    (
        ("fedvm export --all --run runs/demo", ""),
        ("fedvm export in-toto decision-log --run runs/demo --to reports", ""),
        (
            "fedvm export --all --network filecoin-calibration --federation 0x… --service 0x… --store blocks",
            "from addresses alone",
        ),
    ),
)
