"""The tables that the benchmark prints and puts into documents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from compiler_bench.comparison import NAME, Comparison
from compiler_bench.measure import Measurement
from compiler_bench.published import PUBLISHED
from compiler_bench.rows import Row, markdown_table

HEADER = (
    "model", "MACs", "gas", "gas/MAC", "× floor", "accuracy", "float", "agreement", "Filecoin gas", "deployment",
    "compile",
)  # fmt: skip


def results_table(measurements: Sequence[Measurement]) -> str:
    """One line a compiled model."""
    return markdown_table(
        HEADER,
        [
            (
                m.name, f"{m.macs:,}", f"{m.gas:,}", f"{m.gas / m.macs:.2f}", f"{m.gas / m.floor:.1f}",
                f"{100 * m.integer_accuracy:.1f} %", f"{100 * m.float_accuracy:.1f} %", f"{100 * m.agreement:.1f} %",
                f"{m.filecoin_gas / 1e6:,.0f} M", f"{m.deploy_gas / 1e6:.1f} M", f"{m.compile_seconds:.1f} s",
            )
            for m in measurements
        ],
    )  # fmt: skip


def comparison_table(measurements: Sequence[Measurement], comparison: Comparison | None) -> str:
    """Gas beside that of hand-written Solidity and of what is published."""
    lines = [(f"FedVM, {m.name}", f"{m.gas:,}", f"{m.gas / m.macs:.2f}", "none") for m in measurements]
    if comparison is not None:
        per_mac = f"{comparison.gas / comparison.macs:.1f}"
        lines.append((NAME, f"{comparison.gas:,}", per_mac, "none"))
    for p in PUBLISHED:
        per_mac = f"{p.gas / p.macs:,.0f}" if p.macs and not p.prover else "–"
        lines.append((p.name, f"{p.gas:,}", per_mac, p.prover or "none"))
    return markdown_table(("prediction", "gas", "gas/MAC", "prover"), lines)


def all_rows(measurements: Sequence[Measurement], comparison: Comparison | None) -> list[Row]:
    """Everything measured, then what is published."""
    rows = [row for m in measurements for row in m.to_rows()]
    if comparison is not None:
        rows += comparison.to_rows()
    return rows + [Row(f"published: {p.name}", p.gas, "gas") for p in PUBLISHED]


def update_document(path: Path, tables: Mapping[str, str]) -> bool:
    """Put each table between its marks `<!-- bench_compiler: name -->` and `<!-- end -->` in a Markdown document.

    Marks that the document does not have are passed over; so is a document that does not exist. Returns whether
    anything changed.
    """
    if not path.is_file():
        return False
    before = after = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        mark = f"<!-- bench_compiler: {name} -->"
        block = f"{mark}\n{table}\n<!-- end -->".replace("\\", r"\\")
        after = re.sub(rf"{re.escape(mark)}\n.*?<!-- end -->", block, after, flags=re.DOTALL)
    if after != before:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(after, encoding="utf-8")
        temporary.replace(path)
    return after != before
