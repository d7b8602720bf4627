"""The fees of decisions, the lineage of decisions, and proofs that an update contributed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedvm.protocol import AggregationTree, Commitment


@dataclass(frozen=True)
class FeeTerms:
    """What a decision by a version costs: the fee in wei, the treasury's address, and the treasury's share."""

    amount: int
    treasury: str
    treasury_ppm: int = 0

    def as_tuple(self) -> tuple[int, str, int]:
        """The fields in the struct's order, as web3 takes a struct."""
        return self.amount, self.treasury, self.treasury_ppm


@dataclass(frozen=True)
class Lineage:
    """Where a decision's model comes from. Without a federation the round, hashes and roots are zero."""

    version: int
    program: str
    code_hash: bytes
    federation: str
    round: int
    rules_hash: bytes
    model_root: bytes
    aggregation_root: bytes
    integer_onnx_digest: bytes
    onnx_cid: bytes

    @classmethod
    def of(cls, value: Any) -> Lineage:
        """From the contract's struct."""
        version, program, code_hash, federation, round_id, *hashes = value
        return cls(version, program, bytes(code_hash), federation, round_id, *map(bytes, hashes))


@dataclass(frozen=True)
class Contribution:
    """An update that counted in a round, and its Merkle path to the top of the round's aggregation tree.

    position: its number among the accepted updates, from 0.
    """

    position: int
    commitment: Commitment
    tree: AggregationTree

    def as_tuple(self) -> tuple[Any, ...]:
        """The arguments of ``collect`` after the version. Raises RangeError if nothing counts there."""
        path = [step.as_tuple() for step in self.tree.path(self.position)]
        leaf = self.tree.levels[0][self.position]
        assert leaf is not None
        return (self.position, leaf.preimage, path), self.commitment.as_tuple()


@dataclass(frozen=True)
class Earnings:
    """Wei that a version has earned for each update that counted, and how many of them were collected."""

    per_update: int
    collected: int
