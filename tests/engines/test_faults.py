"""Whatever a method does to its process costs its own cell at the most, and its row says what."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from helpers.root import ROOT, TESTS
from helpers.runs import (
    finished,
    load,
    orphans,
    relatives,
    stand_in,
    statuses,
    table,
    until,
    wish,
    write_suite,
)

from mssbench.engines import local, process, slots
from mssbench.engines.events import CeilingsMeasured, Finished, Killed, Ready, Started
from mssbench.engines.process import Answer, Worker
from mssbench.engines.slots import Slot
from mssbench.engines.start import Setup
from mssbench.errors import RunError
from mssbench.records.cell import Cell
from mssbench.records.measurement import Row, Status
from mssbench.run import run as runs_module

# Methods that misbehave, as a user's own file may. FOLDER is where they leave notes for the test.
METHODS = """
import builtins, ctypes, os, pathlib, signal, subprocess, sys, time
import numpy as np
from mssbench.methods.registry import Root, register_forward

FOLDER = pathlib.Path(os.environ["FAULTS"])


def root(a):
    w, v = np.linalg.eigh(a)
    return (v * np.sqrt(w)[..., None, :]) @ v.swapaxes(-1, -2)


def method(deed):
    def call(a):
        found = deed(a)
        return Root(sqrt=root(a) if found is None else found)
    call.__name__ = deed.__name__
    call.__module__ = __name__
    register_forward(cite="none", products=lambda: 1.0, yields=["sqrt"], libraries=["numpy"])(call)
    return deed


@method
def leaves_something_behind(a):
    builtins.left_behind = True

@method
def trips_over_it(a):
    if hasattr(builtins, "left_behind"):
        os.kill(os.getpid(), signal.SIGSEGV)

@method
def segfaults(a):
    ctypes.string_at(0)

@method
def exits(a):
    print("last words", file=sys.stderr)
    os._exit(3)

@method
def kills_itself(a):
    os.kill(os.getpid(), signal.SIGKILL)

@method
def loops(a):
    while True:
        pass

@method
def sleeps_with_children(a):
    near = subprocess.Popen(["sleep", "600"])
    far = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (FOLDER / "children").write_text(f"{near.pid} {far.pid}")
    time.sleep(600)

@method
def is_killed_once(a):
    if not (FOLDER / "victim").exists():
        (FOLDER / "victim.new").write_text(str(os.getpid()))
        (FOLDER / "victim.new").rename(FOLDER / "victim")
        time.sleep(600)

@method
def runs_out_of_memory(a):
    raise MemoryError

@method
def raises(a):
    raise ValueError("no such luck")

@method
def yields_nan(a):
    return root(a) * np.nan

@method
def is_half_as_large_again(a):
    return 1.5 * root(a)

@method
def is_negative(a):
    return -root(a)

@method
def changes_shape(a):
    return root(a)[:, :2]

@method
def changes_dtype(a):
    return root(a).astype(np.float32)

@method
def writes_into_its_input(a):
    y = root(a)
    a += 1
    return y

@method
def prints_a_lot(a):
    line = "x" * 1000
    for _ in range(300):
        print(line)
        print(line, file=sys.stderr)

@method
def closes_its_output(a):
    try:
        os.close(1)
    except OSError:
        pass
