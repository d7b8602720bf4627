"""A dossier for Annex IV (technical documentation) of Regulation (EU) 2024/1689, in Markdown.

Its headings follow the points of the annex. What the chain says is filled in; the rest is marked for a person.
"""

from __future__ import annotations

from fedvm.exports.facts import Facts, FederationFacts, VersionFacts
from fedvm.exports.figures import LIMITS, needed_version, trained_in
from fedvm.exports.sections import evaluation_lines, lineage_lines, model_lines, training_lines
from fedvm.exports.text import References, escaped, moment, table, to_write


def annex_iv_files(facts: Facts) -> dict[str, bytes]:
    """`technical-documentation.md`. Raises NothingToExport without a version."""
    version = needed_version(facts)
    sources = References()
    lines = [
        f"# Technical documentation: {escaped(version.title)}",
        "",
        "Headings follow Annex IV of Regulation (EU) 2024/1689. This is a draft: it makes no claim of conformity, nor "
        "that the system is of high risk. What a contract has recorded is filled in, as of block "
        f"{facts.block} of {escaped(facts.network)} ({moment(facts.block_time)}); what is marked a person must write.",
        "",
        *_general(facts, version, sources),
        *_development(facts, version, sources),
        *_monitoring(facts, version, sources),
        *_rest(facts, version, sources),
        *sources.section(),
    ]
    return {"technical-documentation.md": ("\n".join(lines) + "\n").encode()}


def _general(facts: Facts, version: VersionFacts, sources: References) -> list[str]:
    assert facts.service is not None
    service = facts.service
    rows = [
        ["Name", escaped(version.title)],
        ["Version", f"{version.number}{sources.mark(version.source)}"],
        [
            "Service",
            f"`{facts.account(service.address)}`, owner `{service.owner}`{sources.mark(service.source)}",
        ],
        ["Versions registered", ", ".join(str(one.number) for one in service.versions)],
    ]
    return [
        "## 1. General description",
        "",
        *table(["what", "value"], rows),
        "",
        f"- (a) Intended purpose, provider: {to_write('what the system is for, on whom it is used, who provides it')}",
        f"- (b) Interaction with other systems: {to_write('hardware and software that it works with')}",
        "- (c) Software: the code on chain cannot be changed; another version is another address.",
        f"- (d) Forms of supply: answers of the contract on chain id {facts.chain_id}, asked through any node. "
        f"{to_write('other forms, such as an application')}",
        "- (e) Hardware: an EVM. No other hardware changes an answer.",
        f"- (f) (g) (h) Product, user interface, instructions for use: {to_write('for whoever deploys it')}",
        "",
    ]


def _development(facts: Facts, version: VersionFacts, sources: References) -> list[str]:
    told = trained_in(facts, version)
    return [
        "## 2. Elements and development",
        "",
        "### (a) (b) Methods, design and assumptions",
        "",
        *([] if told is None else training_lines(told, sources)),
        *lineage_lines(facts, version, sources),
        "",
        to_write("why this model and these rules; what was optimised for, and the trade-offs made"),
        "",
        "### (c) Architecture",
        "",
        *model_lines(version),
        "",
        "### (d) Data",
        "",
        "Members send updates, and no examples. The chain has, for each update, what the member attests of its data.",
        "",
        *_attested(told, sources),
        to_write(
            "origin, scope, collection, labelling and cleaning of the members' data, and who is missing from it"
        ),
        "",
        "### (e) Human oversight",
        "",
        to_write("how people understand, override and stop the system (Article 14)"),
        "",
        "### (f) Changes determined beforehand",
        "",
        "A change of rules is announced on chain before it is in force"
        + (
            "."
            if told is None
            else f", {told.security.notice_seconds:,} seconds ahead{sources.mark(told.security_source)}."
        ),
        "",
        "### (g) Validation and testing",
        "",
        *evaluation_lines(version, sources),
        "",
        *_gate(facts, sources),
        to_write("other tests, their reports, dated and signed"),
        "",
        "### (h) Cybersecurity",
        "",
        *_security(told, sources),
        to_write("keys, access, and other measures of whoever operates it"),
        "",
    ]


