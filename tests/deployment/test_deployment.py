"""A real deployment on loopback: TLS, node authentication, every client with its own key and images alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback
from small_run import small_config, write_digits

from fedvm.chain.keys import create_key_file
from fedvm.pipeline.client_data import save_client_data
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import config_of, save_config, tables_of
from fedvm.pipeline.data import prepare_data
from fedvm.pipeline.federate import client_data
from fedvm.pipeline.run import run_all

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
CLIENTS = 3
INTRUDER = "intruder"


@dataclass
class Deployment:
    """The running processes, and what the coordinator's configuration says of the clients."""

    loopback: Loopback
    digits: Path
    members: list[str]
    nodes: dict[str, subprocess.Popen[bytes]]
    superlink: subprocess.Popen[bytes] | None = None

    def config(self, out: Path, engine: str, rounds: int) -> RunConfig:
        settings = tables_of(small_config(self.digits, out))
        del settings["adversaries"]
        settings["data"]["clients"] = CLIENTS
        settings["rules"]["min_clients"] = 2
        settings["federation"] |= {"engine": engine, "rounds": rounds, "min_available_nodes": 2}
        if engine == "deployment":
            settings["deployment"]["members"] = self.members
        return config_of(settings)

    def start(self, out: Path, rounds: int, *flags: str) -> subprocess.Popen[bytes]:
        """`fedvm run`, as a coordinator types it."""
        config = out.with_suffix(".toml")
        save_config(self.config(out, "deployment", rounds), config)
        command = [sys.executable, "-c", "from fedvm.cli import main; main()", "run", *flags]
        command += [str(config), "--out", str(out), "--superlink", self.loopback.address]
        command += ["--root-certificates", str(self.loopback.certificates / "ca.pem")]
        with out.with_suffix(".log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def rounds(self, out: Path) -> list[dict[str, Any]]:
        return [json.loads(file.read_text()) for file in sorted((out / "rounds").glob("round-*.json"))]


def member(number: int) -> str:
    return f"client-{number}"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Three SuperNodes of members, and one that Flower lets in but whose key is no member's."""
    path = tmp_path_factory.mktemp("deployment")
    digits = write_digits(path / "digits")
    found = Deployment(Loopback(path), digits, [], {})
    data = prepare_data(found.config(path / "none", "inprocess", 1))
    loopback = found.loopback
    try:
        found.superlink = loopback.start_superlink()
        for name, number in [*((member(n), n) for n in range(CLIENTS)), (INTRUDER, 0)]:
            home = path / name
            home.mkdir()
            account = create_key_file(home / "client.key")
            save_client_data(home / "images.npz", client_data(data, number))
            own = f'partition-id={number} fedvm-key-file="{home}/client.key" fedvm-data="{home}/images.npz"'
            found.nodes[name] = loopback.start_supernode(name, node_config=own)
            if name != INTRUDER:
                found.members.append(account.address)
        yield found
    finally:
        loopback.close()


def test_an_unknown_supernode_is_not_let_in(deployment: Deployment) -> None:
    stranger = deployment.loopback.start_supernode("stranger", node_config="partition-id=0", known=False)
    assert stranger.wait(timeout=90) != 0
    assert "Activated" not in deployment.loopback.log("stranger")


def test_a_deployment_comes_to_the_digest_of_one_process(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    coordinator = deployment.start(tmp_path / "there", rounds=2)
    assert coordinator.wait(timeout=900) == 0, (tmp_path / "there.log").read_text()
    seconds = time.monotonic() - begun
    here = run_all(deployment.config(tmp_path / "here", "inprocess", 2))
    report = json.loads((tmp_path / "there" / "report.json").read_text())
    assert report["model"]["model_root"] == here.model.model_root
    assert tuple(report["data"]["client_examples"]) == here.data.client_examples  # as the clients attest
    for row in deployment.rounds(tmp_path / "there"):
        assert row["status"] == "final" and not row["failures"]
        assert {one["member"] for one in row["accepted"]} == set(
            deployment.members
        )  # the intruder is not there
    with capsys.disabled():
        print(f"\n2 rounds with {CLIENTS} SuperNodes over TLS: {seconds:.0f} s for the whole run")


def test_a_superlink_that_is_killed_and_started_again_carries_the_run_on(
    deployment: Deployment, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    coordinator = deployment.start(out, rounds=2)
    deadline = time.monotonic() + 600
    while not (out / "rounds" / "round-0001.json").exists():
        assert coordinator.poll() is None and time.monotonic() < deadline, out.with_suffix(".log").read_text()
        time.sleep(0.1)
    assert deployment.superlink is not None
    os.killpg(deployment.superlink.pid, signal.SIGKILL)
    assert coordinator.wait(timeout=300) == 1
    assert "resume the run" in out.with_suffix(".log").read_text()
    deployment.superlink = deployment.loopback.start_superlink()
    coordinator = deployment.start(out, 2, "--resume")
    assert coordinator.wait(timeout=900) == 0, out.with_suffix(".log").read_text()
    whole = run_all(deployment.config(tmp_path / "whole", "inprocess", 2))
    report = json.loads((out / "report.json").read_text())
    assert report["model"]["model_root"] == whole.model.model_root


def test_a_round_goes_on_without_a_supernode_that_is_killed_in_it(
    deployment: Deployment, tmp_path: Path
) -> None:
    lost, out = deployment.nodes[member(2)], tmp_path / "run"
    log_before = len(deployment.loopback.log(member(2)))
    coordinator = deployment.start(out, rounds=2)
    try:
        deadline = time.monotonic() + 600  # asked who it is, then told to train
        while deployment.loopback.log(member(2))[log_before:].count("Receiving: train") < 2:
            assert coordinator.poll() is None and time.monotonic() < deadline, out.with_suffix(
                ".log"
            ).read_text()
            time.sleep(0.1)
        os.killpg(lost.pid, signal.SIGKILL)
        assert coordinator.wait(timeout=900) == 0, out.with_suffix(".log").read_text()
    finally:
        if coordinator.poll() is None:
            coordinator.kill()
    first, second = deployment.rounds(out)
    assert first["status"] == second["status"] == "final"
    (failure,) = first["failures"]
    assert failure["member"] == deployment.members[2] and "unavailable" in failure["reason"].lower()
    assert len(first["accepted"]) == len(second["accepted"]) == 2
    assert set(second["sampled"]) == set(deployment.members[:2]) and not second["failures"]
