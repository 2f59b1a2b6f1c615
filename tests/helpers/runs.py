"""Runs for tests: small suites, a worker without torch that misbehaves on demand, and a census."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil

from helpers.root import TESTS
from mssbench.records.measurement import Row
from mssbench.records.schema import KEY
from mssbench.results.rows import JOURNAL, SAMPLES, TABLE, read_journal, read_rows

if TYPE_CHECKING:
    from mssbench.suite.suite import Suite

# Differ between two measurements of the same cell; every other column must not.
WEATHER = (
    "seconds_min",
    "seconds_q1",
    "seconds_median",
    "seconds_q3",
    "seconds_low",
    "seconds_high",
    "samples",
    "calls",
    "first_call_seconds",
    "gemms",
    "peak_bytes",
    "saved_bytes",
    "run_id",
    "stop",
    "spread",
    "noise",
    "flags",
    "bound",
    "limit_seconds",
    "limit_fraction",
    "problem_fraction",
    "asymmetry",  # where the first was 0, it is that of the last input, see checker.Checker.worse
)

MEASURE = """
[measure]
min_seconds = 0.0
min_samples = 1
max_seconds = 0.05
warmup_seconds = 0.0
passes = {passes}
timeout_seconds = {timeout}
"""


def write_suite(
    folder: Path,
    *methods: str,
    name: str = "tiny",
    seeds: int = 1,
    timeout: float = 60,
    passes: int = 1,
) -> Path:
    """A suite file of tiny float64 cells. methods: each the body of a [[method]] table."""
    axes = f"""
