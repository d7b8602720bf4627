"""Federations that a directory names, on its own chain and on a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from federation_bench import MODEL, SEED, client_data, rules
from flwr.app import Context, RecordDict
from flwr.serverapp.strategy import FedAvg
from web3.types import RPCEndpoint

import conditions
from fedvm.audit.replay import audit
from fedvm.chain.endpoint import Endpoint
from fedvm.chain.keys import create_key_file
from fedvm.chain.networks import connect
from fedvm.federation import (
    Accountable,
    FederationSettings,
    InProcessGrid,
    create_federation,
    fedvm_mod,
    image_client_app,
    initial_arrays,
    make_nodes,
    open_federation,
)
from fedvm.federation.coordinator.directory import create_federation_on
from fedvm.federation.errors import SettingsError, TermsError
from fedvm.federation.keys import DIRECTORY, key_from_node_config
from fedvm.learning.export import export_onnx
from fedvm.learning.models import build_model
from fedvm.rundir.run import open_run

ROOT = Path(__file__).parents[2]
ANVIL_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # public, of its account 0


@pytest.fixture
def anvil(start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """A network whose blocks come by themselves, one a second."""
    with start_anvil("--block-time", "1") as url:
        yield url


@contextmanager
def _hurried(url: str) -> Iterator[None]:
    """Has the chain's clock run twenty times as fast meanwhile: windows are minutes at least."""
    w3, over = connect(url), threading.Event()

    def hurry() -> None:
        while not over.wait(0.5):
            w3.provider.make_request(RPCEndpoint("evm_increaseTime"), [10])

    thread = threading.Thread(target=hurry)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_members_elsewhere_are_accountable_to_a_contract_on_a_network(
    tmp_path: Path, anvil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
    from fedvm.chain.keys import load_key

    members, configs = [], []
    for index in range(2):
        file = tmp_path / f"{index}.key"
        members.append(create_key_file(file).address)
        configs.append({"fedvm-key-file": str(file), "fedvm-rpc": anvil})
    directory, initial = tmp_path / "federation", initial_arrays(MODEL, SEED)
    address = create_federation_on(
        Endpoint(anvil),
        directory,
        initial,
        rules=rules(),
        members=members,
        account=load_key(),
        security=conditions.security(challenge_seconds=60, answer_seconds=60),
    )
    assert not (directory / "keys").exists()
    training = FederationSettings(clients=2, rounds=1).training
    app = image_client_app(model=MODEL, data=client_data, training=training, seed=SEED, mods=[fedvm_mod])
    federation = open_federation(Context(1, 1, {}, RecordDict(), {DIRECTORY: str(directory)}))
    strategy = Accountable(FedAvg(fraction_evaluate=0.0), federation=federation)
    with _hurried(anvil), InProcessGrid(make_nodes(app, configs), seed=SEED) as grid:
        strategy.start(grid, initial, num_rounds=1)
    assert federation.ledger.address == address and federation.ledger.current_round() == 1
    with open_run(directory) as run:
        report = audit(run.w3, run.store, federation=address, service=None, first_block=run.deployment.block)
    assert report.clean and sum(report.passed.values()) > 10
    _served_with_lineage(tmp_path, anvil, directory, address, monkeypatch)
    monkeypatch.setenv("PRIVATE_KEY", "0x" + "42" * 32)
    with pytest.raises(SettingsError, match="set its key as PRIVATE_KEY"):
        open_federation(directory)


def _served_with_lineage(
    home: Path, anvil: str, directory: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest final model goes into the app's network, which is deployed and audited with where it comes from."""
    from fedvm.cli.entry import run as run_command

    (home / "own_app.py").write_text(
        "from federation_bench import MODEL, SEED\n"
        "from fedvm.federation.simulated.server import initial_arrays\n"
        "def state():\n    return initial_arrays(MODEL, SEED)\n"
    )
    export_onnx(build_model(MODEL, seed=99), MODEL.shape, home / "network.onnx")
    monkeypatch.chdir(home)
    words = [
        "serve",
        str(directory),
        "--onnx",
        "network.onnx",
        "--out",
        "served",
        "--scale",
        "0.00392",
        "--json",
    ]
    assert run_command([*words, "--model", "own_app:nothing"]) == 2
    assert run_command(words) == 2
    assert run_command([*words, "--model", "own_app:state", "--dry-run"]) == 0
    assert not (home / "served").exists()
    assert run_command([*words, "--model", "own_app:state"]) == 0
    with open_run(home / "served") as run:
        version = run.model_service.version(1)
        assert (version.federation, version.round) == (address, 1)
        assert version.model_root == run.federation_contract.model_root()
        at = run.deployment
        report = audit(run.w3, run.store, federation=address, service=at.service, first_block=at.block)
    assert report.clean, report.findings


def test_a_directory_is_made_once_named_in_full_and_holds_the_simulated_clients_keys(tmp_path: Path) -> None:
    directory, initial = tmp_path / "federation", initial_arrays(MODEL, SEED)
    given = {"rules": rules(), "security": conditions.security(), "clients": 3, "seed": 4}
    with pytest.raises(SettingsError, match="the rules speak of 7 parameters"):
        create_federation(directory, initial, **{**given, "rules": rules(elements=7)})
    hasty = conditions.security(stake=1, answer_seconds=1)
    with pytest.raises(
        SettingsError, match=r"answer_seconds = 1 is too short .* needs 3 s or loses its stake"
    ):
        create_federation(directory, initial, **{**given, "security": hasty})
    create_federation(directory, initial, **given)
    with pytest.raises(SettingsError, match="not empty"):
        create_federation(directory, initial, **given)
    with pytest.raises(SettingsError, match="absolute path"):
        open_federation(Context(1, 1, {}, RecordDict(), {DIRECTORY: "federation"}))
    federation = open_federation(directory)
    found = set()
    for partition in range(3):
        node = Context(1, 7, {"partition-id": partition}, RecordDict(), {DIRECTORY: str(directory)})
        found.add(key_from_node_config(node))
    assert len(found) == 3 and len(federation.ledger.members()) == 3
    own = Context(
        1, 7, {"partition-id": 0, "fedvm-key": ANVIL_KEY}, RecordDict(), {DIRECTORY: str(directory)}
    )
    assert key_from_node_config(own) == ANVIL_KEY  # a key of one's own comes first
    with pytest.raises(TermsError, match="cannot be read"):
        key_from_node_config(Context(1, 7, {"partition-id": 3}, RecordDict(), {DIRECTORY: str(directory)}))
