"""The settings of a federation: rounds, strategy, rules, consent. Names only: nothing here loads Flower or PyTorch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import StringConstraints

from fedvm.federation.strategy_settings import StrategyName
from fedvm.settings import OnResume, Setting, settings

_UINT32, _UINT88, _UINT96 = 2**32, 2**88, 2**96
_DAYS_30 = 30 * 86_400


class AdversaryKind(StrEnum):
    """How a simulated client may misbehave (`fedvm.federation.simulated.adversaries`)."""

    INFLATED_EXAMPLES = "inflated_examples"
    EXPLODED_UPDATE = "exploded_update"
    BAD_SIGNATURE = "bad_signature"
    REPLAY = "replay"
    LOW_QUALITY = "low_quality"
    SIGN_FLIP = "sign_flip"
    SCALING = "scaling"
    LABEL_FLIP = "label_flip"
    GAUSSIAN = "gaussian"
    COLLUDING = "colluding"
    FREE_RIDER = "free_rider"


class SubmissionForm(StrEnum):
    """How updates reach the contract: one by one, or all of a round in one transaction."""

    AUTO = "auto"
    COMMITMENTS = "commitments"
    ROLLUP = "rollup"


class Engine(StrEnum):
    """Where the clients run."""

    INPROCESS = "inprocess"
    FLOWER_SIMULATION = "flower-simulation"
    DEPLOYMENT = "deployment"


class Keep(StrEnum):
    """Whose round's model is the result."""

    LAST = "last"
    BEST = "best"


class StoppingMetric(StrEnum):
    """What the clients measure on their validation data."""

    LOSS = "loss"
    ACCURACY = "accuracy"


@settings
class ServerSettings:
    """Flower's settings: how many rounds, which share of the nodes takes part in each, and the strategy.

    The results of `fedavg` and `fedprox` can be disputed on chain. The other strategies are audit-only: every audit
    recomputes their results, but no proof on chain covers them.
    """

    strategy: Annotated[
        StrategyName, Setting("How a round's updates become the next model", flag="--strategy")
    ] = StrategyName.FEDAVG
    rounds: Annotated[
        int,
        Setting(
            "Number of rounds, failed ones included; with more rounds, --resume prolongs a run",
            unit="rounds",
            flag="--rounds",
            on_resume=OnResume.GROWS,
            ge=1,
        ),
    ] = 5
    fraction_train: Annotated[
        float, Setting("Share of the clients that train in a round", flag="--fraction-train", gt=0, le=1)
    ] = 1.0
    fraction_evaluate: Annotated[
        float,
        Setting(
            "Share of the clients that measure a round's model on their validation images",
            flag="--fraction-evaluate",
            ge=0,
            le=1,
        ),
    ] = 0.5
    min_train_nodes: Annotated[
        int, Setting("Minimum number of clients that train in a round", flag="--min-train-nodes", ge=1)
    ] = 2
    min_evaluate_nodes: Annotated[
        int, Setting("Minimum number of clients that evaluate in a round", flag="--min-evaluate-nodes", ge=0)
    ] = 2
    min_available_nodes: Annotated[
        int, Setting("Clients connected before a round begins", flag="--min-available-nodes", ge=1)
    ] = 2
    submission: Annotated[
        SubmissionForm,
        Setting(
            "How updates reach the contract: one by one (`commitments`), or all of a round at once (`rollup`); `auto` "
            "is one by one up to 64 clients, else at once"
        ),
    ] = SubmissionForm.AUTO
    engine: Annotated[
        Engine,
        Setting(
            "Where the clients run: in processes of this command, in Flower's simulation (Ray) or on SuperNodes; "
            "never changes results",
            flag="--engine",
            on_resume=OnResume.FREE,
        ),
    ] = Engine.INPROCESS
    client_timeout: Annotated[
        float | None,
        Setting(
            "With the engine inprocess: a client that takes longer is stopped and counts as failed",
            unit="s",
            unset="the round's deadline alone",
            on_resume=OnResume.FREE,
            gt=0,
        ),
    ] = None
    keep: Annotated[
        Keep, Setting("Which round's model is served: the last one's, or the best by the clients' validation")
    ] = Keep.LAST