name = "{name}"
[axes]
problem = "wishart(ratio=4)"
size = 4
batch = 2
seed = {list(range(seeds))}
precision = "float64"
device = "cpu"
"""
    tables = "".join(f"\n[[method]]\n{body}\n" for body in methods or ['forward = "numpy/eigh"'])
    path = folder / f"{name}.toml"
    path.write_text(axes + tables + MEASURE.format(timeout=timeout, passes=passes))
    return path


def load(path: Path, *overrides: str) -> "Suite":
    from mssbench.suite import suite as suites  # which imports numpy: a stand-in has no need of it

    return suites.load(path, auto="cpu", overrides=overrides)


# The stand-in: the real worker.py around a measurement that needs no torch. It starts in a tenth
# of the time, so kills and resumes can be tested by the dozen. STAND_IN in its environment says
# what it should do.


def stand_in(folder: Path, name: str = "stand_in", **wishes: Any) -> str:
    """An interpreter for --python that answers as a worker would, perhaps with its own wishes."""
    path = folder / name
    here = str(TESTS)
    own = f"import os\nos.environ['STAND_IN'] = {json.dumps(wishes)!r}\n" if wishes else ""
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {here!r})\nsys.argv[1:-1] = []\n"
        f"{own}from helpers import runs\nruns.act_as_worker()\n"
    )
    path.chmod(0o755)
    return str(path)


def wish(monkeypatch: Any, **wishes: Any) -> None:
    """Tell later stand-ins: seconds (of a cell at full share), gate (a file that the second cell
    waits for), log (file), cpu (fact), do {forward: deed}, places (file: GPU and cores of each
    cell), placed (whether GPU and cores are facts), gpus {entry: fact}.
    """
    monkeypatch.setenv("STAND_IN", json.dumps(wishes, default=str))


def act_as_worker() -> None:
    from mssbench.engines import worker
    from mssbench.measure.instruments.sampling import Spent

    wishes = json.loads(os.environ.get("STAND_IN", "{}"))
    begun: list[Any] = []

    def measure(cell: Any, announce: Callable[[], None], share: float) -> Any:
        deed = wishes.get("do", {}).get(cell.forward, "ok")
        if deed == "hang_before":
            time.sleep(600)
        announce()
        _note(wishes, f"begin {os.getpid()}")
        if places := wishes.get("places"):
            with Path(places).open("a") as file:
                file.write(json.dumps([os.getpid(), *_place(), cell.forward, cell.seed]) + "\n")
        slept = share * wishes.get("seconds", 0.001)
        time.sleep(slept)
        begun.append(cell)
        if len(begun) > 1 and (gate := wishes.get("gate")):  # the first cell passes without it
            until(Path(gate).exists)
        if deed.startswith("SIG"):
            _end_by(deed, wishes)
            deed = "ok"
        measurements = _DEEDS.get(deed, lambda c: _rows(c, deed))(cell)
        _note(wishes, f"end {os.getpid()}")
        return SimpleNamespace(
            measurements=measurements,
            code_hash=_hash(cell),
            spent=Spent(samples=slept, total=slept),
            lost=deed == "lost",
        )

    def ceilings(device: str) -> dict[str, float]:
        _note(wishes, f"ceilings {os.getpid()}")
        if wishes.get("ceiling") == "die":
            os._exit(3)
        return {"float32": wishes.get("ceiling", 1e9)}

    served: list[Any] = []

    @contextmanager
    def held(cell: Any, announce: Callable[[], None], *, verify: bool) -> Iterator[Any]:
        """Samples around a millisecond, times `slower`, with noise of the process."""
        from mssbench.records.measurement import Measurement, Status

        deed = wishes.get("do", {}).get(cell.forward, "ok")
        served.append(cell)
        _note(wishes, f"hold {os.getpid()} {cell.forward}")
        announce()
        if deed == "hang_held":
            time.sleep(600)
        if deed.endswith("_once"):
            flag = Path(wishes["once"])
            deed = "ok" if flag.exists() or len(served) < 2 else deed.removesuffix("_once")
            if deed != "ok":
                flag.touch()
                _DEEDS[deed](cell)
        if deed not in ("ok", "raise", "exit", "hang"):
            row = Measurement(cell, "forward", "wall", "hot", Status(deed), "asked for")
            yield row, 0.0, None
            return
        values = {"root_error": 1e-6, "products": 3.0} | wishes.get("values", {})
        factor = wishes.get("slower", {}).get(cell.forward, 1.0)
        rng = random.Random(f"{os.getpid()} {cell.cell_id}")
        own = math.exp(rng.gauss(0, wishes.get("process", 0.0)))

        def sample(_count: int) -> Any:
            _note(wishes, f"sample {os.getpid()}")
            if deed in ("exit", "hang"):
                _DEEDS[deed](cell)
            if deed == "raise":
                raise ZeroDivisionError(wishes.get("words", "asked for"))
            seconds = 1e-3 * factor * own * math.exp(abs(rng.gauss(0, 0.005)))
            busy = {
                "seconds": seconds,
                "cpu": seconds * wishes.get("share", 1.0),
                "flags": wishes.get("flags", []),
            }
            return SimpleNamespace(_asdict=lambda: busy)

        def checked() -> Any:
            """As an older worker, which verifies nothing that was timed, unless told otherwise."""
            _note(wishes, f"verify {os.getpid()} {cell.forward}")
            last = wishes.get("last", {}).get(cell.forward)
            return None if last is None else SimpleNamespace(_asdict=lambda: last)

        shown = values if verify else {}
        yield (
            Measurement(cell, "forward", "wall", "hot", Status.OK, "", shown),
            1e-3 * factor,
            SimpleNamespace(sample=sample, verify=checked),
        )

    class StandIn:
        """Instruments that need no torch."""

        def __init__(self, _setup: Any) -> None:
            self.measure, self.ceilings, self.held = measure, ceilings, held

        def describe(self) -> dict[str, Any]:
            gpu, cores = _place()
            placed = {
                "gpus": [wishes.get("gpus", {}).get(gpu, {"name": "A GPU"})] if gpu else [],
                "cores": {"granted": len(cores)},
            }
            return (placed if wishes.get("placed") else {}) | {
                "cpu": wishes.get("cpu", "a stand-in"),
                "versions": wishes.get("versions", {}),
                "blas": wishes.get("blas"),
            }

    if "hang_at_start" in wishes:
        _note(wishes, f"begin {os.getpid()}")
        time.sleep(600)
    if (once := wishes.get("die_at_start")) and not Path(once).exists():
        Path(once).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    print(wishes.get("greeting", ""))  # noise on the channel, before the worker can guard it
    sys.stdout.flush()
    print("a warning that some import gave", file=sys.stderr)
    worker.main(StandIn)


def _place() -> tuple[str, list[int]]:
    """The GPU that this process sees, and the cores that it may use."""
    return os.environ["CUDA_VISIBLE_DEVICES"], sorted(os.sched_getaffinity(0))


def _note(wishes: Mapping[str, Any], text: str) -> None:
    if log := wishes.get("log"):
        with Path(log).open("a") as file:
            file.write(f"{time.monotonic_ns()} {text}\n")


def _hash(cell: Any) -> str:
    """As a real worker has it; empty where something of the cell is unknown or not installed."""
    from mssbench.errors import NotInstalled, RegistryError
    from mssbench.measure.code_hash import code_hash

    try:
        return code_hash(cell)
    except (NotInstalled, RegistryError):
        return ""


def _rows(cell: Any, status: str, samples: int = 3) -> Any:
    """Errors that follow from the cell alone, and seconds that never come twice."""
    from mssbench.records.cell import clocks, phases
    from mssbench.records.measurement import Measurement, Status, uniform
    from mssbench.records.timing import Timing

    if status != "ok":
        return uniform(cell, Status(status), f"asked for: {status}")
    error = int(cell.cell_id, 16) / 2**80
    seconds = tuple((time.monotonic_ns() % 10**9 + i) * 1e-12 for i in range(samples))
    return tuple(
        Measurement(
            cell,
            phase,
            clock,
            cache,
            Status.OK,
            values={"root_error": error, "checked": 2},
            timing=Timing(seconds, 1, 0.5),
        )
        for phase in phases(cell)
        for clock, cache in clocks(cell)
    )


def _end_by(name: str, wishes: Mapping[str, Any]) -> None:
    """End this process by a signal, as somebody outside would; only once where a file is named."""
    once = wishes.get("once")
    if once and Path(once).exists():
        return
    if once:
        Path(once).touch()
    number = signal.Signals[name]
    if number is not signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    time.sleep(600)


def _leave_a_daemon(cell: Any) -> Any:
    """A process that belongs to no group of ours, and whose parent is gone."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            time.sleep(600)
        os._exit(0)
    os.wait()
    return _rows(cell, "ok")