"""


class Fate(NamedTuple):
    """What must become of a cell."""

    status: str
    reason: str = ""  # what its reason must say


TIMEOUT = 5  # seconds: a busy machine may stand still for two, and then a healthy cell died
FATES = {
    "leaves_something_behind": Fate("ok"),
    "trips_over_it": Fate("ok"),
    "segfaults": Fate("crashed", "signal 11 (SIGSEGV): Fatal Python error: Segmentation fault"),
    "exits": Fate("crashed", "exit status 3: last words"),
    "kills_itself": Fate("crashed", "signal 9 (SIGKILL, twice; the kernel sends it when memory"),
    "loops": Fate("timeout", f"killed after {TIMEOUT} s"),
    "sleeps_with_children": Fate("timeout", f"killed after {TIMEOUT} s"),
    "is_killed_once": Fate("ok"),
    "runs_out_of_memory": Fate("oom", "out of memory"),
    "raises": Fate("crashed", "ValueError: no such luck"),
    "yields_nan": Fate("nonfinite", "2 matrices of the root have a nan"),
    "is_half_as_large_again": Fate("inaccurate", "root error 0.5 exceeds 0.1"),
    "is_negative": Fate("diverged", "root error 2 exceeds 1"),
    "changes_shape": Fate("crashed", "the root has shape (2, 2, 4), not (2, 4, 4)"),
    "changes_dtype": Fate(
        "crashed", "the root has dtype float32, not float64: convert it to the dtype of the input"
    ),
    "writes_into_its_input": Fate("crashed", "writes_into_its_input wrote into its input"),
    "prints_a_lot": Fate("ok"),
    "closes_its_output": Fate("ok"),
}
HEALTHY = 42  # the other cells, before, between and after


class Outcome(NamedTuple):
    """A whole run through the command line, and what it left."""

    exit_code: int
    stderr: str
    rows: list[Row]
    left: list[psutil.Process]
    children: list[int]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "methods.py").write_text(METHODS)
    names = [f"numpy/{name}" for name in FATES]
    iterations = f"backward = 'none'\niterations = {list(range(12, 31))}"
    suite = write_suite(
        folder,
        "forward = ['numpy/eigh', 'torch/eigh']\nbackward = ['none', 'loewner']",
        f"forward = 'numpy/newton_schulz'\n{iterations}",
        f"forward = {names[:12]}",  # in this order a death meets a fresh worker or a used one
        f"forward = 'torch/newton_schulz'\n{iterations}",
        f"forward = {names[12:]}",
        timeout=TIMEOUT,
    )
    locks = folder / "locks"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSSBENCH_LOCKS", str(locks))
        patch.setenv("FAULTS", str(folder))
        threading.Thread(target=kill_victim, args=(folder / "victim",), daemon=True).start()
        done = finished(
            suite, "--out", folder / "out", "--also", folder / "methods.py", "--effort", "smoke"
        )
        children = [int(word) for word in (folder / "children").read_text().split()]
        yield Outcome(done.returncode, done.stderr, table(folder / "out"), orphans(locks), children)


def kill_victim(note: Path) -> None:
    """An administrator, once."""
    if until(note.exists, 600):
        os.kill(int(note.read_text()), signal.SIGKILL)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_every_one_of_sixty_cells_has_its_rows(outcome: Outcome) -> None:
    rows = outcome.rows
    assert len({r["cell_id"] for r in rows}) == len(FATES) + HEALTHY == 60, outcome.stderr
    for cell_id in {r["cell_id"] for r in rows}:
        mine = [r for r in rows if r["cell_id"] == cell_id]
        due = ["forward"] if mine[0]["backward"] == "none" else ["backward", "step"]
        assert [r["phase"] for r in mine] == due


@pytest.mark.slow
@pytest.mark.parametrize("name", FATES)
def test_a_fault_has_a_status_and_a_reason_of_its_own(outcome: Outcome, name: str) -> None:
    (row,) = (r for r in outcome.rows if r["forward"] == name)
    assert row["status"] == FATES[name].status, row["reason"]
    assert FATES[name].reason in row["reason"]
    assert len(row["reason"]) <= 400
    assert (row["seconds_median"] != "") == (name in TIMED)


TIMED = {n for n, f in FATES.items() if f.status in ("ok", "nonfinite", "inaccurate", "diverged")}


@pytest.mark.slow
def test_a_segfault_names_the_line_it_was_in(outcome: Outcome) -> None:
    (row,) = (r for r in outcome.rows if r["forward"] == "segfaults")
    assert "in segfaults" in row["reason"]


@pytest.mark.slow
def test_every_other_cell_is_ok(outcome: Outcome) -> None:
    healthy = [r for r in outcome.rows if r["forward"] not in FATES]
    assert {(r["status"], r["reason"]) for r in healthy} == {("ok", "")}
    assert len({r["cell_id"] for r in healthy}) == HEALTHY


@pytest.mark.slow
def test_broken_cells_are_exit_code_4(outcome: Outcome) -> None:
    assert outcome.exit_code == 4, outcome.stderr


@pytest.mark.slow
def test_no_process_outlives_the_run(outcome: Outcome) -> None:
    assert outcome.left == []
    assert len(outcome.children) == 2
    # a kill is asked for, and then takes a moment
    assert until(lambda: not [pid for pid in outcome.children if psutil.pid_exists(pid)])


@pytest.mark.slow
def test_an_output_that_a_method_closed_is_open_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order they come within a problem: one has closed it before another prints."""
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("FAULTS", str(tmp_path))
    (tmp_path / "methods.py").write_text(METHODS)
    methods = "forward = ['numpy/closes_its_output', 'numpy/prints_a_lot']"
    suite = write_suite(tmp_path, methods, seeds=4)
    finished(suite, "--out", tmp_path / "out", "--also", tmp_path / "methods.py")
    rows = table(tmp_path / "out")
    assert len(rows) == 8
    assert {(row["status"], row["reason"]) for row in rows} == {("ok", "")}


