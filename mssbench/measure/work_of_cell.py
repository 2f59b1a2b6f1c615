"""The work of one cell, counted once in a session, and whether its method remembers answers.

A method that remembers answers does less on content that it has met before. Its calls on new
content and on such content are therefore counted side by side.
"""

import time
from collections.abc import Mapping
from typing import Any

from mssbench.measure.inputs import Input, Rotation
from mssbench.measure.instruments.counts import Counts
from mssbench.measure.instruments.sampling import Spent
from mssbench.measure.session import Place, Session
from mssbench.measure.work import counted, less_work, work
from mssbench.methods.other_functions import OtherFunction
from mssbench.methods.pair import Applied, Pair
from mssbench.records.cell import Cell

# Seconds. A longer call on a CPU is not counted a second time: if it looks up its answer, the times
# of the samples show that, and one more call costs as much as a sample.
_SHOWN_BY_TIME = 20e-3
# A method may start something in its first calls, or throw dice: it must do less three times.
_LOOKS_AT_WORK = 3


class WorkOfCell:
    """Counts what a call of one cell does. spent: is told how long the calls took."""

    def __init__(
        self,
        cell: Cell,
        pair: Pair | Applied | OtherFunction,
        rotation: Rotation,
        session: Session,
        spent: Spent,
    ) -> None:
        self._cell, self._pair, self._rotation = cell, pair, rotation
        self._session, self._spent = session, spent
        self._not_recounted: Input | None = None  # on which a call was counted only once

    @property
    def key(self) -> Place:
        """What the session remembers the cell by."""
        return self._cell.cell_id, id(self._pair.forward.call)

    @property
    def remembers(self) -> str:
        """Why the method seems to remember answers; empty if nothing was seen of that."""
        return self._session.remembering.get(self.key, "")

    def columns(self, seconds: float) -> Mapping[str, Mapping[str, Any]]:
        """Return memory and counts by phase. They are counted in the first pass over a suite.

        seconds: how long a call took that was made before. Of the calls that are made here, that
        much counts as warm-up: the rest is what watching them costs.
        """
        cell, known = self._cell, self._session.work
        if self.key not in known:
            wider = {"computed_in": self._pair.computes_in(cell.library, cell.precision)}
            x = self._rotation.new()
            start = time.perf_counter()
            found = work(self._pair, cell.library, cell.device, x)
            # The call before may have loaded or compiled something, and this one is watched.
            seconds = min(seconds, time.perf_counter() - start)
            self._spent.warmup += seconds
            known[self.key] = {phase: columns | wider for phase, columns in found.items()}
            self._session.remembering[self.key] = ""
            self._not_recounted = x
            self.count_again(seconds)
        return known[self.key]

    def count_again(self, seconds: float) -> None:
        """Compare the work on new content with that on content seen before, unless it was done.

        seconds: of a call. A long call is not made again, see `_SHOWN_BY_TIME`. The first calls in
        a process load libraries and may seem long, so this is asked again after the samples.
        """
        x = self._not_recounted
        is_torch = self._cell.library == "torch"  # nothing sees what a call of another one does
        is_long = self._cell.device == "cpu" and seconds > _SHOWN_BY_TIME
        if x is None or not is_torch or is_long:
            return
        self._not_recounted = None
        self._session.remembering[self.key] = self._difference(x, seconds)

    def _difference(self, x: Input, seconds: float) -> str:
        """Why calls on content seen before seem to do less than those on new content, or nothing.

        x: the input of the call that `columns` has counted. seconds: as there.
        """
        columns = self._session.work[self.key]
        whole_call = columns[[*columns][-1]]
        new = [Counts(**{name: whole_call[name] for name in Counts._fields})]
        seen = [self._counted(x, seconds)]
        while less_work(new, seen):
            if len(new) == _LOOKS_AT_WORK:
                return less_work(new, seen)
            x = self._rotation.new()
            if self._rotation.repeats:
                return ""  # no other content is left, so that nothing can be compared
            new.append(self._counted(x, seconds))
            seen.append(self._counted(x, seconds))
        return ""

    def _counted(self, x: Input, seconds: float) -> Counts:
        start = time.perf_counter()
        counts = counted(self._pair, x)
        self._spent.warmup += min(time.perf_counter() - start, seconds)
        return counts
