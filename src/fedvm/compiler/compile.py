"""The pipeline from an ONNX file to a program, stage by stage, and the manifest that describes the outcome."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from fedvm.compiler.canonical import canonical
from fedvm.compiler.compiled import CompiledModel, units_of
from fedvm.compiler.contract import Contract
from fedvm.compiler.defaults import (
    ACTIVATION_BITS,
    INPUT_BITS,
    OPTIMIZE,
    TARGET,
    WEIGHT_BITS,
    Optimize,
    Target,
)
from fedvm.compiler.errors import CalibrationError, CompileError
from fedvm.compiler.fidelity import check_fidelity
from fedvm.compiler.frontend import load_lowered
from fedvm.compiler.graph import Conv, FloatGraph, Input, IntegerGraph
from fedvm.compiler.input_range import to_bytes
from fedvm.compiler.kernels import conv, dense
from fedvm.compiler.layer_fit import EXACT_BITS
from fedvm.compiler.layout import ConvPlan, LayerPlan, Plan, plan_layers
from fedvm.compiler.link import Program, link, measured_steps
from fedvm.compiler.moves import prove_moves
from fedvm.compiler.policy import activation_budget, lane_budget
from fedvm.compiler.quality import Bars, as_labels, check_quality
from fedvm.compiler.quantize import QuantizeOptions, quantize
from fedvm.compiler.reference import build_reference
from fedvm.compiler.scanner import UNLINKED, scan
from fedvm.compiler.stages import Stage, link_stages
from fedvm.compiler.steps import Measurer
from fedvm.compiler.transactions import call_gas
from fedvm.compiler.verify import verify
from fedvm.compiler.version import COMPILER_VERSION
from fedvm.evm.creation import creation_gas
from fedvm.evm.keccak import keccak

FORMAT = 1
Numbers = float | Sequence[float]
Range = tuple[Numbers, Numbers]


@dataclass(frozen=True)
class CompileOptions:
    """How to compile; each field as `compile_model` takes it. bars: its min_agreement and min_correlation."""

    weight_bits: int = WEIGHT_BITS[OPTIMIZE]
    activation_bits: Mapping[str, int] | int = ACTIVATION_BITS
    input_bits: int = INPUT_BITS
    lane_bits: Mapping[str, int] | int | None = None
    preprocess: tuple[Numbers, Numbers] | None = None
    input_range: Range | None = None
    optimize: Optimize = OPTIMIZE
    max_gas: int | None = None
    target: Target = TARGET
    verify: bool = True
    bars: Bars = field(default_factory=Bars)

    def __post_init__(self) -> None:
        for name, value, kind in (("optimize", self.optimize, Optimize), ("target", self.target, Target)):
            if value not in get_args(kind):
                raise CompileError(f"{name} is {value!r}; choose {' or '.join(get_args(kind))}")
        gas = self.max_gas
        if gas is not None and (not isinstance(gas, int) or isinstance(gas, bool) or gas < 1):
            raise CompileError(
                f"max_gas is {gas!r}: give the gas that a transaction may take, a whole number, or None for no limit"
            )


def compile_model(
    model: str | Path | bytes | onnx.ModelProto,
    calibration: NDArray[Any],
    *,
    preprocess: tuple[Numbers, Numbers] | None = None,
    input_range: Range | None = None,
    weight_bits: int | None = None,
    activation_bits: Mapping[str, int] | int = ACTIVATION_BITS,
    input_bits: int = INPUT_BITS,
    lane_bits: Mapping[str, int] | int | None = None,
    optimize: Optimize = OPTIMIZE,
    max_gas: int | None = None,
    target: Target = TARGET,
    verify: bool = True,
    labels: Sequence[int] | NDArray[Any] | None = None,
    min_agreement: float = Bars.agreement,
    min_correlation: float = Bars.correlation,
) -> CompiledModel:
    """Compile an ONNX classifier to EVM bytecode that computes exactly its integer reference.

    model: the ONNX file, as a path, bytes or a parsed model.
    calibration: typical inputs `[N, *input_shape]`, N ≥ 1. uint8: the bytes that the contract will take. Any other
    real dtype without `preprocess`: the real numbers that the model takes; each byte then divides a range, see
    `input_range`. With `preprocess` the values must be whole numbers 0 … 255.
    preprocess: (scale, offset) if the model expects scale·q + offset for the byte q; each a number, or one number per
    channel.
    input_range: (low, high), the real numbers that the bytes 0 and 255 stand for; each a number, or one number per
    channel. By default the ranges come from the calibration data (`input_range.py`).
    weight_bits: bits of every weight, 2 … 8; None is 8, or 6 with `optimize="deploy"`.
    activation_bits: bits of layer outputs, one number or by layer name; 4 or 5 cost much less gas than 6 and little
    accuracy.
    input_bits: how many top bits of each input byte the network sees.
    lane_bits: upper bound on the bits of a layer's sums, one number or by layer name. None chooses the bound that is
    cheap for each layer's shape and activation bits.
    optimize: "run" for little gas per prediction, "deploy" for small contracts (weights as data, loops instead of
    repeated code).
    max_gas, target: the gas that a transaction may take, in EVM gas, or in Filecoin gas with target="filecoin". If a
    call with the dearest input takes more, the program is also emitted as stages. Each stage fits into one transaction
    of InferenceSession.sol, which keeps the state in between. The scores are the same to the bit.
    verify: run the finished program against its reference (`verify.py`). Pass False only to compile the same file
    again and compare the hashes of the code.
    labels: int `[N]`, the class of each calibration input, counted from 0; the manifest then holds the accuracy too.
    min_agreement, min_correlation: what the integers must reach in comparison with the network on calibration inputs
    that they were not fitted to (`quality.py`); 0 accepts any result.

    Raises:
        CompileError: the model cannot be compiled as asked. Its subclasses are ModelError, UnsupportedOperator,
            CalibrationError, FidelityError, QualityError, RangeError and StageError.
        CompilerDefect: the compiler found itself to be wrong (AssemblyError, ExactnessError).
    """
    if weight_bits is None:
        weight_bits = WEIGHT_BITS.get(optimize, WEIGHT_BITS[OPTIMIZE])  # another aim is refused below
    bars, classes = Bars(min_agreement, min_correlation), as_labels(labels)
    options = CompileOptions(
        weight_bits,
        activation_bits,
        input_bits,
        lane_bits,
        preprocess,
        input_range,
        optimize,
        max_gas,
        target,
        verify,
        bars,
    )
    how = QuantizeOptions(
        weight_bits, activation_bits, EXACT_BITS if lane_bits is None else lane_bits, input_bits=input_bits
    )
    graph, data, options = _lowered(model, calibration, options)
    options = _with_budgets(graph, options)
    assert options.lane_bits is not None, "every layer has lanes"
    how = replace(how, activation_bits=options.activation_bits, lane_bits=options.lane_bits)
    integer = quantize(graph, data, how)
    quality = check_quality(graph, integer, data, how, bars, classes)
    compiled = compile_integer(integer, source=_digest(model), options=options, calibration=data)
    compiled.manifest["quality"] = quality.manifest()
    return compiled


def _lowered(
    model: str | Path | bytes | onnx.ModelProto, calibration: NDArray[Any], options: CompileOptions
) -> tuple[FloatGraph, NDArray[np.uint8], CompileOptions]:
    """The float layers, checked against the file; the calibration data as bytes; the options with the range found."""
    data = _as_array(calibration)
    real = data.dtype != np.uint8 and options.preprocess is None
    if real:
        _check_numbers(data)
    lowered = load_lowered(
        model,
        preprocess=options.preprocess,
        input_range=options.input_range,
        samples=data if real and options.input_range is None else None,
        input_bits=options.input_bits,
    )
    spec = lowered.graph.input
    if spec.float_input:  # the range that was found, for compiling the file again
        options = replace(options, input_range=(spec.offset.tolist(), spec.high.tolist()))
    data = _as_bytes(spec, data)
    check_fidelity(lowered, data)
    return lowered.graph, data, options


def _with_budgets(graph: FloatGraph, options: CompileOptions) -> CompileOptions:
    """The options with bits of outputs and lanes for every layer, where none were asked for."""
    outputs, budget = options.activation_bits, options.lane_bits
    if budget is None:
        most = max(outputs.values(), default=8) if isinstance(outputs, Mapping) else outputs
        budget = lane_budget(graph, most, options.input_bits, options.weight_bits, options.optimize)
    if not isinstance(outputs, Mapping):
        outputs = activation_budget(graph, outputs)
    return replace(options, activation_bits=outputs, lane_bits=budget)


def compile_integer(
    integer: IntegerGraph,
    *,
    source: str = "",
    options: CompileOptions | None = None,
    calibration: NDArray[np.uint8] | None = None,
) -> CompiledModel:
    """Compile an integer graph as it stands.

    Of `options` only `optimize`, `max_gas` and `target` shape the program; the rest is recorded in the manifest.
    source: sha256 of the ONNX file in hexadecimal, for the manifest. calibration: uint8 `[N, *input_shape]`.

    Raises:
        CompileError, CompilerDefect: as `compile_model`.
    """
    options = options or CompileOptions()
    reference = build_reference(integer)
    plan = plan_layers(canonical(integer), options.optimize)
    prove_moves(plan)
    measure = Measurer(plan)
    steps = measured_steps(plan, measure)
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
    return call_gas(target, program.gas, program.filecoin, math.prod(graph.input.shape))


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
        raise CalibrationError("with preprocess the model takes bytes: give whole numbers 0..255")
    return data.astype(np.uint8)


def _digest(model: str | Path | bytes | onnx.ModelProto) -> str:
    if isinstance(model, onnx.ModelProto):
        data = model.SerializeToString(deterministic=True)
    else:
        data = model if isinstance(model, bytes) else Path(model).read_bytes()
    return hashlib.sha256(data).hexdigest()


# -- manifest ---------------------------------------------------------------------------------------------------------


def _manifest(
    graph: IntegerGraph, plan: Plan, program: Program, reference: onnx.ModelProto, source: str,
    options: CompileOptions, calibration: NDArray[np.uint8] | None,
) -> dict[str, Any]:  # fmt: skip
    spec, last = graph.input, graph.layers[-1]
    layers = [_layer_row(p, program) for p in plan.layers]
    total_macs = sum(row["macs"] for row in layers)
    rows = [
        _section_row("input", program),
        *layers,
        *(_section_row(n, program) for n in ("calls", "scores", "entry")),
    ]
    overhead = program.gas - sum(row["gas"] for row in rows)
    rows.append({**_section_row("", program), "name": "memory and calls of parts", "gas": overhead})
    for row in rows:
        row["share"] = row["gas"] / program.gas
    return {
        "format": FORMAT,
        "compiler": COMPILER_VERSION,
        "source_sha256": source,
        "calibration_sha256": hashlib.sha256(calibration.tobytes()).hexdigest()
        if calibration is not None
        else "",
        "calibration_samples": len(calibration) if calibration is not None else 0,
        "options": {
            "weight_bits": options.weight_bits,
            "activation_bits": _plain(options.activation_bits),
            "input_bits": options.input_bits,
            "lane_bits": _plain(options.lane_bits),
            "preprocess": _plain(options.preprocess),
            "input_range": _plain(options.input_range),
            "optimize": options.optimize,
            "min_agreement": options.bars.agreement,
            "min_correlation": options.bars.correlation,
        },
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
        "output": {
            "scores": int(np.prod(last.shape)),
            "scale": np.broadcast_to(last.scale, last.shape[:1]).tolist(),
            "head": graph.head,
        },
        "gas": {
            "evm": program.gas,
            "classify": program.classify_gas,
            "filecoin": _call_gas(graph, program, "filecoin"),
            "transaction": _call_gas(graph, program, "ethereum"),
            "deploy": sum(creation_gas(c.code) for c in program.contracts),
            "per_mac": program.gas / max(1, total_macs),
        },
        "macs": total_macs,
        "code_bytes": sum(len(c.code) for c in program.contracts),
        "layers": rows,
        "contracts": _contract_rows(program.contracts),
        "notes": list(graph.notes),
    }


def _contract_rows(contracts: Sequence[Contract]) -> list[dict[str, Any]]:
    return [
        {
            "name": c.name,
            "bytes": len(c.code),
            "code_hash": "0x" + keccak(c.code).hex(),
            "links": {symbol: list(at) for symbol, at in c.symbols.items()},
            "memory_bytes": c.memory_bytes,
        }
        for c in contracts
    ]


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
        "contracts": _contract_rows(linked.contracts),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(v) for v in value]
    return float(value) if isinstance(value, np.floating) else value


def _section_row(name: str, program: Program) -> dict[str, Any]:
    """The cost of one section in all contracts."""
    sections = [c.sections[name] for c in program.contracts if name in c.sections]
    filecoin = sum(s.filecoin for s in sections)
    return {
        "name": name,
        "op": "",
        "shape": [],
        "macs": 0,
        "lanes": 0,
        "L": 0,
        "opcodes": sum(sum(s.counts.values()) for s in sections),
        "gas": sum(s.gas for s in sections),
        "filecoin": round(filecoin),
        "bytes": sum(s.code_bytes for s in sections),
        "share": 0.0,
    }


def _layer_row(plan: LayerPlan, program: Program) -> dict[str, Any]:
    is_conv = isinstance(plan, ConvPlan)
    macs = conv.macs(plan) if isinstance(plan, ConvPlan) else dense.macs(plan)
    op = "conv" if is_conv else "dense"
    if is_conv and all(isinstance(t, Conv) and t.groups == plan.layer.shape[0] for t in plan.layer.terms):
        op = "depthwise"
    if plan.layer.pool is not None:
        op += "+pool"
    return {
        **_section_row(plan.layer.name, program),
        "op": op,
        "shape": list(plan.layer.shape),
        "macs": macs,
        "lanes": plan.lanes,
        "L": plan.lane_bits,
    }
