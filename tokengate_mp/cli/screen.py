"""Tables and progress, drawn with rich.

Nothing here runs a thread of its own: what is shown changes when it is told to, between two
measurements or from the event loop, and never while one is under way.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

PIPE_WIDTH: Final = 120
"""Columns where there is no terminal to say how many it has: no table is folded in a log file."""

_STEPS: Final = 200
"""How often a bar is drawn on its way."""


def make_console() -> Console:
    """Return a console for standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    return console


def headline(console: Console, text: str) -> None:
    """Print a table's title by itself: rich would fold a title to the table's width."""
    console.print(Text(text, style="bold"))


def make_table(
    columns: Sequence[str], lines: Iterable[Sequence[str]] = (), *, left: int = 1
) -> Table:
    """Return a table of texts; all but the first `left` columns are aligned to the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_header=any(columns))
    for place, column in enumerate(columns):
        # Where there is no room a cell goes on below: a figure that is cut off would be wrong.
        table.add_column(column, justify="left" if place < left else "right", overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


class Growing:
    """A table that grows line by line, with a line below for the work under way."""

    def __init__(self, table: Table, live: Live | None) -> None:
        self._table, self._live = table, live

    def add(self, cells: Sequence[str | Text]) -> None:
        """Append a line."""
        self._table.add_row(*cells)
        self.say("")

    def say(self, what: str) -> None:
        """Show the work under way; an empty text clears the line."""
        if self._live is not None:
            shown = Group(self._table, Text(what, style="dim")) if what else self._table
            self._live.update(shown, refresh=True)


@contextmanager
def growing(console: Console, table: Table) -> Generator[Growing]:
    """Show `table` as it grows during the block; without a terminal, once at the end.

    In either case it shows what it has got if the block ends in an error.
    """
    if not console.is_terminal:
        try:
            yield Growing(table, None)
        finally:
            console.print(table)
        return
    with Live(table, console=console, auto_refresh=False) as live:
        shown = Growing(table, live)
        try:
            yield shown
        finally:
            shown.say("")


class Bar:
    """A progress bar; without a terminal nothing is drawn."""

    def __init__(self, progress: Progress, total: float) -> None:
        self._progress, self._total = progress, total
        self._task = progress.add_task("", total=total)
        self._step, self._completed, self._shown = total / _STEPS, 0.0, 0.0

    def advance(self, by: float) -> None:
        """Go on by that much."""
        self.reach(self._completed + by)

    def reach(self, completed: float) -> None:
        """Go to that point."""
        self._completed = completed
        if completed - self._shown >= self._step:
            self._shown = completed
            self._progress.update(self._task, completed=min(completed, self._total), refresh=True)


@contextmanager
def bar(console: Console, what: str, total: float, *, counted: bool = True) -> Generator[Bar]:
    """Show a bar for the length of the block, with its count unless `counted` is False."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        *((MofNCompleteColumn(),) if counted else ()),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,
        disable=not console.is_terminal,
    ) as progress:
        yield Bar(progress, total)


def mark(text: str, *, good: bool) -> Text:
    """Return `text` with the sign and colour of good or bad."""
    return Text(f"{'✓' if good else '✗'} {text}", style="green" if good else "bold red")