def _attested(told: FederationFacts | None, sources: References) -> list[str]:
    if told is None:
        return [
            "The federation that trained it was not read, or there was none: nothing is known of the training.",
            "",
        ]
    rows = [
        [
            str(one.number),
            f"`{update.member}`{sources.mark(update.source)}",
            update.refusal.replace("_", " ") or "counts",
            "" if update.refusal else f"{update.examples:,}",
            "" if update.refusal else f"{update.labels:,}",
            "" if update.refusal else f"{update.weight:,}",
        ]
        for one in told.rounds
        for update in one.updates
    ]
    missing = [f"Round {one.number}: {escaped(one.missing)}." for one in told.rounds if one.missing]
    titles = ["round", "member", "verdict", "examples (attested)", "labels (attested)", "weight"]
    return [*(table(titles, rows) if rows else []), *missing, ""]


def _gate(facts: Facts, sources: References) -> list[str]:
    gate = None if facts.service is None else facts.service.gate
    if gate is None:
        return []
    terms = gate.terms
    return [
        f"The gate draws from {terms.samples:,} samples that were committed to beforehand, at most "
        f"{terms.max_samples:,} a trial{sources.mark(gate.source)}; {len(gate.samples):,} were disclosed so far.",
        "",
    ]


def _security(told: FederationFacts | None, sources: References) -> list[str]:
    if told is None:
        return []
    security = told.security
    return [
        f"A result can be challenged for {security.challenge_seconds:,} seconds before it is final, against a bond of "
        f"{security.bond:,} wei{sources.mark(told.security_source)}. Members sign their updates.",
        "",
    ]


def _monitoring(facts: Facts, version: VersionFacts, sources: References) -> list[str]:
    assert facts.service is not None
    decisions = facts.service.decisions
    last = (
        f", the last one {moment(decisions[-1].at)}{sources.mark(decisions[-1].source)}" if decisions else ""
    )
    return [
        "## 3. Monitoring, functioning and control",
        "",
        *(f"- {limit}" for limit in LIMITS),
        "",
        f"{len(decisions)} decisions are recorded{last}; the export `decision-log` lists them (Article 12).",
        "",
        to_write(
            "accuracy for the persons or groups concerned, foreseeable unintended outcomes, and measures"
        ),
        "",
        "## 4. Performance metrics",
        "",
        f"The gate tests accuracy on drawn samples. {to_write('why that is appropriate for this system')}",
        "",
    ]


def _rest(facts: Facts, version: VersionFacts, sources: References) -> list[str]:
    assert facts.service is not None
    rows = [
        [
            moment(one.at),
            f"version {one.version} serves{sources.mark(one.source)}",
            str(one.previous or "none"),
        ]
        for one in facts.service.served
    ]
    told = trained_in(facts, version)
    if told is not None:
        rows += [
            [
                f"block {one.source.block}",
                f"rules `0x{one.digest.hex()}` adopted{sources.mark(one.source)}",
                "",
            ]
            for one in told.rules[1:]
        ]
    return [
        "## 5. Risk management",
        "",
        to_write("the risk management system (Article 9)"),
        "",
        "## 6. Changes during the lifecycle",
        "",
        *(table(["time", "change", "version before"], rows) if rows else ["No version has served yet."]),
        "",
        "## 7. Standards applied",
        "",
        to_write("harmonised standards and other specifications"),
        "",
        "## 8. EU declaration of conformity",
        "",
        to_write("a copy of the declaration (Article 47)"),
        "",
        "## 9. Post-market monitoring",
        "",
        to_write("the system and the plan (Article 72)"),
        "",
    ]