@settings
class DeploymentSettings:
    """With `engine = "deployment"`: the SuperLink, and who the clients are."""

    superlink: Annotated[
        str | None,
        Setting("HOST:PORT of the SuperLink", unset="none", flag="--superlink", on_resume=OnResume.FREE),
    ] = None
    root_certificates: Annotated[
        Path | None,
        Setting(
            "PEM file of the authority that signed the SuperLink's certificate",
            unset="the system's",
            flag="--root-certificates",
            on_resume=OnResume.FREE,
        ),
    ] = None
    insecure: Annotated[
        bool,
        Setting(
            "Connect to the SuperLink without TLS; on loopback only",
            flag="--insecure",
            on_resume=OnResume.FREE,
        ),
    ] = False
    members: Annotated[
        tuple[str, ...],
        Setting(
            "The clients' addresses (`fedvm keys new`), in the order of their partition-id; "
            "without any, the addresses of keys that derive from the run's seed"
        ),
    ] = ()


@settings
class StoppingSettings:
    """When to end before the last round, by the clients' weighted mean on their validation data, which they attest and
    nobody proves. The test images are not used.
    """

    patience: Annotated[
        int,
        Setting(
            "End the run after this many evaluated rounds in a row without a better `metric`; 0: never",
            unit="rounds",
            ge=0,
        ),
    ] = 0
    metric: Annotated[StoppingMetric, Setting("The figure that must improve")] = StoppingMetric.LOSS
    min_change: Annotated[float, Setting("An improvement must be larger than this", ge=0)] = 0.0
    accuracy: Annotated[
        float | None,
        Setting("End the run after a round that reaches this accuracy", unset="never", gt=0, le=1),
    ] = None
    loss: Annotated[float | None, Setting("End the run at this loss", unset="never", gt=0)] = None


@settings
class PersonalSettings:
    """Personalisation: after the last round each client trains the model on its own data and keeps the result."""

    epochs: Annotated[int, Setting("Passes over a client's own images; 0 for none", ge=0)] = 0
    lr: Annotated[float | None, Setting("Learning rate", unset="a tenth of `training.lr`", gt=0)] = None


@settings
class PrivacySettings:
    """Differential privacy (docs/privacy.md), of every update in open rounds, of the sums of groups in sealed ones.

    Off while `noise_multiplier` is 0.
    """

    clip: Annotated[float, Setting("Bound on an update's L2 norm before the noise", gt=0)] = 1.0
    noise_multiplier: Annotated[
        float,
        Setting(
            "Standard deviation of the noise, as a multiple of `clip`, or in sealed rounds of `clip` · the greatest "
            "weight of an update; 0: no noise, else at least 0.001",
            ge=0,
            le=1e6,
        ),
    ] = 0.0
    delta: Annotated[float, Setting("The δ of (ε, δ)", gt=0, le=1e-3)] = 1e-5
    max_epsilon: Annotated[
        float | None,
        Setting(
            "Privacy budget: a client that would spend more sends no more updates; also a rule of the contract, unless "
            "`rules.max_epsilon` says otherwise",
            unset="no limit",
            gt=0,
            lt=2**40,
        ),
    ] = None


RULE_CHANGE: Final = "min_labels=3"
"""A change of a rule as an example, for help and errors."""


@settings
class RulesSettings:
    """The rules written into the contract when the federation is created (docs/protocol.md, section 3)."""

    min_clients: Annotated[
        int, Setting("Quorum: fewer accepted updates fail the round", flag="--min-clients", ge=1)
    ] = 2
    min_examples: Annotated[
        int,
        Setting(
            "An update of fewer examples is refused", unit="examples", flag="--min-examples", ge=1, lt=_UINT32
        ),
    ] = 1
    max_examples: Annotated[
        int | None,
        Setting(
            "Cap: more examples of one update count as this many",
            unit="examples",
            unset="twice the mean of the clients' examples",
            flag="--max-examples",
            ge=1,
            lt=_UINT32,
        ),
    ] = None
    max_norm: Annotated[
        float, Setting("An update with a greater L2 norm, in real units, is refused", flag="--max-norm", gt=0)
    ] = 10.0
    fraction_bits: Annotated[
        int,
        Setting("Fixed-point bits f: the contract stores a number as value · 2^f", unit="bits", ge=1, le=30),
    ] = 20
    round_seconds: Annotated[
        int,
        Setting(
            "Time from the opening of a round to its deadline",
            unit="s",
            flag="--round-seconds",
            ge=1,
            le=365 * 86_400,
        ),
    ] = 3600
    min_accuracy: Annotated[
        float,
        Setting("Minimum validation accuracy that a client must attest", flag="--min-accuracy", ge=0, le=1),
    ] = 0.0
    max_loss: Annotated[
        float | None,
        Setting("Maximum validation loss that a client must attest", unset="none", flag="--max-loss", gt=0),
    ] = None
    max_share: Annotated[
        float, Setting("Maximum share of a round's weight that one update may have", gt=0, le=1)
    ] = 1.0
    min_labels: Annotated[
        int, Setting("Minimum number of distinct labels that a client must attest", ge=0, lt=_UINT32)
    ] = 0
    rest_rounds: Annotated[
        int,
        Setting(
            "Rounds that a member must sit out after one in which its update counted",
            unit="rounds",
            ge=0,
            lt=_UINT32,
        ),
    ] = 0
    max_epsilon: Annotated[
        float,
        Setting(
            "Privacy budget: the greatest ε that a client may attest; 0: clients need not attest ε",
            ge=0,
            lt=2**40,
        ),
    ] = 0.0

    @property
    def on_measurements(self) -> list[str]:
        """The settings that demand something of what a client measures on its data, other than by default."""
        names, default = ("min_accuracy", "max_loss", "min_labels"), RulesSettings()
        return [name for name in names if getattr(self, name) != getattr(default, name)]

    @property
    def max_sum_squares(self) -> int:
        """floor((max_norm · 2^fraction_bits)²), exact in integers."""
        numerator, denominator = self.max_norm.as_integer_ratio()
        return (numerator << self.fraction_bits) ** 2 // denominator**2

    def __post_init__(self) -> None:
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


