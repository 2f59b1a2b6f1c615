"""Limits in seconds that hold on a slow machine too: a fixed job tells how slow it is just now."""

import subprocess
import sys
import time

_JOB = (sys.executable, "-c", "import pandas")
_USUAL = 0.5  # seconds of the job where the limits of these tests were written


def slowness() -> float:
    """How many times the usual time the job takes here and now; at least 1."""
    return max(1.0, min(_seconds() for _ in range(3)) / _USUAL)


def _seconds() -> float:
    start = time.perf_counter()
    subprocess.run(_JOB, check=True)
    return time.perf_counter() - start
