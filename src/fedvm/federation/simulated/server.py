"""A whole federation in one call: nodes, grid, strategy and ServerApp around a contract that exists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eth_account import Account
from flwr.app import ArrayRecord, Context, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from flwr.serverapp import Grid, ServerApp
from torch import nn

from fedvm.federation.client.app import LEARNING_RATE, ClientData, DataLoader, image_client_app
from fedvm.federation.client.distributed_privacy import DistributedPrivacy
from fedvm.federation.client.mod import accountable_mod, fedvm_mod
from fedvm.federation.client.privacy import dp_mod
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.coordinator.flower_strategies import make_strategy
from fedvm.federation.coordinator.journal import RoundJournal
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.records import RoundRecord
from fedvm.federation.coordinator.rounds import EvaluateFn, FederationResult, run_rounds
from fedvm.federation.coordinator.strategy import RoundStrategy
from fedvm.federation.engines.clients import Node, UserConfig
from fedvm.federation.engines.flower_task import SERVER_NODE_ID
from fedvm.federation.engines.grid import Finished, InProcessGrid, make_nodes
from fedvm.federation.errors import FederationError, SettingsError
from fedvm.federation.keys import KEY, SEALED, SIMULATED, folder_of_partition
from fedvm.federation.reproducible import derive_seed
from fedvm.federation.simulated.adversaries import ADVERSARIES
from fedvm.federation.simulated.settings import FederationSettings
from fedvm.learning.data import Images, Normalisation
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.schedule import Schedule
from fedvm.store import Store

_SHARE_OF_DEADLINE = 0.9
"""Replies are waited for during this share of a round's time; the rest is for settling it on chain."""


@dataclass(frozen=True)
class Watch:
    """Callbacks for a console: a round opens, a client has answered, a round is over."""

    on_open: Callable[[int], None] | None = None
    on_client: Callable[[Finished], None] | None = None
    on_round: Callable[[RoundRecord], None] | None = None


def initial_model(model: ModelSpec, seed: int, images: Images | None = None) -> nn.Module:
    """The fresh network of a run. images: see `build_model`."""
    return build_model(model, seed=derive_seed(seed, "model"), images=images)


def initial_arrays(model: ModelSpec, seed: int, images: Images | None = None) -> ArrayRecord:
    """Its state, which the federation contract is created with (see `publish_model`)."""
    return ArrayRecord(initial_model(model, seed, images).state_dict())


def image_nodes(
    settings: FederationSettings,
    *,
    model: ModelSpec,
    data: DataLoader,
    keys: Sequence[str],
    seed: int,
    normalisation: Normalisation | None = None,
    home: Path | None = None,
) -> list[Node]:
    """A node a client, each with its own key (hex), running the image app or an adversary's version.

    home: in a sealed federation, where each keeps what it must remember, in a folder of its own.
    """
    if len(keys) != settings.clients:
        raise SettingsError(f"{settings.clients} clients need as many keys, not {len(keys)}")
    common = {"model": model, "data": data, "seed": seed, "normalisation": normalisation}
    honest = image_app(settings, None, **common)  # type: ignore[arg-type]
    configs: list[UserConfig] = []
    for index, key in enumerate(keys):
        own: UserConfig = {}
        if home:
            own = {SEALED: str(folder_of_partition(home.resolve(), index)), SIMULATED: True}
        configs.append({KEY: key, **own, **settings.consent.node_config()})
    nodes = make_nodes(honest, configs)
    for index in settings.adversaries:
        app = image_app(settings, index, **common)  # type: ignore[arg-type]
        nodes[index] = Node(nodes[index].node_id, nodes[index].config, app)
    return nodes


