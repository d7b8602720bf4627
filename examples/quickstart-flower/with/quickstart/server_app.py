"""What runs at the server."""

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedvm.federation import Accountable
from quickstart.task import initial_model

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Federate."""
    strategy = Accountable(FedAvg(fraction_evaluate=0.5))
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(initial_model().state_dict()),
        num_rounds=context.run_config["num-server-rounds"],
    )
    print("accuracy", result.evaluate_metrics_clientapp[context.run_config["num-server-rounds"]]["accuracy"])
