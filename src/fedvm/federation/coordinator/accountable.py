"""The accountable strategy: `Accountable(FedAvg(...), federation=...)` around one of Flower's own."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result

from fedvm.federation.coordinator.rounds import run_rounds
from fedvm.federation.coordinator.strategy import RoundStrategy


class Accountable(RoundStrategy):
    """A `RoundStrategy` that plays all its rounds itself, as Flower's strategies do: `start` is where an app begins."""

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
        """Run up to round `num_rounds` of the chain, as `run_rounds` does, and give Flower's result."""
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
