"""Any Flower app in processes of this machine: what is read of it, and that its results are always the same."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Result

from fedvm.federation import InProcessRun, run_in_process
from fedvm.federation.engines.components import AppFiles, load_component, parse_run_config
from fedvm.federation.errors import EngineError, SettingsError

PROJECT = """
[project]
name = "own"
version = "1.0.0"
[tool.flwr.app]
publisher = "own"
[tool.flwr.app.components]
serverapp = "own_app.server:app"
clientapp = "own_app.client:app"
[tool.flwr.app.config]
rounds = 1
model.name = "net"
[tool.flwr.federations]
default = "here"
[tool.flwr.federations.here]
options.num-supernodes = 4
"""
SERVER = """
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

@app.main()
def main(grid, context):
    initial = ArrayRecord({"w": Array(np.random.normal(size=3))})
    result = FedAvg(min_train_nodes=2).start(grid, initial, num_rounds=context.run_config["rounds"])
    print("came to", result.arrays["w"].numpy().tolist(), context.run_config["model.name"])
"""
CLIENT = """
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch.utils.data import DataLoader, TensorDataset

app = ClientApp()

@app.train()
def train(msg, context):
    if context.node_config["partition-id"] == 3:
        raise ValueError("client three has no data")
    data = TensorDataset(torch.arange(6.0))
    seen = sum(float(batch.sum()) for (batch,) in DataLoader(data, batch_size=2, num_workers=1))
    arrays = {"w": Array(msg.content["arrays"]["w"].numpy() + seen)}
    content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"num-examples": 6})})
    return Message(content, reply_to=msg)

@app.evaluate()
def evaluate(msg, context):
    return Message(RecordDict({"metrics": MetricRecord({"num-examples": 6})}), reply_to=msg)
"""


@pytest.fixture
def own_app(tmp_path: Path) -> Path:
    package = tmp_path / "own_app"
    package.mkdir()
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    for name, text in (("__init__", ""), ("server", SERVER), ("client", CLIENT)):
        (package / f"{name}.py").write_text(text)
    return tmp_path


def test_what_a_directory_says_of_its_app(own_app: Path, tmp_path: Path) -> None:
    files = AppFiles.read(own_app)
    assert (files.serverapp, files.num_supernodes) == ("own_app.server:app", 4)
    assert files.configured({"model.name": "other"}) == {"rounds": 1, "model.name": "other"}
    with pytest.raises(EngineError, match=r"has no lr; it has model\.name, rounds"):
        files.configured({"lr": 0.1})
    with pytest.raises(EngineError, match=r"there is no pyproject\.toml"):
        AppFiles.read(tmp_path / "own_app")
    (own_app / "pyproject.toml").write_text("[project]\nname = 'x'")
    with pytest.raises(EngineError, match="has no serverapp"):
        AppFiles.read(own_app)
    (own_app / "pyproject.toml").write_text("[[[")
    with pytest.raises(EngineError, match="cannot be read"):
        AppFiles.read(own_app)


def test_run_configs_are_read_as_flower_reads_them(tmp_path: Path) -> None:
    assert parse_run_config(["lr=0.1 name='a b'", 'on=true more.deep="x"']) == {
        "lr": 0.1,
        "name": "a b",
        "on": True,
        "more.deep": "x",
    }
    file = tmp_path / "config.toml"
    file.write_text("lr = 2\n[more]\ndeep = 3\n")
    assert parse_run_config([str(file)]) == {"lr": 2, "more.deep": 3}
    for wrong in ("lr", "lr=", "lr=[1]", str(tmp_path / "none.toml")):
        with pytest.raises(EngineError):
            parse_run_config([wrong])
    with pytest.raises(EngineError, match="is a module, not a ClientApp"):
        load_component("os:path", ClientApp)
    with pytest.raises(EngineError, match="cannot be loaded"):
        load_component("no_such_module:app", ClientApp)
    for how in ({"num_supernodes": 0}, {"workers": -1}, {"client_timeout": 0}):
        with pytest.raises(SettingsError):
            InProcessRun(**how)  # type: ignore[arg-type]


def noisy() -> ClientApp:
    """Seeds nothing itself."""
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        if context.node_config["partition-id"] == 2:
            raise KeyError("no such column")
        moved = (
            msg.content["arrays"]["w"].numpy()
            + np.random.normal(size=3)
            + random.random()
            + float(torch.rand(()))
        )
        content = RecordDict({"arrays": ArrayRecord({"w": Array(moved)})})
        content["metrics"] = MetricRecord({"num-examples": 1 + int(str(context.node_config["partition-id"]))})
        return Message(content, reply_to=msg)

    return app


def played(how: InProcessRun) -> Result:
    results: list[Result] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0, fraction_train=0.5, min_train_nodes=3)
        assert context.run_config == {"a": 1}
        initial = ArrayRecord({"w": Array(np.random.normal(size=3))})
        results.append(strategy.start(grid, initial, num_rounds=3))

    run_in_process(server, noisy(), run_config={"a": 1}, how=how)
    return results[0]


def test_runs_are_repeated_to_the_bit_and_failures_are_named(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("flwr")
    logger.addHandler(caplog.handler)
    seen: list[Any] = []
    try:
        first = played(InProcessRun(6, seed=4, workers=0, on_finished=seen.append))
    finally:
        logger.removeHandler(caplog.handler)
    again, other = played(InProcessRun(6, seed=4, workers=0)), played(InProcessRun(6, seed=5, workers=0))
    assert first.arrays["w"].numpy().tobytes() == again.arrays["w"].numpy().tobytes()
    assert first.arrays["w"].numpy().tobytes() != other.arrays["w"].numpy().tobytes()
    failed = [one for one in seen if one.failed]
    assert len(seen) == 9 and all(
        "no such column" in one.reason and "Traceback" in one.trace for one in failed
    )
    assert bool(failed) == ("Client 2 (node 1002) failed:\nTraceback" in caplog.text)


@pytest.mark.slow
def test_processes_change_nothing_and_a_slow_client_is_stopped() -> None:
    here, there = played(InProcessRun(6, seed=4, workers=0)), played(InProcessRun(6, seed=4, workers=2))
    assert here.arrays["w"].numpy().tobytes() == there.arrays["w"].numpy().tobytes()
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        time.sleep(600 if context.node_config["partition-id"] == 1 else 0)
        content = RecordDict({"arrays": msg.content["arrays"], "metrics": MetricRecord({"num-examples": 1})})
        return Message(content, reply_to=msg)

    server, seen = ServerApp(), []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        initial = ArrayRecord({"w": Array(np.zeros(3))})
        FedAvg(fraction_evaluate=0.0, min_train_nodes=3).start(grid, initial, num_rounds=1)

    run_in_process(server, app, how=InProcessRun(3, workers=1, client_timeout=30, on_finished=seen.append))
    assert [one.reason for one in seen if one.failed] == ["no answer within 30 s"]


@pytest.mark.slow
def test_the_command_runs_an_unmodified_app_whose_loader_has_workers(own_app: Path) -> None:
    command = [sys.executable, "-c", "from fedvm.cli import main; main()", "flower", "run", str(own_app)]
    command += ["--run-config", "model.name='other'", "--workers", "2", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert "came to" in done.stdout and "other" in done.stdout
    log = done.stdout + done.stderr
    assert "Client 3 (node 1003) failed:" in log and "ValueError: client three has no data" in log
    assert "Received 3 results and 1 failures" in log
