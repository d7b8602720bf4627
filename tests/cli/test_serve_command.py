"""`fedvm serve`: from the federation of an app to a contract that answers, in one command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from flwr.app import ArrayRecord
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_cli import call

from fedvm.audit.recipe import stored_weights
from fedvm.audit.replay import audit
from fedvm.federation import Accountable, InProcessRun, run_in_process
from fedvm.federation.keys import DIRECTORY
from fedvm.pipeline import placing
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.estimators import estimator_file
from fedvm.rundir.run import open_run

APP = """
import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.linear_model import LogisticRegression
from torch import nn

TRUTH = np.array([1.0, -2.0, 0.5, 0.0])


def points(seed, count=200):
    x = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return x, (x @ TRUTH > 0).astype(np.int64)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def small():
    return nn.Linear(4, 2)


def state():
    return net().state_dict()


def logistic():
    model = LogisticRegression()
    model.classes_, model.coef_, model.intercept_ = np.arange(2), np.zeros((1, 4)), np.zeros(1)
    return model


def unfitted():
    return LogisticRegression()


def number():
    return 7


def trained(msg, context, arrays):
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 200})})
    return Message(content, reply_to=msg)


def torch_client(mods):
    app = ClientApp(mods=mods)

    @app.train()
    def train(msg, context):
        model = net()
        model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
        x, y = map(torch.tensor, points(int(context.node_config["partition-id"])))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return trained(msg, context, ArrayRecord(model.state_dict()))

    return app


def seen(seed, count=200):
    # bytes, and the class of each
    x = np.random.default_rng(seed).integers(0, 256, (count, 4), dtype=np.uint8)
    return x, (x.astype(np.float64) @ TRUTH > -64).astype(np.int64)


def seer():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def seeing_client(mods):
    app = ClientApp(mods=mods)

    @app.train()
    def train(msg, context):
        model = seer()
        model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
        x, y = seen(int(context.node_config["partition-id"]))
        x, y = torch.tensor(x / np.float32(255)), torch.tensor(y)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(200):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return trained(msg, context, ArrayRecord(model.state_dict()))

    return app