def _leave_a_program(cell: Any) -> Any:
    """The same, as another program without any variable that would tell whose it is."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve("/bin/sleep", ["sleep", "599"], {})
        os._exit(0)
    os.wait()
    return _rows(cell, "ok")


def _leave_a_program_and_exit(cell: Any) -> None:
    _leave_a_program(cell)
    os._exit(3)


def _leave_a_daemon_and_exit(cell: Any) -> None:
    _leave_a_daemon(cell)
    os._exit(3)


def _fork_and_exit(_cell: Any) -> None:
    """A child of this process keeps its pipes open while the process itself ends."""
    if os.fork() == 0:
        time.sleep(600)
    os._exit(3)


def _close_everything(_cell: Any) -> None:
    os.closerange(3, 100)
    time.sleep(600)


def _shout(cell: Any) -> Any:
    for _ in range(40):
        os.write(1, b"x" * 100_000 + b"\n")
        time.sleep(0.02)
    return _rows(cell, "ok")


def _read_input(cell: Any) -> Any:
    """Standard input must be empty, or a method that asks would swallow the next cell."""
    assert sys.stdin.read() == ""
    assert not os.isatty(0)
    child = subprocess.run(["cat"], capture_output=True, text=True)
    assert child.stdout == ""
    return _rows(cell, "ok")


def _speak_oddly(cell: Any) -> Any:
    from mssbench.records.measurement import Status, uniform

    return uniform(cell, Status.CRASHED, 'no \udcff, "he said",\nand left')


_DEEDS: dict[str, Callable[[Any], Any]] = {
    "exit": lambda _: os._exit(3),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "term": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "hang": lambda _: time.sleep(600),
    "long": lambda cell: _rows(cell, "ok", samples=100_000),
    "surrogate": _speak_oddly,
    "fork": _fork_and_exit,
    "daemon": _leave_a_daemon,
    "daemon_exit": _leave_a_daemon_and_exit,
    "program": _leave_a_program,
    "program_exit": _leave_a_program_and_exit,
    "mute": _close_everything,
    "shout": _shout,
    "read": _read_input,
}


def in_time(log: Path) -> list[list[str]]:
    """The words of a stand-in's log, whichever process wrote them, in the order of their time."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return sorted(lines, key=lambda words: int(words[0]))


# What a run left on disk and among the processes.


def table(folder: Path) -> list[Row]:
    return read_rows(folder / TABLE)


def measured(folder: Path) -> dict[tuple[str, ...], Row]:
    """Every row measured so far, by key: from the table and from the journal, as text."""
    rows = table(folder)
    for entry in read_journal(folder / JOURNAL):
        rows += [{k: "" if v is None else str(v) for k, v in r.items()} for r in entry["rows"]]
    return {key(row): row for row in rows if row["status"] != "interrupted"}


def key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in KEY)


def climate(rows: list[Row]) -> list[Row]:
    """Rows without what differs from run to run."""
    return [{k: v for k, v in row.items() if k not in WEATHER} for row in rows]


def statuses(folder: Path) -> dict[str, str]:
    """Status by forward; for suites where a forward has one cell."""
    return {row["forward"]: row["status"] for row in table(folder)}


def sample_counts(folder: Path) -> dict[tuple[str, ...], int]:
    """Number of raw samples by (cell_id, phase, clock, cache)."""
    import pyarrow.parquet as pq

    counts: dict[tuple[str, ...], int] = {}
    for row in pq.read_table(folder / SAMPLES).to_pylist():
        name = (row["cell_id"], row["phase"], row["clock"], row["cache"])
        counts[name] = counts.get(name, 0) + 1
    return counts


def due_samples(rows: list[Row]) -> dict[tuple[str, ...], int]:
    """What `sample_counts` should be for a table."""
    return {
        (r["cell_id"], r["phase"], r["clock"], r["cache"]): int(r["samples"])
        for r in rows
        if r["samples"]
    }


def relatives(locks: Path) -> list[psutil.Process]:
    """Other processes whose environment has these locks: those of a run, and what they started.

    A node of the Slurm of helpers/slurm.py has locks of its own, in a folder of these.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.pid != os.getpid()
                and locks in (own := Path(process.environ().get("MSSBENCH_LOCKS", "/")), own.parent)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def orphans(locks: Path, patience: float = 60.0) -> list[psutil.Process]:
    """Relatives that are still there after a while: there should be none."""
    until(lambda: not relatives(locks), patience)
    return relatives(locks)


def until(condition: Callable[[], Any], patience: float = 120.0) -> bool:
    """Wait for a condition; whether it came true."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mssbench", "run", *map(str, arguments)]


def heed_signals() -> None:
    """Undo in a child what it would inherit: `pytest &` ignores SIGINT, and `nohup` SIGHUP."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`mssbench run` in a process of its own, which is gone afterwards."""
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def finished(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`mssbench run`, to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=600)
