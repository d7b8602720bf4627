"""The same clients in this process and in Flower: the same model, to the bit."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest
from deployed import carry_to, deployed_clients, honest, run_config_of
from flwr.app import Context, Message, RecordDict
from small_run import small_config

from fedvm.chain.epochs import EpochsContract
from fedvm.federation.engines.flower_task import set_server_identity
from fedvm.federation.engines.superlink import SuperLink, free_port
from fedvm.federation.errors import EngineError, FederationStalled, TermsError
from fedvm.federation.identity import Question
from fedvm.federation.keys import DATA
from fedvm.pipeline import engines
from fedvm.pipeline import federate as federating
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import config_of, tables_of
from fedvm.pipeline.data import prepare_data
from fedvm.pipeline.engines import flower_grid
from fedvm.pipeline.events import Observer
from fedvm.pipeline.flower_app import client_app
from fedvm.pipeline.flower_project import write_app
from fedvm.pipeline.ground import opened_ground
from fedvm.pipeline.results import RoundRow
from fedvm.protocol import Domain
from fedvm.protocol.address import to_address
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import open_run
from fedvm.store import ContentStore


def digest_of(config: RunConfig, observer: Observer | None = None) -> str:
    """Root of the model that the run's rounds come to, without what follows them."""
    directory = RunDirectory(config.out)
    with opened_ground(config, directory, None, resume=False) as ground:
        store = ContentStore(directory.path / "store")
        trained = federating.federate(
            config, prepare_data(config), ground, store, directory, observer or Observer()
        )
    return trained.model_root.hex()


