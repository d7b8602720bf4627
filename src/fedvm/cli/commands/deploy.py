"""`fedvm deploy`: an ONNX file onto a real chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.compiler_options import CompilerOptions, with_compiler_options
from fedvm.cli.commands.deploying import deploy_prepared
from fedvm.cli.commands.json_option import JsonOption
from fedvm.cli.commands.paying import actor_of
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, needed_endpoint
from fedvm.cli.commands.spending import Spending, with_spending
from fedvm.compiler.defaults import Target


@with_spending
@with_compiler_options()
def deploy(
    *,
    network: NetworkOption = None,
    rpc: RpcUrlOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Directory to write. Default: runs/MODEL-NETWORK.")
    ] = None,
    compiler: CompilerOptions,
    target: Annotated[
        Target | None, typer.Option(help="The network whose gas limit holds. Default: the one to deploy on.")
    ] = None,
    stages: Annotated[
        bool, typer.Option("--stages", help="Deploy a program too large for one transaction in stages, too.")
    ] = False,
    spending: Spending,
    as_json: JsonOption = False,
) -> None:
    """Compile MODEL, an ONNX file, deploy it with a ModelService, and print the address.

    The key is that of --account, of --key-file, or PRIVATE_KEY in the environment or in .env; a .env that git tracks is
    refused. It is never written into the directory.

    Costs are shown before anything is sent, in a terminal with a question; where the coin is worth money, --yes answers
    it. After an interruption the same command goes on: contracts lie at addresses that follow from their code
    (CREATE2), and what is there is not paid for again.

    Afterwards `fedvm predict IMAGE --run DIR` asks the contract. The model of a federation is served by `fedvm serve`,
    with where it comes from.
    """
    from fedvm.chain.networks import network_of
    from fedvm.cli.progress import prepare_aloud
    from fedvm.rundir.layout import RunDirectory

    endpoint = needed_endpoint(network, rpc)
    if spending.unsigned and stages:
        raise typer.BadParameter("a program in stages cannot be printed with --unsigned: leave --stages out")
    payer = actor_of(spending)
    w3 = endpoint.connect()
    at = network_of(w3)
    directory = RunDirectory(out or Path("runs") / f"{compiler.model.stem}-{at.name}")
    prepared = prepare_aloud(compiler.request(target or ("filecoin" if at.is_filecoin else "ethereum")))
    deploy_prepared(prepared, w3, endpoint, payer, spending, directory, stages=stages, as_json=as_json)


COMMAND = Command(
    "deploy",
    deploy,
    (
        ("fedvm deploy runs/demo/model.onnx --rpc http://127.0.0.1:8545", "the model of a run"),
        (
            "fedvm deploy m.onnx --network filecoin-calibration --account me --calibration x.npz",
            "Filecoin's testnet",
        ),
    ),
)
