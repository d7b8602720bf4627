"""All settings of a run, and the checks that involve several of them.

Each package defines its own tables (`fedvm.learning.settings`, `fedvm.federation.settings`); the tables of the run
itself are here. `fedvm.pipeline.config_file` reads them from TOML.

"""

from __future__ import annotations

import math
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import BeforeValidator, StringConstraints

from fedvm.compiler.defaults import ACTIVATION_BITS, INPUT_BITS, OPTIMIZE, WEIGHT_BITS, Optimize
from fedvm.federation.sealed.settings import SealedSettings
from fedvm.federation.settings import (
    AdversaryKind,
    ConsentSettings,
    DeploymentSettings,
    Engine,
    Keep,
    PersonalSettings,
    PrivacySettings,
    RulesSettings,
    SecuritySettings,
    ServerSettings,
    StoppingSettings,
)
from fedvm.federation.strategy_settings import STRATEGY_KEYS, StrategyName, StrategyParameters
from fedvm.learning.settings import BaselineSettings, DataSettings, ModelSettings, TrainingSettings
from fedvm.protocol.sealed.grouping import least_included, least_ready
from fedvm.settings import OnResume, Setting, settings
from fedvm.store import DEFAULT_STORES

WriterName = Literal["tensorboard", "trackio"]


@settings
class RunSettings:
    """Which run this is."""

    name: Annotated[
        str,
        Setting("Name of the run; by default that of its file, or of its data set"),
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64),
    ] = "run"
    seed: Annotated[
        int,
        Setting(
            "Fixes keys, data split, initial weights, sampling and training: same seed, same model digest",
            flag="--seed",
            ge=0,
            lt=2**63,
        ),
    ] = 7
    store: Annotated[
        tuple[str, ...],
        Setting(
            "Where models and updates are kept: a folder, in the run directory if relative, or the URL of a store "
            "(docs/storage.md). Several are all written to, and each artefact is read from the first that has it",
            flag="--store",
        ),
        MinLen(1),
        BeforeValidator(lambda given: (given,) if isinstance(given, str) else given),
    ] = DEFAULT_STORES
    writers: Annotated[
        tuple[WriterName, ...],
        Setting(
            "What else writes down the figures of rounds: tensorboard (into the run directory) or trackio",
            flag="--writer",
            on_resume=OnResume.FREE,
        ),
        BeforeValidator(lambda given: (given,) if isinstance(given, str) else given),
    ] = ()
    out: Annotated[
        Path | None, Setting("The run directory", unset="runs/NAME", flag="--out", on_resume=OnResume.FREE)
    ] = None


@settings
class CompilerSettings:
    """How the trained network becomes EVM bytecode."""

    weight_bits: Annotated[
        int, Setting("Bits of the weights", unit="bits", flag="--weight-bits", ge=2, le=8)
    ] = WEIGHT_BITS[OPTIMIZE]
    activation_bits: Annotated[
        int,
        Setting(
            "Bits of the layers' outputs; 4 or 5 cost much less gas and little accuracy",
            unit="bits",
            flag="--activation-bits",
            ge=2,
            le=8,
        ),
    ] = ACTIVATION_BITS
    input_bits: Annotated[
        int,
        Setting(
            "Top bits of a pixel's byte that the network sees", unit="bits", flag="--input-bits", ge=1, le=8
        ),
    ] = INPUT_BITS
    optimize: Annotated[
        Optimize, Setting("run: little gas per prediction; deploy: small contracts", flag="--optimize")
    ] = OPTIMIZE
    answer_gas: Annotated[
        int | None,
        Setting(
            "Gas that the contract gives the program for an answer, in the network's gas; fixed with the version",
            unset="1.25 times what the program needs",
            unit="gas",
            ge=1,
            lt=2**63,
        ),
    ] = None
    calibration_images: Annotated[
        int,
        Setting(
            "Images on which the compiler measures the layers' ranges; taken from the training images before these are "
            "divided among clients, and published for the audit",
            unit="images",
            flag="--calibration-images",
            ge=1,
            le=10_000,
        ),
    ] = 256

    max_deploy_gas: Annotated[
        int,
        Setting(
            "A network is refused before training if deploying it would take more gas, by an estimate",
            unit="gas",
            flag="--max-deploy-gas",
            on_resume=OnResume.FREE,
            ge=1,
        ),
    ] = 10**9
    forecast: Annotated[
        bool,
        Setting(
            "Compile the initial network before training, to print what the run will cost",
            flag="--forecast/--no-forecast",
            on_resume=OnResume.FREE,
        ),
    ] = True


