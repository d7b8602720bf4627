"""Recomputes a round's aggregate and model, by the aggregator that the federation's rules name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedvm.audit.findings import Ledger, Place
from fedvm.chain.federation_types import RoundProposed
from fedvm.protocol import CountedUpdate, EncodingError, Rules, aggregation_tree, model_root
from fedvm.protocol.aggregators import (
    Aggregator,
    RoundFacts,
    ServerState,
    aggregate_sums,
    aggregator_named,
)
from fedvm.protocol.mean import WeightedSums, weighted_sums
from fedvm.protocol.vector import IntVector
from fedvm.store import Store, StoreError
from fedvm.store.payloads import StoredPayloads


@dataclass(frozen=True)
class RoundUpdates:
    """The updates accepted in a round. updates: in order, without those that could not be verified; missing: how many
    these are; base: the model they were trained from, None if the store does not have it."""

    number: int
    updates: Sequence[CountedUpdate]
    missing: int
    base: IntVector | None


class AggregateReplay:
    """Follows the server's memory from round to round, and checks each proposal that became final."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._payloads = StoredPayloads(store)
        self._rule: Aggregator | None = None  # None: the rules name an unknown aggregator
        self._memory: ServerState | None = ()  # None: a round that the state depends on could not be verified

    def go_by(self, rules: Rules, place: Place) -> None:
        """Switch to the aggregator of `rules`; the server's state starts at zero."""
        self._rule, self._memory = None, ()
        try:
            self._rule = aggregator_named(rules.aggregator)
        except EncodingError as error:
            self._ledger.check("rules", False, place, str(error))

    @property
    def is_stateful(self) -> bool:
        """Whether a round's model depends on the updates of those before."""
        return self._rule is not None and self._rule.is_stateful

    def describe(self, rules: Rules) -> str:
        """How these rules make the model from the updates, and who can check that."""
        if self._rule is None:
            return f"unknown aggregator 0x{rules.aggregator.hex()}"
        return self._rule.describe()

    def check(self, round_: RoundUpdates, rules: Rules, proposal: RoundProposed, place: Place) -> None:
        """Compare the proposal's roots with those that follow from the updates."""
        check = self._ledger.check
        memory, self._memory = self._memory, None  # until this round is understood
        if round_.missing or round_.base is None:
            what = f"{round_.missing} accepted updates" if round_.missing else "the base model"
            message = f"cannot be computed again: {what} could not be verified"
            self._ledger.unverified("aggregate", place, message)
        if round_.missing:
            return
        counted = round_.updates
        try:
            sums = weighted_sums(counted, rules.elements)
            tree = aggregation_tree(counted)
        except EncodingError as error:
            check("aggregate", False, place, f"cannot be computed again: {error}")
            return
        check(
            "aggregate",
            (tree.root, tree.top.sums.root) == (proposal.aggregation_root, proposal.aggregate_root),
            place,
            "the weighted sum of the accepted updates has another root",
        )
        self._memory = self._remembered(memory, sums)
        if round_.base is not None:
            facts = RoundFacts(round_.number, rules.fraction_bits, self._payloads)
            self._check_model(round_.base, sums, counted, memory, facts, proposal, place)

    def _remembered(self, memory: ServerState | None, sums: WeightedSums) -> ServerState | None:
        """The server optimiser's state after a round with these sums."""
        if self._rule is None or not self._rule.is_stateful:
            return ()
        try:
            return None if memory is None else self._rule.remember(memory, sums)
        except EncodingError:  # the check of the model reports this
            return None

    def _check_model(
        self,
        base: IntVector,
        sums: WeightedSums,
        counted: Sequence[CountedUpdate],
        memory: ServerState | None,
        facts: RoundFacts,
        proposal: RoundProposed,
        place: Place,
    ) -> None:
        check, rule = self._ledger.check, self._rule
        if rule is None or memory is None:
            why = (
                "the rules' aggregator is not known"
                if rule is None
                else "a round before could not be verified"
            )
            self._ledger.unverified("model", place, f"cannot be computed again: {why}")
            return
        try:
            result = aggregate_sums(rule, base, sums, counted, memory, facts)
            if rule.over_bytes:
                self._payloads.get(result.model)  # whoever goes on from the model needs its bytes
        except EncodingError as error:
            check("model", False, place, f"cannot be computed again: {error}")
            return
        except StoreError as error:
            self._ledger.unreadable("model", place, error, "cannot be computed again: ")
            return
        check(
            "model",
            model_root(result.model) == proposal.model_root,
            place,
            f"base plus {rule.name} of the updates has another root than the model stated" + rule.caveat,
        )
