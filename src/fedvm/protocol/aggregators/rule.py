"""What an aggregation rule is: how the accepted updates of a round change the model, in integers only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol.aggregation import CountedUpdate
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.mean import WeightedSums, moved, weighted_sums
from fedvm.protocol.vector import IntVector, check_vector

MICROS = 1_000_000
"""Parameters that are shares or rates are stated in millionths."""

VERSION = 1
_PARAMETERS_AT, _LENGTH = 2, 32

ServerState = tuple[NDArray[Any], ...]
"""What a server optimiser remembers: integer vectors (n,). Empty before its first round, and for rules without."""


class Point(Protocol):
    """What a rule compares: an update that counts, or in a sealed round the mean of a group."""

    @property
    def weight(self) -> int:
        """The weight that the contract gave it, at least 1."""

    @property
    def vector(self) -> IntVector:
        """int32 (n,)."""

    @property
    def loss_micros(self) -> int:
        """The loss that its member attests, in millionths; `NOT_ATTESTED_LOSS` for none."""


class Payloads(Protocol):
    """The bytes that vectors stand for, where a federation aggregates no vectors (`ByteRule`)."""

    def get(self, vector: IntVector) -> bytes:
        """The bytes whose name is a vector, int32 (9,)."""

    def put(self, data: bytes) -> IntVector:
        """The vector that is the name of these bytes, int32 (9,)."""


@dataclass(frozen=True)
class RoundFacts:
    """Facts about the round that is aggregated: its number on chain (1 …), and the scale of all values,
    2^−fraction_bits. payloads: for a rule over bytes."""

    number: int
    fraction_bits: int
    payloads: Payloads | None = None


@dataclass(frozen=True)
class RoundResult:
    """S and W as for the weighted mean, the new model (int32, (n,)), and the server's state after the round."""

    sums: WeightedSums
    model: IntVector
    state: ServerState


class Aggregator(ABC):
    """A rule that gives one model for the same base, updates and earlier rounds, to the bit, on any machine.

    A rule other than the weighted mean is *audit-only*: the contract does not recompute it, everyone's audit does.
    """

    title: ClassVar[str]
    """The name of Flower's strategy that it is the fixed-point form of."""
    kind: ClassVar[int]
    """First byte of the identifier."""
    needs_updates: ClassVar[bool] = False
    """Whether `step` looks at single updates (in a sealed round at the groups' means); S and W are enough otherwise."""

    over_bytes: ClassVar[bool] = False
    """Whether vectors are names of bytes (`ByteRule`)."""
    takes_turns: ClassVar[bool] = False
    """Whether one member trains a round, in turns."""
    needs_losses: ClassVar[bool] = False
    """Whether `step` looks at the losses that members attest; a client must then report one."""

    @abstractmethod
    def parameters(self) -> tuple[int, ...]:
        """The rule's parameters, each a uint32, in the identifier's order."""

    @abstractmethod
    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> NDArray[Any]:
        """What is added to the base, integers (n,). state: as `remember` returned it in the same round.
        counted: may be empty for a rule that does not need them."""

    def model(
        self,
        base: IntVector,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> IntVector:
        """The next model, int32 (n,). base: the one before it; the rest as of `step`.

        Raises:
            RangeError: an element leaves int32.
        """
        return moved(base, self.step(counted, sums, state, facts))

    def remember(self, state: ServerState, sums: WeightedSums) -> ServerState:
        """The server's state after a round, from the state before it; it follows from S and W of the final rounds."""
        return ()

    @property
    def name(self) -> str:
        """The name under which the rule is shown."""
        return self.title

    @property
    def is_stateful(self) -> bool:
        """Whether the result depends on earlier rounds."""
        return type(self).remember is not Aggregator.remember

    @property
    def identifier(self) -> bytes:
        """`Rules.aggregator`, 32 bytes: kind, version, the parameters as big-endian u32, zeros."""
        parameters = b"".join(value.to_bytes(4) for value in self.parameters())
        return (bytes([self.kind, VERSION]) + parameters).ljust(_LENGTH, b"\0")

    @property
    def is_audit_only(self) -> bool:
        """Whether no proof on chain can show a wrong result, only an audit."""
        return any(self.identifier)

    @property
    def caveat(self) -> str:
        """What to add where a result is found to be wrong: empty, or that no proof can show it."""
        return "; no proof on chain can show it, since the rule is audit-only" if self.is_audit_only else ""

    def describe(self) -> str:
        """For people: the rule, its parameters, and who checks it."""
        checked = "audit-only" if self.is_audit_only else "disputable on chain"
        shown = ", ".join(f"{name} {value}" for name, value in self.shown_parameters().items())
        return f"{self.name} ({shown + '; ' if shown else ''}{checked})"

    def shown_parameters(self) -> dict[str, str]:
        """Parameters by name, as people write them."""
        return {}


def aggregate(
    rule: Aggregator,
    base: IntVector,
    counted: Sequence[CountedUpdate],
    state: ServerState,
    facts: RoundFacts,
) -> RoundResult:
    """Apply a rule to a round. base: int32 (n,); counted: in ascending address order; state: before it.

    Raises:
        EncodingError: what `weighted_sums` and `moved` raise, or the rule cannot be applied to so few updates.
    """
    check_vector("base model", base, np.int32)
    return aggregate_sums(rule, base, weighted_sums(counted, base.size), counted, state, facts)


def aggregate_sums(
    rule: Aggregator,
    base: IntVector,
    sums: WeightedSums,
    counted: Sequence[Point],
    state: ServerState,
    facts: RoundFacts,
) -> RoundResult:
    """As `aggregate`, from S and W that are known already; counted: empty if the rule does not need them."""
    after = rule.remember(state, sums)
    return RoundResult(sums, rule.model(base, counted, sums, after, facts), after)


def unpack(identifier: bytes, count: int) -> tuple[int, ...]:
    """The `count` parameters of an identifier.

    Raises:
        EncodingError: the identifier has another version, or bytes other than zero after the parameters.
    """
    if identifier[1] != VERSION:
        raise EncodingError(
            f"aggregator 0x{identifier.hex()} has version {identifier[1]}, known is {VERSION}"
        )
    end = _PARAMETERS_AT + 4 * count
    if any(identifier[end:]):
        raise EncodingError(
            f"aggregator 0x{identifier.hex()} has more than the {count} parameters of its kind"
        )
    return tuple(int.from_bytes(identifier[at : at + 4]) for at in range(_PARAMETERS_AT, end, 4))


def check_parameter(name: str, value: int, least: int, most: int) -> None:
    """Raise EncodingError unless least ≤ value ≤ most."""
    if not least <= value <= most:
        raise EncodingError(f"{name} is {value}; it must lie between {least} and {most}")
