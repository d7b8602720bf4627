"""A whole run on a network: anvil, from one configuration; interrupted, and refused where it would not be safe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from small_run import GATE, small_config, write_digits

from fedvm.chain.networks import ANVIL, BASE, CALIBRATION, EMBEDDED, MAINNET, SEPOLIA, connect
from fedvm.chain.passing_time import Waiting, fast_forward, keep_pace
from fedvm.pipeline.config_file import load_config, save_config, stated_keys
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.events import Observer
from fedvm.pipeline.ground import require_suitable
from fedvm.pipeline.network_times import check_times, suited, windows_of
from fedvm.pipeline.results import RoundRow
from fedvm.pipeline.resume import resumed_config
from fedvm.pipeline.run import run_all
from fedvm.rundir.layout import RunDirectory

PAYER = Account.from_key(
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
)  # anvil's account 0


@pytest.fixture(scope="module")
def anvil(start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    with start_anvil() as url:
        yield url


class Killer(Observer):
    """Ends the run after its first round."""

    def round_done(self, row: RoundRow, total: int) -> None:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_federation_lives_on_anvil(anvil: str, tmp_path: Path) -> None:
    """Killed after a round, continued, gated, served with lineage, audited; a second one of its name is refused."""
    from fedvm.audit.replay import audit
    from fedvm.rundir.run import open_run

    digits, out = write_digits(tmp_path / "digits"), tmp_path / "run"
    config = small_config(digits, out, network__rpc=anvil, **GATE)
    with pytest.raises(KeyboardInterrupt):
        run_all(config, account=PAYER, observer=Killer())
    report = run_all(config, account=PAYER, resume=True)
    assert report.chain.network == "anvil" and report.chain.chain_id == 31337
    assert [row.final for row in report.rounds] == [True, True]
    assert report.gas.program_deploy > 10**6 and report.gas.federation_deploy > 10**5
    assert report.gate is not None and report.gate.right > 0
    assert not (out / "chain.sqlite").exists()
    at = json.loads((out / "deployment.json").read_text())
    assert at["chain"] == {"kind": "rpc", "url": anvil} and at["federation"] == report.chain.federation
    with open_run(out) as run:
        version = run.model_service.version(1)
        assert version.has_lineage and version.federation == report.chain.federation
        found = audit(
            run.w3,
            run.store,
            federation=run.deployment.federation,
            service=run.deployment.service,
            first_block=run.deployment.block,
        )
        assert not found.findings, found.findings
    with pytest.raises(ConfigError, match="has a federation of this name and seed"):
        run_all(small_config(digits, tmp_path / "again", network__rpc=anvil), account=PAYER)
    with pytest.raises(ConfigError, match="needs the account that pays"):
        run_all(small_config(digits, tmp_path / "poor", network__rpc=anvil, run__name="poor"))


def test_windows_must_suit_the_network() -> None:
    config = load_config(None, {})
    for network in (CALIBRATION, MAINNET, SEPOLIA):
        assert all("at least" in line for line in check_times(config, network))
        for one in windows_of(config, network):
            short = load_config(None, {one.setting: max(one.least - 1, 60)})
            if one.least > 60:
                with pytest.raises(
                    ConfigError, match=f"{one.setting} = .* too short.* Set it to {one.least} or more"
                ):
                    check_times(short, network)
    assert check_times(config, ANVIL) == ()


def test_windows_that_nobody_states_follow_from_the_network() -> None:
    config = load_config(None, {})
    for network, challenge, answer in (
        (CALIBRATION, 2 * 600 + 20 * 30 + 1_800, 600 + 2 * 10 * 30),
        (SEPOLIA, 2 * 960 + 20 * 12 + 1_800, 960 + 2 * 10 * 12),
        (BASE, 2 * 1_800 + 20 * 2 + 1_800, 1_800 + 2 * 10 * 2),
    ):
        derived = suited(config, network, ())
        assert (derived.security.challenge_seconds, derived.security.answer_seconds) == (challenge, answer)
        lines = check_times(derived, network)
        assert (
            f"2 × finality of {network.finality_seconds:,} s" in lines[0] and f"{challenge:,} s" in lines[0]
        )
        stated = suited(
            load_config(None, {"security.challenge_seconds": 5_000}), network, {"security.challenge_seconds"}
        )
        assert (stated.security.challenge_seconds, stated.security.answer_seconds) == (5_000, answer)
        assert "2 × finality" not in check_times(stated, network)[0]
    for network in (EMBEDDED, ANVIL):
        assert suited(config, network, ()) == config
    long = load_config(None, {"security.open_seconds": 7_200, "rules.round_seconds": 20_000})
    assert suited(long, CALIBRATION, ()).rules.round_seconds == 2 * 7_200
    assert suited(long, CALIBRATION, {"rules.round_seconds"}).rules.round_seconds == 20_000


def test_what_a_file_or_a_flag_states_is_known(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[security]\nanswer_seconds = 900\n[adversaries]\n3 = 'free_rider'\n")
    assert stated_keys(file, {"rules.round_seconds": 5}) == {
        "security.answer_seconds", "adversaries.3", "rules.round_seconds"
    }  # fmt: skip
    assert stated_keys(None) == frozenset()


def test_a_resumed_run_keeps_the_windows_that_it_began_with(tmp_path: Path) -> None:
    """Its file states none, so what followed from the network is no other setting."""
    file, out = tmp_path / "own.toml", tmp_path / "run"
    file.write_text("[run]\nname = 'own'\n")
    begun = suited(load_config(file, {"run.out": str(out)}), BASE, ())
    directory = RunDirectory(out)
    out.mkdir()
    save_config(begun, directory.config)
    assert resumed_config(file, {"run.out": str(out)}).security == begun.security
    with pytest.raises(ConfigError, match=r"security\.challenge_seconds: 5440 → 7000"):
        resumed_config(file, {"run.out": str(out), "security.challenge_seconds": 7_000})


def test_keys_that_anyone_can_have_are_for_rehearsals() -> None:
    config = load_config(None, {"data.clients": 4})
    assert len(require_suitable(config, CALIBRATION)) == 3
    with pytest.raises(ConfigError, match="anyone could use"):
        require_suitable(config, MAINNET)
    with pytest.raises(ConfigError, match=r"leave security\.stake out"):
        require_suitable(load_config(None, {"data.clients": 4, "security.stake": 1}), CALIBRATION)


def test_time_is_set_on_a_local_node_alone(anvil: str) -> None:
    w3 = connect(anvil)
    move = fast_forward(w3, ANVIL)
    assert move is not None
    before = w3.eth.get_block("latest")["timestamp"]
    move(3600)
    assert w3.eth.get_block("latest")["timestamp"] >= before + 3600
    for network in (CALIBRATION, SEPOLIA, EMBEDDED, replace(ANVIL, chain_id=1337)):
        assert fast_forward(w3, network) is None and keep_pace(w3, network) is None
    mine, head = keep_pace(w3, ANVIL), w3.eth.block_number
    assert mine is not None
    mine()
    assert w3.eth.block_number == head + 1


def test_a_wait_is_told_and_so_is_a_chain_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    clock = [0.0]
    monkeypatch.setattr("fedvm.chain.passing_time.time.monotonic", lambda: clock[0])
    waiting = Waiting(replace(ANVIL, block_seconds=2), told.append)
    waiting.look("the window", 3600, 10**9)
    waiting.look("the window", 3590, 10**9 + 10)
    assert len(told) == 1 and "2001-09-09 02:46:40 UTC" in told[0]
    clock[0] = 61.0
    waiting.look("the window", 3590, 10**9 + 10)
    waiting.look("the window", 3590, 10**9 + 10)
    assert len(told) == 2 and "stands still" in told[1]
    waiting.look("another window", 5, 10**9 + 20)
    assert len(told) == 3
