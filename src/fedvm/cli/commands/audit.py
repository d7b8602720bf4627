"""`fedvm audit`: replay everything and name what does not follow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.federation_options import FederationOption, RpcOption, ServiceOption
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.recorded import AuditStores, FirstBlock, opened_record


def audit(
    run: Annotated[
        Path | None, typer.Option("--run", help="Directory with deployment.json, chain and store.")
    ] = None,
    rpc: RpcOption = None,
    federation: FederationOption = None,
    service: ServiceOption = None,
    stores: AuditStores = None,
    first_block: FirstBlock = 0,
    as_json: JsonOption = False,
) -> None:
    """Replay a run from its chain and its store alone, and name everything that does not follow.

    Signatures, membership, the contract's verdicts, weights, norms, aggregate and model of every round; the
    ONNX file, the integer ONNX and the code that compiling it again gives; every recorded decision. Exit
    status 1 when something was found. Example counts and validation figures are attested by members: an audit
    cannot prove them.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from fedvm.audit.findings import CHECKS, AuditReport
    from fedvm.audit.replay import audit as replay
    from fedvm.cli.console import err, out
    from fedvm.cli.progress import CountDisplay
    from fedvm.cli.status import FAILURE

    with (
        opened_record(run, rpc, federation, service, stores, first_block) as at,
        CountDisplay(err()) as display,
    ):
        report: AuditReport = replay(
            at.w3,
            at.store,
            federation=at.federation,
            service=at.service,
            first_block=at.first_block,
            progress=display.progress,
        )

    def show(console: Console) -> None:
        table = Table(box=None, pad_edge=False)
        table.add_column("check")
        table.add_column("held", justify="right")
        table.add_column("failed", justify="right")
        table.add_column("what it says", style="dim")
        for name, held, failed in report.rows():
            mark = f"[bold red]{failed}[/]" if failed else "[dim]0[/]"
            table.add_row(name, str(held), mark, CHECKS[name])
        console.print(table)
        if report.aggregation:
            console.print(f"[dim]aggregation:[/] {escape(report.aggregation)}")
        if report.gated is False:
            console.print(
                "[yellow]No gate[/]: versions serve because their owner registered them, whatever their accuracy."
            )
        for finding in report.findings:
            console.print(f"[bold red]✗ {finding.check}[/]  {escape(str(finding.place))}")
            console.print(f"  {escape(finding.message)}")
        if report.clean:
            console.print(f"[bold green]Nothing found[/] in {sum(report.passed.values())} checks.")
        else:
            console.print(f"[bold red]{len(report.findings)} findings.[/]")

    if as_json:
        print_json(report.to_json())
    else:
        show(out())
    if not report.clean:
        raise typer.Exit(FAILURE)


COMMAND = Command(
    "audit",
    audit,
    (
        ("fedvm audit --run runs/demo", ""),
        ("fedvm audit --run runs/demo --json > audit.json", ""),
        ("fedvm audit --run copy --store blocks", "with artefacts that `fedvm fetch` took from a file"),
        (
            "fedvm audit --rpc filecoin-calibration --federation 0x… --store blocks",
            "on a network, without a run's directory",
        ),
    ),
)
