"""From an ensemble of trees to a program, its reference and its manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from fedvm.compiler.compiled import CompiledModel, units_of
from fedvm.compiler.encoding import row_of_forest
from fedvm.compiler.errors import CalibrationError, QualityError, StageError
from fedvm.compiler.forest.cuts import Ranked, of_bytes, ranked
from fedvm.compiler.forest.integer import Branch, IntegerForest, encode_slots
from fedvm.compiler.forest.leaves import integer_forest
from fedvm.compiler.forest.link import link_forest
from fedvm.compiler.forest.reference import build_reference
from fedvm.compiler.frontend.tabular.check import check_rows
from fedvm.compiler.frontend.tabular.ensemble import Votes
from fedvm.compiler.frontend.tabular.read import Tabular
from fedvm.compiler.frontend.tabular.run import precision_of
from fedvm.compiler.graph import FloatArray
from fedvm.compiler.link import Program
from fedvm.compiler.manifest import FORMAT, contract_rows, options_row, output_row, section_row, section_rows
from fedvm.compiler.options import CompileOptions
from fedvm.compiler.probe import probe_inputs
from fedvm.compiler.quality import Bars, Measured, Quality, check_labels, compare, concordance
from fedvm.compiler.scanner import UNLINKED, scan
from fedvm.compiler.transactions import call_gas
from fedvm.compiler.verify import check_scores, probes
from fedvm.compiler.version import COMPILER_VERSION
from fedvm.evm.creation import creation_gas
from fedvm.evm.gas import creation_filecoin

SEED = 5


def compile_forest(
    tabular: Tabular,
    votes: Votes,
    calibration: NDArray[Any],
    options: CompileOptions,
    labels: NDArray[np.int64] | None,
    source: str,
) -> CompiledModel:
    """Compile the ensemble of a tabular model.

    calibration: rows `[N, features]`; or uint8: the bytes that the contract takes. These are the features' own values,
    or with `options.input_range` ranks that were made before. labels, source: as in `compile_model`.

    Raises:
        CompileError, CompilerDefect: as `compile_model`.
    """
    if options.preprocess is not None:
        calibration = _whole(calibration)
    by_rank = calibration.dtype != np.uint8 or options.input_range is not None
    found, data, rows = _input(tabular, votes, calibration, options, by_rank=by_rank)
    forest = integer_forest(found, votes)
    real = _real_scores(found, votes, forest, data)
    agreement = None if rows is None else check_rows(tabular, rows, real, votes.head)
    classes = bool(tabular.outputs.classes) and len(forest.scores) > 1
    quality = _quality(forest, data, real, options.bars, labels if classes or labels is not None else False)
    meaning = _meaning(tabular, forest, options, by_rank=by_rank)
    reference = build_reference(forest, meaning)
    program = link_forest(forest)
    for contract in program.contracts:
        scan(contract.code, parts=(UNLINKED,))
    listing = "".join(f";; ==== {c.name}: {len(c.code)} bytes\n{c.listing}\n" for c in program.contracts)
    manifest = _manifest(tabular, forest, program, reference, source, options, meaning, data)
    manifest["quality"] = quality.manifest() | {"label_agreement": agreement}
    if options.max_gas is not None:
        gas = manifest["gas"]["filecoin" if options.target == "filecoin" else "transaction"]
        if gas > options.max_gas:
            raise StageError(
                f"a prediction takes {gas:,} gas and the limit is {options.max_gas:,}; trees are not cut into stages: "
                "raise max_gas, or use fewer or shallower trees"
            )
        manifest["max_gas"] = {"target": options.target, "gas": options.max_gas}
        manifest["stages"] = []
    compiled = CompiledModel(reference, manifest, units_of(program.contracts), listing)
    if options.verify:
        inputs = np.concatenate([probe_inputs((forest.size,), data, probes(compiled)), _edges(forest)])
        check_scores(
            compiled, inputs, forest.run(inputs), in_reference=lambda _: "trees", in_program=lambda _: "trees"
        )
    return compiled


def _input(
    tabular: Tabular, votes: Votes, calibration: NDArray[Any], options: CompileOptions, *, by_rank: bool
) -> tuple[Ranked, NDArray[np.uint8], NDArray[Any] | None]:
    """The ensemble over the program's input, the calibration data as that input, and as rows if they are known."""
    if not len(calibration):
        raise CalibrationError("there are no calibration rows; give some typical ones")
    if not by_rank:
        count = len(tabular.features)
        scale, offset = (
            np.broadcast_to(np.asarray(v, np.float64), (count,)) for v in options.preprocess or (1.0, 0.0)
        )
        found = of_bytes(tabular, votes, scale, offset)
        _require_width(calibration, found.size)
        return found, np.ascontiguousarray(calibration), calibration * scale + offset
    if calibration.dtype == np.uint8:
        found = ranked(tabular, votes)
        if calibration.shape[1:] != (found.size,):
            found = ranked(tabular, votes, missing=True)
        _require_width(calibration, found.size)
        return found, np.ascontiguousarray(calibration), None
    columns = tabular.encode(calibration, missing=True)
    found = ranked(tabular, votes, missing=bool(np.isnan(columns).any()))
    return found, encode_slots(found.slots, found.size, columns, precision_of(tabular.proto)), calibration


