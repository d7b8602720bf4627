"""Flower's differential privacy beside FedVM: mods work in their place, wrappers are refused before the first round."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from flower_apps import ALL, network, seeded, torch_client
from flwr.app import ConfigRecord, Context
from flwr.clientapp.mod import LocalDpMod, fixedclipping_mod
from flwr.clientapp.typing import Mod
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp import strategy as flower
from flwr.supercore.differential_privacy import KEY_CLIPPING_NORM

from fedvm.federation import Accountable, InProcessRun, fedvm_mod, run_in_process
from fedvm.federation.coordinator.accountability import Accountability
from fedvm.federation.errors import SettingsError

NORM = 0.05


def play(mods: list[Mod], directory: Path, wrap: bool = False) -> Accountability:
    server, made = ServerApp(), []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = Accountable(flower.FedAvg(**{**ALL, "fraction_evaluate": 0.0}), directory=directory)
        made.append(strategy.accountability)
        asked = (
            flower.DifferentialPrivacyServerSideFixedClipping(strategy, 1.0, NORM, 3) if wrap else strategy
        )
        config = ConfigRecord({KEY_CLIPPING_NORM: NORM})
        asked.start(grid, seeded(network)(), num_rounds=1, train_config=config)

    run_in_process(server, torch_client(network)(mods), how=InProcessRun(3, seed=1, workers=0))
    return made[0]


def norms(played: Accountability) -> list[float]:
    bits = played.rounds.rules.fraction_bits
    accepted = played.outcome.settlement.accepted
    return [math.ldexp(math.sqrt(one.sum_squares), -bits) for one in accepted]


def test_clients_clip_and_add_noise_after_the_mod(tmp_path: Path) -> None:
    assert all(0 < norm <= NORM for norm in norms(play([fedvm_mod, fixedclipping_mod], tmp_path / "clipped")))
    noisy = norms(play([fedvm_mod, LocalDpMod(NORM, 0.5, 1.0, 1e-5)], tmp_path / "noisy"))
    assert len(noisy) == 3 and all(norm > NORM for norm in noisy)


def test_before_the_mod_they_would_change_what_was_signed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="put fedvm_mod first"):
        play([fixedclipping_mod, fedvm_mod], tmp_path / "clipped")
    with pytest.raises(SettingsError, match="no connected node can take part"):
        play([LocalDpMod(NORM, 0.5, 1.0, 1e-5), fedvm_mod], tmp_path / "noisy")


def test_a_wrapper_around_an_accountable_strategy_is_refused_before_the_first_round(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot wrap an accountable strategy: the noise .* secret"):
        play([fedvm_mod], tmp_path / "federation", wrap=True)
    assert not (tmp_path / "federation").exists()
