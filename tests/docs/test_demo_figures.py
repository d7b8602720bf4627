"""What README, tutorial and examples show of the demo is what the demo does, up to the rounding of other processors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedvm.pipeline.ask import ask
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.run import run_all
from fedvm.rundir.run import open_run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SHOWN = re.compile(r"^ +1 +16 +15 +1 +0 +([\d.]+) +([\d.]+)% +[\d.]+ +([\d,]+)$", re.MULTILINE)


def number(pattern: str, text: str = README) -> int:
    found = re.search(pattern, " ".join(text.split()))
    assert found is not None, pattern
    return int(found.group(1).replace(",", ""))


def test_the_pages_show_the_same_run() -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text()
    assert SHOWN.findall(README) == SHOWN.findall(tutorial) != []
    frame = number(r"\(([\d,]+) gas a frame\)", (ROOT / "examples" / "video" / "README.md").read_text())
    assert frame == number(r"The network alone takes ([\d,]+) gas")


@pytest.mark.slow
def test_the_demo_does_what_is_shown(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    demo = ROOT / "examples" / "demo.toml"
    report = run_all(load_config(demo, {"run.out": str(out), "baseline.enabled": False}))
    ((loss, accuracy, gas),) = SHOWN.findall(README)
    first = report.rounds[0]
    assert first.test_loss == pytest.approx(float(loss), rel=0.05)
    assert 100 * first.test_accuracy == pytest.approx(float(accuracy), abs=2)
    assert sum(first.gas.values()) == pytest.approx(int(gas.replace(",", "")), rel=0.01)
    by_client = {member.client: member for member in first.members}
    assert (by_client[3].examples, by_client[3].weight) == (11_400, 300)
    assert f"client 3 ({by_client[3].member[:8]}…): states 11,400 examples, counts 300" in README
    assert f"refused client 11 ({by_client[11].member[:8]}…): NormTooLarge" in README

    alone = number(r"The network alone takes ([\d,]+) gas")
    assert report.gas.predict == pytest.approx(alone, rel=0.01)
    with open_run(out, read_only=False) as opened:
        assert opened.chain is not None
        picture = out / "images" / "04-3.png"  # which README asks about
        (answer,) = ask([picture], opened)
        (decided,) = ask([picture], opened, user=opened.chain.account("user"))
    assert answer.gas == pytest.approx(number(r"must bring ([\d,]+)"), rel=0.01)
    assert decided.gas == pytest.approx(number(r"the decision takes ([\d,]+)"), rel=0.01)
