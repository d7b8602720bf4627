"""What `fedvm compile` and `fedvm deploy` print of a model: the table of layers, and what a prediction costs."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from fedvm.cli.console import err, out
from fedvm.pipeline.onnx_model import Prepared


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
    on_filecoin = manifest["max_gas"]["target"] == "filecoin"
    console = out()
    console.print(_layer_table(manifest["layers"], "filecoin" if on_filecoin else "gas"))
    gas = manifest["gas"]
    figures = [f"[bold]{gas['evm']:,}[/] EVM gas", f"about [bold]{gas['filecoin']:,}[/] gas on Filecoin"]
    console.print(
        f"One prediction: {', '.join(reversed(figures) if on_filecoin else figures)}. "
        f"Deployment: {gas['deploy']:,} EVM gas, about {gas['deploy_filecoin']:,} gas on Filecoin, "
        f"{len(manifest['contracts'])} contracts, "
        f"{manifest['code_bytes']:,} bytes."
    )
    err().print(_quality(manifest["quality"], real=bool(prepared.calibration_source)), markup=False)
    if "search" in manifest:
        err().print(_search(manifest["search"], manifest["options"]), markup=False)
    if manifest["kept"]:
        err().print(_kept(manifest["kept"]), markup=False)
    _print_limit(prepared)


def _search(search: dict[str, Any], options: dict[str, Any]) -> str:
    """One line that says which bits were chosen, and what that loses."""
    lanes = ", ".join(f"{name} {bits}" for name, bits in options["lane_bits"].items())
    return (
        f"Bits chosen in {search['trials']} trials: input {options['input_bits']}, lanes {lanes}. On "
        f"{search['fresh_rows']} labelled inputs kept for the end {search['fresh_loss']:.2f} ± "
        f"{search['fresh_error']:.2f} points of accuracy are lost ({search['allowed']} allowed)."
    )


def _kept(kept: dict[str, float]) -> str:
    """One line that says how exactly the integers of a quantized file are held."""
    off = max(kept.values())
    line = f"Integers of the file kept in {len(kept)} layers"
    if not off:
        return f"{line}, all exactly."
    exact = sum(not error for error in kept.values())
    return f"{line}, exactly in {exact}; elsewhere off by {off:.2g} of an output step at most (root mean square)."


def _quality(quality: dict[str, Any], *, real: bool) -> str:
    """One line that says how closely the integers follow the network."""
    parts = []
    if quality["agreement"] is not None:
        parts.append(f"the same class in {quality['agreement']:.1%}")
    if quality["decided_agreement"] is not None:
        parts.append(
            f"in {quality['decided_agreement']:.1%} of the {quality['decided']} for which it has decided"
        )
    parts.append(
        "constant scores" if quality["correlation"] is None else f"correlation {quality['correlation']:.4f}"
    )
    if quality["steady"]:
        parts.append("though the network's scores hardly depend on the input")
    accuracy = quality["accuracy"]
    if accuracy is not None:
        parts.append(f"accuracy {accuracy['integers']:.1%} of {accuracy['network']:.1%}")
    what = (
        "held-back inputs"
        if quality["held_back"]
        else "inputs, all of which it is fitted to (too few to hold back)"
    )
    if not real:
        what = "synthetic images, which say little"
    return f"Beside the network, on {quality['inputs']} {what}: {', '.join(parts)}."


def _layer_table(rows: list[dict[str, Any]], gas: str) -> Table:
    """The gas of each layer. gas: which column of a row to show, "gas" or "filecoin"."""
    table = Table(box=None, pad_edge=False)
    table.add_column("layer")
    table.add_column("kind", style="dim")
    title = "Filecoin gas" if gas == "filecoin" else "gas"
    for column in ("shape", "MACs", "lanes", "L", "opcodes", title, "bytes", "share"):
        table.add_column(column, justify="right")
    total = sum(row[gas] for row in rows)
    for row in rows:
        table.add_row(
            row["name"],
            row["op"],
            "×".join(map(str, row["shape"])),
            f"{row['macs']:,}" if row["macs"] else "",
            str(row["lanes"] or ""),
            str(row["L"] or ""),
            f"{row['opcodes']:,}",
            f"{row[gas]:,}",
            f"{row['bytes']:,}",
            f"{row[gas] / total:.1%}",
        )
    return table


def _print_limit(prepared: Prepared) -> None:
    """Says, with the figures, when one prediction does not fit a transaction, and what its stages take."""
    manifest = prepared.compiled.manifest
    limit, stages = manifest["max_gas"], manifest["stages"]
    if not stages and not prepared.unstaged:
        return
    on_filecoin = limit["target"] == "filecoin"
    whole = manifest["gas"]["filecoin" if on_filecoin else "transaction"]
    unit = "Filecoin gas (estimate)" if on_filecoin else "gas"
    err().print(
        f"[bold yellow]Too much for one transaction:[/] {whole:,} {unit}, the limit is {limit['gas']:,}. "
        "Calls that are no transactions (eth_call) work all the same; fewer --bits cost less."
    )
    if prepared.unstaged:
        err().print(f"It cannot be done in several transactions either: {prepared.unstaged}", markup=False)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("stage", "layers"):
        table.add_column(title)
    for title in ("execution", "transaction", "state bytes kept", "deployment", "contracts"):
        table.add_column(title, justify="right")
    for number, row in enumerate(stages):
        layers = row["layers"]
        table.add_row(
            row["name"],
            layers[0] if len(layers) == 1 else f"{layers[0]} … {layers[-1]}",
            f"{row['filecoin' if on_filecoin else 'gas']:,}",
            f"{row['transaction']:,}",
            f"{row['gives']:,}" if number < len(stages) - 1 else "",
            f"{row['deploy']:,}",
            str(len(row["contracts"])),
        )
    console = out()
    console.print(f"In {len(stages)} transactions of an InferenceSession ({unit}):")
    console.print(table)
