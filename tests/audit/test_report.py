"""What an audit says of what it found, and of which rounds."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from tamper_records import audited
from tampers import Subject

from fedvm.audit.artefacts import artefacts
from fedvm.audit.errors import AuditError
from fedvm.audit.findings import AuditReport, Finding, Nature, Place
from fedvm.audit.junit import to_junit
from fedvm.audit.replay import audit
from fedvm.audit.scope import Scope
from fedvm.store import Cid

EMPTY = AuditReport(1, "", "", "", {}, ())


def test_a_report_without_a_check_is_not_clean() -> None:
    assert not EMPTY.clean
    suite = ElementTree.fromstring(to_junit(EMPTY))
    assert suite.get("errors") == "1" and suite.find("testcase/error") is not None


def test_junit_tells_what_is_false_from_what_is_missing() -> None:
    findings = (
        Finding("aggregate", Place(round=2), "another <root>"),
        Finding("update data", Place(round=3), "not there", Nature.MISSING),
    )
    report = AuditReport(1, "0xF", "", "", {"aggregate": 4, "model": 5}, findings)
    suite = ElementTree.fromstring(to_junit(report))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    failure, error = cases["aggregate"].find("failure"), cases["update data"].find("error")
    assert (
        failure is not None and failure.get("message") == "another <root>" and "round 2" in str(failure.text)
    )
    assert error is not None and error.get("type") == "missing"
    assert next(iter(cases["model"])).tag == "system-out"


def test_only_the_rounds_asked_for_are_computed_again(sealed_subject: Subject) -> None:
    whole = audited(sealed_subject)
    assert whole.clean and whole.passed["model"] == 2
    listed = artefacts(
        sealed_subject.w3, sealed_subject.store, federation=sealed_subject.federation, service=None
    )
    first = next(one for one in listed if one.round == 1 and "masked update" in one.what)
    sealed_subject.store.withheld.add(str(Cid.from_binary(first.cid)))

    def with_scope(scope: Scope) -> AuditReport:
        return audit(
            sealed_subject.w3,
            sealed_subject.store,
            federation=sealed_subject.federation,
            service=None,
            scope=scope,
        )

    for scope in (Scope(since=2), Scope(rounds=(2,))):
        report = with_scope(scope)
        assert report.passed["model"] == 1 and report.passed["close"] == 2, report.findings
        assert report.clean
    assert {one.nature for one in with_scope(Scope(rounds=(1,))).findings} == {
        Nature.MISSING,
        Nature.UNVERIFIED,
    }
    with pytest.raises(AuditError, match="there is no round 3"):
        with_scope(Scope(rounds=(3,)))
    with pytest.raises(AuditError, match="numbered from 1"):
        Scope(since=0)
