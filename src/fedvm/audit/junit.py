"""An audit's report as JUnit XML, which CI systems show: a suite for each audit, a case for each check."""

from __future__ import annotations

from xml.etree import ElementTree

from fedvm.audit.findings import CHECKS, AuditReport, Nature


def to_junit(report: AuditReport) -> bytes:
    """The report, in UTF-8. False statements are failures; what was missing, or depends on another finding, an error.

    A report without a check has an error of its own, so that nobody takes it for a clean one.
    """
    rows = list(report.rows())
    false = sum(finding.nature is Nature.FALSE for finding in report.findings)
    errors = len(report.findings) - false + (not rows)
    suite = ElementTree.Element(
        "testsuite",
        name=f"fedvm audit of {report.federation or report.service} on chain {report.chain_id}",
        tests=str(len(rows) or 1),
        failures=str(false),
        errors=str(errors),
    )
    for name, held, _ in rows:
        case = ElementTree.SubElement(suite, "testcase", classname="fedvm.audit", name=name)
        for finding in report.findings:
            if finding.check != name:
                continue
            kind = "failure" if finding.nature is Nature.FALSE else "error"
            said = ElementTree.SubElement(case, kind, type=finding.nature.value, message=finding.message)
            said.text = f"{finding.place}\n{finding.message}"
        out = ElementTree.SubElement(case, "system-out")
        out.text = f"{CHECKS[name]}: held {held} times"
    if not rows:
        case = ElementTree.SubElement(suite, "testcase", classname="fedvm.audit", name="anything")
        ElementTree.SubElement(case, "error", type="empty", message="nothing was checked")
    ElementTree.indent(suite)
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)) + b"\n"