def image_app(
    settings: FederationSettings,
    index: int | None,
    *,
    model: ModelSpec,
    data: DataLoader,
    seed: int,
    normalisation: Normalisation | None = None,
) -> ClientApp:
    """The image app of client `index`: an adversary's version if it is one, an honest one for None."""
    kind = None if index is None else settings.adversaries.get(index)
    accomplices = tuple(sorted(other for other, how in settings.adversaries.items() if how == kind))
    mods: list[Mod] = [fedvm_mod] if kind is None else ADVERSARIES[kind].mods(accomplices)
    noise_seed = seed if settings.seeded_noise else None
    if isinstance(settings.privacy, DistributedPrivacy):
        mods = [accountable_mod(privacy=settings.privacy, noise_seed=noise_seed)]
    elif settings.privacy is not None:
        mods.append(dp_mod(settings.privacy, seed=noise_seed))
    return image_client_app(
        model=model,
        data=data if kind is None else _spoilt(data, kind),
        training=settings.training,
        seed=seed,
        normalisation=normalisation,
        mods=mods,
    )


def server_app(run: Callable[[Grid], None]) -> ServerApp:
    """A Flower ServerApp whose main hands its grid to `run`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        run(grid)

    return app


def run_federation(
    settings: FederationSettings,
    *,
    ledger: ChainLedger,
    store: Store,
    nodes: Sequence[Node] = (),
    keys: Sequence[str] = (),
    grid: Grid | None = None,
    initial: ArrayRecord,
    seed: int,
    workers: int = 0,
    client_timeout: float | None = None,
    evaluate_fn: EvaluateFn | None = None,
    journal: RoundJournal | None = None,
    watch: Watch | None = None,
) -> FederationResult:
    """Run, or resume, a federation up to `settings.rounds` rounds of the contract behind `ledger`.

    nodes: as `image_nodes` makes them, or a user's own apps with `fedvm_mod`; node i signs with keys[i],
    which is used here for its address alone. grid: where the clients are if they are not `nodes` in this process;
    then each node is asked for its address, and a round's replies are waited for as long as its deadline
    allows. initial: the model's state (round 1's values; its layout later).
    workers: processes that train clients, 0 for this one; results are the same. evaluate_fn: server-side
    test. Raises as `run_rounds`; KeyboardInterrupt passes through after the workers have been stopped, and
    the same call resumes.
    """
    watch = watch or Watch()
    members = {node.node_id: _address(key) for node, key in zip(nodes, keys, strict=True)}
    federation = Federation(ledger, store, members if grid is None else None, settings.submission)
    inner = make_strategy(
        settings.strategy,
        fraction_train=settings.fraction_train,
        fraction_evaluate=settings.fraction_evaluate,
        min_train_nodes=settings.min_train_nodes,
        min_evaluate_nodes=settings.min_evaluate_nodes,
        min_available_nodes=settings.min_available_nodes,
    )
    strategy = RoundStrategy(inner, federation=federation)
    results: list[FederationResult] = []

    timeout = _SHARE_OF_DEADLINE * ledger.rules().round_seconds

    def run(grid: Grid) -> None:
        results.append(
            run_rounds(
                strategy,
                grid,
                initial,
                rounds=settings.rounds,
                timeout=timeout,
                evaluate_fn=evaluate_fn,
                journal=journal,
                round_config=lambda number: {LEARNING_RATE: _rate(settings, number)},
                stopping=settings.stopping,
                keep=settings.keep,
                question=settings.question,
                max_failed_rounds=settings.max_failed_rounds,
                on_open=watch.on_open,
                on_round=watch.on_round,
            )
        )

    if grid is not None:
        run(grid)
        return results[0]
    with InProcessGrid(
        nodes, seed=seed, workers=workers, client_timeout=client_timeout, on_finished=watch.on_client
    ) as own_grid:
        context = Context(own_grid.run.run_id, SERVER_NODE_ID, {}, RecordDict(), {})
        server_app(run)(own_grid, context)
    if not results:
        raise FederationError("the ServerApp returned without a result")
    return results[0]


def _rate(settings: FederationSettings, number: int) -> float:
    return settings.training.lr * Schedule.of(settings.training).share(number, settings.rounds)


def _address(key: str) -> str:
    return str(Account.from_key(key).address)


def _spoilt(data: DataLoader, kind: str) -> DataLoader:
    relabel = ADVERSARIES[kind].labels
    if relabel is None:
        return data

    def relabelled(partition: int) -> ClientData:
        own = data(partition)
        return replace(own, train=relabel(own.train))

    return relabelled