# The engine alone, with a worker that needs no torch.


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "locks"))
    settings = {"policy": {}, "max_error": 0.1}
    yield Setup(settings, timeout_seconds=60, python=stand_in(tmp_path))
    assert orphans(tmp_path / "locks") == []


FORWARDS = ("eigh", "svd", "taylor")


def cells(*forwards: str) -> list[Cell]:
    return [
        Cell("numpy", f, "none", "sqrt", "p", 4, 2, None, None, "", "float64", "cpu", seed)
        for seed, f in enumerate(forwards)
    ]


def ends(setup: Setup, *forwards: str) -> list[Finished]:
    return [e for e in local.run(cells(*forwards), setup) if isinstance(e, Finished)]


def words(end: Finished) -> tuple[str, str]:
    """(status, reason), whoever said it."""
    if end.status is not None:
        return str(end.status), end.reason
    return end.rows[0]["status"], end.rows[0]["reason"]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second for a stop signal to arrive after a death."""
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.0)


def test_a_reply_longer_than_a_pipe_arrives_whole(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, do={"svd": "long"})
    first, second = ends(setup, "svd", "eigh")
    assert len(first.samples[0]) == 100_000
    assert words(second) == ("ok", "")


def test_noise_before_the_first_word_is_no_reply(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, greeting='Welcome!\n{}\n{"event"\n[1, 2]\n\xe4')
    assert [words(e) for e in ends(setup, "eigh")] == [("ok", "")]


def test_an_interpreter_that_only_talks_is_quoted(setup: Setup, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    with pytest.raises(RunError, match="ended before its first cell: hello"):
        ends(Setup(setup.settings, python=str(script)), "eigh")


def test_an_interpreter_that_wraps_without_exec_learns_why_not(
    setup: Setup, tmp_path: Path
) -> None:
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\n{setup.python} "$@"\nexit 0\n')
    script.chmod(0o755)
    with pytest.raises(RunError, match="a script that should `exec` the real one"):
        ends(Setup(setup.settings, python=str(script)), "eigh")


def test_a_method_that_reads_its_input_finds_none(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, do={"svd": "read"})
    assert [words(e) for e in ends(setup, "svd", "eigh")] == [("ok", "")] * 2


def test_a_death_is_seen_though_a_child_holds_the_pipe(
    setup: Setup, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, do={"svd": "fork"})
    (end,) = ends(setup, "svd")
    assert words(end)[0] == "crashed"  # and not timeout: it was seen before that
    assert "exit status 3" in end.reason


def test_a_reason_quotes_the_cell_and_not_the_start(
    setup: Setup, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, do={"svd": "exit"})
    assert [words(e)[1] for e in ends(setup, "svd")] == ["the worker died: exit status 3"]


def test_a_worker_that_hangs_up_but_lives_is_ended(
    setup: Setup, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "DYING_SECONDS", 0.5)
    wish(monkeypatch, do={"svd": "mute"})
    first, second = ends(setup, "svd", "eigh")
    assert words(first) == ("crashed", "the worker died: it closed its pipe and did not end")
    assert words(second) == ("ok", "")


@pytest.mark.slow
def test_a_preparation_that_hangs_is_not_the_methods_timeout(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PREPARE_SECONDS", 2)
    wish(monkeypatch, do={"svd": "hang_before"})
    first, second = ends(setup, "svd", "eigh")
    assert words(first) == (
        "timeout",
        "preparing the problem and its reference took over 2 s",
    )
    assert words(second) == ("ok", "")


def test_what_a_method_prints_does_not_fill_the_disk(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PRINTED_BYTES", 300_000)
    sizes: list[int] = []
    real = Worker._trim

    def trim(self: Worker) -> None:
        real(self)
        sizes.append(self._printed())

    monkeypatch.setattr(Worker, "_trim", trim)
    wish(monkeypatch, do={"svd": "shout"})  # 4 MB in 0.8 s
    assert [words(e) for e in ends(setup, "svd")] == [("ok", "")]
    assert statistics.median(sizes) <= 300_000  # it may print while we look


def test_a_worker_killed_while_it_starts_gets_a_second_try(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, die_at_start=tmp_path / "died")
    found = list(local.run(cells("eigh"), setup))
    assert [words(e) for e in found if isinstance(e, Finished)] == [("ok", "")]
    assert [e.in_cell for e in found if isinstance(e, Killed)] == [False]
    assert (tmp_path / "died").exists()


@pytest.mark.sampled(slow=1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("respawns", "few"), [(15, 5), pytest.param(50, 15, marks=pytest.mark.slow)]
)
def test_respawns_leak_no_descriptor(
    setup: Setup, hasty: None, monkeypatch: pytest.MonkeyPatch, respawns: int, few: int
) -> None:
    wish(monkeypatch, do={"svd": "exit"})
    counts, threads = [], []
    for event in local.run(cells(*["svd"] * respawns), setup):
        if isinstance(event, Finished):
            counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
            threads.append(threading.active_count())
    assert len(counts) == respawns
    # the next worker may be on its way while we count: the least of several is without it
    assert min(counts[-few:]) <= min(counts[:few]) + 5
    assert max(threads) == threads[0]


@pytest.mark.slow
def test_a_lock_does_not_reach_what_a_worker_starts(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that a method left would hold the device for ever."""
    wish(monkeypatch, seconds=3)
    events = local.run(cells("eigh"), setup)
    assert isinstance(next(events), Started)
    assert isinstance(next(events), Ready)
    (worker,) = relatives(tmp_path / "locks")
    lock = str(tmp_path / "locks" / "cpu")
    assert lock in [f.path for f in worker.open_files()]
    fds = Path(f"/proc/{worker.pid}/fdinfo")
    held = [f for f in worker.open_files() if f.path == lock]
    flags = (fds / str(held[0].fd)).read_text().split("flags:")[1].split()[0]
    assert int(flags, 8) & os.O_CLOEXEC
    assert [type(e) for e in events if not isinstance(e, CeilingsMeasured)] == [Finished]


