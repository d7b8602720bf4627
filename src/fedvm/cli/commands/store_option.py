"""The option that says where artefacts are, which several commands share."""

from __future__ import annotations

from typing import Any

import typer


def stores_option(what: str) -> Any:
    """`--store`, which may be repeated: locations that `fedvm.store.open_store` takes."""
    return typer.Option("--store", metavar="FOLDER|URL", help=f"{what}; repeat it for several.")