@settings
class ConsentSettings:
    """What simulated clients agree to sign (`fedvm.federation.client.consent`); they refuse to sign under other rules.

    Each client of a deployment states this in its own node config.
    """

    federation: Annotated[
        str | None,
        Setting("Address of the contract: 0x and 40 hexadecimal digits", unset="any"),
        StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$"),
    ] = None
    rules: Annotated[
        str | None,
        Setting("Hash of the contract's rules: 0x and 64 hexadecimal digits", unset="any"),
        StringConstraints(pattern=r"^0x[0-9a-fA-F]{64}$"),
    ] = None
    max_epsilon: Annotated[
        float | None,
        Setting(
            "The rules must have a privacy budget ε, at most this one", unset="none asked for", gt=0, lt=2**40
        ),
    ] = None
    min_examples: Annotated[
        int | None,
        Setting("The rules must refuse updates of fewer examples", unset="none asked for", ge=1, lt=_UINT32),
    ] = None
    min_clients: Annotated[
        int | None,
        Setting(
            "The rules must fail rounds of fewer accepted updates", unset="none asked for", ge=1, lt=_UINT32
        ),
    ] = None


@settings
class SecuritySettings:
    """Bonds, stakes and times that secure the coordinator's proposals (docs/protocol.md); the defaults suit a trial.

    On a network, `challenge_seconds` must exceed the time to finality plus the time for which transactions could be
    censored. If it or `answer_seconds` is left out there, it follows from the network (docs/networks.md). `bond` must
    exceed what a lie could gain plus the gas of disputing it. 1 FIL or 1 ETH is 10^18 wei.
    """

    challenge_seconds: Annotated[
        int, Setting("How long a proposal can be challenged before it is final", unit="s", ge=60, le=_DAYS_30)
    ] = 3600
    answer_seconds: Annotated[
        int, Setting("Time to answer the questions of a phase", unit="s", ge=60, le=_DAYS_30)
    ] = 600
    bond: Annotated[int, Setting("What a wrong proposal costs whose it is", unit="wei", ge=1, lt=_UINT88)] = (
        10**18
    )
    stake: Annotated[int, Setting("What every member deposits", unit="wei", ge=0, lt=_UINT96)] = 0
    demand_fee: Annotated[
        int,
        Setting(
            "What the first question costs, at least a 256th of the bond; 600,000 gas at the network's price make a "
            "delay ten times as dear as the answers",
            unit="wei",
            ge=1,
            lt=_UINT96,
        ),
    ] = 4 * 10**15
    post_fee: Annotated[
        int,
        Setting(
            "The most that a member is paid for each 64 elements of a vector that it must post; it gets what that "
            "cost, some 25,000 gas",
            unit="wei",
            ge=0,
            lt=_UINT96,
        ),
    ] = 5 * 10**14
    notice_seconds: Annotated[
        int,
        Setting(
            "Time from the announcement of new rules until they can be adopted", unit="s", ge=1, le=_DAYS_30
        ),
    ] = 86_400
    open_seconds: Annotated[
        int,
        Setting(
            "Every round stays open at least this long, so that members whom the coordinator ignores can submit "
            "themselves",
            unit="s",
            ge=0,
            le=_DAYS_30,
        ),
    ] = 0
