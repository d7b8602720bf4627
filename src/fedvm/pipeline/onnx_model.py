"""A user's own ONNX file: compile it and check it; like a part of a run, without the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.audit.description import Description, read_description
from fedvm.audit.errors import DescriptionError, RecipeError
from fedvm.audit.recipe import CompileRecipe, calibration_images, read_recipe
from fedvm.chain.program import Progress
from fedvm.chain.revm import RevmProgram
from fedvm.compiler import CompiledModel, StageError, compile_model
from fedvm.compiler.defaults import (
    INPUT_BITS,
    OPTIMIZE,
    TARGET,
    Optimize,
    Target,
)
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.frontend.bundle import self_contained
from fedvm.compiler.frontend.tabular.read import Tabular
from fedvm.compiler.options import Range
from fedvm.compiler.probe import reference_scores
from fedvm.compiler.quality import Bars
from fedvm.compiler.tabular import tabular_model
from fedvm.compiler.transactions import LIMITS
from fedvm.images.prepare import Preparation
from fedvm.pipeline.calibration import MAX_ROWS, load_calibration
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.federated_onnx import Federated
from fedvm.pipeline.table import read_labels, read_rows, shape_of_inputs
from fedvm.store import DEFAULT_STORES, StoreError, open_store

_SYNTHETIC = 128


@dataclass(frozen=True)
class Request:
    """What to compile and how. calibration None: the file's own recipe if its store lies beside it, else
    synthetic images. preprocess: (scale, offset) of the ONNX input over bytes, None if it takes bytes; input_range:
    (low, high) of real inputs, each a number or one a feature; labels: a file of classes, or the name of a column or
    array of the calibration; output: which of the file's, None for its own recipe's or its only one; input_shape: of
    one input, which sets axes that the file leaves open, None: the calibration's. The rest as in `compile_model`;
    max_gas None: what a transaction may take on the target; min_agreement and min_correlation None: the compiler's
    bars. title, classes, preparation: of the description (`fedvm.audit.description`); None: what the file says itself,
    else its name, numbers, and `photo` for images."""

    model: Path
    calibration: Path | None = None
    preprocess: tuple[float, float] | None = None
    input_range: Range | None = None
    weight_bits: int | None = None
    activation_bits: int | None = None
    input_bits: int = INPUT_BITS
    optimize: Optimize = OPTIMIZE
    target: Target = TARGET
    max_gas: int | None = None
    title: str | None = None
    classes: tuple[str, ...] | None = None
    preparation: Preparation | None = None
    output: str | None = None
    labels: str | None = None
    min_agreement: float | None = None
    min_correlation: float | None = None
    max_accuracy_loss: float | None = None
    input_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Prepared:
    """A compiled file. onnx: with the weights that lay beside it; calibration: as bytes; options: of `compile_model`,
    with what real inputs' bytes stand for; calibration_source: where the calibration came from and what was done to it,
    for the user to read; unstaged: why a program too large for one transaction has no stages, "" if it has or needs
    none; federated: the federation that it comes from, if any."""

    onnx: bytes
    calibration: NDArray[np.uint8]
    preprocess: tuple[float, float] | None
    options: dict[str, Any]
    compiled: CompiledModel
    description: Description
    calibration_source: str
    unstaged: str = ""
    federated: Federated | None = None


def prepare(request: Request) -> Prepared:
    """Read and compile. Raises UsageError for calibration that cannot be used, CompileError for the model,
    DescriptionError for names that do not fit.

    If `max_gas` was given it must be met. If only the target's own limit cannot be met, the program still works by
    `eth_call`.
    """
    onnx = self_contained(request.model)
    own, said = _own_recipe(onnx), _own_description(onnx)
    preparation = request.preparation or (said.input.preparation if said else None)
    preprocess, bounds = request.preprocess, request.input_range
    if preprocess is None and bounds is None and own is not None:
        preprocess, bounds = own.preprocess, own.options.get("input_range")
    output = request.output or (own.options.get("output") if own is not None else None)
    tabular = tabular_model(onnx, output)
    if tabular is not None:
        preparation = Preparation.RAW
        calibration, source = _rows(request, own, tabular)
    else:
        shape = _input_shape(request, own)
        spec = load_graph(
            onnx, preprocess=preprocess, input_range=bounds, output=output, input_shape=shape
        ).input
        if preparation is None:
            preparation = Preparation.PHOTO if len(spec.onnx_shape) == 3 else Preparation.RAW
        calibration, source = _calibration(request, own, spec.onnx_shape, preparation, spec.layout == "HWC")
    options: dict[str, Any] = {
        "weight_bits": request.weight_bits,
        "activation_bits": request.activation_bits,
        "input_bits": request.input_bits,
        "optimize": request.optimize,
    }
    if bounds is not None:
        options["input_range"] = bounds
    if output is not None:
        options["output"] = output
    # Results on synthetic inputs say nothing about real ones.
    bars = Bars() if source else Bars(0, 0)
    judged: dict[str, Any] = {
        "min_agreement": bars.agreement if request.min_agreement is None else request.min_agreement,
        "min_correlation": bars.correlation if request.min_correlation is None else request.min_correlation,
    }
    if request.max_accuracy_loss is not None:
        judged["max_accuracy_loss"] = request.max_accuracy_loss
    if request.labels is not None:
        judged["labels"] = read_labels(request.labels, request.calibration)[: len(calibration)]
    target, unstaged = request.target, ""
    limit = request.max_gas or LIMITS[target]
    try:
        compiled = compile_model(
            onnx, calibration, preprocess=preprocess, max_gas=limit, target=target, **judged, **options
        )
    except StageError as error:
        if request.max_gas is not None:
            raise
        compiled = compile_model(onnx, calibration, preprocess=preprocess, **judged, **options)
        unstaged = str(error)
        compiled.manifest.update(max_gas={"target": target, "gas": limit}, stages=[])
    if request.max_accuracy_loss is not None:  # the bits that were found make the same program again
        found = compiled.manifest["options"]
        options |= {name: found[name] for name in ("activation_bits", "input_bits", "lane_bits")}
    if compiled.manifest["input"]["float"]:
        options["input_range"] = compiled.manifest["options"]["input_range"]
        calibration = compiled.quantize_input(calibration)
    description = _described(request, said, compiled, preparation)
    compiled.manifest["description"] = description.to_json()
    return Prepared(
        onnx, calibration.astype(np.uint8), preprocess, options, compiled, description, source, unstaged
    )


def check(prepared: Prepared, images: int = 100, progress: Progress | None = None) -> tuple[int, int, int]:
    """Run the code in revm on calibration inputs, all-zero and all-255 ones, against ONNX Runtime.

    Returns (inputs, inputs with any score that differs, gas of the last prediction).
    """
    compiled, shape = prepared.compiled, prepared.calibration.shape[1:]
    extremes = np.stack([np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)])
    inputs = np.concatenate([extremes, prepared.calibration[:images]])
    outcome = local_program(compiled).predict_many(inputs, progress)
    exact = reference_scores(compiled.reference.SerializeToString(deterministic=True), inputs)
    return len(inputs), int((outcome.scores != exact).any(axis=1).sum()), int(outcome.gas[-1])


def local_program(compiled: CompiledModel) -> RevmProgram:
    """The program's code in revm, at addresses of its own, without a chain."""
    addresses = [f"0x{0xFED << 100 | number:040x}" for number in range(len(compiled.units))]
    *_, entry = addresses
    return RevmProgram(dict(zip(addresses, compiled.link(addresses[:-1]), strict=True)), entry)


