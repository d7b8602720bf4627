"""The pipeline from an ONNX file to a program, stage by stage, and the manifest that describes the outcome."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from fedvm.compiler.bit_search import choose_bits
from fedvm.compiler.compiled import CompiledModel, units_of
from fedvm.compiler.defaults import (
    ACTIVATION_BITS,
    INPUT_BITS,
    OPTIMIZE,
    PRODUCT_ACTIVATION_BITS,
    TABULAR_ACTIVATION_BITS,
    TARGET,
    WEIGHT_BITS,
    Optimize,
    Target,
)
from fedvm.compiler.errors import CalibrationError, CompileError
from fedvm.compiler.fidelity import check_fidelity
from fedvm.compiler.forest.compile import compile_forest
from fedvm.compiler.frontend import load_lowered
from fedvm.compiler.frontend.bundle import self_contained
from fedvm.compiler.frontend.tabular.ensemble import Votes
from fedvm.compiler.frontend.tabular.read import Tabular
from fedvm.compiler.graph import SQUARE, Conv, FloatGraph, Input, IntegerGraph
from fedvm.compiler.input_range import to_bytes
from fedvm.compiler.interpreter import scores_shape
from fedvm.compiler.kernels import conv, dense
from fedvm.compiler.layer_fit import EXACT_BITS
from fedvm.compiler.layout import ConvPlan, LayerPlan, Plan
from fedvm.compiler.link import Program, link
from fedvm.compiler.manifest import FORMAT, contract_rows, options_row, output_row, section_row, section_rows
from fedvm.compiler.options import CompileOptions, Numbers, Range
from fedvm.compiler.planning import plan_network
from fedvm.compiler.policy import activation_budget, lane_budget, weight_budget
from fedvm.compiler.quality import Bars, as_labels, check_quality
from fedvm.compiler.quantize import QuantizeOptions, quantize
from fedvm.compiler.reference import build_reference
from fedvm.compiler.scanner import UNLINKED, scan
from fedvm.compiler.stages import Stage, link_stages
from fedvm.compiler.tabular import Model, describe_network, networked, tabular_model
from fedvm.compiler.transactions import call_gas
from fedvm.compiler.verify import verify
from fedvm.compiler.version import COMPILER_VERSION
from fedvm.evm.creation import creation_gas
from fedvm.evm.gas import creation_filecoin


def compile_model(
    model: str | Path | bytes | onnx.ModelProto,
    calibration: NDArray[Any],
    *,
    preprocess: tuple[Numbers, Numbers] | None = None,
    input_range: Range | None = None,
    weight_bits: Mapping[str, int] | int | None = None,
    activation_bits: Mapping[str, int] | int | None = None,
    input_bits: int = INPUT_BITS,
    lane_bits: Mapping[str, int] | int | None = None,
    optimize: Optimize = OPTIMIZE,
    max_gas: int | None = None,
    target: Target = TARGET,
    verify: bool = True,
    output: str | None = None,
    labels: Sequence[int] | NDArray[Any] | None = None,
    min_agreement: float = Bars.agreement,
    min_correlation: float = Bars.correlation,
    max_accuracy_loss: float | None = None,
) -> CompiledModel:
    """Compile an ONNX classifier to EVM bytecode that computes exactly its integer reference.

    model: the ONNX file as a path (weights beside it are read, too), bytes or a parsed model.
    calibration: typical inputs `[N, *input_shape]`, N ≥ 1; of a tabular model rows `[N, features]`, an array of objects
    if some features are text. uint8: the bytes that the contract will take. Any other
    real dtype without `preprocess`: the real numbers that the model takes; each byte then divides a range, see
    `input_range`. With `preprocess` the values must be whole numbers 0 … 255.
    preprocess: (scale, offset) if the model expects scale·q + offset for the byte q; each a number, or one number per
    channel.
    input_range: (low, high), the real numbers that the bytes 0 and 255 stand for; each a number, or one number per
    channel. By default the ranges come from the calibration data (`input_range.py`).
    weight_bits: bits of every weight, 2 … 8, one number or by layer name. None is 8; with `optimize="deploy"` it is 6,
    and 5 in dense layers of 4,096 weights or more.
    activation_bits: bits of layer outputs, one number or by layer name; 4 or 5 cost much less gas than 6 and little
    accuracy. None is 6, or 8 for tabular models.
    input_bits: how many top bits of each input byte the network sees.
    lane_bits: upper bound on the bits of a layer's sums, one number or by layer name. None chooses the bound that is
    cheap for each layer's shape and activation bits.
    optimize: "run" for little gas per prediction, "deploy" for small contracts (weights as data, loops instead of
    repeated code).
    max_gas, target: the gas that a transaction may take, in EVM gas, or in Filecoin gas with target="filecoin". If a
    call with the dearest input takes more, the program is also emitted as stages. Each stage fits into one transaction
    of InferenceSession.sol, which keeps the state in between. The scores are the same to the bit.
    verify: run the finished program against its reference (`verify.py`). Pass False only to compile the same file
    again and compare the hashes of the code. output: the name of the output to compile, where the file has several.
    labels: int `[N]`, the class of each calibration input, counted from 0; the manifest then holds the accuracy too.
    min_agreement, min_correlation: what the integers must reach in comparison with the network on calibration inputs
    that they were not fitted to (`quality.py`); 0 accepts any result.
    max_accuracy_loss: points of accuracy that may be lost for less gas, with labelled calibration inputs: bits of the
    input, outputs and lanes are chosen, from those given or the defaults down (`bit_search.py`). None: they stay.

    Raises:
        CompileError: the model cannot be compiled as asked. Its subclasses are ModelError, UnsupportedOperator,
            CalibrationError, FidelityError, QualityError, RangeError and StageError.
        CompilerDefect: the compiler found itself to be wrong (AssemblyError, ExactnessError).
    """
    file = self_contained(model)
    digest = hashlib.sha256(file).hexdigest()
    data, tabular = _as_array(calibration), tabular_model(file, output)
    chosen = activation_bits is None
    if activation_bits is None:
        activation_bits = ACTIVATION_BITS if tabular is None else TABULAR_ACTIVATION_BITS
    bars, classes = Bars(min_agreement, min_correlation), as_labels(labels)
    options = CompileOptions(
        weight_bits, activation_bits, input_bits, lane_bits, preprocess, input_range, optimize, max_gas, target, verify,
        output, bars, max_accuracy_loss,
    )  # fmt: skip
    if tabular is not None and isinstance(tabular.model, Votes):
        if max_accuracy_loss is not None:
            raise CompileError("trees have no bits to choose; leave max_accuracy_loss out")
        return compile_forest(tabular, tabular.model, data, options, classes, digest)
    return _compile_network(file, tabular, data, options, classes, digest, chosen)


def _compile_network(
    file: bytes,
    tabular: Tabular | None,
    calibration: NDArray[Any],
    options: CompileOptions,
    labels: NDArray[np.int64] | None,
    source: str,
    chosen: bool,
) -> CompiledModel:
    """Compile a network, be it that of a tabular model or not. chosen: whether the bits of activations are the
    compiler's choice."""
    lane_bits = EXACT_BITS if options.lane_bits is None else options.lane_bits
    how = QuantizeOptions(
        WEIGHT_BITS[options.optimize] if options.weight_bits is None else options.weight_bits,
        options.activation_bits, lane_bits, input_bits=options.input_bits,
    )  # fmt: skip
    network, data = networked(file, tabular, calibration)
    graph, data, options = _lowered(network, data, options, options.output if tabular is None else None)
    if chosen and any(layer.activation is SQUARE for layer in graph.layers):
        options = replace(options, activation_bits=PRODUCT_ACTIVATION_BITS)
    options = _with_budgets(graph, options)
    assert options.lane_bits is not None and options.weight_bits is not None, "every layer has bits"
    how = replace(
        how,
        weight_bits=options.weight_bits,
        activation_bits=options.activation_bits,
        lane_bits=options.lane_bits,
    )
    choice = None
    if options.max_accuracy_loss is not None:
        choice = choose_bits(graph, data, labels, how, options.max_accuracy_loss)
        bits = choice.bits
        options = replace(
            options, input_bits=bits.input_bits, activation_bits=bits.outputs, lane_bits=bits.lanes
        )
        how = replace(how, input_bits=bits.input_bits, activation_bits=bits.outputs, lane_bits=bits.lanes)
    integer = quantize(graph, data, how)
    quality = check_quality(graph, integer, data, how, options.bars, labels)
    compiled = compile_integer(integer, source=source, options=options, calibration=data)
    compiled.manifest["quality"] = quality.manifest()
    if choice is not None and options.max_accuracy_loss is not None:
        compiled.manifest["search"] = choice.manifest(options.max_accuracy_loss)
    if tabular is not None:
        describe_network(compiled.manifest, tabular, calibration)
    return compiled


