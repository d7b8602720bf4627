"""The accountable strategy: `Accountable(FedAvg(...), federation=...)` around one of Flower's own."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result

from fedvm.federation.coordinator.rounds import run_rounds
from fedvm.federation.coordinator.strategy import RoundStrategy


class Accountable(RoundStrategy):
    """A strategy of Flower's whose rounds a contract checks and records; call `start` as of any Flower strategy.

    inner: a strategy of Flower's whose aggregation has a fixed-point definition (`flower_rules`). federation: the
    contract and the store, from `open_federation`.

    Raises:
        SettingsError: the inner strategy has no such definition, or the contract's rules name another one.
    """

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Play rounds until the chain has `num_rounds` closed ones, and return Flower's result.

        grid: Flower's grid. initial_arrays: the model's state, named tensors; the same that the federation was created
        with. timeout: seconds to wait for one round's replies, if the round's deadline on chain is not earlier.
        train_config, evaluate_config: what every message to the clients carries. evaluate_fn: the server's own test.

        Raises:
            FederationStalled: three rounds in a row failed, or none became final.
            LedgerMismatch: chain, store and initial_arrays disagree.
            TransactionFailed: the contract refused a transaction.
        """
        self.summary()
        result = run_rounds(
            self,
            grid,
            initial_arrays,
            rounds=num_rounds,
            timeout=timeout,
            train_config=train_config,
            evaluate_config=evaluate_config,
            evaluate_fn=evaluate_fn,
        )
        return result.to_flower()
