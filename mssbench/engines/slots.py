"""Slots, which are devices with their share of the cores, and the locks of devices."""

import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from mssbench.errors import RunError
from mssbench.machine.devices import cuda_devices, text_of
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
    model: str = ""  # of the GPU, as the driver names it

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


def visible_slots() -> list[Slot]:
    """Return one slot per visible GPU, in the order in which CUDA numbers them.

    The cores are dealt to all visible GPUs, whichever of them a run uses. So a GPU has the same
    cores in every run, and runs on different GPUs at the same time have different ones, as long as
    there are as many cores as GPUs.
    """
    gpus = cuda_devices()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    entries = [v for v in visible.split(",") if v] or [str(i) for i in range(len(gpus))]

    # Logical cores of one physical core are dealt to the same GPU.
    cores = tuple(sorted(usable_cores(), key=lambda core: (first_sibling(core), core)))
    threads = len(cores) // len({first_sibling(core) for core in cores})
    share = max(1, len(cores) // max(1, len(gpus)))
    share -= share % threads if share > threads else 0

    # The entry of a slice of a GPU (MIG) identifies it. Any other entry, such as an index or the
    # beginning of a UUID, has several spellings for one GPU; then the uuid is used.
    return [
        Slot(
            "cuda",
            _for_worker(entry, gpu.uuid),
            cores[start : start + share],
            entry if entry.startswith("MIG-") else gpu.uuid,
            gpu.name,
        )
        for start, entry, gpu in zip(
            (i * share % len(cores) for i in range(len(gpus))), entries, gpus, strict=False
        )
    ]


def _for_worker(entry: str, uuid: str) -> str:
    """Return the entry of a GPU in the CUDA_VISIBLE_DEVICES of its worker.

    entry, uuid: the GPU's own in this process. A worker numbers the GPUs in the order of the PCI
    bus. If the user has set another order for this process, the uuid says which GPU is meant.
    """
    order = os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    return f"GPU-{UUID(uuid)}" if entry.isdigit() and order != "PCI_BUS_ID" else entry


def first_sibling(core: int) -> int:
    """Return the first logical core of the physical core to which a logical core belongs."""
    siblings = text_of(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return int(re.split("[,-]", siblings)[0]) if siblings else core


def gpu_slots() -> list[Slot]:
    """Return the slots of the visible GPUs that a run uses unless the user chooses others.

    Only GPUs of the first one's model are used, since rows of two models in one table would not
    compare, and at most as many as there are cores, since workers on one core would disturb each
    other.
    """
    slots = visible_slots()
    by_cores: dict[tuple[int, ...], Slot] = {}
    for slot in slots:
        if slot.model == slots[0].model:
            by_cores.setdefault(slot.cores, slot)
    return list(by_cores.values())


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
