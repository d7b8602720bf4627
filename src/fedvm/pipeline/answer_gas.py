"""The gas that a version's answers are given: from the program and the network's unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fedvm.chain.networks import Network
from fedvm.pipeline.errors import ConfigError

MARGIN_PERCENT: Final = 25
"""What an answer is given beyond its need, in per cent. It is room for a network that prices opcodes anew, and on
Filecoin for the manifest's estimate, which was measured to be up to 1 % too low. What is not used is not paid."""


TRIAL_SHARE: Final = 0.5
"""Most of a transaction's gas that the answer of one version in a trial is given; the serving one is asked with it."""


MOST_SAMPLES: Final = 20
"""Most samples of one transaction of a trial."""
_GAS_SHARE, _FILECOIN_GAS_SHARE = 0.75, 0.25
"""Most of a transaction's gas that a trial's is given: on Filecoin a message above a quarter of a block waits long."""


def samples_at_once(each: int, overhead: int, network: Network) -> int:
    """How many samples of a trial a transaction of a network has gas for, from 1 to `MOST_SAMPLES`.

    each, overhead: gas that one is given, and that the transaction needs beside them, in the network's gas.
    """
    share = _FILECOIN_GAS_SHARE if network.is_filecoin else _GAS_SHARE
    return min(MOST_SAMPLES, max(1, (int(network.transaction_gas * share) - overhead) // each))


def serving_gas(
    gas: Mapping[str, int], network: Network, wanted: int | None = None, *, tried: bool = False
) -> int:
    """What each answer of a program is given on a network, in its gas.

    gas: of the manifest; wanted: what the user set, None for the need and `MARGIN_PERCENT` more;
    tried: whether a gate asks the version in transactions.
    Raises ConfigError when `wanted` is below the need, or a trial's answers do not fit a transaction of the network.
    """
    # The entry keeps 1/64 of what is left when it calls a part (EIP-150), so it needs more than it uses.
    need = gas[network.gas_unit] + gas[network.gas_unit] // 63 + 1
    given = need + need * MARGIN_PERCENT // 100 if wanted is None else wanted
    if given < need:
        raise ConfigError(
            f"compiler.answer_gas = {given:,} is less than the program needs on {network.title}, {need:,} gas: "
            "raise it, or leave it out"
        )
    if tried and given > network.transaction_gas * TRIAL_SHARE:
        raise ConfigError(
            f"an answer is given {given:,} gas, and a trial asks two versions in a transaction, which has "
            f"{network.transaction_gas:,} on {network.title}: train a smaller network, or lower "
            "compiler.activation_bits"
        )
    return given
