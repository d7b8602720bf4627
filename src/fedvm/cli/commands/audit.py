"""`fedvm audit`: replay everything and name what does not follow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed

if TYPE_CHECKING:
    from rich.console import Console

    from fedvm.audit.findings import AuditReport


@placed("federation", "service", stored=True)
def audit(
    place: Place,
    since: Annotated[
        int, typer.Option(min=1, help="Compute again from this round on; events are replayed from the first.")
    ] = 1,
    rounds: Annotated[
        list[int] | None, typer.Option("--round", min=1, help="Compute these rounds alone again; repeat it.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", dir_okay=False, help="Write the report as JUnit XML, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay a run from its chain and its store alone, and name everything that does not follow.

    Signatures, membership, the contract's verdicts, weights, norms, aggregate and model of every round; the
    ONNX file, the integer ONNX and the code that compiling it again gives; every recorded decision. Events are held
    against receipts and headers of their blocks, and against what the contracts say now. Of a run's directory the
    program's files are compared, too. What is false and what is missing are told apart. Exit status 1 when something
    was found. Example counts and validation figures are attested by members: an audit cannot prove them.
    """
    from fedvm.audit.junit import to_junit
    from fedvm.audit.replay import audit as replay
    from fedvm.audit.run_files import RunFiles
    from fedvm.audit.scope import Scope
    from fedvm.cli.console import err, out
    from fedvm.cli.progress import CountDisplay
    from fedvm.cli.status import FAILURE
    from fedvm.files import write_atomically

    with place.opened() as run, CountDisplay(err()) as display:
        at = run.deployment
        report = replay(
            run.w3,
            run.store,
            federation=at.federation,
            service=at.service,
            first_block=at.block,
            files=RunFiles(run.path, at.program) if run.path is not None and at.program else None,
            scope=Scope(since, tuple(rounds or ())),
            progress=display.progress,
        )

    if junit is not None:
        write_atomically(junit, to_junit(report))
    if as_json:
        print_json(report.to_json())
    else:
        _show(report, out())
    if not report.clean:
        raise typer.Exit(FAILURE)


def _show(report: AuditReport, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from fedvm.audit.findings import CHECKS, Nature
    from fedvm.cli.terminal import printable

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
    for what, named in (("federation", report.federation), ("service", report.service)):
        if not named:
            console.print(f"[yellow]No {what}[/] is named, so none was audited.")
    if not report.has_headers:
        console.print("[dim]Blocks' headers hold no events here: these were held against receipts alone.[/]")
    for finding in report.findings:
        colour = "red" if finding.nature is Nature.FALSE else "yellow"
        title = f"✗ {finding.check}: {finding.nature}"
        console.print(f"[bold {colour}]{title}[/]  {escape(printable(str(finding.place)))}")
        console.print(f"  {escape(printable(finding.message))}")
    if report.clean:
        console.print(f"[bold green]Nothing found[/] in {sum(report.passed.values())} checks.")
    else:
        counts = ", ".join(f"{report.of_nature(nature)} {nature}" for nature in Nature)
        console.print(f"[bold red]{len(report.findings)} findings[/]: {counts}.")


COMMAND = Command(
    "audit",
    audit,
    (
        ("fedvm audit --run runs/demo", ""),
        ("fedvm audit --run runs/demo --json > audit.json", ""),
        ("fedvm audit --run runs/demo --since 40 --junit audit.xml", "what came since, for a CI system"),
        ("fedvm audit --run copy --store blocks", "with artefacts that `fedvm fetch` took from a file"),
        (
            "fedvm audit --network filecoin-calibration --federation 0x… --store blocks",
            "on a network, without a run's directory",
        ),
    ),
)
