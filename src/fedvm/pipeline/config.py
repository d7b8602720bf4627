"""What a run is told to do: the tables of a run's TOML file, validated.

Every table is a frozen pydantic model that refuses keys it does not know. `fedvm.pipeline.config_file` reads
the TOML text and turns pydantic's findings into messages naming the key, its line and the nearest known key.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fedvm.learning.schedule import Schedule

# Spelt out, so that a configuration is checked without loading PyTorch and Flower; tests compare the lists
# with `fedvm.federation.simulated.adversaries.ADVERSARIES`, `fedvm.learning.partition.SCHEMES` and
# `fedvm.learning.schedule.SCHEDULES`.
AdversaryKind = Literal[
    "inflated_examples",
    "exploded_update",
    "bad_signature",
    "replay",
    "low_quality",
    "sign_flip",
    "scaling",
    "label_flip",
    "gaussian",
    "colluding",
    "free_rider",
]
StrategyName = Literal[
    "fedavg", "fedprox", "fedavgm", "fedadam", "fedmedian", "fedtrimmedavg", "krum", "multikrum"
]
STRATEGY_KEYS: dict[str, tuple[str, ...]] = {
    "fedavg": (),
    "fedprox": ("proximal_mu",),
    "fedavgm": ("server_learning_rate", "server_momentum"),
    "fedadam": ("eta", "beta_1", "beta_2", "tau"),
    "fedmedian": (),
    "fedtrimmedavg": ("beta",),
    "krum": ("num_malicious_nodes",),
    "multikrum": ("num_malicious_nodes", "num_nodes_to_select"),
}
PartitionScheme = Literal["iid", "dirichlet", "shard", "pathological", "linear", "square"]
ScheduleName = Literal["constant", "cosine", "linear", "step"]


Engine = Literal["inprocess", "flower-simulation", "deployment"]


class Table(BaseModel):
    """A TOML table: unknown keys are refused, values cannot change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RunTable(Table):
    """Which run this is. `seed` fixes keys, data split, initial weights, sampling and training."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    seed: int = Field(default=7, ge=0, lt=2**63)
    out: Path | None = None  # the run directory; runs/<name> when not given


class DataTable(Table):
    """The images and who holds them.

    dataset: a name `fedvm.learning.load_dataset` knows; path: a local parquet or image folder, read instead
    of downloading. `alpha` is the concentration of the Dirichlet partition over labels: small is more uneven.
    """

    dataset: str = Field(default="mnist", min_length=1)
    path: Path | None = None
    clients: int = Field(default=16, ge=1, le=10_000)
    partition: PartitionScheme = "iid"
    alpha: float = Field(default=0.5, gt=0)


class ModelTable(Table):
    """The network, by its name in `fedvm.learning`'s registry; sized from the data set's shape."""

    name: str = "lenet"


_SCHEDULE_KEYS = ("schedule", "warmup_rounds", "final_lr", "step_rounds", "step_factor")


class TrainingTable(Table):
    """What a client does in one round; names as in `fedvm.learning.training.train`.

    A key that is not given is taken from the data set's measured recipe (`fedvm.learning.recipes`). `schedule`
    is how `lr` changes from round to round (`fedvm.learning.schedule`): after `warmup_rounds` rounds up to the full
    rate, `cosine` and `linear` fall towards the share `final_lr`, `step` multiplies by `step_factor` every
    `step_rounds` rounds. quantization_aware: clients train on the integers that the network will be deployed with, of
    the bits that `compiler` names (`fedvm.learning.quantization`).
    """

    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=16, ge=1)
    optimizer: str = "nesterov"
    lr: float = Field(default=0.02, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    criterion: str = "cross_entropy"
    augmentation: str = "none"
    schedule: ScheduleName = "constant"
    warmup_rounds: int = Field(default=0, ge=0)
    final_lr: float = Field(default=0.0, ge=0, le=1)
    step_rounds: int = Field(default=10, ge=1)
    step_factor: float = Field(default=0.1, gt=0, le=1)
    quantization_aware: bool = False
    device: str = "auto"
    workers: int = Field(default=2, ge=1, le=64)  # processes training clients at once; never changes results

    @property
    def lr_schedule(self) -> Schedule:
        """How `lr` changes from round to round."""
        return Schedule(self.schedule, self.warmup_rounds, self.final_lr, self.step_rounds, self.step_factor)

    def arguments(self) -> dict[str, Any]:
        """The keys that are `fedvm.learning.training.train`'s own arguments, for every round the same."""
        return self.model_dump(exclude={"workers", "device", "quantization_aware", *_SCHEDULE_KEYS})


