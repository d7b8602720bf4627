"""What `fedvm compile` and `fedvm deploy` have in common: their options, and the table of layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from fedvm.cli.console import err, out
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.onnx_model import Prepared, Request


def request_of(
    model: Path,
    calibration: Path | None,
    scale: float | None,
    offset: float | None,
    resize: bool,
    **options: Any,
) -> Request:
    """The options as a request; `options` are fields of it. Raises UsageError for half a preprocessing."""
    preprocess = None
    if scale is not None or offset is not None:
        if scale is None:
            raise UsageError("--offset needs --scale: the model expects scale · byte + offset")
        preprocess = (scale, offset or 0.0)
    return Request(model, calibration, preprocess, resize=resize, **options)


def print_model(prepared: Prepared) -> None:
    """Gas by layer and what the whole costs, on standard output; a warning about a missing calibration."""
    if prepared.calibration_source:
        err().print(f"Calibrated on {prepared.calibration_source}", style="dim", markup=False)
    else:
        err().print(
            "[bold yellow]Calibrated on synthetic images:[/] accuracy may suffer. "
            "Give typical inputs with --calibration."
        )
    manifest = prepared.compiled.manifest
    table = Table(box=None, pad_edge=False)
    table.add_column("layer")
    table.add_column("kind", style="dim")
    for title in ("shape", "MACs", "lanes", "L", "opcodes", "gas", "bytes", "share"):
        table.add_column(title, justify="right")
    for row in manifest["layers"]:
        table.add_row(
            row["name"],
            row["op"],
            "×".join(map(str, row["shape"])),
            f"{row['macs']:,}" if row["macs"] else "",
            str(row["lanes"] or ""),
            str(row["L"] or ""),
            f"{row['opcodes']:,}",
            f"{row['gas']:,}",
            f"{row['bytes']:,}",
            f"{row['share']:.1%}",
        )
    console = out()
    console.print(table)
    gas = manifest["gas"]
    console.print(
        f"One prediction: [bold]{gas['evm']:,}[/] EVM gas, about {gas['filecoin']:,} on Filecoin. "
        f"Deployment: {gas['deploy']:,} EVM gas, {len(manifest['contracts'])} contracts, "
        f"{manifest['code_bytes']:,} bytes."
    )
    _print_limit(manifest)


def _print_limit(manifest: dict[str, Any]) -> None:
    """Says, with the figures, when one prediction does not fit a transaction."""
    limit, stages = manifest["max_gas"], manifest["stages"]
    if not stages:
        return
    on_filecoin = limit["target"] == "filecoin"
    whole = manifest["gas"]["filecoin" if on_filecoin else "transaction"]
    unit = "Filecoin gas (estimate)" if on_filecoin else "gas"
    err().print(
        f"[bold yellow]Too much for one transaction:[/] {whole:,} {unit}, the limit is {limit['gas']:,}. "
        f"Also compiled to {len(stages)} stages, each within it, for InferenceSession: see docs/compiler.md. "
        "Fewer --bits cost less."
    )
