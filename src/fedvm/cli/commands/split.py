"""`fedvm split`: divide a data set into one file per client."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json


def split(
    config: Annotated[Path, typer.Argument(help="The run's TOML file.")],
    out: Annotated[Path, typer.Option(help="Directory for the files.")],
    as_json: JsonOption = False,
) -> None:
    """Write the images that `fedvm run` would give to each client into `client-000.npz`, `client-001.npz` …

    To try a deployment with data that lie in one place: each file goes to one client's machine, whose SuperNode
    reads it (`--node-config 'fedvm-data="client-000.npz"'`).
    """
    from fedvm.pipeline.client_data import save_client_data
    from fedvm.pipeline.config_file import load_config
    from fedvm.pipeline.data import prepare_data
    from fedvm.pipeline.federate import client_data

    wanted = load_config(config)
    data = prepare_data(wanted, deal_out=True)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str | int]] = []
    for index in range(wanted.data.clients):
        own = client_data(data, index)
        path = out / f"client-{index:03}.npz"
        save_client_data(path, own)
        rows.append({"file": str(path), "train": len(own.train), "validation": len(own.validation)})
        if not as_json:
            print(f"{path}: {len(own.train)} images to train on, {len(own.validation)} to validate")
    if as_json:
        print_json(rows)


COMMAND = Command("split", split, (("fedvm split examples/demo.toml --out parts", "a file a client"),))
