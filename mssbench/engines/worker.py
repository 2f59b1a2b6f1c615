"""The worker process, which measures cells on request and may be killed at any moment.

    python -m mssbench.worker PARENT_PID

Supervisor and worker exchange JSON messages, one per line. The supervisor first sends the set-up
{"settings", "also", "arms", "cores", "lock"}, then requests. The worker sends {"protocol"} before
it reads the set-up, so that it does not fail on that of another version; then {"event": "ready",
...}; then the answers. An older supervisor ignores the first line, because it has no event.

    request               answers, by their event
    {"cell", "share"}     measuring: when the method is about to run; done: rows, samples, spent,
                          and `lost` if this process must be replaced. share: of the policy's
                          time, 1 by default
    {"ceilings": device}  ceilings: the highest rates that the device reaches
    {"hold": cell}        measuring: as above; held: its row, and seconds of a call. The cell stays
                          ready until the next request of this kind
    {"sample": count}     sample: seconds and processor seconds per call of the held cell; with
                          "last" also `verified`: status, reason and errors of a timed output

Heavy imports are inside functions, because the first steps must come before them: then a worker
ends with its supervisor, and nothing that a library prints or reads gets into the messages. The
supervisor binds the process to its cores, see process.py.
"""

import ctypes
import faulthandler
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from mssbench.machine import children

if TYPE_CHECKING:
    from mssbench.measure.measure import Result
    from mssbench.measure.on_demand import OnDemand
    from mssbench.measure.process_state import Snapshot
    from mssbench.records.cell import Cell
    from mssbench.records.measurement import Measurement

_MOST_LOGGED = 8000  # characters of a traceback that are kept, from its end, which has the error


def main(instruments: "Callable[[Mapping[str, Any]], Instruments] | None" = None) -> None:
    """Send the facts of this machine, then answer requests until the pipe closes.

    instruments: makes the `Instruments`, see `serve`; by default `TorchInstruments`.
    """
    _leave_with_parent(int(sys.argv[1]))
    requests, replies = _private_channels()
    reopen = _outputs()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl-C
    children.heed()  # a program that ignores SIGCHLD passes this on to its workers
    faulthandler.enable(all_threads=False)  # prints the line of a method that causes a segfault
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences the profiler that measures memory

    serve(requests, replies, instruments or TorchInstruments, reopen)


def _leave_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends (Linux).

    Also make this process a subreaper, so that the supervisor finds processes that a method forks
    twice, see orphans.py.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

    if os.getppid() != parent:  # the parent died before the lines above took effect
        sys.stderr.write(
            f"the worker's parent is process {os.getppid()}, not {parent}: either that process has "
            "ended, or the interpreter is a script that should `exec` the real one\n"
        )
        sys.stderr.flush()
        os._exit(1)


def _private_channels() -> tuple[TextIO, TextIO]:
    """Return the two pipes under new descriptors; stdin becomes empty, and stdout goes to stderr.

    Programs that a method starts inherit neither the pipes nor the lock of the device: all
    descriptors except 0, 1 and 2 are closed on exec.
    """
    requests = os.fdopen(os.dup(0))
    replies = os.fdopen(os.dup(1), "w")

    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)

    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  (names, not paths)
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:  # the descriptor that listed the folder is closed by now
                continue
    return requests, replies


def _outputs() -> Callable[[], None]:
    """Return a function that opens stdout and stderr again, which a method may have closed."""
    kept = os.dup(2)

    def reopen() -> None:
        os.dup2(kept, 1)
        os.dup2(kept, 2)

    return reopen


class Instruments(Protocol):
    """The functions with which a worker measures. Tests of engines replace them, without torch."""

    def describe(self) -> dict[str, Any]:
        """Return the facts of this machine."""
        ...

    def ceilings(self, device: str) -> dict[str, float]:
        """Return the highest rates of a device, measured now."""
        ...

    def measure(self, cell: "Cell", announce: Callable[[], None], share: float) -> "Result":
        """Measure a cell in a share of the usual sampling time, see measure.measure."""
        ...

    def held(
        self, cell: "Cell", announce: Callable[[], None], *, verify: bool
    ) -> AbstractContextManager[tuple["Measurement", float, "OnDemand | None"]]:
        """Return a context manager that keeps a cell ready to be sampled, see measure.on_demand."""
        ...