def _whole(data: NDArray[Any]) -> NDArray[np.uint8]:
    """Calibration data as bytes. Raises CalibrationError unless it is whole numbers 0..255."""
    if (
        data.dtype.kind not in "fiu"
        or data.size == 0
        or data.min() < 0
        or data.max() > 255
        or np.any(data % 1)
    ):
        raise CalibrationError("with preprocess the model takes bytes: give whole numbers 0..255")
    return data.astype(np.uint8)


def _require_width(data: NDArray[Any], size: int) -> None:
    if data.ndim != 2 or data.shape[1] != size:
        raise CalibrationError(f"the bytes have the shape {list(data.shape)}; the program takes [N, {size}]")


def _real_scores(found: Ranked, votes: Votes, forest: IntegerForest, data: NDArray[np.uint8]) -> FloatArray:
    """The file's scores `[N, K]`, before its last function, in float64."""
    sums = found.ensemble.run(forest.slot_values(data).astype(np.float64))
    result: FloatArray = sums @ votes.matrix.T + votes.bias
    return result


def _quality(
    forest: IntegerForest,
    data: NDArray[np.uint8],
    real: FloatArray,
    bars: Bars,
    labels: NDArray[np.int64] | Literal[False] | None,
) -> Quality:
    """The integers compared with the trees. All inputs count as held back: leaves are not fitted to them."""
    if labels is not False:
        check_labels(len(forest.scores), len(data), labels)
    held: FloatArray = forest.run(data).astype(np.float64) * forest.scale
    likeness = concordance(real, held)
    measured = compare(real, held, {"trees": likeness}, likeness, labels)
    if measured.falls_short(bars):
        raise QualityError(_refusal(measured, bars))
    return Quality(len(data), measured, measured)


def _refusal(measured: Measured, bars: Bars) -> str:
    agreement = measured.decided_agreement
    return (
        f"the integers have the trees' class in {'no' if agreement is None else f'{agreement:.1%} of the'} decided "
        f"inputs (bar {bars.agreement:.1%}) and scores that correlate by {measured.correlation} "
        f"(bar {bars.correlation}). Use fewer trees, or lower min_agreement and min_correlation to take the program as "
        "it is"
    )