@settings
class GateSettings:
    """The test that a version must pass on chain before it serves (docs/protocol.md, section 9).

    Without a gate a version serves as soon as its owner has registered it.
    """

    enabled: Annotated[
        bool, Setting("Test each version on chain before it serves", flag="--gate/--no-gate")
    ] = False
    samples: Annotated[
        int,
        Setting(
            "Number of validation images, taken from the training images before these are divided among clients; their "
            "Merkle root is fixed before the first round",
            unit="images",
            ge=2,
            lt=2**32,
        ),
    ] = 240
    fail_accuracy: Annotated[
        float,
        Setting("A version of this accuracy, or less, passes with probability `alpha` at most", gt=0, lt=1),
    ] = 0.8
    pass_accuracy: Annotated[
        float,
        Setting(
            "A version of this accuracy fails before `max_samples` images with probability `beta` at most",
            gt=0,
            lt=1,
        ),
    ] = 0.93
    alpha: Annotated[float, Setting("Greatest probability that a bad version passes", ge=1e-6, lt=1)] = 0.01
    beta: Annotated[float, Setting("Greatest probability that a good version fails", ge=1e-6, lt=1)] = 0.001
    max_samples: Annotated[
        int, Setting("Maximum number of images that a trial asks", unit="images", ge=1, lt=2**32)
    ] = 120
    margin: Annotated[
        int, Setting("How many more images a new version may get wrong than the serving one", ge=0, lt=2**32)
    ] = 3
    attempts: Annotated[
        int,
        Setting(
            "Trials that may be lost as long as the service lives; then no version is tried any more",
            ge=1,
            lt=2**32,
        ),
    ] = 5
    trial_seconds: Annotated[
        int,
        Setting("Time that a trial may take after its images were drawn", unit="s", ge=60, le=30 * 86_400),
    ] = 7 * 86_400
    bond: Annotated[
        int, Setting("Deposit of the owner, burnt if the version does not pass", unit="wei", ge=0, lt=2**96)
    ] = 10**16

    def __post_init__(self) -> None:
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


@settings
class EvaluationSettings:
    """How the global model is tested on held-out images."""

    clients: Annotated[
        bool,
        Setting(
            "Every client evaluates the finished model on its own validation images, by class, for the report"
        ),
    ] = True
    test_images: Annotated[
        int,
        Setting(
            "Number of held-out images that the contract is asked about",
            unit="images",
            flag="--test-images",
            ge=1,
        ),
    ] = 500
    every: Annotated[
        int,
        Setting(
            "Test the global model every so many rounds; the last round is always tested",
            unit="rounds",
            ge=1,
        ),
    ] = 1


@settings
class NetworkSettings:
    """The chain that a run stands on: a file of its own, or a network (docs/networks.md)."""

    name: Annotated[
        str,
        Setting(
            "A name that `fedvm networks list` shows. embedded: a chain of the run's own, in its directory",
            flag="--network",
        ),
    ] = "embedded"
    rpc: Annotated[
        str | None,
        Setting(
            "JSON-RPC address of a node of that network, or of any other network if no name is given; what may be a "
            "key in it is not kept, and a resumed run takes it from FEDVM_RPC",
            unset="the network's own",
            flag="--rpc",
            on_resume=OnResume.FREE,
        ),
    ] = None
    account: Annotated[
        str | None,
        Setting(
            "Who pays on a network, and owns and coordinates the federation there: an account of `fedvm account list`",
            unset="PRIVATE_KEY, from the environment or .env",
            flag="--account",
            on_resume=OnResume.FREE,
        ),
    ] = None

    @property
    def is_embedded(self) -> bool:
        """Whether the chain is the run's own."""
        return self.name == "embedded" and self.rpc is None

    def __post_init__(self) -> None:
        if self.is_embedded and self.account is not None:
            raise ValueError("account is for a network: give a name or rpc, or leave it out")


