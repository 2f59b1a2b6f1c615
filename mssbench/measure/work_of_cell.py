"""Count the work of one cell once per session, and detect methods that remember answers.

A cell is one combination of methods, problem, size and so on; a session is what a measuring process
keeps from one cell to the next. A method that remembers answers does less work on matrices that it
has seen before. Its work on such matrices and on new ones is therefore counted side by side.
"""

import time
from collections.abc import Mapping
from typing import Any

from mssbench.measure.inputs import Input, Rotation
from mssbench.measure.instruments.counts import Counts
from mssbench.measure.instruments.sampling import Spent
from mssbench.measure.session import CellKey, Session
from mssbench.measure.work import counted, less_work, work
from mssbench.methods.other_functions import OtherFunction
from mssbench.methods.pair import Applied, Pair
from mssbench.records.cell import Cell

# Seconds. A longer call on a CPU is not counted a second time, since one more call costs as much as
# a sample, and the times of the samples show whether it looks up its answer.
_SHOWN_BY_TIME = 20e-3
# Number of times that a method must do less work: fewer might be due to initialisation in its first
# calls, or to randomness.
_LOOKS_AT_WORK = 3


class WorkOfCell:
    """Counts the work of a call of one cell.

    spent: collects how long the calls took.
    """

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
        self._not_recounted: Input | None = None  # the input on which a call was counted only once

    @property
    def key(self) -> CellKey:
        """The key by which the session stores the work of the cell."""
        backward = self._pair.backward
        return self._cell.cell_id, id(self._pair.forward.call), id(backward and backward.call)

    @property
    def remembers(self) -> str:
        """Why the method seems to remember answers; empty if there is no sign of that."""
        return self._session.remembering.get(self.key, "")

    def columns(self, seconds: float) -> Mapping[str, Mapping[str, Any]]:
        """Return the columns of memory and counts by phase. Later passes over a suite reuse them.

        seconds: how long an earlier call took. This part of the time of counting is recorded as
            warm-up; the rest is the overhead of counting.
        """
        cell, known = self._cell, self._session.work
        if self.key not in known:
            computed_in = {"computed_in": self._pair.computes_in(cell.library, cell.precision)}

            x = self._rotation.new()
            start = time.perf_counter()
            by_phase = work(self._pair, cell.library, cell.device, x)
            # The earlier call may have compiled something, and counting slows this one down.
            seconds = min(seconds, time.perf_counter() - start)
            self._spent.warmup += seconds
            known[self.key] = {phase: columns | computed_in for phase, columns in by_phase.items()}

            self._session.remembering[self.key] = ""
            if cell.library == "torch":  # calls of other libraries cannot be counted
                self._not_recounted = x
            self.count_again(seconds)

        return known[self.key]

    def count_again(self, seconds: float) -> bool:
        """Compare the work on new matrices and on those seen before, unless that was done already.

        Returns whether the method was called, since it may have changed the process.

        seconds: of a call. A call on a CPU longer than `_SHOWN_BY_TIME` is not made again. As the
            first calls in a process load libraries and may seem long, this is called again after
            the samples.
        """
        x = self._not_recounted
        is_long = self._cell.device == "cpu" and seconds > _SHOWN_BY_TIME
        if x is None or is_long:
            return False

        self._not_recounted = None
        self._session.remembering[self.key] = self._difference(x, seconds)
        return True

    def _difference(self, x: Input, seconds: float) -> str:
        """Compare the counts of calls on seen content with those of calls on new content.

        Returns a sentence with the counts if the calls on seen content do less work, else "".

        x: the input of the call that `columns` has counted, so that its content counts as seen.
        seconds: how long a call takes without counting; this much is recorded as warm-up.
        """
        columns = self._session.work[self.key]
        whole_call = columns[[*columns][-1]]
        on_new = [Counts(**{name: whole_call[name] for name in Counts._fields})]
        on_seen = [self._counted(x, seconds)]

        while less_work(on_new, on_seen):
            if len(on_new) == _LOOKS_AT_WORK:
                return less_work(on_new, on_seen)

            x = self._rotation.new()
            if self._rotation.repeats:
                return ""  # all contents have been used, so nothing can be compared
            on_new.append(self._counted(x, seconds))
            on_seen.append(self._counted(x, seconds))
        return ""

    def _counted(self, x: Input, seconds: float) -> Counts:
        """Return the counts of one call; at most `seconds` of it are recorded as warm-up."""
        start = time.perf_counter()
        counts = counted(self._pair, x)
        self._spent.warmup += min(time.perf_counter() - start, seconds)
        return counts
