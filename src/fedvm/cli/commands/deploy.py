"""`fedvm deploy`: an ONNX file onto a real chain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.addresses import address_facts, print_address
from fedvm.cli.commands.command import Command
from fedvm.cli.commands.compiler_options import CompilerOptions, with_compiler_options
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import actor_of, print_batch
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, needed_endpoint
from fedvm.cli.commands.spending import Spending, spend, with_spending
from fedvm.compiler.defaults import Target

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from web3 import Web3

    from fedvm.chain.networks import Network
    from fedvm.pipeline.onnx_model import Prepared, Request
    from fedvm.rundir.layout import RunDirectory


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
    federation_run: Annotated[
        Path | None,
        typer.Option(
            help="Directory of `fedvm create`: serve its latest final model, with its lineage. MODEL is the network."
        ),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="With --federation-run: what `fedvm create` was given."),
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

    Afterwards `fedvm predict IMAGE --run DIR` asks the contract.
    """
    from fedvm.chain.networks import network_of
    from fedvm.cli.model_table import print_model
    from fedvm.pipeline.deploy_plan import plan_deployment
    from fedvm.pipeline.errors import UsageError
    from fedvm.pipeline.onnx_model import Deployable, require_own
    from fedvm.rundir.layout import RunDirectory

    endpoint = needed_endpoint(network, rpc)
    if spending.unsigned and stages:
        raise typer.BadParameter("a program in stages cannot be printed with --unsigned: leave --stages out")
    actor = actor_of(spending)
    payer, who = actor.account, actor.address
    w3 = endpoint.connect()
    at = network_of(w3)
    directory = RunDirectory(out or Path("runs") / f"{compiler.model.stem}-{at.name}")
    own_target: Target = "filecoin" if at.is_filecoin else "ethereum"
    prepared = _prepared(compiler.request(target or own_target), federation_run, app, int(w3.eth.chain_id))
    if spending.unsigned:
        _print_unsigned(prepared, w3, endpoint.shown, who, directory)
        return
    if not as_json:
        print_model(prepared)
    if stages and not prepared.compiled.stages:
        raise UsageError(prepared.unstaged or "one prediction fits a transaction: leave --stages out")
    if not spending.dry_run:
        require_own(directory, Deployable.of(prepared))
    steps = plan_deployment(prepared, w3, who, simulate=spending.dry_run)
    asked: dict[str, Any] = {"dry_run": spending.dry_run, "yes": spending.yes, "price": spending.price}
    if not spend("Deploying", steps, w3, who, **asked, as_json=as_json) or payer is None:
        return
    facts = _sent(prepared, w3, endpoint.shown, payer, directory, stages=stages)
    if as_json:
        service = address_facts(str(facts["service"]), at)
        native = {"filecoin": service["filecoin"], "link": service["link"]}
        print_json({**facts, **native, "network": at.name, "gas": prepared.compiled.manifest["gas"]})
    else:
        _print(facts, at)


def _prepared(request: Request, federation_run: Path | None, app: str | None, chain_id: int) -> Prepared:
    """The compiled model, with the weights of a federation's latest final round where one is named."""
    from fedvm.cli.progress import prepare_aloud
    from fedvm.compiler.frontend.bundle import self_contained
    from fedvm.pipeline.errors import UsageError
    from fedvm.pipeline.federated_onnx import with_latest_round
    from fedvm.pipeline.user_model import import_model
    from fedvm.rundir.run import open_run

    if (federation_run is None) != (app is None):
        raise typer.BadParameter(
            "--federation-run goes with --app, the function that `fedvm create` was given"
        )
    if federation_run is None or app is None:
        return prepare_aloud(request)
    with open_run(federation_run) as run:
        if run.deployment.chain_id != chain_id:
            raise UsageError(
                f"the federation is on chain {run.deployment.chain_id}, not on {chain_id}: a lineage is of one chain"
            )
        federated = with_latest_round(self_contained(request.model), run, import_model(app, Path.cwd()))
    with TemporaryDirectory() as folder:
        file = Path(folder) / request.model.name
        file.write_bytes(federated.onnx)
        return replace(prepare_aloud(replace(request, model=file)), federated=federated)


def _print_unsigned(prepared: Prepared, w3: Web3, rpc: str, wallet: str, directory: RunDirectory) -> None:
    """The transactions on standard output; the directory names what will be where."""
    from fedvm.pipeline.deploy_plan import unsigned_deployment
    from fedvm.pipeline.onnx_model import leave
    from fedvm.rundir.deployment import ChainRef

    planned = unsigned_deployment(prepared, w3, wallet)
    at, block = ChainRef("rpc", rpc), int(w3.eth.block_number)
    chain_id = int(w3.eth.chain_id)
    leave(prepared, at, chain_id, block, directory, service=planned.service, program=planned.program)
    what = (
        f"Deploying {planned.service}, the ModelService of which {directory.path} then serves `fedvm predict`"
    )
    print_batch(planned.transactions, wallet, what)


def _sent(
    prepared: Prepared, w3: Web3, rpc: str, payer: LocalAccount, directory: RunDirectory, *, stages: bool
) -> dict[str, Any]:
    """Deploy, and say where everything is."""
    from functools import partial

    from fedvm.cli.console import err
    from fedvm.cli.progress import CountDisplay
    from fedvm.pipeline.onnx_model import deploy as deploy_model
    from fedvm.pipeline.staged import serve_stages

    with CountDisplay(err()) as display:
        progress = partial(display.progress, "transactions")
        served = deploy_model(prepared, w3, rpc, payer, directory, progress)
        staged = None
        if stages:
            progress = partial(display.progress, "transactions of the stages")
            staged = serve_stages(w3, payer, prepared.compiled, directory, progress)
    return {
        "service": served.service.address,
        "program": served.registered.version.program,
        "version": served.registered.id,
        "session": None if staged is None else staged.sessions.address,
        "staged_program": None if staged is None else f"0x{staged.id.hex()}",
        "directory": str(directory.path),
    }


def _print(facts: dict[str, Any], at: Network) -> None:
    """Where everything is, on standard output."""
    from fedvm.cli.console import out

    console = out()
    print_address("ModelService", str(facts["service"]), at)
    console.print(f"program       {facts['program']}")
    console.print(f"version       {facts['version']}")
    if facts["session"] is not None:
        console.print(f"InferenceSession  [bold]{facts['session']}[/]")
        console.print(f"staged program    {facts['staged_program']}")
    console.print(f"directory     {facts['directory']}", markup=False)


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
