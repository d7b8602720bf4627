"""The report page: self-contained, and what it says is what the report holds."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fedvm.pipeline.charts import Series, accuracy_chart
from fedvm.pipeline.report import ReportImages, render_report
from fedvm.pipeline.results import (
    AloneRow,
    BaselineFacts,
    ChainFacts,
    ClientRow,
    DataFacts,
    EvaluationFacts,
    FairnessFacts,
    GasFacts,
    GroupRow,
    LayerFacts,
    MemberRow,
    ModelFacts,
    Prediction,
    PrivacyFacts,
    ProgramPart,
    RoundRow,
    RunReport,
    SealedFacts,
    SealedRoundRow,
    Spread,
)

BASELINE = BaselineFacts(
    (2, 4, 6), (0.7, 0.9, 0.95), (AloneRow(1, 250, (0.1, 0.2, 0.4)), AloneRow(5, 250, (0.3, 0.5, 0.6))), 16
)


def _round(number: int) -> RoundRow:
    members = [MemberRow(client, f"0x{client:040x}", 252, 252) for client in range(16)]
    members[3] = replace(members[3], examples=12_600, weight=500)
    members[11] = replace(members[11], weight=0, refused="NormTooLarge")
    members[12] = replace(members[12], weight=0, examples=0, failure="the battery died")
    accuracy = 1 - 0.6 / number
    return RoundRow(
        number, True, tuple(members), 1 / number, 0.9, 0.7, 1.2 / number, accuracy, 4.25,
        {"open": 90_000, "submit": 1_000_000, "finalize": 80_000}, "0x" + "ab" * 32, "bafkrei",
    )  # fmt: skip


def make_report(baseline: bool = True) -> tuple[RunReport, ReportImages]:
    generator = np.random.default_rng(1)
    names = (*(f"class{n}" for n in range(9)), "<nine>")
    examples = tuple(
        Prediction(n, n % 10, (n + (n == 4)) % 10, tuple(int(v) for v in generator.integers(-9999, 9999, 10)))
        for n in range(12)
    )
    report = RunReport(
        fedvm="0.1.0",
        name="demo",
        seed=7,
        data=DataFacts("mnist", (1, 28, 28), names, 4244, 256, 500, "iid", (252,) * 16),
        rules={"minClients": 10, "maxExamples": 500, "maxWeight": 500},
        aggregation="FedMedian (audit-only)",
        rounds=tuple(_round(number) for number in range(1, 7)),
        baseline=BASELINE if baseline else None,
        model=ModelFacts(
            "lenet", 44_426, 281_640, 6, 1, "0x" + "cd" * 32, "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf",
            "0x" + "ef" * 32, (ProgramPart("0x" + "12" * 20, "0x" + "34" * 32, 24_500),),
            (LayerFacts("conv1", "conv", 86_400, 120_345), LayerFacts("fc1", "dense", 30_720, 66_000)),
            "lenet on mnist, by 16 clients", "drawing", (0.001,) * 10,
        ),
        chain=ChainFacts(
            "embedded", "a file", "", 31415926, *("0x" + pair * 20 for pair in ("56", "78", "9a", "bc"))
        ),
        gas=GasFacts(3_000_000, 2_000_000, 9_876_543, 200_000, 6_000_000, 412_345, 412_345, 212_000_000),
        evaluation=EvaluationFacts(500, 0, 4, 0.964, 0.962, 0.961, examples),
        seconds={"data": 1.0},
    )  # fmt: skip
    draw = lambda: generator.integers(0, 256, (1, 28, 28), dtype=np.uint8)  # noqa: E731
    images = ReportImages({name: [draw(), draw()] for name in names}, [draw() for _ in examples])
    return report, images


class _Tags(HTMLParser):
    """Collects the tags; every tag that must be closed is, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("baseline", [True, False])
def test_page_is_well_formed_and_needs_nothing_from_outside(baseline: bool) -> None:
    page = render_report(*make_report(baseline))
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert not {tag for tag, _, _ in tags.attributes} & {"script", "link", "iframe"}
    sources = [value for _, name, value in tags.attributes if name in {"src", "href"}]
    assert len(sources) == 20 + 12 and all(value.startswith("data:image/png") for value in sources)
    assert "url(" not in page and "@import" not in page