class TorchInstruments:
    """The instruments of a real worker, with a session that lasts as long as the process.

    setup: the first message of the supervisor.
    """

    def __init__(self, setup: Mapping[str, Any]) -> None:
        from mssbench.machine.threads import keep_to_quota

        # The measuring modules bind the clocks when they are imported, which must come before a
        # user's file could replace a clock.
        from mssbench.measure import measure, on_demand, process_state  # noqa: F401
        from mssbench.measure.session import Session, Settings
        from mssbench.records.policy import Policy

        keep_to_quota()
        self.state: Snapshot | None = None  # of the process, taken before the held cell
        given = dict(setup["settings"])
        policy = Policy(**given.pop("policy"))
        # A supervisor of an older revision does not send the number of arms.
        self._session = Session(Settings(policy=policy, **given), setup.get("arms", 1))

    def describe(self) -> dict[str, Any]:
        """Return the facts of this machine."""
        from mssbench.machine.facts import describe

        return describe()

    def ceilings(self, device: str) -> dict[str, float]:
        """Return the highest rates of a device, measured now."""
        return self._session.ceilings.measure(device)

    def measure(self, cell: "Cell", announce: Callable[[], None], share: float) -> "Result":
        """Measure a cell in a share of the usual sampling time, see measure.measure."""
        from mssbench.measure.measure import measure

        return measure(cell, self._session, announce, share)

    @contextmanager
    def held(
        self, cell: "Cell", announce: Callable[[], None], *, verify: bool
    ) -> Iterator[tuple["Measurement", float, "OnDemand | None"]]:
        """Keep a cell ready to be sampled, see measure.on_demand.

        Settings of the process that its method changes are restored at the end.
        """
        from mssbench.measure.on_demand import held
        from mssbench.measure.process_state import watched

        with watched() as self.state, held(cell, self._session, announce, verify=verify) as ready:
            yield ready


def serve(
    requests: TextIO,
    replies: TextIO,
    instruments: Callable[[Mapping[str, Any]], Instruments],
    before: Callable[[], None] = lambda: None,
) -> None:
    """Answer the requests, one per line, until their end. The first line must be the set-up.

    instruments: makes the `Instruments` from the set-up. before: called before each request.
    """
    from mssbench.engines.events import PROTOCOL_VERSION
    from mssbench.engines.slots import keep_to
    from mssbench.engines.start import code_digest, own_folder
    from mssbench.records.cell import Cell
    from mssbench.records.facts import identify
    from mssbench.results.locks import keep_from_children

    def say(event: str, **facts: Any) -> None:
        replies.write(json.dumps({"event": event, **facts}) + "\n")
        replies.flush()

    replies.write(json.dumps({"protocol": PROTOCOL_VERSION}) + "\n")
    replies.flush()
    code = code_digest()  # computed now, when the files are those that are imported

    setup = json.loads(requests.readline())
    if lock := setup.get("lock"):  # before any code of a user runs, which may fork
        keep_from_children(lock)
    chosen = instruments(setup)  # before a user's file, which could replace a clock, is imported
    undone = _load_files(setup["also"])
    if cores := setup.get("cores"):
        keep_to(os.getpid(), cores)

    facts = chosen.describe()
    gc.collect()
    gc.freeze()  # objects of imported modules are never garbage; collections take less time now
    say(
        "ready",
        protocol=PROTOCOL_VERSION,
        facts=facts,
        environment=identify(facts),
        code=code,
        folder=own_folder(),
        undone=undone,
    )

    met, keep = set(), _Keep(chosen)
    for line in requests:
        before()
        request = json.loads(line)
        if device := request.get("ceilings"):
            say("ceilings", found=chosen.ceilings(device))
        elif "sample" in request:
            last = request.get("last", False)
            sample = keep.sample(request["sample"], last=last)
            lost = bool(sample["reason"]) and _context_lost(keep.device)
            say("sample", **sample, lost=lost or (last and keep.has_changed_for_good()))

        elif "hold" in request:
            cell = Cell(**request["hold"])
            answer = keep.hold(cell, lambda: say("measuring"), verify=request["verify"])
            # Checked only if the cell is not ready, because the check empties the cache of the
            # allocator, which the first samples would have to fill again.
            say("held", **answer, lost=not answer["ready"] and _context_lost(cell.device))
        else:
            cell = Cell(**request["cell"])
            share = request.get("share", 1.0)  # of the policy's time
            result = chosen.measure(cell, lambda: say("measuring"), share)
            say("done", **_as_reply(result), lost=result.lost or _context_lost(cell.device))

            if (pair := (cell.library, cell.forward, cell.backward)) not in met:
                met.add(pair)  # what the pair has imported and compiled is not garbage either
                gc.collect()
                gc.freeze()


