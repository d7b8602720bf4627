"""`--json`, which every command takes; `fedvm.cli.entry` prints errors as JSON where it is given."""

from __future__ import annotations

import json
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result, or the error, as JSON.")]


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2))
