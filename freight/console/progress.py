"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from freight.pipeline import UnitOutcome
from freight.terminal import PlainConsole
from freight.words import counted


@contextmanager
def progress(files: int, console: Console | None = None) -> Iterator[Callable[[UnitOutcome], None]]:
    """Show the number of finished files; yields a function to call with each outcome."""
    console = console or PlainConsole()
    if not console.is_terminal:
        yield _PlainLines(console, files).show
        return
    columns = (
        TextColumn("Loading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),  # a name from outside
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=files)
        yield lambda outcome: bar.update(task, advance=1, description=outcome.location)


class _PlainLines:
    def __init__(self, console: Console, files: int) -> None:
        self._console, self._files, self._done = console, files, 0

    def show(self, outcome: UnitOutcome) -> None:
        """Print one line for a finished file."""
        self._done += 1
        text = (
            f"[{self._done}/{self._files}] {outcome.location}: {outcome.state}, {counted(outcome.counts.read, 'row')}"
        )
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