# Whose fault a death is.


def answer(deed: str) -> Answer:
    if deed == "ok":
        row = {"status": "ok", "reason": ""}
        return Answer({"rows": [row], "samples": [[]], "spent": {}, "lost": False})
    if deed == "lost":
        row = {"status": "crashed", "reason": "context lost"}
        return Answer({"rows": [row], "samples": [[]], "spent": {}}, lost=True)
    if deed == "timeout":
        return Answer(None, True, status=Status.TIMEOUT, reason="timeout")
    how = "signal 9 (SIGKILL)" if deed == "killed" else ""
    return Answer(None, True, True, deed == "killed", Status.CRASHED, deed, how)


class Actor:
    """A worker whose answers are written beforehand, cell by cell and attempt by attempt."""

    undone = ()

    script: dict[str, list[str]]
    made = 0

    def __init__(self, *_: object) -> None:
        self.served, self.killed = 0, ""
        Actor.made += 1

    def start(self) -> tuple[dict[str, Any], str]:
        return {}, "here"

    def ask(self, cell: Cell, share: float) -> Answer:
        self.served += 1
        return answer(self.script[cell.forward].pop(0))

    def ceilings(self, _: str) -> dict[str, float]:
        return {"float32": 1.0}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("script", "fates", "workers"),
    [
        pytest.param({"a": ["ok"], "b": ["ok"]}, "ok ok", 1, id="no-fault"),
        pytest.param({"a": ["died"]}, "died", 1, id="in-a-fresh-worker-at-once"),
        pytest.param({"a": ["ok"], "b": ["died", "died"]}, "ok died", 2, id="else-once-more"),
        pytest.param({"a": ["ok"], "b": ["died", "ok"]}, "ok ok", 2, id="it-was-another-cell"),
        pytest.param({"a": ["killed", "killed"]}, "killed", 2, id="killed-twice"),
        pytest.param({"a": ["killed", "ok"]}, "ok", 2, id="killed-once"),
        pytest.param(
            {"a": ["ok"], "b": ["killed", "killed"]}, "ok killed", 2, id="killed-twice-when-used"
        ),
        pytest.param(
            {"a": ["ok"], "b": ["died", "killed", "ok"]}, "ok ok", 3, id="died-then-killed-once"
        ),
        pytest.param(
            {"a": ["ok"], "b": ["died", "killed", "killed"]}, "ok killed", 3, id="and-twice"
        ),
        pytest.param({"a": ["timeout"], "b": ["ok"]}, "timeout ok", 2, id="a-timeout-is-final"),
        pytest.param({"a": ["lost"], "b": ["ok"]}, "crashed ok", 2, id="a-lost-context-is-final"),
    ],
)
def test_a_death_is_blamed_only_where_nothing_else_can_be(
    hasty: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: dict[str, list[str]],
    fates: str,
    workers: int,
) -> None:
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path))
    monkeypatch.setattr(local, "Worker", Actor)
    monkeypatch.setattr(Actor, "script", script, raising=False)
    monkeypatch.setattr(Actor, "made", 0)
    found = ends(Setup({}), *script)
    assert [e.reason or e.rows[0]["status"] for e in found] == fates.split()
    assert Actor.made == workers
    assert not any(script.values())


