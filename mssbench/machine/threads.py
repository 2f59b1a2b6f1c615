"""Count the threads that compute in this process, and the cores that it may use."""

import os
import warnings
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_info, threadpool_limits

from mssbench.machine.devices import THREAD_SETTINGS


class Pool(NamedTuple):
    """A thread pool of this process."""

    name: str  # torch, libgomp, libscipy_openblas, ...
    kind: str  # openmp, blas or torch
    path: str  # path of its library
    threads: int


class Threads(NamedTuple):
    """The thread pools of this process, and the cores that it may use."""

    granted: int  # number of cores in the affinity of this process
    quota: float | None  # limit of processor time in cores, see `quota`; None without a limit
    pools: tuple[Pool, ...]
    settings: dict[str, str]  # those of THREAD_SETTINGS that are set

    @property
    def cores(self) -> int:
        """Number of cores that may compute at a time."""
        return self.granted if self.quota is None else min(self.granted, max(int(self.quota), 1))


def threads() -> Threads:
    """Return the thread pools of torch, numpy and the other libraries that are loaded."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about two OpenMP runtimes: `mssbench doctor` reports them
        infos = sorted(threadpool_info(), key=lambda i: (i["prefix"], i["filepath"]))

    # The MKL of torch is linked into torch's library, where threadpoolctl does not find it.
    pools = [Pool("torch", "torch", torch.__file__, torch.get_num_threads())]
    pools += [Pool(i["prefix"], i["user_api"], i["filepath"], i["num_threads"]) for i in infos]
    settings = {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ}
    return Threads(granted_cores(), quota(), tuple(pools), settings)


def granted_cores() -> int:
    """Return how many cores this process may run on; all of them if the system cannot tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_to_quota() -> None:
    """Limit the threads of the libraries to the quota of the container.

    Libraries start one thread per visible core, but a control group may grant less time. Additional
    threads would be stopped for most of each period. Limits that the user has set are kept.
    """
    import torch

    limit = quota()
    if limit is None or any(name in os.environ for name in THREAD_SETTINGS):
        return
    cores = Threads(granted_cores(), limit, (), {}).cores
    torch.set_num_threads(min(torch.get_num_threads(), cores))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about two OpenMP runtimes: `mssbench doctor` reports them
        threadpool_limits(cores, user_api="blas")


def quota(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float | None:
    """Return the processor time that control groups grant, in cores; None without a limit.

    0.5 means half the time of one core. For cgroup v2 it is the smallest limit of the group of this
    process and the groups that contain it; for v1 the limit of the container.
    """
    limits = []
    group = next((x[3:] for x in _lines(own) if x.startswith("0::")), "/").strip("/")
    for folder in (root / group, *(root / group).parents):
        limits += [line.split() for line in _lines(folder / "cpu.max")]
        if folder == root:
            break

    v1 = [_lines(root / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    limits += [list(pair) for pair in zip(*v1, strict=False)]

    cores = [int(time) / int(period) for time, period in limits if time not in ("max", "-1")]
    return min(cores, default=None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
