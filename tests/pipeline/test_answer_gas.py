"""The gas of a version's answers, from the manifest and the network."""

from __future__ import annotations

import pytest

from fedvm.chain.networks import ANVIL, EMBEDDED, MAINNET, NETWORKS
from fedvm.pipeline.answer_gas import MOST_SAMPLES, samples_at_once, serving_gas
from fedvm.pipeline.errors import ConfigError

LENET = {"evm": 355_000, "filecoin": 193_900_695}
"""The order of what an MNIST LeNet takes; Filecoin's figure was measured as 187,664,113 (a whole message)."""


def test_each_network_counts_its_own_gas() -> None:
    assert {network.name for network in NETWORKS if network.is_filecoin} == {
        "devnet",
        "filecoin-calibration",
        "filecoin",
    }
    assert 355_000 * 64 / 63 < serving_gas(LENET, ANVIL) < 500_000
    assert serving_gas(LENET, EMBEDDED) == serving_gas(LENET, ANVIL)
    # The former default of 5,000,000 made every answer on Filecoin wrong.
    assert 187_664_113 * 64 / 63 < serving_gas(LENET, MAINNET) < 260_000_000


def test_less_than_the_program_needs_is_refused() -> None:
    need = 355_000 + 355_000 // 63 + 1
    assert serving_gas(LENET, ANVIL, need) == need
    with pytest.raises(ConfigError, match=f"{need - 1:,} is less than the program needs on local anvil"):
        serving_gas(LENET, ANVIL, need - 1)
    with pytest.raises(ConfigError, match="5,000,000 is less than the program needs on Filecoin mainnet"):
        serving_gas(LENET, MAINNET, 5_000_000)


def test_a_trial_that_fits_no_transaction_is_refused() -> None:
    large = {"evm": 9_000_000, "filecoin": 4_500_000_000}
    for network in (ANVIL, MAINNET):
        assert serving_gas(large, network) > network.transaction_gas * 0.5
        with pytest.raises(ConfigError, match="a trial asks two versions in a transaction"):
            serving_gas(large, network, tried=True)
    assert serving_gas(large, EMBEDDED, tried=True) < 12_000_000


def test_a_batch_fits_the_networks_transactions() -> None:
    for network in NETWORKS:
        given = serving_gas(LENET, network)
        each = 300_000 + 2 * given
        count = samples_at_once(each, 1_000_000, network)
        assert 1_000_000 + count * each <= network.transaction_gas
        # On Filecoin a quarter of a block: 2,500 M for samples of some 490 M.
        assert count == (5 if network.is_filecoin else MOST_SAMPLES if network is EMBEDDED else 9)
    assert samples_at_once(10**10, 0, MAINNET) == 1
