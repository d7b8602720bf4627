"""`fedvm deploy`: an ONNX file onto a real chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.compiler_options import CompilerOptions, with_compiler_options
from fedvm.cli.commands.federation_options import rpc_option
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.compiler.defaults import Target


@with_compiler_options
def deploy(
    *,
    rpc: Annotated[str, rpc_option("The network to deploy on")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Directory to write. Default: runs/MODEL-NETWORK.")
    ] = None,
    compiler: CompilerOptions,
    target: Annotated[
        Target | None, typer.Option(help="The network whose gas limit holds. Default: that of --rpc.")
    ] = None,
    stages: Annotated[
        bool, typer.Option("--stages", help="Deploy a program too large for one transaction in stages, too.")
    ] = False,
    env_file: Annotated[Path, typer.Option("--env", help="File with PRIVATE_KEY.")] = Path(".env"),
    as_json: JsonOption = False,
) -> None:
    """Compile MODEL, an ONNX file, deploy it with a ModelService, and print the address.

    The key is read from PRIVATE_KEY in the environment or in .env; a .env that git tracks is refused. It is
    never written anywhere. Afterwards `fedvm predict IMAGE --run DIR` asks the contract.
    """
    from functools import partial

    from fedvm.chain.keys import load_key
    from fedvm.chain.networks import connect, network_of
    from fedvm.cli.console import err
    from fedvm.cli.model_table import print_model
    from fedvm.cli.progress import CountDisplay, prepare_aloud
    from fedvm.pipeline.errors import UsageError
    from fedvm.pipeline.onnx_model import deploy as deploy_model
    from fedvm.pipeline.staged import serve_stages
    from fedvm.rundir.layout import RunDirectory

    account = load_key(env_file)
    w3 = connect(rpc)
    network = network_of(w3)
    directory = RunDirectory(out or Path("runs") / f"{compiler.model.stem}-{network.name}")
    directory.require_free()
    own_target: Target = "filecoin" if network.is_filecoin else "ethereum"
    prepared = prepare_aloud(compiler.request(target or own_target))
    if not as_json:
        print_model(prepared)
    if stages and not prepared.compiled.stages:
        raise UsageError(prepared.unstaged or "one prediction fits a transaction: leave --stages out")
    err().print(f"Deploying to {network.title} from {account.address}", markup=False)
    with CountDisplay(err()) as display:
        progress = partial(display.progress, "transactions")
        served = deploy_model(prepared, w3, rpc, account, directory, progress)
        staged = None
        if stages:
            progress = partial(display.progress, "transactions of the stages")
            staged = serve_stages(w3, account, prepared.compiled, directory, progress)
    facts = {
        "service": served.service.address,
        "program": served.registered.version.program,
        "version": served.registered.id,
        "session": None if staged is None else staged.sessions.address,
        "staged_program": None if staged is None else f"0x{staged.id.hex()}",
        "directory": str(directory.path),
    }
    if as_json:
        print_json({**facts, "gas": prepared.compiled.manifest["gas"]})
    else:
        _print(facts)


def _print(facts: dict[str, Any]) -> None:
    """Where everything is, on standard output."""
    from fedvm.cli.console import out

    console = out()
    console.print(f"ModelService  [bold]{facts['service']}[/]")
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
            "fedvm deploy m.onnx --rpc calibration --calibration x.npz",
            "Filecoin's testnet",
        ),
    ),
)
