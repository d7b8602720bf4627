"""`fedvm verify`: is the code at an address this model; and inputs by which explorers verify the contracts' source."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.compiler_options import CompilerOptions, with_compiler_options
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, needed_endpoint
from fedvm.cli.commands.store_option import stores_option

if TYPE_CHECKING:
    from fedvm.pipeline.verify import Verified

_OnnxOption = Annotated[Path | None, typer.Option("--onnx", help="The ONNX file that the code should be.")]


@with_compiler_options(model=_OnnxOption)
def verify(
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="[ADDRESS]", help="A ModelService, or the entry contract of a program, 0x… or f410…."
        ),
    ] = None,
    network: NetworkOption = None,
    rpc: RpcUrlOption = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version of the service. Default: the one that serves.")
    ] = None,
    *,
    compiler: CompilerOptions,
    stores: Annotated[
        list[str] | None,
        stores_option("Where the calibration inputs are that the file names. Default: `store` beside it"),
    ] = None,
    standard_json: Annotated[
        Path | None,
        typer.Option(
            "--standard-json",
            metavar="FOLDER",
            help="Instead of ADDRESS: write the contracts' sources for Sourcify and Blockscout there.",
        ),
    ] = None,
    contracts: Annotated[
        Path, typer.Option(help="With --standard-json: the folder contracts of a checkout.")
    ] = Path("contracts"),
    as_json: JsonOption = False,
) -> None:
    """Compile a model again, and prove that the code at ADDRESS is that model, or name the first contract that is not.

    A file that `fedvm deploy` or `fedvm run` wrote (model.onnx) says itself how it was compiled. For any other give the
    options that it was deployed with. Exit status 1 when the code is another.
    """
    if standard_json is not None:
        if address is not None:
            raise typer.BadParameter("give ADDRESS, or --standard-json, not both")
        _write_sources(contracts, standard_json, as_json)
        return
    if address is None or compiler.model is None:
        raise typer.BadParameter("give ADDRESS and --onnx FILE, or --standard-json FOLDER")

    from fedvm.chain.creation_block import creation_block
    from fedvm.chain.networks import network_of
    from fedvm.cli.status import FAILURE
    from fedvm.federation.client.appointment import checked_address
    from fedvm.pipeline.verify import compiled_again, verify_model
    from fedvm.store import open_store

    at, endpoint = checked_address("address", address), needed_endpoint(network, rpc)
    w3 = endpoint.connect()
    target: Any = "filecoin" if network_of(w3).is_filecoin else "ethereum"
    compiled = compiled_again(compiler.request(target), open_store(stores) if stores else None)
    found = verify_model(w3, at, compiled, version=version, first_block=creation_block(w3, at))
    if as_json:
        print_json({**asdict(found), "holds": found.holds})
    else:
        _tell(found)
    if not found.holds:
        raise typer.Exit(FAILURE)


def _tell(found: Verified) -> None:
    from rich.markup import escape

    from fedvm.cli.console import out

    for problem in found.problems:
        out().print(f"[bold red]✗[/] {escape(problem)}", highlight=False)
    for one in found.contracts:
        mark = "[bold red]✗[/]" if one.problem else "[green]✓[/]"
        out().print(
            f"{mark} {one.name}  {one.address}  {escape(one.problem)}", highlight=False, soft_wrap=True
        )
    what = f"version {found.version} of {found.address}" if found.version else found.address
    if found.holds:
        out().print(f"[bold green]{what} is this model[/], to the byte.")
    elif (first := found.first_difference) is not None:
        out().print(f"[bold red]{what} is not this model[/]: {first.name} at {first.address} differs first.")
    else:
        out().print(
            f"[bold red]The program of {what} is this model, but the service is not to be trusted.[/]"
        )


def _write_sources(contracts: Path, folder: Path, as_json: bool) -> None:
    from fedvm.chain.artifacts import compiler_version
    from fedvm.cli.console import out
    from fedvm.pipeline.standard_json import write_standard_json

    files = write_standard_json(contracts, folder)
    if as_json:
        print_json({"compiler": compiler_version(), "files": [str(file) for file in files]})
        return
    for file in files:
        out().print(str(file), markup=False, soft_wrap=True)
    out().print(f"For solc {compiler_version()}; choose “standard JSON input” at the explorer.", markup=False)


COMMAND = Command(
    "verify",
    verify,
    (
        ("fedvm verify 0x… --onnx model.onnx --network filecoin-calibration", "a service's version"),
        (
            "fedvm verify 0x… --onnx own.onnx --calibration x.npz --bits 5 --rpc URL",
            "with the options of then",
        ),
        ("fedvm verify --standard-json sources/", "for explorers, in a checkout"),
    ),
)
