"""Compare our timer with other timers on the same calls, and a step with the sum of its parts."""

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

Action = Callable[[], object]
_ROUNDS, _FEWEST = 9, 3  # rounds of each comparison, and their number on a slow machine
_PATIENCE = 15.0  # seconds after which no more than the fewest rounds are made
_SECONDS = [1e-4 * 1000 ** (i / 19) for i in range(20)]  # durations of the jobs, 0.1 to 100 ms
# Seconds of the shortest call on a GPU. Other timers include the gaps between launches, which are
# negligible in longer calls.
_SHORTEST_ON_GPU = 1e-3
_MOST_BYTES = 2**28  # size of the largest batch, which has to fit into the memory several times
_PARTS_BATCH = {"cpu": 16, "cuda": 1024}  # large enough for calls of a millisecond or more
# One sample, several times as long as an interruption. The warm-up also serves the other timer,
# which measures next: after other work a core takes several milliseconds to reach full speed.
_SAMPLE = Policy(
    min_seconds=0,
    min_samples=1,
    max_seconds=10,
    warmup_seconds=0.015,
    block_seconds=5e-3,
)


class Rival(NamedTuple):
    """A timer of another package, and the clock of mssbench that measures the same quantity."""

    name: str
    clock: Clock
    seconds: Callable[[Action, int], float]  # (call, number of calls) -> seconds of one call
    shortest: float = 0.0  # seconds of the shortest call for which both are comparable


class Job(NamedTuple):
    """A call to be timed, and its approximate time in seconds."""

    call: Action
    seconds: float

    def run(self, _: object) -> object:
        """Make the call, with the signature that the clocks of mssbench need."""
        return self.call()


def here(device: str) -> Iterator[Rival]:
    """Yield the timers of other packages that are installed here and work on a device."""
    yield Rival("torch.utils.benchmark", HostClock(synchronizer(device)), _by_torch)
    if device != "cuda":
        return
    if find_spec("triton") is not None:
        clock = CudaClock(torch.cuda, flush())
        yield Rival("triton.testing.do_bench", clock, _by_triton, _SHORTEST_ON_GPU)
    if find_spec("cupyx") is not None:
        clock = CudaClock(torch.cuda)
        yield Rival("cupyx.profiler.benchmark", clock, _by_cupy, _SHORTEST_ON_GPU)


def _by_torch(call: Action, count: int) -> float:
    """Return the seconds of one call as torch.utils.benchmark measures it, of `count` calls."""
    with warnings.catch_warnings():  # its import looks for a compiler with deprecated distutils
        warnings.simplefilter("ignore")
        from torch.utils.benchmark import Timer

    # By default it would measure with one thread.
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return float(timer.timeit(count).median)


def _by_triton(call: Action, count: int) -> float:
    """Return the seconds of one call as triton.testing.do_bench measures it."""
    bench = import_module("triton.testing").do_bench
    return 1e-3 * float(bench(call, warmup=1, rep=count, return_mode="median"))


def _by_cupy(call: Action, count: int) -> float:
    """Return the seconds of one call as cupyx.profiler.benchmark measures it, of `count` calls."""
    bench = import_module("cupyx.profiler").benchmark
    return float(median(bench(call, n_repeat=count, n_warmup=2).gpu_times[0]))


def jobs(device: str) -> list[Job]:
    """Return calls that take 0.1 to 100 ms, to be timed by several timers.

    They are matrix products, two roots, and a step (root and gradient), at two sizes n. The batch
    of each is chosen such that the call takes the intended time.
    """
    makers: list[Callable[[Input], Action]] = [
        _product,
        partial(_phase, "eigh", None, "forward"),
        partial(_phase, "newton_schulz", None, "forward"),
        partial(_phase, "eigh", "loewner", "step"),
    ]

    clock = HostClock(synchronizer(device))
    timed_jobs = []
    for i, seconds in enumerate(_SECONDS):
        make, n = makers[i % len(makers)], (16, 64)[i // len(makers) % 2]
        seconds_of_64 = fastest(clock, make(batch(64, n, device)))
        b = max(1, min(round(64 * seconds / seconds_of_64), _MOST_BYTES // (4 * n * n)))
        call = make(batch(b, n, device))
        timed_jobs.append(Job(call, fastest(clock, call)))
    return timed_jobs


def batch(b: int, n: int, device: str) -> Input:
    """Return an input of shape (b, n, n) in float32: 64 covariances repeated, and a cotangent."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, n, 3 * n, generator=generator).to(device)
    a = (x @ x.mT / (3 * n)).repeat(-(-b // 64), 1, 1)[:b].contiguous()
    return Input(a, a.flip(0), as_it_is)


def _product(x: Input) -> Action:
    """Return a call that multiplies a batch by itself."""
    out = torch.empty_like(x.a)
    return lambda: torch.bmm(x.a, x.a, out=out)


def _phase(forward: str, backward: str | None, phase: str, x: Input) -> Action:
    """Return a call of one phase (forward or step) of a pair of methods on the input x."""
    phase_calls = calls(pairs.pair("sqrt", forward, backward), "torch", phase)
    return lambda: phase_calls.call(phase_calls.prepare(x))


def ratios(rival: Rival, jobs: Sequence[Job]) -> list[float]:
    """Return the median time by mssbench's clock / that by another timer, for each job.

    Jobs that are too short for the other timer are left out.
    """
    jobs = [job for job in jobs if job.seconds >= rival.shortest]
    ours: list[list[float]] = [[] for _ in jobs]
    theirs: list[list[float]] = [[] for _ in jobs]

    start = time.perf_counter()
    while len(ours[0]) < _ROUNDS and (
        len(ours[0]) < _FEWEST or time.perf_counter() < start + _PATIENCE
    ):
        for job, our_times, their_times in zip(jobs, ours, theirs, strict=True):
            timing = sample(rival.clock, nothing, job.run, _SAMPLE, first_call=inf)
            our_times.extend(timing.samples)
            their_times.append(rival.seconds(job.call, timing.calls))

    return [median(x) / median(y) for x, y in zip(ours, theirs, strict=True)]


def parts(forward: str, backward: str, device: str) -> float:
    """Return how much a step differs from its parts: (recorded forward + backward) / step - 1.

    Each of the three is timed alone, several times; the result is the median. forward, backward:
    names of methods.
    """
    pair, x = pairs.pair("sqrt", forward, backward), batch(_PARTS_BATCH[device], 64, device)
    # With the host's clock the host would wait for the GPU once in a step, but twice in its parts.
    clock: Clock = CudaClock(torch.cuda) if device == "cuda" else HostClock()
    every = [
        Calls(lambda x: leaf(x.a), lambda a: record(pair, a)),
        calls(pair, "torch", "backward"),
        calls(pair, "torch", "step"),
    ]

    errors = []
    for _ in range(2 * _ROUNDS):
        seconds = [_sample(clock, phase, x) for phase in every]
        errors.append((seconds[0] + seconds[1]) / seconds[2] - 1)
    return median(errors)


def _sample(clock: Clock, phase: Calls, x: Input) -> float:
    """Return one sample of a phase, in seconds per call."""
    timing = sample(clock, lambda: phase.prepare(x), phase.call, _SAMPLE, first_call=inf)
    return float(timing.samples[0])
