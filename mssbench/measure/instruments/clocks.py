"""The three clocks: `wall`, what a caller waits; `gpu`, the device's work; `graph`, its replay.

They are never mixed: each has rows of its own. How often a clock is asked is in sampling.py.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module

# The function itself: a method that replaces it in the module `time` is timed by this one.
from time import perf_counter_ns
from typing import Any, Protocol

from mssbench.errors import Unsupported

Call = Callable[[Any], object]  # the call that is timed
# Operators in one window of events. A driver queues 1024 launches and then holds the host until the
# device has taken one, and some operators are two launches.
MOST_QUEUED = 500
_WARM = 3  # calls on a side stream before a capture, so that nothing is set up within it


class Clock(Protocol):
    """Times a block of calls. `name` is the value of the column `clock`."""

    name: str

    def block(self, call: Call, prepared: Sequence[Any]) -> float:
        """Seconds from before the first to after the last of `call(p) for p in prepared`."""
        ...


def synchronizer(device: str) -> Callable[[], None]:
    """What waits until the device has done all that is queued: nothing on a CPU."""
    if device != "cuda":
        return _nothing
    return import_module("torch").cuda.synchronize  # type: ignore[no-any-return]


def _nothing() -> None:
    """There is no queue to wait for."""


class HostClock:
    """The host's monotonic clock, with the device drained before and after the block."""

    name = "wall"

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self._synchronize = synchronize

    def block(self, call: Call, prepared: Sequence[Any]) -> float:
        """What a caller waits: host and device together."""
        self._synchronize()
        start = perf_counter_ns()
        for p in prepared:
            call(p)
        self._synchronize()
        return (perf_counter_ns() - start) * 1e-9


class CudaClock:
    """A pair of CUDA events on the current stream, with the host running ahead.

    A spinning kernel holds the stream while the host queues the block, so the events bracket
    device work and not the host's launches. The spin lasts twice as long as queueing is going to
    take, which every block learns for the next, and longer after a late one. A call that waits for
    the device itself (a checked solve) contains that wait whatever the lead is, which then stays
    short. The spin is finite, so it cannot deadlock.

    cool: queues what empties the device's cache, before the spin and outside the window. waits:
    whether the calls wait for the device, see `waits_for_device`; None if nobody has asked, and a
    few late blocks in a row will tell.
    """

    name = "gpu"
    _SHORTEST, _LONGEST = 50e-6, 50e-3  # seconds of spin
    _MARGIN, _WIDEST = 2, 16  # times the seconds to queue; of a late block, doubled up to the other
    _PATIENCE = 3  # late blocks in a row, with a lead that grew each time, before a call waits

    def __init__(
        self, cuda: Any, cool: Callable[[], object] | None = None, waits: bool | None = None
    ) -> None:
        self._cuda = cuda  # torch.cuda
        self._cool = cool
        self._waits = waits
        self._cycles_per_second = _spin_rate(cuda)
        self._per_call = 0.0  # seconds to queue one
        self._margin = self._MARGIN
        self._late: list[bool] = []  # of every window

    def block(self, call: Call, prepared: Sequence[Any]) -> float:
        """Device seconds of the block."""
        start, end = self._cuda.Event(enable_timing=True), self._cuda.Event(enable_timing=True)
        lead = self._lead(len(prepared))
        if self._cool is not None:
            self._cool()
        self._cuda.synchronize()
        self._cuda._sleep(int(lead * self._cycles_per_second))
        start.record()
        queued = perf_counter_ns()
        for p in prepared:
            call(p)
        queued = perf_counter_ns() - queued
        late = bool(start.query())  # the device had reached the block before all of it was queued
        end.record()
        end.synchronize()
        self._late.append(late)
        self._margin = min(2 * self._margin, self._WIDEST) if late else self._MARGIN
        # a wait for the device is a wait for the spin too, which is not the call's
        self._per_call = (queued * 1e-9 - (lead if late else 0.0)) / len(prepared)
        return float(start.elapsed_time(end)) * 1e-3

    def gaps(self, windows: int) -> float:
        """Of the last so many windows, the share in which the device waited for the host.

        A call that waits itself has such a gap by nature. All of them, 1.0, are no accident: the
        lead has grown from each to the next, and a call of more than about 1000 launches cannot
        be queued ahead of the device at all.
        """
        last = self._late[-windows:]
        return 0.0 if self._waits or not last else sum(last) / len(last)

    def _lead(self, calls: int) -> float:
        waits = self._waits
        if waits is None:
            waits = len(self._late) >= self._PATIENCE and all(self._late[-self._PATIENCE :])
        if waits:
            return self._SHORTEST
        return min(max(self._margin * self._per_call * calls, self._SHORTEST), self._LONGEST)


