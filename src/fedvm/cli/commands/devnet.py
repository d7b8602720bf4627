"""`fedvm devnet`: a local chain that behaves as Filecoin's, to rehearse on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json


class Likeness(StrEnum):
    """Which network a local chain resembles."""

    FILECOIN = "filecoin"


def devnet(
    like: Annotated[Likeness, typer.Option(help="The network that it behaves as.")] = Likeness.FILECOIN,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the RPC on this machine; 0: any.")
    ] = 1234,
    block_time: Annotated[int, typer.Option(help="Seconds of an epoch by the chain's clock.")] = 30,
    speed: Annotated[float, typer.Option(help="Times which the chain's clock is faster than yours.")] = 10.0,
    accounts: Annotated[int, typer.Option(help="How many accounts have 1000 FIL each.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="From which keys, null rounds and faults follow.")] = 0,
    null_rounds: Annotated[float, typer.Option(help="Share of epochs without a block, 0 to 0.9.")] = 0.05,
    faults: Annotated[
        float,
        typer.Option(
            help="Share of requests that meet a fault, 0 to 0.9: lost or doubled requests, answers cut short or late, "
            "HTTP 429 and 5xx, nodes that lag, reorganisations."
        ),
    ] = 0.0,
    full_node: Annotated[
        bool, typer.Option("--full-node", help="Keep receipts and states for ever, unlike a public gateway.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a local chain that behaves as Filecoin does behind Lotus's RPC, until Ctrl-C: for rehearsing a federation
    before it costs money.

    Epochs and null rounds, messages that count an epoch later, `latest` one behind the head, Filecoin's gas, fees by
    FIP-0115, Lotus's errors and limits, receipts for 20 epochs. Its accounts are known to everybody: never send
    anything of worth to them on a real network. Nothing is kept when it ends.
    """
    import threading

    from fedvm.cli.console import out
    from fedvm.devnet.lotus.rehearsal import RehearsalTerms, rehearse

    del like  # there is one so far
    terms = RehearsalTerms(port, block_time, speed, accounts, seed, null_rounds, faults, not full_node)
    with rehearse(terms) as running:
        keys = [{"address": a.address, "key": "0x" + bytes(a.key).hex()} for a in running.accounts]
        if as_json:
            print_json({"rpc": running.url, "chain_id": running.chain.chain_id, "accounts": keys})
        else:
            console = out()
            console.print(
                f"[bold]A local chain like Filecoin's[/] at {running.url} (chain {running.chain.chain_id})"
            )
            console.print(f"an epoch takes {block_time / speed:.3g} s; accounts with 1000 FIL each:")
            for entry in keys:
                console.print(f"  {entry['address']}  key {entry['key']}", soft_wrap=True)
            console.print(
                "[bold red]Everybody knows these keys.[/] On a real network whatever is sent to them is stolen at once."
            )
            console.print("In another terminal, with one of these keys as PRIVATE_KEY in .env:")
            console.print(f"  fedvm doctor --rpc {running.url}", soft_wrap=True)
            console.print("Ctrl-C ends it.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            if not as_json and faults:
                console = out()
                console.print(f"{running.plan.injected.total()} faults:")
                for fault, count in running.plan.injected.most_common():
                    console.print(f"  {count:>5} × {fault.value}")


COMMAND = Command(
    "devnet",
    devnet,
    (
        ("fedvm devnet --like filecoin", "on the port where `--rpc devnet` looks for it"),
        ("fedvm devnet --speed 1", "as slow as Filecoin itself"),
        ("fedvm devnet --faults 0.2", "over a network that fails every fifth time"),
    ),
)
