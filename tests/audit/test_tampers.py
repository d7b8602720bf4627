"""Single changes to everything that an audit reads: each is found, and named by where it is."""

from __future__ import annotations

from collections import Counter

import pytest
from tamper_records import audited, compiled_once, is_named
from tampers import Subject, walk

from fedvm.audit.errors import AuditError
from fedvm.audit.replay import audit

QUICK = 45
"""Of so many changes one is tried in `make test`."""


def missed(subject: Subject, step: int = 1) -> list[str]:
    """The changes that the audit does not name, of one of so many."""
    with compiled_once():
        assert audited(subject).clean
        changes = list(walk(subject))
        assert len(changes) > 300
        kinds = Counter(change.kind for change in changes)
        assert min(kinds.values()) >= 5
        return [str(change) for change in changes[::step] if not is_named(subject, change)]


def test_changes_to_an_open_federation_are_named(open_subject: Subject) -> None:
    assert missed(open_subject, QUICK) == []


@pytest.mark.slow
def test_changes_to_a_sealed_federation_are_named(sealed_subject: Subject) -> None:
    assert missed(sealed_subject, QUICK) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_change_to_an_open_federation_is_named(open_subject: Subject) -> None:
    assert missed(open_subject) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_change_to_a_rolled_up_federation_is_named(rolled_up_subject: Subject) -> None:
    assert missed(rolled_up_subject) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_change_to_a_sealed_federation_is_named(sealed_subject: Subject) -> None:
    assert missed(sealed_subject) == []


def test_an_audit_of_nothing_is_refused(sealed_subject: Subject) -> None:
    with pytest.raises(AuditError, match="nothing to audit"):
        audit(sealed_subject.w3, sealed_subject.store, federation=None, service=None)
