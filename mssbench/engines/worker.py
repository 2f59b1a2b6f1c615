"""A process that measures what it is sent, a JSON line at a time. May be killed at any moment.

    python -m mssbench.worker PARENT_PID

Supervisor to worker: first the set-up {"settings", "also", "arms", "cores", "lock"}, then a request
a line. Worker to supervisor: {"protocol"} before it reads that, so that nothing fails on a set-up
of another version; {"event": "ready", ...} once; then answers. An older supervisor skips the first,
as a line without an event.

    {"cell", "share"}     measuring, when the method is about to run; then done: rows, samples,
                          spent, and `lost` where this process must be replaced. share: of the
                          policy's time, all of it by default
    {"ceilings": device}  ceilings: what the machine can do at most
    {"hold": cell}        measuring, as above; then held: its row, and seconds of a call; it stays
                          ready until the next
    {"sample": count}     sample: seconds and processor seconds per call of what is held; with
                          "last", also `verified`: status, reason and errors of a timed output

The order of the first lines matters, and heavy imports wait inside functions for it: a worker whose
supervisor died ends too, and nothing that a library prints or reads can end up between requests and
replies. The supervisor binds the process to its cores, see process.py.
"""

import ctypes
import faulthandler
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from mssbench.machine import children

if TYPE_CHECKING:
    from mssbench.measure.measure import Result
    from mssbench.measure.on_demand import Held
    from mssbench.measure.process_state import Snapshot
    from mssbench.records.cell import Cell
    from mssbench.records.measurement import Measurement

_MOST_LOGGED = 8000  # characters of a traceback: its end says what failed


def main(instruments: "Callable[[Mapping[str, Any]], Instruments] | None" = None) -> None:
    """Announce what this machine is, then measure cells until the pipe closes.

    instruments: makes what measures, see `serve`; real ones by default.
    """
    _leave_with_parent(int(sys.argv[1]))
    requests, replies = _private_channels()
    reopen = _outputs()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    children.heed()  # a user's program that ignores SIGCHLD passes that on to its workers
    faulthandler.enable(all_threads=False)  # a segfault says which line of a method it was in
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler that weighs memory is chatty
    serve(requests, replies, instruments or TorchInstruments, reopen)


def _leave_with_parent(parent: int) -> None:
    """Ask the kernel to end this process with the thread that started it (Linux).

    And to keep here what a method forks twice, where the supervisor finds it: see orphans.py.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    if os.getppid() != parent:  # it had died before the line above took effect
        sys.stderr.write(
            f"the worker's parent is process {os.getppid()}, not {parent}: either that one is "
            "gone, or the interpreter is a script that should `exec` the real one\n"
        )
        sys.stderr.flush()
        os._exit(1)


def _private_channels() -> tuple[TextIO, TextIO]:
    """The two pipes under numbers that nobody else uses; 0 reads nothing, 1 goes to stderr.

    What a method starts must get neither the pipes nor the device's lock: all but 0, 1 and 2 close
    when another program takes over.
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
            except OSError:  # the one that listed them
                continue
    return requests, replies


def _outputs() -> Callable[[], None]:
    """What opens 1 and 2 again: a method may have closed them, and the next one prints."""
    kept = os.dup(2)

    def reopen() -> None:
        os.dup2(kept, 1)
        os.dup2(kept, 2)

    return reopen


class Instruments(Protocol):
    """What a worker measures with. Tests of engines have some that need no torch."""

    def describe(self) -> dict[str, Any]:
        """The facts of this machine."""
        ...

    def ceilings(self, device: str) -> dict[str, float]:
        """What the device can do at most, measured now."""
        ...

    def measure(self, cell: "Cell", announce: Callable[[], None], share: float) -> "Result":
        """Measure a cell in a part of the policy's time, see measure.measure."""
        ...

    def held(
        self, cell: "Cell", announce: Callable[[], None], *, verify: bool
    ) -> AbstractContextManager[tuple["Measurement", float, "Held | None"]]:
        """Keep a cell ready to be sampled, see measure.on_demand."""
        ...


class TorchInstruments:
    """The instruments of a real worker, with the session that lasts as long as its process.

    setup: the first line of the supervisor.
    """

    def __init__(self, setup: Mapping[str, Any]) -> None:
        from mssbench.machine.threads import keep_to_quota

        # Everything that measures is imported before a file of a user can replace a clock. It binds
        # the clocks as they are now.
        from mssbench.measure import measure, on_demand, process_state  # noqa: F401
        from mssbench.measure.session import Session, Settings
        from mssbench.records.policy import Policy

        keep_to_quota()
        self.state: Snapshot | None = None  # of the process, before the cell that is held
        given = dict(setup["settings"])
        policy = Policy(**given.pop("policy"))
        # A supervisor of an older revision does not say how many arms there are.
        self._session = Session(Settings(policy=policy, **given), setup.get("arms", 1))

    def describe(self) -> dict[str, Any]:
        """The facts of this machine."""
        from mssbench.machine.facts import describe

        return describe()

    def ceilings(self, device: str) -> dict[str, float]:
        """What the device can do at most, measured now."""
        return self._session.ceilings.measure(device)

    def measure(self, cell: "Cell", announce: Callable[[], None], share: float) -> "Result":
        """Measure a cell in a part of the policy's time, see measure.measure."""
        from mssbench.measure.measure import measure

        return measure(cell, self._session, announce, share)

    @contextmanager
    def held(
        self, cell: "Cell", announce: Callable[[], None], *, verify: bool
    ) -> Iterator[tuple["Measurement", float, "Held | None"]]:
        """Keep a cell ready to be sampled, see measure.on_demand.

        What its method changes of the process is put back when the cell is let go.
        """
        from mssbench.measure.on_demand import held
        from mssbench.measure.process_state import watched

        with watched() as self.state, held(cell, self._session, announce, verify=verify) as found:
            yield found