class FederationTable(Table):
    """Flower's settings: how many rounds, which share of the nodes takes part in each, and the strategy.

    strategy: how a round's updates become the next model. What `fedavg` and `fedprox` come to can be disputed on
    chain; the others are audit-only: recomputed by every audit, proved by nobody. client_timeout: seconds after
    which a client of the in-process engine is stopped and counts as failed; for all clients together a round's
    deadline (`rules.round_seconds`) is the limit, with every engine. submission: updates one by one
    (`commitments`), all of a round in one transaction (`rollup`), or that above 64 clients.
    """

    strategy: StrategyName = "fedavg"
    rounds: int = Field(default=5, ge=1)
    fraction_train: float = Field(default=1.0, gt=0, le=1)
    fraction_evaluate: float = Field(default=0.5, ge=0, le=1)
    min_train_nodes: int = Field(default=2, ge=1)
    min_evaluate_nodes: int = Field(default=2, ge=0)
    min_available_nodes: int = Field(default=2, ge=1)
    submission: Literal["auto", "commitments", "rollup"] = "auto"
    engine: Engine = "inprocess"  # where the clients run; never changes results
    client_timeout: float | None = Field(default=None, gt=0)
    keep: Literal["last", "best"] = "last"  # whose round's model is served; best by the clients' validation


class DeploymentTable(Table):
    """With `engine = "deployment"`: the SuperLink, and who the clients are.

    superlink: `host:port`; root_certificates: PEM file to check its certificate against; insecure: no TLS, for
    loopback only. members: the clients' addresses (`fedvm keys new`), in the order of their partition-id;
    without it the members are those of the run's seed, as in a simulation.
    """

    superlink: str | None = None
    root_certificates: Path | None = None
    insecure: bool = False
    members: tuple[str, ...] = ()


class StrategyTable(Table):
    """Parameters of `federation.strategy`, named as in Flower; what is not given has Flower's default.

    The contract's rules hold them in millionths: at most six decimals. `fedavgm` and `fedadam` step every federated
    number, BatchNorm's running variances included, which a large step can turn negative.
    """

    proximal_mu: float | None = Field(default=None, gt=0)
    server_learning_rate: float | None = Field(default=None, gt=0, le=100)
    server_momentum: float | None = Field(default=None, ge=0, lt=1)
    eta: float | None = Field(default=None, gt=0, le=100)
    beta_1: float | None = Field(default=None, ge=0, lt=1)
    beta_2: float | None = Field(default=None, ge=0, lt=1)
    tau: float | None = Field(default=None, gt=0, le=100)
    beta: float | None = Field(default=None, ge=0, lt=0.5)
    num_malicious_nodes: int | None = Field(default=None, ge=0, lt=2**32)
    num_nodes_to_select: int | None = Field(default=None, ge=1, lt=2**32)

    def given(self) -> dict[str, float | int]:
        """The parameters that are set."""
        return self.model_dump(exclude_none=True)


class StoppingTable(Table):
    """When to end before the last round, by the clients' weighted mean on their validation data.

    patience: so many evaluated rounds in a row without a better `metric` (better by more than min_change); 0:
    never. accuracy, loss: a round that reaches this is the last. See `fedvm.federation.coordinator.stopping`.
    """

    patience: int = Field(default=0, ge=0)
    metric: Literal["loss", "accuracy"] = "loss"
    min_change: float = Field(default=0.0, ge=0)
    accuracy: float | None = Field(default=None, gt=0, le=1)
    loss: float | None = Field(default=None, gt=0)


class PersonalTable(Table):
    """Personalisation: after the last round each client trains the model on its own data and keeps the result.

    epochs: 0 for none; lr: a tenth of `training.lr` when not given.
    """

    epochs: int = Field(default=0, ge=0)
    lr: float | None = Field(default=None, gt=0)


