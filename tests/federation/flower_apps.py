"""Small Flower apps, each of another kind, written as Flower's users write them. None knows of FedVM.

`App.play` runs one without the two lines or with them. Data are drawn by partition; nothing is fetched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import (
    Bulyan,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedXgbBagging,
    QFedAvg,
    Result,
)
from sklearn.linear_model import LogisticRegression
from torch import nn

from fedvm.federation import Accountable, fedvm_mod

CLIENTS = 3
ALL: dict[str, Any] = {
    "min_train_nodes": CLIENTS,
    "min_evaluate_nodes": CLIENTS,
    "min_available_nodes": CLIENTS,
}
"""Every client takes part in every round."""
Evaluate = Callable[[int, ArrayRecord], MetricRecord | None]
Client = Callable[[Sequence[Mod]], ClientApp]


@dataclass(frozen=True)
class App:
    """What an app's two files hold. before: mods that stand before FedVM's; server: what it does besides training;
    tolerance: of the final arrays, since updates are rounded to fixed point."""

    name: str
    initial: Callable[[], ArrayRecord]
    client: Client
    strategy: Callable[[], FedAvg] = lambda: FedAvg(**ALL)
    before: tuple[Mod, ...] = ()
    evaluate: Evaluate | None = None
    config: dict[str, Any] = field(default_factory=dict)
    server: Callable[[Grid], dict[str, float]] | None = None
    tolerance: float = 1e-4

    def client_app(self, *, accountable: bool) -> ClientApp:
        """The first of the two lines."""
        return self.client([*self.before, fedvm_mod] if accountable else list(self.before))

    def server_app(self, outcome: list[Outcome], *, accountable: bool, rounds: int = 2) -> ServerApp:
        """The second. outcome: gets what the app came to."""
        app = ServerApp()

        @app.main()
        def main(grid: Grid, context: Context) -> None:
            strategy = self.strategy()
            if accountable:
                strategy = Accountable(strategy)
            said = self.server(grid) if self.server else {}
            config = ConfigRecord(dict(self.config))
            result = strategy.start(
                grid, self.initial(), num_rounds=rounds, train_config=config, evaluate_fn=self.evaluate
            )
            outcome.append(Outcome(result, said, getattr(strategy, "kept", None)))

        return app


@dataclass(frozen=True)
class Outcome:
    """What an app came to: Flower's result, what its server said besides, and what its strategy kept of its own."""

    result: Result
    said: dict[str, float]
    kept: Any


# --- data and training that several apps share ---


def points(context: Context, count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A client's own points in four dimensions, and their class."""
    rng = np.random.default_rng(int(str(context.node_config["partition-id"])))
    x = rng.normal(size=(count, 4))
    return x, (x @ np.array([1.0, -2.0, 0.5, 0.0]) > 0).astype(np.int64)


def reply_to(message: Message, arrays: ArrayRecord | None, **metrics: Any) -> Message:
    named = {
        name.replace("_", "-") if name == "num_examples" else name: value for name, value in metrics.items()
    }
    content = RecordDict({"metrics": MetricRecord(named)})
    if arrays is not None:
        content["arrays"] = arrays
    return Message(content, reply_to=message)


def torch_client(
    make: Callable[[], nn.Module], *, loss_name: str = "train_loss"
) -> Callable[[Sequence[Mod]], ClientApp]:
    """The client of Flower's PyTorch quickstart."""

    def client(mods: Sequence[Mod]) -> ClientApp:
        app = ClientApp(mods=list(mods))

        @app.train()
        def train(msg: Message, context: Context) -> Message:
            torch.manual_seed(1)
            model = make()
            model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
            x, y = (torch.tensor(part) for part in points(context))
            x = x.to(next(model.parameters()).dtype)
            optimizer = torch.optim.SGD(model.parameters(), lr=float(msg.content["config"].get("lr", 0.1)))
            for _ in range(2):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x).float(), y)
                loss.backward()
                optimizer.step()
            arrays = ArrayRecord(model.state_dict())
            return reply_to(msg, arrays, num_examples=len(y), **{loss_name: loss.item()})

        @app.evaluate()
        def evaluate(msg: Message, context: Context) -> Message:
            model = make()
            model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
            model.eval()
            x, y = (torch.tensor(part) for part in points(context))
            with torch.no_grad():
                scores = model(x.to(next(model.parameters()).dtype)).float()
            loss = nn.functional.cross_entropy(scores, y).item()
            accuracy = float((scores.argmax(1) == y).float().mean())
            return reply_to(msg, None, num_examples=len(y), eval_loss=loss, eval_acc=accuracy)

        return app

    return client


