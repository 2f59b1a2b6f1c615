"""Detect and undo changes of process-wide state, which would affect the methods measured later.

A snapshot is taken before a cell and compared after it. Each change is undone, and the row of the
method names it. If a change cannot be undone, the next cell gets a fresh process.
"""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

try:
    import resource
except ImportError:  # Windows, where nothing is measured
    resource = None  # type: ignore[assignment]

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from mssbench.machine.devices import text_of
from mssbench.measure.torch_state import OF_TORCH, Setting

# Signals for which a library may set a handler, which then decides whether they end this process.
# Windows has two of them.
_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGALRM", "SIGCHLD", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
# Replacing a function of these modules changes what other methods compute, or how they are timed.
_MODULES = (
    "builtins",
    "math",
    "time",
    "torch",
    "torch.linalg",
    "torch.autograd",
    "torch.cuda",
    "numpy",
    "numpy.linalg",
    "scipy.linalg",
)
_UNREADABLE = object()  # stands for the value of a setting that cannot be read
# Windows has none of these timers and limits.
_TIMERS = tuple(
    getattr(signal, name)
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
    if hasattr(signal, name)
)
# Limits that decide whether a later method can open files, start threads or allocate memory.
_LIMITS = tuple(
    getattr(resource, name)
    for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_AS", "RLIMIT_STACK")
    if hasattr(resource, name)
)
# Prefixes of variables that compilers set for their own processes; nothing else reads them.
_OF_COMPILERS = (b"TORCHINDUCTOR_", b"TRITON_", b"TORCH_COMPILE_")
# Number of times that the state of a thread is read, and the seconds between two of them: enough
# to distinguish a thread that computes from one that wakes up now and then.
_LOOKS, _LOOK_SECONDS = 5, 1e-3


@dataclass
class Changes:
    """Names of the settings that a block of code has changed in the process."""

    restored: list[str] = field(default_factory=list)  # undone
    lasting: list[str] = field(default_factory=list)  # not undone, so the process must be replaced

    @property
    def names(self) -> list[str]:
        """All names, each once."""
        return [*dict.fromkeys([*self.restored, *self.lasting])]


class Snapshot:
    """The state of the process at one moment, with methods to restore it.

    of_import: whether a file is imported between snapshot and restoring. Settings that imports
    change for good reasons, such as the module path, then keep their new values.
    changes: the names of the settings that had changed, whether they could be restored or not.
    """

    def __init__(self, *, of_import: bool = False) -> None:
        self.changes = Changes()
        self._settings = tuple(
            setting
            for setting in (*_OF_PROCESS, *OF_TORCH, *_of_pools())
            if not (of_import and setting.by_imports)
        )
        self._values = [_read(setting) for setting in self._settings]

        modules = ((name, sys.modules.get(name)) for name in _MODULES)
        self._functions = [(name, m, dict(vars(m))) for name, m in modules if m is not None]
        self._of_tensors = dict(vars(torch.Tensor))

        self._modules = len(sys.modules)
        self._threads = {thread.ident for thread in threading.enumerate()}
        self._children = _children()

    def restore(self) -> None:
        """Restore everything that has changed, and add its name to `changes`.

        A setting that imports change too, such as the module path, is not named if it was restored
        and modules were imported in the meantime.
        """
        for name, module, functions in self._functions:
            self._restore_module(name, module)
            self._restore_functions(module, functions)
        self._restore_tensors()

        for setting, before in zip(self._settings, self._values, strict=True):
            if _read(setting) == before:
                continue

            with contextlib.suppress(Exception):
                setting.write(before)
            if _read(setting) != before:
                self.changes.lasting.append(setting.name)
            elif not (setting.by_imports and len(sys.modules) > self._modules):
                self.changes.restored.append(setting.name)

    def finish(self) -> Changes:
        """Restore everything, and look for threads and processes that still compute."""
        self.restore()

        threads = [t.native_id for t in threading.enumerate() if t.ident not in self._threads]
        if any(_runs(f"self/task/{thread}") for thread in threads):
            self.changes.lasting.append("a thread that still computes")
        if any(_runs(str(child)) for child in _children() - self._children):
            self.changes.lasting.append("a process that still computes")

        return self.changes

    def _restore_module(self, name: str, module: ModuleType) -> None:
        """Restore an entry of `sys.modules`, without which later imports get another module."""
        if sys.modules.get(name) is not module:
            sys.modules[name] = module
            self.changes.restored.append(f"the imported module {name}")

    def _restore_functions(self, module: ModuleType, before: Mapping[str, Any]) -> None:
        """Restore the public functions of a module."""
        now = vars(module)
        with contextlib.suppress(Exception):  # some values cannot be compared
            if now == before:  # fast: a value that is identical is not compared any further
                return

        for name, value in before.items():
            # What a module loads on demand has a private name, or was not callable before.
            if now.get(name) is not value and callable(value) and not name.startswith("_"):
                setattr(module, name, value)
                self.changes.restored.append(f"{module.__name__}.{name}")

    def _restore_tensors(self) -> None:
        """Restore the methods of torch.Tensor, most of which it inherits from a base class."""
        now, before = dict(vars(torch.Tensor)), self._of_tensors
        if now == before:
            return

        for name in now.keys() | before.keys():
            if now.get(name) is before.get(name):
                continue
            if name in before:
                setattr(torch.Tensor, name, before[name])
            elif hasattr(torch.Tensor.__base__, name):
                delattr(torch.Tensor, name)
            else:
                continue  # added by an imported module, which changes no other method

            self.changes.restored.append(f"torch.Tensor.{name}")


