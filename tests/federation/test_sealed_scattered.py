"""Sealed rounds where every message finds a process of its own, and processes die: as on Flower's SuperNodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from federation_bench import SEED, Bench, MakeBench
from flwr.app import Context, Message, RecordDict
from scattered import ScatteredGrid
from test_sealed_rounds_run import RULES, SETTINGS, nodes_with, step_of

from fedvm.federation.coordinator.sealed import epochs
from fedvm.federation.errors import TermsError
from fedvm.federation.keys import DIRECTORY, KEY_FILE, SEALED, SIMULATED, SealedHome, sealed_home
from fedvm.federation.simulated.server import Watch

CLIENTS, STEPS = 8, ("enrol", "keys", "edges", "shares")


class Gathering(ScatteredGrid):
    """Nodes connect one after the other."""

    connected = 0

    def get_node_ids(self) -> list[int]:
        self.connected += 1
        return list(super().get_node_ids())[: self.connected]


class Deaths:
    """Every process dies once in every step of an epoch, its answer ready. Noted on disk, since a process forgets."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path

    def __call__(self, message: Message, partition: int) -> bool:
        once = self.path / f"{step_of(message)}-{partition}"
        if step_of(message) not in STEPS or once.exists():
            return False
        once.touch()
        return True


def small_bench(make_bench: MakeBench, name: str) -> Bench:
    return make_bench(CLIENTS, name, sealed=replace(RULES, min_roster=CLIENTS), min_clients=CLIENTS)


@pytest.mark.slow
def test_processes_may_die_and_nodes_come_late_and_back_under_other_ids(
    make_bench: MakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some ten seconds: each of 110 messages takes a process of its own.
    monkeypatch.setattr(epochs, "_LOOK_SECONDS", 0.0)
    settings = replace(SETTINGS, clients=CLIENTS, rounds=2, fraction_evaluate=0.0)
    here = small_bench(make_bench, "here").run(settings)
    bench, deaths = small_bench(make_bench, "there"), Deaths(tmp_path / "deaths")
    grid = Gathering(nodes_with(bench), seed=SEED, dies=deaths)
    there = bench.run(settings, grid=grid, watch=Watch(on_round=lambda _: grid.reconnect()))
    assert len(list(deaths.path.iterdir())) == len(STEPS) * CLIENTS
    assert [one.model_root for one in there.records] == [one.model_root for one in here.records]
    sealed = bench.ledger.sealed
    assert sealed is not None and sealed.standing().number == 1


def test_a_member_s_memory_depends_on_no_working_directory_and_no_server(tmp_path: Path) -> None:
    def where(node_config: dict[str, str | int], run_config: dict[str, str | int]) -> SealedHome:
        return sealed_home(Context(1, 1, dict(node_config), RecordDict(), dict(run_config)))

    assert where({SEALED: str(tmp_path)}, {}) == SealedHome(tmp_path, durable=True)
    assert where({SEALED: str(tmp_path), SIMULATED: True}, {}) == SealedHome(tmp_path, durable=False)
    simulated = where({"partition-id": 3}, {DIRECTORY: str(tmp_path)})
    assert simulated == SealedHome(tmp_path / "clients" / "003", durable=False)
    for node_config, run_config in (({SEALED: "kept"}, {}), ({"partition-id": 3}, {DIRECTORY: "federation"})):
        with pytest.raises(TermsError, match="absolute path"):
            where(node_config, run_config)  # type: ignore[arg-type]
    # A server that names another directory in its next run must not make a member forget.
    with pytest.raises(TermsError, match=f"set {SEALED} in its node config"):
        where({"partition-id": 3, KEY_FILE: "/etc/client.key"}, {DIRECTORY: str(tmp_path)})
