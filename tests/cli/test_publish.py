"""From a run to a file, from the file to a store, and an audit there: as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_cli import call

from fedvm.pipeline.results import RunReport
from fedvm.store import ContentStore
from fedvm.store.car import read_car


@pytest.fixture(scope="module")
def run(finished: tuple[Path, RunReport]) -> Path:
    return finished[0]


@pytest.fixture
def without_store(run: Path, tmp_path: Path) -> Path:
    """The run's directory as it is on another machine: the chain and its addresses, no artefacts."""
    away = tmp_path / "away"
    away.mkdir()
    for name in ("deployment.json", "chain.sqlite"):
        shutil.copy(run / name, away)
    return away


def test_an_audit_elsewhere_needs_the_chain_and_the_file_alone(
    run: Path, without_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    car, blocks = tmp_path / "run.car", tmp_path / "blocks"
    status, said, _ = call(capsys, "publish", "--run", str(run), "--car", str(car), "--json")
    told = json.loads(said)
    assert status == 0 and told["artefacts"] == 11 and told["bytes"] == car.stat().st_size
    first = car.read_bytes()
    assert call(capsys, "publish", "--run", str(run), "--car", str(car))[0] == 0
    assert car.read_bytes() == first
    assert list(tmp_path.glob(".run.car*")) == []

    assert call(capsys, "audit", "--run", str(without_store))[0] == 1  # there is nothing to read
    status, said, _ = call(capsys, "fetch", str(car), "--to", str(blocks))
    assert status == 0 and said.startswith("11 artefacts in ") and "fedvm audit" in said
    status, said, _ = call(capsys, "audit", "--run", str(without_store), "--store", str(blocks), "--json")
    report = json.loads(said)
    assert status == 0 and report["findings"] == [] and not (without_store / "store").exists()
    assert report["passed"]["update data"] == 6 and report["passed"]["code hashes"] == 1


def test_rounds_are_published_with_the_model_they_train_from(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    car = tmp_path / "round.car"
    status, said, _ = call(capsys, "publish", "--run", str(run), "--round", "2", "--car", str(car), "--json")
    assert status == 0 and json.loads(said)["artefacts"] == 5  # the base, three updates, the model
    status, _, complaint = call(capsys, "publish", "--run", str(run), "--round", "9", "--car", str(car))
    assert status == 2 and "there is nothing of round 9" in complaint


def test_a_damaged_file_is_refused_and_the_whole_one_goes_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    car, cut, blocks = tmp_path / "run.car", tmp_path / "cut.car", tmp_path / "blocks"
    assert call(capsys, "publish", "--run", str(run), "--car", str(car))[0] == 0
    whole = car.read_bytes()
    cut.write_bytes(whole[:-100])
    status, _, complaint = call(capsys, "fetch", str(cut), "--to", str(blocks))
    assert status == 2 and f"ends at byte {len(whole) - 100}" in complaint
    assert len(list(ContentStore(blocks))) > 5 and not list(ContentStore(blocks).corrupt_blocks())
    assert call(capsys, "fetch", str(car), "--to", str(blocks))[0] == 0


def test_what_the_store_lacks_is_named_and_left_out_only_on_request(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, car = shutil.copytree(run, tmp_path / "copy"), tmp_path / "run.car"
    _, said, _ = call(capsys, "publish", "--run", str(copy), "--car", str(car), "--json")
    with car.open("rb") as stream:
        lost = copy / "store" / str(read_car(stream).roots[2])
    lost.unlink()
    before = car.read_bytes()
    status, _, complaint = call(capsys, "publish", "--run", str(copy), "--car", str(car))
    assert status == 1 and lost.name in complaint and "--allow-missing" in complaint
    assert car.read_bytes() == before
    status, less, _ = call(
        capsys, "publish", "--run", str(copy), "--car", str(car), "--allow-missing", "--json"
    )
    told = json.loads(less)
    assert (
        status == 0 and told["artefacts"] == json.loads(said)["artefacts"] - 1 and len(told["missing"]) == 1
    )


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--run", "runs/demo", "--federation", "0x" + "11" * 20),
        ("--rpc", "http://127.0.0.1:1", "--store", "x"),
        ("--federation", "0x" + "11" * 20, "--store", "x"),
    ],
)
def test_what_is_to_be_published_must_be_named(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, _, complaint = call(capsys, "publish", *given, "--car", str(tmp_path / "x.car"))
    assert (
        status == 2
        and "give --run, or --network NAME or --rpc URL with --federation or --service" in complaint
    )
