"""How a worker process is started: its command, its environment, and the code that it must run."""

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mssbench
from mssbench.engines.slots import Slot
from mssbench.errors import RunError
from mssbench.machine.devices import THREAD_SETTINGS
from mssbench.machine.git import environment

# Marks the environment of a worker, and so of all that it starts: see orphans.py.
TOKEN = "MSSBENCH_WORKER"  # noqa: S105  (a name, not a secret)
# The package of one folder is imported, and nothing else that lies beside it: neither the folder
# where the run was started nor the top of a checkout may replace a module of the library, such as
# `random`. What a user's PYTHONPATH has of the present folder comes last, for the same reason.
_BOOTSTRAP = """\
import importlib.util, runpy, sys
root = sys.argv.pop(1)
late = sys.argv.pop(1)
spec = importlib.util.spec_from_file_location(
    "mssbench", root + "/mssbench/__init__.py", submodule_search_locations=[root + "/mssbench"])
package = sys.modules["mssbench"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
sys.path += [path for path in late.split(":") if path and path not in sys.path]
runpy.run_module("mssbench.worker", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Setup:
    """What every worker of a run is told first, and the interpreter it runs under."""

    settings: dict[str, Any]  # of measure.Settings
    also: tuple[str, ...] = ()
    timeout_seconds: float = 60.0
    python: str = sys.executable
    path: str = ""  # the folder of the mssbench that it must take; empty: see `folder`
    isolated: bool = False  # whether it is a side of `ab`, with packages and threads of its own

    @property
    def folder(self) -> str:
        """The folder of the mssbench that it takes: ours, or empty for the interpreter's own."""
        return self.path or ("" if self.isolated else own_folder())


def own_folder() -> str:
    """The folder that the mssbench of this process lies in."""
    return str(Path(mssbench.__file__).absolute().parent.parent)


def command(setup: Setup, parent: int) -> list[str]:
    """The command line of a worker. parent: the number of the process that starts it."""
    if not setup.folder:
        return [setup.python, "-P", "-m", "mssbench.worker", str(parent)]
    _, late = _search_path(setup)
    # For what a worker starts itself. Installed packages of ours are not for another interpreter,
    # and this one has them anyway.
    if Path(setup.folder).name not in ("site-packages", "dist-packages"):
        late = [setup.folder, *late]
    bootstrap = [setup.python, "-P", "-c", _BOOTSTRAP]
    return [*bootstrap, setup.folder, os.pathsep.join(late), str(parent)]


def variables(setup: Setup, slot: Slot, arms: int, token: str) -> dict[str, str]:
    """The environment of a worker. token: what is started with it can be told from all else."""
    env = environment() | {  # a method may call git as well
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": slot.gpu,
        "PYTHONUNBUFFERED": "1",
        TOKEN: token,
        **_for_older_workers(slot, arms, setup),
    }
    env.setdefault("OMP_NUM_THREADS", str(len(slot.cores)))
    if setup.isolated:  # an arm has its own packages, and the threads that its core allows
        env |= dict.fromkeys(THREAD_SETTINGS, str(len(slot.cores)))
    env.pop("PYTHONPATH", None)
    if early := _search_path(setup)[0]:
        env["PYTHONPATH"] = os.pathsep.join(early)
    return env


def _search_path(setup: Setup) -> tuple[list[str], list[str]]:
    """The user's PYTHONPATH without the present folder, and that part of it which is just this.

    An empty entry means the present folder too, and `PYTHONPATH=$PYTHONPATH:/more` often has one.
    """
    if setup.isolated or not (given := os.environ.get("PYTHONPATH")):
        return [], []
    here = Path.cwd().resolve()
    entries = [Path(entry).absolute() for entry in given.split(os.pathsep)]
    early = [str(entry) for entry in entries if entry.resolve() != here]
    return early, [str(here)] if len(early) < len(entries) else []


def _for_older_workers(slot: Slot, arms: int, setup: Setup) -> dict[str, str]:
    """What a worker is told in its environment where it reads no more of the first line.

    `ab` starts the workers of older revisions too; those of this one read none of it.
    """
    told = {"MSSBENCH_CORES": ",".join(map(str, slot.cores)), "MSSBENCH_ARMS": str(arms)}
    return told | ({"MSSBENCH_BIND": "after imports"} if setup.isolated else {})


@cache
def code_digest() -> str:
    """12 hex digits over the files of the mssbench of this process, as they are when first asked.

    Quick enough for every start of a worker, and so stricter than the code hash of a row: it
    changes with a comment as well.
    """
    digest, folder = hashlib.sha256(), Path(mssbench.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def refuse_other_code(setup: Setup, told: Mapping[str, Any]) -> None:
    """Raise RunError where a worker runs another mssbench than this process, by its first words.

    A side of `ab` may have another, and a worker that tells nothing is one of an older revision.
    """
    if setup.isolated or told.get("code") in (None, code_digest()):
        return
    raise RunError(
        f"a worker under {setup.python} runs another mssbench, that of {told.get('folder')}, than "
        f"this process, that of {own_folder()}, or its files have changed since this one began. "
        "What was measured is saved: run the same command again."
    )