@pytest.mark.parametrize(
    ("script", "times"),
    [
        ({"a": ["killed", "ok"], "b": ["ok"]}, 1),
        ({"a": ["killed", "killed"]}, 1),  # the second time the cell has its row, with the reason
        ({"a": ["ok"], "b": ["died", "killed", "ok"], "c": ["killed", "ok"]}, 2),
        ({"a": ["ok"], "b": ["died", "ok"]}, 0),
    ],
)
def test_each_worker_killed_from_outside_and_met_again_is_an_event(
    hasty: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: dict[str, list[str]],
    times: int,
) -> None:
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path))
    monkeypatch.setattr(local, "Worker", Actor)
    monkeypatch.setattr(Actor, "script", script, raising=False)
    found = [e for e in local.run(cells(*script), Setup({})) if isinstance(e, Killed)]
    assert found == [Killed("signal 9 (SIGKILL)", in_cell=True)] * times


def test_a_worker_killed_while_it_measures_the_machine_is_an_event_too(
    setup: Setup, hasty: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = Worker.ceilings

    def killed(self: Worker, device: str) -> dict[str, float] | None:
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(self._process.pid, signal.SIGKILL)
        return asked(self, device)

    monkeypatch.setattr(Worker, "ceilings", killed)
    found = list(local.run(cells("eigh", "svd"), setup))
    assert [words(e) for e in found if isinstance(e, Finished)] == [("ok", "")] * 2
    said = [e for e in found if isinstance(e, Killed)]
    assert said == [Killed("signal 9 (SIGKILL)", in_cell=False)]


# Being stopped.


def test_a_stop_while_a_worker_starts_is_quick(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, hang_at_start=1, log=tmp_path / "log")
    begin = time.monotonic()
    found = list(local.run(cells("eigh"), setup, (tmp_path / "log").exists))
    assert [type(e) for e in found] == [Started]
    assert time.monotonic() - begin < 60


def test_a_stop_inside_a_cell_records_nothing_of_it(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, do={"svd": "hang"}, log=tmp_path / "log")
    log = tmp_path / "log"

    def stopped() -> bool:
        """In the second cell: the answer of the first has been read by then."""
        return log.exists() and log.read_text().count("begin") > 1

    found = list(local.run(cells("eigh", "svd", "taylor"), setup, stopped))
    assert [e.cell.forward for e in found if isinstance(e, Finished)] == ["eigh"]


def test_closing_the_iterator_kills_the_worker(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, do={"svd": "hang"})
    events = local.run(cells("eigh", "svd"), setup)
    assert any(isinstance(e, Finished) for e in events)
    assert relatives(tmp_path / "locks")
    events.close()
    assert not relatives(tmp_path / "locks")


def test_a_worker_taken_down_just_before_us_is_not_blamed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path))
    monkeypatch.setattr(local, "Worker", Actor)
    monkeypatch.setattr(local, "GRACE_SECONDS", 60.0)
    monkeypatch.setattr(Actor, "script", {"a": ["died"]}, raising=False)
    begin = time.monotonic()
    found = list(local.run(cells("a"), Setup({}), lambda: time.monotonic() > begin + 0.3))
    assert [type(e) for e in found] == [Started, Ready]


