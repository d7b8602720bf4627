"""The page of a version: how good it is and for whom, where it comes from, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedvm.audit.findings import cid_text
from fedvm.chain.networks import NETWORKS, Network
from fedvm.web import words
from fedvm.web.chronicle import Chronicle, VersionFacts
from fedvm.web.site import NotThere, Site

PREPARED = {
    "photo": "turned upright and scaled, its middle kept",
    "drawing": "made bright strokes on black, scaled and centred, whatever colour the ink has and wherever it is",
    "raw": "taken unchanged",
}
"""What a preparation does to an image, in words."""
_LEAST_PRICE = {"filecoin": 100, "evm": 10**9}
"""Wei for a unit of gas: Filecoin's least base fee (FIP-0115 leaves it at 100 attoFIL), and one gwei elsewhere."""
_MOST_CLASSES = 40


@dataclass(frozen=True)
class Confusion:
    """counts[i][j]: how often an input of class i was answered with class j; names: of the classes."""

    names: Sequence[str]
    counts: Sequence[Sequence[int]]

    @property
    def by_class(self) -> list[tuple[str, int, int]]:
        """(name, asked, right) of each class."""
        rows = zip(self.names, self.counts, strict=True)
        return [(name, sum(row), row[at]) for at, (name, row) in enumerate(rows)]

    @property
    def highest(self) -> int:
        """The greatest count, at least 1."""
        return max(1, *(max(row, default=0) for row in self.counts))


def model_page(site: Site, number: int | None = None) -> str:
    """The page of a version; None: of the one that serves, or was registered last.

    Raises NotThere if there is no such version.
    """
    chronicle = site.chronicle
    path = "/model" if number is None else f"/model/{number}"
    if number is None:
        number = chronicle.serving or max(chronicle.versions, default=0)
    if not number and path == "/model":
        return site.render("model.html.j2", path, version=None, versions=[])
    version = chronicle.versions.get(number)
    if version is None:
        raise NotThere
    parts = site.artefacts(version)
    said = parts.description
    names = () if said is None else said.classes
    report = chronicle.report if _is_of(chronicle, version) else None
    manifest = parts.manifest()
    trial = confusion_of(version, names)
    return site.render(
        "model.html.j2",
        path,
        version=version,
        versions=sorted(chronicle.versions.values(), key=lambda one: -one.number),
        said=said,
        shown_classes=_MOST_CLASSES,
        prepared=None if said is None else PREPARED[said.input.preparation],
        missing=parts.missing,
        size=None if parts.onnx is None else len(parts.onnx),
        parameters=parts.parameters,
        cid=cid_text(bytes.fromhex(version.onnx_cid[2:])),
        reports=site.reports,
        report=report,
        held_out=_held_out(report, names),
        trial=trial,
        terms=None if chronicle.gate is None else chronicle.gate["terms"],
        gate_words=_gate_words(chronicle, site.currency),
        by_class=_by_class(report, names),
        clients=_clients(report),
        manifest=manifest,
        costs=_costs(manifest, site.network, version),
        decisions=site.index.count("SELECT COUNT(*) FROM decisions WHERE version = ?", version.number),
        examples=_examples(site, names),
        noise=_privacy(report),
    )


def confusion_of(version: VersionFacts, names: Sequence[str]) -> Confusion | None:
    """What the gate's samples were answered, which the chain recorded; None without a trial."""
    if not version.answers:
        return None
    size = max([len(names), *(max(label, answer) + 1 for label, answer in version.answers)])
    if size > _MOST_CLASSES:
        return None
    counts = [[version.answers.get((label, answer), 0) for answer in range(size)] for label in range(size)]
    return Confusion([*names, *(f"class {n}" for n in range(len(names), size))], counts)


def _is_of(chronicle: Chronicle, version: VersionFacts) -> bool:
    """Whether the run's report speaks of this version."""
    said = (chronicle.report or {}).get("model", {})
    return bool(said.get("version") == version.number) and said.get("model_root") == version.model_root


def _held_out(report: dict[str, Any] | None, names: Sequence[str]) -> Confusion | None:
    counts = (report or {}).get("evaluation", {}).get("confusion") or ()
    if not counts or {len(counts), *map(len, counts)} != {len(names)} or len(names) > _MOST_CLASSES:
        return None
    return Confusion(names, counts)


def _by_class(report: dict[str, Any] | None, names: Sequence[str]) -> list[tuple[str, float | None]]:
    shares = ((report or {}).get("fairness") or {}).get("class_accuracy") or ()
    return list(zip(names, shares, strict=False))


def _clients(report: dict[str, Any] | None) -> list[dict[str, Any]]:
    rows = ((report or {}).get("fairness") or {}).get("clients") or ()
    measured = [row for row in rows if row.get("accuracy") is not None]
    return sorted(measured, key=lambda row: (row["accuracy"], row["client"]))[:100]


def _gate_words(chronicle: Chronicle, currency: str) -> list[str]:
    if chronicle.gate is None:
        return []
    terms, test = chronicle.gate["terms"], chronicle.gate["terms"]["test"]
    fail, passing = test["fail_ppm"] / 1e6, test["pass_ppm"] / 1e6
    return [
        "Before a version may answer, the contract itself asks it samples whose answers are known: "
        f"at most {words.number(int(terms['max_samples']))}, "
        f"drawn by lot from {words.number(int(terms['samples']))} after it was registered, so that it "
        "cannot be made for them.",
        f"A model that is right in {words.percent(fail)} of cases or fewer passes with a probability "
        f"of {words.chance(test['alpha_ppm'] / 1e6)} at most. "
        f"One that is right in {words.percent(passing)} or more fails with "
        f"{words.chance(test['beta_ppm'] / 1e6)} at most.",
        f"Who registers a version puts up {words.coins(terms['bond'], currency)}, and gets it back "
        "only if the version passes.",
    ]


def _costs(
    manifest: dict[str, Any] | None, here: Network | None, version: VersionFacts
) -> list[dict[str, Any]]:
    """What an answer in a transaction, and putting the program on a chain, cost on each network."""
    if manifest is None:
        return []
    gas, found = manifest["gas"], []
    for network in NETWORKS:
        if network.name in ("embedded", "devnet"):
            continue
        price = _LEAST_PRICE[network.gas_unit]
        answer = gas["filecoin"] if network.gas_unit == "filecoin" else gas["transaction"]
        fits = answer <= network.transaction_gas
        found.append(
            {
                "network": network.title,
                "here": here is not None and here.name == network.name,
                "gas": answer,
                "unit": "Filecoin gas" if network.gas_unit == "filecoin" else "EVM gas",
                "price": words.coins(answer * price, network.currency)
                if fits
                else "does not fit a transaction",
                "deploy": gas["deploy"],
            }
        )
    return found


def _examples(site: Site, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(class, names of pictures) of held-out examples that the run wrote."""
    rows = site.index.rows("SELECT name FROM pictures WHERE name LIKE 'by-class/%' ORDER BY name")
    found: dict[str, list[str]] = {}
    for row in rows:
        label = row["name"].removeprefix("by-class/").partition("-")[0]
        if label.isdigit() and int(label) < len(names):
            found.setdefault(names[int(label)], []).append(row["name"])
    return list(found.items())[:_MOST_CLASSES]


def _privacy(report: dict[str, Any] | None) -> dict[str, Any] | None:
    return (report or {}).get("privacy")