def _load_files(paths: Sequence[str]) -> list[str]:
    """Import the user's files. Return a sentence for each that changed settings of the process.

    The changes are undone: a setting such as the number of threads would change how every method is
    measured, and not only those of the file.
    """
    from mssbench.registries import load_file

    sentences = []
    for path in paths:
        state = sys.modules.get("mssbench.measure.process_state")  # absent in tests of engines
        snapshot = state.Snapshot(of_import=True) if state else None
        load_file(Path(path))
        if snapshot is None:
            continue

        changes = snapshot.finish()
        for names, outcome in (
            (changes.restored, "was undone"),
            (changes.lasting, "could not be undone"),
        ):
            if names:
                sentences.append(
                    f"{path} changed {', '.join(dict.fromkeys(names))} when it was imported. That "
                    f"would affect every method, and {outcome}: change it inside the method that "
                    "needs it."
                )
    return sentences


def _as_reply(result: "Result") -> dict[str, Any]:
    """Return the rows of a cell, their samples and the times by purpose, for JSON."""
    return {
        "rows": [m.row(code_hash=result.code_hash) for m in result.measurements],
        "samples": [list(m.timing.samples) if m.timing else [] for m in result.measurements],
        "spent": asdict(result.spent) | {"own": result.spent.own},
        # The results of the instruments of tests have no log.
        "log": getattr(result, "log", "")[-_MOST_LOGGED:],
    }


class _Keep:
    """Keeps the cell that is held at present ready for sampling."""

    def __init__(self, instruments: Instruments) -> None:
        self.device = "cpu"
        self._instruments = instruments
        self._stack, self._held = ExitStack(), cast("Any", None)

    def hold(self, cell: "Cell", announce: Callable[[], None], *, verify: bool) -> dict[str, Any]:
        """Release the last cell, hold the next, and return its row and seconds per call."""
        self._stack.close()
        self.device = cell.device
        row, seconds, self._held = self._stack.enter_context(
            self._instruments.held(cell, announce, verify=verify)
        )
        return {"row": row.row(), "seconds": seconds, "ready": self._held is not None}

    def has_changed_for_good(self) -> bool:
        """Whether the method of the held cell changed settings that cannot be restored."""
        state = getattr(self._instruments, "state", None)  # the instruments of tests have none
        try:
            return state is not None and bool(state.finish().lasting)
        except Exception:  # a process whose state cannot be read is replaced
            return True

    def sample(self, count: int, *, last: bool = False) -> dict[str, Any]:
        """Return the seconds per call of one sample; null and the reason if a call raised.

        last: whether the output of the last call is verified, after it was timed.
        """
        try:
            taken = {**self._held.sample(count)._asdict(), "reason": ""}
            if last and (verified := self._held.verify()) is not None:
                taken["verified"] = verified._asdict()
            return taken
        except Exception as error:
            return {"seconds": None, "cpu": None, "reason": f"{type(error).__name__}: {error}"}


def _context_lost(device: str) -> bool:
    """Whether a sticky CUDA error has made the device unusable in this process."""
    if device != "cuda":
        return False
    import torch

    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except Exception:  # the type of the error varies
        return True
    return False
