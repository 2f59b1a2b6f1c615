"""Killed, stopped, refused or run again: no row is lost, none is there twice, none is unearned."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.runs import (
    climate,
    due_samples,
    finished,
    in_time,
    key,
    load,
    measured,
    orphans,
    relatives,
    sample_counts,
    stand_in,
    started,
    statuses,
    table,
    until,
    wish,
    write_suite,
)

from mssbench.cli import main
from mssbench.console.progress import RunProgress
from mssbench.console.summary import closing, remaining
from mssbench.engines import early, local
from mssbench.engines.events import Finished
from mssbench.engines.start import Setup
from mssbench.errors import NotInstalled, RunError
from mssbench.machine import devices
from mssbench.machine import facts as environment
from mssbench.measure import code_hash
from mssbench.methods import registry
from mssbench.records.cell import clocks
from mssbench.records.measurement import Measurement, Status, uniform, worst_status
from mssbench.records.summary import Summary
from mssbench.records.timing import Timing
from mssbench.results.folder import RunFolder
from mssbench.results.rows import ENVIRONMENT, JOURNAL, SAMPLES, SUITE, TABLE
from mssbench.run.resume import passes_behind, plan
from mssbench.run.run import run
from mssbench.run.signals import Takedown

KINDS = "forward = ['numpy/eigh', 'numpy/svd', 'numpy/taylor']\nbackward = ['none', 'loewner']"


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Locks of this test alone; and no process of it is left in the end."""
    folder = tmp_path / "locks"
    monkeypatch.setenv("MSSBENCH_LOCKS", str(folder))
    yield folder
    assert orphans(folder) == []