def sklearn_client(mods):
    app = ClientApp(mods=mods)

    @app.train()
    def train(msg, context):
        x, y = points(int(context.node_config["partition-id"]))
        model = LogisticRegression().fit(x, y)
        return trained(msg, context, ArrayRecord([model.coef_, model.intercept_]))

    return app
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module of the app, in the present directory; a file of typical rows beside it."""
    name = f"served_app_{abs(hash(str(tmp_path)))}"  # modules are imported once a process
    (tmp_path / f"{name}.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FEDVM_HOME", str(tmp_path / "home"))
    module = __import__(name)
    for file, seed in (("rows.csv", 100),):
        x, y = module.points(seed)
        lines = [
            ",".join([*(f"{value:.5f}" for value in row), str(kind)]) for row, kind in zip(x, y, strict=True)
        ]
        (tmp_path / file).write_text("\n".join(["a,b,c,d,class", *lines]) + "\n")
    return name


def federated(
    name: str, client: str, initial: ArrayRecord, rounds: int = 1, again: Path | None = None
) -> Path:
    """The directory of a federation that an app made, or goes on with."""
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp.strategy import FedAvg

    from fedvm.federation import fedvm_mod, open_federation

    server, made = ServerApp(), Path("federation").resolve()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        inner = FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2)
        if again is None:
            strategy = Accountable(inner, directory=made)
        else:
            strategy = Accountable(inner, federation=open_federation(run))
        strategy.start(grid, initial, num_rounds=rounds)
        strategy.accountability.close()

    run = None if again is None else open_run(again, read_only=False)
    made_beforehand = again is not None and (again / "keys").is_dir()
    config = {DIRECTORY: str(again)} if made_beforehand else {}
    client_app = getattr(__import__(name), client)([fedvm_mod])
    run_in_process(server, client_app, run_config=config, how=InProcessRun(2, seed=1, workers=0))
    if run is not None:
        run.close()
    return made


CALIBRATED = ("--calibration", "rows.csv", "--labels", "class", "--json")


def served(capsys: pytest.CaptureFixture[str], directory: Path, model: str, *more: str) -> dict[str, object]:
    status, printed, err = call(capsys, "serve", str(directory), "--model", model, *CALIBRATED, *more)
    assert status == 0, printed + err
    found: dict[str, object] = json.loads(printed)
    return found


def test_a_pytorch_app_is_served_with_its_lineage(capsys: pytest.CaptureFixture[str], app: str) -> None:
    directory = federated(app, "torch_client", ArrayRecord(__import__(app).net().state_dict()))
    status, printed, _ = call(
        capsys, "serve", str(directory), "--model", f"{app}:net", *CALIBRATED, "--dry-run"
    )
    assert status == 0 and json.loads(printed)["sent"] is False
    facts = served(capsys, directory, f"{app}:net")
    assert (facts["version"], facts["round"]) == (1, 1)
    assert served(capsys, directory, f"{app}:net") == facts  # nothing is registered twice
    right = 0
    x, y = __import__(app).points(5, 20)
    for row, kind in zip(x, y, strict=True):
        values = "--values=" + ",".join(f"{value:.4f}" for value in row)
        status, answer, err = call(capsys, "predict", values, "--run", str(directory), "--json")
        assert status == 0, err
        right += json.loads(answer)["label"] == kind
    assert right >= 18
    status, found, _ = call(capsys, "audit", "--run", str(directory))
    assert status == 0 and "Nothing found in" in found, found
    status, _, err = call(
        capsys, "serve", str(directory), "--model", f"{app}:net", *CALIBRATED, "--bits", "4"
    )
    assert status == 2 and "compiled in another way" in json.loads(_)["error"]


def test_a_scikit_learn_app_is_served(capsys: pytest.CaptureFixture[str], app: str) -> None:
    directory = federated(app, "sklearn_client", ArrayRecord([np.zeros((1, 4)), np.zeros(1)]))
    facts = served(capsys, directory, f"{app}:logistic")
    assert facts["version"] == 1
    status, answer, err = call(capsys, "predict", "--values", "3,-1,0.5,0", "--run", str(directory), "--json")
    assert status == 0 and json.loads(answer)["label"] == 1, err
    status, found, _ = call(capsys, "audit", "--run", str(directory))
    assert status == 0 and "Nothing found in" in found, found


def test_a_network_from_elsewhere_is_served_by_its_file(capsys: pytest.CaptureFixture[str], app: str) -> None:
    from fedvm.learning.export import onnx_bytes

    net = __import__(app).net()
    directory = federated(app, "torch_client", ArrayRecord(net.state_dict()))
    Path("net.onnx").write_bytes(onnx_bytes(net, (4,)))  # type: ignore[arg-type]
    assert served(capsys, directory, f"{app}:state", "--onnx", "net.onnx")["round"] == 1


@pytest.mark.slow
def test_a_later_round_is_a_later_version(capsys: pytest.CaptureFixture[str], app: str) -> None:
    start = ArrayRecord([np.zeros((1, 4)), np.zeros(1)])
    directory = federated(app, "sklearn_client", start)
    first = served(capsys, directory, f"{app}:logistic")
    federated(app, "sklearn_client", start, rounds=2, again=directory)
    second = served(capsys, directory, f"{app}:logistic")
    assert (second["service"], second["version"], second["round"]) == (first["service"], 2, 2)
    status, found, _ = call(capsys, "audit", "--run", str(directory))
    assert status == 0 and "Nothing found in" in found, found


@pytest.mark.slow
def test_a_gate_tries_each_version_before_it_serves(capsys: pytest.CaptureFixture[str], app: str) -> None:
    module = __import__(app)
    for name, seed in (("secret.npz", 50), ("typical.npz", 51)):
        inputs, labels = module.seen(seed)
        np.savez(name, inputs=inputs, labels=labels)
    made = [
        "create",
        "federation",
        "--model",
        f"{app}:seer",
        "--clients",
        "2",
        "--max-examples",
        "500",
        "--json",
    ]
    sure = [
        "--set",
        "gate.fail_accuracy=0.6",
        "--set",
        "gate.pass_accuracy=0.9",
        "--set",
        "rules.min_clients=2",
    ]
    np.savez("reals.npz", inputs=inputs / 255, labels=labels)
    status, printed, _ = call(capsys, *made, *sure, "--validation", "reals.npz")
    assert (
        status == 2
        and "give bytes (uint8)" in json.loads(printed)["error"]
        and not Path("federation").exists()
    )
    status, printed, err = call(capsys, *made, *sure, "--validation", "secret.npz")
    assert status == 0, printed + err
    start, directory = ArrayRecord(module.seer().state_dict()), Path("federation").resolve()
    federated(app, "seeing_client", start, again=directory)
    words = ["serve", str(directory), "--model", f"{app}:seer", "--calibration", "typical.npz", "--json"]
    status, printed, err = call(capsys, *words, "--scale", "0.00392156862745098")
    assert status == 0, printed + err
    with open_run(directory) as run:
        gate, version = run.model_service.gate(), run.model_service.current_version()
        assert gate is not None and version == 1 and gate.trial(1).right >= 10
    status, found, _ = call(capsys, "audit", "--run", str(directory))
    assert status == 0 and "Nothing found in" in found, found
    status, again, _ = call(capsys, *words, "--scale", "0.00392156862745098")
    assert status == 0 and again == printed


def test_a_round_that_is_not_the_federations_is_found(
    capsys: pytest.CaptureFixture[str], app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = federated(app, "sklearn_client", ArrayRecord([np.zeros((1, 4)), np.zeros(1)]))
    honest: Callable[..., placing.Deployable] = placing.__dict__["Deployable"].of

    def lying(prepared):  # type: ignore[no-untyped-def]
        model = onnx.load_model_from_string(prepared.onnx)
        (attribute,) = (
            one for node in model.graph.node for one in node.attribute if one.name == "intercepts"
        )
        attribute.floats[0] += 1.0
        return honest(replace(prepared, onnx=bytes(model.SerializeToString())))

    monkeypatch.setattr(placing.Deployable, "of", staticmethod(lying))
    served(capsys, directory, f"{app}:logistic")
    with open_run(directory) as run:
        report = audit(
            run.w3, run.store, federation=run.deployment.federation, service=run.deployment.service
        )
    assert "onnx weights" in {finding.check for finding in report.findings}


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("small", "a network of 10 parameters, the federation's has 58"),
        ("unfitted", "has no coef_ yet"),
        ("number", "returned int"),
        ("nothing", "Run this in the app's own directory"),
        ("points", "cannot be called without arguments"),
        ("TRUTH", "not a function"),
    ],
)
def test_what_is_not_the_apps_network_is_refused(
    capsys: pytest.CaptureFixture[str], app: str, model: str, complaint: str
) -> None:
    directory = federated(app, "torch_client", ArrayRecord(__import__(app).net().state_dict()))
    words = ("serve", str(directory), "--model", f"{app}:{model}", *CALIBRATED)
    status, printed, _ = call(capsys, *words)
    assert status == 2 and complaint in json.loads(printed)["error"], printed
    assert not (directory / "model.onnx").exists()


@pytest.mark.parametrize(
    ("make", "classes"),
    [
        (LogisticRegression, 2),
        (LogisticRegression, 3),
        (lambda: LogisticRegression(fit_intercept=False), 3),
        (lambda: LogisticRegression(fit_intercept=False), 2),
        (LinearRegression, 0),
        (lambda: SGDClassifier(loss="log_loss"), 3),
        (lambda: SGDClassifier(loss="log_loss"), 2),
        (lambda: MLPClassifier((5,), max_iter=5), 3),
        (lambda: make_pipeline(StandardScaler(), LogisticRegression()), 2),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_every_array_of_an_estimator_lies_in_its_file(make: Callable[[], object], classes: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 4))
    y = np.digitize(x[:, 0], [0.0] if classes == 2 else [-0.5, 0.5]) if classes else x[:, 1]
    estimator = make().fit(x, y)  # type: ignore[attr-defined]
    written = estimator_file(estimator)
    session = onnxruntime.InferenceSession(written.onnx, providers=["CPUExecutionProvider"])
    assert len(session.run(None, {"input": x[:5].astype(np.float32)})[0]) == 5
    stored = stored_weights(written.onnx)
    assert written.arrays and all(
        np.array_equal(stored[name].ravel(), array.ravel()) for name, array in written.arrays.items()
    )


def test_an_estimator_that_is_no_linear_model_is_refused() -> None:
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(UsageError, match="has no coef_"):
        estimator_file(tree)
