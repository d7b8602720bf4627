"""Honest records of every kind of federation, small, and the subjects of tampering made of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from sealed_record import Recorded, record
from small_run import GATE, small_config, write_digits
from tampered_node import TamperedNode, TamperedStore
from tampers import Subject, Tamper

from fedvm.audit import versions
from fedvm.audit.findings import AuditReport
from fedvm.audit.replay import audit
from fedvm.compiler import CompiledModel
from fedvm.devnet.embedded import open_chain
from fedvm.federation.settings import SubmissionForm
from fedvm.pipeline.run import run_all
from fedvm.rundir.deployment import Deployment
from fedvm.rundir.run import open_run


def record_open(home: Path) -> Path:
    """A run whose updates are relayed one by one; its version passed a gate, and decided twice."""
    out = home / "open"
    run_all(small_config(write_digits(home / "images"), out, **GATE))
    with open_run(out, read_only=False) as run:
        assert run.chain is not None
        for value in (0, 200):
            run.model_service.decide(run.chain.account("user"), np.full(256, value, np.uint8).tobytes())
    return out


def record_rolled_up(home: Path) -> Path:
    """A run whose updates come all at once; its version serves without a gate."""
    out = home / "rolled-up"
    form = {"federation__submission": SubmissionForm.ROLLUP.value}
    run_all(small_config(write_digits(home / "more-images"), out, **form))
    return out


@contextmanager
def subject_of_run(name: str, path: Path, altered: Path) -> Iterator[Subject]:
    """A run, while its chain is open; altered: a folder for blocks that the store lies about."""
    at = Deployment.load(path)
    with open_chain(path, read_only=True) as chain:
        node, store = TamperedNode(chain.w3.provider), TamperedStore(path / "store", altered)
        yield Subject(name, node, store, at.federation, at.service, at.block, path, at.program)


@contextmanager
def subject_of_sealed(made: Recorded, altered: Path) -> Iterator[Subject]:
    """The same of a sealed federation without a service."""
    with open_chain(made.path, read_only=True) as chain:
        node, store = TamperedNode(chain.w3.provider), TamperedStore(made.path / "store", altered)
        yield Subject("sealed", node, store, made.federation, None, 0)


@contextmanager
def subjects(home: Path) -> Iterator[list[Subject]]:
    """All of them, recorded under ``home``, while their chains are open."""
    with ExitStack() as opened:
        yield [
            opened.enter_context(subject_of_run("open", record_open(home), home / "altered 1")),
            opened.enter_context(subject_of_run("rolled up", record_rolled_up(home), home / "altered 2")),
            opened.enter_context(subject_of_sealed(record(home / "sealed"), home / "altered 3")),
        ]


@contextmanager
def compiled_once() -> Iterator[None]:
    """Compile the same file with the same options once, which always gives the same: for hundreds of audits."""
    true, known = versions.compile_model, dict[object, CompiledModel]()

    def remembered(model: bytes, calibration: np.ndarray, **options: Any) -> CompiledModel:
        key = sha256(model).digest(), sha256(calibration.tobytes()).digest(), repr(sorted(options.items()))
        if key not in known:
            known[key] = true(model, calibration, **options)
        return known[key]

    versions.compile_model = remembered  # type: ignore[assignment]
    try:
        yield
    finally:
        versions.compile_model = true


def audited(subject: Subject) -> AuditReport:
    """The audit of what the node and the store say now."""
    return audit(
        subject.w3,
        subject.store,
        federation=subject.federation,
        service=subject.service,
        first_block=subject.first_block,
        files=subject.files,
    )


def is_named(subject: Subject, tamper: Tamper) -> bool:
    """Whether the audit names the change; it is taken back."""
    tamper.apply(subject)
    try:
        return tamper.names(audited(subject))
    finally:
        subject.restore()
