"""Live progress of a run on stderr; silent where stderr is no terminal."""

from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from mssbench.console.statuses import status_words
from mssbench.engines.events import Event, Finished, Started, Waiting
from mssbench.records.measurement import worst_status


class RunProgress:
    """Current cell, done of total, time left, counts by status. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._statuses: dict[str, str] = {}  # by cell, in its latest pass
        self._waiting = ""
        self._progress = Progress(
            TextColumn("{task.fields[counts]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn(
                "{task.fields[cell]}",
                style="dim",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            expand=True,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, counts="starting", cell="")

    def __enter__(self) -> "RunProgress":
        self._progress.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _tb: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, todo: int) -> None:
        """How many measurements there will be: cells times passes."""
        self._progress.update(self._task, total=todo)

    def __call__(self, event: Event) -> None:
        """Show what happened."""
        if isinstance(event, Waiting) and event.holder != self._waiting:
            self._waiting = event.holder
            self._console.print(
                f"waiting for {event.holder}, which measures on this {event.device}"
            )
        elif isinstance(event, Started):
            self._progress.update(self._task, cell=str(event.cell))
        elif isinstance(event, Finished):
            status = str(event.status or worst_status(event.rows))
            self._statuses[event.cell.cell_id] = status
            words = status_words(Counter(self._statuses.values())).markup
            self._progress.update(self._task, advance=1, counts=words)
