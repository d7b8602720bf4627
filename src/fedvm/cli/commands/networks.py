"""`fedvm networks`: the chains FedVM knows."""

from __future__ import annotations

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json


def networks(as_json: JsonOption = False) -> None:
    """List the networks that FedVM knows, with their chain ids and RPC addresses. Contacts none of them."""
    from dataclasses import asdict

    from rich.table import Table

    from fedvm.chain.networks import NETWORKS
    from fedvm.cli.console import out

    if as_json:
        print_json([asdict(network) for network in NETWORKS])
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name", style="bold")
    table.add_column("chain id", justify="right")
    for title in ("what", "rpc", "faucet"):
        table.add_column(title, overflow="fold")
    for network in NETWORKS:
        table.add_row(
            network.name,
            str(network.chain_id),
            network.title,
            network.rpc_url or "–",
            network.faucet or "–",
        )
    out().print(table)


COMMAND = Command(
    "networks", networks, (("fedvm deploy model.onnx --rpc http://127.0.0.1:8545", "onto a local node"),)
)
