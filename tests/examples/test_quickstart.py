"""The quickstart: what two lines change, and that both apps run as Flower runs them."""

from __future__ import annotations

import difflib
import importlib.util
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flwr.app import ArrayRecord, Context, RecordDict
from flwr.serverapp.strategy import FedAvg

from fedvm.audit.replay import audit
from fedvm.federation import Accountable, InProcessGrid, make_nodes, open_federation
from fedvm.federation.engines.superlink import free_port
from fedvm.federation.errors import SettingsError
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.user_model import create_for_model, import_model
from fedvm.rundir.run import open_run

HOME = Path(__file__).parents[2] / "examples" / "quickstart-flower"
MODEL = "quickstart.task:initial_model"
CLIENTS = 2


def files(app: str) -> dict[str, list[str]]:
    found = sorted(file for file in (HOME / app).rglob("*") if file.suffix in (".py", ".toml"))
    return {str(file.relative_to(HOME / app)): file.read_text().splitlines() for file in found}


def assert_clean(directory: Path) -> None:
    """What `fedvm audit --run` says of the directory."""
    with open_run(directory) as run:
        report = audit(run.w3, run.store, federation=run.deployment.federation, service=None)
    assert report.clean and report.passed["accepted"] if "accepted" in report.passed else report.passed


def test_two_lines_two_imports_and_the_federation_are_all_that_differs() -> None:
    without, accountable = files("without"), files("with")
    assert list(without) == list(accountable)
    added: list[str] = []
    for name, lines in without.items():
        changes = difflib.unified_diff(lines, accountable[name], n=0, lineterm="")
        added += [line[1:].strip() for line in changes if line.startswith("+") and not line.startswith("+++")]
    assert sorted(line for line in added if "import" not in line) == [
        "app = ClientApp(mods=[fedvm_mod])",
        'dependencies = ["flwr[simulation]>=1.41", "torch>=2.6", "mlxtend>=0.23", "fedvm"]',
        "strategy = Accountable(FedAvg(fraction_evaluate=0.5))",
    ]
    assert len(added) == 5
    page = (HOME / "README.md").read_text()
    assert [line for line in added if f"+{line}" not in page.replace("+    ", "+")] == []


@pytest.fixture
def accountable_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules of `with/`, importable as Flower makes them, and gone afterwards."""
    monkeypatch.syspath_prepend(str(HOME / "with"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "quickstart"]:
        del sys.modules[name]


def test_the_accountable_app_runs_and_its_federation_passes_the_audit(
    tmp_path: Path, accountable_app: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDVM_HOME", str(tmp_path))
    from quickstart import client_app, server_app  # type: ignore[import-not-found]

    run_config = {"num-server-rounds": 1, "local-epochs": 1, "lr": 0.05}
    nodes = make_nodes(client_app.app, [{}] * CLIENTS)
    with InProcessGrid(nodes, seed=1, run_config=run_config) as grid:
        server_app.app(grid, Context(1, 1, {}, RecordDict(), dict(run_config)))
    (directory,) = (tmp_path / "runs").iterdir()
    assert_clean(directory)


@pytest.mark.slow
def test_a_federation_that_is_named_goes_on_from_its_own_model(tmp_path: Path, accountable_app: None) -> None:
    config = load_config(None, {"data.clients": CLIENTS, "rules.max_examples": 5000})
    directory = tmp_path / "federation"
    create_for_model(directory, config, import_model(MODEL, HOME / "with"), seed=3)
    assert (directory / "keys" / "001.key").stat().st_mode & 0o777 == 0o600
    from quickstart import client_app, task

    run_config = {"local-epochs": 1, "lr": 0.05, "fedvm-directory": str(directory)}
    context = Context(1, 1, {}, RecordDict(), dict(run_config))
    strategy = Accountable(FedAvg(fraction_evaluate=0.0), federation=open_federation(context))
    other = ArrayRecord(task.Net().state_dict())  # not the model that it was created with
    with InProcessGrid(make_nodes(client_app.app, [{}] * CLIENTS), seed=1, run_config=run_config) as grid:
        result = strategy.start(grid, other, num_rounds=1)
    assert len(strategy.accountability.outcome.settlement.accepted) == CLIENTS and result.arrays
    with pytest.raises(SettingsError, match=r"write Accountable\(strategy\) alone to have one made"):
        open_federation(Context(1, 1, {}, RecordDict(), {**run_config, "fedvm-directory": ""}))
    assert_clean(directory)


@pytest.mark.slow
def test_models_that_are_none_are_refused(tmp_path: Path, accountable_app: None) -> None:
    for reference, complaint in (
        ("quickstart.task", "MODULE:FUNCTION"),
        ("quickstart.task:nothing", "nothing"),
        ("no_such_module:f", "no_such_module"),
        ("quickstart.task:digits", "returned"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            import_model(reference, HOME / "with")
    config = load_config(None, {"data.clients": CLIENTS})
    with pytest.raises(ConfigError, match="max_examples is needed"):
        create_for_model(tmp_path / "federation", config, import_model(MODEL, HOME / "with"), seed=3)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    capped = load_config(None, {"data.clients": CLIENTS, "rules.max_examples": 10})
    with pytest.raises(SettingsError, match="not empty"):
        create_for_model(tmp_path / "full", capped, import_model(MODEL, HOME / "with"), seed=3)


@pytest.fixture
def flower(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of `flwr run`; stops the SuperLink that it leaves running."""
    home = tmp_path / "flower"
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    yield {
        **os.environ,
        "PATH": path,
        "FLWR_HOME": str(home),
        "FEDVM_HOME": str(tmp_path / "fedvm"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"{home}/local-superlink/superlink.log" in (process / "cmdline").read_text()
        except OSError:
            continue
        if ours:
            os.kill(int(process.name), signal.SIGTERM)
            deadline = time.monotonic() + 20
            while process.exists() and time.monotonic() < deadline:
                time.sleep(0.1)


def flwr_run(app: str, environment: dict[str, str], *, run_config: str) -> str:
    command = ["flwr", "run", str(HOME / app), "--stream", "--run-config", run_config]
    command += ["--federation-config", f"num-supernodes={CLIENTS}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'fedvm[simulation]'"
)
@pytest.mark.skipif(
    sys.platform != "linux", reason="finds the SuperLink that flwr leaves running through /proc"
)
def test_flwr_run_runs_both(tmp_path: Path, flower: dict[str, str]) -> None:
    said = flwr_run("without", flower, run_config="num-server-rounds=2")
    assert "accuracy 0." in said and "Accountable" not in said
    said = flwr_run("with", flower, run_config="num-server-rounds=2")
    assert "accuracy 0." in said and "Accountable to 0x" in said
    (directory,) = (Path(flower["FEDVM_HOME"]) / "runs").iterdir()
    assert str(directory) in said and said.count("accepted, weight") == 2 * CLIENTS
    assert_clean(directory)
