"""Shorten the sampling of each cell so that a run with a time limit reaches its last cell.

A cell is one combination of methods, problem, size and so on.
"""

import time
from collections.abc import Callable

from mssbench.engines.events import Event, Finished, Started, Waiting
from mssbench.records.cell import Cell

# Smallest share of the policy's time that a cell gets. With a tenth, a row still has the few
# samples that a median needs. A smaller share would save little, because then the reference and the
# first calls take most of the time of a cell.
_LEAST = 0.1
# Share of the remaining time that is kept for the time between cells, and for cells that take
# longer than the average.
_RESERVE = 0.05


class Stopwatch:
    """Stopwatch of a run, which stands still while the run waits for a device of another run.

    It stops at a `Waiting` event, unless a cell is being measured on another device, and continues
    at the next event of another kind. Calling it returns the seconds. now: the time source, which
    returns seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = now()
        self._waited = 0.0  # seconds of all completed waits
        self._since: float | None = None  # start of the present wait; None while the clock runs
        self._measuring = 0  # number of cells that are being measured

    def __call__(self) -> float:
        """Return the seconds since the start, without those spent waiting."""
        now = self._now()
        waiting = 0.0 if self._since is None else now - self._since
        return now - self._start - self._waited - waiting

    def heed(self, event: Event) -> None:
        """Stop or continue the stopwatch, depending on an event of the engine."""
        self._measuring += isinstance(event, Started) - isinstance(event, Finished)
        if isinstance(event, Waiting) and not self._measuring:
            if self._since is None:
                self._since = self._now()
        elif self._since is not None:
            self._waited += self._now() - self._since
            self._since = None


class Pace:
    """Computes how much of its full sampling time each cell may use, so that a run ends in time.

    The full time is that of the suite's policy. Sampling and warm-up of a cell take time in
    proportion to its share of the full time; the rest of its time is fixed. The remaining cells are
    assumed to take as long, on average, as those so far. Samples are reduced before passes: fewer
    samples widen a confidence interval, but with a single pass the difference between passes would
    be unknown.

    limit: seconds from `start` to the end of the run; None: no limit. start: the reading of `now`
    at the start. now: returns seconds, for example a `Stopwatch`.
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
        # Total seconds of all measurements: the fixed part, and the part for sampling and warm-up,
        # converted to share 1.
        self._fixed = self._scaled = 0.0

    def share(self, cell: Cell, left: int) -> float:
        """Return the share of its full sampling time that a cell may use, between `_LEAST` and 1.

        left: number of measurements that the worker still has to make, in all passes, including
        the one of this cell.
        """
        share = self._share(left)
        self._shares[cell.cell_id] = share
        return share

    def learn(self, done: Finished) -> None:
        """Include the time that a finished cell took in the averages.

        A cell that could not be measured counts too: similar cells will also take hardly any time.
        """
        scaled = done.spent.get("samples", 0.0) + done.spent.get("warmup", 0.0)
        self._fixed += max(0.0, done.spent.get("total", 0.0) - scaled)
        self._scaled += scaled / self._shares.get(done.cell.cell_id, 1.0)
        self._count += 1

    def _share(self, left: int) -> float:
        if self._end is None or not self._scaled:
            return 1.0
        seconds = (1 - _RESERVE) * (self._end - self._now()) / left  # for each remaining cell
        share = (seconds - self._fixed / self._count) / (self._scaled / self._count)
        return min(1.0, max(_LEAST, share))
