"""One cell on the bench: its calls verified, weighed, counted, timed, and verified again.

What is timed has been verified on the inputs that are timed, and the output of the last timed call
is verified once more: a worse error there counts. Inputs rotate, so that an answer left over
from the call before is a wrong one.
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
from mssbench.records.cell import clocks, phases
from mssbench.records.measurement import Measurement, Status
from mssbench.records.noise import ABOVE_CEILING, DISTURBED, UNVERIFIED, noise
from mssbench.records.timing import Timing

_MOST_LATE = 0.05  # of a row's windows: more of them show in its quartiles
_ATTEMPTS = 3  # at a row whose GPU slowed or was shared


class Taken(NamedTuple):
    """The samples of a row, what disturbed them, and the last output with its input."""

    timing: Timing
    flags: list[str]
    input: Input
    output: Any
    again: bool = False  # another attempt may be disturbed less
    new: NewContent | None = None  # what calls on new content showed; a replay has none


class Bench:
    """A cell that was made ready, in a session, with the truth that its outputs are compared with.

    spent: is told where the time goes. share: of the policy's time, between 0 and 1. restore: puts
    back what the method has changed of the process, before anything else is measured in it.
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
        self.spoilt = False  # whether this process should measure no more
        self._session, self._settings, self._restore = session, session.settings, restore
        self._policy = session.settings.policy.within(share)
        self._checker = Checker(
            self.cell, self.pair, self.rotation, self.truth, self._settings.max_error
        )
        self._work = WorkOfCell(self.cell, self.pair, self.rotation, session, spent)
        self._timers = Timers(self.cell, self.rotation)

    def run(self) -> tuple[Measurement, ...]:
        """The rows of every phase. Raises Violation, and whatever the method raises."""
        cell = self.cell
        every = {phase: calls(self.pair, cell.library, phase) for phase in phases(cell)}
        # the step comes first: what it loads and compiles is what a user waits for once
        first = {phase: self._first(phase, every[phase]) for phase in reversed(every)}
        known = self._work.columns(max(f.seconds for f in first.values()))
        found: list[Measurement] = []
        for name, calls_of_phase in every.items():
            phase = Phase(name, calls_of_phase, first[name], known[name])
            found += in_order([self._row(phase, *each) for each in clocks(cell)])
        return self._launched(found, every)

    def opened(self, name: str) -> Phase:
        """A phase that was called once and is verified, with its work; nothing is timed yet.

        Raises Violation, and whatever the method raises.
        """
        every = calls(self.pair, self.cell.library, name)
        first = self._first(name, every)
        return Phase(name, every, first, self._work.columns(first.seconds)[name])

    def judged(self, phase: Phase) -> tuple[Status, str, dict[str, Any]]:
        """Status, reason and columns of a phase by its first output."""
        values = dict(phase.first.errors)
        status, reason = self.truth.judge(phase.name, values, self._settings.max_error)
        if status is Status.OK and self._work.remembers:
            status, reason = Status.IMPLAUSIBLE, self._work.remembers
        return status, reason, _stated(values | dict(phase.work))

    def judged_again(
        self, phase: Phase, x: Input, output: Any, timing: Timing, flags: Sequence[str]
    ) -> tuple[Status, str, dict[str, Any]]:
        """The same by a timed output too, and by whether the machine can be as fast as `timing`.

        x: the input of that output. flags: what disturbed the samples. Raises Violation for an
        output that is not what the first one was.
        """
        values = self._checker.worst_of(phase.name, phase.first.errors, output, x)
        status, reason = self.truth.judge(phase.name, values, self._settings.max_error)
        median = timing.statistics()["seconds_median"]

        limit = self._limit(phase, median)
        # Other work may have slowed the measurement of a ceiling, but not by any factor.
        if (
            limit
            and status is Status.OK
            and limit.exceeded_by(median)
            and ("loaded" not in flags or limit.far_exceeded_by(median))
        ):
            status, reason = Status.IMPLAUSIBLE, limit.alarm(median)
        if status is Status.OK:
            self._work.count_again(min(timing.samples))
            new = self._new_content(phase)
            found = self._judged_on_new_content(phase, new, values, always=True)
            status, reason, values = found or (status, reason, values)
        return status, reason, _stated(values)

    def _new_content(self, phase: Phase, turn: int = 0) -> NewContent:
        """What gives calls of a phase new content and verifies them. turn: see Rotation.next."""
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
        """The rows with the number of kernels of a call, which is counted once all are timed."""
        cell = self.cell
        if cell.library != "torch" or cell.device != "cuda":
            return tuple(rows)
        if self._work.key not in self._session.launches:
            self._session.launches[self._work.key] = self._kernels(every)
        known = self._session.launches[self._work.key]
        return tuple(
            replace(m, values={**(m.values or {}), "launches": known[m.phase]}) for m in rows
        )

    def _kernels(self, every: Mapping[str, Calls]) -> Mapping[str, int | None]:
        """By phase, the kernels of a call; None where it cannot be captured as a CUDA graph.

        That is where it waits for the device, and in a process whose allocator a failed capture has
        harmed.
        """
        whole, unknown = [*every][-1], dict.fromkeys(every)
        if self.spoilt:
            return unknown
        try:
            waits = self._timers.waits(whole, every[whole])
            return unknown if waits else kernels(whole, every, self.rotation)
        except Exception as error:  # whatever it is, the rows have their times
            self.spoilt |= isinstance(error, CaptureFailed)
            return unknown

    def _first(self, phase: str, calls: Calls) -> First:
        synchronize = synchronizer(self.cell.device)
        x = self.rotation.first
        arrays.poison(x.a)  # a block that is recycled holds no old answer
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
        try:
            return self._timed(phase, clock, cache)
        except Exception as error:  # this clock cannot time this phase; the caller's wait can be
            if clock == "wall":
                raise
            self.spoilt |= isinstance(error, CaptureFailed)
            status, why = classify(error)
            return Measurement(self.cell, phase.name, clock, cache, status, why, phase.work)

    def _timed(self, phase: Phase, clock: str, cache: str) -> Measurement:
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
            timed = clock == "wall"
            self._work.count_again(min(timing.samples))
            found = self._judged_on_new_content(phase, taken.new, values, timed=timed)
            if taken.new.was_called_again:
                self._restore()
            status, reason, values = found or (status, reason, values)
        if not self.truth.can_judge(phase.name, max_error):
            flags.append(UNVERIFIED)
        median = timing.statistics()["seconds_median"]
        limit = self._limit(phase, median)
        if limit and limit.exceeded_by(median) and status is Status.OK:
            if "loaded" in flags and not limit.far_exceeded_by(median):
                flags.append(ABOVE_CEILING)  # which of the two was disturbed is not known
            else:
                status, reason = Status.IMPLAUSIBLE, limit.alarm(median)
        unit = self._session.products.seconds(cell, clock, cache, self._policy, self.spent)
        values |= {
            **phase.work,
            **(limit.columns(median) if limit else {}),
            "gemms": median / unit if unit else None,
            "flags": " ".join(flags),
            "noise": noise(timing.samples, 0.0, flags),
            "host_sync": self._timers.waits(phase.name, phase.calls) if clock == "gpu" else None,
        }
        return Measurement(cell, phase.name, clock, cache, status, reason, _stated(values), timing)

    def _sampled(self, phase: Phase, clock: str, cache: str) -> Taken:
        """One attempt: the samples, what disturbed them, and the last output with its input."""
        cell = self.cell
        timer = self._timers.timer(phase, clock, cache)
        turn = self.rotation.fitting(l2_bytes()) if (clock, cache) == ("gpu", "hot") else 0
        new = self._new_content(phase, turn)
        is_replay = isinstance(timer, GraphClock)  # of one call, on the content it was captured on
        most = most_calls(phase, clock, cache)
        with self._session.watchman.watched(cell.device) as watch:
            watch.look_at_work()
            timing = sample(
                timer,
                new.prepare,
                new.call,
                self._policy,
                first_call=phase.first.seconds,
                most_calls=most,
                spent=self.spent,
                inspector=None if is_replay else new,
            )
            watch.look_at_work()
        last = (self.rotation.first, timer.output) if isinstance(timer, GraphClock) else new.last
        late = timer.gaps(len(timing.samples)) if isinstance(timer, CudaClock) else 0.0
        again = bool(DISTURBED & {*watch.flags}) or _MOST_LATE < late < 1.0
        flags = [*watch.flags, *(["queue_gap"] if late > _MOST_LATE else [])]
        return Taken(timing, flags, *last, again, None if is_replay else new)

    def _judged_on_new_content(
        self,
        phase: Phase,
        new: NewContent,
        values: dict[str, Any],
        *,
        timed: bool = True,
        always: bool = False,
    ) -> tuple[Status, str, dict[str, Any]] | None:
        """Status, reason and columns of a row that is wrong on new content, or does less without.

        The errors of new content count only where they are worse by more than rounding, and too
        bad for the row: those of the first call are the same in every run. timed: whether the times
        of calls on new content are compared with those of others. always: see `suspicion`.
        """
        synchronize = synchronizer(self.cell.device)
        suspicion = new.suspicion(synchronize, always=always) if timed else ""
        first = phase.first.errors
        worse = {name: self._checker.worse(name, first[name], x) for name, x in new.errors.items()}
        found = values | worse
        status, why = self.truth.judge(phase.name, found, self._settings.max_error)
        if status is not Status.OK:
            return status, f"{why}, on matrices that it had not seen", found
        if suspicion := self._work.remembers or suspicion:
            return Status.IMPLAUSIBLE, suspicion, values
        return None

    def _limit(self, phase: Phase, median: float) -> roofline.Limit | None:
        """The shortest time that the machine allows for the phase; None if it is not known.

        median: the measured seconds. If they are below the limit, the ceilings may have been
        measured while other work ran, so they are measured once more.
        """
        cell, ceilings = self.cell, self._session.ceilings
        size = self.rotation.first.a.nbytes
        best = ceilings.best(cell.device, cell.precision, self.spent)
        limit = roofline.limit(cell, phase.name, size, phase.work, best)
        if limit and limit.exceeded_by(median):
            ceilings.measure(cell.device, cell.precision)
            best = ceilings.best(cell.device, cell.precision, self.spent)
            limit = roofline.limit(cell, phase.name, size, phase.work, best)
        return limit


def _stated(values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that have a value: an error that is nan is no number, and null in a table."""
    return {k: v for k, v in values.items() if v == v}