def _lowered(
    model: Model, data: NDArray[Any], options: CompileOptions, output: str | None
) -> tuple[FloatGraph, NDArray[np.uint8], CompileOptions]:
    """The float layers, checked against the file; the calibration data as bytes; the options with the range found.

    output: the name of the model's output to take, where there are several.
    """
    real = data.dtype != np.uint8 and options.preprocess is None
    if real:
        _check_numbers(data)
    lowered = load_lowered(
        model,
        preprocess=options.preprocess,
        input_range=options.input_range,
        samples=data if real and options.input_range is None else None,
        input_bits=options.input_bits,
        output=output,
        input_shape=data.shape[1:] if data.ndim > 1 else None,
        probe=data,
    )
    spec = lowered.graph.input
    if spec.float_input:  # the range that was found, for compiling the file again
        options = replace(options, input_range=(spec.offset.tolist(), spec.high.tolist()))
    data = _as_bytes(spec, data)
    check_fidelity(lowered, data)
    return lowered.graph, data, options


def _with_budgets(graph: FloatGraph, options: CompileOptions) -> CompileOptions:
    """The options with bits of weights, outputs and lanes for every layer, where none were asked for."""
    weights, outputs, budget = options.weight_bits, options.activation_bits, options.lane_bits
    if weights is None:
        weights = weight_budget(graph, options.optimize)
    if budget is None:
        most = max(outputs.values(), default=8) if isinstance(outputs, Mapping) else outputs
        largest = max(weights.values(), default=8) if isinstance(weights, Mapping) else weights
        budget = lane_budget(graph, most, options.input_bits, largest, options.optimize)
    if not isinstance(outputs, Mapping):
        outputs = activation_budget(graph, outputs)
    return replace(options, weight_bits=weights, activation_bits=outputs, lane_bits=budget)


