"""Refuse to measure where the system is not Linux; results can be read and roots taken anywhere."""

import platform
import sys

from mssbench.errors import RunError


def require() -> None:
    """Raise RunError where the system is not Linux, before anything is measured.

    A run binds its workers to cores, ends them with the process that started them, and reads what
    disturbs a time from /proc. macOS and Windows have no counterparts of these.
    """
    if not sys.platform.startswith("linux"):
        raise RunError(
            f"measuring needs Linux, and this is {platform.system() or sys.platform}. Functions "
            "such as mssbench.sqrtm and mssbench.load, and the commands that read results, such as "
            "show, compare and export, work here. On Windows, WSL 2 is a Linux."
        )