def test_page_says_what_sealed_rounds_hid() -> None:
    report, images = make_report()
    assert "What stayed hidden" not in render_report(report, images)
    groups = (GroupRow(0, 8, 7, 5, 1_680, 0.25, 10.0), GroupRow(1, 9, 9, 6, 2_160, 0.5, 10.0))
    sealed = SealedFacts(8, 1, (SealedRoundRow(1, groups),))
    tags = _Tags()
    tags.feed(render_report(replace(report, sealed=sealed), images))
    assert tags.open == []
    text = re.sub(r"\s+", " ", tags.text)
    for words in (
        "with at least 8 members",
        "holds the updates of 7",
        "at least 5 of 8",
        "Nobody can read:",
        "0.250",
        "2\u202f160",
    ):
        assert words in text or words.replace("\u202f", " ") in text


def test_page_says_what_epsilon_is_for() -> None:
    report, images = make_report()
    local = PrivacyFacts(0.5, 4.0, 1e-5, 9.0, False, {0: 3.25})
    sealed = SealedFacts(8, 1, (SealedRoundRow(1, (GroupRow(0, 8, 7, 5, 1_680, 0.25, 10.0),)),))
    for facts, words, others in (
        (local, ("Privacy of the updates", "deviation 2.0 before it left"), ("Privacy of the sums",)),
        (
            replace(local, in_sums=True, assumed_corrupt=2),
            (
                "Privacy of the sums",
                "2.0 times the greatest weight",
                "to up to 2 members",
                "limited by noise",
            ),
            ("losses and accuracies", "how well it says", "that would need noise"),
        ),
    ):
        tags = _Tags()
        tags.feed(render_report(replace(report, sealed=sealed, privacy=facts), images))
        assert tags.open == []
        text = re.sub(r"\s+", " ", tags.text)
        assert "the budget is 9.0" in text and "3.250" in text
        assert all(word in text for word in words) and not any(word in text for word in others)


def test_page_says_what_the_report_holds() -> None:
    report, images = make_report()
    tags = _Tags()
    tags.feed(render_report(report, images))
    text = re.sub(r"\s+", " ", tags.text)
    for words in (
        "96.1%",
        "412 345",
        "NormTooLarge",
        "500 of 12 600",
        "0x" + "cd" * 32,
        "212 000 000",
        "<nine>",
        "lenet on mnist, by 16 clients",
        "drawing: an image is made bright strokes on black, scaled and centred",
        "28 × 28 pixels, grey",
        "a file of this run, chain id 31415926",
    ):
        assert words in text
    assert text.count("NormTooLarge") == 6 and "is class4" in text
    assert "all data in one place: 95.0%" in text
    assert "each client alone (mean, lowest to highest, 2 of 16 drawn): 50.0%" in text
    assert (
        "2 of the 16 clients, drawn by the seed, come to 50.0% on average, standard deviation 10.0%" in text
    )
    assert "the worst to 40.0%, the best to 60.0%" in text


def test_shares_are_of_all_classes_and_say_where_the_answer_is_not_sure() -> None:
    report, images = make_report()
    close, sure = Prediction(0, 0, 0, (900, 880, *[0] * 8)), Prediction(1, 1, 1, (0, 9000, *[0] * 8))
    evaluation = replace(report.evaluation, examples=(close, sure))
    shown = ReportImages(images.by_label, images.predictions[:2])
    tags = _Tags()
    tags.feed(render_report(replace(report, evaluation=evaluation), shown))
    text = re.sub(r"\s+", " ", tags.text)
    assert text.count("not sure: class1 is close to class0") == 1 and text.count("not sure") == 1
    assert "class019.1%" in text.replace(" ", "") and ("span", "title", "score 9000") in tags.attributes


