"""The application: its commands, in the order in which a newcomer needs them."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.main import get_command

from fedvm.cli import commands
from fedvm.cli.commands import account, coordinator, flower, keys, members, networks, rules, service
from fedvm.cli.help import HelpfulGroup

_app = typer.Typer(
    name="fedvm",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    cls=HelpfulGroup,
    suggest_commands=False,  # click suggests by itself
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        import fedvm

        typer.echo(f"fedvm {fedvm.__version__}")
        raise typer.Exit


@_app.callback(epilog="Start with `fedvm run`, then try `fedvm audit --run runs/mnist`.")
def root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. May stand anywhere.")
    ] = False,
) -> None:
    """Federated learning whose rules a contract enforces and whose model a contract runs."""


for command in commands.ALL:
    _app.command(command.name, cls=command.kind, epilog=command.epilog())(command.function)
for name, group in (
    ("flower", flower.GROUP),
    ("keys", keys.GROUP),
    ("members", members.GROUP),
    ("rules", rules.GROUP),
    ("coordinator", coordinator.GROUP),
    ("service", service.GROUP),
    ("networks", networks.GROUP),
    ("account", account.GROUP),
):
    _app.add_typer(group, name=name)

# What Typer would make of it anew at each call.
app = get_command(_app)
