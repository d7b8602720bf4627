"""The picture of the results: gas of a prediction, and gas for each multiply-accumulate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from compiler_bench.comparison import NAME
from compiler_bench.published import PUBLISHED
from compiler_bench.rows import Row

TRANSACTION_CAP = 16_777_216
"""Most gas an Ethereum transaction may have (EIP-7825)."""
OURS, SOLIDITY, PROOFS = "#0b6e69", "#b5651d", "#7a7f87"
INK, GRID = "#1f2328", "#d0d7de"
LABEL_GROUND = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}


@dataclass(frozen=True)
class Bar:
    """One bar: label, value, colour, and what is written behind the value."""

    label: str
    value: float
    colour: str
    note: str = ""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the rows of the results file as a PNG on a white ground, so that it reads on pages of any colour."""
    values = {row.name: row.value for row in rows}
    models = [name.removesuffix(": gas") for name in values if name.endswith(": gas") and NAME not in name]
    ours = [(name, values[f"{name}: gas"], values[f"{name}: gas per multiply-accumulate"]) for name in models]
    gas = [Bar(f"FedVM · {name}", value, OURS) for name, value, _ in ours]
    per_mac = [Bar(f"FedVM · {name}", value, OURS) for name, _, value in ours]
    if f"{NAME}: gas" in values:
        gas.append(Bar("Solidity by hand · LeNet, 8-bit", values[f"{NAME}: gas"], SOLIDITY))
        value = values[f"{NAME}: gas per multiply-accumulate"]
        per_mac.append(Bar("Solidity by hand · LeNet, 8-bit", value, SOLIDITY))
    computed, *proofs = PUBLISHED
    assert computed.macs is not None
    gas.append(Bar("evm-neural-network · MLP 400-32-16-10", computed.gas, SOLIDITY))
    per_mac.append(Bar("evm-neural-network · MLP 400-32-16-10", computed.gas / computed.macs, SOLIDITY))
    labels = (
        "EZKL proof · LeNet, image public",
        "EZKL proof · 16×16 LeNet, image private",
        "Groth16 proof · small CNN, image private",
    )
    notes = ("proved in 471 s", "", "proved in 60 s")
    gas += [Bar(n, p.gas, PROOFS, note) for n, p, note in zip(labels, proofs, notes, strict=True)]

    plt.rcParams.update(
        {"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "font.family": "DejaVu Sans"}
    )
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(9, 7.2), dpi=160, facecolor="white", height_ratios=[len(gas), len(per_mac)]
    )
    _bars(top, gas, "Gas of one prediction (log scale)", lambda value: f"{value:,.0f}")
    top.axvline(TRANSACTION_CAP, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1.5)
    top.text(TRANSACTION_CAP, -0.72, "most gas an Ethereum transaction may have", ha="center", fontsize=8)
    _bars(bottom, per_mac, "Gas for each multiply-accumulate (log scale), computed on chain", _three_digits)
    figure.tight_layout(h_pad=2.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.png")
    figure.savefig(temporary, metadata={"Software": None})
    plt.close(figure)
    temporary.replace(path)


def _bars(axes: Axes, bars: Sequence[Bar], title: str, form: Callable[[float], str]) -> None:
    places = range(len(bars))
    axes.barh(places, [b.value for b in bars], color=[b.colour for b in bars], height=0.68)
    axes.set_xscale("log")
    axes.set_yticks(places, [b.label for b in bars])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    low, high = min(b.value for b in bars), max(b.value for b in bars)
    axes.set_xlim(low / 3, high * 12)
    for place, bar in zip(places, bars, strict=True):
        text = form(bar.value) + (f"  ({bar.note})" if bar.note else "")
        axes.text(bar.value * 1.08, place, text, va="center", color=INK, bbox=LABEL_GROUND)
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=14)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _short(value: float) -> str:
    """1000 as 1 k, 1,000,000 as 1 M."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
