"""The local engine: one worker process per device, which measures one cell at a time.

A cell is one combination of methods, problem, size and so on. A worker that dies is replaced. A
slot is a device with its share of the cores. The CPU is one slot with all cores, because cells that
run at the same time disturb each other. Cells on GPUs start when the cells on the CPU are done.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from math import ceil

from mssbench.engines.events import (
    CeilingsMeasured,
    Event,
    Finished,
    Killed,
    Ready,
    Started,
    Waiting,
)
from mssbench.engines.process import Answer, Worker
from mssbench.engines.slots import LISTEN_SECONDS, Slot, gpu_slots, lock_slot, usable_cores
from mssbench.engines.start import Setup
from mssbench.errors import RunError
from mssbench.records.cell import Cell
from mssbench.results.locks import release

# How long to wait, after a worker has died, for a signal that ends the run: a terminal sends the
# signal to the worker too, which may react first.
GRACE_SECONDS = 1.0
Todo = queue.SimpleQueue[Cell]
News = queue.SimpleQueue[Event | Exception | None]  # None: a slot has ended
# Returns the share of the policy's time for a cell, given the number of cells that are left.
Share = Callable[[Cell, int], float]


def run(
    cells: Sequence[Cell],
    setup: Setup,
    stopped: Callable[[], bool] = lambda: False,
    skip: Callable[[Cell], bool] = lambda _: False,
    share: Share = lambda _, __: 1.0,
    gpus: Sequence[Slot] | None = None,
) -> Generator[Event, None, None]:
    """Measure cells, and yield events. A cell may occur several times.

    stopped: called several times per second. When it returns True, the workers are killed; results
    that they have already sent are still yielded. Closing the iterator stops them too.
    skip: called before each cell; a cell for which it returns True is left out.
    share: called before each cell, with the number of cells that the worker still has to measure,
    including this one. It returns which share of the usual sampling time this cell gets, between 0
    and 1.
    gpus: the slots of the GPUs to measure on; None: see `gpu_slots`.

    Raises RunError if a worker cannot be started.
    """
    groups = list(_groups(cells, gpus))
    for number, group in enumerate(groups):
        if stopped():
            break
        later = sum(_turns(g) for g in groups[number + 1 :])
        yield from _serve_group(group, setup, stopped, skip, _share_of(share, group, later))


def first_device(cells: Sequence[Cell]) -> str:
    """Return the device of the first worker that `run` would start for these cells."""
    return next(_groups(cells))[0][0].device


def _groups(
    cells: Sequence[Cell], gpus: Sequence[Slot] | None = None
) -> Iterator[list[tuple[Slot, Todo]]]:
    """Yield groups of slots that may work at the same time: the CPU alone, then all GPUs.

    Each slot comes with the queue of its cells. Without a GPU, all cells go to the CPU's worker.
    gpus: as in `run`.
    """
    gpus = gpu_slots() if gpus is None else gpus
    on_cpu = [c for c in cells if c.device == "cpu" or not gpus]
    on_gpu = [c for c in cells if c.device != "cpu" and gpus]

    if on_cpu:
        yield [(Slot("cpu", "", usable_cores()), _queue(on_cpu))]
    if on_gpu:
        shared = _queue(on_gpu)  # each GPU takes the next cell when it is free
        yield [(slot, shared) for slot in gpus]


def _queue(cells: Sequence[Cell]) -> Todo:
    q: Todo = queue.SimpleQueue()
    for cell in cells:
        q.put(cell)
    return q


def _turns(group: list[tuple[Slot, Todo]]) -> int:
    """Return how many cells each slot of a group still has to measure, if all are equally fast.

    The slots of a group take their cells from one queue.
    """
    return ceil(group[0][1].qsize() / len(group))


def _share_of(share: Share, group: list[tuple[Slot, Todo]], later: int) -> Callable[[Cell], float]:
    """Return `share` as a function of a cell that was just taken from the queue of a group.

    later: number of cells that each worker has to measure in later groups.
    """
    return lambda cell: share(cell, 1 + _turns(group) + later)


def _serve_group(
    group: list[tuple[Slot, Todo]],
    setup: Setup,
    stopped: Callable[[], bool],
    skip: Callable[[Cell], bool],
    share: Callable[[Cell], float],
) -> Iterator[Event]:
    """Serve every slot of a group in a thread of its own, and yield their events."""
    stop = threading.Event()
    news: News = queue.SimpleQueue()

    threads = [
        threading.Thread(
            target=_serve_slot, args=(slot, todo, setup, skip, share, news, stop), daemon=True
        )
        for slot, todo in group
    ]
    for thread in threads:
        thread.start()

    running = len(threads)
    try:
        while running:
            if stopped():
                stop.set()
            try:
                event = news.get(timeout=LISTEN_SECONDS)
            except queue.Empty:
                continue

            if event is None:
                running -= 1
            elif isinstance(event, Exception):
                raise event
            else:
                yield event
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _serve_slot(
    slot: Slot,
    todo: Todo,
    setup: Setup,
    skip: Callable[[Cell], bool],
    share: Callable[[Cell], float],
    news: News,
    stop: threading.Event,
) -> None:
    """Measure the cells of one slot. Its workers are killed by the kernel if this thread ends."""
    worker: Worker | None = None
    half, looks = todo.qsize() // 2, 0  # looks: how often the ceilings were measured
    held: int | None = None

    def wait(holder: str) -> bool:
        if todo.empty():  # other GPUs have measured every cell meanwhile
            return False
        news.put(Waiting(slot.lock, holder))
        return not stop.wait(0.5)

    try:
        held = lock_slot(slot, wait)
        while held is not None and not stop.is_set():
            try:
                cell = todo.get_nowait()
            except queue.Empty:
                break
            if skip(cell):
                continue
            news.put(Started(cell))

            kills = 0
            while True:
                worker = worker or _start(slot, setup, held, stop, news)
                fresh = worker.served == 0
                answer = worker.ask(cell, share(cell))
                if answer.lost:
                    worker.close()
                    worker = None

                # If the run is being stopped, the signal may have ended the worker first. The cell
                # is then not to blame, and only a complete result is recorded.
                if (stop.is_set() or (answer.died and stop.wait(GRACE_SECONDS))) and not answer.ok:
                    return

                # A death counts only in a new worker, because an earlier cell may have caused it.
                # A signal from outside (out of memory, an administrator) counts the second time.
                kills += answer.killed
                if not answer.died or (fresh and (not answer.killed or kills > 1)):
                    break
                if answer.killed:
                    news.put(Killed(answer.how, in_cell=True))
            news.put(_finished(cell, answer))

            # CeilingsMeasured measured at the start, in the middle and at the end show the drift.
            if worker and looks < (1 if todo.qsize() > half else 2):
                looks += 1
                worker = _look(slot, worker, stop, news)
        if worker and not stop.is_set():
            worker = _look(slot, worker, stop, news)
    except Exception as error:  # any error must reach the run, which would wait for ever otherwise
        if not stop.wait(GRACE_SECONDS):
            news.put(error)
    finally:
        _end(worker, news)
        if held is not None:
            release(held)
        news.put(None)


def _end(worker: Worker | None, news: News) -> None:
    """Close a worker, if there is one. An error is passed on to the run."""
    try:
        if worker is not None:
            worker.close()
    except RunError as error:
        news.put(error)


def _look(slot: Slot, worker: Worker, stop: threading.Event, news: News) -> Worker | None:
    """Let the worker measure the highest rates of its device. Return it, or None if it died."""
    rates = worker.ceilings(slot.device)
    if rates is None:
        worker.close()
        if worker.killed and not stop.wait(GRACE_SECONDS):
            news.put(Killed(worker.killed, in_cell=False))
        return None
    news.put(CeilingsMeasured({f"{slot.lock} {name}": rate for name, rate in rates.items()}))
    return worker


def _start(slot: Slot, setup: Setup, lock: int, stop: threading.Event, news: News) -> Worker:
    """Return a new worker that is ready.

    A start that is ended by a signal from outside is tried once more. Raises RunError if the worker
    does not start, or runs other code than this process.
    """
    for attempt in (1, 2):
        worker = Worker(slot, setup, lock, stop.is_set)
        try:
            facts, environment = worker.start()
        except BaseException as error:
            worker.close()
            if isinstance(error, RunError) and worker.killed and attempt == 1:
                news.put(Killed(worker.killed, in_cell=False))
                continue
            raise

        news.put(Ready(slot.device, facts, environment, worker.undone))
        return worker

    raise AssertionError("the second attempt returns or raises")


def _finished(cell: Cell, answer: Answer) -> Finished:
    """Return the event for the answer of a worker."""
    if answer.reply is None:
        return Finished(cell, [], [], {}, answer.status, answer.reason)
    reply = answer.reply
    log = reply.get("log", "")
    return Finished(cell, reply["rows"], reply["samples"], reply["spent"], log=log)
