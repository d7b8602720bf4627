"""A coordinator's machine is lost: its run goes on elsewhere from the chain, the store and the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from small_run import GATE, settings, small_config, write_digits
from test_network_run import PAYER

from fedvm.devnet.accounts import derive_account
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.events import Observer
from fedvm.pipeline.results import RoundRow, RunReport
from fedvm.pipeline.run import run_all
from fedvm.rundir.deployment import Deployment
from fedvm.rundir.errors import RunDirectoryError
from fedvm.store import StoreError

MOMENTUM = {"federation__strategy": "fedavgm", "strategy__server_momentum": 0.5}
SEALED = {"data__clients": 8, "sealed__group_size": 8, "rules__min_clients": 6, "sealed__epoch_rounds": 1}


@pytest.fixture(scope="module")
def anvil(start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    with start_anvil() as url:
        yield url


def honest_config(digits: Path, out: Path, **changes: Any) -> RunConfig:
    """The small run's configuration without adversaries: one that exploded its update would spoil its sealed group."""
    usual = {key: value for key, value in settings(digits, out).items() if not key.startswith("adversaries")}
    return load_config(None, usual | {key.replace("__", "."): value for key, value in changes.items()})


class Killer(Observer):
    """Ends the run after so many rounds, and keeps what it was told."""

    def __init__(self, after: int = 10**9) -> None:
        self.notes, self.rows, self._after = list[str](), list[RoundRow](), after

    def note(self, text: str) -> None:
        self.notes.append(text)

    def round_done(self, row: RoundRow, total: int) -> None:
        self.rows.append(row)
        if len(self.rows) == self._after:
            raise KeyboardInterrupt


def models(report: RunReport) -> list[str]:
    return [row.model_root for row in report.rounds]


def begun(config: RunConfig, after: int) -> str:
    """Play so many rounds, lose the machine; the federation's address."""
    with pytest.raises(KeyboardInterrupt):
        run_all(config, account=PAYER, observer=Killer(after))
    address = Deployment.load(config.out or Path()).federation
    assert address is not None
    return address


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("plain", {}),
        (
            "rolled-up",
            {
                "federation__submission": "rollup",
                "federation__strategy": "fedavgm",
                "strategy__server_momentum": 0.5,
            },
        ),
        ("sealed", SEALED),
    ],
)
def test_it_comes_to_the_same_models(anvil: str, tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    digits, store = write_digits(tmp_path / "digits"), tmp_path / "blocks"

    def config(out: str, **more: Any) -> RunConfig:
        base: dict[str, Any] = {"run__store": [str(store)], "run__name": name, "federation__rounds": 3}
        make = honest_config if name == "sealed" else small_config
        return make(digits, tmp_path / out, **{**base, **changes, **more})

    undisturbed = run_all(config("whole", run__store=[str(tmp_path / "other")]))  # on a chain of its own
    address = begun(config("lost", network__rpc=anvil), after=2)
    there = config("elsewhere", network__rpc=anvil)
    watcher = Killer()
    report = run_all(there, resume=True, from_chain=address, account=PAYER, observer=watcher)
    assert models(report) == models(undisturbed)
    for again, before in zip(report.rounds, undisturbed.rounds, strict=True):
        assert again.test_accuracy == before.test_accuracy
        assert again.validation_loss is not None  # of other clients, whom the round's seed draws
    said = " ".join(watcher.notes)
    assert "2 rounds that are over, of 3" in said and "not rebuilt: training losses" in said
    assert ("new epoch" in said) == (name == "sealed")


@pytest.mark.slow
def test_what_does_not_belong_to_the_federation_is_refused(anvil: str, tmp_path: Path) -> None:
    digits, store = write_digits(tmp_path / "digits"), tmp_path / "blocks"

    def config(out: str, **more: Any) -> RunConfig:
        return small_config(
            digits,
            tmp_path / out,
            network__rpc=anvil,
            run__name="refused",
            **{"run__store": [str(store)], **more},
        )

    address = begun(config("lost"), after=1)

    def refused(
        kind: type[Exception], match: str, account: Any = PAYER, make: Any = small_config, **more: Any
    ) -> None:
        given = {"network__rpc": anvil, "run__name": "refused", "run__store": [str(store)], **more}
        with pytest.raises(kind, match=match):
            run_all(make(digits, tmp_path / "new", **given), resume=True, from_chain=address, account=account)
        assert not (tmp_path / "new" / "config.toml").exists()

    refused(ConfigError, "rules: max_examples is 60 on chain, 61 by", rules__max_examples=61)
    refused(ConfigError, "security: challenge_seconds is", security__challenge_seconds=4000)
    refused(ConfigError, r"is a member, and none.*\n.*first model is another", run__seed=8)
    refused(ConfigError, "its rounds are open", make=honest_config, **SEALED)
    refused(ConfigError, "does not coordinate", account=derive_account(1, "owner"))
    refused(ConfigError, "coordinator's account", account=None)
    refused(StoreError, "", run__store=[str(tmp_path / "empty")])
    with pytest.raises(RunDirectoryError, match="not empty"):
        run_all(config("lost"), resume=True, from_chain=address, account=PAYER)
    with pytest.raises(ConfigError, match="copy the directory"):
        run_all(small_config(digits, tmp_path / "new"), resume=True, from_chain=address)


@pytest.mark.slow
def test_no_gate_is_fixed_after_training(anvil: str, tmp_path: Path) -> None:
    digits = write_digits(tmp_path / "digits")

    def config(out: str, **more: Any) -> RunConfig:
        usual = {
            "network__rpc": anvil,
            "run__name": "gated",
            "run__store": [str(tmp_path / "blocks")],
            "federation__rounds": 2,
            **GATE,
        }
        return small_config(digits, tmp_path / out, **{**usual, **more})

    address = begun(config("lost"), after=1)
    for out, more in (
        ("a", {"run__name": "another"}),
        ("b", {"gate__max_samples": GATE["gate__max_samples"] + 1}),
    ):
        with pytest.raises(ConfigError, match=r"gate, fixed before it, is not at 0x.*run\.name"):
            run_all(config(out, **more), resume=True, from_chain=address, account=PAYER)
    report = run_all(config("elsewhere"), resume=True, from_chain=address, account=PAYER)
    assert report.gate is not None


@pytest.mark.slow
def test_keys_of_a_running_epoch_are_said_to_be_lost(anvil: str, tmp_path: Path) -> None:
    digits, store = write_digits(tmp_path / "digits"), tmp_path / "blocks"

    def config(out: str) -> RunConfig:
        changes = {**SEALED, "sealed__epoch_rounds": 3, "run__store": [str(store)]}
        return honest_config(
            digits, tmp_path / out, network__rpc=anvil, run__name="memory", federation__rounds=2, **changes
        )

    address = begun(config("lost"), after=1)
    with pytest.raises(ConfigError, match=r"epoch 1 has 2 rounds to go.*copy its folder clients/"):
        run_all(config("new"), resume=True, from_chain=address, account=PAYER)
    (tmp_path / "new").mkdir(exist_ok=True)
    (tmp_path / "lost" / "clients").rename(tmp_path / "new" / "clients")
    report = run_all(config("new"), resume=True, from_chain=address, account=PAYER)
    assert [row.final for row in report.rounds] == [True, True]
