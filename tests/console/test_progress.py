"""Signs of life where nobody watches a bar: lines in a log, never silent for long, and no more."""

import io
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from mssbench.console.progress import LINE_SECONDS, RunProgress
from mssbench.console.terminal import waiting
from mssbench.engines.events import Finished, Killed, Started, Waiting
from mssbench.records.cell import Cell

CELL = Cell(
    library="torch",
    forward="eigh",
    backward="none",
    function="sqrt",
    problem="identity",
    size=4,
    batch=2,
    iterations=None,
    backward_iterations=None,
    options="",
    precision="float64",
    device="cpu",
    seed=0,
)


def log() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=200, highlight=False), stream


def until(stream: io.StringIO, words: str) -> str:
    """What was printed, once it has these words; at most for ten seconds."""
    limit = time.monotonic() + 10
    while words not in stream.getvalue():
        assert time.monotonic() < limit, stream.getvalue()
        time.sleep(0.01)
    return stream.getvalue()


def test_a_log_has_a_line_again_and_again_with_the_cell_that_runs():
    console, stream = log()
    with RunProgress(console, line_seconds=0.02) as progress:
        progress.begin(6)
        progress(Started(CELL))
        until(stream, "0 of 6 measurements; now torch/eigh")
        progress(Finished(CELL, [], [], {}, status="crashed", reason="it did"))
        until(stream, "1 of 6 measurements")
    after = stream.getvalue()
    time.sleep(0.1)
    assert stream.getvalue() == after  # nothing once the run has ended


def test_a_cell_of_several_passes_counts_once_with_the_status_of_the_latest():
    console, _ = log()
    with RunProgress(console) as progress:
        progress.begin(3)
        other = replace(CELL, size=8)
        for cell, status in ((CELL, "crashed"), (other, "timeout"), (CELL, "timeout")):
            progress(Finished(cell, [], [], {}, status=status, reason="it did"))
        (task,) = progress._progress.tasks
        assert task.fields["counts"] == "[red]2 timeout[/red]"
        assert task.completed == 3


def test_before_the_first_cell_a_line_says_what_the_run_waits_for():
    console, stream = log()
    with RunProgress(console, line_seconds=0.02) as progress:
        progress.begin(6)
        until(stream, "0 of 6 measurements; now starting a worker")
        progress(Waiting("cpu", "process 7 (mssbench)"))
        until(stream, "0 of 6 measurements; now waiting for process 7 (mssbench)")
        progress(Started(CELL))
        until(stream, "0 of 6 measurements; now torch/eigh")


def test_before_it_is_known_how_much_there_is_to_do_a_log_has_no_line():
    console, stream = log()
    with RunProgress(console, line_seconds=0.01) as progress:
        time.sleep(0.1)
        assert stream.getvalue() == ""
        progress.begin(2)
        until(stream, "0 of 2 measurements")


def test_a_short_run_prints_nothing():
    console, stream = log()
    with RunProgress(console) as progress:
        progress.begin(1)
        progress(Started(CELL))
    assert stream.getvalue() == ""
    assert LINE_SECONDS == 10.0  # the longest that a run may be silent


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, ""), (1.9, ""), (61.0, " (1 min 01 s)")])
def test_a_cell_that_takes_long_says_for_how_long(monkeypatch, seconds, shown):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("mssbench.console.progress.time.monotonic", lambda: clock.now)
    progress = RunProgress(log()[0])
    progress(Started(CELL))
    clock.now += seconds
    assert progress.now() == f"{CELL}{shown}"


@pytest.mark.parametrize("terminal", [True, False])
def test_waiting_shows_only_in_a_terminal_and_leaves_nothing(monkeypatch, terminal):
    stream = io.StringIO()
    monkeypatch.setattr(
        "mssbench.console.terminal.make_console",
        lambda stderr: Console(file=stream, force_terminal=terminal, width=80),
    )
    with waiting("examining this machine"):
        pass
    assert ("examining" in stream.getvalue()) is terminal
    if terminal:
        assert stream.getvalue().endswith("\x1b[2K")  # its line is erased


def test_a_worker_that_was_killed_is_said_to_be_so():
    console, stream = log()
    with RunProgress(console) as progress:
        progress(Killed("signal 15 (SIGTERM)", in_cell=False))
        progress(Started(CELL))
        progress(Killed("signal 9 (SIGKILL)", in_cell=True))
    assert stream.getvalue().splitlines() == [
        "The worker was killed by signal 15 (SIGTERM); it was measuring no cell.",
        "The worker was killed by signal 9 (SIGKILL); its cell is measured again.",
    ]
