"""Rows of the manifest that programs of every kind have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedvm.compiler.contract import Contract
from fedvm.compiler.graph import Shape
from fedvm.compiler.link import Program
from fedvm.compiler.options import CompileOptions
from fedvm.evm.keccak import keccak

FORMAT = 1


def contract_rows(contracts: Sequence[Contract]) -> list[dict[str, Any]]:
    """The contracts with their hashes and what has to be linked."""
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


def options_row(options: CompileOptions) -> dict[str, Any]:
    """What the program was compiled with."""
    return {
        "weight_bits": _plain(options.weight_bits),
        "activation_bits": _plain(options.activation_bits),
        "input_bits": options.input_bits,
        "lane_bits": _plain(options.lane_bits),
        "preprocess": _plain(options.preprocess),
        "input_range": _plain(options.input_range),
        "optimize": options.optimize,
        "output": options.output,
        "min_agreement": options.bars.agreement,
        "min_correlation": options.bars.correlation,
    }


def output_row(
    tensor: Shape,
    scale: Sequence[float],
    head: str,
    order: Sequence[int],
    shape: Sequence[int],
    axis: int | None,
) -> dict[str, Any]:
    """What the scores are. tensor: their (C, H, W), given in the order of its axes `order`; scale: of each channel;
    shape, axis: as in `ScoreMap`."""
    return {
        "scores": math.prod(tensor),
        "scale": list(scale),
        "head": head,
        "tensor": list(tensor),
        "order": list(order),
        "shape": list(shape),
        "axis": axis,
    }


def _plain(value: Any) -> Any:
    """Options as plain data for JSON."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(v) for v in value]
    return float(value) if isinstance(value, np.floating) else value


def section_row(name: str, program: Program) -> dict[str, Any]:
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


def section_rows(layers: Sequence[dict[str, Any]], program: Program) -> list[dict[str, Any]]:
    """Where a program's gas goes, with shares of it. layers: the rows between the input's and the calls'."""
    rows = [section_row("input", program), *layers]
    rows += [section_row(name, program) for name in ("calls", "scores", "entry")]
    overhead = program.gas - sum(row["gas"] for row in rows)
    rows.append({**section_row("", program), "name": "memory and calls of parts", "gas": overhead})
    for row in rows:
        row["share"] = row["gas"] / program.gas
    return rows
