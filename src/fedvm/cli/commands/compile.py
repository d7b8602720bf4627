"""`fedvm compile`: an ONNX file to EVM bytecode."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.compiler_options import Optimize, Target
from fedvm.cli.commands.json_option import JsonOption
from fedvm.images.preparation import Preparation


class Emit(StrEnum):
    """What to print beside the table."""

    ASM = "asm"
    MANIFEST = "manifest"


def compile_(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Directory for the program.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Typical inputs: .npy, .npz or .csv, of bytes or of real numbers, or a folder of images."
        ),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="The model expects scale · byte + offset, e.g. 0.00784313725.")
    ] = None,
    offset: Annotated[float | None, typer.Option(help="See --scale, e.g. -1.")] = None,
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
    target: Annotated[Target, typer.Option(help="Whose gas limit holds.")] = Target.ETHEREUM,
    max_gas: Annotated[
        int | None, typer.Option(min=1, help="Gas of a transaction. Default: the target's limit.")
    ] = None,
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
    from fedvm.cli.model_table import print_model, request_of
    from fedvm.cli.progress import prepare_aloud
    from fedvm.cli.status import FAILURE
    from fedvm.compiler import CompiledModel, verdict_on, version_of
    from fedvm.pipeline.onnx_model import check as check_code

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
            target=target.value,
            max_gas=max_gas,
            labels=labels,
            min_agreement=min_agreement,
            min_correlation=min_correlation,
        )
    )
    compiled = prepared.compiled
    if emit is Emit.ASM:
        typer.echo(compiled.asm())
    elif emit is Emit.MANIFEST or as_json:
        typer.echo(json.dumps(compiled.manifest, indent=2))
    else:
        print_model(prepared)
    compare = check and out is not None and (out / "manifest.json").is_file()
    if out is not None and not compare:
        compiled.save(out)
        err().print(f"Written to {out}", markup=False)
    if out is not None and compare:
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
    if check:
        inputs, wrong, gas = check_code(prepared)
        err().print(f"{inputs} inputs, {wrong} unlike ONNX Runtime, {gas:,} gas each", markup=False)
        if wrong:
            raise typer.Exit(FAILURE)


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
