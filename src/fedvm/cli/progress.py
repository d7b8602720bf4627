"""A run on the console: one line per step, a bar while something is counted, a table row per round."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fedvm.cli.console import ROUND_HEADER, err, round_lines
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.events import Observer
from fedvm.pipeline.heartbeat import heartbeat
from fedvm.pipeline.results import RoundRow

if TYPE_CHECKING:
    from fedvm.pipeline.onnx_model import Prepared, Request


class RunDisplay(Observer):
    """Prints a run's progress to standard error; the bar is drawn on a terminal only and removed when it is full."""

    def __init__(self) -> None:
        self._console = err()
        self._progress = _bar(self._console)
        self._task: TaskID | None = None
        self._what = ""
        self._header_shown = False
        self._begun = time.monotonic()

    def __enter__(self) -> RunDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop_bar()
        self._progress.stop()

    def started(self, config: RunConfig, resumed: bool) -> None:
        verb = "Resuming" if resumed else "Run"
        self._console.print(
            f"[bold]{verb} {config.run.name}[/] in {config.out}, seed {config.run.seed}", highlight=False
        )

    def step(self, title: str) -> None:
        self._drop_bar()
        self._console.print(f"[bold cyan]▸[/] {title} [dim]{time.monotonic() - self._begun:.0f} s[/]")

    def note(self, text: str) -> None:
        self._console.print(f"  {text}", markup=False)

    def progress(self, what: str, done: int, total: int) -> None:
        if self._task is None or what != self._what:
            self._drop_bar()
            self._task, self._what = self._progress.add_task(what, total=total), what
        self._progress.update(self._task, completed=done)
        if done >= total:
            self._drop_bar()

    def round_done(self, row: RoundRow, total: int) -> None:
        self._drop_bar()
        if not self._header_shown:
            self._console.print(ROUND_HEADER, style="dim")
            self._header_shown = True
        for line in round_lines(row):
            self._console.print(line)

    def _drop_bar(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


class CountDisplay:
    """A bar for whatever is counted; drawn on a terminal only, gone when it ends."""

    def __init__(self, console: Console) -> None:
        self._progress = _bar(console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> CountDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        """`done` of `total` units of `what` are finished."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)


class _Words(Observer):
    """Prints notes to standard error."""

    def note(self, text: str) -> None:
        err().print(text, style="dim", markup=False)


def prepare_aloud(request: Request) -> Prepared:
    """Compile a user's model, and print from time to time that this continues. Raises what
    `fedvm.pipeline.onnx_model.prepare` raises."""
    from fedvm.pipeline.onnx_model import prepare

    with heartbeat(_Words(), f"compiling {request.model}"):
        return prepare(request)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