@settings
class RunConfig:
    """A whole run."""

    run: RunSettings = RunSettings()
    network: NetworkSettings = NetworkSettings()
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    federation: ServerSettings = ServerSettings()
    deployment: DeploymentSettings = DeploymentSettings()
    strategy: StrategyParameters = StrategyParameters()
    stopping: StoppingSettings = StoppingSettings()
    personal: PersonalSettings = PersonalSettings()
    privacy: PrivacySettings = PrivacySettings()
    rules: RulesSettings = RulesSettings()
    consent: ConsentSettings = ConsentSettings()
    security: SecuritySettings = SecuritySettings()
    sealed: SealedSettings = SealedSettings()
    adversaries: Annotated[
        dict[int, AdversaryKind],
        Setting("Which clients (numbered from 0) misbehave on purpose, and how (docs/robustness.md)"),
    ] = field(default_factory=dict)
    compiler: CompilerSettings = CompilerSettings()
    gate: GateSettings = GateSettings()
    baseline: BaselineSettings = BaselineSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @property
    def out(self) -> Path:
        """The run directory."""
        return self.run.out if self.run.out is not None else Path("runs") / self.run.name

    def __post_init__(self) -> None:
        _clients_suffice(self)
        _rounds_have_time_and_people(self)
        _deployment_is_possible(self)
        _adversaries_exist(self)
        _strategy_is_whole(self)
        _rounds_can_be_sealed(self)
        _noise_hides_everything(self)

    @property
    def noise_in_sums(self) -> bool:
        """Whether members of sealed groups add noise to their sums."""
        return bool(self.sealed.group_size and self.privacy.noise_multiplier)


def _clients_suffice(config: RunConfig) -> None:
    clients = config.data.clients
    for name, wanted in (
        ("rules.min_clients", config.rules.min_clients),
        ("federation.min_train_nodes", config.federation.min_train_nodes),
        ("federation.min_evaluate_nodes", config.federation.min_evaluate_nodes),
        ("federation.min_available_nodes", config.federation.min_available_nodes),
    ):
        if wanted > clients:
            raise ValueError(
                f"{name} = {wanted} asks for more clients than data.clients = {clients}: "
                f"no round could succeed; lower {name} or raise data.clients"
            )


def _rounds_have_time_and_people(config: RunConfig) -> None:
    clients, rules = config.data.clients, config.rules
    if config.sealed.group_size and rules.rest_rounds:
        raise ValueError("in sealed rounds nobody rests: set rules.rest_rounds = 0")
    train = max(int(clients * config.federation.fraction_train), config.federation.min_train_nodes)
    awake = clients - min(rules.rest_rounds, config.federation.rounds - 1) * train
    if awake < rules.min_clients:
        raise ValueError(
            f"rules.rest_rounds = {rules.rest_rounds} leaves {max(awake, 0)} of {clients} clients "
            f"when {train} train in a round, fewer than rules.min_clients = {rules.min_clients}: "
            "lower federation.fraction_train or rest_rounds"
        )
    if config.security.open_seconds > rules.round_seconds // 2:
        raise ValueError(
            f"security.open_seconds = {config.security.open_seconds} leaves no time to propose before the deadline: "
            f"make it at most half of rules.round_seconds = {rules.round_seconds}"
        )


def _deployment_is_possible(config: RunConfig) -> None:
    members, clients = config.deployment.members, config.data.clients
    if members and len(members) != clients:
        raise ValueError(
            f"deployment.members names {len(members)} members but data.clients = {clients}: make them agree"
        )
    if members and config.security.stake:
        raise ValueError(
            "deployment.members cannot stake on a chain of this process: leave security.stake out"
        )
    if config.federation.engine is not Engine.DEPLOYMENT:
        if members:
            raise ValueError(
                'deployment.members needs federation.engine = "deployment": nobody here has their keys'
            )
        return
    if config.rules.max_examples is None:
        raise ValueError(
            "rules.max_examples is needed for a deployment: the coordinator cannot know the clients' sizes"
        )
    if config.baseline.enabled:
        raise ValueError("a baseline needs everybody's images, which no deployment has: leave baseline out")
    if config.adversaries:
        raise ValueError("adversaries can be simulated only: leave them out, or use another engine")
    if config.consent != ConsentSettings():
        raise ValueError(
            "consent is for simulated clients: those of a deployment say in their node config what they sign"
        )