def test_nothing_is_said_of_examples_that_no_event_states() -> None:
    report, images = make_report()
    refused = replace(report.rounds[0].members[11], examples=0)
    members = tuple(refused if row.client == 11 else row for row in report.rounds[0].members)
    page = render_report(replace(report, rounds=(replace(report.rounds[0], members=members),)), images)
    assert "NormTooLarge" in page and "states 0 examples" not in page


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("#a32c20", "#fbdfdb"),
        ("#8a5200", "#fdeccf"),
        ("#f0837a", "#4c2623"),
        ("#f0b45a", "#46341a"),
        ("#666d76", "#fbfaf7"),
    ],
)
def test_coloured_text_can_be_read(ink: str, paper: str) -> None:
    page = render_report(*make_report())
    assert ink in page and paper in page
    light, dark = sorted((_luminance(ink), _luminance(paper)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_page_shows_whom_the_model_serves_least() -> None:
    report, images = make_report()
    rows = tuple(
        ClientRow(client, f"0x{client:040x}", 40, share, (), (), personal)
        for client, (share, personal) in enumerate([(0.9, 0.92), (0.5, 0.8), (0.7, 0.7), (None, None)])
    )
    facts = FairnessFacts.of(rows, (1.0, 0.6, None, *[0.8] * 7))
    assert facts.across_clients == Spread(0.5, 0.9, pytest.approx(0.7), pytest.approx((0.08 / 3) ** 0.5))
    assert facts.personal is not None and facts.personal.lowest == 0.7
    assert facts.across_classes is not None and (
        facts.across_classes.lowest,
        facts.across_classes.highest,
    ) == (0.6, 1)
    changed = replace(
        report, fairness=facts, stopped="2 rounds brought nothing", model=replace(report.model, round=5)
    )
    tags = _Tags()
    tags.feed(render_report(changed, images))
    text = re.sub(r"\s+", " ", tags.text)
    assert tags.open == []
    assert (
        text.index("client 1 40 images") < text.index("client 2 40 images") < text.index("client 0 40 images")
    )
    assert "client 3 40 images" not in text
    assert "across clients, personal70.0%92.0%" in text
    assert (
        "The run stopped early: 2 rounds brought nothing." in text and "The model of round 5 is the" in text
    )
    assert Spread.of([None]) is None


def test_many_clients_keep_those_the_contract_stopped() -> None:
    report, images = make_report()
    crowd = tuple(MemberRow(client, f"0x{client:040x}", 10, 10) for client in range(100))
    crowd = (*crowd[:99], replace(crowd[99], refused="BadSignature", weight=0))
    page = render_report(replace(report, rounds=(replace(report.rounds[0], members=crowd),)), images)
    assert "BadSignature" in page and "52 further clients" in page


def test_report_and_rounds_survive_json(tmp_path: Path) -> None:
    report, _ = make_report()
    report.save(tmp_path / "report.json")
    loaded = json.loads((tmp_path / "report.json").read_text())
    assert loaded["evaluation"]["mismatches"] == 0 and loaded["rounds"][0]["members"][3]["weight"] == 500
    assert BaselineFacts.from_json(json.dumps(asdict(BASELINE))) == BASELINE


def test_chart_places_points_inside_and_flat_lines_too() -> None:
    for points in (
        [(1, 0.5)],
        [(1, 0.0), (2, 0.0)],
        [(1, 1.0), (2, 1.0)],
        [(n, n / 40) for n in range(1, 40)],
    ):
        chart = accuracy_chart([Series("a", "federated", points)], "round")
        for x, y in re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', chart):
            assert 40 <= float(x) <= 720 and 0 <= float(y) <= 270
    chart = accuracy_chart([Series("a", "one", [(1, 0.5), (2, 0.6)], [(0.2, 0.7), (0.3, 1.0)])], "round")
    (outline,) = re.findall(r'<polygon class="band-one" points="([^"]+)"', chart)
    corners = [tuple(map(float, corner.split(","))) for corner in outline.split()]
    assert len(corners) == 4 and corners[0][0] == corners[3][0] < corners[1][0] == corners[2][0]
    assert (
        0 <= corners[1][1] < corners[0][1] < corners[2][1] < corners[3][1] <= 270
    )  # highest first, in pixels
    with pytest.raises(ValueError, match="at least one point"):
        accuracy_chart([], "round")
