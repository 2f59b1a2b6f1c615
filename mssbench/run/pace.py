"""How much time each cell may take, so that a run with a time limit reaches its last cell."""

import time
from collections.abc import Callable

from mssbench.engines.events import Event, Finished, Started, Waiting
from mssbench.records.cell import Cell

# Smallest share of its time that a cell gets. With a tenth, a row still has the few samples that a
# median needs. Less would save little: references and first calls take most of a cell's time then.
_LEAST = 0.1
# Share of the remaining time that is kept for the time between cells, and for cells that take
# longer than the average.
_RESERVE = 0.05


class Clock:
    """Seconds that a run has had a device, without those in which it waited for another run.

    The clock stops at a `Waiting` event, unless a cell is being measured on another device, and
    continues at the next event of another kind.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = now()
        self._waited = 0.0  # seconds of all completed waits
        self._since: float | None = None  # start of the present wait; None: the clock runs
        self._measuring = 0  # number of cells that are being measured

    def __call__(self) -> float:
        """Seconds since the start, without those spent waiting."""
        now = self._now()
        waiting = 0.0 if self._since is None else now - self._since
        return now - self._start - self._waited - waiting

    def heed(self, event: Event) -> None:
        """Stop the clock or let it continue, as an event of the engine requires."""
        self._measuring += isinstance(event, Started) - isinstance(event, Finished)
        if isinstance(event, Waiting) and not self._measuring:
            if self._since is None:
                self._since = self._now()
        elif self._since is not None:
            self._waited += self._now() - self._since
            self._since = None


class Pace:
    """The share of the policy's time that each cell may use, from the times of the cells so far.

    Sampling and warm-up of a cell take time in proportion to its share; the rest of its time is
    fixed. The remaining cells are assumed to take as long as those so far, on average. Time is
    saved in the samples and not by leaving out passes: fewer samples widen a confidence interval,
    but the difference between two passes cannot be seen in one.

    limit: seconds from `start` to the end of the run; None: no limit. start: the reading of `now`
    at the start. now: returns seconds, for example a `Clock`.
    """

    def __init__(
        self,
        limit: float | None,
        start: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._end = None if limit is None else start + limit
        self._now = now
        self._shares: dict[str, float] = {}  # by cell_id, the share of its latest measurement
        self._count = 0  # measurements so far
        self._fixed = self._scaled = 0.0  # seconds of all of them, the latter as at share 1

    def share(self, cell: Cell, left: int) -> float:
        """The share of the policy's time that a cell may use, between `_LEAST` and 1.

        left: how often its worker has yet to measure a cell, in all passes, this one included.
        """
        found = self._share(left)
        self._shares[cell.cell_id] = found
        return found

    def learn(self, done: Finished) -> None:
        """Include a cell in the averages.

        One that was refused counts too: those like it will also take hardly any time.
        """
        scaled = done.spent.get("samples", 0.0) + done.spent.get("warmup", 0.0)
        self._fixed += max(0.0, done.spent.get("total", 0.0) - scaled)
        self._scaled += scaled / self._shares.get(done.cell.cell_id, 1.0)
        self._count += 1

    def _share(self, left: int) -> float:
        if self._end is None or not self._scaled:
            return 1.0
        each = (1 - _RESERVE) * (self._end - self._now()) / left
        found = (each - self._fixed / self._count) / (self._scaled / self._count)
        return min(1.0, max(_LEAST, found))
