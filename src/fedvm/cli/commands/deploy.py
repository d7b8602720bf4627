"""`fedvm deploy`: an ONNX file onto a real chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.compiler_options import Optimize, Target
from fedvm.cli.commands.federation_options import rpc_option
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.images.preparation import Preparation


def deploy(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    rpc: Annotated[str, rpc_option("The network to deploy on")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Directory to leave (runs/MODEL-NETWORK).")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Typical inputs: .npy, .npz or .csv, of bytes or of real numbers, or a folder of images."
        ),
    ] = None,
    scale: Annotated[float | None, typer.Option(help="The model expects scale · byte + offset.")] = None,
    offset: Annotated[float | None, typer.Option(help="See --scale.")] = None,
    input_range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH",
            help="Range of real inputs, or one for each feature, e.g. 0:1,-40:85. Default: the calibration's.",
        ),
    ] = None,
    weight_bits: Annotated[
        int | None, typer.Option(min=2, max=8, help="Bits of weights. Default 8; 6 with --optimize deploy.")
    ] = None,
    activation_bits: Annotated[
        int,
        typer.Option(
            "--bits",
            "--activation-bits",
            min=2,
            max=8,
            help="Bits of layer outputs; 4 or 5 cost much less gas and little accuracy.",
        ),
    ] = 6,
    input_bits: Annotated[
        int, typer.Option(min=1, max=8, help="Top bits of the input bytes that the network sees.")
    ] = 8,
    optimize: Annotated[
        Optimize, typer.Option(help="Little gas a prediction, or small contracts.")
    ] = Optimize.RUN,
    target: Annotated[
        Target | None, typer.Option(help="Whose gas limit holds. Default: that of the chain.")
    ] = None,
    max_gas: Annotated[
        int | None, typer.Option(min=1, help="Gas of a transaction. Default: the target's limit.")
    ] = None,
    stages: Annotated[
        bool, typer.Option("--stages", help="Deploy a program too large for one transaction in stages, too.")
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Classes of the calibration inputs, from 0: a file, or a column of the CSV or array of the .npz.",
        ),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Refuse a program that has the network's class on fewer held-back inputs. Default 0.9.",
        ),
    ] = None,
    min_correlation: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Refuse scores that correlate less with the network's. Default 0.98."
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="What the model is, in words. Default: its file's name.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Names of the classes, in the order of the scores: a,b,c or a file with one a line."
        ),
    ] = None,
    preparation: Annotated[
        Preparation | None,
        typer.Option(
            help="What is done to image files: photo (scale, crop), drawing (as MNIST), raw (nothing)."
        ),
    ] = None,
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
    from fedvm.cli.console import out as stdout
    from fedvm.cli.model_table import print_model, request_of
    from fedvm.cli.progress import CountDisplay, prepare_aloud
    from fedvm.pipeline.errors import UsageError
    from fedvm.pipeline.onnx_model import deploy as deploy_model
    from fedvm.pipeline.staged import serve_stages
    from fedvm.rundir.layout import RunDirectory

    account = load_key(env_file)
    w3 = connect(rpc)
    network = network_of(w3)
    directory = RunDirectory(out or Path("runs") / f"{model.stem}-{network.name}")
    directory.require_free()
    prepared = prepare_aloud(
        request_of(
            model,
            calibration,
            scale,
            offset,
            input_range,
            classes,
            title=title,
            preparation=preparation,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            input_bits=input_bits,
            optimize=optimize.value,
            target=(target or (Target.FILECOIN if network.is_filecoin else Target.ETHEREUM)).value,
            max_gas=max_gas,
            labels=labels,
            min_agreement=min_agreement,
            min_correlation=min_correlation,
        )
    )
    if not as_json:
        print_model(prepared)
    if stages and not prepared.compiled.stages:
        raise UsageError(prepared.unstaged or "one prediction fits a transaction: leave --stages out")
    err().print(f"Deploying to {network.title} from {account.address}", markup=False)
    with CountDisplay(err()) as display:
        served = deploy_model(
            prepared,
            w3,
            rpc,
            account,
            directory,
            partial(display.progress, "transactions"),
        )
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
        return
    console = stdout()
    console.print(f"ModelService  [bold]{served.service.address}[/]")
    console.print(f"program       {served.registered.version.program}")
    console.print(f"version       {served.registered.id}")
    if staged is not None:
        console.print(f"InferenceSession  [bold]{staged.sessions.address}[/]")
        console.print(f"staged program    0x{staged.id.hex()}")
    console.print(f"directory     {directory.path}", markup=False)


COMMAND = Command(
    "deploy",
    deploy,
    (
        ("fedvm deploy runs/demo/model.onnx --rpc http://127.0.0.1:8545", "the model of a run"),
        (
            "fedvm deploy m.onnx --rpc https://api.calibration.node.glif.io/rpc/v1 --calibration x.npz",
            "Filecoin's testnet",
        ),
    ),
)
