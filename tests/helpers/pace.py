"""Limits in seconds that hold on a slow or a busy machine too.

What is within its limit once has kept it. Otherwise CPU seconds decide, which no stall and no other
process lengthens, or the shortest of many calls, which they hardly do; beside those of a fixed job
that tells how slow a core is just now.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

_JOB = ("-c", "import pandas")
_USUAL = 0.5  # seconds of the job where the limits of these tests were written
_TRIES = 5
# Times its limit, and on a busy machine so much is usual: what waits and does not work has no CPU
# seconds that would tell.
_WAIT = 1.5
_HANGS = 300  # seconds


class Spent(NamedTuple):
    """Seconds of one try."""

    wall: float
    cpu: float


def of_process(*arguments: object) -> Spent:
    """What a Python process and its children spend, from its start to its end."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # more of them spin for a while
    ) as child:
        hung = threading.Timer(_HANGS, os.kill, [child.pid, signal.SIGKILL])
        hung.start()
        # of this child alone: a thread of ours may be waiting for compilers
        _, status, usage = os.wait4(child.pid, 0)
        hung.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return Spent(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def of_call(call: Callable[[], Any]) -> Spent:
    """What a call spends, in this thread."""
    start = Spent(time.perf_counter(), time.thread_time())
    call()
    return Spent(time.perf_counter() - start.wall, time.thread_time() - start.cpu)


def slowness() -> float:
    """How many times longer than usual the fixed job takes just now; at least 1.

    For what takes minutes and cannot be tried again, as `too_slow` would.
    """
    return max(1.0, median(of_process(*_JOB).wall for _ in range(_TRIES)) / _USUAL)


def busy() -> bool:
    """Whether more is running than one run of ours, which keeps all cores at work, explains."""
    return os.getloadavg()[0] > 1.25 * len(os.sched_getaffinity(0))


def until_quiet(patience: float = 120.0) -> None:
    """Wait until a good part of the cores is idle, or for `patience` seconds."""
    end = time.monotonic() + patience
    while os.getloadavg()[0] > 0.7 * len(os.sched_getaffinity(0)) and time.monotonic() < end:
        time.sleep(2)


def too_slow(limit: float, spend: Callable[[], Spent]) -> list[Spent]:
    """Every try of what takes more than `limit` seconds, or nothing where it does not."""
    tries: list[Spent] = []
    jobs: list[Spent] = []
    while len(tries) < _TRIES:
        tries.append(spend())
        if tries[-1].wall <= limit:
            return []
        jobs.append(of_process(*_JOB))
        wall, cpu = (min(seconds) for seconds in zip(*tries, strict=True))
        slow = Spent(*(max(1.0, min(seconds) / _USUAL) for seconds in zip(*jobs, strict=True)))
        if cpu <= limit * slow.cpu and wall <= _WAIT * limit * slow.wall:
            return []
    return tries
