"""One cell on the bench: its calls verified, weighed, counted, timed, and verified again.

What is timed has been verified on the inputs that are timed, and the output of the last timed call
is verified once more: a worse error there counts. Inputs rotate, so that an answer left over
from the call before is a wrong one.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from mssbench import anchors, arrays, limits, roots
from mssbench.applied import Applied
from mssbench.arrays import Array
from mssbench.calls import Calls, calls
from mssbench.clock import Clock, CudaClock, GraphClock, HostClock, synchronizer, waits_for_device
from mssbench.errors import Unsupported
from mssbench.guard import watched
from mssbench.noise import noise
from mssbench.records import Cell, Measurement, Status, clocks, phases
from mssbench.rotation import Input, Rotation
from mssbench.sampling import Policy, Spent, sample
from mssbench.truth import Truth
from mssbench.work import work

_ROUNDING = 8.0  # times an error: what another order of the same matrices may do to it
_MOST_PREPARED_BYTES = 2**28  # recorded forwards that may wait for their backward at once
_known: dict[tuple[str, int], Mapping[str, Mapping[str, Any]]] = {}
_SHORTEST_COLD = 20e-6  # seconds: events resolve half a microsecond, and a cold call stands alone


@dataclass(frozen=True)
class Settings:
    """How a run measures; one for all its cells."""

    policy: Policy = field(default_factory=Policy)
    max_error: float = 0.1  # a root or gradient without one right digit is `inaccurate`


class Violation(Exception):  # noqa: N818
    """A method broke its contract: wrong shape, type or library, or it wrote into its input."""


class Prepared(NamedTuple):
    """What one call consumes, and which of the rotating inputs it is made of."""

    input: Input
    what: Any


class First(NamedTuple):
    """The very first call of a phase, verified."""

    seconds: float
    errors: Mapping[str, Any]


class Phase(NamedTuple):
    """A phase of a cell, ready to be timed on any clock."""

    name: str
    calls: Calls
    first: First
    work: Mapping[str, Any]  # columns of memory and counts


@dataclass
class Bench:
    """A cell with its arrays, and the truth to hold against them."""

    cell: Cell
    pair: roots.Pair | Applied
    rotation: Rotation
    truth: Truth
    settings: Settings
    spent: Spent

    def run(self) -> Iterator[Measurement]:
        """The rows of every phase. Raises Violation, and whatever the method raises."""
        cell = self.cell
        every = {phase: calls(self.pair, cell.library, phase) for phase in phases(cell)}
        first = {phase: self._first(phase, every[phase]) for phase in every}
        known = self._work(max(f.seconds for f in first.values()))
        for name in every:
            phase = Phase(name, every[name], first[name], known[name])
            for clock, cache in clocks(cell):
                yield self._row(phase, clock, cache)

    def _work(self, seconds: float) -> Mapping[str, Mapping[str, Any]]:
        """Memory and counts by phase: the same in every pass, so looked at in the first alone.

        seconds: of the call itself, which warms up; what watches it is the harness's own.
        """
        cell, start = self.cell, time.perf_counter()
        key = (cell.cell_id, id(self.pair.forward.call))
        if key not in _known:
            _known[key] = work(self.pair, cell.library, cell.device, self.rotation.fresh())
            self.spent.warmup += min(time.perf_counter() - start, seconds)
        return _known[key]

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
        except Unsupported as answer:  # this clock cannot time this phase; the others can
            if clock == "wall":
                raise
            why, cell = str(answer), self.cell
            return Measurement(cell, phase.name, clock, cache, Status.UNSUPPORTED, why, phase.work)

    def _timed(self, phase: Phase, clock: str, cache: str) -> Measurement:
        cell, policy, calls = self.cell, self.settings.policy, phase.calls
        last: list[Any] = [None, None]

        def prepare() -> Prepared:
            x = self.rotation.next()
            return Prepared(x, calls.prepare(x))

        def call(prepared: Prepared) -> None:
            last[:] = prepared.input, calls.call(prepared.what)

        most = 1 if cache == "cold" else _most_calls(phase)
        with watched(cell.device) as watch:
            timer = self._timer(phase, clock, cache)
            timing = sample(
                timer, prepare, call, policy,
                first_call=phase.first.seconds, most_calls=most, spent=self.spent,
            )  # fmt: skip
            if cell.device == "cuda":
                calls.call(calls.prepare(self.rotation.first))
                watch.look()  # while that is queued
                torch.cuda.synchronize()
        if isinstance(timer, GraphClock):
            last[:] = self.rotation.first, timer.output
        values = _worst(phase.first.errors, self._verify(phase.name, last[1], last[0]))
        status, reason = self.truth.judge(phase.name, values, self.settings.max_error)
        median = timing.statistics()["seconds_median"]
        limit = self._limit(phase)
        flags = [*watch.flags, *(["queue_gap"] if getattr(timer, "gaps", False) else [])]
        if limit.exceeded_by(median):  # or a ceiling was measured beside other work: once more
            anchors.measure(cell.device, cell.precision)
            limit = self._limit(phase)
        if limit.exceeded_by(median) and "loaded" in flags:
            flags.append("above_ceiling")  # which of the two was disturbed is not known
        elif limit.exceeded_by(median) and status is Status.OK:
            status, reason = Status.IMPLAUSIBLE, limit.alarm(median)
        values |= {
            **phase.work,
            **limit.columns(median),
            "gemms": median / anchors.anchor_seconds(cell, clock, policy, self.spent),
            "flags": " ".join(flags),
            "noise": noise(timing.samples, 0.0, flags),
            "host_sync": self._host_sync(calls) if clock == "gpu" else None,
        }
        stated = {k: v for k, v in values.items() if v == v}  # a nan error is no number: null
        return Measurement(cell, phase.name, clock, cache, status, reason, stated, timing)

    def _limit(self, phase: Phase) -> limits.Limit:
        cell, a = self.cell, self.rotation.first.a
        best = anchors.best(cell.device, cell.precision, self.spent)
        product = 2.0 * cell.size**3 * cell.batch
        return limits.limit(phase.name, a.nbytes, product, phase.work, best, cell.precision)

    def _timer(self, phase: Phase, clock: str, cache: str) -> Clock:
        """The clock, ready to time blocks. Raises Unsupported where it cannot."""
        if clock == "wall":
            return HostClock(synchronizer(self.cell.device))
        if clock == "gpu":
            if cache == "hot":
                return CudaClock(torch.cuda)
            if phase.first.seconds < _SHORTEST_COLD:
                raise Unsupported("too short to be timed alone, as a cold call must be")
            return CudaClock(torch.cuda, flush())
        if self.cell.library != "torch":
            raise Unsupported(f"{self.cell.library} would not work on the stream that is captured")
        if phase.name == "backward":
            raise Unsupported("a recorded graph is used up by its backward: it cannot be replayed")
        x = self.rotation.first
        return GraphClock(torch.cuda, phase.calls.call, phase.calls.prepare(x))

    def _host_sync(self, calls: Calls) -> bool:
        x = self.rotation.first
        return waits_for_device(torch.cuda, calls.call, calls.prepare(x))

    def _verify(self, phase: str, output: Any, x: Input) -> dict[str, Any]:
        """The error columns of one output. Raises Violation for the wrong kind of array."""
        if phase == "forward":
            self._require_like_input("root", output)
            return self.truth.root_errors(output, x.restore)
        y, s = output
        self._require_like_input("root", y)
        self._require_like_input("gradient", s)
        root = self.truth.root_errors(y, x.restore)
        return root | self.truth.gradient_errors(s, x.restore)

    def _require_like_input(self, name: str, x: Array) -> None:
        a = self.rotation.first.a
        if not isinstance(x, type(a)):
            raise Violation(f"the {name} is a {type(x).__module__}.{type(x).__name__}")
        due = tuple(a.shape)
        if name == "root" and isinstance(self.pair, Applied):
            due = (*due[:-1], 1)
        if tuple(x.shape) != due:
            raise Violation(f"the {name} has shape {tuple(x.shape)}, not {due}")
        if x.dtype != a.dtype:
            got, right = arrays.dtype_name(x), arrays.dtype_name(a)
            raise Violation(f"the {name} has dtype {got}, not {right}")


def _most_calls(phase: Phase) -> int:
    """How many calls a sample may have: a backward consumes a recorded forward each."""
    if phase.name != "backward":
        return 10_000
    return max(1, min(1000, _MOST_PREPARED_BYTES // max(phase.work["saved_bytes"] or 1, 1)))


def _worst(first: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, Any]:
    """The first verification, where the last is not worse by more than rounding; nan is the worst.

    The last call had its matrices in other places, and what is rounded there is another number: the
    first alone is the same in every run.
    """
    return {name: _larger(x, last[name]) for name, x in first.items()}


def _larger(x: Any, y: Any) -> Any:
    if x is None or x != x:
        return x
    return x if y <= _ROUNDING * x else y  # y where it is nan: no comparison with it holds


@lru_cache(maxsize=1)
def flush() -> Callable[[], object]:
    """Writes twice the device's L2 cache. Allocated once: that can take a second."""
    size = 2 * torch.cuda.get_device_properties().L2_cache_size
    return torch.empty(size, dtype=torch.uint8, device="cuda").zero_