def spin(cuda: Any, seconds: float) -> None:
    """Queue a kernel on the current stream that does nothing for so long. cuda: torch.cuda."""
    cuda._sleep(int(seconds * _spin_rate(cuda)))


@lru_cache
def _spin_rate(cuda: Any) -> float:
    """Cycles per second of the kernel that spins: the most of a few, as a clock rises with work."""
    cuda._sleep(1000)  # loads the kernel
    cycles, found = 10_000_000, []
    for _ in range(5):
        start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        start.record()
        cuda._sleep(cycles)
        end.record()
        end.synchronize()
        found.append(cycles / (float(start.elapsed_time(end)) * 1e-3))
    return max(found)


class GraphClock:
    """A call captured once as a CUDA graph, and its replays timed by events.

    What is left is the device's work alone: the host launches a replay as one, ahead of it. The
    captured inputs stay where they are, so every replay computes the same.
    """

    name = "graph"

    def __init__(self, cuda: Any, call: Call, prepared: Any) -> None:
        """Capture `call(prepared)`. Raises CaptureFailed where that cannot be."""
        self._clock = CudaClock(cuda, waits=False)
        self._prepared = prepared  # every replay reads it
        self._graph = cuda.CUDAGraph()
        self.output = capture(cuda, self._graph, call, prepared)  # every replay writes it anew

    def block(self, call: Call, prepared: Sequence[Any]) -> float:
        """Device seconds of as many replays as there are things prepared; `call` was captured."""
        del call
        return self._clock.block(lambda _: self._graph.replay(), prepared)


def capture(cuda: Any, graph: Any, call: Call, prepared: Any) -> Any:
    """Capture `call(prepared)` into an empty graph; its output, which holds no values yet.

    cuda: torch.cuda. The call is made a few times before, so that libraries start and pick their
    kernels outside of the capture. Raises CaptureFailed where it cannot be captured.
    """
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    try:
        with cuda.stream(side):
            for _ in range(_WARM):
                call(prepared)
        cuda.current_stream().wait_stream(side)
        # a capture that fails leaves torch on the stream it was captured on
        with cuda.stream(cuda.current_stream()), cuda.graph(graph):
            return call(prepared)
    except Exception as error:
        cuda.synchronize()
        why = _first_line(_cause(error))
        raise CaptureFailed(f"cannot be captured as a CUDA graph: {why}") from None


class CaptureFailed(Unsupported):
    """A call cannot be captured. Torch's allocator may never recover: leave the process soon."""


def waits_for_device(cuda: Any, call: Call, prepared: Any) -> bool:
    """Whether a call itself waits for the device: its `gpu` time then holds host gaps by nature.

    A spin is queued, the call made, and the spin looked at. To be asked once per method and shape.
    """
    end = cuda.Event(enable_timing=True)
    cuda.synchronize()
    spin(cuda, 20e-3)
    end.record()
    call(prepared)
    waited = bool(end.query())
    cuda.synchronize()
    return waited


def _cause(error: BaseException) -> BaseException:
    """The error that others came of, as torch raises another one where a capture ends."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