def compile_integer(
    integer: IntegerGraph,
    *,
    source: str = "",
    options: CompileOptions | None = None,
    calibration: NDArray[np.uint8] | None = None,
) -> CompiledModel:
    """Compile an integer graph as it stands.

    Of `options` only `optimize`, `max_gas` and `target` shape the program; the rest is recorded in the manifest.
    source: sha256 of the ONNX file, weights included, in hexadecimal, for the manifest. calibration: uint8
    `[N, *input_shape]`.

    Raises:
        CompileError, CompilerDefect: as `compile_model`.
    """
    options = options or CompileOptions()
    reference = build_reference(integer)
    planned = plan_network(integer, options.optimize)
    plan, steps, measure = planned.plan, planned.steps, planned.measure
    program = link(plan, steps, measure)
    stages: tuple[Stage, ...] = ()
    if options.max_gas is not None and _call_gas(integer, program, options.target) > options.max_gas:
        stages = link_stages(plan, steps, measure, options.max_gas, options.target)
    everything = [*program.contracts, *(c for stage in stages for c in stage.linked.contracts)]
    for contract in everything:
        scan(contract.code, parts=(UNLINKED,))
    listing = "".join(f";; ==== {c.name}: {len(c.code)} bytes\n{c.listing}\n" for c in everything)
    manifest = _manifest(integer, plan, program, reference, source, options, calibration)
    if options.max_gas is not None:
        manifest["max_gas"] = {"target": options.target, "gas": options.max_gas}
        manifest["stages"] = [_stage_row(stage) for stage in stages]
    compiled = CompiledModel(
        reference,
        manifest,
        units_of(program.contracts),
        listing,
        tuple(units_of(stage.linked.contracts) for stage in stages),
    )
    if options.verify:
        verify(compiled, integer, plan, calibration)
    return compiled


def _call_gas(graph: IntegerGraph, program: Program, target: Target) -> int:
    """Gas of a transaction that asks for the whole prediction, with the dearest input."""
    scores = math.prod(graph.layers[-1].shape)
    return call_gas(target, program.gas, program.filecoin, math.prod(graph.input.shape), scores)


def _as_array(calibration: Any) -> NDArray[Any]:
    try:
        return np.asarray(calibration)
    except (TypeError, ValueError) as error:  # rows of different lengths
        raise CalibrationError(f"calibration data is no array: {error}") from error


def _check_numbers(data: NDArray[Any]) -> None:
    if data.dtype.kind not in "fiu":
        raise CalibrationError(f"calibration data is {data.dtype}; give uint8 or float32")
    if data.size == 0 or not np.isfinite(data).all():
        raise CalibrationError(
            "calibration data must hold finite numbers; it is empty or has NaN or infinity"
        )