def serve(
    requests: TextIO,
    replies: TextIO,
    instruments: Callable[[Mapping[str, Any]], Instruments],
    before: Callable[[], None] = lambda: None,
) -> None:
    """Answer each line of `requests`, until it ends. The first must be the set-up.

    instruments: makes what measures, given the set-up. before: called before each request.
    """
    from mssbench.engines.events import PROTOCOL_VERSION
    from mssbench.engines.slots import keep_to
    from mssbench.engines.start import code_digest, own_folder
    from mssbench.records.cell import Cell
    from mssbench.records.facts import identify
    from mssbench.registries import load_file
    from mssbench.results.locks import keep_from_children

    def say(event: str, **facts: Any) -> None:
        replies.write(json.dumps({"event": event, **facts}) + "\n")
        replies.flush()

    replies.write(json.dumps({"protocol": PROTOCOL_VERSION}) + "\n")
    replies.flush()
    code = code_digest()  # of the files as they are imported
    setup = json.loads(requests.readline())
    if lock := setup.get("lock"):  # before any code of a user runs, which may fork
        keep_from_children(lock)
    chosen = instruments(setup)  # before a file of a user, which could replace a clock, is imported
    for path in setup["also"]:
        load_file(Path(path))
    if cores := setup.get("cores"):
        keep_to(os.getpid(), cores)
    facts = chosen.describe()
    gc.collect()
    gc.freeze()  # what imports left behind is never garbage: collections stay short from here on
    say(
        "ready",
        protocol=PROTOCOL_VERSION,
        facts=facts,
        environment=identify(facts),
        code=code,
        folder=own_folder(),
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
            # asking empties the allocator's cache, which the first samples would have to fill
            say("held", **answer, lost=not answer["ready"] and _context_lost(cell.device))
        else:
            cell = Cell(**request["cell"])
            share = request.get("share", 1.0)  # of the policy's time
            result = chosen.measure(cell, lambda: say("measuring"), share)
            say("done", **_as_reply(result), lost=result.lost or _context_lost(cell.device))
            if (pair := (cell.library, cell.forward, cell.backward)) not in met:
                met.add(pair)  # it has imported and compiled what it needs: not garbage either
                gc.collect()
                gc.freeze()


def _as_reply(result: "Result") -> dict[str, Any]:
    """The rows of a cell, their samples and where its time went, as JSON has them."""
    return {
        "rows": [m.row(code_hash=result.code_hash) for m in result.measurements],
        "samples": [list(m.timing.samples) if m.timing else [] for m in result.measurements],
        "spent": asdict(result.spent) | {"own": result.spent.own},
        # what measures in tests of engines has no log
        "log": getattr(result, "log", "")[-_MOST_LOGGED:],
    }


class _Keep:
    """The cell that is held at present."""

    def __init__(self, instruments: Instruments) -> None:
        self.device = "cpu"
        self._instruments = instruments
        self._stack, self._held = ExitStack(), cast("Any", None)

    def hold(self, cell: "Cell", announce: Callable[[], None], *, verify: bool) -> dict[str, Any]:
        """Let go of the last one; what is said of the next."""
        self._stack.close()
        self.device = cell.device
        row, seconds, self._held = self._stack.enter_context(
            self._instruments.held(cell, announce, verify=verify)
        )
        return {"row": row.row(), "seconds": seconds, "ready": self._held is not None}

    def has_changed_for_good(self) -> bool:
        """Whether the method of the held cell changed what cannot be put back in this process."""
        state = getattr(self._instruments, "state", None)  # those of tests keep none
        try:
            return state is not None and bool(state.finish().lasting)
        except Exception:  # a process whose state cannot even be read is replaced
            return True

    def sample(self, count: int, *, last: bool = False) -> dict[str, Any]:
        """Seconds per call; null and the reason where the call raised.

        last: whether the output of the latest call is verified, after it was timed.
        """
        try:
            taken = {**self._held.sample(count)._asdict(), "reason": ""}
            if last and (verified := self._held.verify()) is not None:
                taken["verified"] = verified._asdict()
            return taken
        except Exception as error:
            return {"seconds": None, "cpu": None, "reason": f"{type(error).__name__}: {error}"}


def _context_lost(device: str) -> bool:
    """After a sticky CUDA error every later call fails too: find out before the next cell does."""
    if device != "cuda":
        return False
    import torch

    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except Exception:  # the context is gone, whatever the error is called this time
        return True
    return False