class PrivacyTable(Table):
    """Local differential privacy of the updates (see `docs/privacy.md`); off while noise_multiplier is 0.

    clip: bound on an update's L2 norm; noise_multiplier: standard deviation of the noise over clip; delta: the δ of
    (ε, δ); max_epsilon: a client that would spend more takes no further part; it is the contract's rule, too, unless
    `rules.max_epsilon` says otherwise.
    """

    clip: float = Field(default=1.0, gt=0)
    noise_multiplier: float = Field(default=0.0, ge=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    max_epsilon: float | None = Field(default=None, gt=0, lt=2**40)


class RulesTable(Table):
    """The rules written into the contract when the federation is created (see `docs/architecture.md`).

    max_norm: bound on the L2 norm of one update in real units; the contract holds floor((max_norm·2^f)²).
    max_examples: examples one update may count; `None` becomes twice the mean of the clients' examples.
    max_share: the greatest share of a round's weight that one update may have; min_labels: distinct labels a client
    must attest; rest_rounds: rounds a member sits out after one that it counted in; max_epsilon: privacy budget, the
    greatest ε a client may attest (0: none need be).
    """

    min_clients: int = Field(default=2, ge=1)
    min_examples: int = Field(default=1, ge=1, lt=2**32)
    max_examples: int | None = Field(default=None, ge=1, lt=2**32)
    max_norm: float = Field(default=10.0, gt=0)
    fraction_bits: int = Field(default=20, ge=1, le=30)
    round_seconds: int = Field(default=3600, ge=1, le=365 * 86_400)
    min_accuracy: float = Field(default=0.0, ge=0, le=1)
    max_loss: float = Field(default=100.0, gt=0)
    max_share: float = Field(default=1.0, gt=0, le=1)
    min_labels: int = Field(default=0, ge=0, lt=2**32)
    rest_rounds: int = Field(default=0, ge=0, lt=2**32)
    max_epsilon: float = Field(default=0.0, ge=0, lt=2**40)

    @property
    def max_sum_squares(self) -> int:
        """floor((max_norm · 2^fraction_bits)²), exact in integers."""
        numerator, denominator = self.max_norm.as_integer_ratio()
        return (numerator << self.fraction_bits) ** 2 // denominator**2

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.max_examples is not None and self.max_examples < self.min_examples:
            raise ValueError(
                f"max_examples = {self.max_examples} is below min_examples = {self.min_examples}: raise it"
            )
        if self.max_sum_squares >= 2**128:
            raise ValueError("max_norm · 2^fraction_bits does not fit the contract's uint128: lower max_norm")
        if round(self.max_share * 1_000_000) * self.min_clients < 1_000_000:
            raise ValueError(
                f"max_share = {self.max_share} is below 1 / min_clients = 1 / {self.min_clients}, which equal updates "
                "have already: raise one of the two"
            )
        return self


class ConsentTable(Table):
    """What simulated clients agree to sign (`fedvm.federation.client.consent`); they refuse under other rules.

    federation: the contract's address; rules: the hash of its rules; max_epsilon: the rules have a privacy budget, of
    this ε at most; min_examples, min_clients: they ask for at least so many examples and so large a quorum. The
    clients of a deployment say it themselves, each in its node config.
    """

    federation: str | None = Field(default=None, pattern=r"^0x[0-9a-fA-F]{40}$")
    rules: str | None = Field(default=None, pattern=r"^0x[0-9a-fA-F]{64}$")
    max_epsilon: float | None = Field(default=None, gt=0, lt=2**40)
    min_examples: int | None = Field(default=None, ge=1, lt=2**32)
    min_clients: int | None = Field(default=None, ge=1, lt=2**32)


class SecurityTable(Table):
    """What stands behind the coordinator's proposals (see `docs/protocol.md`); the defaults suit a trial.

    challenge_seconds: in which a proposal can be challenged; answer_seconds: to answer a demand for data. In wei:
    bond, which a wrong proposal costs; stake, which every member deposits; demand_fee, which a demand costs.
    notice_seconds: from the announcement of other rules to when they can be adopted. open_seconds: for which every
    round stays open at least, so that members whom the coordinator ignores can submit themselves.
    """

    challenge_seconds: int = Field(default=3600, ge=1, le=30 * 86_400)
    answer_seconds: int = Field(default=600, ge=1, le=30 * 86_400)
    bond: int = Field(default=10**18, ge=1, lt=2**96)
    stake: int = Field(default=0, ge=0, lt=2**96)
    demand_fee: int = Field(default=10**15, ge=0, lt=2**96)
    notice_seconds: int = Field(default=86_400, ge=1, le=30 * 86_400)
    open_seconds: int = Field(default=0, ge=0, le=30 * 86_400)


class CompilerTable(Table):
    """How the trained network becomes EVM bytecode.

    calibration_images are drawn from the training split before it is dealt out, so they are no client's; they
    are published in the store for the audit to compile with.
    """

    weight_bits: int = Field(default=8, ge=2, le=8)
    activation_bits: int = Field(default=6, ge=2, le=8)
    input_bits: int = Field(default=8, ge=1, le=8)
    optimize: Literal["run", "deploy"] = "run"
    calibration_images: int = Field(default=256, ge=1, le=10_000)


class GateTable(Table):
    """What a version must pass on chain before it serves (see `docs/protocol.md`, section 9).

    enabled: without a gate the owner's registration suffices. samples: validation images, drawn from the training
    split before it is dealt out, so that no client holds them; their root is fixed before the first round.
    fail_accuracy: an accuracy that passes with probability alpha at most; pass_accuracy: one that fails with
    probability beta at most before max_samples are asked. margin: how many samples more a version may alone get wrong
    than the serving one. attempts: trials of one round's model. sample_gas: for one answer; trial_seconds: from the
    draw on; bond: in wei, burnt when a version does not pass.
    """

    enabled: bool = False
    samples: int = Field(default=240, ge=2, lt=2**32)
    fail_accuracy: float = Field(default=0.8, gt=0, lt=1)
    pass_accuracy: float = Field(default=0.93, gt=0, lt=1)
    alpha: float = Field(default=0.01, ge=1e-6, lt=1)
    beta: float = Field(default=0.001, ge=1e-6, lt=1)
    max_samples: int = Field(default=120, ge=1, lt=2**32)
    margin: int = Field(default=3, ge=0, lt=2**32)
    attempts: int = Field(default=3, ge=1, lt=2**32)
    sample_gas: int = Field(default=5_000_000, ge=10_000, lt=2**63)
    trial_seconds: int = Field(default=7 * 86_400, ge=60, le=30 * 86_400)
    bond: int = Field(default=10**16, ge=0, lt=2**96)

    @model_validator(mode="after")
    def _can_be_passed(self) -> Self:
        if self.pass_accuracy - self.fail_accuracy < 1e-6:
            raise ValueError(
                f"pass_accuracy = {self.pass_accuracy} must be above fail_accuracy = {self.fail_accuracy}: raise it"
            )
        fewest = math.ceil(-math.log(self.alpha) / math.log(self.pass_accuracy / self.fail_accuracy))
        if fewest > self.max_samples:
            raise ValueError(
                f"max_samples = {self.max_samples} are too few to pass: {fewest} right answers in a row do; raise it, "
                "or the distance between fail_accuracy and pass_accuracy"
            )
        if self.max_samples > self.samples:
            raise ValueError(f"max_samples = {self.max_samples} is above samples = {self.samples}: lower it")
        return self


class BaselineTable(Table):
    """The same training without federating, for comparison: each client's data alone, and everybody's in one place.

    clients: how many train alone, drawn by the run's seed where there are more. Both train for as many rounds as the
    federation, so with as many passes over a client's images, by the same schedule.
    """

    enabled: bool = False
    clients: int = Field(default=16, ge=1)


class EvaluationTable(Table):
    """How the global model is tested on held-out images.

    clients: whether every client evaluates the finished model on its own validation data, by class, for the
    report. test_images: how many are asked of the contract. every: rounds from one test of the global model
    to the next; the last round is always tested.
    """

    clients: bool = True
    test_images: int = Field(default=500, ge=1)
    every: int = Field(default=1, ge=1)


class RunConfig(Table):
    """A whole run. `adversaries` maps a client's number (0 …) to the way it misbehaves."""

    run: RunTable = RunTable()
    data: DataTable = DataTable()
    model: ModelTable = ModelTable()
    training: TrainingTable = TrainingTable()
    federation: FederationTable = FederationTable()
    deployment: DeploymentTable = DeploymentTable()
    strategy: StrategyTable = StrategyTable()
    stopping: StoppingTable = StoppingTable()
    personal: PersonalTable = PersonalTable()
    privacy: PrivacyTable = PrivacyTable()
    rules: RulesTable = RulesTable()
    consent: ConsentTable = ConsentTable()
    security: SecurityTable = SecurityTable()
    adversaries: dict[int, AdversaryKind] = Field(default_factory=dict)
    compiler: CompilerTable = CompilerTable()
    gate: GateTable = GateTable()
    baseline: BaselineTable = BaselineTable()
    evaluation: EvaluationTable = EvaluationTable()

    @property
    def out(self) -> Path:
        """The run directory."""
        return self.run.out if self.run.out is not None else Path("runs") / self.run.name

    @model_validator(mode="after")
    def _clients_suffice(self) -> Self:
        clients = self.data.clients
        for name, wanted in (
            ("rules.min_clients", self.rules.min_clients),
            ("federation.min_train_nodes", self.federation.min_train_nodes),
            ("federation.min_evaluate_nodes", self.federation.min_evaluate_nodes),
            ("federation.min_available_nodes", self.federation.min_available_nodes),
        ):
            if wanted > clients:
                raise ValueError(
                    f"{name} = {wanted} asks for more clients than data.clients = {clients}: "
                    f"no round could succeed; lower {name} or raise data.clients"
                )
        train = max(int(clients * self.federation.fraction_train), self.federation.min_train_nodes)
        awake = clients - min(self.rules.rest_rounds, self.federation.rounds - 1) * train
        if awake < self.rules.min_clients:
            raise ValueError(
                f"rules.rest_rounds = {self.rules.rest_rounds} leaves {max(awake, 0)} of {clients} clients "
                f"when {train} train in a round, fewer than rules.min_clients = {self.rules.min_clients}: "
                "lower federation.fraction_train or rest_rounds"
            )
        members = self.deployment.members
        if members and len(members) != clients:
            raise ValueError(
                f"deployment.members names {len(members)} members but data.clients = {clients}: make them agree"
            )
        if members and self.federation.engine != "deployment":
            raise ValueError(
                'deployment.members needs federation.engine = "deployment": nobody here has their keys'
            )
        if self.security.open_seconds >= self.rules.round_seconds:
            raise ValueError(
                f"security.open_seconds = {self.security.open_seconds} leaves no time to propose before the deadline: "
                f"make it less than rules.round_seconds = {self.rules.round_seconds}"
            )
        if members and self.security.stake:
            raise ValueError(
                "deployment.members cannot stake on a chain of this process: leave security.stake out"
            )
        if self.federation.engine == "deployment" and self.rules.max_examples is None:
            raise ValueError(
                "rules.max_examples is needed for a deployment: the coordinator cannot know the clients' sizes"
            )
        if self.federation.engine == "deployment" and self.baseline.enabled:
            raise ValueError(
                "a baseline needs everybody's images, which no deployment has: leave baseline out"
            )
        if self.adversaries and self.federation.engine == "deployment":
            raise ValueError("adversaries can be simulated only: leave them out, or use another engine")
        if self.consent != ConsentTable() and self.federation.engine == "deployment":
            raise ValueError(
                "consent is for simulated clients: those of a deployment say in their node config what they sign"
            )
        for client in self.adversaries:
            if not 0 <= client < clients:
                raise ValueError(
                    f"adversaries.{client} names no client: the clients are 0 … {clients - 1} (data.clients)"
                )
        return self

    @model_validator(mode="after")
    def _strategy_is_whole(self) -> Self:
        name, given = self.federation.strategy, self.strategy.given()
        for key in given:
            if key not in STRATEGY_KEYS[name]:
                owners = " or ".join(other for other, keys in STRATEGY_KEYS.items() if key in keys)
                raise ValueError(
                    f"strategy.{key} is a parameter of {owners}, but federation.strategy is {name}: change one of them"
                )
        required = {
            "fedprox": "proximal_mu",
            "fedavgm": "server_momentum",
            "multikrum": "num_nodes_to_select",
        }
        needed_key = required.get(name)
        if needed_key and needed_key not in given:
            raise ValueError(f"federation.strategy = {name} needs strategy.{needed_key}")
        needed = 2 * int(given.get("num_malicious_nodes", 0)) + 3
        if "krum" in name and self.rules.min_clients < needed:
            raise ValueError(
                f"strategy.num_malicious_nodes = {given.get('num_malicious_nodes', 0)} can be borne among {needed} "
                f"updates or more, but rules.min_clients = {self.rules.min_clients}: raise it, or expect fewer"
            )
        return self
