"""How much time each cell may take, so that a run with a limit reaches its last cell."""

import time
from collections.abc import Callable

from mssbench.engines.events import Event, Finished, Started, Waiting
from mssbench.records.cell import Cell

# A row in a tenth of its time still has the few samples that a median needs; with less than that,
# nearly all of a cell's time is what no share shortens, such as references and first calls.
_LEAST = 0.1
# Of the time that is left: what lies between two cells, and cells that take longer than the others.
_RESERVE = 0.05


class Clock:
    """How long a run has had a device. What it waits for another run does not count.

    It stands still from the first word that the device is another's, while no cell is measured,
    until something else happens.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = now()
        self._waited = 0.0  # seconds of waits that are over
        self._since: float | None = None  # when the present wait began
        self._measuring = 0  # cells that have started and not finished: on another device

    def __call__(self) -> float:
        """Seconds since the start, without those of waiting."""
        now = self._now()
        waiting = 0.0 if self._since is None else now - self._since
        return now - self._start - self._waited - waiting

    def heed(self, event: Event) -> None:
        """Take an event of the engine into account."""
        self._measuring += isinstance(event, Started) - isinstance(event, Finished)
        if isinstance(event, Waiting) and not self._measuring:
            if self._since is None:
                self._since = self._now()
        elif self._since is not None:
            self._waited += self._now() - self._since
            self._since = None


class Pace:
    """Shares of the policy's time, from what the cells so far have taken.

    The time of a cell has a part that its share shortens, sampling and warming up, and a part that
    it does not. The cells that are left are taken to be like those so far, on average. Fewer
    samples widen an interval; a pass that is missing would take away what only two passes show.

    limit: seconds from `start` to the end of the run, or None. now: a clock, as `Clock` is.
    """

    def __init__(
        self,
        limit: float | None,
        start: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._end = None if limit is None else start + limit
        self._now = now
        self._shares: dict[str, float] = {}  # by cell, of its latest measurement
        self._count = 0
        self._fixed = self._scaled = 0.0  # seconds of all cells so far, the latter at full share

    def share(self, cell: Cell, left: int) -> float:
        """What a cell may take of the policy's time, between a tenth and all of it.

        left: cells that its worker has yet to measure, with this one, in all passes.
        """
        found = self._share(left)
        self._shares[cell.cell_id] = found
        return found

    def learn(self, done: Finished) -> None:
        """Take a cell into account, also one that was refused: others like it will take no time."""
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
