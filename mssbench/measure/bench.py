"""One cell on the bench: its calls verified, weighed, counted, timed, and verified again.

What is timed has been verified on the inputs that are timed, and the output of the last timed call
is verified once more: a worse error there counts. Inputs rotate, so that an answer left over
from the call before is a wrong one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

import torch

from mssbench import arrays, units
from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.measure import roofline
from mssbench.measure.admission import classify
from mssbench.measure.inputs import Input, Restore
from mssbench.measure.instruments.ceilings import flush, l2_bytes
from mssbench.measure.instruments.clocks import (
    MOST_QUEUED,
    CaptureFailed,
    Clock,
    CudaClock,
    GraphClock,
    HostClock,
    synchronizer,
    waits_for_device,
)
from mssbench.measure.instruments.counts import Counts, launches
from mssbench.measure.instruments.sampling import Spent, sample
from mssbench.measure.new_content import NewContent
from mssbench.measure.outputs import require_like
from mssbench.measure.phases import Calls, calls
from mssbench.measure.prepared import Prepared
from mssbench.measure.session import Place, Session
from mssbench.measure.work import counted, less_work, work
from mssbench.methods.other_functions import OtherFunction
from mssbench.methods.pair import Applied
from mssbench.records.cell import clocks, phases
from mssbench.records.measurement import Measurement, Status
from mssbench.records.noise import ABOVE_CEILING, DISTURBED, UNVERIFIED, noise
from mssbench.records.roundoff import stable_error
from mssbench.records.timing import Timing

_ROUNDING = 8.0  # times an error: what another order of the same matrices may do to it
_SAME_WEIGHT = 1e-3  # by which rounding may move the weight of small eigenvalues
_MOST_PREPARED_BYTES = 2**28  # recorded forwards that may wait for their backward at once
_SHORTEST_COLD = 20e-6  # seconds: events resolve half a microsecond, and a cold call stands alone
_MOST_LATE = 0.05  # of a row's windows: more of them show in its quartiles
# A call on a CPU that takes longer than this many seconds is not counted a second time. If it looks
# up an answer, the samples show that by their time, and one more call costs as much as a sample.
_TOLD_BY_TIME = 20e-3
_LOOKS_AT_WORK = 3  # before a method is said to remember answers
_ATTEMPTS = 3  # at a row whose GPU slowed or was shared


class First(NamedTuple):
    """The very first call of a phase, verified."""

    seconds: float
    errors: Mapping[str, Any]


class Taken(NamedTuple):
    """The samples of a row, what disturbed them, and the last output with its input."""

    timing: Timing
    flags: list[str]
    input: Input
    output: Any
    again: bool = False  # another attempt may be disturbed less
    new: NewContent | None = None  # what calls on new content showed; a replay has none


class Phase(NamedTuple):
    """A phase of a cell, ready to be timed on any clock."""

    name: str
    calls: Calls
    first: First
    work: Mapping[str, Any]  # columns of memory and counts


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
        self._waiting: dict[str, bool] = {}  # by phase, whether a call waits for the device

    def run(self) -> tuple[Measurement, ...]:
        """The rows of every phase. Raises Violation, and whatever the method raises."""
        cell = self.cell
        every = {phase: calls(self.pair, cell.library, phase) for phase in phases(cell)}
        # the step comes first: what it loads and compiles is what a user waits for once
        first = {phase: self._first(phase, every[phase]) for phase in reversed(every)}
        known = self._work(max(f.seconds for f in first.values()))
        found: list[Measurement] = []
        for name in every:
            phase = Phase(name, every[name], first[name], known[name])
            found += in_order([self._row(phase, *each) for each in clocks(cell)])
        return self._launched(found, every)

    def opened(self, name: str) -> Phase:
        """A phase that was called once and is verified, with its work; nothing is timed yet.

        Raises Violation, and whatever the method raises.
        """
        every = calls(self.pair, self.cell.library, name)
        first = self._first(name, every)
        return Phase(name, every, first, self._work(first.seconds)[name])

    def judged(self, phase: Phase) -> tuple[Status, str, dict[str, Any]]:
        """Status, reason and columns of a phase by its first output."""
        values = dict(phase.first.errors)
        status, reason = self.truth.judge(phase.name, values, self._settings.max_error)
        if status is Status.OK and self._remembers:
            status, reason = Status.IMPLAUSIBLE, self._remembers
        return status, reason, _stated(values | dict(phase.work))

    def judged_again(
        self, phase: Phase, x: Input, output: Any, timing: Timing, flags: Sequence[str]
    ) -> tuple[Status, str, dict[str, Any]]:
        """The same by a timed output too, and by whether the machine can be as fast as `timing`.

        x: the input of that output. flags: what disturbed the samples. Raises Violation for an
        output that is not what the first one was.
        """
        values = self._worse_errors(phase, Taken(timing, [], x, output))
        status, reason = self.truth.judge(phase.name, values, self._settings.max_error)
        median = timing.statistics()["seconds_median"]

        limit = self._limit(phase)
        if limit and limit.exceeded_by(median):  # or a ceiling was taken beside other work: again
            self._session.ceilings.measure(self.cell.device, self.cell.precision)
            limit = self._limit(phase)
        # Other work may have slowed the measurement of a ceiling, but not by any factor.
        if (
            limit
            and status is Status.OK
            and limit.exceeded_by(median)
            and ("loaded" not in flags or limit.far_exceeded_by(median))
        ):
            status, reason = Status.IMPLAUSIBLE, limit.alarm(median)
        if status is Status.OK:
            new = self._new_content(phase)
            found = self._judged_on_new_content(phase, new, values, always=True)
            status, reason, values = found or (status, reason, values)
        return status, reason, _stated(values)

    def _new_content(self, phase: Phase, turn: int = 0) -> NewContent:
        """What gives calls of a phase new content and verifies them. turn: see Rotation.next."""
        return NewContent(
            self.rotation,
            phase.calls,
            partial(self._picked, phase.name),
            partial(self._verified_copies, phase.name),
            turn,
            on_host=self.cell.device == "cpu",
        )

    def _work(self, seconds: float) -> Mapping[str, Mapping[str, Any]]:
        """Memory and counts by phase: the same in every pass, so looked at in the first alone.

        seconds: of the call itself, which warms up; what watches it is the harness's own.
        """
        cell, known = self.cell, self._session.work
        if self._key not in known:
            wider = {"computed_in": self.pair.computes_in(cell.library, cell.precision)}
            x = self.rotation.new()
            start = time.perf_counter()
            found = work(self.pair, cell.library, cell.device, x)
            # The very first call may have loaded or compiled something, and this one is watched.
            seconds = min(seconds, time.perf_counter() - start)
            self.spent.warmup += seconds
            known[self._key] = {phase: columns | wider for phase, columns in found.items()}
            self._session.remembering[self._key] = self._recounted(x, seconds)
        return known[self._key]

    @property
    def _remembers(self) -> str:
        """Why the method is taken to remember answers; empty where nothing was seen of that."""
        return self._session.remembering.get(self._key, "")

    def _recounted(self, x: Input, seconds: float) -> str:
        """Whether calls on content seen before do less than those on new content, in words.

        They must do so three times: a method may start something in its first calls, or throw dice.
        x: on which the first call was made. seconds: see `_work`.
        """
        if self.cell.library != "torch":
            return ""  # nothing sees what a call does
        if self.cell.device == "cpu" and seconds > _TOLD_BY_TIME:
            return ""  # the samples tell
        columns = self._session.work[self._key]
        whole = columns[[*columns][-1]]
        new = [Counts(**{name: whole[name] for name in Counts._fields})]
        seen = [self._counted(x, seconds)]
        while less_work(new, seen):
            if len(new) == _LOOKS_AT_WORK:
                return less_work(new, seen)
            x = self.rotation.new()
            if self.rotation.repeats:
                return ""  # no other content is left, so that nothing can be compared
            new.append(self._counted(x, seconds))
            seen.append(self._counted(x, seconds))
        return ""

    def _counted(self, x: Input, seconds: float) -> Counts:
        start = time.perf_counter()
        found = counted(self.pair, x)
        self.spent.warmup += min(time.perf_counter() - start, seconds)
        return found

    def _launched(
        self, rows: Sequence[Measurement], every: Mapping[str, Calls]
    ) -> tuple[Measurement, ...]:
        """The rows with the number of kernels of a call, which is counted once all are timed."""
        cell = self.cell
        if cell.library != "torch" or cell.device != "cuda":
            return tuple(rows)
        if self._key not in self._session.launches:
            self._session.launches[self._key] = self._kernels(every)
        known = self._session.launches[self._key]
        return tuple(
            replace(m, values={**(m.values or {}), "launches": known[m.phase]}) for m in rows
        )

    def _kernels(self, every: Mapping[str, Calls]) -> Mapping[str, int | None]:
        """By phase, the kernels of a call; None where it cannot be captured as a CUDA graph.

        That is where it waits for the device, and in a process whose allocator a failed capture has
        harmed. A backward alone uses up the steps that were recorded for it and cannot be warmed up
        for a capture: it launches what a step launches beyond its forward.
        """
        whole, unknown = [*every][-1], dict.fromkeys(every)
        if self.spoilt:
            return unknown
        try:
            waits = self._waits_for_device(whole, every[whole])
            return unknown if waits else self._captured(whole, every)
        except Exception as error:  # whatever it is, the rows have their times
            self.spoilt |= isinstance(error, CaptureFailed)
            return unknown

    def _captured(self, whole: str, every: Mapping[str, Calls]) -> dict[str, int | None]:
        x, step = self.rotation.fresh(), every[whole]
        found = {whole: launches(step.call, step.prepare(x))}
        if "backward" in every:
            # what both prepare cancels out
            prepared = launches(lambda x: step.call(step.prepare(x)), x)
            found["backward"] = _beyond(prepared, launches(every["backward"].prepare, x))
        return found

    @property
    def _key(self) -> Place:
        return self.cell.cell_id, id(self.pair.forward.call)

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
        return First(end - middle, self._verify(phase, output, x))

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
        values = self._worse_errors(phase, taken)
        max_error = self._settings.max_error
        status, reason = self.truth.judge(phase.name, values, max_error)
        if status is Status.OK and taken.new is not None:
            timed = clock == "wall"
            found = self._judged_on_new_content(phase, taken.new, values, timed=timed)
            if taken.new.was_called_again:
                self._restore()
            status, reason, values = found or (status, reason, values)
        if not self.truth.can_judge(phase.name, max_error):
            flags.append(UNVERIFIED)
        median = timing.statistics()["seconds_median"]
        limit = self._limit(phase)
        if limit and limit.exceeded_by(median):  # or a ceiling was taken beside other work: again
            self._session.ceilings.measure(cell.device, cell.precision)
            limit = self._limit(phase)
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
            "host_sync": self._waits(phase) if clock == "gpu" else None,
        }
        return Measurement(cell, phase.name, clock, cache, status, reason, _stated(values), timing)

    def _sampled(self, phase: Phase, clock: str, cache: str) -> Taken:
        """One attempt: the samples, what disturbed them, and the last output with its input."""
        cell = self.cell
        timer = self._timer(phase, clock, cache)
        turn = self.rotation.fitting(l2_bytes()) if (clock, cache) == ("gpu", "hot") else 0
        new = self._new_content(phase, turn)
        is_replay = isinstance(timer, GraphClock)  # of one call, on the content it was captured on
        most = _most_calls(phase, clock, cache)
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

    def _picked(self, phase: str, output: Any, x: Input) -> tuple[Any, ...]:
        """Copies of what is verified of an output: of its root, and of its gradient."""
        function, indices = self.cell.function, self.truth.indices
        if phase == "forward":
            return (x.restore_root(function)(output, indices),)
        y, s = output
        root = x.restore_root(function)(y, indices)
        return root, x.restore_gradient(function)(s, indices)

    def _verified_copies(
        self, phase: str, output: Any, x: Input, copies: tuple[Any, ...] | None
    ) -> dict[str, Any]:
        """The errors of an output that its status is decided by, as it was when it was copied."""
        return self._verify(phase, output, x, copies=copies, brief=True)

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
        worse = {k: self._worse(k, first[k], x) for k, x in new.errors.items()}
        found = values | worse
        status, why = self.truth.judge(phase.name, found, self._settings.max_error)
        if status is not Status.OK:
            return status, f"{why}, on matrices that it had not seen", found
        if suspicion := self._remembers or suspicion:
            return Status.IMPLAUSIBLE, suspicion, values
        return None

    def _worse_errors(self, phase: Phase, taken: Taken) -> dict[str, Any]:
        """The errors of the first output, or those of the last timed one that are worse.

        What decides a status is looked at first; the other errors only where that is worse.
        """
        first = phase.first.errors
        last = self._verify(phase.name, taken.output, taken.input, brief=True)
        if all(self._worse(k, first[k], last[k]) is first[k] for k in last):
            return dict(first)
        last = self._verify(phase.name, taken.output, taken.input)
        return {k: self._worse(k, x, last[k]) for k, x in first.items()}

    def _worse(self, name: str, first: Any, last: Any) -> Any:
        """The first verification, where the last is not worse by more than rounding; nan is worst.

        The last call had its matrices in other places, and what is rounded there is another number:
        the first alone is the same in every run. But what is wrong is wrong wherever it was found.
        """
        if first is None or first != first:
            return first
        if name == "tail_weight":  # right is 1, and both sides of it are wrong
            near = abs(last - 1) <= _ROUNDING * abs(first - 1) + _SAME_WEIGHT
            return first if near else last
        most = _ROUNDING * first
        if name in ("root_error", "residual", "gradient_error"):
            cell, condition = self.cell, self.truth.condition
            own = stable_error(name, cell.function, cell.precision, condition)
            most = max(most, min(own, self._settings.max_error / 2))
        return first if last <= most else last  # where it is nan no comparison with it holds

    def _limit(self, phase: Phase) -> roofline.Limit | None:
        cell = self.cell
        best = self._session.ceilings.best(cell.device, cell.precision, self.spent)
        return roofline.limit(cell, phase.name, self.rotation.first.a.nbytes, phase.work, best)

    def _timer(self, phase: Phase, clock: str, cache: str) -> Clock:
        """The clock, ready to time blocks. Raises Unsupported where it cannot."""
        if clock == "wall":
            return HostClock(synchronizer(self.cell.device))
        a, g, *_ = self.rotation.first
        waits, size = self._waits(phase), a.nbytes + g.nbytes
        if clock == "gpu" and cache == "hot":
            if size > l2_bytes():
                raise Unsupported(
                    f"in and out it has {units.size(size)}, more than the device's cache of "
                    f"{units.size(l2_bytes())}: every call is a cold one"
                )
            return CudaClock(torch.cuda, waits=waits)
        if clock == "gpu":
            if self._device_seconds(phase, waits) < _SHORTEST_COLD:
                raise Unsupported("too short to be timed alone, as a cold call must be")
            return CudaClock(torch.cuda, flush(), waits)
        if self.cell.library != "torch":
            raise Unsupported(f"{self.cell.library} would not work on the stream that is captured")
        if phase.name == "backward":
            raise Unsupported("a recorded graph is used up by its backward: it cannot be replayed")
        if waits:  # and a capture that fails harms the process
            raise Unsupported("it waits for the device, which cannot be captured as a CUDA graph")
        x = self.rotation.first
        return GraphClock(torch.cuda, phase.calls.call, phase.calls.prepare(x))

    def _waits(self, phase: Phase) -> bool:
        """Whether a call waits for the device itself."""
        return self._waits_for_device(phase.name, phase.calls)

    def _waits_for_device(self, name: str, calls: Calls) -> bool:
        """The same of a phase by its name. Asked once."""
        if name not in self._waiting:
            what = calls.prepare(self.rotation.first)
            self._waiting[name] = waits_for_device(torch.cuda, calls.call, what)
        return self._waiting[name]

    def _device_seconds(self, phase: Phase, waits: bool) -> float:
        """About how long a warm call keeps the device busy."""
        clock, x = CudaClock(torch.cuda, waits=waits), self.rotation.first
        blocks = [[phase.calls.prepare(x)] for _ in range(5)]
        return min(clock.block(phase.calls.call, block) for block in blocks)

    def _verify(
        self,
        phase: str,
        output: Any,
        x: Input,
        *,
        copies: tuple[Any, ...] | None = None,
        brief: bool = False,
    ) -> dict[str, Any]:
        """The error columns of one output; brief: only those that its status is decided by.

        copies: what was copied of it to be compared, see `_picked`. Raises Violation for the wrong
        kind of array.
        """
        function = self.cell.function
        pick_root, pick_gradient = x.restore_root(function), x.restore_gradient(function)
        if copies is not None:
            pick_root, pick_gradient = _as_copied(copies[0]), _as_copied(copies[-1])
        if phase == "forward":
            self._require_like_input("root", output)
            return self.truth.root_errors(output, pick_root, brief=brief)
        y, s = output
        self._require_like_input("root", y)
        self._require_like_input("gradient", s)
        root = self.truth.root_errors(y, pick_root, brief=brief)
        return root | self.truth.gradient_errors(s, pick_gradient)

    def _require_like_input(self, name: str, x: Array) -> None:
        a = self.rotation.first.a
        due = tuple(a.shape)
        if name == "root" and isinstance(self.pair, Applied):
            due = (*due[:-1], 1)
        if name == "root" and isinstance(self.pair, OtherFunction):
            due = (*due[:-1], due[-2])
        require_like(name, x, due, a)


def _as_copied(copies: Array) -> Restore:
    """Picks what was picked before."""
    return lambda _, __=None: copies


def _stated(values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that have a value: an error that is nan is no number, and null in a table."""
    return {k: v for k, v in values.items() if v == v}


