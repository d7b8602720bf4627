"""Two lines around somebody else's app: nothing else is needed, and the strategy stays what it was."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import arrays_size_mod
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp.strategy import FedAdam, FedAvg, Result

from fedvm.audit.replay import audit
from fedvm.federation import Accountable, InProcessGrid, fedvm_mod, make_nodes, open_federation
from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.federation.coordinator.in_place import fraction_bits_for
from fedvm.federation.errors import FederationStalled, SettingsError, TermsError
from fedvm.federation.terms import SHAPES
from fedvm.rundir.run import open_run

ONES = ArrayRecord({"w": Array(np.ones(3, np.float32)), "steps": Array(np.array(0))})
Spoil = Callable[[int, dict[str, Any], dict[str, Any]], None]


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def with_(self, words: str) -> list[str]:
        return [line for line in self.lines if words in line]


@pytest.fixture
def log() -> Iterator[Lines]:
    lines, logger = Lines(), logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.INFO)  # another test's `fedvm run` may have silenced it in this process
    logger.addHandler(lines)
    yield lines
    logger.removeHandler(lines)
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDVM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def averaging(*mods: Mod, spoil: Spoil | None = None) -> ClientApp:
    """Client i moves the model halfway to i. spoil: changes what it answers, by client."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(str(context.node_config["partition-id"]))
        arrays: dict[str, Any] = {name: one.numpy() for name, one in message.content["arrays"].items()}
        metrics: dict[str, Any] = {
            "num-examples": 10 + client,
            "rate": message.content["config"].get("rate", 0.0),
        }
        metrics["each"] = [1.0, float(client)]
        arrays["w"] = (arrays["w"] + np.float32(client)) / np.float32(2)
        if spoil:
            spoil(client, arrays, metrics)
        content = RecordDict(
            {"arrays": ArrayRecord({name: Array(np.asarray(one)) for name, one in arrays.items()})}
        )
        content["metrics"] = MetricRecord(metrics)
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        total = float(message.content["arrays"]["w"].numpy().sum())
        return Message(
            RecordDict({"metrics": MetricRecord({"num-examples": 10, "total": total})}), reply_to=message
        )

    return app


def play(strategy: FedAvg, app: ClientApp, clients: int = 3, rounds: int = 3, **more: Any) -> Result:
    def test(number: int, arrays: ArrayRecord) -> MetricRecord:
        return MetricRecord({"sum": float(arrays["w"].numpy().sum())})

    with InProcessGrid(make_nodes(app, [{}] * clients), seed=1) as grid:
        config = ConfigRecord({"rate": 0.1})
        return strategy.start(grid, ONES, num_rounds=rounds, train_config=config, evaluate_fn=test, **more)


