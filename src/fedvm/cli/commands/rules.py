"""`fedvm rules`: the rules that a federation's contract enforces, and how its owner changes them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fedvm.cli.commands.group import command_group
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.sending import Sending, sent_to_federation
from fedvm.cli.help import HelpfulCommand

GROUP = command_group("Look at a federation's rules, and change them after a notice (its owner).")

_ANNOUNCE_EPILOG = """Examples:

- `fedvm rules announce --set max_norm=5 --set round_seconds=600 --run runs/demo --dry-run` what would change

- `fedvm rules announce new-rules.toml --network NAME --federation 0x… --key-file owner.key`
"""

_EVIDENCE_EPILOG = """Examples:

- `fedvm rules evidence --verifier 0x… --data-set 7 --max-age 5760 --network NAME --federation 0x… --dry-run`

- `fedvm rules evidence --none --run runs/demo`
"""


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm rules show --network NAME --federation 0x…`")
@placed("federation")
def show(
    place: Place,
    as_json: JsonOption = False,
) -> None:
    """Show the rules in force, and beside them the announced ones and when they can be adopted.

    Names and units are those of a run's configuration (docs/configuration.md, [rules]). A client that
    pins the hash in its node config signs under no other rules.
    """
    from fedvm.chain.stored_evidence import StoredEvidenceContract
    from fedvm.cli.console import out
    from fedvm.federation.client.appointment import book_of
    from fedvm.pipeline.call_advice import utc
    from fedvm.pipeline.rule_units import rules_in_settings
    from fedvm.protocol.aggregators import aggregator_named
    from fedvm.protocol.security import longest_delay

    with place.opened(read_only=True) as run:
        contract = run.federation_contract
        rules, announced, owner = contract.rules(), book_of(contract).announced(), contract.owner()
        stored = StoredEvidenceContract.of(contract).rule()
        most = longest_delay(contract.security(), max(1, contract.member_count()), rules.elements)
    facts = {
        "rules": rules_in_settings(rules),
        "hash": "0x" + rules.digest().hex(),
        "owner": owner,
        "longest_delay_seconds": most,
        "evidence": stored and asdict(stored),
    }
    if as_json:
        coming = announced and {
            "rules": rules_in_settings(announced.rules),
            "hash": "0x" + announced.rules.digest().hex(),
            "adoptable_at": announced.adoptable_at,
            "adoptable_until": announced.adoptable_until,
        }
        print_json({**facts, "aggregator": "0x" + rules.aggregator.hex(), "announced": coming})
        return
    if announced is None:
        _print_table(("in force", facts["rules"]))
    else:
        _print_table(("in force", facts["rules"]), ("announced", rules_in_settings(announced.rules)))
        out().print(
            f"From {utc(announced.adoptable_at)} until {utc(announced.adoptable_until)} anyone can adopt them, between "
            "rounds: fedvm rules adopt",
            markup=False,
        )
    out().print(f"Aggregation: {aggregator_named(rules.aggregator).describe()}", markup=False)
    out().print(
        f"A proposal is final, or has fallen, {most:,} s after it was made at the latest, whatever others do.",
        markup=False,
    )
    if stored is not None:
        out().print(
            f"Evidence must lie in data set {', '.join(map(str, stored.data_sets))} of the PDP verifier "
            f"{stored.verifier}, proved at most {stored.max_age:,} epochs before.",
            markup=False,
        )
    out().print(f"Hash of the rules in force: {facts['hash']}\nOwner: {owner}", markup=False)


@GROUP.command(cls=HelpfulCommand, epilog=_ANNOUNCE_EPILOG)
@sent_to_federation(by_owner=True)
def announce(
    sending: Sending,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A TOML file whose [rules] are taken; or use --set.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A rule to change, named as in [rules]; repeat it.",
        ),
    ] = None,
) -> None:
    """Announce other rules; what is not named stays as it is. For the federation's owner.

    The new rules can be adopted between rounds, after the notice (`notice_seconds` of the federation). Until then the
    present rules hold, members can quit, and the owner can take the announcement back (`fedvm rules cancel`). A second
    announcement replaces the first, and the notice starts again. The size of the model and fraction_bits cannot change.
    """
    from fedvm.federation.settings import RULE_CHANGE
    from fedvm.pipeline import plans
    from fedvm.pipeline.config_file import load_rules, parse_assignment
    from fedvm.pipeline.rule_units import changed_rules, rules_in_settings

    if file is None and not assignments:
        raise typer.BadParameter(f"name a TOML file with [rules], or a change: --set {RULE_CHANGE}")
    given = dict(parse_assignment(_dotted(one)) for one in assignments or [])
    with sending.federation() as (contract, actor):
        present = contract.rules()
        wanted, stated = load_rules(file, given, rules_in_settings(present))
        rules = changed_rules(present, wanted, stated)
        old, new = rules_in_settings(present), rules_in_settings(rules)
        if not (sending.as_json or sending.spending.unsigned):
            _print_table(("in force", old), ("announced", new))
        changes = {key: {"old": old[key], "new": new[key]} for key in old if old[key] != new[key]}
        plan = plans.announce(contract, rules)
        sending.carry_out(actor, plan, changes=changes, hash="0x" + rules.digest().hex())


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm rules adopt --run runs/demo`")
@sent_to_federation(by_owner=True)
def adopt(sending: Sending) -> None:
    """Put the announced rules into force. Anyone may, between rounds, once their notice is over.

    From the next round on clients sign under the new rules. Clients that pin the hash of other rules refuse.
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.adopt(contract))


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm rules cancel --run runs/demo`")
@sent_to_federation(by_owner=True)
def cancel(sending: Sending) -> None:
    """Take the announced rules back, so that nobody can adopt them. For the federation's owner."""
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.cancel(contract))


@GROUP.command(cls=HelpfulCommand, epilog=_EVIDENCE_EPILOG)
@sent_to_federation(by_owner=True)
def evidence(
    sending: Sending,
    verifier: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The PDPVerifier of the network (docs/storage.md)."),
    ] = None,
    data_sets: Annotated[
        list[int] | None,
        typer.Option("--data-set", metavar="NUMBER", min=0, help="Where evidence may lie; repeat it."),
    ] = None,
    max_age: Annotated[
        int | None,
        typer.Option(metavar="EPOCHS", min=1, help="How old the last proof may be: 2880 a day on Filecoin."),
    ] = None,
    challenged: Annotated[
        bool,
        typer.Option(help="Take pieces only when proofs are asked of them, from the next proving period on."),
    ] = False,
    none: Annotated[bool, typer.Option("--none", help="Ask for no stored evidence any more.")] = False,
) -> None:
    """Ask that the evidence of each round is stored, and proved to be. For the federation's owner, between rounds.

    From the next round on the contract asks Filecoin's PDP verifier before it takes a result: is the data set that the
    coordinator names live, was it proved lately, and does it hold the named pieces? The coordinator stores them with
    the provider that `run.store` names (foc://HOST), and names them itself.
    """
    from fedvm.chain.stored_evidence import MAX_DATA_SETS, EvidenceRule
    from fedvm.federation.client.appointment import checked_address
    from fedvm.pipeline import plans

    named = sorted(set(data_sets or ()))
    if none:
        if verifier or named or max_age or challenged:
            raise typer.BadParameter("--none takes the rule back: leave the other options out")
        rule = None
    else:
        if verifier is None or not named or max_age is None:
            raise typer.BadParameter(
                "say --verifier, --data-set and --max-age; or --none to take the rule back"
            )
        if len(named) > MAX_DATA_SETS:
            raise typer.BadParameter(
                f"the contract lists {MAX_DATA_SETS} data sets at most, not {len(named)}"
            )
        rule = EvidenceRule(checked_address("verifier", verifier), max_age, challenged, tuple(named))
    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.require_evidence(contract, rule))


def _dotted(assignment: str) -> str:
    """`key=value` stands for `rules.key=value`."""
    return assignment if "." in assignment.partition("=")[0] else f"rules.{assignment}"


def _print_table(*columns: tuple[str, Any]) -> None:
    """The rules by their names, one column for each set of them; what differs is marked."""
    from rich.table import Table

    from fedvm.cli.console import out

    table = Table(box=None, pad_edge=False)
    table.add_column("rule")
    for title, _ in columns:
        table.add_column(title, justify="right")
    for key in columns[0][1]:
        values = [values[key] for _, values in columns]
        changed = any(value != values[0] for value in values)
        table.add_row(key, *map(str, values), *(["←"] if changed else []), style="bold" if changed else "")
    out().print(table)
