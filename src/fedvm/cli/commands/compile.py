"""`fedvm compile`: an ONNX file to EVM bytecode."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.compiler_options import CompilerOptions, with_compiler_options
from fedvm.cli.commands.json_option import JsonOption
from fedvm.compiler.defaults import TARGET, Target

if TYPE_CHECKING:
    from fedvm.compiler import CompiledModel


class Emit(StrEnum):
    """What to print beside the table."""

    ASM = "asm"
    MANIFEST = "manifest"


@with_compiler_options()
def compile_(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Directory to write; without it nothing is.")
    ] = None,
    compiler: CompilerOptions,
    target: Annotated[Target, typer.Option(help="The network whose gas limit holds.")] = TARGET,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Run the code against ONNX Runtime and, if --out holds a program, compare code hashes "
            "instead of writing; exit status 1 if anything differs.",
        ),
    ] = False,
    emit: Annotated[Emit | None, typer.Option(help="Print the disassembly or the manifest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compile MODEL, a trained ONNX classifier, to EVM bytecode, with its gas on Ethereum and Filecoin.

    Written to the directory: one .bin file per contract, manifest.json, abi.json, program.asm and model.int.onnx,
    which computes the same scores bit for bit in any ONNX runtime.
    """
    import json

    from fedvm.cli.console import err
    from fedvm.cli.model_table import print_model
    from fedvm.cli.progress import prepare_aloud
    from fedvm.cli.status import FAILURE
    from fedvm.pipeline.onnx_model import check as check_code

    prepared = prepare_aloud(compiler.request(target))
    compiled = prepared.compiled
    if emit is Emit.ASM:
        typer.echo(compiled.asm())
    elif emit is Emit.MANIFEST or as_json:
        typer.echo(json.dumps(compiled.manifest, indent=2))
    else:
        print_model(prepared)
    if out is not None and check and (out / "manifest.json").is_file():
        _compare(compiled, out)
    elif out is not None:
        compiled.save(out)
        err().print(f"Written to {out}", markup=False)
    if check:
        inputs, wrong, gas = check_code(prepared)
        err().print(f"{inputs} inputs, {wrong} unlike ONNX Runtime, {gas:,} gas each", markup=False)
        if wrong:
            raise typer.Exit(FAILURE)


def _compare(compiled: CompiledModel, out: Path) -> None:
    """Say whether the directory holds this program, and end with FAILURE if it holds another or a faulty one."""
    from fedvm.cli.console import err
    from fedvm.cli.status import FAILURE
    from fedvm.compiler import CompiledModel, verdict_on, version_of

    held = CompiledModel.load(out)
    if faults := verdict_on(version_of(held.manifest)):
        err().print(f"{out}: {faults}", markup=False)
        raise typer.Exit(FAILURE)
    differ = [unit.name for unit in compiled.units if unit not in held.units]
    differ += [s[-1].name for s in compiled.stages if s not in held.stages]
    if differ or len(held.units) != len(compiled.units) or len(held.stages) != len(compiled.stages):
        err().print(f"{out} holds another program: {', '.join(differ) or 'more contracts'}", markup=False)
        raise typer.Exit(FAILURE)
    err().print(f"{out} holds this program: all code hashes are equal", markup=False)


COMMAND = Command(
    "compile",
    compile_,
    (
        ("fedvm compile model.onnx --calibration images.npz -o program/ --check", ""),
        (
            "fedvm compile lenet.onnx --calibration photos/ --scale 0.00784313725 --offset -1",
            "the network was trained on −1 … 1",
        ),
        (
            "fedvm compile flowers.onnx --calibration iris.csv --labels species",
            "real numbers, a range for each column; the accuracy, too",
        ),
        ("fedvm compile model.onnx --calibration images.npz --emit asm", "read the code"),
    ),
)