def _adversaries_exist(config: RunConfig) -> None:
    clients = config.data.clients
    for client in config.adversaries:
        if not 0 <= client < clients:
            raise ValueError(
                f"adversaries.{client} names no client: the clients are 0 … {clients - 1} (data.clients)"
            )


_REQUIRED = {
    StrategyName.FEDPROX: "proximal_mu",
    StrategyName.FEDAVGM: "server_momentum",
    StrategyName.MULTIKRUM: "num_nodes_to_select",
    StrategyName.QFEDAVG: "client_learning_rate",
}
"""The parameter that a strategy of Flower's has no default for."""
_ROBUST_AMONG = {StrategyName.KRUM: 2, StrategyName.MULTIKRUM: 2, StrategyName.BULYAN: 4}
"""m of the m·a + 3 updates among which a malicious ones can be borne, as the papers prove."""


def _strategy_is_whole(config: RunConfig) -> None:
    name, given = config.federation.strategy, config.strategy.given()
    for key in given:
        if key not in STRATEGY_KEYS[name]:
            owners = " or ".join(other for other, keys in STRATEGY_KEYS.items() if key in keys)
            raise ValueError(
                f"strategy.{key} is a parameter of {owners}, but federation.strategy is {name}: change one of them"
            )
    needed_key = _REQUIRED.get(name)
    if needed_key and needed_key not in given:
        raise ValueError(f"federation.strategy = {name} needs strategy.{needed_key}")
    needed = _ROBUST_AMONG.get(name, 0) * int(given.get("num_malicious_nodes", 0)) + 3
    if name in _ROBUST_AMONG and config.rules.min_clients < needed:
        raise ValueError(
            f"strategy.num_malicious_nodes = {given.get('num_malicious_nodes', 0)} can be borne among {needed} "
            f"updates or more, but rules.min_clients = {config.rules.min_clients}: raise it, or expect fewer"
        )


def _rounds_can_be_sealed(config: RunConfig) -> None:
    sealed, clients = config.sealed, config.data.clients
    if not sealed.group_size:
        return
    if sealed.group_size < 8:
        raise ValueError(f"sealed.group_size = {sealed.group_size} hides nobody: give 8 to 128")
    roster = sealed.min_roster or sealed.group_size * sealed.min_groups
    for wrong, problem in (
        (
            roster > clients,
            f"sealed rounds need {roster} enrolled members, and data.clients = {clients}: lower sealed.group_size or "
            "min_groups, or raise data.clients",
        ),
        (
            roster < sealed.group_size * sealed.min_groups,
            "sealed.min_roster is below group_size · min_groups: raise it or leave it out",
        ),
        (
            config.federation.fraction_train < 1,
            "a sealed round asks whole groups: set federation.fraction_train = 1.0",
        ),
        (
            config.security.open_seconds + sealed.unmask_seconds > config.rules.round_seconds,
            "rules.round_seconds must hold security.open_seconds and sealed.unmask_seconds: raise it",
        ),
        (bool(config.adversaries), "adversaries are not simulated in sealed rounds yet: leave them out"),
    ):
        if wrong:
            raise ValueError(problem)


def _noise_hides_everything(config: RunConfig) -> None:
    """ε of noise in sums is for all that leaves a client but its number of examples. So nothing else may be asked of
    it."""
    if not config.noise_in_sums:
        return
    least = least_included(least_ready(config.sealed.group_size))
    if config.sealed.corrupt >= least:
        raise ValueError(
            f"sealed.assumed_corrupt = {config.sealed.corrupt}: a group whose sum becomes known may hold {least} "
            f"updates only; assume at most {least - 1}, or raise sealed.group_size"
        )
    server = config.federation
    asked = {
        "federation.fraction_evaluate = 0": server.fraction_evaluate > 0,
        "evaluation.clients = false": config.evaluation.clients,
        "personal.epochs = 0": config.personal.epochs > 0,
        'federation.keep = "last"': server.keep is not Keep.LAST,
        "no [stopping]": config.stopping != StoppingSettings(),
        **{f"no rules.{name}": True for name in config.rules.on_measurements},
    }
    if wrong := [setting for setting, is_asked in asked.items() if is_asked]:
        raise ValueError(
            "with noise in sealed rounds (privacy.noise_multiplier) clients report nothing that they measure on their "
            f"data, since no noise would hide it: set {', '.join(wrong)}"
        )
