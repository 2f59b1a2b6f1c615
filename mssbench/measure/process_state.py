"""The state of the process that a method may change, and that all methods after it would meet.

A snapshot is taken before a cell and compared after it. What has changed is put back and named, so
that the row of the method says it. What cannot be put back makes the process useless: the next
cell gets a fresh one.
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

import numpy as np
from threadpoolctl import ThreadpoolController

from mssbench.machine.devices import text_of
from mssbench.measure.torch_state import OF_TORCH, Setting

# Signals whose handlers a library may set, and whose default would end this process or not.
_SIGNALS = (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
# Modules of which a function that is replaced changes what others compute, or how it is timed.
_MODULES = ("time", "torch", "torch.linalg", "torch.autograd", "numpy", "numpy.linalg")
# Variables that compilers set for processes of their own; nobody else reads them.
_OF_COMPILERS = (b"TORCHINDUCTOR_", b"TRITON_", b"TORCH_COMPILE_")
# Enough to tell what works from what wakes up now and then.
_LOOKS, _LOOK_SECONDS = 5, 1e-3


@dataclass
class Changes:
    """What a block of code has left behind."""

    restored: list[str] = field(default_factory=list)  # changed, and put back
    lasting: list[str] = field(default_factory=list)  # changed for good: leave the process

    @property
    def names(self) -> list[str]:
        """All of it, each once."""
        return [*dict.fromkeys([*self.restored, *self.lasting])]


class Snapshot:
    """The state of the process at one moment."""

    def __init__(self) -> None:
        self.changes = Changes()
        self._settings = (*_OF_PROCESS, *OF_TORCH, *_of_pools())
        self._values = [setting.read() for setting in self._settings]
        self._functions = {name: dict(vars(sys.modules[name])) for name in _MODULES}
        self._modules = len(sys.modules)
        self._threads = {thread.ident for thread in threading.enumerate()}
        self._children = _children()

    def restore(self) -> None:
        """Put everything back that has changed, and note what it was."""
        for name, functions in self._functions.items():
            self._restore_functions(sys.modules[name], functions)
        for setting, before in zip(self._settings, self._values, strict=True):
            if setting.read() == before:
                continue

            with contextlib.suppress(Exception):
                setting.write(before)
            if setting.read() != before:
                self.changes.lasting.append(setting.name)
            elif not (setting.by_imports and len(sys.modules) > self._modules):
                self.changes.restored.append(setting.name)

    def finish(self) -> Changes:
        """Put everything back, and look for work that still goes on."""
        self.restore()
        threads = [t.native_id for t in threading.enumerate() if t.ident not in self._threads]
        if any(_runs(f"self/task/{thread}") for thread in threads):
            self.changes.lasting.append("a thread that still computes")
        if any(_runs(str(child)) for child in _children() - self._children):
            self.changes.lasting.append("a process that still computes")
        return self.changes

    def _restore_functions(self, module: ModuleType, before: Mapping[str, Any]) -> None:
        now = vars(module)
        with contextlib.suppress(Exception):  # of values that do not compare
            if now == before:  # identical values are equal: this looks at nothing else
                return
        for name, value in before.items():
            # what a module loads on demand is under private names, or was no function before
            if now.get(name) is not value and callable(value) and not name.startswith("_"):
                setattr(module, name, value)
                self.changes.restored.append(f"{module.__name__}.{name}")


@contextmanager
def watched() -> Iterator[Snapshot]:
    """Restore at the end of the block what it has changed; the snapshot then has the changes."""
    snapshot = Snapshot()
    try:
        yield snapshot
    finally:
        snapshot.finish()


@cache
def _pools_of(modules: int) -> tuple[Setting, ...]:
    """The threads of each BLAS; modules: how many were imported when they were looked for."""
    del modules
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two OpenMP runtimes, which the doctor tells
        found = ThreadpoolController().lib_controllers
    return tuple(
        Setting(f"the threads of {pool.prefix}", pool.get_num_threads, pool.set_num_threads)
        for pool in found
        if pool.user_api == "blas"
    )


def _of_pools() -> tuple[Setting, ...]:
    return _pools_of(len(sys.modules))


def _children() -> frozenset[int]:
    """The processes that the main thread has started and that have not ended."""
    text = text_of(f"/proc/self/task/{os.getpid()}/children") or ""
    return frozenset(map(int, text.split()))


def _runs(task: str) -> bool:
    """Whether a thread or process works, in most of a few looks.

    task: its folder in /proc. One that waits for a core counts: it takes it from somebody.
    """
    seen = 0
    for _ in range(_LOOKS):
        time.sleep(_LOOK_SECONDS)  # without the lock of the interpreter, which threads wait for
        state = (text_of(f"/proc/{task}/stat") or "").rpartition(") ")[2]
        seen += state.startswith("R")
    return 2 * seen > _LOOKS


def _environment() -> dict[bytes, bytes]:
    """The variables, undecoded: that takes a tenth of the time."""
    data: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    return {k: v for k, v in data.items() if not k.startswith(_OF_COMPILERS)}


def _write_environment(before: dict[bytes, bytes]) -> None:
    for name in _environment().keys() - before.keys():
        del os.environb[name]
    os.environb.update(before)


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  (a string costs less)
    except FileNotFoundError:  # it was removed
        return ""


def _write_affinity(cores: set[int]) -> None:
    """Bind every thread: those started meanwhile have what their parent had."""
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(thread.name), cores)


def _handlers() -> tuple[Any, ...]:
    return tuple(signal.getsignal(number) for number in _SIGNALS)


def _write_handlers(handlers: tuple[Any, ...]) -> None:
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


def _has_timer() -> bool:
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _write_timer(before: bool) -> None:
    if not before:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _write_collector(before: tuple[bool, tuple[int, int, int]]) -> None:
    enabled, thresholds = before
    (gc.enable if enabled else gc.disable)()
    gc.set_threshold(*thresholds)


def _write_path(before: list[str]) -> None:
    sys.path[:] = before


def _write_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_OF_PROCESS = (
    Setting("the working directory", _working_directory, os.chdir),
    Setting("the environment", _environment, _write_environment, by_imports=True),
    Setting("the cores it may use", lambda: os.sched_getaffinity(0), _write_affinity),
    # Without privileges it can be lowered only, so that this one is never put back.
    Setting(
        "the priority",
        lambda: os.getpriority(os.PRIO_PROCESS, 0),
        lambda before: os.setpriority(os.PRIO_PROCESS, 0, before),
    ),
    Setting("the mask of new files", _mask, os.umask),
    Setting("the handlers of signals", _handlers, _write_handlers),
    Setting("a timer", _has_timer, _write_timer),
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
    Setting("numpy's handling of errors", np.geterr, lambda before: np.seterr(**before)),
    Setting("numpy's handler of errors", np.geterrcall, np.seterrcall),
)
