"""Devices as slots for workers, and the locks that keep two runs off one device."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mssbench.errors import RunError
from mssbench.machine.devices import cuda_devices
from mssbench.results.locks import wait_for

LISTEN_SECONDS = 0.2  # how long a stop may stay unnoticed here
# The same for every user and every run of this host. TMPDIR is not: a job, a login and a service
# have different ones, and would then measure on one device at the same time.
_LOCKS = Path("/tmp/mssbench-locks")  # noqa: S108  (sticky, and nothing is read from it)


def usable_cores() -> tuple[int, ...]:
    """The cores that this process may run on, in order."""
    return tuple(sorted(os.sched_getaffinity(0)))


class Slot(NamedTuple):
    """A device and the cores its worker may use."""

    device: str  # cpu | cuda
    gpu: str  # as CUDA_VISIBLE_DEVICES spells it; empty for none
    cores: tuple[int, ...]
    uuid: str = ""  # of the GPU: the same in every process and container

    @property
    def lock(self) -> str:
        """Names the device on this host."""
        return f"gpu-{self.uuid}" if self.uuid else self.device


def keep_to(process: int, cores: Iterable[int]) -> None:
    """Bind a process to these cores, with whatever threads it has by now."""
    bound: set[str] = set()
    threads = Path(f"/proc/{process}/task")
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        while new := {thread.name for thread in threads.iterdir()} - bound:
            for thread in new:
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), cores)
            bound |= new


def gpu_slots() -> list[Slot]:
    """One slot per visible GPU of the first one's model: rows of two models must not mix."""
    gpus = cuda_devices()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    spelt = [v for v in visible.split(",") if v] or [str(i) for i in range(len(gpus))]
    # a slice of a GPU has a name of its own; an index is none: under cgroups every job has a GPU 0
    same = [
        (v, gpu.uuid if v.isdigit() else v)
        for v, gpu in zip(spelt, gpus, strict=False)
        if gpu.name == gpus[0].name
    ]
    cores = usable_cores()
    share = max(1, len(cores) // max(1, len(same)))
    return [
        Slot("cuda", v, cores[i * share : (i + 1) * share] or cores[-1:], name)
        for i, (v, name) in enumerate(same)
    ]


def slot_of(device: str) -> Slot:
    """One core, or the first GPU: for processes that take turns. Raises RunError without a GPU."""
    if device == "cpu":
        return Slot("cpu", "", usable_cores()[-1:])
    if gpus := gpu_slots():
        return gpus[0]
    raise RunError("there is no CUDA device here. Choose --device cpu.")


def lock_device(
    slot: Slot, stopped: Callable[[], bool], waiting: Callable[[str], None] = lambda _: None
) -> int | None:
    """Hold the slot's device against every other run, when it is free; None if stopped before.

    waiting: told who holds it, as often as that is asked.
    """

    def wait(holder: str) -> bool:
        waiting(holder)
        time.sleep(LISTEN_SECONDS)
        return not stopped()

    return lock_slot(slot, wait)


def lock_slot(slot: Slot, wait: Callable[[str], bool]) -> int | None:
    """Hold the slot's device: one file per device of this host, shared by every user's runs."""
    folder = Path(os.environ.get("MSSBENCH_LOCKS") or _LOCKS)
    path = folder / slot.lock
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o1777)  # whatever our umask says: the others must get in
        if not path.exists():  # a kernel may refuse O_CREAT on another user's file, even to open it
            path.touch()
            path.chmod(0o644)
        return wait_for(path, wait)
    except OSError as error:
        raise RunError(
            f"the lock of the device, {path}, cannot be taken: {error.strerror}. "
            "Set MSSBENCH_LOCKS to a folder that every user of this machine can write to."
        ) from None