@pytest.fixture
def python(tmp_path: Path) -> str:
    return stand_in(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def times(folder: Path) -> dict[tuple[str, ...], tuple[str, str]]:
    """When each row was measured, as far as its row tells: seconds that never come twice."""
    return {k: (r["seconds_median"], r["run_id"]) for k, r in measured(folder).items()}


def in_process(*arguments: object) -> int:
    """The exit code of `mssbench run`, without a process for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mssbench", "run", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main.main()
    return int(left.value.code or 0)


# Killed.


@pytest.mark.sampled(1, slow=0)
@pytest.mark.parametrize(
    ("kills", "seeds"), [(2, 20), pytest.param(10, 150, marks=pytest.mark.slow)]
)
def test_kills_in_a_row_lose_nothing(
    tmp_path: Path,
    out: Path,
    locks: Path,
    python: str,
    monkeypatch: pytest.MonkeyPatch,
    kills: int,
    seeds: int,
) -> None:
    wish(monkeypatch, seconds=0.004)
    suite = write_suite(tmp_path, KINDS, seeds=seeds)
    cells = 9 * seeds
    seed = time.time_ns()
    moment = random.Random(seed)
    print(f"seed {seed}")
    before: dict[tuple[str, ...], tuple[str, str]] = {}
    for _ in range(kills):
        with started(suite, "--out", out, "--python", python) as process:
            enough = len(before) + 2
            assert until(lambda: len(measured(out)) >= enough or process.poll() is not None)  # noqa: B023
            time.sleep(moment.uniform(0, 0.12))
            process.send_signal(signal.SIGKILL)
        assert orphans(locks) == []
        after = times(out)
        assert before.items() <= after.items(), "a row that was there is lost or measured again"
        assert len(after) > len(before)
        before = after
    assert len(before) < cells, "the suite is too short to be killed so often"
    done = finished(suite, "--out", out, "--python", python)
    assert done.returncode == 0, done.stderr
    assert before.items() <= times(out).items()

    run(load(suite), tmp_path / "calm", python=python)
    assert climate(table(out)) == climate(table(tmp_path / "calm"))
    assert len({key(r) for r in table(out)}) == len(table(out)) == cells
    assert sample_counts(out) == due_samples(table(out))
    assert sorted(p.name for p in out.iterdir()) == [ENVIRONMENT, SAMPLES, SUITE, TABLE]


@pytest.mark.exhaustive
def test_real_cells_survive_two_kills(tmp_path: Path, out: Path, locks: Path) -> None:
    methods = (
        "forward = ['torch/eigh', 'numpy/eigh']\nbackward = ['none', 'loewner']",
        "forward = ['torch/newton_schulz', 'numpy/svd']",
    )
    suite = write_suite(tmp_path, *methods, seeds=30)
    before: dict[tuple[str, ...], tuple[str, str]] = {}
    for _ in range(2):
        with started(suite, "--out", out) as process:
            enough = len(before) + 20
            assert until(lambda: len(measured(out)) >= enough)  # noqa: B023
            process.kill()
        assert orphans(locks) == []
        assert before.items() <= times(out).items()
        before = times(out)
    assert run(load(suite), out).exit_code == 0
    assert before.items() <= times(out).items()
    run(load(suite), tmp_path / "calm")
    assert climate(table(out)) == climate(table(tmp_path / "calm"))
    assert {r["status"] for r in table(out)} == {"ok"}
    assert sample_counts(out) == due_samples(table(out))


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("name", "tail"),
    [(TABLE, b"numpy,eigh,none,sq"), (TABLE, b'numpy,"eigh'), (JOURNAL, b'{"rows": [{"libr')],
)
def test_a_torn_last_line_is_measured_again_and_nothing_else(
    tmp_path: Path, out: Path, python: str, name: str, tail: bytes
) -> None:
    suite = load(write_suite(tmp_path, KINDS))
    killed_after(suite, out, python, cells=3)
    before = times(out)
    with (out / name).open("ab") as file:
        file.write(tail)
    summary = run(suite, out, python=python)
    assert (summary.kept, summary.statuses["ok"]) == (3, 3)
    assert before.items() <= times(out).items()
    assert [r["status"] for r in table(out)] == ["ok"] * 9
    assert sample_counts(out) == due_samples(table(out))


class Killed(BaseException):
    """Stands for the end of the process, at a moment of our choice."""


def killed_after(suite: object, out: Path, python: str, cells: int) -> None:
    """A run that leaves what a killed one would: its journal, and no order."""
    left = [cells]

    def watch(event: object) -> None:
        left[0] -= type(event).__name__ == "Finished"
        if not left[0]:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
        patch.setattr("mssbench.run.recorder.Recorder.close", lambda *_: None)
        run(suite, out, python=python, watch=watch)  # type: ignore[arg-type]


def test_a_killed_worker_is_told_on_stderr_and_leaves_the_json_alone(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, die_at_start=tmp_path / "died")
    done = finished(write_suite(tmp_path), "--out", out, "--python", python, "--json")
    assert json.loads(done.stdout)["complete"] is True
    said = "The worker was killed by signal 9 (SIGKILL); it was measuring no cell."
    assert done.stderr.count(said) == 1


def test_an_interpreter_that_cannot_be_started_is_refused_before_anything_is_announced(
    tmp_path: Path, out: Path, locks: Path
) -> None:
    suite, told = load(write_suite(tmp_path)), list[int]()
    (tmp_path / "text").touch()
    for python, why in (
        ("/no/such/python", "No such file"),
        ("no-such-python", "No such file"),
        (str(tmp_path / "text"), "Permission denied"),
    ):
        with pytest.raises(RunError, match=f"^{python} cannot be started: {why}.* Name a Python "):
            run(suite, out, python=python, begin=lambda todo: told.append(len(todo)))
    assert (told, out.exists(), locks.exists()) == ([], False, False)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOENT, "another --out, in a folder that you may write to."),
        (errno.EACCES, "another --out, in a folder that you may write to."),
        (errno.EROFS, "another --out, in a folder that you may write to."),
        (errno.ENOSPC, "free disk space, or choose another --out"),
        (errno.EDQUOT, "free disk space, or choose another --out"),
    ],
)
def test_a_folder_that_cannot_be_made_is_answered_with_the_remedy_that_helps(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    suite = load(write_suite(tmp_path))

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(RunError, match=f"^{out} cannot be written: ") as refused:
        run(suite, out)
    assert os.strerror(number) in str(refused.value)
    assert remedy in str(refused.value)
    assert ("disk space" in str(refused.value)) is remedy.startswith("free")


# Stopped.


@pytest.mark.sampled(1, slow=1)
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "twice", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["once", "twice"]
)
def test_a_signal_saves_what_was_measured_and_names_the_rest(
    tmp_path: Path,
    out: Path,
    python: str,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    twice: bool,
) -> None:
    wish(monkeypatch, seconds=0.05)
    suite = write_suite(tmp_path, KINDS, seeds=20)
    with started(suite, "--out", out, "--python", python) as process:
        assert until(lambda: len(measured(out)) > 3)
        process.send_signal(number)
        if twice:
            time.sleep(0.02)
            process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "interrupted, what was measured is saved" in " ".join(stderr.split())
    found = [r["status"] for r in table(out)]
    assert len(found) == 180
    assert set(found) == {"ok", "interrupted"}
    assert not (out / JOURNAL).exists()
    assert sample_counts(out) == due_samples(table(out))
    before = times(out)
    wish(monkeypatch)
    summary = run(load(suite), out, python=python)
    assert (summary.exit_code, summary.kept + summary.statuses["ok"]) == (0, 120)
    assert before.items() <= times(out).items()
    assert {r["status"] for r in table(out)} == {"ok"}


def ticking(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock of the run that goes on by a second with every cell; returned is what watches."""
    now = [0.0]
    monkeypatch.setattr("mssbench.run.run.time", SimpleNamespace(monotonic=lambda: now[0]))

    def watch(event: Any) -> None:
        now[0] += isinstance(event, Finished)

    return watch


@pytest.mark.slow
def test_cells_take_less_time_each_before_one_is_left_out(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """36 measurements of 0.2 s would take twice the limit; and without one they take all of it."""
    wish(monkeypatch, seconds=0.2)
    suite = load(write_suite(tmp_path, KINDS, seeds=3, passes=2))
    begun = time.monotonic()
    summary = run(suite, out, python=python, seconds=3.6)
    taken = time.monotonic() - begun
    assert (summary.over, summary.statuses["ok"]) == (False, len(suite.cells))
    assert 2 * len(suite.cells) * 0.2 > 1.9 * 3.6
    assert taken < 5


@pytest.mark.sampled(1)
@pytest.mark.parametrize("passes", [1, 2])
def test_when_its_time_is_over_what_comes_first_in_the_suite_is_measured(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch, passes: int
) -> None:
    wish(monkeypatch, seconds=0.02)  # a worker that runs far ahead of its clock is done before
    suite = load(write_suite(tmp_path, KINDS, seeds=9, passes=passes))
    summary = run(suite, out, python=python, seconds=12.5, watch=ticking(monkeypatch))
    assert (summary.over, summary.exit_code) == (True, 0)
    assert "the time was over. " in closing(summary).plain
    left = len({row["cell_id"] for row in table(out) if row["status"] == "interrupted"})
    assert (summary.left, summary.complete) == (left, False)
    assert f"Not complete: {left} of " in remaining(summary, "again", "").plain
    rows = table(out)
    seeds = {s: {int(r["seed"]) for r in rows if r["status"] == s} for s in ("ok", "interrupted")}
    assert seeds["ok"]
    assert max(seeds["ok"]) <= min(seeds["interrupted"])
    reasons = {r["reason"] for r in rows if r["status"] != "ok"}
    assert reasons == {"the time was over before this cell"}
    summary = run(suite, out, python=python, seconds=1e6, watch=ticking(monkeypatch))
    assert not summary.over
    assert summary.complete
    assert {(r["status"], r["passes"]) for r in table(out)} == {("ok", str(passes))}


@pytest.mark.sampled(1)
def test_a_run_whose_time_was_over_ends_with_what_is_left_and_the_command_that_goes_on(
    tmp_path: Path,
    out: Path,
    python: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wish(monkeypatch, seconds=0.02)
    tick, shown = ticking(monkeypatch), RunProgress.__call__

    def watch(self: RunProgress, event: Any) -> None:
        tick(event)
        shown(self, event)

    monkeypatch.setattr(RunProgress, "__call__", watch)
    suite = write_suite(tmp_path, KINDS, seeds=9)
    words = [suite, "--out", out, "--python", python]
    assert in_process(*words, "--fresh", "--minutes", "0.2") == 0
    lines = capsys.readouterr().err.splitlines()
    left = len({row["cell_id"] for row in table(out) if row["status"] == "interrupted"})
    cells = len(load(suite).cells)
    assert 0 < left < cells
    assert lines[-2] == f"Not complete: {left} of {cells} cells are left. This goes on:"
    assert lines[-1] == f"    mssbench run {suite} --out {out} --python {python} --minutes 0.2"

    def told() -> dict[str, Any]:
        captured = capsys.readouterr()
        found = json.loads(captured.out)
        assert ("Not complete" in captured.err) is not found["complete"]
        return {name: found[name] for name in ("complete", "cells_left")}

    assert in_process(*words, "--json", "--minutes", "0.01") == 0
    assert told()["complete"] is False
    assert in_process(*words, "--json") == 0
    assert told() == {"complete": True, "cells_left": 0}


def test_a_cell_with_fewer_passes_than_planned_is_said_to_be_so() -> None:
    summary = Summary(Path("run"), 6, left=1, thin=2)
    assert remaining(summary, "mssbench run x", "").plain == (
        "Not complete: 1 of 6 cells is left, and 2 of 6 cells were measured in fewer passes than "
        "planned. This goes on:\n    mssbench run x"
    )


def test_a_time_that_is_over_at_once_leaves_rows_all_the_same(
    tmp_path: Path, out: Path, python: str
) -> None:
    summary = run(load(write_suite(tmp_path, KINDS)), out, python=python, seconds=0.0)
    assert (summary.over, summary.exit_code, summary.complete) == (True, 6, False)
    assert {r["status"] for r in table(out)} == {"interrupted"}
    assert "nothing left" not in closing(summary).plain
    assert remaining(summary, "again", "longer").plain == (
        "Not complete: 6 of 6 cells are left. The time was over before a cell was measured. This "
        "has more time:\n    longer"
    )


def test_a_limit_in_which_no_cell_was_measured_is_answered_with_a_longer_one(
    tmp_path: Path,
    out: Path,
    python: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wish(monkeypatch, seconds=0.02)
    suite = write_suite(tmp_path, KINDS, passes=2)
    monkeypatch.setattr("mssbench.run.run.Stopwatch", lambda _: _Over())
    words = [suite, "--out", out, "--python", python]
    for limit, longer in ((["--minutes", "0.1"], "1"), (["--minutes=40"], "80")):
        assert in_process(*words, *limit) == 6
        last = capsys.readouterr().err.splitlines()[-1]
        again = f"    mssbench run {suite} --out {out} --python {python} --minutes {longer}"
        assert last == again


class _Over:
    """A stopwatch that says from the beginning that every limit is over."""

    def __call__(self) -> float:
        return 1e9

    def heed(self, _: object) -> None:
        pass


def test_rows_of_earlier_passes_do_not_hide_that_no_cell_was_measured() -> None:
    told = {"over": True, "statuses": Counter({"ok": 6}), "thin": 6}
    assert "longer" in remaining(Summary(Path("run"), 6, **told), "again", "longer").plain
    spent = Counter({"samples": 0.1})
    assert "again" in remaining(Summary(Path("run"), 6, **told, spent=spent), "again", "x").plain


@pytest.mark.slow
def test_a_signal_before_the_first_worker_is_ready_is_an_interruption_too(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, hang_at_start=1, log=tmp_path / "log")
    suite = write_suite(tmp_path, KINDS)
    with started(suite, "--out", out, "--python", python) as process:
        assert until((tmp_path / "log").exists)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert {r["status"] for r in table(out)} == {"interrupted"}
    wish(monkeypatch)
    assert run(load(suite), out, python=python).exit_code == 0


def test_a_stopped_fresh_run_that_had_measured_nothing_spares_the_old(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load(write_suite(tmp_path))
    run(suite, out, python=python)
    before = contents(out)
    wish(monkeypatch, hang_at_start=1, log=tmp_path / "log")
    stopping = threading.Thread(
        target=lambda: until((tmp_path / "log").exists) and signal.raise_signal(signal.SIGTERM)
    )
    stopping.start()
    summary = run(suite, out, fresh=True, python=python)
    stopping.join()
    assert summary.exit_code == 130
    assert contents(out) == before


def test_an_exception_of_the_watcher_ends_the_run_in_order(
    tmp_path: Path, out: Path, python: str
) -> None:
    suite = load(write_suite(tmp_path, KINDS))
    events: list[str] = []

    def watch(event: object) -> None:
        events.append(type(event).__name__)
        if events.count("Finished") == 2:
            raise KeyboardInterrupt

    summary = run(suite, out, python=python, watch=watch)
    assert summary.interrupted
    assert [r["status"] for r in table(out)].count("interrupted") > 0
    assert len(times(out)) >= 2


def test_signals_are_given_back(tmp_path: Path, out: Path, python: str) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    run(load(write_suite(tmp_path)), out, python=python)
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert after == before


@pytest.mark.parametrize(("signals", "code"), [(2, 0), (3, -signal.SIGTERM)])
def test_a_third_signal_ends_a_run_that_is_stuck(signals: int, code: int) -> None:
    script = (
        "import os, signal, sys\n"
        "from mssbench.run.signals import Takedown\n"
        "with Takedown() as takedown:\n"
        f"    for _ in range({signals}): os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(not takedown.asked())\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == code


def test_a_signal_that_nohup_silenced_stays_silent() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Takedown() as takedown:
            signal.raise_signal(signal.SIGHUP)
            assert not takedown.asked()
            signal.raise_signal(signal.SIGTERM)
            assert takedown.asked()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_a_run_outside_the_main_thread_leaves_signals_alone(
    tmp_path: Path, out: Path, python: str
) -> None:
    suite, found = load(write_suite(tmp_path)), list[Summary]()
    thread = threading.Thread(target=lambda: found.append(run(suite, out, python=python)))
    thread.start()
    thread.join()
    assert found[0].exit_code == 0


# Run again.


def test_a_finished_run_measures_nothing_and_changes_nothing(
    tmp_path: Path, out: Path, python: str, locks: Path
) -> None:
    suite = load(write_suite(tmp_path, KINDS))
    run(suite, out, python=python)
    before = contents(out)
    shutil.rmtree(locks)
    summary = run(suite, out, python="/no/such/python")
    assert (summary.kept, summary.statuses.total(), summary.exit_code) == (6, 0, 0)
    assert contents(out) == before
    assert not locks.exists()  # no worker, no device


@pytest.mark.slow
def test_fresh_measures_everything_again(tmp_path: Path, out: Path, python: str) -> None:
    suite = load(write_suite(tmp_path, KINDS))
    run(suite, out, python=python)
    before = times(out)
    summary = run(suite, out, fresh=True, python=python)
    assert (summary.kept, summary.statuses["ok"]) == (0, 6)
    assert not before.items() & times(out).items()
    assert before.keys() == times(out).keys()
    facts = json.loads((out / ENVIRONMENT).read_text())
    assert len(facts["runs"]) == 1


@pytest.mark.slow
def test_retry_measures_only_the_statuses_it_names(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd', 'numpy/taylor']"))
    wish(monkeypatch, do={"svd": "crashed", "taylor": "oom"})
    assert run(suite, out, python=python).exit_code == 4
    again = run(suite, out, python=python)  # a recorded failure is a result
    assert (again.kept, again.exit_code) == (3, 4)
    before = times(out)
    wish(monkeypatch)
    summary = run(suite, out, retry=["crashed"], python=python)
    assert (summary.kept, summary.statuses, summary.exit_code) == (2, {"ok": 1}, 4)
    assert statuses(out) == {"eigh": "ok", "svd": "ok", "taylor": "oom"}
    assert [n for n, t in times(out).items() if before[n] != t] == [key(table(out)[1])]


@pytest.mark.slow
def test_a_retry_that_crashes_drops_the_old_samples(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']"))
    run(suite, out, python=python)
    wish(monkeypatch, do={"svd": "crashed"})
    run(suite, out, retry=["ok"], python=python)
    assert statuses(out) == {"eigh": "ok", "svd": "crashed"}
    assert sample_counts(out) == due_samples(table(out))


def test_other_code_is_measured_again(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    suite = load(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']"))
    run(suite, out, python=python)
    before = times(out)
    real = code_hash.code_hash
    monkeypatch.setattr(
        code_hash, "code_hash", lambda cell: "edited" if cell.forward == "svd" else real(cell)
    )
    assert [c.forward for c in plan(suite, out)] == ["svd"]
    summary = run(suite, out, python=python)
    assert (summary.kept, summary.statuses["ok"]) == (1, 1)
    assert [k[1] for k, t in times(out).items() if before[k] != t] == ["svd"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "arguments",
    ["a, wanted", pytest.param("a", marks=pytest.mark.slow)],
)
def test_an_edited_methods_file_is_measured_again(
    tmp_path: Path, out: Path, python: str, arguments: str
) -> None:
    file = tmp_path / "mine.py"
    text = (
        "from mssbench.methods.registry import Root, register_forward\n"
        "@register_forward(cite='none', products=lambda: 1.0)\n"
        f"def mine({arguments}):\n    return Root(a, a)\n"
    )
    suite = write_suite(tmp_path, "forward = ['numpy/mine', 'numpy/eigh']")
    command = (suite, "--out", out, "--python", python, "--also", file)
    file.write_text(text)
    assert finished(*command).returncode == 0
    before = times(out)
    file.write_text(text.replace("Root(a, a)", "Root(a, a.copy())"))
    assert finished(*command).returncode == 0
    assert [k[1] for k, t in times(out).items() if before[k] != t] == ["mine"]


@pytest.mark.slow
def test_what_was_not_installed_is_measured_once_it_is(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load(write_suite(tmp_path, "forward = ['numpy/eigh', 'torch/eigh']"))
    wish(monkeypatch, do={"eigh": "not_installed"})
    assert run(suite, out, python=python).exit_code == 6

    def check(library: str, _device: str) -> None:
        if library == "torch":
            raise NotInstalled("pip install torch")

    monkeypatch.setattr(devices, "check_library", check)
    monkeypatch.setattr(environment, "installed", lambda: "one package more")
    wish(monkeypatch)
    summary = run(suite, out, python=python)
    assert (summary.kept, summary.statuses, summary.exit_code) == (1, {"ok": 1}, 0)
    assert [r["status"] for r in table(out)] == ["ok", "not_installed"]


@pytest.mark.slow
def test_only_can_be_widened_and_narrowed(tmp_path: Path, out: Path, python: str) -> None:
    suite = write_suite(tmp_path, KINDS, seeds=2)
    assert in_process(suite, "--out", out, "--python", python, "--only", "forward == 'svd'") == 0
    before = times(out)
    assert {k[1] for k in before} == {"svd"}
    assert in_process(suite, "--out", out, "--python", python) == 0
    assert before.items() <= times(out).items()
    run(load(suite), tmp_path / "calm", python=python)
    assert climate(table(out)) == climate(table(tmp_path / "calm"))
    before = times(out)
    assert in_process(suite, "--out", out, "--python", python, "--only", "seed == 1") == 0
    assert times(out) == before


# Refused.


@pytest.mark.sampled(1)
def test_a_second_run_on_a_folder_is_refused_by_name(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    wish(monkeypatch, gate=gate)  # the first run lasts until the second one has been refused
    suite = write_suite(tmp_path, KINDS)
    with started(suite, "--out", out, "--python", python) as first:
        assert until(lambda: measured(out))
        second = finished(suite, "--out", out, "--python", python)
        assert second.returncode == 2
        assert f"is being written by another run, process {first.pid} (" in second.stderr
        gate.touch()
        assert first.wait(120) == 0
    assert [r["status"] for r in table(out)] == ["ok"] * 9


@pytest.mark.slow
@pytest.mark.sampled(1)
def test_two_runs_take_turns_on_a_device(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    wish(monkeypatch, seconds=0.2, log=log)
    suite = write_suite(tmp_path, KINDS)
    with started(suite, "--out", tmp_path / "one", "--python", python) as one:
        assert until(log.exists)
        assert in_process(suite, "--out", tmp_path / "two", "--python", python) == 0
        assert one.wait(120) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"waiting for process {one.pid} (" in said
    # Once, though its worker may hold the device for a moment longer, which is said as well.
    assert said.count(f"waiting for process {one.pid}") == 1
    lines = [words for words in in_time(log) if "ceilings" not in words]
    assert [word for _, word, _ in lines] == ["begin", "end"] * 12
    workers = [pid for _, _, pid in lines]
    assert workers == [workers[0]] * 12 + [workers[-1]] * 12


def test_a_killed_run_frees_the_device(
    tmp_path: Path, out: Path, locks: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(monkeypatch, do={"eigh": "hang"}, log=tmp_path / "log")
    suite = write_suite(tmp_path)
    with started(suite, "--out", out, "--python", python) as process:
        assert until((tmp_path / "log").exists)
        process.kill()
    assert orphans(locks) == []
    wish(monkeypatch)
    assert run(load(suite), out, python=python).exit_code == 0


@pytest.mark.parametrize("name", ["thesis.tex", TABLE])
def test_a_folder_of_something_else_stays_as_it_is(
    tmp_path: Path, out: Path, python: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out.mkdir()
    (out / name).write_text("a,b\n1,2\n")
    suite = write_suite(tmp_path)
    assert in_process(suite, "--out", out, "--python", python) == 2
    assert "choose another --out" in capsys.readouterr().err.replace("\n", " ").replace(
        "Choose", "choose"
    )
    assert in_process(suite, "--out", out, "--python", python, "--fresh") == 2
    assert contents(out) == {name: b"a,b\n1,2\n"}


def test_a_file_is_no_folder(
    tmp_path: Path, out: Path, python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out.write_text("mine")
    assert in_process(write_suite(tmp_path), "--out", out, "--python", python) == 2
    assert "is a file" in capsys.readouterr().err
    assert out.read_text() == "mine"


@pytest.mark.slow
def test_another_suites_folder_is_refused_unless_fresh(
    tmp_path: Path, out: Path, python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(load(write_suite(tmp_path)), out, python=python)
    before = contents(out)
    other = write_suite(tmp_path, name="other")
    assert in_process(other, "--out", out, "--python", python) == 2
    assert "holds a run of suite 'tiny', not 'other'" in capsys.readouterr().err
    assert contents(out) == before
    assert in_process(other, "--out", out, "--python", python, "--fresh") == 0


def test_another_way_of_measuring_is_refused(
    tmp_path: Path, out: Path, python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = write_suite(tmp_path)
    run(load(suite), out, python=python)
    before = contents(out)
    changed = ("--set", "min_samples=7", "--set", "max_error=0.01")
    assert in_process(suite, "--out", out, "--python", python, *changed) == 2
    assert "another [measure] (max_error, min_samples)." in capsys.readouterr().err
    assert contents(out) == before


@pytest.mark.slow
def test_a_default_that_is_spelt_out_is_no_other_way(
    tmp_path: Path, out: Path, python: str
) -> None:
    suite = write_suite(tmp_path)
    run(load(suite), out, python=python)
    assert run(load(suite, "max_samples=1000"), out, python=python).kept == 1


def test_another_environment_is_refused(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load(write_suite(tmp_path, KINDS))
    wish(monkeypatch, cpu="Alpha")
    killed_after(suite, out, python, cells=2)
    before = contents(out)
    wish(monkeypatch, cpu="Beta")
    with pytest.raises(RunError, match=r"another environment \(cpu: Alpha then, Beta now\)"):
        run(suite, out, python=python)
    assert contents(out) == before
    (out / ENVIRONMENT).write_text('{"environments": {}, "runs": {}}')
    with pytest.raises(RunError, match="the facts of one are not known"):
        run(suite, out, python=python)
    assert run(suite, out, fresh=True, python=python).statuses["ok"] == 6
    facts = json.loads((out / ENVIRONMENT).read_text())["environments"]
    assert [f["cpu"] for f in facts.values()] == ["Beta"]


class Started(Exception):
    """Stands for the first wait for a device."""


def begun(*_: object, **__: object) -> Iterator[Any]:
    raise Started
    yield


@pytest.mark.parametrize(
    ("then", "difference"),
    [
        ({}, None),
        ({"versions": {"pandas": "0.1", "mssbench": "0.0.1"}}, None),  # these are not timed
        ({"versions": {"triton": "0.1"}}, "versions: triton 0.1 then, "),
        ({"python": "2.7.18"}, "python: 2.7.18 then, "),
        ({"cores": {"granted": 77}}, None),  # a worker may get other cores
    ],
)
def test_other_packages_are_refused_before_anything_waits_for_the_device(
    tmp_path: Path,
    out: Path,
    python: str,
    monkeypatch: pytest.MonkeyPatch,
    then: dict[str, Any],
    difference: str | None,
) -> None:
    suite = load(write_suite(tmp_path, KINDS))
    run(suite.only(suite.cells[:3], "first"), out, python=python)
    now = early.facts()
    versions = now["versions"] | then.get("versions", {})
    renamed(out, "0123456789ab", **(now | then | {"versions": versions}))
    before = contents(out)
    monkeypatch.setattr(local, "run", begun)
    told: list[int] = []

    with pytest.raises(RunError if difference else Started) as refused:
        run(suite, out, begin=lambda todo: told.append(len(todo)))
    assert bool(told) is (difference is None)
    if difference:
        assert f"{out} was measured in another environment ({difference}" in str(refused.value)
        assert contents(out) == before


def test_what_is_known_early_is_what_a_worker_says_later() -> None:
    early_facts = early.facts()
    later = environment.describe()
    assert {name: later[name] for name in early_facts} == early_facts
    assert early.facts_of_worker(Setup({})) == early_facts
    assert early.facts_of_worker(Setup({}, python="/no/such/python")) is None
    assert early.facts_of_worker(Setup({}, isolated=True)) is None


def test_packages_that_only_this_process_sees_refuse_nothing(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook that has changed sys.path: a worker does not see that."""
    suite = load(write_suite(tmp_path, KINDS))
    run(suite.only(suite.cells[:3], "first"), out, python=python)
    renamed(out, "0123456789ab", **early.facts())
    (tmp_path / "scipy-77.dist-info").mkdir()
    (tmp_path / "scipy-77.dist-info" / "METADATA").write_text("Name: scipy\nVersion: 77\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert early.facts()["versions"]["scipy"] == "77"
    monkeypatch.setattr(local, "run", begun)
    with pytest.raises(Started):
        run(suite, out)


def test_a_part_of_a_suite_is_no_way_round_that(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load(write_suite(tmp_path, KINDS))
    wish(monkeypatch, cpu="Alpha")
    run(suite.only(suite.cells[:3], "first"), out, python=python)
    wish(monkeypatch, cpu="Beta")
    with pytest.raises(RunError, match="another environment"):
        run(suite.only(suite.cells[3:], "rest"), out, python=python)
    runs = json.loads((out / ENVIRONMENT).read_text())["runs"]
    assert [(r["only"], r["document"]["name"]) for r in runs.values()] == [("first", suite.name)]


def renamed(out: Path, name: str, **facts: Any) -> None:
    """Give the environment of a run another name, as another release would, and other facts."""
    known = json.loads((out / ENVIRONMENT).read_text())
    (old,) = known["environments"]
    known["environments"] = {name: known["environments"][old] | facts}
    (out / ENVIRONMENT).write_text(json.dumps(known))
    text = (out / "table.csv").read_text()
    assert old in text
    (out / "table.csv").write_text(text.replace(old, name))


@pytest.mark.slow
def test_the_same_machine_under_an_older_name_is_no_other_environment(
    tmp_path: Path, out: Path, python: str
) -> None:
    """Which facts name an environment changes from release to release; what they say does not."""
    suite = load(write_suite(tmp_path, KINDS))
    run(suite.only(suite.cells[:3], "first"), out, python=python)
    versions = json.loads((out / ENVIRONMENT).read_text())["environments"].popitem()[1]["versions"]
    renamed(out, "0123456789ab", versions=versions | {"pandas": "0.1", "mssbench": "0.0.1"})
    assert run(suite, out, python=python).kept == 3
    assert {r["environment"] for r in table(out)} == {"0123456789ab"}  # one machine, one name
    assert [*json.loads((out / ENVIRONMENT).read_text())["environments"]] == ["0123456789ab"]


@pytest.mark.slow
def test_an_older_name_of_another_machine_is_refused_as_ever(
    tmp_path: Path, out: Path, python: str
) -> None:
    suite = load(write_suite(tmp_path, KINDS))
    run(suite.only(suite.cells[:3], "first"), out, python=python)
    renamed(out, "0123456789ab", cpu="Alpha")
    with pytest.raises(RunError, match=r"another environment \(cpu: Alpha then, "):
        run(suite, out, python=python)


@pytest.mark.slow
def test_a_cell_that_ran_out_of_time_may_have_more(tmp_path: Path, out: Path, python: str) -> None:
    suite = write_suite(tmp_path)
    run(load(suite), out, python=python)
    assert run(load(suite, "timeout_seconds=77"), out, retry=["ok"], python=python).kept == 0


def bad_pythons(tmp_path: Path) -> Iterator[tuple[str, str]]:
    bare = tmp_path / "bare"  # an interpreter, but without our packages
    bare.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} -S -I "$@"\n')
    bare.chmod(0o755)
    yield str(bare), "No module named"
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho the engine fell off >&2\nexit 7\n")
    broken.chmod(0o755)
    yield str(broken), "ended before its first cell: the engine fell off"
    yield str(tmp_path / "absent"), "No such file or directory"
    (tmp_path / "text").write_text("no program")
    yield str(tmp_path / "text"), "Permission denied"


@pytest.mark.sampled(4, slow=3)
@pytest.mark.parametrize(
    ("state", "number"),
    [
        pytest.param(
            state,
            i,
            id=f"{state}-{name}",
            marks=() if "new" in state or i == 1 else pytest.mark.slow,
        )
        for state in ("new", "old", "fresh", "killed")
        for i, name in enumerate(("bare", "broken", "absent", "no-program"))
    ],
)
def test_an_interpreter_that_does_not_work_changes_nothing(
    tmp_path: Path,
    out: Path,
    python: str,
    number: int,
    state: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mssbench.engines.local.GRACE_SECONDS", 0.0)
    suite = write_suite(tmp_path, KINDS)
    if state == "killed":
        killed_after(load(suite), out, python, cells=2)
    elif state != "new":
        run(load(suite), out, python=python)
    before = contents(out) if state != "new" else None
    bad, message = list(bad_pythons(tmp_path))[number]
    retry = ("--retry", "ok") if state == "old" else ("--fresh",) if state == "fresh" else ()
    assert in_process(suite, "--out", out, "--python", bad, *retry) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "-m mssbench doctor` works" in said or "Name a Python interpreter" in said
    assert (contents(out) if out.exists() else None) == before


def test_a_worker_that_speaks_another_protocol_is_refused(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssbench.engines.process.PROTOCOL_VERSION", 99)
    with pytest.raises(RunError, match="uses protocol 4, this one uses 99"):
        run(load(write_suite(tmp_path)), out, python=python)
    assert not out.exists()


@pytest.mark.slow
def test_a_run_that_breaks_off_keeps_what_it_has(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker dies, and the next cannot start: exit code 2, but the rows are there."""
    monkeypatch.setattr("mssbench.engines.local.GRACE_SECONDS", 0.0)
    wish(monkeypatch, do={"svd": "exit"}, seconds=0.3)
    monkeypatch.setattr("mssbench.run.passes.shuffled", lambda cells, *_: iter(cells))
    suite = load(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']"))
    breaking = Path(python)

    def watch(event: object) -> None:
        if type(event).__name__ == "Ready":
            breaking.write_text("#!/bin/sh\nexit 1\n")

    with pytest.raises(RunError, match="ended before its first cell"):
        run(suite, out, python=python, watch=watch)
    assert statuses(out) == {"eigh": "ok", "svd": "interrupted"}
    assert not (out / JOURNAL).exists()
    assert sample_counts(out) == due_samples(table(out))


@pytest.mark.slow
def test_a_full_disk_ends_a_run_with_a_word_and_no_loss(
    tmp_path: Path, out: Path, python: str
) -> None:
    """A real file system of 256 KiB, where we may mount one."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount")
    try:
        suite = load(write_suite(tmp_path, KINDS, seeds=60))
        with pytest.raises(RunError, match="No space left on device"):
            run(suite, small / "run", python=python)
        before = times(small / "run")
        assert len(before) > 20
        subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
        assert run(suite, small / "run", python=python).exit_code == 0
        assert before.items() <= times(small / "run").items()
        assert len(table(small / "run")) == 540
        assert sample_counts(small / "run") == due_samples(table(small / "run"))
    finally:
        subprocess.run(["umount", small], check=True)


def test_nothing_is_left_running_even_by_a_test(locks: Path) -> None:
    assert relatives(locks) == []


@pytest.mark.slow
def test_a_machine_is_refused_for_rows_of_its_own_device_alone(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of another machine's GPU stand beside rows of this CPU: their times never compete."""
    suite = load(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']"))
    of_gpu = replace(suite.cells[0], library="torch", device="cuda")
    rows = [
        Measurement(of_gpu, "forward", *each, Status.OK, timing=Timing((1.0,), 1, 1.0)).row(
            environment="e1e2e3", run_id="r", code_hash="c0de"
        )
        for each in clocks(of_gpu)
    ]
    with RunFolder(out) as folder:
        folder.finish(rows)
    assert run(suite, out, python=python).statuses == {"ok": 2}
    assert sorted({r["environment"] for r in table(out)} - {"e1e2e3"}) != []
    assert len(table(out)) == 2 + len(rows)
    on_cpu = [r | {"device": "cpu", "cell_id": "another", "seed": 99} for r in rows]
    with RunFolder(tmp_path / "other") as folder:
        folder.finish(on_cpu)
    with pytest.raises(RunError, match="another environment"):
        run(suite, tmp_path / "other", python=python)


@pytest.mark.slow
def test_rows_that_are_due_to_be_measured_again_do_not_bind_to_their_machine(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']"))
    wish(monkeypatch, cpu="Alpha")
    run(suite, out, python=python)
    wish(monkeypatch, cpu="Beta")
    real = code_hash.code_hash
    with monkeypatch.context() as patch:  # of one of the two only: the other's row still binds
        patch.setattr(
            code_hash, "code_hash", lambda cell: "edited" if cell.forward == "svd" else real(cell)
        )
        with pytest.raises(RunError, match="another environment"):
            run(suite, out, python=python)
    assert run(suite, out, retry=["ok"], python=python).statuses == {"ok": 2}
    facts = json.loads((out / ENVIRONMENT).read_text())["environments"]
    (environment_now,) = {r["environment"] for r in table(out)}
    assert facts[environment_now]["cpu"] == "Beta"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("status", ["not_installed", "unavailable", "unsupported"])
def test_what_a_call_itself_found_missing_is_not_asked_again_until_something_is_installed(
    tmp_path: Path, out: Path, python: str, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """Method and library are here, but a compiler, say, or data of the problem is not."""
    suite = load(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']"))
    wish(monkeypatch, do={"svd": status})
    assert run(suite, out, python=python).statuses == {"ok": 1, status: 1}
    before = contents(out)
    again = run(suite, out, python="/no/such/python")
    assert "nothing left to measure: 2 cells" in closing(again).plain
    assert (again.kept, contents(out)) == (2, before)
    assert plan(suite, out) == []
    monkeypatch.setattr(environment, "installed", lambda: "one package more")
    due = [] if status == "unsupported" else ["svd"]
    assert [c.forward for c in plan(suite, out)] == due
    wish(monkeypatch)
    assert run(suite, out, python=python).statuses == ({"ok": 1} if due else {})


def test_what_is_installed_has_a_name_that_changes_with_any_package_or_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "absent"), ""])
    monkeypatch.setattr(environment, "cuda_devices", tuple)
    names = [environment.installed()]
    assert environment.installed() == names[0]
    (tmp_path / "module.py").touch()  # our own files come and go
    assert environment.installed() == names[0]
    (tmp_path / "some-1.0.dist-info").mkdir()
    names.append(environment.installed())
    (tmp_path / "some-1.0.dist-info").rename(tmp_path / "some-1.1.dist-info")
    names.append(environment.installed())
    monkeypatch.setattr(environment, "cuda_devices", lambda: (devices.Gpu("H200", "0"),))
    names.append(environment.installed())
    assert len({*names}) == 4


@pytest.mark.parametrize(
    ("statuses_now", "standing", "code"),
    [
        ({"ok": 1}, {}, 0),
        ({}, {"ok": 1}, 0),
        ({"inaccurate": 1}, {}, 0),
        ({"nonfinite": 1}, {}, 0),
        (
            {"ok": 1, "unsupported": 9, "not_installed": 9, "unavailable": 9, "interrupted": 9},
            {},
            0,
        ),
        ({"ok": 9, "crashed": 1}, {}, 4),
        ({"ok": 9, "timeout": 1}, {}, 4),
        ({"ok": 9, "oom": 1}, {}, 4),
        ({"ok": 1}, {"crashed": 1}, 4),
        ({"crashed": 1}, {"ok": 1}, 4),
        ({"crashed": 9}, {}, 6),
        ({"unsupported": 9}, {}, 6),
        ({}, {}, 6),
    ],
)
def test_the_exit_code_of_a_run_is_that_of_all_its_cells(
    statuses_now: dict[str, int], standing: dict[str, int], code: int
) -> None:
    summary = Summary(Path(), 1, statuses=Counter(statuses_now), standing=Counter(standing))
    assert summary.exit_code == code
    summary.interrupted = True
    assert summary.exit_code == 130


def test_a_cell_is_measured_again_where_one_of_its_rows_asks_for_it(tmp_path: Path) -> None:
    """Of a backward and a step, or of two clocks: the rows of a cell are made together."""
    (cell,) = load(write_suite(tmp_path, "forward = 'numpy/eigh'\nbackward = 'loewner'")).cells
    found = code_hash.code_hash(cell)

    def passes(**of_step: Any) -> int:
        rows = [
            Measurement(cell, phase, "wall", "hot", Status.OK, timing=Timing((1.0,), 1, 1.0)).row(
                code_hash=found, run_id="r"
            )
            | {"passes": 2}
            for phase in ("backward", "step")
        ]
        rows[1] |= of_step
        return passes_behind(cell, {cell.cell_id: rows}, ["inaccurate"], {"r"})

    assert passes() == 2
    assert passes(passes=1) == 1  # the fewest
    assert passes(passes=5) == 2
    assert passes(status="inaccurate") == 0  # asked for again
    assert passes(code_hash="another") == 0
    assert passes(phase="forward") == 0  # there is no step
    assert passes(status="interrupted") == 0
    assert passes(status="crashed", passes=None) == 2
    assert worst_status([{"status": s} for s in ("ok", "crashed", "oom")]) == "crashed"
    assert worst_status([{"status": "ok"}] * 2) == "ok"


def test_a_backward_that_is_not_installed_is_not_tried_again_in_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = load(write_suite(tmp_path, "forward = 'numpy/eigh'\nbackward = 'loewner'")).cells
    lookup = registry.lookup

    def lacks(kind: Any, name: str) -> Any:
        if kind == "backward":
            raise NotInstalled("pip install it")
        return lookup(kind, name)

    rows = [m.row(run_id="r") for m in uniform(cell, Status.NOT_INSTALLED, "pip install it")]
    with monkeypatch.context() as patch:
        patch.setattr(registry, "lookup", lacks)
        assert (
            passes_behind(cell, {cell.cell_id: rows}, (), set()) > 1
        )  # whatever else was installed
    assert passes_behind(cell, {cell.cell_id: rows}, (), set()) == 0
