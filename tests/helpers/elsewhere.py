"""Make this interpreter look like one on macOS or Windows, to mssbench and what it calls.

Only as far as Python's documentation says that modules and names are missing there. Other packages
are imported before, as they have files of their own for each system.
"""

import importlib
import importlib.abc
import os
import signal
import sys


def _words(text):
    return text.split()


PLATFORMS = {"macOS": "darwin", "Windows": "win32"}
_UNIX_MODULES = _words("fcntl grp pty pwd resource syslog termios tty")
_UNIX_OF_OS = _words(
    """
    O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK WNOHANG fchmod fork forkpty getegid geteuid getgid
    getloadavg getpgid getuid killpg mkfifo nice posix_spawn pread register_at_fork setpgid setsid
    statvfs uname wait3 wait4 waitid
    """
)
_UNIX_SIGNALS = _words(
    """
    SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGXCPU
    alarm pthread_sigmask setitimer sigwait
    """
)
# macOS has fcntl and signals, and nothing of what is Linux' own.
_LINUX_OF_OS = _words(
    """
    O_DIRECT O_PATH O_TMPFILE memfd_create pidfd_open pipe2 posix_fadvise sched_getaffinity
    sched_getscheduler sched_setaffinity
    """
)
_OTHERS = _words(
    """
    asyncio multiprocessing pandas psutil pyarrow.csv pyarrow.parquet rich.console rich.live
    scipy.linalg scipy.stats threadpoolctl torch typer
    """
)


class _Refusing(importlib.abc.MetaPathFinder):
    """Finds no module of these names."""

    def __init__(self, names):
        self._names = names

    def find_spec(self, name, path=None, target=None):
        if name in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def pretend(system):
    """Remove what a system lacks. For a process of its own, as nothing is put back."""
    for name in _OTHERS:
        importlib.import_module(name)
    windows = system == "Windows"
    modules = _UNIX_MODULES if windows else []
    sys.meta_path.insert(0, _Refusing(modules))
    for name in modules:
        sys.modules.pop(name, None)
    for name in (*_LINUX_OF_OS, *(_UNIX_OF_OS if windows else ())):
        vars(os).pop(name, None)
    for name in _UNIX_SIGNALS if windows else ():
        vars(signal).pop(name, None)
    sys.platform = PLATFORMS[system]