def seeded(make: Callable[[], nn.Module]) -> Callable[[], ArrayRecord]:
    def initial() -> ArrayRecord:
        torch.manual_seed(0)
        return ArrayRecord(make().state_dict())

    return initial


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def halves() -> nn.Module:
    return network().to(torch.float16)


def doubles() -> nn.Module:
    return network().to(torch.float64)


def server_test(number: int, arrays: ArrayRecord) -> MetricRecord:
    """A server's own test of PyTorch's network."""
    model = network()
    model.load_state_dict(arrays.to_torch_state_dict())
    with torch.no_grad():
        return MetricRecord({"score": float(model(torch.ones(1, 4)).sum()), "round": number})


# --- scikit-learn: arrays without names; shapes that only clients know ---


def logistic(mods: Sequence[Mod]) -> ClientApp:
    app = ClientApp(mods=list(mods))

    def model_of(arrays: ArrayRecord) -> LogisticRegression:
        model = LogisticRegression(max_iter=3, warm_start=True, solver="lbfgs")
        if given := arrays.to_numpy_ndarrays():
            model.classes_ = np.arange(2)
            model.coef_, model.intercept_ = given
        return model

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        model = model_of(msg.content["arrays"])
        x, y = points(context)
        model.fit(x, y)
        return reply_to(msg, ArrayRecord([model.coef_, model.intercept_]), num_examples=len(y), fitted=1.0)

    @app.evaluate()
    def evaluate(msg: Message, context: Context) -> Message:
        x, y = points(context)
        return reply_to(msg, None, num_examples=len(y), accuracy=model_of(msg.content["arrays"]).score(x, y))

    return app


# --- NumPy: list metrics, regression ---


def line(mods: Sequence[Mod]) -> ClientApp:
    """Least squares by gradient, with a loss in the thousands and a list as a metric."""
    app = ClientApp(mods=list(mods))

    def task(context: Context) -> tuple[np.ndarray, np.ndarray]:
        x, _ = points(context)
        return x, 300.0 * x[:, 0] - 100.0 * x[:, 2] + 7.0

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        weights, offset = (one.numpy().copy() for one in msg.content["arrays"].values())
        x, y = task(context)
        for _ in range(5):
            error = x @ weights + offset - y
            weights -= 0.1 * x.T @ error / len(y)
            offset -= 0.1 * error.mean()
        arrays = ArrayRecord({"weights": Array(weights), "offset": Array(np.asarray(offset))})
        loss = float(np.square(x @ weights + offset - y).mean())
        return reply_to(msg, arrays, num_examples=len(y), loss=loss, by_feature=weights.tolist())

    @app.evaluate()
    def evaluate(msg: Message, context: Context) -> Message:
        weights, offset = (one.numpy() for one in msg.content["arrays"].values())
        x, y = task(context)
        return reply_to(
            msg, None, num_examples=len(y), loss=float(np.square(x @ weights + offset - y).mean())
        )

    return app


def line_arrays() -> ArrayRecord:
    return ArrayRecord({"weights": Array(np.zeros(4)), "offset": Array(np.zeros(()))})


# --- XGBoost: trees as bytes ---