def _edges(forest: IntegerForest) -> NDArray[np.uint8]:
    """Inputs at and beside the thresholds of the trees, drawn at random, one in eight far from them."""
    rng = np.random.default_rng(SEED)
    codes: list[list[int]] = [[0] for _ in forest.slots]
    for tree in forest.trees:
        for node in tree:
            if isinstance(node, Branch):
                codes[node.slot] += [max(0, node.code), node.code + 1]
    rows = np.zeros((64, forest.size), np.uint8)
    for number, slot in enumerate(forest.slots):
        values = np.minimum(rng.choice(np.array(codes[number]), len(rows)), slot.high)
        values = np.where(rng.random(len(rows)) < 1 / 8, rng.integers(0, slot.high + 1, len(rows)), values)
        if slot.bytes == 2:
            rows[:, slot.at], rows[:, slot.at + 1] = values >> 8, values & 255
        else:
            rows[:, slot.at] = values
    return rows


def _meaning(
    tabular: Tabular, forest: IntegerForest, options: CompileOptions, *, by_rank: bool
) -> dict[str, Any]:
    """`manifest["input"]`: what the bytes stand for."""
    scale, offset = options.preprocess or (1.0, 0.0)
    spec: dict[str, Any] = {
        "shape": [forest.size],
        "layout": "CHW",
        "bytes": forest.size,
        "float": by_rank,
        "scale": np.broadcast_to(np.asarray(scale, np.float64), (forest.size,)).tolist(),
        "offset": np.broadcast_to(np.asarray(offset, np.float64), (forest.size,)).tolist(),
        "tensor": [forest.size, 1, 1],
    }
    if by_rank:
        precision = np.dtype(precision_of(tabular.proto)).name
        spec["row"] = row_of_forest(tabular.features, tabular.columns, forest.slots, forest.size, precision)
    return spec


def _manifest(
    tabular: Tabular, forest: IntegerForest, program: Program, reference: onnx.ModelProto, source: str,
    options: CompileOptions, meaning: dict[str, Any], data: NDArray[np.uint8],
) -> dict[str, Any]:  # fmt: skip
    trees = section_row("trees", program) | {"op": "trees", "shape": [len(forest.trees)]}
    rows = section_rows([trees], program)
    count = len(forest.scores)
    axis = 0 if tabular.outputs.classes and count > 1 else None
    settings = options_row(options)
    if meaning["float"]:
        # the ranks of these bytes need no range; that there is one says that they are ranks
        settings["input_range"] = [[0.0] * forest.size, [255.0] * forest.size]
    return {
        "format": FORMAT,
        "compiler": COMPILER_VERSION,
        "source_sha256": source,
        "calibration_sha256": hashlib.sha256(data.tobytes()).hexdigest(),
        "calibration_samples": len(data),
        "options": settings,
        "reference_sha256": hashlib.sha256(reference.SerializeToString(deterministic=True)).hexdigest(),
        "input": meaning,
        "output": output_row((count, 1, 1), [forest.scale] * count, forest.head, (0, 1, 2), (count,), axis)
        | {"classes": list(tabular.outputs.classes)},
        "gas": {
            "evm": program.gas,
            "classify": program.classify_gas,
            "filecoin": call_gas("filecoin", program.gas, program.filecoin, forest.size, count),
            "transaction": call_gas("ethereum", program.gas, program.filecoin, forest.size, count),
            "deploy": sum(creation_gas(c.code) for c in program.contracts),
            "deploy_filecoin": sum(creation_filecoin(len(c.code)) for c in program.contracts),
            "per_mac": 0.0,
        },
        "macs": 0,
        "trees": _shape(forest),
        "code_bytes": sum(len(c.code) for c in program.contracts),
        "layers": rows,
        "contracts": contract_rows(program.contracts),
        "kept": {},
        "notes": list(forest.notes),
    }


def _shape(forest: IntegerForest) -> dict[str, int]:
    return {
        "count": len(forest.trees),
        "comparisons": sum(isinstance(n, Branch) for tree in forest.trees for n in tree),
        "depth": max(_depth(tree) for tree in forest.trees),
    }


def _depth(tree: Sequence[Any]) -> int:
    depths = [0] * len(tree)
    for position in range(len(tree) - 1, -1, -1):
        node = tree[position]
        if isinstance(node, Branch):
            depths[position] = 1 + max(depths[node.yes], depths[node.no])
    return depths[0]
