"""The local engine: one worker process per device, fed a cell at a time, replaced when it dies.

A slot is a device with its share of the cores. The CPU is one slot with every core, because cells
side by side spoil each other's times; cells on GPUs start when the CPU's are done.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from math import ceil

from mssbench.engines.events import Ceilings, Event, Finished, Ready, Started, Waiting
from mssbench.engines.process import Answer, Worker
from mssbench.engines.slots import LISTEN_SECONDS, Slot, gpu_slots, lock_slot, usable_cores
from mssbench.engines.start import Setup
from mssbench.errors import RunError
from mssbench.records.cell import Cell
from mssbench.results.locks import release

GRACE_SECONDS = 1.0  # after a death, how long a stop signal may still be on its way to us
Todo = queue.SimpleQueue[Cell]
News = queue.SimpleQueue[Event | Exception | None]  # None: a slot has ended
Share = Callable[[Cell, int], float]  # of the policy's time for a cell, given how many are left


def run(
    cells: Sequence[Cell],
    setup: Setup,
    stopped: Callable[[], bool] = lambda: False,
    skip: Callable[[Cell], bool] = lambda _: False,
    share: Share = lambda _, __: 1.0,
) -> Generator[Event, None, None]:
    """Measure every cell, yielding what happens. A cell may be asked for several times.

    skip: asked before a cell is measured; what it is true for is left out.
    share: asked before a cell is measured, and told how many its worker has yet to measure with
    it; the part of the policy's time that this one may take, between 0 and 1.
    stopped: asked several times a second; once it is true workers are killed, and what they had
    answered by then is still yielded. Closing the iterator stops them too.
    Raises RunError if a worker cannot start: then no cell can.
    """
    groups = list(_groups(cells))
    for number, group in enumerate(groups):
        if stopped():
            break
        later = sum(_turns(g) for g in groups[number + 1 :])
        yield from _serve_group(group, setup, stopped, skip, _share_of(share, group, later))


def _groups(cells: Sequence[Cell]) -> Iterator[list[tuple[Slot, Todo]]]:
    """Slots that may work side by side, each with its queue: the CPU alone, then all GPUs."""
    gpus = gpu_slots()
    on_cpu = [c for c in cells if c.device == "cpu" or not gpus]
    on_gpu = [c for c in cells if c.device != "cpu" and gpus]
    if on_cpu:
        yield [(Slot("cpu", "", usable_cores()), _queue(on_cpu))]
    if on_gpu:
        shared = _queue(on_gpu)  # a free GPU takes the next cell
        yield [(slot, shared) for slot in gpus]


def _queue(cells: Sequence[Cell]) -> Todo:
    q: Todo = queue.SimpleQueue()
    for cell in cells:
        q.put(cell)
    return q


def _turns(group: list[tuple[Slot, Todo]]) -> int:
    """How many cells each slot of a group has yet to measure, if they take as long as each other.

    The slots of a group take their cells from one queue.
    """
    return ceil(group[0][1].qsize() / len(group))


def _share_of(share: Share, group: list[tuple[Slot, Todo]], later: int) -> Callable[[Cell], float]:
    """The share of a cell of this group, which has been taken from its queue already."""
    return lambda cell: share(cell, 1 + _turns(group) + later)


def _serve_group(
    group: list[tuple[Slot, Todo]],
    setup: Setup,
    stopped: Callable[[], bool],
    skip: Callable[[Cell], bool],
    share: Callable[[Cell], float],
) -> Iterator[Event]:
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
    """Serve one slot. This thread outlives its workers: the kernel kills them when it ends."""
    worker: Worker | None = None
    half, looks = todo.qsize() // 2, 0
    held: int | None = None

    def wait(holder: str) -> bool:
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
                # The run is being stopped, and the signal may have reached the worker before us:
                # that is not the cell's fault, so only a complete result is recorded.
                if (stop.is_set() or (answer.died and stop.wait(GRACE_SECONDS))) and not answer.ok:
                    return
                # a death counts in a fresh worker only: another cell may have left the cause; and
                # a SIGKILL that is not ours (out of memory, an administrator) must come twice
                kills += answer.killed
                if not answer.died or (fresh and (not answer.killed or kills > 1)):
                    break
            news.put(_finished(cell, answer))
            # the machine's ceilings at the start, in the middle and at the end show its drift
            if worker and looks < (1 if todo.qsize() > half else 2):
                looks += 1
                worker = _look(slot, worker, news)
        if worker and not stop.is_set():
            worker = _look(slot, worker, news)
    except Exception as error:  # whatever it is, the run must hear of it, or it waits for ever
        if not stop.wait(GRACE_SECONDS):
            news.put(error)
    finally:
        try:
            if worker is not None:
                worker.close()
        except RunError as error:
            news.put(error)
        if held is not None:
            release(held)
        news.put(None)


def _look(slot: Slot, worker: Worker, news: News) -> Worker | None:
    """Have the ceilings measured. Returns None if the worker did not survive that."""
    found = worker.ceilings(slot.device)
    if found is None:
        worker.close()
        return None
    news.put(Ceilings({f"{slot.lock} {name}": value for name, value in found.items()}))
    return worker


def _start(slot: Slot, setup: Setup, lock: int, stop: threading.Event, news: News) -> Worker:
    """A worker that is ready. A SIGKILL while it starts must come twice as well."""
    for attempt in (1, 2):
        worker = Worker(slot, setup, lock, stop.is_set)
        try:
            facts, environment = worker.start()
        except BaseException as error:
            worker.close()
            if isinstance(error, RunError) and worker.killed and attempt == 1:
                continue
            raise
        news.put(Ready(slot.device, facts, environment))
        return worker
    raise AssertionError("the second attempt returns or raises")


def _finished(cell: Cell, answer: Answer) -> Finished:
    if answer.reply is None:
        return Finished(cell, [], [], {}, answer.status, answer.reason)
    r = answer.reply
    return Finished(cell, r["rows"], r["samples"], r["spent"], log=r.get("log", ""))
