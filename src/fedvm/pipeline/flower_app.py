"""The Flower app of a run: what SuperLink and SuperNodes execute when the clients are not in this process.

The ServerApp carries its grid to the process that runs `fedvm` (`fedvm.federation.engines.relay`). The ClientApp does
what the run's configuration, which travels with the app, says. A client of a simulation has the images and the
key that the run's seed deals out to it; a client of a deployment has only what its own node config names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedvm.devnet.accounts import derive_account
from fedvm.federation.client.app import ClientData
from fedvm.federation.engines.relay import carry
from fedvm.federation.errors import TermsError
from fedvm.federation.keys import DATA, KEY, SEALED, SIMULATED, folder_of_partition
from fedvm.federation.simulated.server import image_app
from fedvm.jsontext import parse_json
from fedvm.learning.data import Normalisation
from fedvm.learning.models import ModelSpec
from fedvm.learning.quantization import QuantizationSettings
from fedvm.pipeline.client_data import load_client_data
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import parse_config
from fedvm.pipeline.data import prepare_data
from fedvm.pipeline.federate import client_data, federation_settings, simulated_consent
from fedvm.pipeline.flower_project import CONFIG, MODEL, SOCKET
from fedvm.rundir.layout import RunDirectory

server_app = ServerApp()
client_app = ClientApp()


@server_app.main()
def _serve(grid: Grid, context: Context) -> None:
    carry(grid, str(context.run_config[SOCKET]))


@client_app.train()
def _train(message: Message, context: Context) -> Message:
    return _answer(message, context)


@client_app.evaluate()
def _evaluate(message: Message, context: Context) -> Message:
    return _answer(message, context)


def _answer(message: Message, context: Context) -> Message:
    """The reply of the client's own app, which is made anew only when a process sees another run."""
    config = _config(str(context.run_config[CONFIG]))
    if "partition-id" not in context.node_config:
        raise TermsError("this node has no number: start it with --node-config 'partition-id=0 …'")
    partition = int(str(context.node_config["partition-id"]))
    if not 0 <= partition < config.data.clients:
        raise TermsError(f"partition-id is {partition}; this run has clients 0 to {config.data.clients - 1}")
    if config.federation.engine == "flower-simulation":
        images: Callable[[int], ClientData] = _simulated_data(str(context.run_config[CONFIG]))
        context.node_config[KEY] = derive_account(config.run.seed, "member", partition).key.hex()
        context.node_config.update(simulated_consent(config).node_config())
        if config.sealed.group_size:
            home = RunDirectory(config.out).clients
            context.node_config.update({SEALED: str(folder_of_partition(home, partition)), SIMULATED: True})
    elif DATA in context.node_config:
        images = _own_data(str(context.node_config[DATA]))
    else:
        raise TermsError(f"this node has no images: start it with --node-config '{DATA}=\"images.npz\" …'")
    return _app(config, str(context.run_config[MODEL]), partition, images)(message, context)


def _app(config: RunConfig, model: str, partition: int, images: Callable[[int], ClientData]) -> ClientApp:
    facts = parse_json(model)
    normalisation = Normalisation(facts["scale"], facts["offset"])
    wanted = facts["quantization"]
    quantization = None if wanted is None else QuantizationSettings(**wanted)
    return image_app(
        federation_settings(config),
        partition,
        model=ModelSpec(
            config.model.name, tuple(facts["shape"]), facts["classes"], quantization, normalisation
        ),
        data=images,
        seed=config.run.seed,
        normalisation=normalisation,
    )


@lru_cache(maxsize=1)
def _config(text: str) -> RunConfig:
    return parse_config(text)


@lru_cache(maxsize=1)
def _simulated_data(text: str) -> Callable[[int], ClientData]:
    data = prepare_data(_config(text))
    return lambda partition: client_data(data, partition)


@lru_cache(maxsize=1)
def _own_data(path: str) -> Callable[[int], ClientData]:
    own = load_client_data(Path(path))
    return lambda _: own
