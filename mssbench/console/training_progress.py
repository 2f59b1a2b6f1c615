"""Progress of trainings on stderr: a bar in a terminal, or a line for each training elsewhere."""

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from mssbench.records import units
from mssbench.records.measurement import Status
from mssbench.records.training import TrainingCell

# Seconds without a line after which a line says that a long training goes on, where there is no
# bar: seldom enough that an hour fits on a screen or two.
SILENCE = 60.0


class TrainingProgress:
    """Show which networks are being trained, and how each training ended.

    A context manager, which is called with each epoch and each end of a training, from the thread
    of that training. silence: see `SILENCE`.
    """

    def __init__(self, console: Console, silence: float = SILENCE) -> None:
        self._console, self._silence = console, silence
        self._lock = threading.Lock()
        self._last_line = time.monotonic()
        self._done, self._total = 0, 0
        self._progress = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn(
                "{task.description}",
                style="dim",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            expand=True,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> "TrainingProgress":
        self._progress.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _tb: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, todo: int, there: int) -> None:
        """Say how many networks will be trained, and how many trainings were there already."""
        self._total = todo
        self._progress.update(self._task, total=todo)
        what = f"{units.count(todo, 'network')} to train" if todo else "nothing left to train"
        before = f"; {there} are there already" if there else ""
        self._print(f"{what}{before}")

    def say(self, elsewhere: str) -> None:
        """Show what is going on on a cluster, if the networks are trained there."""
        with self._lock:
            self._progress.update(self._task, description=elsewhere)
            silent = time.monotonic() - self._last_line > self._silence
            if elsewhere and silent and not self._console.is_terminal:
                self._print(elsewhere)

    def __call__(self, cell: TrainingCell, message: Mapping[str, Any]) -> None:
        """Show an epoch of a training, or its end."""
        with self._lock:
            if "status" in message:
                self._end(cell, message)
            else:
                self._epoch(cell, message)

    def _epoch(self, cell: TrainingCell, epoch: Mapping[str, Any]) -> None:
        words = f"{name_of(cell)}: epoch {epoch['epoch']} of {cell.epochs}, {_outcome([epoch])}"
        self._progress.update(self._task, description=words)
        silent = time.monotonic() - self._last_line > self._silence
        if silent and not self._console.is_terminal:
            self._print(words)

    def _end(self, cell: TrainingCell, result: Mapping[str, Any]) -> None:
        status = result["status"]
        if status == Status.INTERRUPTED:
            return
        self._done += 1
        self._progress.update(self._task, advance=1)
        epochs = result.get("epochs", ())
        parts = [_outcome(epochs)] if epochs else []
        if status != Status.OK:
            parts.append(": ".join(filter(None, [str(status), str(result.get("reason", ""))])))
        number = f"{self._done} of {self._total}"
        # A terminal has the bar: only what went wrong stays on it.
        if status != Status.OK or not self._console.is_terminal:
            self._print(f"{number}  {name_of(cell)}: {', '.join(parts)}")

    def _print(self, line: str) -> None:
        self._last_line = time.monotonic()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def name_of(cell: TrainingCell) -> str:
    """Return task, seed and method of a training, with what is not usual about it."""
    precision = "" if cell.precision == "float32" else cell.precision
    words = (cell.task, f"seed {cell.seed}", f"rate {cell.learning_rate:g}", precision, cell.method)
    return " ".join(filter(None, words))


def _outcome(epochs: Sequence[Mapping[str, Any]]) -> str:
    """Return the accuracy after some epochs, and the skipped steps of all of them."""
    skipped, steps = (sum(epoch[name] for epoch in epochs) for name in ("skipped", "steps"))
    lost = f", {skipped} of {steps} steps skipped" if skipped else ""
    return f"accuracy {epochs[-1]['accuracy']:.3f}{lost}"
