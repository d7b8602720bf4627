"""What a federation needs of a chain: rounds, verdicts, the model's root. A strategy knows nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fedvm.chain.federation_types import Proposal, RoundState
from fedvm.protocol import Commitment, Rules, Submission


@dataclass(frozen=True)
class LedgerRound:
    """A round as the chain has it. Roots and seed are 32 bytes.

    The roots of aggregation, aggregate and model, and model_cid (a binary CIDv1), are those of the proposal
    that stands or became final; without one they are zero and empty. accepted, total_weight: of the updates
    that count. rolled_up: stated at once.
    """

    number: int
    status: RoundState
    seed: bytes
    base_root: bytes
    model_root: bytes
    aggregate_root: bytes
    aggregation_root: bytes
    deadline: int
    accepted: int
    total_weight: int
    model_cid: bytes
    rolled_up: bool = False


@dataclass(frozen=True)
class AcceptedUpdate:
    """The contract accepted an update and set its weight. Examples, accuracy, loss, labels and ε are attested by the
    client. direct: whether its member submitted it itself, so that it stands in no order."""

    member: str
    weight: int
    examples: int
    update_root: bytes
    sum_squares: int
    accuracy_ppm: int
    loss_micros: int
    labels: int
    epsilon_micros: int
    cid: bytes
    direct: bool = False

    @property
    def commitment(self) -> Commitment:
        """What the contract keeps of it."""
        return Commitment(self.member, self.weight, self.update_root, self.sum_squares)

    @property
    def capped(self) -> bool:
        """Whether the rules' cap made the weight smaller than the claimed examples."""
        return self.weight < self.examples


@dataclass(frozen=True)
class RefusedUpdate:
    """The contract refused an update, for a reason named in its `Refusal`."""

    member: str
    reason: str
    update_root: bytes
    cid: bytes


Verdict = AcceptedUpdate | RefusedUpdate


@dataclass(frozen=True)
class RoundGas:
    """Gas a round's transactions used: opening, all submissions, closing (proposing, finalising, failing)."""

    open: int
    submit: int
    close: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.open + self.submit + self.close


class Ledger(Protocol):
    """One federation on one chain. Transactions return when they are in a block; all raise on a revert."""

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""
        ...

    @property
    def address(self) -> str:
        """Checksummed address of the federation contract."""
        ...

    def rules(self) -> Rules:
        """The rules in force."""
        ...

    def aggregator_since(self) -> int:
        """The first round, opened or yet to open, for which the rules name the present aggregator, as they have since:
        1 if they never named another."""
        ...

    def members(self) -> tuple[str, ...]:
        """Checksummed addresses, ascending."""
        ...

    def key_of(self, member: str) -> str:
        """Lower-case hex address of the key that a member appointed for the round to come, "" if none."""
        ...

    def current_round(self) -> int:
        """Number of the latest round, 0 before the first."""
        ...

    def round(self, number: int) -> LedgerRound:
        """The state of a round that was opened."""
        ...

    def model_cid(self) -> bytes:
        """Binary CID of the latest final model; of the first model before any round is final."""
        ...

    def model_root(self) -> bytes:
        """Root of that model."""
        ...

    def verdicts(self, number: int) -> tuple[Verdict, ...]:
        """All verdicts of a round so far, in the order of the chain."""
        ...

    def excluded(self, number: int) -> frozenset[str]:
        """Members (lower-case hex) whose accepted update was proved bad."""
        ...

    def gas(self, number: int) -> RoundGas:
        """Gas used by the round's transactions so far, whoever sent them."""
        ...

    def now(self) -> int:
        """Unix seconds of the latest block."""
        ...

    def open_round(self) -> LedgerRound:
        """Open the next round over the latest model."""
        ...

    def submit(self, number: int, updates: Sequence[Submission]) -> None:
        """Relay updates, ascending by member; in several transactions if one cannot hold them."""
        ...

    def submit_rollup(self, number: int, submissions: Sequence[Submission], waiting: int = 0) -> None:
        """State all updates of a round at once, and publish which they are and how they were judged.

        waiting: how many of them members submitted themselves. Raises UpdatesWaiting if there are more by then.
        """
        ...

    def hold_open(self, number: int) -> None:
        """Wait until a round has been open for as long as its members are promised to submit themselves."""
        ...

    def waiting(self, number: int) -> tuple[Submission, ...]:
        """Updates that members submitted themselves and that are neither included nor given up."""
        ...

    def include(self, number: int, submission: Submission) -> None:
        """Take a waiting update in, where updates are relayed one by one."""
        ...

    def demand_vector(self, number: int, member: str) -> bytes | None:
        """Demand that a member post the vector of its waiting update, and wait for it.

        Returns it as it is stored; None when it did not come in time, so that the update is given up.
        """
        ...

    def posted_vector(self, number: int, member: str) -> bytes | None:
        """The vector that a member posted on demand, as it is stored; None if it posted none."""
        ...

    def propose(self, number: int, proposal: Proposal) -> None:
        """State what a round with its quorum came to. Raises UpdatesWaiting if a member has submitted an update
        itself in the meantime."""
        ...

    def conclude(self, number: int) -> RoundState:
        """Wait until the proposal can be made final and do so; or see it rejected. Returns where the round
        stands: FINAL, SUBMITTED or FAILED."""
        ...

    def fail(self, number: int) -> None:
        """Close a round without result."""
        ...


def by_address(member: str) -> int:
    """Sort key: ascending address order."""
    return int(member, 16)