def boosters(mods: Sequence[Mod]) -> ClientApp:
    """The client of Flower's XGBoost quickstart, for bagging."""
    import xgboost

    app = ClientApp(mods=list(mods))
    params = {
        "objective": "binary:logistic",
        "base_score": 0.5,  # else the first member's, and Flower's first is another
        "max_depth": 3,
        "eta": 0.3,
        "nthread": 1,
    }

    def booster_of(message: Message) -> xgboost.Booster | None:
        given = message.content["arrays"]["0"].numpy().tobytes()
        if not given:
            return None
        booster = xgboost.Booster(params=params)
        booster.load_model(bytearray(given))
        return booster

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        x, y = points(context, 60)
        data, booster = xgboost.DMatrix(x, label=y), booster_of(msg)
        if booster is None:
            booster = xgboost.train(params, data, num_boost_round=1)
        else:
            booster.update(data, booster.num_boosted_rounds())
            booster = booster[booster.num_boosted_rounds() - 1 : booster.num_boosted_rounds()]
        arrays = ArrayRecord([np.frombuffer(booster.save_raw("json"), dtype=np.uint8)])
        return reply_to(msg, arrays, num_examples=len(y))

    @app.evaluate()
    def evaluate(msg: Message, context: Context) -> Message:
        x, y = points(context, 60)
        booster = booster_of(msg)
        assert booster is not None
        right = float(((booster.predict(xgboost.DMatrix(x)) > 0.5) == y).mean())
        return reply_to(msg, None, num_examples=len(y), accuracy=right)

    return app


def no_trees() -> ArrayRecord:
    return ArrayRecord([np.frombuffer(b"", dtype=np.uint8)])


# --- a language model's adapters: only these travel ---


def adapters(mods: Sequence[Mod]) -> ClientApp:
    app = ClientApp(mods=list(mods))
    frozen = np.random.default_rng(9).normal(size=(4, 4))

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        down, up = (torch.tensor(one.numpy(), requires_grad=True) for one in msg.content["arrays"].values())
        x, y = (torch.tensor(part) for part in points(context))
        scores = x.float() @ (torch.tensor(frozen).float() + down @ up)
        loss = nn.functional.cross_entropy(scores, y)
        loss.backward()
        stepped = {"lora_A": down - 0.5 * down.grad, "lora_B": up - 0.5 * up.grad}  # type: ignore[operator]
        arrays = ArrayRecord({name: Array(one.detach().numpy()) for name, one in stepped.items()})
        return reply_to(msg, arrays, num_examples=len(y), loss=loss.item())

    return app


def adapter_arrays() -> ArrayRecord:
    rng = np.random.default_rng(3)
    down = rng.normal(size=(4, 2)).astype(np.float32)
    return ArrayRecord({"lora_A": Array(down), "lora_B": Array(np.zeros((2, 4), np.float32))})


# --- strategies of the apps' own ---


class Checkpoints(FedAvg):
    """As in Flower's advanced PyTorch example: a `start` of its own that keeps the best model."""

    def start(
        self,
        grid,
        initial_arrays,
        num_rounds=3,
        timeout=3600,
        train_config=None,
        evaluate_config=None,
        evaluate_fn=None,
    ):
        self.kept, arrays, result = [], initial_arrays, Result()
        for number in range(1, num_rounds + 1):
            sent = self.configure_train(number, arrays, train_config, grid)
            trained, metrics = self.aggregate_train(
                number, grid.send_and_receive(messages=sent, timeout=timeout)
            )
            arrays = trained or arrays
            result.train_metrics_clientapp[number] = metrics
            asked = self.configure_evaluate(number, arrays, ConfigRecord(), grid)
            result.evaluate_metrics_clientapp[number] = self.aggregate_evaluate(
                number, grid.send_and_receive(asked)
            )
            self._keep(number, result.evaluate_metrics_clientapp[number]["eval_acc"])
        result.arrays = arrays
        return result

    def _keep(self, number: int, accuracy: float) -> None:
        self.kept.append((number, accuracy))


