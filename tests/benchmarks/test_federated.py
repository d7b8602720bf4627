"""The benchmark of federated runs: what its sides are asked for, what its rows say, that pfl does the engine's work."""

from __future__ import annotations

import math
import re
from pathlib import Path

import bench_federated
import numpy as np
import pytest
from bench_federated import ROWS, Bench, Work
from federated_bench.data import arrays, place, share
from federated_bench.measurements import Measurements
from federated_bench.process import Finished

REQUIREMENTS = Path(bench_federated.__file__).parent / "federated_bench" / "pfl-requirements.txt"


def _images(folder: Path, count: int) -> Path:
    draw = np.random.default_rng(1)
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", draw.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))
    np.save(folder / "labels.npy", draw.integers(0, 10, count))
    return folder


def _bench(folder: Path, *, quick: bool = False) -> Bench:
    return Bench(folder, folder, Measurements(folder / "measurements.json"), quick)


def test_clients_beyond_the_end_of_the_data_begin_again_at_its_start(tmp_path: Path) -> None:
    folder = str(_images(tmp_path / "cifar10", 10))
    images, labels = arrays(folder)
    for partition, begins in ((0, 0), (1, 4), (2, 1)):
        mine, theirs = share(folder, partition, 4)
        assert place(partition, 4, 10) == slice(begins, begins + 4)
        assert (mine == images[begins : begins + 4]).all() and (theirs == labels[begins : begins + 4]).all()


@pytest.mark.parametrize("row", ["wall_ratio_16_pfl", "wall_ratio_1000_pfl", "wall_ratio_pfl_cifar"])
def test_a_row_against_pfl_is_the_ratio_of_whole_commands(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / ".venv-pfl"
    environment.mkdir()
    (environment / ".installed").touch()
    monkeypatch.setattr(bench_federated, "_PFL_ENVIRONMENT", environment)
    commands: list[tuple[str, str, list[str]]] = []

    def run(module: str, arguments: list[str], log: Path, *, python: str, memory: bool) -> Finished:
        commands.append((module, python, arguments))
        pfl = module == "federated_bench.pfl_side"
        assert Path(python).is_relative_to(environment) == pfl and not memory
        numbers = {"round_seconds": 4.0 if pfl else 1.5, "train_loss": 2.1}
        return Finished(8.0 if pfl else 6.0, None, numbers)

    monkeypatch.setattr(bench_federated, "run", run)
    made = ROWS[row](_bench(tmp_path))
    assert (made["value"], made["unit"]) == (0.75, "× pfl-research 0.6.0, 2 processes")
    assert (made["engine_s"], made["pfl_s"]) == (6.0, 8.0)
    assert (made["engine_round_s"], made["pfl_round_s"]) == (1.5, 4.0)
    assert made["engine_train_loss"] == made["pfl_train_loss"] == 2.1
    ours, theirs = commands[:2]  # they take turns, and are asked for the same
    assert (ours[2][0], theirs[2][0]) == ("engine", "pfl") and ours[2][1:] == theirs[2][1:]
    assert len(commands) == 2 * len(made["runs"]["pfl"]) >= 4
    said = bench_federated._detail({"name": row, **made})
    assert said == "engine 6 s, pfl 8 s, engine 1.5 s a round, pfl 4 s a round"


def test_the_unit_names_the_pfl_that_is_installed() -> None:
    pinned = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    assert bench_federated._PFL.startswith(f"pfl-research {pinned['pfl']}, ")
    ours = (bench_federated.ROOT / "constraints.txt").read_text()
    assert re.search(rf"^torch=={re.escape(pinned['torch'])}$", ours, re.MULTILINE)


def test_a_missing_environment_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_federated, "_PFL_ENVIRONMENT", tmp_path / ".venv-pfl")
    monkeypatch.setattr(bench_federated, "prepare", lambda *_: pytest.fail("it began"))
    with pytest.raises(SystemExit, match=re.escape("make .venv-pfl/.installed")):
        bench_federated.main(["--data", str(tmp_path), "--rows", "wall_ratio_16", "wall_ratio_1000_pfl"])


@pytest.mark.slow
@pytest.mark.skipif(
    not (bench_federated._PFL_ENVIRONMENT / ".installed").exists(), reason="make .venv-pfl/.installed"
)
@pytest.mark.parametrize(("sampled", "apart"), [(None, 0.03), (4, 0.2)])  # they sample other clients
def test_pfl_comes_to_the_loss_of_the_engine(sampled: int | None, apart: float, tmp_path: Path) -> None:
    _learnable(tmp_path / "cifar10")
    bench = _bench(tmp_path)
    work = Work(clients=8, images=200, rounds=6, batch=10, sampled=sampled)
    losses = {side: bench.one("row", side, work)["train_loss"] for side in ("engine", "pfl")}
    assert losses["engine"] < 1.7 < math.log(10)  # it learned, so that rounds, rate and average are in it
    assert losses["pfl"] == pytest.approx(losses["engine"], rel=apart), losses


def _learnable(folder: Path) -> None:
    draw = np.random.default_rng(2)
    folder.mkdir(parents=True)
    kinds = np.kron(draw.integers(0, 256, (10, 3, 4, 4)), np.ones((8, 8)))
    labels = draw.integers(0, 10, 1_600)
    noise = draw.normal(0, 60, (1_600, 3, 32, 32))
    np.save(folder / "images.npy", np.clip(kinds[labels] + noise, 0, 255).astype(np.uint8))
    wrong = draw.random(1_600) < 0.3  # so that the loss has a floor, which both reach
    np.save(folder / "labels.npy", np.where(wrong, draw.integers(0, 10, 1_600), labels))
