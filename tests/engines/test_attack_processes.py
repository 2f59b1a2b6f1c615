"""Attacks on workers: what they leave behind, who ends them, and whose code they import."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import psutil
import pytest
from helpers.cells import CELL, FAST
from helpers.repositories import Repository, environment
from helpers.root import TESTS
from helpers.runs import (
    load,
    orphans,
    relatives,
    stand_in,
    started,
    statuses,
    table,
    until,
    wish,
    write_suite,
)
from helpers.tables import mssbench

from mssbench.engines import local, slots, start
from mssbench.engines import orphans as orphans_
from mssbench.engines.events import Finished, Started, Waiting
from mssbench.engines.slots import Slot
from mssbench.engines.start import Setup
from mssbench.engines.worker import serve
from mssbench.errors import RunError
from mssbench.results import locks
from mssbench.results.folder import RunFolder
from mssbench.results.rows import TABLE, read_rows
from mssbench.run.pace import Stopwatch
from mssbench.run.run import run

KINDS = "forward = ['numpy/eigh', 'numpy/svd', 'numpy/taylor']"
CPU = Slot("cpu", "", (0,))


@pytest.fixture(autouse=True)
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Its own lock; in the end that is free, and no process is left."""
    folder = tmp_path / "locks"
    monkeypatch.setenv("MSSBENCH_LOCKS", str(folder))
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.0)
    yield folder
    assert orphans(folder, 5.0) == []
    assert is_free(folder)
    assert orphans_._open == 0


def is_free(folder: Path) -> bool:
    path = folder / "cpu"
    return not path.exists() or not locks.held(path)


def measured(tmp_path: Path, **more: Any) -> dict[str, str]:
    suite = load(write_suite(tmp_path, KINDS))
    run(suite, tmp_path / "out", python=stand_in(tmp_path), **more)
    return statuses(tmp_path / "out")


# What is left behind.


def programs() -> list[int]:
    """Processes of `_leave_a_program`, whose environment tells nothing."""
    return [
        p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "599"]
    ]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("deed", ["daemon", "program", "daemon_exit", "fork", "program_exit"])
def test_attack_a_process_that_outlives_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Path, deed: str
) -> None:
    before = programs()
    wish(monkeypatch, do={"svd": deed})
    found = measured(tmp_path)
    assert found["eigh"] == found["taylor"] == "ok"
    assert found["svd"] == ("crashed" if deed in ("daemon_exit", "program_exit", "fork") else "ok")
    assert is_free(device)
    assert not relatives(device)
    assert programs() == before
    # and the next run starts at once
    again = tmp_path / "again"
    again.mkdir()
    assert set(measured(again, seconds=60.0).values()) <= {"ok", "crashed"}


