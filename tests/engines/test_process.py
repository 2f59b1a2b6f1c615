"""How long a worker is waited for, with its pipe in our hands."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from mssbench.engines import process
from mssbench.engines.process import Worker


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Worker, int]]:
    """A worker of which there is its pipe alone, and the end that it would write to."""
    ours, its = os.pipe()
    worker = object.__new__(Worker)
    end = time.monotonic() + 60  # rather than wait for ever
    with os.fdopen(ours, "rb") as stdout, open(os.devnull, "rb") as errors:  # noqa: PTH123
        worker._process, worker._rest = SimpleNamespace(stdout=stdout), b""  # type: ignore[assignment]
        worker._errors = errors  # type: ignore[assignment]
        worker._stopped = lambda: time.monotonic() > end
        monkeypatch.setattr(Worker, "_alive", lambda _: True)
        yield worker, its
    os.close(its)
    assert time.monotonic() < end


def test_a_machine_that_stood_still_has_not_waited_for_a_worker(
    line: tuple[Worker, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, its = line
    hours = itertools.count(step=3600)
    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: float(next(hours))))
    late = threading.Timer(0.3, os.write, [its, b'{"event": "late"}\n'])
    late.start()
    try:
        assert worker._read(60.0) == {"event": "late"}
    finally:
        late.join()
    assert worker._read(1.0) is None  # of a few ticks, whatever the clock says


def test_an_answer_that_lies_there_when_the_time_is_over_is_taken(
    line: tuple[Worker, int],
) -> None:
    worker, its = line
    os.write(its, b'{"event": "there"}\n')
    assert worker._read(0.0) == {"event": "there"}
    assert worker._read(0.0) is None


def test_a_worker_that_only_makes_noise_is_out_of_time(line: tuple[Worker, int]) -> None:
    worker, its = line
    quiet = threading.Event()

    def shout() -> None:
        while not quiet.is_set():
            os.write(its, b"noise\n" * 100)

    shouting = threading.Thread(target=shout)
    shouting.start()
    try:
        assert worker._read(0.3) is None
    finally:
        quiet.set()
        while shouting.is_alive():  # perhaps in a write that somebody must make room for
            worker._read(0.0)


TOLD = """
import io, json, os, sys
from types import SimpleNamespace
from mssbench.engines.worker import serve

def instruments(setup):
    return SimpleNamespace(describe=lambda: {"cores": sorted(os.sched_getaffinity(0))})

setup = {"also": [], "cores": json.loads(sys.argv[1])}
serve(io.StringIO(json.dumps(setup)), sys.stdout, instruments)
"""


@pytest.mark.parametrize("bound", [True, False])
def test_facts_tell_of_the_cores_that_a_worker_is_told_to_keep_to(bound: bool) -> None:
    every = sorted(os.sched_getaffinity(0))
    cores = every[-1:] if bound else None
    command = [sys.executable, "-c", TOLD, json.dumps(cores)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ready = json.loads(done.stdout.splitlines()[-1])
    assert ready["facts"]["cores"] == (cores or every)
