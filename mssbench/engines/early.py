"""Facts of a worker's machine that are known without torch, and so before any worker starts.

They are a part of the facts that a worker sends, see machine/facts.py, under the same names.
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
_SECONDS = 20.0  # a look takes a quarter of a second; a busy disk may need longer


def facts() -> dict[str, Any]:
    """Return the facts of this process: processor, system, Python, and versions of packages."""
    return {
        "cpu": model(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: package_version(name) for name in PACKAGES},
    }


def facts_of_worker(setup: Setup) -> dict[str, Any] | None:
    """Return the result of `facts` in a process that finds its packages as a worker does.

    This process may see other packages, because a notebook or a test can change sys.path. None if
    that process fails, or if the user has named another interpreter: its worker is asked later.
    """
    if setup.python != sys.executable or setup.isolated:
        return None
    late = [setup.folder, *search_path(setup)[1]]
    probe = [setup.python, "-P", "-c", _PROBE, setup.folder, os.pathsep.join(late)]
    env = variables(setup, Slot("cpu", "", usable_cores()), 1, "")
    env.pop(TOKEN)

    try:
        done = subprocess.run(probe, env=env, capture_output=True, timeout=_SECONDS, check=True)
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return found if isinstance(found, dict) else None
