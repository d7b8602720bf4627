"""The class of a wrapped strategy: the user's methods on top, the contract's rounds below, Flower's at the bottom.

A user's strategy is a subclass of one of Flower's. Its overrides must still run, and where they call `super()`, the
contract's round must take the place of Flower's. So the methods of rounds stand between the two in the order in which
Python looks methods up.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from fedvm.federation.coordinator.flower_rules import flower_class

if TYPE_CHECKING:
    from fedvm.federation.coordinator.accountability import Accountability


class RoundsBelow(FedAvg):
    """What takes the place of Flower's own choice of nodes and aggregation, below the user's overrides."""

    accountability: Accountability

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Flower's messages, to members that follow from the round's public seed."""
        drafts = super().configure_train(server_round, arrays, config, grid)
        return self.accountability.choose_to_train(server_round, drafts)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Flower's messages, to members that follow from the round's public seed."""
        drafts = super().configure_evaluate(server_round, arrays, config, grid)
        return self.accountability.choose_to_evaluate(server_round, drafts)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Settle the round on chain, instead of Flower's aggregation."""
        listed = list(replies)
        self._check_and_log_replies(listed, is_train=True, validate=False)
        return self.accountability.settle(server_round, listed)


@lru_cache(maxsize=64)
def wrapped_class(top: type, user: type[FedAvg]) -> type[Any]:
    """The class of a strategy of class `user` that is made accountable by the methods of `top`.

    Raises:
        SettingsError: `user` is no subclass of one of Flower's strategies.
    """
    flower = flower_class(user)
    below = ABCMeta(f"Rounds{flower.__name__}", (RoundsBelow, flower), {"__module__": __name__})
    bases = (top, below) if user is flower else (top, user, below)
    about = {"__module__": user.__module__, "__doc__": user.__doc__}
    return ABCMeta(f"Accountable{user.__name__}", bases, about)


def own_aggregation(user: type[FedAvg]) -> bool:
    """Whether a strategy's class overrides Flower's `aggregate_train`."""
    return user.aggregate_train is not flower_class(user).aggregate_train
