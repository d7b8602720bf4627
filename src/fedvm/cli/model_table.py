"""What `fedvm compile` and `fedvm deploy` have in common: their options, and the table of layers."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from fedvm.cli.console import err, out
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.onnx_model import Prepared, Request


def request_of(
    model: Path,
    calibration: Path | None,
    scale: float | None,
    offset: float | None,
    weight_bits: int,
    activation_bits: int,
    resize: bool,
) -> Request:
    """The options as a request. Raises UsageError for half a preprocessing."""
    preprocess = None
    if scale is not None or offset is not None:
        if scale is None:
            raise UsageError("--offset needs --scale: the model expects scale · byte + offset")
        preprocess = (scale, offset or 0.0)
    return Request(model, calibration, preprocess, weight_bits, activation_bits, resize)


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
    for title in ("MACs", "gas", "share", "bytes"):
        table.add_column(title, justify="right")
    for row in manifest["layers"]:
        table.add_row(
            row["name"],
            row["op"],
            f"{row['macs']:,}" if row["macs"] else "",
            f"{row['gas']:,}",
            f"{row['share']:.1%}",
            f"{row['bytes']:,}",
        )
    console = out()
    console.print(table)
    gas = manifest["gas"]
    console.print(
        f"One prediction: [bold]{gas['evm']:,}[/] EVM gas, about {gas['filecoin']:,} on Filecoin. "
        f"Deployment: {gas['deploy']:,} EVM gas, {len(manifest['contracts'])} contracts, "
        f"{manifest['code_bytes']:,} bytes."
    )