@pytest.mark.slow
def test_attack_a_daemon_holds_no_lock_while_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Path
) -> None:
    """Also where the supervisor is killed and nobody is left to end it."""
    log = tmp_path / "log"
    wish(monkeypatch, do={"eigh": "daemon"}, log=log, gate=tmp_path / "never")
    suite = write_suite(tmp_path, seeds=2)
    with started(suite, "--out", tmp_path / "out", "--python", stand_in(tmp_path)) as process:
        assert until(lambda: log.exists() and log.read_text().count("begin") == 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert until(lambda: is_free(device), 20.0)
    left = relatives(device)
    assert left
    for one in left:
        one.kill()


def test_attack_a_fork_of_the_supervisor_holds_none_of_its_locks(tmp_path: Path) -> None:
    path, out = tmp_path / "file", tmp_path / "out"
    path.touch()
    out.mkdir()
    with RunFolder(out):
        fd, ours = locks.hold(path)
        assert ours
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        assert locks.held(path)
        locks.release(fd)
    try:
        for each in (path, out):
            assert until(lambda: not locks.held(each), 20.0)  # noqa: B023
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_attack_a_child_closes_no_other_file_of_the_same_number(tmp_path: Path) -> None:
    lock, other = tmp_path / "lock", tmp_path / "other"
    lock.touch()
    fd, _ = locks.hold(lock)
    os.close(fd)  # by somebody who did not tell
    again = os.open(other, os.O_CREAT | os.O_WRONLY)
    assert again == fd
    child = os.fork()
    if child == 0:
        os.write(again, b"still open")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(again)
    assert other.read_bytes() == b"still open"


def test_attack_a_daemon_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A child of this process that no worker has started, in a session of its own."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        assert set(measured(tmp_path).values()) == {"ok"}
        assert other.poll() is None
        other.kill()


# Who ends a worker.


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
@pytest.mark.parametrize("place", ["eigh", "taylor"])
def test_attack_a_worker_ended_from_outside_is_met_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    wish(monkeypatch, do={place: name}, once=str(tmp_path / "once"))
    assert measured(tmp_path) == dict.fromkeys(("eigh", "svd", "taylor"), "ok")
    assert (tmp_path / "once").exists()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_attack_a_cell_that_is_ended_every_time_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    wish(monkeypatch, do={"svd": name})
    assert measured(tmp_path) == {"eigh": "ok", "svd": "crashed", "taylor": "ok"}
    reason = next(row["reason"] for row in table(tmp_path / "out") if row["forward"] == "svd")
    assert f"({name}, twice)" in reason


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT"])
def test_attack_a_method_that_falls_is_blamed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    wish(monkeypatch, do={"svd": name}, once=str(tmp_path / "once"))
    suite = load(write_suite(tmp_path, "forward = 'numpy/svd'"))
    run(suite, tmp_path / "out", python=stand_in(tmp_path))
    assert statuses(tmp_path / "out") == {"svd": "crashed"}


_IGNORING = (
    "import os, signal, sys\n"
    "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


@pytest.mark.parametrize("who", ["command", pytest.param("worker", marks=pytest.mark.slow)])
def test_attack_a_parent_that_ignores_the_ends_of_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """What it ignores is inherited: without a word of us no child has an exit status."""
    python = stand_in(tmp_path)
    words = [sys.executable, "-m", "mssbench", "run", write_suite(tmp_path, KINDS)]
    words += ["--out", tmp_path / "out"]
    if who == "command":
        wish(monkeypatch, do={"svd": "SIGSEGV"})
        words = [sys.executable, "-c", _IGNORING, *words]
    else:
        ignoring, mine = tmp_path / "ignoring", tmp_path / "mine.py"
        code = _IGNORING.replace("sys.argv[1:]", "sys.argv").replace("sys.argv[1]", repr(python))
        ignoring.write_text(f"#!{sys.executable}\n{code}")
        ignoring.chmod(0o755)
        python = str(ignoring)
        mine.write_text("import subprocess\nassert subprocess.run(['false']).returncode == 1\n")
        words += ["--also", mine]
    done = subprocess.run(
        [*map(str, words), "--python", python], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == (4 if who == "command" else 0), done.stderr  # 4: a cell crashed
    expected = {"eigh": "ok", "svd": "crashed" if who == "command" else "ok", "taylor": "ok"}
    assert statuses(tmp_path / "out") == expected
    reasons = {row["forward"]: row["reason"] for row in table(tmp_path / "out")}
    assert ("SIGSEGV" in reasons["svd"]) is (who == "command")


# Waiting.


@pytest.mark.sampled(1)
@pytest.mark.slow
def test_attack_a_wait_is_no_part_of_the_minutes(tmp_path: Path) -> None:
    fd = slots.lock_slot(CPU, lambda _: False)
    assert fd is not None
    timer = threading.Timer(4.0, locks.release, [fd])
    timer.start()
    heard: list[str] = []
    try:
        found = measured(
            tmp_path,
            seconds=3.0,
            watch=lambda event: heard.append(event.holder) if isinstance(event, Waiting) else None,
        )
    finally:
        timer.join()
    assert heard
    assert heard[0].startswith(f"process {os.getpid()} (")
    assert set(found.values()) == {"ok"}


def test_attack_the_minutes_go_on_while_another_device_measures() -> None:
    now = [0.0]
    clock = Stopwatch(lambda: now[0])
    cell = local.Started.__annotations__ and object()
    now[0] = 5.0
    clock.heed(Waiting("gpu-a", "x"))
    now[0] = 65.0
    clock.heed(Waiting("gpu-a", "x"))
    assert clock() == 5.0  # nobody measures
    clock.heed(Started(cell))  # type: ignore[arg-type]
    now[0] = 75.0
    clock.heed(Waiting("gpu-b", "x"))
    now[0] = 95.0
    assert clock() == 35.0  # the first device measures
    clock.heed(Finished(cell, [], [], {}))  # type: ignore[arg-type]
    clock.heed(Waiting("gpu-b", "x"))
    now[0] = 100.0
    assert clock() == 35.0


def test_attack_temporary_folders_of_their_own_share_one_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job, a login and a service have different ones, and one device."""
    assert Path("/tmp/mssbench-locks") == slots._LOCKS
    monkeypatch.delenv("MSSBENCH_LOCKS")
    monkeypatch.setattr(slots, "_LOCKS", tmp_path / "shared")
    held = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for variable in ("TMPDIR", "TEMP", "TMP"):
            monkeypatch.setenv(variable, str(tmp_path / name))
        monkeypatch.setattr("tempfile.tempdir", None)
        held.append(slots.lock_slot(CPU, lambda _: False))
    assert held[0] is not None
    assert held[1] is None
    locks.release(held[0])
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.mark.parametrize("taker", ["alive", "gone"])
def test_attack_the_true_holder_is_named_with_the_remedy(tmp_path: Path, taker: str) -> None:
    """A process that forked without Python's knowledge still has the lock."""
    path = tmp_path / "cpu"
    path.touch()
    code = (
        "import ctypes, fcntl, os, time\n"
        f"fd = os.open({str(path)!r}, os.O_RDONLY)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "child = ctypes.CDLL(None).fork()\n"
        "if child == 0:\n    time.sleep(60)\n    os._exit(0)\n"
        "print(os.getpid(), child, flush=True)\n"
        f"time.sleep({60 if taker == 'alive' else 0})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as who:
        assert who.stdout is not None
        parent, child = map(int, who.stdout.readline().split())
        try:
            if taker == "gone":
                who.wait()
            heard: list[str] = []
            assert locks.wait_for(path, lambda holder: bool(heard.append(holder))) is None
        finally:
            for pid in (child, parent) if taker == "alive" else (child,):
                os.kill(pid, signal.SIGKILL)
    if taker == "alive":
        assert heard[0].startswith(f"process {parent} (python")
    else:
        assert heard[0].startswith(f"process {child} (python")
        assert f"left behind by process {parent}, which is gone" in heard[0]
        assert f"`kill {child}` frees the device" in heard[0]


# Whose code a worker runs.

SHADOWS = {
    "random.py": "raise SystemExit('random of the present folder')",
    "statistics.py": "raise SystemExit('statistics of the present folder')",
    "json.py": "raise SystemExit('json of the present folder')",
    "numpy.py": "raise SystemExit('numpy of the present folder')",
    "psutil/__init__.py": "raise SystemExit('psutil of the present folder')",
    "sitecustomize.py": "print('sitecustomize of the present folder')",
    "mssbench/__init__.py": "raise SystemExit('mssbench of the present folder')",
    "mssbench/worker.py": "raise SystemExit('worker of the present folder')",
}


def hostile(folder: Path) -> Path:
    for name, text in SHADOWS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with an mssbench whose worker is a stand-in: it starts as a real one does."""
    return Repository(tmp_path / "tree").path


def ends(setup: Setup) -> list[str]:
    (cell,) = load(write_suite(Path(os.environ["MSSBENCH_LOCKS"]).parent)).cells
    events = list(local.run([cell], setup))
    return [e.reason or e.rows[0]["status"] for e in events if isinstance(e, Finished)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "path", [None, "", "{here}", ":/nowhere", "/nowhere:", ".", "{here}:{other}", "{other}::"]
)
def test_attack_modules_of_the_present_folder(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    here, other = hostile(tmp_path / "hostile"), tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path.format(here=here, other=other))
    setup = Setup({"policy": {}}, path=str(tree))
    assert ends(setup) == ["ok"]
    early = start.variables(setup, CPU, 1, "")
    assert early.get("PYTHONPATH", "") in ("", "/nowhere", str(other))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("isolated", [False, True])
def test_attack_modules_beside_the_package(tmp_path: Path, tree: Path, isolated: bool) -> None:
    """A checkout may have a `random.py` at its top, and so may a folder of installed packages."""
    for name, text in SHADOWS.items():
        if not name.startswith("mssbench"):
            (tree / name).parent.mkdir(exist_ok=True)
            (tree / name).write_text(text)
    assert ends(Setup({"policy": {}}, path=str(tree), isolated=isolated)) == ["ok"]


def test_attack_an_interpreter_gets_our_package_and_none_that_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those were built for another Python."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for folder, late in (("/a/lib/site-packages", ""), ("/a/checkout", "/a/checkout")):
        words = start.command(Setup({}, python="/b/python", path=folder), 7)
        assert words[:3] == ["/b/python", "-P", "-c"]
        assert words[4:] == [folder, late, "7"]


@pytest.mark.slow
def test_attack_a_whole_run_in_a_hostile_folder(tmp_path: Path) -> None:
    """With real workers, which import all that measures."""
    here = hostile(tmp_path / "hostile")
    suite = write_suite(tmp_path, "forward = ['numpy/eigh', 'torch/newton_schulz']")
    command = [sys.executable, "-P", "-m", "mssbench", "run", suite, "--out", tmp_path / "out"]
    done = subprocess.run(
        [*map(str, command)], cwd=here, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert set(statuses(tmp_path / "out").values()) == {"ok"}


def script(folder: Path, first: str, name: str = "python") -> str:
    """An interpreter whose worker does something first."""
    path = folder / name
    path.write_text(
        f"#!{sys.executable}\nimport sys, os, json\nsys.path.insert(0, {str(TESTS)!r})\n"
        f"sys.argv[1:-1] = []\n{first}\nfrom helpers import runs\nruns.act_as_worker()\n"
    )
    path.chmod(0o755)
    return str(path)


OTHER_CODE = "import mssbench.engines.start as s\ns.code_digest = lambda: {!r}"


def test_attack_a_worker_that_runs_another_mssbench(tmp_path: Path) -> None:
    python = script(tmp_path, OTHER_CODE.format("another"))
    with pytest.raises(RunError, match=r"runs the mssbench of .*, but this process runs that of"):
        ends(Setup({"policy": {}}, python=python))
    # a side of `ab` may have another
    assert ends(Setup({"policy": {}}, python=python, isolated=True)) == ["ok"]


@pytest.mark.slow
def test_attack_files_that_change_while_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first worker has measured stays; the second one is not believed."""
    count = tmp_path / "count"
    digest = start.code_digest()
    python = script(
        tmp_path,
        f"with open({str(count)!r}, 'a') as file: file.write('x')\n"
        + OTHER_CODE.format(digest)
        + f"\nif os.path.getsize({str(count)!r}) > 1: s.code_digest = lambda: 'changed'",
    )
    wish(monkeypatch, do={"svd": "exit"})
    suite = load(write_suite(tmp_path, KINDS))
    with pytest.raises(RunError, match="its files have changed since the run began"):
        run(suite, tmp_path / "out", python=python)
    assert count.read_text() == "xx"
    found = statuses(tmp_path / "out")  # in whatever order the cells came
    assert "interrupted" in found.values()
    assert set(found.values()) <= {"ok", "crashed", "interrupted"}


@pytest.mark.parametrize("protocol", [3, 99])
def test_attack_another_protocol_is_said_before_a_set_up_is_read(
    tmp_path: Path, protocol: int
) -> None:
    talks = f"print(json.dumps({{'protocol': {protocol}}}), flush=True)\nsys.exit('cannot read it')"
    with pytest.raises(RunError, match=f"uses protocol {protocol}, this one uses 4"):
        ends(Setup({"policy": {}}, python=script(tmp_path, talks)))


class Held:
    """A held cell whose samples are given."""

    def sample(self, count: int) -> Any:
        return Samples([1e-3] * count, [])

    def verify(self) -> None: ...


class Samples(NamedTuple):
    seconds: list[float]
    cpu: list[float]


@pytest.mark.parametrize(
    ("lasting", "lost"),
    [
        pytest.param(["the priority"], [False, True], id="changed-for-good"),
        pytest.param([], [False, False], id="put-back"),
        pytest.param(None, [False, False], id="nobody-watched"),
    ],
)
def test_attack_what_a_held_method_changed_for_good_costs_the_process(
    lasting: list[str] | None, lost: list[bool]
) -> None:
    """`ab` gets a fresh worker for the next cell, as `run` does: the last sample says so."""

    @contextmanager
    def held(*_: Any, **__: Any) -> Iterator[Any]:
        yield SimpleNamespace(row=dict), 1e-3, Held()

    made = SimpleNamespace(describe=dict, held=held)
    if lasting is not None:
        made.state = SimpleNamespace(finish=lambda: SimpleNamespace(lasting=lasting))
    asked = (
        {"also": []},
        {"hold": CELL.fields, "verify": False},
        {"sample": 2},
        {"sample": 2, "last": True},
    )
    replies = io.StringIO()
    serve(io.StringIO("\n".join(map(json.dumps, asked))), replies, lambda _: cast("Any", made))
    said = [json.loads(line) for line in replies.getvalue().splitlines()]
    assert [s["lost"] for s in said if s.get("event") == "sample"] == lost


@pytest.mark.slow
@pytest.mark.timing
def test_attack_a_user_s_file_that_replaces_the_clock_hides_no_memory(tmp_path: Path) -> None:
    """A real worker has bound its clocks before it imports the file."""
    file = tmp_path / "mine.py"
    file.write_text(
        """\
import time

import numpy as np
from mssbench import Root, register_forward

real, answers = time.perf_counter, {}
time.perf_counter = lambda: real() / 1000


@register_forward(cite="an attack, 2026", products=lambda: 9.0, yields=("sqrt",))
def cheat(a) -> Root:
    if a.tobytes() not in answers:
        w, v = np.linalg.eigh(a)
        answers[a.tobytes()] = (v * np.sqrt(w)[..., None, :]) @ v.swapaxes(-1, -2)
    return Root(sqrt=answers[a.tobytes()])
"""
    )
    suite = tmp_path / "cheats.toml"
    suite.write_text(
        'name = "cheats"\n[axes]\nsize = 32\nbatch = 16\nprecision = "float64"\n'
        '[[method]]\nforward = "numpy/cheat"\n[measure]\nmin_samples = 40\nmax_seconds = 2\n'
    )
    done = mssbench("run", str(suite), "--also", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(tmp_path / "out" / TABLE)
    assert row["status"] == "implausible"
    assert "remembers answers" in row["reason"]


@pytest.mark.slow
def test_attack_a_held_method_whose_thread_goes_on_costs_the_process(tmp_path: Path) -> None:
    """The same with real instruments: they watch the process while a cell is held."""
    file = tmp_path / "mine.py"
    file.write_text(
        """\
import threading

import numpy as np
from mssbench import Root, register_forward


def work():
    while True:
        np.sin(np.arange(10_000.0))


@register_forward(cite="an attack, 2026", products=lambda: 9.0, yields=("sqrt",))
def busy(a) -> Root:
    if threading.active_count() < 2:
        threading.Thread(target=work, daemon=True).start()
    w, v = np.linalg.eigh(a)
    return Root(sqrt=(v * np.sqrt(w)[..., None, :]) @ v.swapaxes(-1, -2))
"""
    )
    lost = []
    for forward in ("busy", "eigh"):
        asked = (
            {
                "also": [str(file)],
                "settings": {"policy": asdict(FAST.settings.policy), "max_error": 0.1},
            },
            {"hold": replace(CELL, forward=forward, library="numpy").fields, "verify": True},
            {"sample": 2, "last": True},
        )
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from mssbench.engines import worker\n"
                "worker.serve(sys.stdin, sys.stdout, worker.TorchInstruments)",
            ],
            input="\n".join(map(json.dumps, asked)),
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert said[-1]["event"] == "sample", done.stderr
        lost.append(said[-1]["lost"])
    assert lost == [True, False]
