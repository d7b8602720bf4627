"""What runs at the server."""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from digits_app.task import initial_model
from fedvm.federation import Accountable, open_federation

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Federate."""
    strategy = Accountable(FedAvg(fraction_evaluate=0.0), federation=open_federation(context))
    strategy.start(
        grid=grid, initial_arrays=initial_model(), num_rounds=int(context.run_config["num-server-rounds"])
    )