def test_a_cell_is_told_how_many_its_worker_has_yet_to_measure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hasty: None
) -> None:
    """In all groups: two GPUs share five cells, three turns, which come after those of the CPU."""
    told: dict[str, list[int]] = {"cpu": [], "cuda": []}

    class Told(Actor):
        def ask(self, cell: Cell, share: float) -> Answer:
            told[cell.device].append(round(1 / share))
            return answer("ok")

    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path))
    monkeypatch.setattr(local, "Worker", Told)
    monkeypatch.setattr(local, "gpu_slots", lambda: [Slot("cuda", f"{i}", (0,)) for i in (0, 1)])
    on_gpu = [replace(c, device="cuda") for c in cells("c", "d", "e", "f", "g")]
    list(local.run([*cells("a", "b"), *on_gpu], Setup({}), share=lambda _, left: 1 / left))
    assert told["cpu"] == [5, 4]
    assert len(told["cuda"]) == 5
    assert (max(told["cuda"]), min(told["cuda"])) == (3, 1)


def test_what_was_answered_before_a_stop_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = threading.Event()

    class Late(Actor):
        def __init__(self, *given: Any) -> None:
            super().__init__()
            self.stopped = given[3]

        def ask(self, cell: Cell, share: float) -> Answer:
            asked.set()
            assert until(self.stopped)
            return answer("ok")

    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path))
    monkeypatch.setattr(local, "Worker", Late)
    found = list(local.run(cells("a", "b"), Setup({}), asked.is_set))
    assert [e.cell.forward for e in found if isinstance(e, Finished)] == ["a"]


