"""`fedvm piece`: the piece CID of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json


def piece(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Any file, e.g. a CAR.")],
    as_json: JsonOption = False,
) -> None:
    """Compute the piece CID by which Filecoin's storage proofs know a file.

    Version 2 (FRC-0069) says how large the file is; version 1 goes with the size of the piece.
    """
    from fedvm.cli.console import err
    from fedvm.cli.progress import CountDisplay
    from fedvm.store.piece import piece_of

    size = file.stat().st_size
    with file.open("rb") as stream, CountDisplay(err()) as display:
        found = piece_of(stream, lambda done: display.progress("bytes", done, size))
    facts = {
        "pieceCidV2": found.cid_v2,
        "pieceCidV1": found.cid_v1,
        "pieceBytes": found.piece_bytes,
        "bytes": found.data_bytes,
    }
    if as_json:
        print_json(facts)
        return
    print(f"{found.cid_v2}  (version 2)")
    print(f"{found.cid_v1}  (version 1), a piece of {found.piece_bytes:,} bytes")
    print(f"{found.data_bytes:,} bytes, {found.padding:,} of padding")


COMMAND = Command(
    "piece", piece, (("fedvm piece federation.car", ""), ("fedvm piece federation.car --json", ""))
)
