"""`fedvm serve`: the model of a federation's latest round, as a contract that answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.compiler_options import CompilerOptions, with_compiler_options
from fedvm.cli.commands.deploying import deploy_prepared, show_deployed
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import actor_of
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.spending import Spending, with_spending

if TYPE_CHECKING:
    from fedvm.compiler.defaults import Target
    from fedvm.pipeline.onnx_model import Prepared
    from fedvm.rundir.run import Run

_FactoryOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="Function of the app, called in this directory, that returns its network: a PyTorch module, a "
        "scikit-learn estimator with arrays in the shapes that clients train, or with --onnx the network's state.",
    ),
]


@placed("federation", stored=True, argument=True)
@with_spending
@with_compiler_options(model=_FactoryOption)
def serve(
    *,
    place: Place,
    compiler: CompilerOptions,
    onnx: Annotated[
        Path | None,
        typer.Option(
            help="The network as ONNX, with the state's names, if it is from elsewhere (Keras, JAX)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="On a network: directory to write. Default: runs/FUNCTION-NETWORK."),
    ] = None,
    spending: Spending,
    as_json: JsonOption = False,
) -> None:
    """Serve the model of a federation's latest final round: compiled, deployed and registered with its lineage.

    The federation is DIR's (of `fedvm create`, or the one that the log of an app names), or with --federation one on a
    network, whose models are in --store. Its weights are put into the network of --model, which is written as ONNX and
    compiled to a program. A federation over XGBoost's trees needs no --model.

    A federation on the chain in DIR is served there, and later rounds become later versions of the same service, after
    a trial where `fedvm create --validation` has fixed a gate. On a
    network costs are shown before anything is sent, in a terminal with a question; where the coin is worth money, --yes
    answers it. After an interruption the same command goes on.

    Afterwards `fedvm predict` asks the contract, and `fedvm audit` shows that the program is the round's.
    """
    from fedvm.chain.networks import network_of

    factory = None if compiler.model is None else str(compiler.model)
    # An embedded chain is written to; of a network's federation only its model is read.
    with place.opened(read_only=spending.dry_run) as run:
        at = network_of(run.w3)
        if run.chain is None:
            payer = actor_of(spending)
        prepared = _prepared(run, compiler, factory, onnx, "filecoin" if at.is_filecoin else "ethereum")
        if run.chain is not None:
            _serve_beside(prepared, run, spending, as_json=as_json)
            return
        from fedvm.chain.endpoint import Endpoint
        from fedvm.cli.commands.places import checked_endpoint
        from fedvm.rundir.layout import RunDirectory

        endpoint = checked_endpoint(place.network, place.rpc) or Endpoint(run.deployment.chain.location)
        directory = RunDirectory(out or Path("runs") / f"{_name(factory)}-{at.name}")
        deploy_prepared(prepared, run.w3, endpoint, payer, spending, directory, as_json=as_json)


def _name(factory: str | None) -> str:
    """What to call the model."""
    return "booster" if factory is None else factory.partition(":")[2]


def _prepared(
    run: Run, compiler: CompilerOptions, factory: str | None, onnx: Path | None, target: Target
) -> Prepared:
    """The compiled program of the latest final round."""
    from fedvm.cli.progress import prepare_aloud
    from fedvm.pipeline.app_model import federated_app
    from fedvm.pipeline.booster_onnx import federated_booster
    from fedvm.pipeline.factory import made_by
    from fedvm.pipeline.federated_onnx import final_model
    from fedvm.pipeline.table import shape_of_inputs

    request = compiler.request(target)
    shape = request.input_shape
    if shape is None and request.calibration is not None:
        shape = shape_of_inputs(request.calibration, labels=request.labels)
    final = final_model(run)
    if final.data is not None:
        federated = federated_booster(final)
    elif factory is None:
        raise typer.BadParameter("give --model MODULE:FUNCTION, the function that makes the app's network")
    else:
        made = made_by(factory, Path.cwd())
        federated = federated_app(made, factory, final, onnx=onnx, input_shape=shape)
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{_name(factory)}.onnx"
        file.write_bytes(federated.onnx)
        return replace(prepare_aloud(replace(request, model=file)), federated=federated)


def _serve_beside(prepared: Prepared, run: Run, spending: Spending, *, as_json: bool) -> None:
    """Serve on the chain in the federation's directory, where gas costs nothing."""
    from fedvm.chain.networks import network_of
    from fedvm.cli.console import err, out
    from fedvm.cli.model_table import print_model
    from fedvm.cli.progress import CountDisplay
    from fedvm.pipeline.placing import deploy_beside

    if spending.unsigned or spending.sender is not None:
        raise typer.BadParameter("--unsigned and --from are for a federation on a network")
    if not as_json:
        print_model(prepared)
    if spending.dry_run:
        if as_json:
            print_json({"sent": False, "gas": prepared.compiled.manifest["gas"]})
        else:
            out().print("The chain is in the directory: deploying costs nothing. Nothing is sent.")
        return
    with CountDisplay(err()) as display:
        served = deploy_beside(prepared, run, display.progress)
    facts: dict[str, Any] = {
        "service": served.service.address,
        "program": served.registered.version.program,
        "version": served.registered.id,
        "round": served.registered.version.round,
        "directory": str(run.path),
    }
    show_deployed(facts, prepared, network_of(run.w3), as_json=as_json)


COMMAND = Command(
    "serve",
    serve,
    (
        (
            "fedvm serve ~/.fedvm/runs/DIR --model quickstart.task:Net --calibration images.npz",
            "a PyTorch app's",
        ),
        ("fedvm serve DIR --model task:model --calibration rows.csv --labels class", "a scikit-learn app's"),
        ("fedvm serve DIR --calibration rows.csv --labels class", "an XGBoost app's"),
        (
            "fedvm serve --federation 0x… --network filecoin-calibration --store https://gateway.example "
            "--model task:Net --calibration x.npz --account me",
            "of a federation on a network",
        ),
    ),
)
