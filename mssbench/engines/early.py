"""Find the facts of the machine that need no torch, before any worker process is started.

A run that continues compares them with those of its earlier rows, so that it is refused at once on
another machine. A worker later sends all facts, these under the same names: see machine/facts.py.
"""

import json
import os
import platform
import subprocess
import sys
from typing import Any

from mssbench.engines.slots import Slot, usable_cores
from mssbench.engines.start import IMPORT, TOKEN, Setup, search_path, variables
from mssbench.machine.facts import PACKAGES, package_version
from mssbench.machine.processor import model

_PROBE = f"""{IMPORT}
from mssbench.engines.early import facts
import json
print(json.dumps(facts()))
"""
_SECONDS = 20.0  # the process takes a quarter of a second, or longer on a busy disk


def facts() -> dict[str, Any]:
    """Return the facts of this process: processor, system, Python, and versions of packages."""
    return {
        "cpu": model(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: package_version(name) for name in PACKAGES},
    }


def facts_of_worker(setup: Setup) -> dict[str, Any] | None:
    """Return the result of `facts` in a new process, which finds its packages as a worker does.

    They may differ from those of this process, in which a notebook or a test can change sys.path.
    None if the new process fails, and for a worker with another interpreter or with packages of
    its own (a side of `ab`), whose facts only the worker itself can tell.
    """
    if setup.python != sys.executable or setup.isolated:
        return None
    late = [setup.folder, *search_path(setup)[1]]
    probe = [setup.python, "-P", "-c", _PROBE, setup.folder, os.pathsep.join(late)]
    env = variables(setup, Slot("cpu", "", usable_cores()), 1, "")
    env.pop(TOKEN)

    try:
        done = subprocess.run(probe, env=env, capture_output=True, timeout=_SECONDS, check=True)
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
