"""A sealed federation is created only on a chain on which its rounds can come to an end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import conditions
from fedvm.chain.errors import NetworkError
from fedvm.chain.factory import FederationFactory
from fedvm.chain.networks import BASE, CALIBRATION, EMBEDDED, Network
from fedvm.devnet.embedded import open_chain
from fedvm.federation.coordinator import founding
from fedvm.federation.errors import SettingsError
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.store import ContentStore

SEALED = SealedRules(8, 20, 8, 1, 1_000_000, 0, 300, 300, 120)


@pytest.mark.parametrize(
    ("network", "seconds", "least"), [(CALIBRATION, 719, 720), (BASE, 300, 1920), (EMBEDDED, 60, None)]
)
def test_answers_have_time_after_a_close_is_final(
    network: Network, seconds: int, least: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(founding, "network_of", lambda _: network)
    with open_chain(tmp_path, seed=3, create=True) as chain:
        owner = chain.account("owner")
        factory = FederationFactory.deploy_first(chain.w3, owner)

        def found(unmask_seconds: int, salt: int) -> None:
            founding.found(
                factory,
                owner,
                ContentStore(tmp_path / "store"),
                np.zeros(100, dtype=np.int32),
                rules=conditions.rules(
                    elements=100, round_seconds=7200, min_clients=2, max_sum_squares=2**40
                ),
                members=[chain.account("member", index).address for index in range(8)],
                security=conditions.security(),
                sealed=replace(SEALED, unmask_seconds=unmask_seconds),
                salt=salt.to_bytes(32),
            )

        if least is None:
            found(seconds, 1)
            return
        with pytest.raises(SettingsError, match=rf"Set sealed.unmask_seconds = {least} or more"):
            found(seconds, 1)
        found(least, 1)


def test_a_chain_without_a_beacon_has_no_sealed_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_beacon(*_: object) -> tuple[bytes, bytes]:
        raise NetworkError("block 1 has no beacon value (PREVRANDAO)")

    monkeypatch.setattr(founding, "block_header", no_beacon)
    with open_chain(tmp_path, seed=3, create=True) as chain:
        owner = chain.account("owner")
        factory = FederationFactory.deploy_first(chain.w3, owner)
        with pytest.raises(NetworkError, match="no beacon"):
            founding.found(
                factory,
                owner,
                ContentStore(tmp_path / "store"),
                np.zeros(100, dtype=np.int32),
                rules=conditions.rules(elements=100),
                members=[],
                security=conditions.security(),
                sealed=SEALED,
            )
