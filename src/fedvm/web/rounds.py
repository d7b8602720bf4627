"""The pages of a federation and of its rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fedvm.audit.findings import cid_text
from fedvm.web import words
from fedvm.web.charts import Series, line_chart
from fedvm.web.chronicle import Chronicle, RoundFacts, rules_said
from fedvm.web.render import when
from fedvm.web.site import NotThere, Site, page_count

ROUNDS_SHOWN, UPDATES_SHOWN, MEMBERS_SHOWN, GROUPS_SHOWN = 50, 200, 100, 60


@dataclass(frozen=True)
class Chart:
    """A drawn chart. keys: for each line kind, label and last value."""

    title: str
    note: str
    svg: str
    keys: Sequence[dict[str, str]]


def federation_page(site: Site) -> str:
    """What it is for, by which rules, who takes part, and how it goes."""
    chronicle = site.chronicle
    rules, live = chronicle.rules, chronicle.live
    finals = [one for one in chronicle.rounds.values() if one.state == "final"]
    announced = chronicle.announced
    return site.render(
        "federation.html.j2",
        "/",
        purpose=_purpose(site, chronicle),
        live=live,
        phase="" if live is None else phase(live),
        ending=_ending(chronicle),
        figures=_figures(chronicle, len(finals), site.index.count("SELECT COUNT(*) FROM decisions")),
        charts=charts(chronicle),
        rules=[] if rules is None else words.rule_sentences(rules),
        security=[]
        if chronicle.security is None
        else words.security_sentences(vars(chronicle.security), site.currency),
        announced=None
        if announced is None
        else {
            "at": int(announced["adoptable_at"]),
            "rules": words.rule_sentences(rules_said(announced["rules"])),
        },
        max_weight=None if rules is None else rules.max_weight,
        finals=len(finals),
        shown=MEMBERS_SHOWN,
        hidden_by_noise=_noisy(chronicle),
        groups=site.index.rows("SELECT * FROM groups ORDER BY round DESC, number LIMIT ?", GROUPS_SHOWN),
        weakest=site.index.one("SELECT * FROM groups ORDER BY conspirators * 1.0 / members LIMIT 1"),
        addresses=[
            ("Federation", site.federation),
            ("Model service", site.service),
            ("Coordinator", chronicle.coordinator),
            ("Owner", chronicle.owner),
        ],
    )


def rounds_page(site: Site, page: int = 1) -> str:
    """A page of the list of rounds, the latest first."""
    rounds = sorted(site.chronicle.rounds.values(), key=lambda one: -one.number)
    pages = page_count(len(rounds), ROUNDS_SHOWN)
    if not 1 <= page <= pages:
        raise NotThere
    return site.render(
        "rounds.html.j2",
        "/rounds" if page == 1 else f"/rounds/pages/{page}",
        rounds=rounds[(page - 1) * ROUNDS_SHOWN : page * ROUNDS_SHOWN],
        tested=any(one.tested is not None for one in rounds),
        page=page,
        pages=pages,
    )


def update_pages(site: Site, number: int) -> int:
    """How many pages the updates of a round take."""
    return page_count(site.index.count("SELECT COUNT(*) FROM updates WHERE round = ?", number), UPDATES_SHOWN)


def round_page(site: Site, number: int, page: int = 1) -> str:
    """One round: what became of each update, its steps, disputes and roots."""
    chronicle, index = site.chronicle, site.index
    told = chronicle.rounds.get(number)
    pages = update_pages(site, number)
    if told is None or not 1 <= page <= pages:
        raise NotThere
    rows = index.rows(
        """SELECT * FROM updates WHERE round = ?
           ORDER BY reason = 0, coalesce(weight < examples, 0) = 0, seq LIMIT ? OFFSET ?""",
        number,
        UPDATES_SHOWN,
        (page - 1) * UPDATES_SHOWN,
    )
    lacking = index.one("SELECT why FROM lacking WHERE round = ?", number)
    return site.render(
        "round.html.j2",
        f"/rounds/{number}" if page == 1 else f"/rounds/{number}/pages/{page}",
        round=told,
        before=number - 1 if number - 1 in chronicle.rounds else None,
        after=number + 1 if number + 1 in chronicle.rounds else None,
        phase=phase(told),
        figures=[
            (words.number(told.accepted), _counted(told.accepted, "update") + " counted", ""),
            (words.number(told.capped), "of them capped", "warn" if told.capped else ""),
            (
                words.number(told.refused),
                _counted(told.refused, "update") + " refused",
                "bad" if told.refused else "",
            ),
            (words.percent(told.accuracy), "right, as members state of their own tests", ""),
            *(
                [(words.percent(told.tested), "right on held-out data, as the run states", "")]
                if told.tested
                else []
            ),
            (words.number(told.gas), "gas for all transactions", ""),
        ],
        updates=[_update(chronicle, row, told) for row in rows],
        failures=_failures(chronicle, number),
        page=page,
        pages=pages,
        lacking=None if lacking is None else lacking["why"],
        sealed=chronicle.is_sealed,
        groups=index.rows("SELECT * FROM groups WHERE round = ? ORDER BY number", number),
        files=[(name, cid_text(bytes.fromhex(cid.removeprefix("0x")))) for name, cid in told.files.items()],
    )


def phase(told: RoundFacts) -> str:
    """Where a round stands, and until when."""
    match told.state:
        case "open":
            return f"Members can hand in updates until {_moment(told.deadline)}."
        case "rolled up":
            return "The updates are in. The coordinator adds them up."
        case "proposed":
            return f"The new model is stated. Anybody can prove it wrong until {_moment(told.until)}."
        case "rejected":
            return "The stated model was rejected. The coordinator can state another one."
        case "final":
            return "Its model can no longer be changed."
        case _:
            return "It gave no model."


def charts(chronicle: Chronicle) -> list[Chart]:
    """Accuracy, loss, refusals and gas by round."""
    rounds = [one for _, one in sorted(chronicle.rounds.items())]
    found = []
    accuracy = [
        _line("held-out data", "federated", rounds, lambda one: one.tested),
        *_baselines(chronicle),
        _line("members' own tests", "stated", rounds, lambda one: one.accuracy),
    ]
    loss = _line("members' own tests", "stated", rounds, lambda one: one.loss)
    refused = _line("refused", "refused", rounds, lambda one: one.refused)
    capped = _line("capped", "capped", rounds, lambda one: one.capped)
    gas = _line("all transactions", "federated", rounds, lambda one: one.gas)
    for title, note, lines, shown, top in (
        ("Accuracy", "share of right answers", accuracy, words.percent, 1.0),
        ("Loss", "how far off, on average", [loss], lambda value: f"{value:.3g}", None),
        ("Refused and capped", "updates", [refused, capped], words.number, None),
        ("Gas", "paid for the round", [gas], _large, None),
    ):
        drawn = [line for line in lines if line.points]
        if any(y for line in drawn for _, y in line.points):
            keys = [{"kind": one.kind, "label": one.label, "last": shown(one.points[-1][1])} for one in drawn]
            svg = line_chart(title, drawn, _whole_percent if shown is words.percent else shown, top=top)
            found.append(Chart(title, note, svg, keys))
    return found


def _line(
    label: str, kind: str, rounds: Sequence[RoundFacts], value: Callable[[RoundFacts], float | None]
) -> Series:
    return Series(label, kind, [(one.number, float(y)) for one in rounds if (y := value(one)) is not None])


def _baselines(chronicle: Chronicle) -> list[Series]:
    said = (chronicle.report or {}).get("baseline")
    if not said:
        return []
    numbers, alone = said["rounds"], said["alone"]
    if not alone or {len(said["all_data"]), *(len(row["accuracy"]) for row in alone)} != {len(numbers)}:
        return []
    by_round = list(zip(*(row["accuracy"] for row in alone), strict=True))
    drawn = f", {len(alone)} of {said['clients']} drawn" if len(alone) < said["clients"] else ""
    return [
        Series("all data in one place", "all", list(zip(numbers, said["all_data"], strict=True))),
        Series(
            f"each client alone (mean, lowest to highest{drawn})",
            "one",
            [(at, sum(values) / len(values)) for at, values in zip(numbers, by_round, strict=True)],
            [(min(values), max(values)) for values in by_round],
        ),
    ]


def _purpose(site: Site, chronicle: Chronicle) -> str:
    if chronicle.created is None:
        return "A contract that answers with a model, and remembers what it decided."
    members = len(chronicle.members_now)
    return (
        f"{members} {'member trains' if members == 1 else 'members train'} one model together, and "
        "none of them gives its data away. "
        "A contract keeps the rules: it decides which update counts, and how much. The finished "
        "model answers on the same chain."
    )


def _ending(chronicle: Chronicle) -> str:
    stopped = (chronicle.report or {}).get("stopped")
    finals = sum(one.state == "final" for one in chronicle.rounds.values())
    text = f"{finals} of {len(chronicle.rounds)} rounds became final."
    if stopped:
        text += f" The run stopped early: {stopped}."
    if chronicle.serving:
        version = chronicle.versions[chronicle.serving]
        where = f", from round {version.round}" if version.round else ""
        text += f" Version {version.number} of the model answers questions{where}."
    return text


def _figures(chronicle: Chronicle, finals: int, decisions: int) -> list[tuple[str, str, str]]:
    rounds = chronicle.rounds.values()
    refused, capped = sum(one.refused for one in rounds), sum(one.capped for one in rounds)
    found = [
        (words.number(finals), _counted(finals, "round") + " final", ""),
        (words.number(refused), _counted(refused, "update") + " refused", "bad" if refused else ""),
        (words.number(capped), _counted(capped, "update") + " capped", "warn" if capped else ""),
        (words.number(decisions), _counted(decisions, "decision") + " on record", ""),
    ]
    said = (chronicle.report or {}).get("evaluation")
    if said:
        label = f"right of {said['images']} held-out images, asked of the contract, as the run states"
        found.insert(0, (words.percent(said["chain_accuracy"]), label, ""))
    else:
        latest = next(
            (one for _, one in sorted(chronicle.rounds.items(), reverse=True) if one.accuracy), None
        )
        if latest is not None:
            found.insert(
                0, (words.percent(latest.accuracy), "right, as members state of their own tests", "")
            )
    return found


def _counted(count: int, name: str) -> str:
    """A noun as it stands after its number."""
    return name if count == 1 else f"{name}s"


def _update(chronicle: Chronicle, row: Any, told: RoundFacts) -> dict[str, Any]:
    label, reason = ("", "") if not row["reason"] else words.refusal(row["reason"])
    kind = "refused" if row["reason"] else "capped" if row["weight"] < row["examples"] else "counted"
    states = row["accuracy_ppm"] is not None and (row["accuracy_ppm"] or row["loss_micros"])
    return {
        "address": row["member"],
        "client": chronicle.clients.get(row["member"]),
        "kind": kind,
        "label": label,
        "reason": reason,
        "examples": row["examples"],
        "weight": row["weight"],
        "accuracy": row["accuracy_ppm"] / 1e6 if states else None,
        "epsilon": row["epsilon"] or 0.0,
        "share": (row["weight"] or 0) / told.weight if told.weight else 0.0,
    }


def _failures(chronicle: Chronicle, number: int) -> list[str]:
    for row in (chronicle.report or {}).get("rounds", ()):
        if row.get("round") == number:
            return [
                f"client {one['client']}: {one['failure']}"
                for one in row.get("members", ())
                if one.get("failure")
            ]
    return []


def _noisy(chronicle: Chronicle) -> bool:
    return bool(((chronicle.report or {}).get("privacy") or {}).get("in_sums"))


def _moment(seconds: int) -> str:
    return when(seconds).striptags()


def _whole_percent(share: float) -> str:
    return words.percent(share, 0)


def _large(value: float) -> str:
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.0f}"