def _as_bytes(spec: Input, data: NDArray[Any]) -> NDArray[np.uint8]:
    """Calibration data as the bytes that clients would send."""
    if data.ndim < 2 or data.shape[1:] != spec.onnx_shape or not len(data):
        raise CalibrationError(
            f"calibration data has shape {list(data.shape)}; give at least one sample as "
            f"[N, {', '.join(map(str, spec.onnx_shape))}]"
        )
    if data.dtype == np.uint8:
        return np.ascontiguousarray(data)
    _check_numbers(data)
    if spec.float_input:
        return to_bytes(data, spec.layout, spec.shape, spec.scale, spec.offset)
    if data.min() < 0 or data.max() > 255 or np.any(data != np.rint(data)):
        raise CalibrationError(
            "the model takes bytes (its input is uint8, or preprocess says so): give 0..255"
        )
    return data.astype(np.uint8)


# -- manifest ---------------------------------------------------------------------------------------------------------


def _manifest(
    graph: IntegerGraph, plan: Plan, program: Program, reference: onnx.ModelProto, source: str,
    options: CompileOptions, calibration: NDArray[np.uint8] | None,
) -> dict[str, Any]:  # fmt: skip
    spec, last = graph.input, graph.layers[-1]
    layers = [_layer_row(p, program, _in_file(plan, p, spec)) for p in plan.layers]
    total_macs = sum(row["macs"] for row in layers)
    rows = section_rows(layers, program)
    return {
        "format": FORMAT,
        "compiler": COMPILER_VERSION,
        "source_sha256": source,
        "calibration_sha256": hashlib.sha256(calibration.tobytes()).hexdigest()
        if calibration is not None
        else "",
        "calibration_samples": len(calibration) if calibration is not None else 0,
        "options": options_row(options),
        "reference_sha256": hashlib.sha256(reference.SerializeToString(deterministic=True)).hexdigest(),
        "input": {
            "shape": list(spec.onnx_shape),
            "layout": spec.layout,
            "bytes": int(np.prod(spec.onnx_shape)),
            "float": spec.float_input,
            "scale": np.broadcast_to(spec.scale, spec.shape[:1]).tolist(),
            "offset": np.broadcast_to(spec.offset, spec.shape[:1]).tolist(),
            "tensor": list(spec.shape),
        },
        "output": output_row(
            last.shape,
            np.broadcast_to(last.scale, last.shape[:1]).tolist(),
            graph.head,
            graph.scores.order,
            graph.scores.shape or scores_shape(graph),
            graph.scores.axis,
        ),
        "gas": {
            "evm": program.gas,
            "classify": program.classify_gas,
            "filecoin": _call_gas(graph, program, "filecoin"),
            "transaction": _call_gas(graph, program, "ethereum"),
            "deploy": sum(creation_gas(c.code) for c in program.contracts),
            "deploy_filecoin": sum(creation_filecoin(len(c.code)) for c in program.contracts),
            "per_mac": program.gas / max(1, total_macs),
        },
        "macs": total_macs,
        "lanes_along": "width" if plan.graph.input.layout == spec.layout else "height",
        "code_bytes": sum(len(c.code) for c in program.contracts),
        "layers": rows,
        "contracts": contract_rows(program.contracts),
        "kept": {layer.name: layer.kept for layer in graph.layers if layer.kept is not None},
        "notes": list(graph.notes),
    }


def _stage_row(stage: Stage) -> dict[str, Any]:
    """transaction: gas limit of the transaction that runs it and keeps the state, in the unit of the target."""
    linked = stage.linked
    return {
        "name": linked.entry.name,
        "layers": list(stage.layers),
        "takes": stage.takes,
        "gives": stage.gives,
        "gas": linked.gas,
        "need": linked.need,
        "filecoin": linked.filecoin,
        "transaction": stage.transaction,
        "deploy": sum(creation_gas(c.code) for c in linked.contracts),
        "contracts": contract_rows(linked.contracts),
    }


def _in_file(plan: Plan, layer: LayerPlan, spec: Input) -> list[int]:
    """(C, H, W) of a layer's output, in the file's axes."""
    channels, height, width = layer.layer.shape
    return [channels, height, width] if plan.graph.input.layout == spec.layout else [channels, width, height]


def _layer_row(plan: LayerPlan, program: Program, shape: list[int]) -> dict[str, Any]:
    is_conv = isinstance(plan, ConvPlan)
    macs = conv.macs(plan) if isinstance(plan, ConvPlan) else dense.macs(plan)
    op = "conv" if is_conv else "dense"
    if is_conv and all(isinstance(t, Conv) and t.groups == plan.layer.shape[0] for t in plan.layer.terms):
        op = "depthwise"
    if plan.layer.pool is not None:
        op += "+pool"
    if plan.layer.table is not None:
        op += "+table"
    return {
        **section_row(plan.layer.name, program),
        "op": op,
        "shape": shape,
        "macs": macs,
        "lanes": plan.lanes,
        "L": plan.lane_bits,
    }
