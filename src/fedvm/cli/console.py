"""How commands print: colour on a terminal only, messages on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from fedvm.pipeline.results import RoundRow


class Interrupted(Exception):
    """Ctrl-C in a command; the text says how to continue, or is empty."""


ROUND_HEADER = (
    f"{'round':>5} {'sampled':>7} {'accepted':>8} {'refused':>7} {'failed':>6} "
    f"{'loss':>7} {'accuracy':>8} {'seconds':>7} {'gas':>11}"
)


def out() -> Console:
    """Standard output: results."""
    return _console(stderr=False)


def err() -> Console:
    """Standard error: messages and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    # Lines in a file are not wrapped, so that they can be searched.
    return (
        console if console.is_terminal else Console(stderr=stderr, highlight=False, soft_wrap=True, width=200)
    )


def show_interrupt(what: str, hint: str) -> None:
    """Ctrl-C or SIGTERM, with what to do next if there is something."""
    err().print(f"\n[bold yellow]{what}[/]" + (f" {escape(hint)}" if hint else ""))


def round_lines(row: RoundRow) -> list[str]:
    """The console's line for a round, then a line for each update that was capped, refused or missing."""
    loss = "–" if row.test_loss is None else f"{row.test_loss:.4f}"
    accuracy = "–" if row.test_accuracy is None else f"{row.test_accuracy:.1%}"
    seconds = "–" if row.seconds is None else f"{row.seconds:.1f}"
    lines = [
        f"{row.round:>5} {len(row.members):>7} {len(row.accepted):>8} {len(row.refused):>7} "
        f"{len(row.failures):>6} {loss:>7} {accuracy:>8} {seconds:>7} {sum(row.gas.values()):>11,}"
        + ("" if row.final else "  [red]failed: no quorum[/]")
    ]
    for member in row.members:
        who = f"client {member.client} ({member.member[:8]}…)"
        if member.failure:
            lines.append(f"      [red]failed[/]  {who}: {escape(member.failure)}")
        elif member.refused:
            lines.append(f"      [red]refused[/] {who}: {member.refused}")
        elif member.capped:
            lines.append(
                f"      [yellow]capped[/]  {who}: states {member.examples:,} examples, "
                f"counts {member.weight:,}"
            )
    return lines
