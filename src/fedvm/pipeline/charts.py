"""The report's line chart as inline SVG; it takes its colours from the page, so it follows the theme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 14, 46


@dataclass(frozen=True)
class Series:
    """A line: (x, share) points, drawn with the CSS class `line-<kind>`.

    band: (lowest, highest) share at each point, drawn behind the line as `band-<kind>`; None for no band.
    """

    label: str
    kind: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()


def accuracy_chart(series: Sequence[Series], x_label: str) -> str:
    """SVG markup of accuracies (shares, 0 … 1) over x ≥ 0. Raises ValueError without any point."""
    points = [point for line in series for point in line.points]
    if not points:
        raise ValueError("a chart needs at least one point")
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    low, high = _bounds([y for _, y in points] + [y for line in series for edge in line.band for y in edge])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - low) / (high - low)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    labels = ", ".join(f"{line.label} ending at {line.points[-1][1]:.1%}" for line in series if line.points)
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    parts = [f'<svg class="chart" {box} role="img" aria-label="Accuracy: {escape(labels)}">']
    for share in _ticks(low, high):
        _, y = place(x_low, share)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 8, y + 4, "end", f"{share:.0%}"))
    step = max(1, round((x_high - x_low) / 12))
    for x in range(int(x_low), int(x_high) + 1, step):
        parts.append(_text(place(x, low)[0], _HEIGHT - _BOTTOM + 19, "middle", str(x)))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 4, "end", x_label))
    for line in series:
        if line.band:
            xs = [x for x, _ in line.points]
            outline = [(x, edge[1]) for x, edge in zip(xs, line.band, strict=True)]
            outline += reversed([(x, edge[0]) for x, edge in zip(xs, line.band, strict=True)])
            path = " ".join(f"{across:.1f},{y:.1f}" for across, y in (place(*point) for point in outline))
            parts.append(f'<polygon class="band-{line.kind}" points="{path}"/>')
    for line in series:
        placed = [place(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline class="line line-{line.kind}" points="{path}"/>')
        parts += [
            f'<circle class="dot dot-{line.kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
            f"<title>{escape(line.label)}, {given:g}: {share:.1%}</title></circle>"
            for (x, y), (given, share) in zip(placed, line.points, strict=True)
        ]
    parts.append("</svg>")
    return "".join(parts)


def _text(x: float, y: float, anchor: str, content: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _bounds(shares: Sequence[float]) -> tuple[float, float]:
    low = max(0.0, (min(shares) * 10 // 1) / 10)
    high = min(1.0, -((-max(shares) * 10) // 1) / 10)
    return (low, high) if high > low else (max(0.0, low - 0.1), low + 0.1)


def _ticks(low: float, high: float) -> list[float]:
    step = 0.1 if high - low <= 0.6 else 0.2
    count = round((high - low) / step)
    return [low + step * index for index in range(count + 1)]