class Counting(FedAvg):
    """Tracks how much is sent, as five of Flower's examples do."""

    def aggregate_train(self, server_round, replies):
        replies = [reply for reply in replies if not reply.has_error()]
        self.kept = [
            *getattr(self, "kept", []),
            sum(len(one.data) for r in replies for one in r.content["arrays"].values()),
        ]
        return super().aggregate_train(server_round, replies)


class Halving(FedAvg):
    """Halves the learning rate in the second round, for good."""

    def configure_train(self, server_round, arrays, config, grid):
        self.kept = [*getattr(self, "kept", []), float(arrays["0.weight"].numpy().sum())]
        if server_round == 2:
            config["lr"] *= 0.5
        return super().configure_train(server_round, arrays, config, grid)


# --- mods and queries ---


def timing(msg: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Reports each round's time to a tracker, as Flower's custom-mods example does."""
    started, number = time.time(), int(msg.content["config"]["server-round"])
    reply = call_next(msg, context)
    if reply.has_content():
        tracked = {**dict(reply.content["metrics"]), "round": number, "seconds": time.time() - started}
        assert tracked["num-examples"] > 0
    return reply


def with_queries(mods: Sequence[Mod]) -> ClientApp:
    app = torch_client(network)(mods)

    @app.query()
    def query(msg: Message, context: Context) -> Message:
        x, _ = points(context)
        return Message(RecordDict({"query": MetricRecord({"sum": float(x.sum())})}), reply_to=msg)

    return app


def ask(grid: Grid) -> dict[str, float]:
    while (
        len(nodes := list(grid.get_node_ids())) < CLIENTS
    ):  # Flower's simulation connects them while the server runs
        time.sleep(0.1)
    messages = [Message(RecordDict({"which": ConfigRecord({"column": 0})}), node, "query") for node in nodes]
    replies = list(grid.send_and_receive(messages))
    return {"sum": sum(float(reply.content["query"]["sum"]) for reply in replies)}


APPS = (
    App("pytorch", seeded(network), torch_client(network), evaluate=server_test),
    App("scikit-learn", lambda: ArrayRecord([np.zeros((1, 4)), np.zeros(1)]), logistic),
    App("lazy-shapes", ArrayRecord, logistic),
    App("numpy", line_arrays, line, lambda: FedAvg(**{**ALL, "fraction_evaluate": 0.0})),
    App("regression", line_arrays, line, lambda: FedProx(**ALL, proximal_mu=0.1)),
    App(
        "tabular",
        seeded(network),
        torch_client(network, loss_name="val_loss"),
        lambda: FedAvgM(**ALL, server_momentum=0.5),
    ),
    App("adapters", adapter_arrays, adapters, lambda: FedAvg(**{**ALL, "fraction_evaluate": 0.0})),
    App("own-start", seeded(network), torch_client(network), lambda: Checkpoints(**ALL), config={"lr": 0.3}),
    App("own-mods", seeded(network), torch_client(network), before=(timing,)),
    App("float16", seeded(halves), torch_client(halves), tolerance=2e-3),
    App("float64", seeded(doubles), torch_client(doubles)),
    App("batch-norm", seeded(normalised), torch_client(normalised)),
    App("counting", seeded(network), torch_client(network), lambda: Counting(**ALL)),
    App("queries", seeded(network), with_queries, server=ask),
    App("learning-rate", seeded(network), torch_client(network), lambda: Halving(**ALL), config={"lr": 0.4}),
    App(
        "optimisers",
        seeded(network),
        torch_client(network),
        lambda: FedAdam(**ALL, eta=0.05, tau=0.01),
        tolerance=1e-3,
    ),
    App("xgboost", no_trees, boosters, lambda: FedXgbBagging(**ALL)),
    App(
        "fair",
        seeded(network),
        torch_client(network),
        lambda: QFedAvg(client_learning_rate=0.1, q=0.5, **ALL),
    ),
    App("bulyan", seeded(network), torch_client(network), lambda: Bulyan(**ALL)),
)
MEDIAN = App("median", seeded(network), torch_client(network), lambda: FedMedian(**ALL))
"""One more, whose rule looks at single updates."""
