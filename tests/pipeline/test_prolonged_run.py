"""A finished run that is resumed with more rounds comes to what a run begun with so many comes to."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import small_config

from fedvm.audit.replay import audit
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.resume import resumed_config
from fedvm.pipeline.run import run_all
from fedvm.rundir.run import open_run


@pytest.mark.slow
def test_a_finished_run_is_prolonged(tmp_path: Path, digits: Path) -> None:
    whole = run_all(small_config(digits, tmp_path / "whole", baseline__enabled=True))
    out = tmp_path / "prolonged"
    first = run_all(small_config(digits, out, federation__rounds=1, baseline__enabled=True))
    config = resumed_config(None, {"run.out": str(out), "federation.rounds": 2})
    report = run_all(config, resume=True)
    assert report.model.model_root == whole.model.model_root != first.model.model_root
    assert report.baseline == whole.baseline and len(report.rounds) == 2
    assert (report.model.round, report.model.version) == (2, 2)
    assert report.chain.service == first.chain.service and report.evaluation.mismatches == 0
    assert load_config(out / "config.toml").federation.rounds == 2
    with open_run(out) as run:
        deployed = run.deployment
        found = audit(run.w3, run.store, federation=deployed.federation, service=deployed.service)
    assert found.clean, found.findings
    again = run_all(resumed_config(None, {"run.out": str(out)}), resume=True)
    assert again.model.version == 2  # nothing is registered once more


@pytest.mark.slow
def test_a_schedule_that_ends_with_the_run_cannot_be_prolonged(tmp_path: Path, digits: Path) -> None:
    out = tmp_path / "run"
    run_all(small_config(digits, out, federation__rounds=1, training__schedule="cosine"))
    with pytest.raises(ConfigError, match=r"schedule = cosine ends with round 1.*cannot be prolonged"):
        resumed_config(None, {"run.out": str(out), "federation.rounds": 2})