def _read(setting: Setting) -> Any:
    """Return the value of a setting, or `_UNREADABLE` where torch refuses to return it.

    torch refuses once its newer and its older functions for the precision of products are mixed.
    """
    try:
        return setting.read()
    except Exception:
        return _UNREADABLE


@contextmanager
def watched() -> Iterator[Snapshot]:
    """Yield a snapshot, and restore at the end of the block the settings that it has changed.

    The attribute `changes` of the snapshot then has their names.
    """
    snapshot = Snapshot()
    try:
        yield snapshot
    finally:
        snapshot.finish()


@cache
def _pools_of(modules: int) -> tuple[Setting, ...]:
    """Return the number of threads of each BLAS, as settings.

    modules: how many modules are imported. It is the key of the cache, so that the libraries are
        searched again when it has changed.
    """
    del modules

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about two OpenMP runtimes: `mssbench doctor` reports them
        pools = ThreadpoolController().lib_controllers

    return tuple(
        Setting(f"the threads of {pool.prefix}", pool.get_num_threads, pool.set_num_threads)
        for pool in pools
        if pool.user_api == "blas"
    )


def _of_pools() -> tuple[Setting, ...]:
    """Return the settings of the BLAS libraries that are loaded now."""
    return _pools_of(len(sys.modules))


def _children() -> frozenset[int]:
    """Return the ids of the processes that the main thread has started and that still exist."""
    text = text_of(f"/proc/self/task/{os.getpid()}/children") or ""
    return frozenset(map(int, text.split()))


def _runs(task: str) -> bool:
    """Whether a thread or process is runnable in most of a few observations.

    task: its folder in /proc. A task that waits for a core counts too, since it competes for cores.
    """
    runnable = 0
    for _ in range(_LOOKS):
        time.sleep(_LOOK_SECONDS)  # releases the interpreter lock, for which Python threads wait
        state = (text_of(f"/proc/{task}/stat") or "").rpartition(") ")[2]
        runnable += state.startswith("R")
    return 2 * runnable > _LOOKS


def _environment() -> dict[bytes, bytes]:
    """Return the environment variables except those of compilers.

    They are returned as bytes, since decoding takes ten times as long.
    """
    data: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    return {k: v for k, v in data.items() if not k.startswith(_OF_COMPILERS)}


def _write_environment(before: dict[bytes, bytes]) -> None:
    for name in _environment().keys() - before.keys():
        del os.environb[name]
    os.environb.update(before)


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  (a string is faster than a Path)
    except FileNotFoundError:  # it was removed
        return ""


def _write_affinity(cores: set[int]) -> None:
    """Bind every thread of this process to `cores`.

    All threads are bound, since threads started in the meantime inherited the changed cores.
    """
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(thread.name), cores)


def _handlers() -> tuple[Any, ...]:
    return tuple(signal.getsignal(number) for number in _SIGNALS)


def _write_handlers(handlers: tuple[Any, ...]) -> None:
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


def _running_timers() -> tuple[bool, ...]:
    return tuple(signal.getitimer(timer)[0] > 0 for timer in _TIMERS)


def _write_timers(before: tuple[bool, ...]) -> None:
    for timer, was_running in zip(_TIMERS, before, strict=True):
        if not was_running:
            signal.setitimer(timer, 0)


def _limits() -> tuple[tuple[int, int], ...]:
    return tuple(resource.getrlimit(limit) for limit in _LIMITS)


def _write_limits(before: tuple[tuple[int, int], ...]) -> None:
    for limit, values in zip(_LIMITS, before, strict=True):
        resource.setrlimit(limit, values)


def _write_callbacks(before: list[Any]) -> None:
    gc.callbacks[:] = before


def _write_collector(before: tuple[bool, tuple[int, int, int]]) -> None:
    enabled, thresholds = before
    (gc.enable if enabled else gc.disable)()
    gc.set_threshold(*thresholds)


def _write_path(before: list[str]) -> None:
    sys.path[:] = before


def _write_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]


def _mask() -> int:
    """Return the file mode creation mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_OF_PROCESS = (
    Setting("the working directory", _working_directory, os.chdir),
    Setting("the environment", _environment, _write_environment, by_imports=True),
    Setting("the cores it may use", lambda: os.sched_getaffinity(0), _write_affinity),
    # Without privileges a priority can only be lowered, so that a change usually cannot be undone.
    Setting(
        "the priority",
        lambda: os.getpriority(os.PRIO_PROCESS, 0),
        lambda before: os.setpriority(os.PRIO_PROCESS, 0, before),
    ),
    Setting("the mask of new files", _mask, os.umask),
    Setting("the handlers of signals", _handlers, _write_handlers),
    Setting("a timer", _running_timers, _write_timers),
    # A lowered hard limit cannot be raised again without privileges.
    Setting("the limits of resources", _limits, _write_limits),
    Setting("the module path", lambda: list(sys.path), _write_path, by_imports=True),
    Setting("the limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("the switch interval", sys.getswitchinterval, sys.setswitchinterval),
    Setting("a trace function", sys.gettrace, sys.settrace),
    Setting("a profile function", sys.getprofile, sys.setprofile),
    Setting(
        "the garbage collector", lambda: (gc.isenabled(), gc.get_threshold()), _write_collector
    ),
    Setting(
        "the filters of warnings",
        lambda: list(warnings.filters),
        _write_filters,
        by_imports=True,
    ),
    Setting("the callbacks of the garbage collector", lambda: [*gc.callbacks], _write_callbacks),
    Setting(
        "numpy's way of printing",
        np.get_printoptions,
        lambda before: np.set_printoptions(**before),
    ),
    Setting("numpy's handling of errors", np.geterr, lambda before: np.seterr(**before)),
    Setting("numpy's handler of errors", np.geterrcall, np.seterrcall),
)
