"""Measure one cell: verify its outputs, count its work, time its calls, and verify again.

A cell is one combination of methods, problem, size and so on. The outputs are verified on the
inputs that are timed. The output of the last timed call is verified too, and its errors count where
they are worse than those of the first. Successive calls get different inputs, so that an answer
left over from the previous call is wrong.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from mssbench import arrays
from mssbench.measure import roofline
from mssbench.measure.admission import classify
from mssbench.measure.checker import Checker
from mssbench.measure.clock_order import in_order
from mssbench.measure.inputs import Input
from mssbench.measure.instruments.ceilings import l2_bytes
from mssbench.measure.instruments.clocks import CaptureFailed, CudaClock, GraphClock, synchronizer
from mssbench.measure.instruments.sampling import Spent, sample
from mssbench.measure.launch_counts import kernels
from mssbench.measure.new_content import NewContent
from mssbench.measure.phases import Calls, First, Phase, calls
from mssbench.measure.prepared import Prepared
from mssbench.measure.session import Session
from mssbench.measure.timers import Timers, most_calls
from mssbench.measure.work_of_cell import WorkOfCell
from mssbench.records.cell import GPU, HOT, WALL, clocks, phases
from mssbench.records.measurement import Measurement, Status
from mssbench.records.noise import ABOVE_CEILING, DISTURBED, UNVERIFIED, noise
from mssbench.records.timing import Timing

# Largest share of late windows of a row: a larger share would show in its quartiles.
_MOST_LATE = 0.05
# Attempts at a row whose GPU slowed down or was shared: each costs the time of a whole row.
_ATTEMPTS = 3


class Attempt(NamedTuple):
    """The samples (times of blocks of calls) of one attempt at a row, and what belongs to them."""

    timing: Timing
    flags: list[str]
    input: Input
    output: Any
    again: bool = False  # whether to try again, since another attempt may be disturbed less
    new: NewContent | None = None  # results of the calls on new content; None for a graph replay


class Bench:
    """Measures one prepared cell and compares its outputs with the reference.

    ready: the prepared cell, whose `truth` must not be None.
    session: what the process keeps between cells.
    spent: collects where the time goes.
    share: fraction of the policy's sampling time to use, between 0 and 1.
    restore: undoes the changes that the method made to the process, before anything else is
        measured in it.
    """

    def __init__(
        self,
        ready: Prepared,
        session: Session,
        spent: Spent,
        share: float = 1.0,
        restore: Callable[[], None] = lambda: None,
    ) -> None:
        assert ready.truth is not None, "a cell is not timed without the truth"

        self.cell, self.pair, self.rotation = ready.cell, ready.pair, ready.rotation
        self.truth, self.spent = ready.truth, spent
        self.spoilt = False  # whether this process should measure no further cells

        self._session, self._settings, self._restore = session, session.settings, restore
        self._policy = session.settings.policy.within(share)

        self._checker = Checker(
            self.cell, self.pair, self.rotation, self.truth, self._settings.max_error
        )
        self._work = WorkOfCell(self.cell, self.pair, self.rotation, session, spent)
        self._timers = Timers(self.cell, self.rotation)

    def run(self) -> tuple[Measurement, ...]:
        """Return the rows of every phase.

        Raises Violation if the method breaks its contract, and whatever the method raises.
        """
        cell = self.cell
        every = {phase: calls(self.pair, cell.library, phase) for phase in phases(cell)}

        # The step is called first, so that its first call contains all loading and compiling, as it
        # does for a user.
        first = {phase: self._first(phase, every[phase]) for phase in reversed(every)}
        known = self._work.columns(max(call.seconds for call in first.values()))

        rows: list[Measurement] = []
        for name, calls_of_phase in every.items():
            phase = Phase(name, calls_of_phase, first[name], known[name])
            rows += in_order([self._row(phase, *each) for each in clocks(cell)])

        return self._launched(rows, every)

    def opened(self, name: str) -> Phase:
        """Return the phase `name`, called once, with its output verified and its work counted.

        No sample is taken yet. Raises Violation if the method breaks its contract, and whatever the
        method raises.
        """
        every = calls(self.pair, self.cell.library, name)
        first = self._first(name, every)
        return Phase(name, every, first, self._work.columns(first.seconds)[name])

    def judged(self, phase: Phase) -> tuple[Status, str, dict[str, Any]]:
        """Return status, reason and columns of a phase, judged by errors of its first output."""
        values = dict(phase.first.errors)
        status, reason = self.truth.judge(phase.name, values, self._settings.max_error)
        if status is Status.OK and self._work.remembers:
            status, reason = Status.IMPLAUSIBLE, self._work.remembers
        return status, reason, _stated(values | dict(phase.work))

    def judged_again(
        self, phase: Phase, x: Input, output: Any, timing: Timing, flags: Sequence[str]
    ) -> tuple[Status, str, dict[str, Any]]:
        """Return status, reason and columns of a phase, judged by its first and a timed output.

        A row that is faster than the machine's ceilings allow is `implausible`, or has a flag if
        other work may explain that.

        x: the input of the timed output.
        output: the timed output.
        timing: the samples.
        flags: what disturbed the samples. The column `flags` has these and the doubts of the row.
        Raises Violation for an output that is not a plain array like the input.
        """
        values = self._checker.worst_of(phase.name, phase.first.errors, output, x)
        status, reason = self.truth.judge(phase.name, values, self._settings.max_error)
        median = timing.statistics()["seconds_median"]

        limit, flags = self._limit(phase, median), [*flags]
        if not self.truth.can_judge(phase.name, self._settings.max_error):
            flags.append(UNVERIFIED)
        # The reason of a row that is ok is kept: it may say what was compared.
        if status is Status.OK and limit and (why := _impossible(limit, median, flags)):
            status, reason = Status.IMPLAUSIBLE, why

        if status is Status.OK:
            self._work.count_again(min(timing.samples))
            new = self._new_content(phase)
            failure = self._judged_on_new_content(phase, new, values, always=True)
            status, reason, values = failure or (status, reason, values)
        return status, reason, _stated(values | {"flags": " ".join(flags)})

    def _new_content(self, phase: Phase, turn: int = 0) -> NewContent:
        """Return an object that gives calls of a phase new content and verifies their outputs.

        turn: how many of the inputs are used in turn; 0 means all.
        """
        return NewContent(
            self.rotation,
            phase.calls,
            partial(self._checker.picked, phase.name),
            partial(self._checker.errors_of_copies, phase.name),
            turn,
            on_host=self.cell.device == "cpu",
        )

    def _launched(
        self, rows: Sequence[Measurement], every: Mapping[str, Calls]
    ) -> tuple[Measurement, ...]:
        """Return the rows with the number of kernels per call, counted after all rows are timed."""
        cell = self.cell
        if cell.library != "torch" or cell.device != "cuda":
            return tuple(rows)

        if self._work.key not in self._session.launches:
            self._session.launches[self._work.key] = self._kernels(every)
        launches = self._session.launches[self._work.key]

        return tuple(
            replace(row, values={**(row.values or {}), "launches": launches[row.phase]})
            for row in rows
        )

    def _kernels(self, every: Mapping[str, Calls]) -> Mapping[str, int | None]:
        """Return the kernels per call by phase; None where they cannot be counted.

        A call cannot be captured as a CUDA graph, and so not be counted, if it waits for the
        device, or if a failed capture has already damaged the allocator of this process.
        """
        whole, unknown = [*every][-1], dict.fromkeys(every)
        if self.spoilt:
            return unknown

        try:
            waits = self._timers.waits(whole, every[whole])
            return unknown if waits else kernels(whole, every, self.rotation)
        except Exception as error:  # the rows keep their times, whatever failed here
            self.spoilt |= isinstance(error, CaptureFailed)
            return unknown

    def _first(self, phase: str, calls: Calls) -> First:
        """Make the first call of a phase, time it, and compare its output with the reference."""
        synchronize = synchronizer(self.cell.device)
        x = self.rotation.first
        # The call may get a recycled memory block, which must not hold an old answer.
        arrays.poison(x.a)

        start = time.perf_counter()
        prepared = calls.prepare(x)
        synchronize()
        middle = time.perf_counter()
        output = calls.call(prepared)
        synchronize()
        end = time.perf_counter()

        self.spent.warmup += end - start
        return First(end - middle, self._checker.errors(phase, output, x))

    def _row(self, phase: Phase, clock: str, cache: str) -> Measurement:
        """Return the row of a phase on one clock; a clock that cannot time it gives a failed row.

        Raises what the method raises on the clock `wall`.
        """
        try:
            return self._timed(phase, clock, cache)
        except Exception as error:
            # A device clock may be unable to time a phase that the wall clock can time.
            if clock == WALL:
                raise
            self.spoilt |= isinstance(error, CaptureFailed)
            status, reason = classify(error)
            return Measurement(self.cell, phase.name, clock, cache, status, reason, phase.work)

    def _timed(self, phase: Phase, clock: str, cache: str) -> Measurement:
        """Time a phase on one clock and return its row, judged by its first and last outputs."""
        cell = self.cell
        taken, attempts = self._sampled(phase, clock, cache), 1
        while cell.device == "cuda" and taken.again and attempts < _ATTEMPTS:
            taken, attempts = self._sampled(phase, clock, cache), attempts + 1
        self._restore()

        flags = [*taken.flags, *(["remeasured"] if attempts > 1 else [])]
        timing = taken.timing
        values = self._checker.worst_of(phase.name, phase.first.errors, taken.output, taken.input)
        max_error = self._settings.max_error
        status, reason = self.truth.judge(phase.name, values, max_error)

        if status is Status.OK and taken.new is not None:
            timed = clock == WALL
            was_called_again = self._work.count_again(min(timing.samples))
            failure = self._judged_on_new_content(phase, taken.new, values, timed=timed)
            if was_called_again or taken.new.was_called_again:
                self._restore()
            status, reason, values = failure or (status, reason, values)

        if not self.truth.can_judge(phase.name, max_error):
            flags.append(UNVERIFIED)

        median = timing.statistics()["seconds_median"]
        limit = self._limit(phase, median)
        # The reason of a row that is ok is kept: it may say what was compared.
        if status is Status.OK and limit and (why := _impossible(limit, median, flags)):
            status, reason = Status.IMPLAUSIBLE, why

        product_seconds = self._session.products.seconds(
            cell, clock, cache, self._policy, self.spent
        )

        values |= {
            **phase.work,
            **(limit.columns(median) if limit else {}),
            "gemms": median / product_seconds if product_seconds else None,
            "flags": " ".join(flags),
            "noise": noise(timing.samples, 0.0, flags),
            "host_sync": self._timers.waits(phase.name, phase.calls) if clock == GPU else None,
        }

        return Measurement(cell, phase.name, clock, cache, status, reason, _stated(values), timing)

    def _sampled(self, phase: Phase, clock: str, cache: str) -> Attempt:
        """Make one attempt: take the samples, and return them with flags and the last output."""
        cell = self.cell
        timer = self._timers.timer(phase, clock, cache)
        turn = self.rotation.fitting(l2_bytes()) if (clock, cache) == (GPU, HOT) else 0
        new = self._new_content(phase, turn)
        is_replay = isinstance(timer, GraphClock)  # replays only see the content of the capture
        most_per_sample = most_calls(phase, clock, cache)

        with self._session.watchman.watched(cell.device) as watch:
            watch.look_at_work()
            timing = sample(
                timer,
                new.prepare,
                new.call,
                self._policy,
                first_call=phase.first.seconds,
                most_calls=most_per_sample,
                spent=self.spent,
                inspector=None if is_replay else new,
            )
            watch.look_at_work()

        last = (self.rotation.first, timer.output) if isinstance(timer, GraphClock) else new.last
        late = timer.gaps(len(timing.samples)) if isinstance(timer, CudaClock) else 0.0
        again = bool(DISTURBED & {*watch.flags}) or _MOST_LATE < late < 1.0
        flags = [*watch.flags, *(["queue_gap"] if late > _MOST_LATE else [])]

        return Attempt(timing, flags, *last, again, None if is_replay else new)

    def _judged_on_new_content(
        self,
        phase: Phase,
        new: NewContent,
        values: dict[str, Any],
        *,
        timed: bool = True,
        always: bool = False,
    ) -> tuple[Status, str, dict[str, Any]] | None:
        """Return status, reason and columns if a row fails on new content; None if it passes.

        New content is matrices that the method has not seen. A row fails if its output is wrong
        there, or if the method does less work on content seen before. An error on new content
        counts only if it exceeds that of the first call by more than rounding, and the limit of the
        row. Otherwise the row keeps the errors of the first call, which are the same in every run.

        timed: whether to compare the times of calls on new content with those of other calls.
        always: whether to compare them even if the samples raise no suspicion.
        """
        synchronize = synchronizer(self.cell.device)
        suspicion = new.suspicion(synchronize, always=always) if timed else ""

        first = phase.first.errors
        worse = {
            name: self._checker.worse(name, first[name], later)
            for name, later in new.errors.items()
        }
        with_worse = values | worse

        status, reason = self.truth.judge(phase.name, with_worse, self._settings.max_error)
        if status is not Status.OK:
            return status, f"{reason}, on matrices that the method had not seen", with_worse
        if suspicion := self._work.remembers or suspicion:
            return Status.IMPLAUSIBLE, suspicion, values
        return None

    def _limit(self, phase: Phase, median: float) -> roofline.Limit | None:
        """Return the shortest time that the machine allows for the phase; None if it is unknown.

        median: the measured seconds. If they are below the limit, the ceilings are measured once
            more, since other work may have disturbed their first measurement.
        """
        cell, ceilings = self.cell, self._session.ceilings
        size = self.rotation.first.a.nbytes
        best = ceilings.best(cell.device, cell.precision, self.spent)
        limit = roofline.limit(cell, phase.name, size, phase.work, best)

        if limit and limit.exceeded_by(median):
            start = time.perf_counter()
            ceilings.measure(cell.device, cell.precision)
            self.spent.ceilings += time.perf_counter() - start
            best = ceilings.best(cell.device, cell.precision, self.spent)
            limit = roofline.limit(cell, phase.name, size, phase.work, best)

        return limit


def _impossible(limit: roofline.Limit, median: float, flags: list[str]) -> str:
    """Return why a time is impossible, or an empty text if it is not.

    A time is impossible if it is so short that no disturbance explains it. Other work may have
    slowed the measurement of a ceiling, but only by a limited factor.
    flags: what disturbed the samples. It receives ABOVE_CEILING if the time is too short, but
        either the row or the ceiling was disturbed.
    """
    if not limit.exceeded_by(median):
        return ""
    if "loaded" not in flags or limit.far_exceeded_by(median):
        return limit.alarm(median)
    flags.append(ABOVE_CEILING)
    return ""


def _stated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns without those that are NaN, so that the table has null for them."""
    return {name: value for name, value in values.items() if value == value}
