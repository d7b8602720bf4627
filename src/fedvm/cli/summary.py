"""The figures a run ends with."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from fedvm.cli.console import out
from fedvm.cli.terminal import command_line
from fedvm.pipeline.results import RunReport
from fedvm.rundir.layout import RunDirectory


def print_summary(report: RunReport, directory: Path) -> None:
    """Accuracies, gas, digests and where to go from here, on standard output."""
    evaluation, gas, model = report.evaluation, report.gas, report.model
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(no_wrap=False, overflow="fold")
    trained = "integers (PyTorch)" if model.quantization_aware else "floating point"
    table.add_row(f"accuracy, {trained}", f"{evaluation.float_accuracy:.1%}")
    table.add_row("accuracy, integers (ONNX Runtime)", f"{evaluation.integer_accuracy:.1%}")
    table.add_row(
        "accuracy, on chain",
        f"[bold]{evaluation.chain_accuracy:.1%}[/] of {evaluation.images} held-out images",
    )
    colour = "red" if evaluation.mismatches else "green"
    table.add_row("scores unlike ONNX Runtime's", f"[{colour}]{evaluation.mismatches}[/]")
    if report.baseline is not None:
        table.add_row("baseline, all data in one place", f"{report.baseline.all_data[-1]:.1%}")
        alone = report.baseline.alone_at(-1)
        spread = f"{alone.mean:.1%} on average, {alone.lowest:.1%} to {alone.highest:.1%}"
        table.add_row("baseline, each client alone", spread)
    table.add_row("gate", _gate(report))
    table.add_row("gas, one prediction by the network alone", f"[bold]{gas.predict:,}[/]")
    table.add_row("gas, deploying the program", f"{gas.program_deploy:,} in {len(model.parts)} contracts")
    table.add_row("gas, all rounds", f"{gas.rounds:,}")
    table.add_row("Filecoin gas, one prediction (estimate)", f"{gas.filecoin_predict_estimate:,}")
    table.add_row("aggregation", escape(report.aggregation))
    table.add_row("updates capped / refused", f"{_capped(report)} / {_refused(report)}")
    console = out()
    sample = next(iter(sorted((directory / "images").glob("*.png"))), "IMAGE")
    console.print()
    console.print(table)
    # Printed outside the table, which would wrap them on a narrow terminal, so that they could not be copied.
    console.print(f"[dim]model root  [/] {model.model_root}")
    console.print(f"[dim]ModelService[/] {report.chain.service}")
    page = RunDirectory(directory).site / "index.html"
    console.print(f"\nOpen [bold]{escape(str(page))}[/]. Then:")
    for words in (
        ("web", "--run", directory, "--open"),
        ("predict", sample, "--run", directory),
        ("audit", "--run", directory),
    ):
        console.print("  " + command_line("fedvm", *words), markup=False)


def _gate(report: RunReport) -> str:
    gate = report.gate
    if gate is None:
        return "[yellow]none[/]: the version serves because its owner registered it"
    return (
        f"[green]passed[/], {gate.right} of {gate.asked} drawn samples right "
        f"({gate.fail_accuracy:.0%} would pass with probability {gate.alpha:.1%} at most)"
    )


def _capped(report: RunReport) -> int:
    return sum(member.capped for row in report.rounds for member in row.members)


def _refused(report: RunReport) -> int:
    return sum(len(row.refused) for row in report.rounds)
