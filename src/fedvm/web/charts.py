"""Line charts as inline SVG, drawn here: no script, and colours from the page, so that they follow its theme."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH, _HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 40
_MOST_DOTS: Final = 60


@dataclass(frozen=True)
class Series:
    """A line: (x, y) points, drawn with the CSS class `line-<kind>`.

    band: (lowest, highest) y at each point, drawn behind the line as `band-<kind>`; empty for no band.
    """

    label: str
    kind: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()


def line_chart(
    title: str,
    series: Sequence[Series],
    shown: Callable[[float], str],
    *,
    x_label: str = "round",
    from_zero: bool = True,
    top: float | None = None,
) -> str:
    """SVG markup of `series` over x ≥ 0; shown: how a value is written. top: the greatest value of the axis, else
    as the data need. Raises ValueError without any point."""
    points = [point for line in series for point in line.points]
    if not points:
        raise ValueError("a chart needs at least one point")
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    values = [y for _, y in points] + [y for line in series for edge in line.band for y in edge]
    counts = all(float(value).is_integer() for value in values)
    ticks = _ticks(0.0 if from_zero else min(values), max(values) if top is None else top, whole=counts)
    low, high = ticks[0], ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - low) / (high - low)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    ends = ", ".join(
        f"{line.label} from {shown(line.points[0][1])} to {shown(line.points[-1][1])}"
        for line in series
        if line.points
    )
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}: {ends}")}">'
    ]
    for value in ticks:
        y = place(x_low, value)[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 7, y + 4, "end", shown(value)))
    step = max(1, math.ceil((x_high - x_low) / 8))
    for x in range(int(x_low), int(x_high) + 1, step):
        parts.append(_text(place(x, low)[0], _HEIGHT - _BOTTOM + 17, "middle", f"{x}"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 5, "end", x_label))
    for line in series:
        if line.band:
            xs = [x for x, _ in line.points]
            outline = [(x, edge[1]) for x, edge in zip(xs, line.band, strict=True)]
            outline += reversed([(x, edge[0]) for x, edge in zip(xs, line.band, strict=True)])
            parts.append(
                f'<polygon class="band-{line.kind}" points="{_path(place(*point) for point in outline)}"/>'
            )
    for line in series:
        placed = [place(x, y) for x, y in line.points]
        parts.append(f'<polyline class="line line-{line.kind}" points="{_path(placed)}"/>')
        if len(placed) <= _MOST_DOTS:
            parts += [
                f'<circle class="dot dot-{line.kind}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
                f"<title>{escape(line.label)}, {x_label} {given:g}: {escape(shown(value))}</title></circle>"
                for (x, y), (given, value) in zip(placed, line.points, strict=True)
            ]
    parts.append("</svg>")
    return "".join(parts)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, anchor: str, content: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _ticks(low: float, high: float, *, whole: bool) -> list[float]:
    """Four to six round values from at most `low` to at least `high`; whole: no fractions, so it may be fewer."""
    span = high - low or abs(high) or 1.0
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    if whole:
        step = float(math.ceil(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return [step * index for index in range(first, last + 1)]