def synthetic_calibration(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """uint8 `[128, *shape]`: random blocks of 1, 2, 4 and 8 pixels, the same each time.

    A stand-in with some of the smoothness of images; real inputs calibrate better.
    """
    generator = np.random.default_rng(0)
    samples = []
    for number in range(_SYNTHETIC):
        block = 2 ** (number % 4)
        coarse = [-(-size // block) if size > 3 else size for size in shape]
        sample = generator.integers(0, 256, coarse, dtype=np.uint8)
        for axis, size in enumerate(shape):
            if size > 3:
                sample = sample.repeat(block, axis=axis).take(range(size), axis=axis)
        samples.append(sample)
    return np.stack(samples)


def _own_description(onnx: bytes) -> Description | None:
    try:
        return read_description(onnx)
    except DescriptionError:
        return None


def _described(
    request: Request, said: Description | None, compiled: CompiledModel, preparation: Preparation
) -> Description:
    """The description from the request, else from the file; else numbers as class names and the file's name as
    title."""
    output = compiled.manifest["output"]
    named = tuple(str(name) for name in output.get("classes", ()))
    numbers = tuple(f"class {index}" for index in range(output["scores"]))
    if len(named) == len(numbers):
        numbers = named
    return Description.of(
        compiled.manifest,
        title=request.title or (said.title if said else request.model.stem),
        classes=request.classes or (said.classes if said else numbers),
        preparation=preparation,
        unit=said.input.unit if said else None,
    )


def _own_recipe(onnx: bytes) -> CompileRecipe | None:
    try:
        return read_recipe(onnx)
    except RecipeError:
        return None


def _input_shape(request: Request, own: CompileRecipe | None) -> tuple[int, ...] | None:
    """The shape of one input, as the request, the calibration or the file's own recipe has it."""
    shape = request.input_shape or (shape_of_inputs(request.calibration) if request.calibration else None)
    if shape is None and own is not None:
        return own.calibration_shape[1:]
    return shape


def _rows(request: Request, own: CompileRecipe | None, tabular: Tabular) -> tuple[NDArray[Any], str]:
    """Calibration rows of a tabular model, or their bytes from the file's own store."""
    if request.calibration is not None:
        names = [feature.name for feature in tabular.features]
        rows = read_rows(request.calibration, names, labels=request.labels)[:MAX_ROWS]
        return rows, f"{len(rows)} rows from {request.calibration}"
    if (found := _own_inputs(request, own)) is not None:
        return found
    raise UsageError(
        f"{request.model}: a tabular model needs typical rows: give a .csv, .npy or .npz file with --calibration"
    )


def _calibration(
    request: Request,
    own: CompileRecipe | None,
    shape: tuple[int, ...],
    preparation: Preparation,
    channels_last: bool,
) -> tuple[NDArray[np.generic], str]:
    if request.calibration is not None:
        inputs, notes = load_calibration(
            request.calibration, shape, preparation, channels_last=channels_last, labels=request.labels
        )
        return inputs, "; ".join([f"{len(inputs)} inputs from {request.calibration}", *notes])
    return _own_inputs(request, own) or (synthetic_calibration(shape), "")


def _own_inputs(request: Request, own: CompileRecipe | None) -> tuple[NDArray[np.uint8], str] | None:
    """The inputs that the file's own recipe names and where they are from, if the store beside it has them."""
    if own is None:
        return None
    try:
        inputs = calibration_images(open_store(DEFAULT_STORES, request.model.parent), own)
    except (RecipeError, StoreError):
        return None
    return inputs, f"{len(inputs)} inputs that the file names, from the store beside it"
