"""Money is asked about before it is spent: by a person where there is one, by --yes where there is none."""

from __future__ import annotations

import sys

import click
import pytest
import typer

from fedvm.chain.costs import PlannedStep, Step, federation_step, gas_of, rounds_step
from fedvm.chain.networks import CALIBRATION, EMBEDDED, MAINNET, SEPOLIA
from fedvm.cli.commands.spending import amount, confirm, steps_json
from fedvm.pipeline.errors import UsageError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that a person in front of a terminal is asked, and answers with no."""
    questions: list[str] = []

    def no(text: str, **_: object) -> None:
        questions.append(text)
        raise click.Abort

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", no)
    return questions


@pytest.mark.parametrize("network", [CALIBRATION, MAINNET, SEPOLIA])
def test_a_person_is_asked_and_may_say_no(asked: list[str], network: object) -> None:
    with pytest.raises(click.Abort):
        confirm("It costs much.", network, yes=False)  # type: ignore[arg-type]
    assert asked == ["It costs much. Go on?"]
    confirm("It costs much.", network, yes=True)  # type: ignore[arg-type]
    confirm("It costs nothing.", EMBEDDED, yes=False)
    assert len(asked) == 1


def test_without_a_person_only_worthless_coin_is_spent_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(UsageError, match="worth money: give --yes"):
        confirm("It costs much.", MAINNET, yes=False)
    confirm("It costs much.", MAINNET, yes=True)
    confirm("It costs much.", CALIBRATION, yes=False)


def test_sums_are_of_what_is_still_to_be_paid() -> None:
    steps = [
        PlannedStep(Step("there", 100, 1_000), done=True),
        PlannedStep(Step("asked", 100, 1_000), estimate=90),
        PlannedStep(Step("computed", 100, 1_000)),
    ]
    assert gas_of(steps, SEPOLIA) == 190 and gas_of(steps, MAINNET) == 1_090
    assert [one["done"] for one in steps_json(steps)] == [True, False, False]
    assert amount(5 * 10**17, MAINNET, None) == "0.5 FIL"
    assert amount(5 * 10**17, MAINNET, 3.2) == "0.5 FIL (1.60 in money)"
    assert federation_step(32).evm == 2 * federation_step(16).evm == 2 * federation_step(3).evm
    assert rounds_step(3, 16).filecoin == 3 * rounds_step(1, 16).filecoin
