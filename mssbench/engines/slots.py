"""Slots, which are devices with their share of the cores, and the locks of devices."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mssbench.errors import RunError
from mssbench.machine.devices import cuda_devices
from mssbench.results.locks import wait_for

LISTEN_SECONDS = 0.2  # longest delay until a stop is noticed here
# The same folder for every user and every run of this host. TMPDIR may differ between a job, a
# login and a service, which could then measure on one device at the same time.
_LOCKS = Path("/tmp/mssbench-locks")  # noqa: S108  (sticky, and nothing is read from it)


def usable_cores() -> tuple[int, ...]:
    """Return the cores that this process may run on, in order."""
    return tuple(sorted(os.sched_getaffinity(0)))


class Slot(NamedTuple):
    """A device and the cores that its worker may use."""

    device: str  # cpu | cuda
    gpu: str  # its entry in CUDA_VISIBLE_DEVICES; empty for none
    cores: tuple[int, ...]
    uuid: str = ""  # of the GPU, the same in every process and container

    @property
    def lock(self) -> str:
        """The name of the device's lock file, unique on this host."""
        return f"gpu-{self.uuid}" if self.uuid else self.device


def keep_to(process: int, cores: Iterable[int]) -> None:
    """Bind a process and all of its present threads to these cores."""
    bound: set[str] = set()
    threads = Path(f"/proc/{process}/task")

    # Repeated until there is no new thread, because threads may start meanwhile.
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        while new := {thread.name for thread in threads.iterdir()} - bound:
            for thread in new:
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), cores)
            bound |= new


def gpu_slots() -> list[Slot]:
    """Return one slot per visible GPU. Only GPUs of the first one's model are used.

    Rows of two models in one table would not compare.
    """
    gpus = cuda_devices()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    entries = [v for v in visible.split(",") if v] or [str(i) for i in range(len(gpus))]
    # The entry of a slice of a GPU (MIG) identifies it. An index does not, because under cgroups
    # every job has a GPU 0; then the uuid is used.
    same = [
        (v, gpu.uuid if v.isdigit() else v)
        for v, gpu in zip(entries, gpus, strict=False)
        if gpu.name == gpus[0].name
    ]

    cores = usable_cores()
    share = max(1, len(cores) // max(1, len(same)))
    return [
        Slot("cuda", v, cores[i * share : (i + 1) * share] or cores[-1:], name)
        for i, (v, name) in enumerate(same)
    ]


def slot_of(device: str) -> Slot:
    """Return a slot for processes that take turns: one core, or the first GPU.

    Raises RunError if there is no GPU.
    """
    if device == "cpu":
        return Slot("cpu", "", usable_cores()[-1:])
    if gpus := gpu_slots():
        return gpus[0]
    raise RunError("there is no CUDA device here. Choose --device cpu.")


def lock_device(
    slot: Slot, stopped: Callable[[], bool], waiting: Callable[[str], None] = lambda _: None
) -> int | None:
    """Lock the device of a slot as soon as it is free. Return the descriptor of the lock.

    stopped: called repeatedly; if it returns True, None is returned. waiting: called repeatedly
    with the name of the process that holds the lock.
    """

    def wait(holder: str) -> bool:
        waiting(holder)
        time.sleep(LISTEN_SECONDS)
        return not stopped()

    return lock_slot(slot, wait)


def lock_slot(slot: Slot, wait: Callable[[str], bool]) -> int | None:
    """Lock the device of a slot. Return the descriptor of the lock, or None if `wait` gave up.

    There is one lock file per device of this host, shared by all users. wait: called repeatedly
    with the name of the process that holds it, until `wait` returns False. Raises RunError if the
    lock file cannot be made or opened.
    """
    folder = Path(os.environ.get("MSSBENCH_LOCKS") or _LOCKS)
    path = folder / slot.lock

    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o1777)  # independent of the umask: other users must be able to write

        # A kernel may refuse to open another user's file with O_CREAT.
        if not path.exists():
            path.touch()
            path.chmod(0o644)
        return wait_for(path, wait)
    except OSError as error:
        raise RunError(
            f"the lock of the device, {path}, cannot be taken: {error.strerror}. "
            "Set MSSBENCH_LOCKS to a folder that every user of this machine can write to."
        ) from None
