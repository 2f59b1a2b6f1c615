"""The same calls by our timer and by others', in turn; and the parts of a step beside the whole."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from math import inf
from statistics import median
from typing import NamedTuple

import torch

from mssbench.measure.inputs import Input, as_it_is
from mssbench.measure.instruments.ceilings import fastest, flush
from mssbench.measure.instruments.clocks import Clock, CudaClock, HostClock, synchronizer
from mssbench.measure.instruments.sampling import nothing, sample
from mssbench.measure.phases import Calls, calls, leaf, record
from mssbench.methods import pair as pairs
from mssbench.records.policy import Policy

Call = Callable[[], object]
_ROUNDS, _FEWEST = 9, 3
_PATIENCE = 15.0  # seconds, after which the fewest rounds will do
_SECONDS = [1e-4 * 1000 ** (i / 19) for i in range(20)]  # 0.1 to 100 ms
_SHORTEST_ON_GPU = 1e-3  # seconds: others count the gaps between launches in, which do not fill it
_MOST_BYTES = 2**28  # of a batch
_PARTS_BATCH = {"cpu": 16, "cuda": 1024}
# One sample, long enough that one interruption is not all of it. The warm-up serves the rival too,
# who comes next: what ran before left a core that takes several milliseconds to get fast again.
_SAMPLE = Policy(
    min_seconds=0,
    min_samples=1,
    max_seconds=10,
    warmup_seconds=0.015,
    block_seconds=5e-3,
)


class Rival(NamedTuple):
    """Another timer, and the clock of ours that measures what it measures."""

    name: str
    clock: Clock
    seconds: Callable[[Call, int], float]  # (call, number of calls) -> of one
    shortest: float = 0.0  # seconds of a call for which the two mean the same


class Job(NamedTuple):
    """A call to be timed, and about how long it takes, in seconds."""

    call: Call
    seconds: float

    def run(self, _: object) -> object:
        """The call, as a clock of ours makes it."""
        return self.call()


def here(device: str) -> Iterator[Rival]:
    """The timers that are installed, for this device."""
    yield Rival("torch.utils.benchmark", HostClock(synchronizer(device)), _by_torch)
    if device != "cuda":
        return
    if find_spec("triton") is not None:
        clock = CudaClock(torch.cuda, flush())
        yield Rival("triton.testing.do_bench", clock, _by_triton, _SHORTEST_ON_GPU)
    if find_spec("cupyx") is not None:
        clock = CudaClock(torch.cuda)
        yield Rival("cupyx.profiler.benchmark", clock, _by_cupy, _SHORTEST_ON_GPU)


def _by_torch(call: Call, count: int) -> float:
    with warnings.catch_warnings():  # it looks for a compiler, by way of distutils
        warnings.simplefilter("ignore")
        from torch.utils.benchmark import Timer

    # by default it would measure with one thread
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return float(timer.timeit(count).median)


def _by_triton(call: Call, count: int) -> float:
    bench = import_module("triton.testing").do_bench
    return 1e-3 * float(bench(call, warmup=1, rep=count, return_mode="median"))


def _by_cupy(call: Call, count: int) -> float:
    bench = import_module("cupyx.profiler").benchmark
    return float(median(bench(call, n_repeat=count, n_warmup=2).gpu_times[0]))


def jobs(device: str) -> list[Job]:
    """Products, two roots and a step of two sizes, the batch chosen for the time they take."""
    makers: list[Callable[[Input], Call]] = [
        _product,
        partial(_phase, "eigh", None, "forward"),
        partial(_phase, "newton_schulz", None, "forward"),
        partial(_phase, "eigh", "loewner", "step"),
    ]
    clock = HostClock(synchronizer(device))
    found = []
    for i, seconds in enumerate(_SECONDS):
        make, n = makers[i % len(makers)], (16, 64)[i // len(makers) % 2]
        took = fastest(clock, make(batch(64, n, device)))
        b = max(1, min(round(64 * seconds / took), _MOST_BYTES // (4 * n * n)))
        call = make(batch(b, n, device))
        found.append(Job(call, fastest(clock, call)))
    return found


def batch(b: int, n: int, device: str) -> Input:
    """(b, n, n), float32: 64 covariances over and over, and a cotangent."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, n, 3 * n, generator=generator).to(device)
    a = (x @ x.mT / (3 * n)).repeat(-(-b // 64), 1, 1)[:b].contiguous()
    return Input(a, a.flip(0), as_it_is)


def _product(x: Input) -> Call:
    out = torch.empty_like(x.a)
    return lambda: torch.bmm(x.a, x.a, out=out)


def _phase(forward: str, backward: str | None, phase: str, x: Input) -> Call:
    what = calls(pairs.pair("sqrt", forward, backward), "torch", phase)
    return lambda: what.call(what.prepare(x))


def ratios(rival: Rival, jobs: Sequence[Job]) -> list[float]:
    """Our median over theirs, of each job that is long enough for both."""
    jobs = [job for job in jobs if job.seconds >= rival.shortest]
    ours: list[list[float]] = [[] for _ in jobs]
    theirs: list[list[float]] = [[] for _ in jobs]
    start = time.perf_counter()
    while len(ours[0]) < _ROUNDS and (
        len(ours[0]) < _FEWEST or time.perf_counter() < start + _PATIENCE
    ):
        for job, mine, other in zip(jobs, ours, theirs, strict=True):
            timing = sample(rival.clock, nothing, job.run, _SAMPLE, first_call=inf)
            mine.extend(timing.samples)
            other.append(rival.seconds(job.call, timing.calls))
    return [median(x) / median(y) for x, y in zip(ours, theirs, strict=True)]


def parts(forward: str, backward: str, device: str) -> float:
    """Recorded forward plus backward, each timed alone, over the step; less one."""
    pair, x = pairs.pair("sqrt", forward, backward), batch(_PARTS_BATCH[device], 64, device)
    # the host would wait for the device once for a step, and twice for its parts
    clock: Clock = CudaClock(torch.cuda) if device == "cuda" else HostClock()
    every = [
        Calls(lambda x: leaf(x.a), lambda a: record(pair, a)),
        calls(pair, "torch", "backward"),
        calls(pair, "torch", "step"),
    ]
    found = []
    for _ in range(2 * _ROUNDS):
        seconds = [_sample(clock, what, x) for what in every]
        found.append((seconds[0] + seconds[1]) / seconds[2] - 1)
    return median(found)


def _sample(clock: Clock, what: Calls, x: Input) -> float:
    timing = sample(clock, lambda: what.prepare(x), what.call, _SAMPLE, first_call=inf)
    return float(timing.samples[0])
