"""The accountable strategy: `Accountable(FedAvg(...))` around one of Flower's own, or the app's."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result

from fedvm.federation.coordinator.accountability import Accountability, ReceivingGrid
from fedvm.federation.coordinator.flower_rules import check_asker, rule_of
from fedvm.federation.coordinator.in_place import InPlace
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.wrapping import own_aggregation, wrapped_class
from fedvm.federation.errors import SettingsError


class Accountable(FedAvg):
    """A strategy of Flower's, or a subclass of one, whose rounds a contract checks and records.

    It is an instance of the class of the strategy that it wraps, and shares its attributes: whatever an app overrides
    or calls stays. New are the signed integer updates, the contract's verdict on each, a line in the log for it, and
    the exact aggregate. Where Flower chooses nodes, the round's public seed does; where a subclass chooses by itself,
    its choice stands.

    inner: the strategy; its aggregation must have a fixed-point definition (`flower_rules`). federation: the contract
    and the store, from `open_federation`; without one, a federation is made when the first round begins (`in_place`):
    of the nodes that are connected, from the app's own initial arrays. directory: where that is kept, a folder that is
    new or empty; below `~/.fedvm` unless given. fraction_bits: of its fixed point, chosen from the initial arrays
    unless given. `strategy.accountability` has what is FedVM's.

    Raises:
        SettingsError: the inner strategy has no such definition, or the contract's rules name another one.
    """

    accountability: Accountability

    def __new__(cls, inner: FedAvg, **_: Any) -> Accountable:
        """An object of a class made for `inner`; see the class."""
        if isinstance(inner, Accountable):
            raise SettingsError("the strategy is accountable already: wrap it once")
        rule_of(inner)  # refuses before anything is made
        made: Accountable = object.__new__(wrapped_class(Accountable, type(inner)))
        made.__dict__ = inner.__dict__
        return made

    def __init__(
        self,
        inner: FedAvg,
        *,
        federation: Federation | None = None,
        directory: Path | str | None = None,
        fraction_bits: int | None = None,
    ) -> None:
        if federation is not None and (directory is not None or fraction_bits is not None):
            raise SettingsError(
                "directory and fraction_bits are for a federation that is to be made: leave federation out"
            )
        in_place = InPlace(None if directory is None else Path(directory), fraction_bits)
        self.accountability = Accountability(
            inner, federation, in_place, keeps_arrays=own_aggregation(type(inner))
        )

    def start(self, grid: Grid, *args: Any, **kwargs: Any) -> Result:
        """The strategy's own `start`, over rounds on chain: until the chain has as many closed ones as it plays.

        Arguments as of the strategy's: the model's state, named tensors, comes first. The replies to a round are waited
        for no longer than until its deadline on chain.

        Raises:
            FederationStalled: three rounds in a row failed, or none became final.
            LedgerMismatch: chain, store and initial arrays disagree.
            TransactionFailed: the contract refused a transaction.
            SettingsError: the federation cannot be made, or the strategy's own code does what nobody could recompute.
        """
        given, named = list(args), dict(kwargs)
        initial = named.get("initial_arrays", given[0] if given else None)
        if isinstance(initial, ArrayRecord):
            everything = (*given, *named.values())
            stated = (one for one in everything if isinstance(one, ConfigRecord))
            config = named.get("train_config") or next(stated, None)  # it comes before evaluate_config
            arrays = self.accountability.begin(grid, initial, config)
            if "initial_arrays" in named:
                named["initial_arrays"] = arrays
            else:
                given[0] = arrays
            self.accountability.describe(named.get("num_rounds", given[1] if len(given) > 1 else None))
        result: Result = super().start(ReceivingGrid(grid, self.accountability), *given, **named)
        self.accountability.end()
        return result

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's messages, with the round's terms in them; none for a round that a run before this one
        played."""
        accountability = self.accountability
        frame = inspect.currentframe()  # a wrapper of Flower's shows itself nowhere else
        check_asker(frame.f_back.f_locals.get("self") if frame and frame.f_back else None)
        arrays = accountability.begin_with(server_round, grid, arrays, config)
        if accountability.is_closed(server_round):
            return []
        members = accountability.prepare_train(server_round, accountability.grid)
        drafts = super().configure_train(server_round, arrays, config, members)
        return accountability.rounds.address_train(server_round, drafts)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The strategy's own `aggregate_train`, around the round's settlement on chain. Arrays are None if the round
        failed, metrics if nobody was accepted."""
        seen = self.accountability.receive(replies)
        arrays, metrics = super().aggregate_train(server_round, seen)
        self.accountability.check_settled(server_round, arrays)
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's messages, to members; none for rounds before the last that an earlier run played."""
        accountability = self.accountability
        accountability.begin_with(server_round, grid, arrays)
        if accountability.is_closed(server_round + 1):
            return []
        members = accountability.rounds.prepare_evaluate(accountability.grid)
        return super().configure_evaluate(server_round, arrays, config, members)
