"""`report.html`: one self-contained page (no script, no outside reference) from a run's report and images."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from fedvm.images.encode import png
from fedvm.pipeline.charts import Series, accuracy_chart
from fedvm.pipeline.results import BaselineFacts, ClientRow, MemberRow, Prediction, RoundRow, RunReport
from fedvm.pipeline.shares import doubt_of, shares_of

_MOST_CLIENTS_SHOWN = 48
_MOST_SCORES_SHOWN = 10
_PREPARED = {
    "photo": "turned upright and scaled, its middle kept",
    "drawing": "made bright strokes on black, scaled and centred",
    "raw": "taken unchanged",
}
"""What a preparation does to an image, in words."""


@dataclass(frozen=True)
class ReportImages:
    """The pictures of the page: uint8 `[C, H, W]`.

    by_label: held-out examples for each class name; predictions: the image of each of the report's examples.
    """

    by_label: Mapping[str, Sequence[NDArray[np.uint8]]]
    predictions: Sequence[NDArray[np.uint8]]


def render_report(report: RunReport, images: ReportImages) -> str:
    """The page as HTML text."""
    environment = Environment(
        loader=PackageLoader("fedvm.pipeline"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, count=_count, coins=_coins, short=_short, data_uri=data_uri)
    clients = _clients_shown(report.rounds)
    return environment.get_template("report.html.j2").render(
        report=report,
        images=images,
        chart=accuracy_chart(_series(report), "round") if _series(report) else "",
        series=_series(report),
        clients=clients,
        judges=_judges(report),
        hidden_clients=len(_clients(report.rounds)) - len(clients),
        cells=_cells(report.rounds),
        prepared=_PREPARED[report.model.preparation],
        heaviest=max([row.weight for one in report.rounds for row in one.members], default=1) or 1,
        predictions=[
            _prediction(example, image, report)
            for example, image in zip(report.evaluation.examples, images.predictions, strict=True)
        ],
    )


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """A PNG data URI of uint8 `[C, H, W]`, C being 1 or 3 (other counts show their first channel)."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def _series(report: RunReport) -> list[Series]:
    lines = [
        Series(
            "federated",
            "federated",
            [(row.round, row.test_accuracy) for row in report.rounds if row.test_accuracy is not None],
        )
    ]
    if report.baseline is not None:
        lines += _baselines(report.baseline)
    return [line for line in lines if line.points]


def _baselines(facts: BaselineFacts) -> list[Series]:
    spreads = [facts.alone_at(position) for position in range(len(facts.rounds))]
    drawn = f", {len(facts.alone)} of {facts.clients} drawn" if len(facts.alone) < facts.clients else ""
    return [
        Series("all data in one place", "all", list(zip(facts.rounds, facts.all_data, strict=True))),
        Series(
            f"each client alone (mean, lowest to highest{drawn})",
            "one",
            [(number, one.mean) for number, one in zip(facts.rounds, spreads, strict=True)],
            [(one.lowest, one.highest) for one in spreads],
        ),
    ]


def _clients(rounds: Sequence[RoundRow]) -> list[tuple[int, str]]:
    return sorted({(row.client, row.member) for one in rounds for row in one.members})


def _clients_shown(rounds: Sequence[RoundRow]) -> list[tuple[int, str]]:
    """All clients if they are few; otherwise first those that the contract capped or refused, then others."""
    remarkable = {
        row.client for one in rounds for row in one.members if row.capped or row.refused or row.failure
    }
    ranked = sorted(_clients(rounds), key=lambda client: (client[0] not in remarkable, client[0]))
    return sorted(ranked[:_MOST_CLIENTS_SHOWN])


def _judges(report: RunReport) -> list[ClientRow]:
    """The clients that measured the finished model, the lowest accuracy first."""
    rows = report.fairness.clients if report.fairness is not None else ()
    measured = [row for row in rows if row.accuracy is not None]
    return sorted(measured, key=lambda row: (row.accuracy, row.client))[:_MOST_CLIENTS_SHOWN]


def _cells(rounds: Sequence[RoundRow]) -> dict[tuple[int, int], MemberRow]:
    return {(row.client, one.round): row for one in rounds for row in one.members}


def _prediction(example: Prediction, image: NDArray[np.uint8], report: RunReport) -> dict[str, Any]:
    names = report.data.class_names
    shares = shares_of(example.scores, report.model.score_scale)
    ranked = sorted(range(len(names)), key=lambda label: (label != example.predicted, -shares[label]))
    return {
        "image": image,
        "true": names[example.true],
        "predicted": names[example.predicted],
        "right": example.true == example.predicted,
        "doubt": doubt_of(shares, names, blank=False),
        "scores": [
            {
                "name": names[label],
                "score": example.scores[label],
                "share": shares[label],
                "top": label == example.predicted,
            }
            for label in ranked[:_MOST_SCORES_SHOWN]
        ],
        "others": max(0, len(names) - _MOST_SCORES_SHOWN),
    }


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _count(number: float | None) -> str:
    return (
        "–" if number is None else f"{number:,.0f}".replace(",", "\u202f")
    )  # so that no line breaks within it


def _coins(wei: int) -> str:
    """In units of 10^18 wei, without trailing zeros."""
    whole, rest = divmod(wei, 10**18)
    return f"{whole}.{rest:018}".rstrip("0").rstrip(".")


def _short(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:8]}…{text[-4:]}"
