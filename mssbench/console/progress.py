"""Progress of a run on stderr: a bar in a terminal, or a line every ten seconds elsewhere."""

import threading
import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from mssbench.console.statuses import status_words
from mssbench.engines.events import Event, Finished, Killed, Ready, Started, Waiting
from mssbench.records import units
from mssbench.records.measurement import worst_status

# Seconds between two lines in a log: often enough to see that a run has not stopped, seldom enough
# that an hour fits on a few screens.
LINE_SECONDS = 10.0
# Seconds after which the elapsed time of a cell is shown, to explain why the bar does not move.
_LONG = 2.0


class RunProgress:
    """Show the progress of a run: its current cell, measurements done, time left, and statuses.

    A context manager, which is called with each event of the run. line_seconds: seconds between two
    lines if stderr is no terminal.
    """

    def __init__(self, console: Console, line_seconds: float = LINE_SECONDS) -> None:
        self._console = console
        self._statuses: dict[str, str] = {}  # by cell_id, of the latest pass
        self._counts: Counter[str] = Counter()  # of the values of _statuses
        self._waiting = ""
        self._said: set[str] = set()  # sentences on the user's files
        self._cell, self._begun = "", time.monotonic()
        self._elsewhere = ""  # what is going on, if the cells are not measured by this process

        self._done, self._total = 0, 0
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._lines = threading.Thread(target=self._print_lines, args=(line_seconds,), daemon=True)

        self._progress = Progress(
            TextColumn("{task.fields[counts]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            _CellColumn(self),
            expand=True,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, counts="starting")

    def __enter__(self) -> "RunProgress":
        self._progress.start()
        if not self._console.is_terminal:
            self._lines.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _tb: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._lines.ident is not None:
            self._lines.join()
        self._progress.stop()

    def begin(self, todo: int) -> None:
        """Set the number of measurements: cells times passes, as each pass measures every cell."""
        self._total = todo
        self._progress.update(self._task, total=todo)

    def __call__(self, event: Event) -> None:
        """Show an event of the run."""
        if isinstance(event, Waiting) and event.holder != self._waiting:
            self._waiting = event.holder
            self._console.print(
                f"waiting for {event.holder}, which measures on this {event.device}", markup=False
            )
        elif isinstance(event, Ready):
            for sentence in event.undone:
                if sentence not in self._said:  # a later worker imports the files again
                    self._said.add(sentence)
                    self._console.print(sentence, style="yellow", markup=False, soft_wrap=True)
        elif isinstance(event, Killed):
            again = "its cell is measured again" if event.in_cell else "it was measuring no cell"
            self._console.print(
                f"The worker was killed by {event.how}; {again}.",
                style="yellow",
                markup=False,
                soft_wrap=True,
            )
        elif isinstance(event, Started):
            self._cell, self._begun = str(event.cell), time.monotonic()
        elif isinstance(event, Finished):
            status = str(event.status or worst_status(event.rows))
            before = self._statuses.get(event.cell.cell_id)
            if before is not None:
                self._counts[before] -= 1
            self._statuses[event.cell.cell_id] = status
            self._counts[status] += 1
            self._done += 1
            words = status_words(+self._counts).markup
            self._progress.update(self._task, advance=1, counts=words)

    def say(self, elsewhere: str) -> None:
        """Set what is going on where the cells are measured, if this process does not do it."""
        self._elsewhere = elsewhere

    def now(self) -> str:
        """Return the cell that is being measured, with its elapsed time if that is long.

        Before the first cell, return what the run is waiting for. If the cells are not measured by
        this process, return what `say` was told.
        """
        if self._elsewhere:
            return self._elsewhere
        if not self._cell:
            return f"waiting for {self._waiting}" if self._waiting else "starting a worker"
        seconds = time.monotonic() - self._begun
        return f"{self._cell} ({units.duration(seconds)})" if seconds > _LONG else self._cell

    def _print_lines(self, every: float) -> None:
        """Print a line of progress every so many seconds, until the run ends."""
        while not self._ended.wait(every):
            if self._total:
                passed = units.duration(time.monotonic() - self._started)
                self._console.print(
                    f"{passed}: {self._done} of {self._total} measurements; now {self.now()}",
                    markup=False,
                    soft_wrap=True,
                )


class _CellColumn(ProgressColumn):
    """The column of the cell that is being measured, which rich redraws several times a second."""

    def __init__(self, run: RunProgress) -> None:
        super().__init__(table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
        self._run = run

    def render(self, task: Task) -> Text:  # noqa: ARG002  (the signature is that of rich)
        """Return what is being measured now."""
        return Text(self._run.now(), style="dim")
