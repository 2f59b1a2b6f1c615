"""The three clocks: `wall`, `gpu` and `graph`.

`wall` measures how long a caller waits, `gpu` how long the device works, and `graph` how long the
replay of a CUDA graph takes. Each clock has rows of its own. A clock times a block of calls, which
is one sample; how many samples are taken is decided in sampling.py.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module

# Imported by name, so that a method that replaces it in `time` does not change it here.
from time import perf_counter_ns
from typing import Any, Protocol

from mssbench.errors import Unsupported
from mssbench.records.cell import GPU, GRAPH, WALL

TimedCall = Callable[[Any], object]  # the call that is timed
# Most operators in one window of events. A driver queues 1024 launches and then blocks the host
# until the device has taken one, and some operators are two launches.
MOST_QUEUED = 500
_WARM = 3  # calls on a side stream before a capture, so that libraries initialise before it


class Clock(Protocol):
    """Times a block of calls. `name` is the value of the column `clock`."""

    name: str

    def block(self, call: TimedCall, prepared: Sequence[Any]) -> float:
        """Return the seconds from before the first call to after the last one.

        The calls are `call(p) for p in prepared`.
        """
        ...


def synchronizer(device: str) -> Callable[[], None]:
    """Return a function that waits until the device has done all queued work.

    It does nothing on a CPU.
    """
    if device != "cuda":
        return _nothing
    return import_module("torch").cuda.synchronize  # type: ignore[no-any-return]


def _nothing() -> None:
    """Do nothing, since a CPU has no queue."""


class HostClock:
    """The monotonic clock of the host; the device is idle before and after the block."""

    name = WALL

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self._synchronize = synchronize

    def block(self, call: TimedCall, prepared: Sequence[Any]) -> float:
        """Return the seconds that a caller waits, for host and device together."""
        self._synchronize()
        start = perf_counter_ns()
        for p in prepared:
            call(p)
        self._synchronize()
        return (perf_counter_ns() - start) * 1e-9


class CudaClock:
    """A pair of CUDA events on the current stream, with the host running ahead of the device.

    A spinning kernel occupies the stream while the host queues the block, so that the events
    bracket the work of the device and not the launches of the host. The spin lasts twice as long as
    queueing is expected to take, which each block measures for the next one, and longer after a
    block that was late. A call that itself waits for the device, such as a checked solve, contains
    that wait however long the spin is, so the spin is then short. It is finite, so it cannot
    deadlock.

    cuda: torch.cuda.
    cool: queues the operation that flushes the cache of the device, before the spin and outside of
        the window.
    waits: whether the calls wait for the device, see `waits_for_device`. If None, this is assumed
        after a few late blocks in a row.
    """

    name = GPU
    _SHORTEST, _LONGEST = 50e-6, 50e-3  # seconds of spin
    # Ratio of the spin to the seconds for queueing: the usual one, and the largest. It is doubled
    # after each late block, so that the host gets ahead without spinning long every time.
    _MARGIN, _WIDEST = 2, 16
    # Late blocks in a row, each after a longer spin, from which a call is taken to wait.
    _PATIENCE = 3

    def __init__(
        self, cuda: Any, cool: Callable[[], object] | None = None, waits: bool | None = None
    ) -> None:
        self._cuda = cuda  # torch.cuda
        self._cool = cool
        self._waits = waits
        self._cycles_per_second = _spin_rate(cuda)
        self._per_call = 0.0  # seconds to queue one call
        self._margin = self._MARGIN
        self._late: list[bool] = []  # for each window, whether the device waited for the host

    def block(self, call: TimedCall, prepared: Sequence[Any]) -> float:
        """Return the seconds that the device takes for the block."""
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
        late = bool(start.query())  # the device reached the block before all of it was queued
        end.record()
        end.synchronize()

        self._late.append(late)
        self._margin = min(2 * self._margin, self._WIDEST) if late else self._MARGIN
        # A call that waits for the device waits for the spin too, which is subtracted.
        self._per_call = (queued * 1e-9 - (lead if late else 0.0)) / len(prepared)

        return float(start.elapsed_time(end)) * 1e-3

    def gaps(self, windows: int) -> float:
        """Return the share of the last `windows` windows in which the device waited for the host.

        A call that itself waits always has such a gap, which is not counted. If the share is 1.0
        the gaps are no accident, since the spin has grown each time: a call of more than about 1000
        launches cannot be queued ahead of the device.
        """
        last = self._late[-windows:]
        return 0.0 if self._waits or not last else sum(last) / len(last)

    def _lead(self, calls: int) -> float:
        """Return the seconds of spin before a block of `calls` calls."""
        waits = self._waits
        if waits is None:
            waits = len(self._late) >= self._PATIENCE and all(self._late[-self._PATIENCE :])
        if waits:
            return self._SHORTEST
        return min(max(self._margin * self._per_call * calls, self._SHORTEST), self._LONGEST)


def spin(cuda: Any, seconds: float) -> None:
    """Queue a kernel on the current stream that does nothing for a number of seconds.

    cuda: torch.cuda.
    """
    cuda._sleep(int(seconds * _spin_rate(cuda)))


@lru_cache
def _spin_rate(cuda: Any) -> float:
    """Return the cycles per second of the spinning kernel.

    It is the largest of a few measurements, because the clock of a GPU rises under load.
    """
    cuda._sleep(1000)  # loads the kernel

    cycles, rates = 10_000_000, []
    for _ in range(5):
        start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        start.record()
        cuda._sleep(cycles)
        end.record()
        end.synchronize()
        rates.append(cycles / (float(start.elapsed_time(end)) * 1e-3))

    return max(rates)


class GraphClock:
    """Times the replays of a call that was captured once as a CUDA graph.

    A replay is a single launch, so that only the work of the device is timed. The captured inputs
    stay where they are, so every replay computes the same.
    """

    name = GRAPH

    def __init__(self, cuda: Any, call: TimedCall, prepared: Any) -> None:
        """Capture `call(prepared)`. Raises CaptureFailed where that is impossible."""
        self._clock = CudaClock(cuda, waits=False)
        self._prepared = prepared  # kept alive, since every replay reads it
        self._graph = cuda.CUDAGraph()
        self.output = capture(cuda, self._graph, call, prepared)  # overwritten by every replay

    def block(self, call: TimedCall, prepared: Sequence[Any]) -> float:
        """Return the seconds of one replay for each item of `prepared`; `call` is ignored."""
        del call
        return self._clock.block(lambda _: self._graph.replay(), prepared)


def capture(cuda: Any, graph: Any, call: TimedCall, prepared: Any) -> Any:
    """Capture `call(prepared)` into an empty graph, and return its output, which has no values yet.

    The call is made a few times before, so that libraries initialise and choose their kernels
    outside of the capture.

    cuda: torch.cuda.
    graph: a torch.cuda.CUDAGraph.
    Raises CaptureFailed where the call cannot be captured.
    """
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())

    try:
        with cuda.stream(side):
            for _ in range(_WARM):
                call(prepared)
        cuda.current_stream().wait_stream(side)

        # A failed capture would leave torch on the stream of the capture.
        with cuda.stream(cuda.current_stream()), cuda.graph(graph):
            return call(prepared)
    except Exception as error:
        cuda.synchronize()
        reason = _first_line(_cause(error))
        raise CaptureFailed(f"cannot be captured as a CUDA graph: {reason}") from None


class CaptureFailed(Unsupported):
    """A call cannot be captured as a CUDA graph.

    The process should be left soon, as the allocator of torch may not recover.
    """


def waits_for_device(cuda: Any, call: TimedCall, prepared: Any) -> bool:
    """Whether a call itself waits until the device has done its work, as a checked solve does.

    The `gpu` time of such a call always contains gaps in which the device waits for the host. To
    find out, a kernel that does nothing for 20 ms is queued, and the call is made. If the kernel
    has ended when the call returns, the call has waited for it. This takes at least 20 ms, so do it
    once per method and shape.
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
    """Return the error that led to the others.

    torch raises another one where a capture ends.
    """
    while error.__context__ is not None:
        error = error.__context__
    return error


def _first_line(error: BaseException) -> str:
    """Return the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
