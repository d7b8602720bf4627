"""`fedvm run`: data, federation, compilation, deployment, check, report."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import actor_of
from fedvm.cli.commands.places import needed_endpoint
from fedvm.cli.commands.spending import DryRunOption, PriceOption, Spending, YesOption, spend
from fedvm.cli.setting_flags import SettingsCommand

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from fedvm.pipeline.config import RunConfig


def run(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file such as examples/demo.toml; flags override it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    from_chain: Annotated[
        str | None,
        typer.Option(
            "--from-chain",
            metavar="ADDRESS",
            help="With --resume, where the run's directory is lost: the run's federation, from which, with its --store "
            "and the run's file and flags, the directory is made again in --out.",
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE",
            help="Any setting (`fedvm settings` lists them), e.g. --set adversaries.3=bad_signature.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    price: PriceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model among clients under a contract's rules, compile it to EVM code, deploy it and check it.

    CONFIG is a TOML file such as examples/demo.toml; flags override it. Without one 16 honest clients learn
    digits (MNIST-5k) on the embedded chain. Everything is written to the run directory: chain, store, model, program,
    report, and `site/`, the pages of the run for any browser.

    On a network --dry-run says what the federation and its rounds cost. A run reacts to what happens on the chain, so
    it needs a key; a wallet that has none here can own the federation (`fedvm create --unsigned`).
    """
    overrides = dict(ctx.obj) | dict(_assigned(assignments))
    if from_chain is not None and not resume:
        raise typer.BadParameter("--from-chain goes on with a run: give --resume, too")
    asked = {"dry_run": dry_run, "yes": yes, "price": price}
    _run(config, overrides, _Going(resume, from_chain), as_json, asked)


@dataclass(frozen=True)
class _Going:
    """Whether a run goes on, and from which federation if its directory is lost."""

    resume: bool
    from_chain: str | None


def _assigned(assignments: list[str] | None) -> list[tuple[str, Any]]:
    from fedvm.pipeline.config_file import parse_assignment

    return [parse_assignment(assignment) for assignment in assignments or []]


def _on_network(
    config: RunConfig, going: _Going, stated: Collection[str], asked: dict[str, Any]
) -> tuple[RunConfig, LocalAccount | None]:
    """For a run on a network, its configuration with windows that suit the network, and the account that pays, after it
    was said what federation and rounds cost. stated: the settings that somebody stated."""
    if config.network.is_embedded:
        if asked["dry_run"]:
            raise typer.BadParameter(
                "the embedded chain costs nothing: name a --network to see what a run costs"
            )
        return config, None
    from fedvm.chain.costs import PlannedStep, rounds_step
    from fedvm.chain.factory import founding_steps
    from fedvm.chain.networks import network_of
    from fedvm.cli.console import err
    from fedvm.pipeline.ground import require_suitable
    from fedvm.pipeline.network_times import suited

    if going.resume and asked["dry_run"]:
        raise typer.BadParameter("what is left of a run is not priced: leave --dry-run or --resume away")
    actor = actor_of(Spending(account=config.network.account, dry_run=asked["dry_run"]))
    if going.resume and going.from_chain is None:
        return config, actor.account
    count = config.data.clients
    name = None if config.network.name == "embedded" else config.network.name
    w3 = needed_endpoint(name, config.network.rpc).connect()
    config = suited(config, network_of(w3), stated)
    if going.from_chain is not None:
        return config, actor.account
    notes = require_suitable(config, network_of(w3))  # the run itself says them, too, if it is begun
    for line in notes if asked["dry_run"] else ():
        err().print(line, style="dim", markup=False)
    founding = founding_steps(w3, actor.address, count, sealed=bool(config.sealed.group_size))
    steps = [PlannedStep(one) for one in (*founding, rounds_step(config.federation.rounds, count))]
    what = "A federation and its rounds, without the model's deployment,"
    if not spend(what, steps, w3, actor.address, **asked):
        raise typer.Exit
    return config, actor.account


def _run(
    path: Path | None, overrides: dict[str, Any], going: _Going, as_json: bool, asked: dict[str, Any]
) -> None:
    from fedvm.cli.console import Interrupted
    from fedvm.cli.progress import RunDisplay
    from fedvm.cli.summary import print_summary
    from fedvm.cli.terminal import command_line
    from fedvm.federation.client.appointment import checked_address
    from fedvm.pipeline.config_file import load_config, stated_keys
    from fedvm.pipeline.resume import resumed_config
    from fedvm.rundir.layout import RunDirectory

    has_directory = going.resume and going.from_chain is None
    config = resumed_config(path, overrides) if has_directory else load_config(path, overrides)
    federation = None if going.from_chain is None else checked_address("federation", going.from_chain)

    from fedvm.pipeline.run import run_all
    from fedvm.rundir.target import Target
    from fedvm.web.export import export

    stated = stated_keys(path, overrides)
    config, account = _on_network(config, going, stated, {**asked, "as_json": as_json})

    logging.getLogger("flwr").setLevel(logging.WARNING)  # its log lines would break up the table of rounds
    with RunDisplay() as display:
        try:
            report = run_all(
                config, resume=going.resume, from_chain=federation, observer=display, account=account
            )
            display.step("Writing the pages")
            export(Target(run=config.out), RunDirectory(config.out).site)
        except (KeyboardInterrupt, OSError, sqlite3.OperationalError) as error:
            again = command_line("fedvm", "run", "--out", config.out, "--resume")
            hint = f"Nothing is lost. Continue with: {again}" if RunDirectory(config.out).started else ""
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(hint) from None
            error.add_note(hint)  # for the message about a full disk
            raise
    if as_json:
        print_json({"directory": str(config.out), **report.to_json()})
    else:
        print_summary(report, config.out)


COMMAND = Command(
    "run",
    run,
    (
        ("fedvm run", "16 clients learn digits"),
        ("fedvm run examples/demo.toml --out runs/a", "two of the 16 misbehave"),
        ("fedvm run --dataset cifar10 --data DIR --rounds 5 --baseline", "your own copy of CIFAR-10"),
        ("fedvm run --alpha 0.3 --max-examples 400", "uneven data, and a cap on one client's say"),
        ("fedvm run my.toml --network filecoin-calibration --account me", "on a network"),
        ("fedvm run --out runs/a --resume", "go on after Ctrl-C or a crash"),
        (
            "fedvm run my.toml --resume --from-chain 0x… --network filecoin-calibration --account me --store https://…",
            "on another machine, the run's directory being lost",
        ),
    ),
    kind=SettingsCommand,
)