class Own(FedAvg):
    """An app's own strategy: every method that one may override, and state of its own."""

    def __init__(self, best: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.best, self.seen, self.replies = best, [], []

    def start(self, *args: Any, **kwargs: Any) -> Result:
        self.started = True
        return super().start(*args, **kwargs)

    def configure_train(self, server_round, arrays, config, grid):
        self.seen.append(float(arrays["w"].numpy()[0]))
        if server_round == 2:
            config["rate"] *= 0.5
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        self.replies.append(sorted(float(one.content["arrays"]["w"].numpy()[0]) for one in replies))
        arrays, metrics = super().aggregate_train(server_round, replies)
        return arrays, self.marked(metrics)

    def aggregate_evaluate(self, server_round, replies):
        metrics = super().aggregate_evaluate(server_round, replies)
        self.best = max(self.best, metrics["total"])
        return metrics

    def marked(self, metrics: MetricRecord) -> MetricRecord:
        metrics["mine"] = 1.0
        return metrics


def test_a_strategy_of_the_apps_own_stays_what_it_is(home: Path) -> None:
    plain, own = Own(), Own()
    expected = play(plain, averaging())
    wrapped = Accountable(own)
    result = play(wrapped, averaging(fedvm_mod))
    assert isinstance(wrapped, Own) and wrapped.started and wrapped.seen is own.seen
    assert own.seen == pytest.approx(plain.seen, abs=1e-6) and own.best == pytest.approx(plain.best, abs=1e-5)
    assert [one for row in own.replies for one in row] == pytest.approx(
        [one for row in plain.replies for one in row], abs=1e-6
    )
    assert [result.train_metrics_clientapp[n]["rate"] for n in (1, 2, 3)] == pytest.approx([0.1, 0.05, 0.05])
    assert result.train_metrics_clientapp[1]["each"] == pytest.approx(
        expected.train_metrics_clientapp[1]["each"]
    )
    assert result.train_metrics_clientapp[3]["mine"] == 1.0
    assert list(result.evaluate_metrics_serverapp) == [0, 1, 2, 3]
    for number, metrics in expected.evaluate_metrics_serverapp.items():
        assert result.evaluate_metrics_serverapp[number]["sum"] == pytest.approx(metrics["sum"], abs=1e-5)
    (directory,) = (home / "runs").iterdir()
    federation = wrapped.accountability.federation
    assert federation.ledger.rules().min_clients == 2
    with open_run(directory) as run:
        report = audit(run.w3, run.store, federation=run.deployment.federation, service=None)
    assert report.clean


class Keeping(FedAvg):
    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        return ArrayRecord(
            {name: Array(np.asarray(one.numpy() * 0)) for name, one in arrays.items()}
        ), metrics


class Skipping(FedAvg):
    def aggregate_train(self, server_round, replies):
        return super().aggregate_train(server_round, replies) if server_round > 5 else (None, None)


class Picking(FedAvg):
    """Chooses its nodes and what it tells each by itself."""

    def configure_train(self, server_round, arrays, config, grid):
        nodes = sorted(grid.get_node_ids())[:2]
        for node in nodes:
            own = ConfigRecord({"rate": float(node)})
            yield Message(RecordDict({"arrays": arrays, "config": own}), node, "train")


@pytest.mark.parametrize(
    ("kind", "words"), [(Keeping, "changes the model after"), (Skipping, "did not call super")]
)
def test_an_aggregation_that_nobody_could_recompute_is_refused(kind: type[FedAvg], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        play(Accountable(kind()), averaging(fedvm_mod), rounds=1)


def test_a_strategy_that_chooses_by_itself_is_followed() -> None:
    wrapped = Accountable(Picking())
    result = play(wrapped, averaging(fedvm_mod), rounds=1)
    assert result.train_metrics_clientapp[1]["rate"] == pytest.approx((10 * 1000 + 11 * 1001) / 21)
    assert len(wrapped.accountability.outcome.sampled) == 2


def test_every_client_has_its_line(log: Lines) -> None:
    def spoil(client: int, arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        if client == 1:
            raise ValueError("no data here")
        if client == 2:
            metrics["num-examples"] = 5_000_000
        if client == 3:
            arrays["w"] = arrays["w"] * np.float32("nan")
        if client == 4:
            arrays["personal"] = np.ones(2, np.float32)
        if client == 5:
            del metrics["num-examples"]
        if client == 6:
            arrays["w"] = np.nextafter(np.ones(3, np.float32), np.float32(2))

    play(Accountable(FedAvg(), fraction_bits=20), averaging(fedvm_mod, spoil=spoil), clients=7, rounds=1)
    assert log.with_("Round 1 is final: 4 updates accepted, 0 refused, 3 clients failed")
    assert len(log.with_("accepted, weight")) == 4
    assert log.with_("failed: ValueError: no data here")
    assert log.with_("accepted, weight 1,000,000; 5,000,000 examples are capped")
    assert log.with_("training diverged")
    assert log.with_("the app returned 'personal', which the model that the server sent does not have")
    assert log.with_("it reports no 'num-examples', and counts as one example")
    assert log.with_("rounding took")
    assert log.with_("no rule bounds them. To have longer ones refused: fedvm rules announce --set max_norm=")


def before(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """A mod that wants what train messages have, and a round."""
    assert message.content["arrays"]["w"].numpy().dtype == np.float32
    assert int(message.content["config"]["server-round"]) >= 0
    reply = call_next(message, context)
    assert reply.content["metrics"]["num-examples"] > 0
    return reply


@pytest.mark.parametrize("mods", [(before, fedvm_mod), (fedvm_mod, before), (arrays_size_mod, fedvm_mod)])
def test_other_mods_may_stand_before_and_after(mods: tuple[Mod, ...], log: Lines) -> None:
    result = play(Accountable(FedAvg(min_train_nodes=3, min_available_nodes=3)), averaging(*mods), rounds=1)
    assert result.train_metrics_clientapp[1]["rate"] == 0.1
    assert not log.with_("left out")


def test_a_mod_that_fails_before_ours_ends_the_run_and_is_named() -> None:
    def broken(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        raise RuntimeError("my mod is broken")

    with pytest.raises(SettingsError, match=r"no connected node can take part: .*my mod is broken"):
        play(Accountable(FedAvg()), averaging(broken, fedvm_mod), rounds=1)


def test_a_client_that_lost_its_updates_for_ever_is_an_error_after_three_rounds(log: Lines) -> None:
    def spoil(client: int, arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        raise ValueError("no data here")

    with pytest.raises(FederationStalled, match=r"3 rounds in a row came to nothing.*no data here"):
        play(Accountable(FedAvg()), averaging(fedvm_mod, spoil=spoil), rounds=9)


def test_a_second_run_on_a_finished_federation_says_what_it_does(home: Path, log: Lines) -> None:
    strategy = Accountable(FedAvg())
    first = play(strategy, averaging(fedvm_mod), rounds=2)
    strategy.accountability.close()
    federation = open_federation(strategy.accountability.directory)
    again = play(Accountable(FedAvg(), federation=federation), averaging(fedvm_mod), rounds=2)
    assert log.with_("has played 2 rounds already and 2 are asked for: nothing is trained")
    assert np.array_equal(again.arrays["w"].numpy(), first.arrays["w"].numpy())
    assert again.evaluate_metrics_serverapp[1]["sum"] == first.evaluate_metrics_serverapp[1]["sum"]


def test_server_optimisers_and_wide_and_narrow_models(log: Lines) -> None:
    strategies = FedAdam(eta=0.5, beta_2=0.5, tau=0.01), FedAdam(eta=0.5, beta_2=0.5, tau=0.01)
    expected = play(strategies[0], averaging())
    result = play(Accountable(strategies[1]), averaging(fedvm_mod))
    assert result.arrays["w"].numpy() == pytest.approx(expected.arrays["w"].numpy(), abs=1e-4)
    assert fraction_bits_for({"w": np.array([0.1])}) == 24
    assert fraction_bits_for({"w": np.array([900.0]), "n": np.array([10**9])}) == 14
    assert fraction_bits_for({"w": np.zeros(3)}) == 20
    with pytest.raises(SettingsError, match="too large for int32"):
        fraction_bits_for({"w": np.array([1e9])})
    with pytest.raises(SettingsError, match="wrap it once"):
        Accountable(Accountable(FedAvg()))


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 20), ("float32", 20), ("float64", 24)])
def test_a_model_that_floats_cannot_hold_travels_whole(dtype: str, bits: int) -> None:
    codec = ModelCodec.for_arrays({"w": np.zeros(200, dtype), "n": np.array(3)}, bits)
    vector = np.random.default_rng(5).integers(-(2**31), 2**31, 200).astype(np.int32)
    vector[:2] = -(2**31), 2**31 - 1
    sent, remainder = named_arrays(codec.floats(vector)), codec.remainder(vector)
    assert np.array_equal(codec.vector(sent, remainder), vector)
    assert (remainder == b"") == (dtype == "float64")
    near = codec.quantize({"w": np.linspace(-3, 3, 200).astype(dtype), "n": np.array(3)})
    assert codec.remainder(near) == b""


@pytest.mark.parametrize(
    ("value", "remainder"),
    [
        (1.0, b"junk"),
        (1.0, zlib.compress(bytes(4))),
        (1.0, zlib.compress(bytes(2**20))),
        (float("nan"), b""),
        (float("inf"), b""),
        (3_000.0, b""),
    ],
)
def test_a_model_that_is_none_is_refused(value: float, remainder: bytes) -> None:
    codec = ModelCodec.for_arrays({"w": np.zeros(4, np.float32)}, 20)
    with pytest.raises(TermsError, match="the model in the server's message"):
        codec.vector({"w": np.full(4, value, np.float32)}, remainder)


def test_no_client_chooses_the_first_model(home: Path) -> None:
    """An app without initial arrays asks a client for shapes alone, and the next one where the first is of no use."""

    def lying(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if SHAPES not in message.content.config_records:
            return call_next(message, context)
        wild = {"w": Array(np.full(3, 1e6, np.float32))} if context.node_config["partition-id"] else {}
        return Message(RecordDict({"arrays": ArrayRecord(wild)}), reply_to=message)

    strategy = Own()
    app = averaging(lying, fedvm_mod)
    with InProcessGrid(make_nodes(app, [{}] * 3), seed=1) as grid:
        Accountable(strategy).start(
            grid, ArrayRecord(), num_rounds=1, train_config=ConfigRecord({"rate": 0.1})
        )
    assert strategy.seen == [0.0]
