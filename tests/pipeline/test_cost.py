"""What a run says of its cost before it trains, and what it refuses to begin."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_run import small_config

from fedvm.pipeline.cost import forecast, size_of
from fedvm.pipeline.data import PreparedData, prepare_data
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.events import Observer
from fedvm.pipeline.heartbeat import heartbeat
from fedvm.pipeline.results import RunReport
from fedvm.pipeline.run import run_all
from fedvm.rundir.layout import RunDirectory


class Told(Observer):
    """Keeps the steps and notes in their order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, title: str) -> None:
        self.lines.append(title)

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.slow
def test_the_forecast_is_near_what_the_run_comes_to(
    tmp_path: Path, digits: Path, finished: tuple[Path, RunReport]
) -> None:
    _, report = finished
    config = small_config(digits, tmp_path / "run")
    data = prepare_data(config)
    size = size_of(config, data)
    assert (size.parameters, size.macs) == (report.model.parameters, report.model.macs)
    cost = forecast(config, data, size)
    assert cost is not None
    assert cost.gas == pytest.approx(report.gas.predict_estimate, rel=0.1)
    assert cost.deploy_gas == pytest.approx(report.gas.program_deploy, rel=0.1)
    assert cost.contracts == len(report.model.parts) and cost.layers == tuple(
        layer.op for layer in report.model.layers if layer.op
    )


def test_a_run_says_its_cost_before_it_trains(tmp_path: Path, digits: Path) -> None:
    told = Told()
    run_all(
        small_config(digits, tmp_path / "run", compiler__forecast=True, federation__rounds=1), observer=told
    )
    federating = next(at for at, line in enumerate(told.lines) if line.startswith("Federating"))
    before = "\n".join(told.lines[:federating])
    assert "17,098 parameters" in before and "one prediction: about" in before
    assert "deployment: about" in before and "contracts (" in before


def test_a_network_of_absurd_size_is_refused_before_anything_is_trained(tmp_path: Path, digits: Path) -> None:
    config = small_config(digits, tmp_path / "run", compiler__max_deploy_gas=10_000_000)
    told = Told()
    with pytest.raises(ConfigError, match=r"17,098 parameters.*about 13 M gas.*--max-deploy-gas"):
        run_all(config, observer=told)
    assert not any(line.startswith("Federating") for line in told.lines)
    RunDirectory(tmp_path / "run").require_free()


def test_large_images_make_a_network_too_big(tmp_path: Path, digits: Path) -> None:
    config = small_config(digits, tmp_path / "run", model__name="lenet")
    data = prepare_data(config)
    images = replace(data.images, train=data.images.train.take(np.arange(1)), test=data.images.test)
    wide = np.zeros((1, 3, 480, 640), np.uint8)
    large = replace(
        images,
        train=replace(images.train, images=wide),
        test=replace(images.test, images=wide, labels=images.test.labels[:1]),
    )
    with pytest.raises(ConfigError, match="images of 480×640 pixels in 3 channels has 35,"):
        size_of(config, PreparedData(large, data.partitions, wide, data.validation))


def test_long_work_is_heard_of() -> None:
    told = Told()
    with heartbeat(told, "compiling", every=0.02):
        time.sleep(0.2)
    heard = len(told.lines)
    assert heard >= 2 and told.lines[0].startswith("still compiling, ")
    time.sleep(0.1)
    assert len(told.lines) == heard
