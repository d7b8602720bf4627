"""What runs at the coordinator."""

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedvm.federation import Accountable, open_federation
from hospitals.task import Net, accuracy, initial_model

app = ServerApp()


def test_on_held_back_patients(number: int, arrays: ArrayRecord) -> MetricRecord:
    """What becomes of the model, which is public; no hospital is asked."""
    net = Net()
    net.load_state_dict(arrays.to_torch_state_dict())
    print(f"round {number}: {accuracy(net):.1%} of the held-back patients", flush=True)
    return MetricRecord({"accuracy": accuracy(net)})


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Federate."""
    strategy = Accountable(FedAvg(fraction_evaluate=0.0), federation=open_federation(context))
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(initial_model().state_dict()),
        num_rounds=context.run_config["num-server-rounds"],
        evaluate_fn=test_on_held_back_patients,
    )
