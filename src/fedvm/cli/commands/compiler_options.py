"""The options of the compiler, for every command that compiles a user's ONNX file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fedvm.cli.commands.shared import option, parameters_of, with_options
from fedvm.compiler.defaults import (
    ACTIVATION_BITS,
    INPUT_BITS,
    LARGE_DENSE_BITS,
    OPTIMIZE,
    TABULAR_ACTIVATION_BITS,
    WEIGHT_BITS,
    Optimize,
    Target,
)
from fedvm.images.preparation import Preparation

if TYPE_CHECKING:
    from fedvm.compiler.options import Range
    from fedvm.pipeline.onnx_model import Request


@dataclass(frozen=True)
class CompilerOptions:
    """A model and how to compile it. Every field is an argument or option; `with_compiler_options` gives them to a
    command."""

    model: Annotated[Path, typer.Argument(help="An ONNX file.")]
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Typical inputs: .npy, .npz or .csv, of bytes or of real numbers, or a folder of images."
        ),
    ] = None
    scale: Annotated[
        float | None, typer.Option(help="The model expects scale · byte + offset, e.g. 0.00784313725.")
    ] = None
    offset: Annotated[float | None, typer.Option(help="See --scale, e.g. -1.")] = None
    input_range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH",
            help="Range of real inputs, or one for each feature, e.g. 0:1,-40:85. Default: the calibration's.",
        ),
    ] = None
    input_shape: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES",
            help="Shape of one input, e.g. 3,64,64, where the file leaves sizes open. Default: the calibration's.",
        ),
    ] = None
    weight_bits: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=8,
            help=f"Bits of weights. Default {WEIGHT_BITS['run']}; with --optimize deploy {WEIGHT_BITS['deploy']}, "
            f"in large dense layers {LARGE_DENSE_BITS}.",
        ),
    ] = None
    activation_bits: Annotated[
        int | None,
        typer.Option(
            "--bits",
            "--activation-bits",
            min=2,
            max=8,
            help="Bits of layer outputs; 4 or 5 cost much less gas and little accuracy. "
            f"Default {ACTIVATION_BITS}; {TABULAR_ACTIVATION_BITS} for tabular models.",
        ),
    ] = None
    input_bits: Annotated[
        int, typer.Option(min=1, max=8, help="Top bits of the input bytes that the network sees.")
    ] = INPUT_BITS
    optimize: Annotated[Optimize, typer.Option(help="Little gas a prediction, or small contracts.")] = (
        OPTIMIZE
    )
    max_gas: Annotated[
        int | None, typer.Option(min=1, help="Gas of a transaction. Default: the target's limit.")
    ] = None
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which output of the file, if it has several.")
    ] = None
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Classes of the calibration inputs, from 0: a file, or a column of the CSV or array of the .npz.",
        ),
    ] = None
    min_agreement: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Refuse a program that has the network's class on fewer held-back inputs. Default 0.9.",
        ),
    ] = None
    min_correlation: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Refuse scores that correlate less with the network's. Default 0.98."
        ),
    ] = None
    max_accuracy_loss: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=99,
            help="Points of accuracy that may be lost for less gas: bits are chosen, with --labels. Takes minutes.",
        ),
    ] = None
    title: Annotated[
        str | None, typer.Option(help="What the model is, in words. Default: its file's name.")
    ] = None
    classes: Annotated[
        str | None,
        typer.Option(
            help="Names of the classes, in the order of the scores: a,b,c or a file with one a line."
        ),
    ] = None
    preparation: Annotated[
        Preparation | None,
        typer.Option(
            help="What is done to image files: photo (scale, crop), drawing (as MNIST), raw (nothing)."
        ),
    ] = None

    def request(self, target: Target) -> Request:
        """The options as a request, for the gas limit of `target`. Raises UsageError if only one of scale and offset is
        given, for a malformed range, and for names that cannot be read."""
        from fedvm.pipeline.errors import UsageError
        from fedvm.pipeline.onnx_model import Request

        preprocess = None
        if self.scale is not None or self.offset is not None:
            if self.scale is None:
                raise UsageError("--offset needs --scale: the model expects scale · byte + offset")
            preprocess = (self.scale, self.offset or 0.0)
        bounds = None if self.input_range is None else _bounds(self.input_range)
        if bounds is not None and preprocess is not None:
            raise UsageError("--input-range is for real inputs, --scale for bytes: give one of them")
        return Request(
            self.model,
            self.calibration,
            preprocess,
            bounds,
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            input_bits=self.input_bits,
            optimize=self.optimize,
            target=target,
            max_gas=self.max_gas,
            title=self.title,
            classes=None if self.classes is None else _names(self.classes),
            preparation=self.preparation,
            output=self.output,
            labels=self.labels,
            input_shape=None if self.input_shape is None else _sizes(self.input_shape),
            min_agreement=self.min_agreement,
            min_correlation=self.min_correlation,
            max_accuracy_loss=self.max_accuracy_loss,
        )


def _sizes(text: str) -> tuple[int, ...]:
    from fedvm.pipeline.errors import UsageError

    sizes = text.split(",")
    if not all(re.fullmatch(r" *[1-9][0-9]{0,7} *", size) for size in sizes):
        raise UsageError(
            f"--input-shape {text}: give the sizes of one input with commas between, such as 3,64,64"
        )
    return tuple(int(size) for size in sizes)


def with_compiler_options(*, model: Any = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function with a parameter `compiler: CompilerOptions` a command with those options in its place.

    model: an annotation of an option, None unless given, that names the model in place of the argument.
    """
    return lambda function: _with_options(function, model)


def _with_options(function: Callable[..., None], model: Any) -> Callable[..., None]:
    hints = get_type_hints(CompilerOptions, include_extras=True)
    shared = [
        option(
            one.name,
            hints[one.name],
            Parameter.empty if one.default is dataclasses.MISSING else one.default,
        )
        for one in dataclasses.fields(CompilerOptions)
    ]
    if model is not None:
        shared[0] = option("model", model, None)

    def action(**given: Any) -> None:
        compiler = CompilerOptions(**{one.name: given.pop(one.name) for one in shared})
        function(compiler=compiler, **given)

    options = []
    for one in parameters_of(function):
        options += shared if one.annotation is CompilerOptions else [one]
    return with_options(action, function, options)


def _names(given: str) -> tuple[str, ...]:
    """Names between commas, or the lines of a file."""
    from fedvm.pipeline.errors import UsageError

    file = Path(given)
    if "," in given or not file.is_file():
        if "," not in given:
            raise UsageError(f"--classes {given}: give names between commas, or a text file with one a line")
        return tuple(name.strip() for name in given.split(","))
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read as UTF-8 text: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())


def _bounds(text: str) -> Range:
    """`LOW:HIGH`, or one for each feature separated by commas, as (low, high)."""
    from fedvm.pipeline.errors import UsageError

    pairs = []
    for item in text.split(","):
        low, colon, high = item.partition(":")
        try:
            pairs.append((float(low), float(high)))
        except ValueError:
            colon = ""
        if not colon:
            raise UsageError(
                f"--input-range {text}: give LOW:HIGH, or one for each feature with commas between, "
                "such as --input-range=-1:1,0:250"
            )
    if len(pairs) == 1:
        return pairs[0]
    return [low for low, _ in pairs], [high for _, high in pairs]
