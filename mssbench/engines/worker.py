"""A process that measures what it is sent, a JSON line at a time. May be killed at any moment.

    python -m mssbench.worker PARENT_PID

Supervisor to worker: first the set-up {"settings", "also"}, then a request a line. Worker to
supervisor: {"event": "ready", ...} once, then answers.

    {"cell"}              measuring, when the method is about to run; then done: rows, samples,
                          spent, and `lost` where this process must be replaced
    {"ceilings": device}  ceilings: what the machine can do at most
    {"hold": cell}        measuring, as above; then held: its row, and seconds of a call; it stays
                          ready until the next
    {"sample": count}     sample: seconds and processor seconds per call of what is held

The order of the first lines matters, and heavy imports wait inside functions for it: a worker whose
supervisor died goes too, cores are bound before anything counts them (after the imports in an arm
of `ab`, of which several start at once, and which is told how many threads it has), and nothing
that a library prints or reads can end up between requests and replies.
"""

import ctypes
import faulthandler
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO, cast


def main() -> None:
    """Announce what this machine is, then measure cells until the pipe closes."""
    _leave_with_parent(int(sys.argv[1]))
    later = os.environ.get("MSSBENCH_BIND") == "after imports"
    if not later:
        _bind()
    requests, replies = _private_channels()
    reopen = _outputs()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    faulthandler.enable(all_threads=False)  # a segfault says which line of a method it was in
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler that weighs memory is chatty
    serve(requests, replies, _bind if later else lambda: None, reopen)


def _bind() -> None:
    """Keep to the cores that the supervisor gave, with whatever threads there are by now."""
    if not (cores := os.environ.get("MSSBENCH_CORES")):
        return
    bound: set[str] = set()
    while new := {thread.name for thread in Path("/proc/self/task").iterdir()} - bound:
        for thread in new:
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(thread), {int(c) for c in cores.split(",")})
        bound |= new


def _leave_with_parent(parent: int) -> None:
    """Ask the kernel to end this process with the thread that started it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
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


def serve(
    requests: TextIO,
    replies: TextIO,
    imported: Callable[[], None] = lambda: None,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Answer each line of `requests`, until it ends. The first must be the set-up.

    imported: called once the heavy imports are done. before: called before each request.
    """
    from mssbench.engines.events import PROTOCOL_VERSION
    from mssbench.machine import facts as environment
    from mssbench.measure.bench import Settings
    from mssbench.measure.measure import measure
    from mssbench.records import facts as facts_
    from mssbench.records.cell import Cell
    from mssbench.records.policy import Policy
    from mssbench.registries import load_file

    imported()

    def say(event: str, **facts: Any) -> None:
        replies.write(json.dumps({"event": event, **facts}) + "\n")
        replies.flush()

    setup = json.loads(requests.readline())
    for path in setup["also"]:
        load_file(Path(path))
    policy = Policy(**setup["settings"].pop("policy"))
    settings = Settings(policy=policy, **setup["settings"])
    facts = environment.describe()
    gc.collect()
    gc.freeze()  # what imports left behind is never garbage: collections stay short from here on
    say("ready", protocol=PROTOCOL_VERSION, facts=facts, environment=facts_.identify(facts))
    met, keep = set(), _Keep()
    for line in requests:
        before()
        request = json.loads(line)
        if device := request.get("ceilings"):
            from mssbench.measure.instruments import ceilings

            say("ceilings", found=ceilings.measure(device))
            continue
        if "sample" in request:
            sample = keep.sample(request["sample"])
            say("sample", **sample, lost=bool(sample["reason"]) and _context_lost(keep.device))
            continue
        if "hold" in request:
            cell = Cell(**request["hold"])
            found = keep.hold(cell, settings, lambda: say("measuring"), verify=request["verify"])
            # asking empties the allocator's cache, which the first samples would have to fill
            say("held", **found, lost=not found["ready"] and _context_lost(cell.device))
            continue
        cell = Cell(**request["cell"])
        result = measure(cell, settings, lambda: say("measuring"))
        rows = [m.row(code_hash=result.code_hash) for m in result.measurements]
        samples = [list(m.timing.samples) if m.timing else [] for m in result.measurements]
        spent = asdict(result.spent) | {"own": result.spent.own}
        lost = result.lost or _context_lost(cell.device)
        say("done", rows=rows, samples=samples, spent=spent, lost=lost)
        if (pair := (cell.library, cell.forward, cell.backward)) not in met:
            met.add(pair)  # it has imported and compiled what it needs: not garbage either
            gc.collect()
            gc.freeze()


class _Keep:
    """The cell that is held at present."""

    def __init__(self) -> None:
        self.device = "cpu"
        self._stack, self._held = ExitStack(), cast("Any", None)

    def hold(
        self, cell: Any, settings: Any, announce: Callable[[], None], *, verify: bool
    ) -> dict[str, Any]:
        """Let go of the last one; what is said of the next."""
        from mssbench.measure.on_demand import held

        self._stack.close()
        self.device = cell.device
        row, seconds, self._held = self._stack.enter_context(
            held(cell, settings, announce, verify=verify)
        )
        return {"row": row.row(), "seconds": seconds, "ready": self._held is not None}

    def sample(self, count: int) -> dict[str, Any]:
        """Seconds per call; null and the reason where the call raised."""
        try:
            return {**self._held.sample(count)._asdict(), "reason": ""}
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
