"""What a watch knows, as Prometheus reads it, on a port of this machine alone."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from fedvm.audit.findings import Nature
from fedvm.watch.acting import Actor
from fedvm.watch.errors import WatchError
from fedvm.watch.events import Kind
from fedvm.watch.memory import Standing

LOOPBACK: Final = "127.0.0.1"


class Metrics:
    """Figures of a watch. Labels are addresses and names of this package, never what a node says."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"fedvm_watch_{name}", words, labelnames=labels, registry=self.registry)

        self._up = gauge("up", "Whether the last look at the chain succeeded", "subject")
        self._looked = gauge("look_timestamp_seconds", "When it last did", "subject")
        self._block = gauge("block", "Block up to which all was audited", "subject")
        self._round = gauge("round", "Latest round that is over and audited", "subject")
        self._findings = gauge("findings", "Findings that stand", "subject", "nature")
        self._answers = gauge("answers", "Questions answered since the start", "subject")
        self._unanswered = gauge("unanswered", "Questions that the store cannot answer", "subject")
        self._upheld = gauge("challenges_upheld", "Proposals brought down since the start", "subject")
        self._undelivered = gauge("webhook_undelivered", "Events that wait for the webhook")
        self._events = Counter(
            "fedvm_watch_events", "What was told since the start", labelnames=["kind"], registry=self.registry
        )
        for kind in Kind:
            self._events.labels(kind.value)

    def told(self, kind: Kind) -> None:
        """Count an event."""
        self._events.labels(kind.value).inc()

    def looked(self, subject: str, standing: Standing, now: float) -> None:
        """A look has succeeded. now: Unix seconds."""
        self._up.labels(subject).set(1)
        self._looked.labels(subject).set(now)
        if standing.checkpoints:
            self._block.labels(subject).set(standing.checkpoints[-1].block)
        self._round.labels(subject).set(standing.audited_round)
        for nature in Nature:
            count = sum(one.nature is nature for one in standing.findings)
            self._findings.labels(subject, nature.value).set(count)

    def failed(self, subject: str) -> None:
        """A look has failed."""
        self._up.labels(subject).set(0)

    def acted(self, subject: str, actor: Actor) -> None:
        """What the account has done."""
        self._answers.labels(subject).set(actor.answers)
        self._unanswered.labels(subject).set(actor.open_questions)
        self._upheld.labels(subject).set(actor.challenges)

    def waiting(self, events: int) -> None:
        """How many events the webhook has not taken."""
        self._undelivered.set(events)


class MetricsServer:
    """Serves the metrics until it is closed. port: 0 takes any; `port` says which.

    Raises:
        WatchError: the port is taken.
    """

    def __init__(self, metrics: Metrics, port: int) -> None:
        try:
            self._server, self._thread = start_http_server(port, addr=LOOPBACK, registry=metrics.registry)
        except OSError as error:
            raise WatchError(
                f"port {port} cannot be opened ({error.strerror}); name another with --metrics-port"
            ) from None
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