@pytest.mark.slow
def test_clients_with_keys_and_images_of_their_own_come_to_the_digest_of_the_run(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, configs = deployed_clients(tmp_path, digits)
    assert prepare_data(honest(digits, tmp_path, "deployment")).partitions == ()  # nobody here deals any out
    carry_to(tmp_path, monkeypatch, configs)
    here = digest_of(honest(digits, tmp_path / "here", "inprocess"))
    assert digest_of(honest(digits, tmp_path / "there", "deployment", *members)) == here


@pytest.mark.parametrize("engine", ["inprocess", pytest.param("flower-simulation", marks=pytest.mark.slow)])
def test_clients_that_agree_to_other_rules_sign_nothing(engine: str, tmp_path: Path, digits: Path) -> None:
    if engine != "inprocess":
        pytest.importorskip("ray", reason="needs Ray: pip install 'fedvm[simulation]'")
    settings = tables_of(honest(digits, tmp_path / "run", engine))
    settings["consent"] = {"min_clients": 4}  # the rules say 3
    with pytest.raises(FederationStalled, match="a quorum of at least 4 clients only"):
        digest_of(config_of(settings))


def test_a_supernode_that_agrees_to_other_rules_signs_nothing(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [{"fedvm-min-clients": 4}, {"fedvm-max-epsilon": 3.0}, {}, {}]
    members, configs = deployed_clients(tmp_path, digits)
    carry_to(tmp_path, monkeypatch, [{**one, **limit} for one, limit in zip(configs, limits, strict=True)])
    settings = tables_of(honest(digits, tmp_path / "there", "deployment", *members))
    settings["federation"]["rounds"] = 3
    with pytest.raises(
        FederationStalled, match=r"had 2 accepted updates.*(quorum of at least 4|no privacy bud)"
    ):
        digest_of(config_of(settings))


def test_a_run_whose_rounds_are_over_needs_no_superlink(tmp_path: Path, digits: Path) -> None:
    here = digest_of(honest(digits, tmp_path / "run", "inprocess"))
    assert digest_of(honest(digits, tmp_path / "run", "deployment")) == here  # though none is named


@pytest.mark.parametrize(
    ("node_config", "complaint"),
    [
        ({}, "no number"),
        ({"partition-id": 4}, "clients 0 to 3"),
        ({"partition-id": 1}, "no images"),
        ({"partition-id": 1, DATA: "parts/none.npz"}, r"parts/none\.npz is no file of a client's images"),
    ],
)
def test_a_node_that_lacks_something_says_what(
    node_config: dict[str, str | int], complaint: str, tmp_path: Path, digits: Path
) -> None:
    config = honest(digits, tmp_path / "run", "deployment")
    app = write_app(tmp_path / "app", config, prepare_data(config), "/no/socket")
    set_server_identity(1)
    question = Question(Domain(1, to_address("0x" + "ab" * 20)), bytes(32)).content()
    message = Message(question, dst_node_id=1, message_type="train")
    context = Context(1, 1, dict(node_config), RecordDict(), dict(run_config_of(app)))
    with pytest.raises((TermsError, ValueError), match=complaint):
        client_app(message, context)


def test_a_deployment_needs_to_know_its_superlink(tmp_path: Path, digits: Path) -> None:
    config = honest(digits, tmp_path / "run", "deployment")
    with (
        pytest.raises(EngineError, match="--superlink HOST:PORT"),
        flower_grid(config, prepare_data(config), RunDirectory(config.out)) as grid,
    ):
        grid.get_node_ids()
    with pytest.raises(EngineError, match="host:port"):
        SuperLink("https://example.org")
    with pytest.raises(EngineError, match="no such file of root certificates"):
        SuperLink("example.org:8000", tmp_path / "none.pem")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'fedvm[simulation]'"
)
def test_flowers_simulation_comes_to_the_digest_of_this_process(tmp_path: Path, digits: Path) -> None:
    """With the adversaries; half of the clients drawn in each round, so the draw is the same too."""
    changes = {"federation__fraction_train": 0.75, "rules__min_clients": 2}
    here = digest_of(small_config(digits, tmp_path / "here", **changes))
    there = small_config(digits, tmp_path / "there", federation__engine="flower-simulation", **changes)
    assert digest_of(there) == here


class Impatient(Observer):
    """Has had enough after a round."""

    def round_done(self, row: RoundRow, total: int) -> None:
        raise KeyboardInterrupt


def sealed(digits: Path, out: Path, engine: str) -> RunConfig:
    settings = tables_of(honest(digits, out, engine))
    settings["data"]["clients"] = settings["rules"]["min_clients"] = 8
    settings["federation"]["fraction_evaluate"] = 0.0
    settings["sealed"] = {"group_size": 8}
    return config_of(settings)


def goes_on_with_its_epoch(digits: Path, path: Path) -> None:
    """A sealed run of Flower's simulation that is interrupted after a round goes on in this process.

    Three runs of eight clients each, the least that a sealed round can have: some nine seconds in this process."""
    whole = digest_of(sealed(digits, path / "whole", "inprocess"))
    out = path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        digest_of(sealed(digits, out, "flower-simulation"), Impatient())
    assert len(list((out / "clients").glob("*/*/*/round-1.masked"))) == 8
    assert digest_of(sealed(digits, out, "inprocess")) == whole
    with open_run(out) as run:
        assert EpochsContract.of(run.federation_contract).standing().number == 1


@pytest.mark.slow
def test_a_sealed_run_goes_on_in_another_engine(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_to(tmp_path, monkeypatch, [{}] * 8)
    goes_on_with_its_epoch(digits, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'fedvm[simulation]'"
)
def test_a_sealed_simulation_goes_on_in_this_process(tmp_path: Path, digits: Path) -> None:
    goes_on_with_its_epoch(digits, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'fedvm[simulation]'"
)
def test_an_interrupted_simulation_resumes_in_this_process_to_the_same_digest(
    tmp_path: Path, digits: Path
) -> None:
    out = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        digest_of(honest(digits, out, "flower-simulation"), Impatient())
    with open_run(out) as run:
        assert run.federation_contract.current_round() == 1
    whole = digest_of(honest(digits, tmp_path / "whole", "inprocess"))
    assert digest_of(honest(digits, out, "inprocess")) == whole


def test_a_superlink_that_is_gone_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_CHECK_EVERY", 0.0)
    monkeypatch.setattr(engines, "_PATIENCE", 0.2)
    nobody = SuperLink(f"127.0.0.1:{free_port()}", insecure=True)
    alive = engines._watcher(nobody, 1, tmp_path)
    alive()  # it may be restarting
    time.sleep(0.3)
    with pytest.raises(EngineError, match="start the SuperLink again"):
        alive()