def test_an_unforeseen_error_of_the_engine_reaches_the_caller(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hasty: None
) -> None:
    class Broken(Actor):
        def ask(self, cell: Cell, share: float) -> Answer:
            raise ZeroDivisionError

    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path))
    monkeypatch.setattr(local, "Worker", Broken)
    with pytest.raises(ZeroDivisionError):
        list(local.run(cells("a"), Setup({})))
    assert threading.active_count() == 1 or not [
        t for t in threading.enumerate() if "_serve_slot" in t.name
    ]


def test_a_process_that_cannot_be_killed_is_said_to_be_stuck(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock = os.open(tmp_path, os.O_RDONLY)
    worker = Worker(Slot("cpu", "", (0,)), setup, lock, lambda: False)
    with monkeypatch.context() as patch:
        patch.setattr(process.os, "killpg", lambda *_: None)
        patch.setattr(process, "DYING_SECONDS", 0.2)
        with pytest.raises(RunError, match=r"cannot be killed: its cpu is stuck"):
            worker.kill()
    worker.close()
    os.close(lock)


# Locks and imports.


@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_any_user_may_share_the_lock_of_a_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, umask: int
) -> None:
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "locks"))
    before = os.umask(umask)
    try:
        fd = slots.lock_slot(Slot("cpu", "", (0,)), lambda _: False)
    finally:
        os.umask(before)
    assert fd is not None
    os.close(fd)
    assert (tmp_path / "locks").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "locks" / "cpu").stat().st_mode & 0o777 == 0o644


def test_a_lock_that_cannot_be_made_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "file"))
    with pytest.raises(RunError, match="Set MSSBENCH_LOCKS to a folder"):
        slots.lock_slot(Slot("cpu", "", (0,)), lambda _: False)


def test_cells_on_the_cpu_never_run_beside_those_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "gpu_slots", lambda: [Slot("cuda", "GPU-0", (0,))] * 2)
    cpu, gpu = cells("a"), [Cell(**(vars(c) | {"device": "cuda"})) for c in cells("b", "c")]
    groups = [[slot.device for slot, _ in group] for group in local._groups([*gpu, *cpu])]
    assert groups == [["cpu"], ["cuda", "cuda"]]


@pytest.mark.parametrize(
    "module", ["mssbench.run.run", "mssbench.engines.local", "mssbench.worker"]
)
def test_the_supervisor_imports_neither_torch_nor_pandas(module: str) -> None:
    code = f"import sys, {module}; print({{'torch', 'pandas', 'pyarrow'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.sampled(1)
def test_the_supervisor_still_has_neither_while_it_measures(tmp_path: Path, setup: Setup) -> None:
    code = f"""
import sys
from pathlib import Path
from helpers.runs import load
from mssbench.run.run import run

found = []
out = run(
    load(Path({str(write_suite(tmp_path))!r})), Path({str(tmp_path / "out")!r}),
    python={setup.python!r}, watch=lambda _: found.append({{"torch", "pandas"}} & {{*sys.modules}}),
)
print(out.exit_code, len(found), set().union(*found), "torch" in sys.modules)
"""
    path = os.pathsep.join([str(TESTS), str(ROOT)])  # not sys.path, to which other tests may add
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.stdout.strip() == "0 5 set() False", done.stderr


def test_odd_text_from_a_method_does_not_end_the_run(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, do={"svd": "surrogate"})
    suite = load(write_suite(tmp_path, "forward = ['numpy/svd', 'numpy/eigh']"))
    summary = runs_module.run(suite, tmp_path / "out", python=setup.python)
    assert statuses(tmp_path / "out") == {"svd": "crashed", "eigh": "ok"}
    assert table(tmp_path / "out")[0]["reason"] == 'no ?, "he said", and left'
    assert summary.exit_code == 4