def _beyond(whole: int | None, part: int | None) -> int | None:
    """Their difference, where both are known."""
    return None if whole is None or part is None else whole - part


def _most_calls(phase: Phase, clock: str, cache: str) -> int:
    """How many calls a sample may have.

    A cold call stands alone, a backward consumes a recorded forward each, and on a GPU's own clocks
    all of a sample is queued before the device begins. A replay is one launch, whatever it holds.
    """
    if cache == "cold":
        return 1
    most = 10_000
    if phase.name == "backward":
        most = min(1000, _MOST_PREPARED_BYTES // max(phase.work["saved_bytes"] or 1, 1))
    if clock != "wall":
        each = (phase.work["operators"] or 1) if clock == "gpu" else 1
        most = min(most, MOST_QUEUED // each)
    return max(1, most)


_ORDER, _ORDER_SECONDS = 0.05, 2e-6  # relative and absolute: what two clocks may differ by


def in_order(rows: Sequence[Measurement]) -> list[Measurement]:
    """The rows of one phase, with a flag where a clock shows more than one that includes it.

    A replay cannot take longer than the device did, nor the device than its caller waited.
    """
    medians = {
        m.clock: m.timing.statistics()["seconds_median"]
        for m in rows
        if m.cache == "hot" and m.timing is not None
    }
    wrong: set[str] = set()
    for inner, outer in pairwise(("graph", "gpu", "wall")):
        whole = medians.get(outer, inf)
        if medians.get(inner, 0.0) > (1 + _ORDER) * whole + _ORDER_SECONDS:
            wrong |= {inner, outer}
    return [_flagged(m, "clock_order") if m.clock in wrong and m.timing else m for m in rows]


def _flagged(row: Measurement, flag: str) -> Measurement:
    values = dict(row.values or {})
    return replace(row, values=values | {"flags": f"{values.get('flags') or ''} {flag}".strip()})
