"""How many threads compute in this process, and how many cores they have."""

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
    path: str  # of its library
    threads: int


class Threads(NamedTuple):
    """How many threads compute, and on how many cores."""

    granted: int  # cores of this process' affinity
    quota: float | None  # cores' worth of time of its container; None without a limit
    pools: tuple[Pool, ...]
    settings: dict[str, str]  # those of THREAD_SETTINGS that are set

    @property
    def cores(self) -> int:
        """That may compute at a time."""
        return self.granted if self.quota is None else min(self.granted, max(int(self.quota), 1))


def threads() -> Threads:
    """The pools of what is loaded: torch, numpy, and what they brought along."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two OpenMP runtimes, which is a finding of ours
        infos = sorted(threadpool_info(), key=lambda i: (i["prefix"], i["filepath"]))
    # torch's own MKL is part of torch's library, where threadpoolctl does not see it
    pools = [Pool("torch", "torch", torch.__file__, torch.get_num_threads())]
    pools += [Pool(i["prefix"], i["user_api"], i["filepath"], i["num_threads"]) for i in infos]
    settings = {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ}
    return Threads(granted_cores(), quota(), tuple(pools), settings)


def granted_cores() -> int:
    """How many cores this process may run on; all of them where the system grants no part."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_to_quota() -> None:
    """Let no more threads of this process compute than it has cores' worth of time.

    Libraries count the cores that they see, and a control group may grant less. Threads beyond that
    are stopped for most of each period. Numbers that the user has set are left alone.
    """
    import torch

    limit = quota()
    if limit is None or any(name in os.environ for name in THREAD_SETTINGS):
        return
    cores = Threads(granted_cores(), limit, (), {}).cores
    torch.set_num_threads(min(torch.get_num_threads(), cores))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two OpenMP runtimes, which is a finding of ours
        threadpool_limits(cores, user_api="blas")


def quota(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float | None:
    """Cores' worth of time that control groups leave to this process; None without a limit.

    Of cgroup v2 the least of its group and those around it, of v1 the container's.
    """
    limits = []
    group = next((x[3:] for x in _lines(own) if x.startswith("0::")), "/").strip("/")
    for folder in (root / group, *(root / group).parents):
        limits += [line.split() for line in _lines(folder / "cpu.max")]
        if folder == root:
            break
    v1 = [_lines(root / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    limits += [list(pair) for pair in zip(*v1, strict=False)]
    found = [int(a) / int(b) for a, b in limits if a not in ("max", "-1")]
    return min(found, default=None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
