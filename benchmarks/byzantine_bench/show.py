"""The results as Markdown tables and a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from compiler_bench.rows import markdown_table
from matplotlib.figure import Figure

from byzantine_bench.play import ATTACKS, CLIENTS, STRATEGIES, Game

Accuracies = Mapping[str, float]
TITLES = {
    "fedavg": "FedAvg",
    "fedavgm": "FedAvgM",
    "fedadam": "FedAdam",
    "fedmedian": "FedMedian",
    "fedtrimmedavg": "FedTrimmedAvg",
    "krum": "Krum",
    "multikrum": "MultiKrum",
}


def tables(rows: Accuracies, shares: Sequence[int]) -> str:
    """A table an attack: strategies against the share of attackers."""
    header = ["strategy", *(f"{share} %" for share in shares)]
    parts = []
    for attack in ATTACKS:
        lines = [
            [TITLES[name], *(f"{100 * _accuracy(rows, name, attack, share):.1f} %" for share in shares)]
            for name in STRATEGIES
        ]
        parts.append(f"**{attack}**\n\n{markdown_table(header, lines)}")
    return "\n\n".join(parts)


def summary_table(rows: Accuracies, shares: Sequence[int]) -> str:
    """Each strategy's accuracy under the attack that hurts it most."""
    header = ["strategy", *(f"{share} %" for share in shares)]
    lines = []
    for name in STRATEGIES:
        cells = []
        for share in shares:
            worst = min(ATTACKS, key=lambda attack: _accuracy(rows, name, attack, share))
            cells.append(
                f"{100 * _accuracy(rows, name, worst, share):.1f} %" + (f" ({worst})" if share else "")
            )
        lines.append([TITLES[name], *cells])
    return markdown_table(header, lines)


def draw(rows: Accuracies, shares: Sequence[int], path: Path) -> None:
    """A heat map an attack, as SVG without time stamps."""
    mpl.rcParams["svg.hashsalt"] = "fedvm"
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    for attack, ax in zip(ATTACKS, axes.flat, strict=True):
        grid = np.array([[_accuracy(rows, name, attack, share) for share in shares] for name in STRATEGIES])
        image = ax.imshow(grid, cmap="RdYlGn", vmin=0.1, vmax=1.0, aspect="auto")
        for (row, column), value in np.ndenumerate(grid):
            ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8)
        ax.set_title(attack.replace("_", " "), fontsize=10)
        ax.set_xticks(range(len(shares)), [f"{share} %" for share in shares], fontsize=8)
        ax.set_yticks(range(len(STRATEGIES)), [TITLES[name] for name in STRATEGIES], fontsize=8)
    figure.supxlabel("share of attackers", fontsize=9)
    figure.colorbar(image, ax=axes, label="test accuracy, %", format=lambda value, _: f"{100 * value:.0f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _accuracy(rows: Accuracies, strategy: str, attack: str, share: int) -> float:
    game = Game(strategy, attack if share else "none", CLIENTS * share // 100)
    return rows[game.key]
