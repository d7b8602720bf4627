"""A run whose version must pass a gate: passed, failed, interrupted, and overdue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_run import GATE, small_config

from fedvm.chain.gate import SampleAsked, TrialEnded, TrialState
from fedvm.devnet.embedded import open_chain
from fedvm.pipeline import answer_gas
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.errors import ConfigError, GateFailed
from fedvm.pipeline.events import Observer
from fedvm.pipeline.results import RunReport
from fedvm.pipeline.run import run_all
from fedvm.protocol import Sample, SampleTree
from fedvm.rundir.run import open_run
from fedvm.rundir.target import Target
from fedvm.web.export import export


class _Interrupt(Observer):
    """Presses Ctrl-C when the n-th step begins, or when a batch of samples was asked."""

    def __init__(self, step: int = 0, *, samples: bool = False) -> None:
        self.left, self.samples = step, samples

    def step(self, title: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def progress(self, what: str, done: int, total: int) -> None:
        if self.samples and what == "samples":
            raise KeyboardInterrupt


@pytest.mark.slow
def test_interrupted_anywhere_and_overdue_a_version_still_passes(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_gas, "MOST_SAMPLES", 1)
    out = tmp_path / "run"
    config = small_config(
        digits, out, **GATE, gate__trial_seconds=600, federation__rounds=1, evaluation__test_images=5
    )
    # Reading comes before there is a run; the trial is the sixth step.
    for step in range(2, 7):
        with pytest.raises(KeyboardInterrupt):
            run_all(config, resume=step > 2, observer=_Interrupt(step))
    with pytest.raises(KeyboardInterrupt):
        run_all(config, resume=True, observer=_Interrupt(samples=True))
    with open_chain(out / "chain.sqlite") as chain:
        chain.advance_time(601)
    report = run_all(config, resume=True)
    with open_run(out) as run:
        service = run.model_service
        gate = service.gate()
        assert gate is not None
        ended = [event for event in gate.events([TrialEnded]) if isinstance(event, TrialEnded)]
        asked = [event.index for event in gate.events([SampleAsked]) if isinstance(event, SampleAsked)]
        assert [event.outcome for event in ended] == [TrialState.LAPSED, TrialState.PASSED]
        assert service.current_version() == report.model.version == 2
        assert len(set(asked)) == len(asked) and gate.samples_remaining() == 40 - len(asked)
        terms, facts = gate.terms(), report.gate
    _check_facts(report)
    assert facts is not None and facts.asked == ended[1].asked and facts.right == ended[1].right
    with np.load(out / "gate-samples.npz") as kept:
        samples = SampleTree(
            tuple(
                Sample(salt.tobytes(), int(label), image.tobytes())
                for salt, label, image in zip(kept["salts"], kept["labels"], kept["inputs"], strict=True)
            )
        )
    assert samples.root == terms.samples_root
    export(Target(run=out), out / "site")
    page = (out / "site" / "model.html").read_text()
    assert "There is none." not in page and f"{facts.right} of {facts.asked} right" in page
    assert "puts up 0.01 FIL" in page


def _check_facts(report: RunReport) -> None:
    facts = report.gate
    assert facts is not None
    assert sum(row.asked for row in facts.classes) == facts.asked
    assert sum(row.right for row in facts.classes) == facts.right
    assert (facts.better, facts.worse) == (0, 0)
    assert facts.gas > 50_000 * facts.asked and facts.transactions == facts.asked + 1
    assert report.data.validation == 40


@pytest.mark.slow
def test_a_version_that_fails_ends_the_run_and_is_not_tried_again(tmp_path: Path, digits: Path) -> None:
    strict = {**GATE, "gate__fail_accuracy": 0.97, "gate__pass_accuracy": 0.999, "gate__alpha": 0.6}
    config = small_config(digits, tmp_path / "run", **strict, federation__rounds=1)
    with pytest.raises(GateFailed, match=r"version 1 did not pass .* clearly more than 97 %"):
        run_all(config)
    with pytest.raises(GateFailed, match="version 1 did not pass"):
        run_all(config, resume=True)
    with open_run(tmp_path / "run") as run:
        assert run.model_service.current_version() == 0
        assert len(list(run.model_service.versions())) == 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"gate.pass_accuracy": 0.8}, "must be above fail_accuracy"),
        ({"gate.max_samples": 30}, "too few to pass: 31"),
        ({"gate.samples": 100}, "max_samples = 120 is above samples = 100"),
    ],
)
def test_a_gate_that_cannot_be_passed_is_refused(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(None, overrides)


def test_the_gate_needs_images(tmp_path: Path, digits: Path) -> None:
    with pytest.raises(ConfigError, match=r"gate\.samples = 90 are more than half"):
        run_all(small_config(digits, tmp_path / "run", **{**GATE, "gate__samples": 90}))
