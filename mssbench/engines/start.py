"""What a worker process is started with: its command line, its environment and its mssbench.

A worker imports mssbench from the folder that is chosen here. Its code must be that of this
process, which is checked here too; only `mssbench ab` compares different code.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from errno import EACCES, ENOENT
from functools import cache
from pathlib import Path
from typing import Any

import mssbench
from mssbench.engines.slots import Slot
from mssbench.errors import RunError
from mssbench.machine.devices import THREAD_SETTINGS
from mssbench.machine.git import environment

# Variable in the environment of a worker and of every process that it starts, see orphans.py.
TOKEN = "MSSBENCH_WORKER"  # noqa: S105  (a name, not a secret)
# Imports mssbench from the folder `root` without putting that folder first on the module path.
# Otherwise a file beside the package, or in the folder where the run was started, could replace a
# module of the standard library, such as `random`. For the same reason the folders in `late` come
# last; the current folder is among them if the user's PYTHONPATH contains it.
IMPORT = """\
import importlib.util, runpy, sys
root = sys.argv.pop(1)
late = sys.argv.pop(1)
spec = importlib.util.spec_from_file_location(
    "mssbench", root + "/mssbench/__init__.py", submodule_search_locations=[root + "/mssbench"])
package = sys.modules["mssbench"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
sys.path += [path for path in late.split(":") if path and path not in sys.path]
"""
_BOOTSTRAP = f"""{IMPORT}
runpy.run_module("mssbench.worker", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Setup:
    """The settings of every worker of a run, and how it is started."""

    settings: dict[str, Any]  # the fields of measure.Settings
    also: tuple[str, ...] = ()  # the user's files of methods and problems
    timeout_seconds: float = 60.0  # time limit of a method in one cell
    python: str = sys.executable  # the interpreter
    path: str = ""  # the folder that contains the mssbench to import; empty: see `folder`
    isolated: bool = False  # whether it is a side of `ab`, with its own packages and threads

    @property
    def folder(self) -> str:
        """The folder from which a worker imports mssbench: `path`, or that of this process.

        It is empty for a worker that is one side of an A/B comparison (`mssbench ab`) and has no
        `path`: it imports the mssbench that is installed for its interpreter.
        """
        return self.path or ("" if self.isolated else own_folder())


def own_folder() -> str:
    """Return the folder that contains the mssbench package of this process."""
    return str(Path(mssbench.__file__).absolute().parent.parent)


def command(setup: Setup, parent: int) -> list[str]:
    """Return the command line of a worker. parent: the id of the process that starts it."""
    if not setup.folder:
        return [setup.python, "-P", "-m", "mssbench.worker", str(parent)]
    _, late = search_path(setup)
    # Processes that a worker starts find mssbench there too. A folder of installed packages is not
    # added: another interpreter must not import them, and this one finds them anyway.
    if Path(setup.folder).name not in ("site-packages", "dist-packages"):
        late = [setup.folder, *late]
    bootstrap = [setup.python, "-P", "-c", _BOOTSTRAP]
    return [*bootstrap, setup.folder, os.pathsep.join(late), str(parent)]


def variables(setup: Setup, slot: Slot, arms: int, token: str) -> dict[str, str]:
    """Return the environment of a worker.

    slot: its cores and its GPU. arms: number of processes that take turns on the device. token:
    value of TOKEN, by which the processes that this worker starts are recognized.
    """
    env = environment() | {  # without git's variables, since a method may call git
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": slot.gpu,
        "PYTHONUNBUFFERED": "1",
        TOKEN: token,
        **_for_older_workers(slot, arms, setup),
    }

    env.setdefault("OMP_NUM_THREADS", str(len(slot.cores)))
    if setup.isolated:  # a side of `ab` has as many threads as cores, whatever the user has set
        env |= dict.fromkeys(THREAD_SETTINGS, str(len(slot.cores)))

    env.pop("PYTHONPATH", None)
    if early := search_path(setup)[0]:
        env["PYTHONPATH"] = os.pathsep.join(early)
    return env


def search_path(setup: Setup) -> tuple[list[str], list[str]]:
    """Return the entries of the user's PYTHONPATH without the current folder, and that folder.

    The second list is empty if PYTHONPATH does not contain the current folder. Both are empty for
    one side of an A/B comparison (`mssbench ab`). An empty entry also means the current folder:
    `PYTHONPATH=$PYTHONPATH:/more` has one if the variable was not set before.
    """
    if setup.isolated or not (python_path := os.environ.get("PYTHONPATH")):
        return [], []
    current = Path.cwd().resolve()
    entries = [Path(entry).absolute() for entry in python_path.split(os.pathsep)]
    early = [str(entry) for entry in entries if entry.resolve() != current]
    return early, [str(current)] if len(early) < len(entries) else []


def _for_older_workers(slot: Slot, arms: int, setup: Setup) -> dict[str, str]:
    """Return environment variables for workers of older revisions, which `mssbench ab` starts too.

    A worker of this revision reads these settings from its first message instead.
    """
    settings = {"MSSBENCH_CORES": ",".join(map(str, slot.cores)), "MSSBENCH_ARMS": str(arms)}
    return settings | ({"MSSBENCH_BIND": "after imports"} if setup.isolated else {})


@cache
def code_digest() -> str:
    """Return a hash, 12 hex digits, of the files of this process's mssbench at the first call.

    It is fast enough for every start of a worker because it hashes plain bytes; unlike the code
    hash of a row, it therefore changes with a comment too.
    """
    digest, folder = hashlib.sha256(), Path(mssbench.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def refuse_missing(python: str) -> None:
    """Raise RunError if there is no such interpreter, or if it may not be executed."""
    if shutil.which(python) is None:
        raise cannot_start(python, os.strerror(EACCES if Path(python).exists() else ENOENT))


def cannot_start(python: str, why: str | None) -> RunError:
    """Return the error for an interpreter that cannot be started. why: the words of the system."""
    return RunError(
        f"{python} cannot be started: {why}. Name a Python interpreter that has mssbench."
    )


def refuse_other_code(setup: Setup, told: Mapping[str, Any]) -> None:
    """Raise RunError if a worker runs another mssbench than this process.

    told: the worker's first message. A worker that is one side of an A/B comparison
    (`setup.isolated`) may run another mssbench, and is not checked. A worker of an older revision
    sends no digest of its code, and is accepted.
    """
    if setup.isolated or told.get("code") in (None, code_digest()):
        return
    raise RunError(
        f"a worker process, started with {setup.python}, runs the mssbench of "
        f"{told.get('folder')}, but this process runs that of {own_folder()}, or its files have "
        "changed since the run began. The rows so far are saved: run the same command again."
    )
