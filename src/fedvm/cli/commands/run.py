"""`fedvm run`: data, federation, compilation, deployment, check, report."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import needed_endpoint
from fedvm.cli.commands.signing import Signing
from fedvm.cli.commands.spending import PriceOption, YesOption, spend
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
    yes: YesOption = False,
    price: PriceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model among clients under a contract's rules, compile it to EVM code, deploy it and check it.

    CONFIG is a TOML file such as examples/demo.toml; flags override it. Without one 16 honest clients learn
    digits (MNIST-5k) on the embedded chain. Everything is written to the run directory: chain, store, model, program,
    report, and `site/`, the pages of the run for any browser.
    """
    overrides = dict(ctx.obj) | dict(_assigned(assignments))
    if from_chain is not None and not resume:
        raise typer.BadParameter("--from-chain goes on with a run: give --resume, too")
    _run(config, overrides, _Going(resume, from_chain), as_json, {"yes": yes, "price": price})


@dataclass(frozen=True)
class _Going:
    """Whether a run goes on, and from which federation if its directory is lost."""

    resume: bool
    from_chain: str | None


def _assigned(assignments: list[str] | None) -> list[tuple[str, Any]]:
    from fedvm.pipeline.config_file import parse_assignment

    return [parse_assignment(assignment) for assignment in assignments or []]


def _payer(config: RunConfig, resume: bool, asked: dict[str, Any]) -> LocalAccount | None:
    """The account that pays for the run on a network, after it was said what federation and rounds cost."""
    if config.network.is_embedded:
        return None
    from fedvm.chain.costs import PlannedStep, rounds_step
    from fedvm.chain.factory import founding_steps
    from fedvm.chain.networks import network_of
    from fedvm.pipeline.ground import require_suitable

    payer, count = Signing(config.network.account).load(), config.data.clients
    if resume:
        return payer
    name = None if config.network.name == "embedded" else config.network.name
    w3 = needed_endpoint(name, config.network.rpc).connect()
    require_suitable(config, network_of(w3))
    founding = founding_steps(w3, str(payer.address), count, sealed=bool(config.sealed.group_size))
    steps = [PlannedStep(one) for one in (*founding, rounds_step(config.federation.rounds, count))]
    what = "A federation and its rounds, without the model's deployment,"
    spend(what, steps, w3, str(payer.address), dry_run=False, as_json=False, **asked)
    return payer


def _run(
    path: Path | None, overrides: dict[str, Any], going: _Going, as_json: bool, asked: dict[str, Any]
) -> None:
    from fedvm.cli.console import Interrupted
    from fedvm.cli.progress import RunDisplay
    from fedvm.cli.summary import print_summary
    from fedvm.cli.terminal import command_line
    from fedvm.federation.client.appointment import checked_address
    from fedvm.pipeline.config_file import load_config
    from fedvm.pipeline.resume import resumed_config
    from fedvm.rundir.layout import RunDirectory

    has_directory = going.resume and going.from_chain is None
    config = resumed_config(path, overrides) if has_directory else load_config(path, overrides)
    federation = None if going.from_chain is None else checked_address("federation", going.from_chain)

    from fedvm.pipeline.run import run_all
    from fedvm.rundir.target import Target
    from fedvm.web.export import export

    account = _payer(config, going.resume, asked)

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
