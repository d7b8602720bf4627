"""What the steps of a federation and of a model cost, in both units of gas, before anything is sent.

Filecoin's figures of deployments are those of mainnet, whose address map is large: 54 M gas for a contract and 4,800
for a byte of its code (measured on actors v18). The others are of `benchmarks/results/contracts.json`, which
`make bench-contracts` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fedvm.chain.networks import Network
from fedvm.evm.gas import CALLDATA_BYTE_GAS, CODE_BYTE_GAS, CREATE_GAS, TRANSACTION_GAS

CONTRACT_FILECOIN: Final = 54_000_000
CODE_BYTE_FILECOIN: Final = 4_800


@dataclass(frozen=True)
class Step:
    """A step and its gas. evm: by Ethereum's schedule; filecoin: Filecoin's own. transactions: number of them."""

    title: str
    evm: int
    filecoin: int
    transactions: int = 1

    def gas(self, network: Network) -> int:
        """What the network counts."""
        return self.filecoin if network.is_filecoin else self.evm


def creation(title: str, code_bytes: Iterable[int], *, init_bytes: int = 0) -> Step:
    """The creation of contracts with runtime codes of these lengths, by a transaction each. init_bytes: of init code
    beside those."""
    sizes = list(code_bytes)
    evm = sum(TRANSACTION_GAS + CREATE_GAS + (CODE_BYTE_GAS + CALLDATA_BYTE_GAS) * size for size in sizes)
    evm += CALLDATA_BYTE_GAS * init_bytes
    filecoin = sum(CONTRACT_FILECOIN + CODE_BYTE_FILECOIN * size for size in sizes)
    return Step(title, evm, filecoin, len(sizes))


@dataclass(frozen=True)
class PlannedStep:
    """A step of what is about to be done. done: it is on the chain already, and costs nothing. estimate: the gas that
    the node states for it, in the network's unit; None if it could not be asked. address: of what it creates."""

    step: Step
    done: bool = False
    estimate: int | None = None
    address: str | None = None


def gas_of(steps: Sequence[PlannedStep], network: Network) -> int:
    """Gas that is still to be paid for, in the network's unit."""
    return sum(one.estimate or one.step.gas(network) for one in steps if not one.done)


CREATE_FEDERATION_16: Final = Step("create a federation of 16", 1_153_345, 365_883_670)
ROUND_16: Final = Step("a round of 16, one proposal", 16 * 47_316, 16 * 8_462_782, 4)
DISPUTE: Final = Step("prove a false proposal", 170_980, 42_094_397)
MODEL: Final = creation("deploy a model of 100 KB", [24_576] * 4)


def federation_step(members: int) -> Step:
    """Creating a federation of so many members; of more than 16, in proportion."""
    return _for_members(CREATE_FEDERATION_16, f"create a federation of {members}", members)


def rounds_step(rounds: int, members: int) -> Step:
    """So many rounds in which all members take part, updates relayed one by one."""
    one = _for_members(ROUND_16, "", members)
    return Step(f"{rounds} rounds of {members}", rounds * one.evm, rounds * one.filecoin, 4 * rounds)


def _for_members(step: Step, title: str, members: int) -> Step:
    share = max(members, 16) / 16
    return Step(title, round(step.evm * share), round(step.filecoin * share), step.transactions)


def typical_steps() -> tuple[Step, ...]:
    """What most people will do, to see how far an account reaches."""
    return (CREATE_FEDERATION_16, ROUND_16, DISPUTE, MODEL)
