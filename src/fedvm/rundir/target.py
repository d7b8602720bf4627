"""What somebody means by a federation or a service: the directory of a run, or addresses on a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedvm.chain.endpoint import Endpoint
from fedvm.chain.errors import DeploymentError
from fedvm.rundir.run import Run, open_run, run_at


@dataclass(frozen=True)
class Target:
    """The directory of a run, or contracts at an endpoint.

    endpoint: of the contracts, or to be asked instead of the one that the directory names. Addresses are checksummed.
    stores: as `fedvm.store.open_store` takes them, in place of the run's own. first_block: at or before the contracts'
    creation; found out unless given.
    """

    run: Path | None = None
    endpoint: Endpoint | None = None
    federation: str | None = None
    service: str | None = None
    stores: Sequence[str] = ()
    first_block: int | None = None

    def opened(self, *, read_only: bool = True) -> Run:
        """The run, a context manager. read_only concerns an embedded chain.

        Raises DeploymentError if nothing is named, and as `open_run` and `run_at`.
        """
        if self.run is not None:
            run = open_run(self.run, read_only=read_only, endpoint=self.endpoint)
            if self.stores:
                run.deployment = replace(run.deployment, stores=tuple(self.stores))
            return run
        if self.endpoint is None or not (self.federation or self.service):
            raise DeploymentError(
                "name a run, or a network and the address of a federation or a service on it"
            )
        return run_at(
            self.endpoint,
            federation=self.federation,
            service=self.service,
            stores=self.stores,
            first_block=self.first_block,
        )
