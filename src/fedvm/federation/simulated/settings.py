"""The settings of a simulated federation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedvm.federation.client.consent import Consent
from fedvm.federation.client.distributed_privacy import DistributedPrivacy
from fedvm.federation.client.privacy import LocalPrivacy
from fedvm.federation.coordinator.client_scores import ScoreQuestion
from fedvm.federation.coordinator.flower_strategies import StrategySettings
from fedvm.federation.coordinator.membership import Submission
from fedvm.federation.coordinator.stopping import Stopping
from fedvm.federation.errors import SettingsError
from fedvm.federation.settings import Keep, ServerSettings
from fedvm.federation.simulated.adversaries import ADVERSARIES
from fedvm.learning.settings import TrainingSettings


@dataclass(frozen=True)
class FederationSettings:
    """How many rounds, which share of the clients in each, and which clients misbehave.

    clients: how many nodes; rounds: opened on chain, failed ones included. fraction_* and min_* are Flower's:
    `max(int(clients · fraction), minimum)` nodes take part. training: what a client does in one round, on a device of
    its machine. strategy: how updates become the next model; the contract's rules must name the same. submission: as
    for `Federation`. adversaries: client index (0 …) → a name in `adversaries.ADVERSARIES`. max_failed_rounds: so many
    failed rounds in a row stop the run.
    stopping: when to end before the last round; keep: "last" or "best", whose round's model is the result;
    question: what to ask every client about it. privacy: the noise that clients add, each to hide its own update, or
    together in a sealed federation; seeded_noise: from the run's seed, so that a simulation can be repeated (it
    protects nobody). consent: what simulated clients agree to
    sign; real ones say it themselves.

    Raises:
        SettingsError: a value is out of range, or asks for more clients than there are.
    """

    clients: int
    rounds: int
    fraction_train: float = ServerSettings.fraction_train
    fraction_evaluate: float = 1.0
    min_train_nodes: int = ServerSettings.min_train_nodes
    min_evaluate_nodes: int = ServerSettings.min_evaluate_nodes
    min_available_nodes: int = ServerSettings.min_available_nodes
    training: TrainingSettings = field(default_factory=TrainingSettings)
    submission: Submission = "auto"
    strategy: StrategySettings = field(default_factory=StrategySettings)
    adversaries: Mapping[int, str] = field(default_factory=dict)
    max_failed_rounds: int = 3
    stopping: Stopping = field(default_factory=Stopping)
    keep: str = ServerSettings.keep
    question: ScoreQuestion | None = None
    privacy: LocalPrivacy | DistributedPrivacy | None = None
    consent: Consent = field(default_factory=Consent)
    seeded_noise: bool = False

    def __post_init__(self) -> None:
        if self.clients < 1 or self.rounds < 1:
            raise SettingsError(f"a run needs clients and rounds, not {self.clients} and {self.rounds}")
        for name in ("fraction_train", "fraction_evaluate"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; give a share from 0 to 1")
        if self.fraction_train == 0:
            raise SettingsError("fraction_train is 0: nobody would train; give a share above 0")
        for name in ("min_train_nodes", "min_evaluate_nodes", "min_available_nodes"):
            if not 0 <= getattr(self, name) <= self.clients:
                raise SettingsError(
                    f"{name} is {getattr(self, name)} but there are {self.clients} clients; lower it"
                )
        if self.keep not in tuple(Keep):
            raise SettingsError(f"keep is {self.keep!r}; choose last or best")
        if self.max_failed_rounds < 1:
            raise SettingsError(f"max_failed_rounds is {self.max_failed_rounds}; give at least 1")
        for index, kind in self.adversaries.items():
            if not 0 <= index < self.clients:
                raise SettingsError(f"adversary {index} is no client; there are 0 to {self.clients - 1}")
            if kind not in ADVERSARIES:
                raise SettingsError(f"unknown adversary {kind!r}; known: {', '.join(sorted(ADVERSARIES))}")
