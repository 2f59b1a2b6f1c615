"""Run a command of mssbench on one node of the cluster, and print here what it prints there.

`mssbench ab` needs this: both of its sides must be measured in turn on the same machine.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from mssbench.engines.slurm import jobs
from mssbench.engines.slurm.options import Options
from mssbench.errors import ExitCode, RunError
from mssbench.run.signals import Takedown

_OUT, _ERR, _CODE = "stdout", "stderr", "code"
_POLL_SECONDS = 2.0  # between two questions to Slurm
_LOOK_SECONDS = 0.2  # between two looks at what the command has printed, and at Ctrl-C
_END_SECONDS = 120.0  # that a cancelled command gets to end
# Seconds for which a file may be missing after the end of its writer on another node: a shared
# folder may show it late.
_LATE_SECONDS = 10.0


def run_there(
    words: Sequence[str],
    options: Options,
    *,
    minutes: int,
    beside: Path,
    say: Callable[[str], None],
) -> int:
    """Run a command of mssbench as a job, and return its exit code.

    Its output is copied to stdout and stderr as it comes. Ctrl-C cancels the job.

    words: of the command, without the name of the program. options: of sbatch. minutes: its limit
    of time, unless the options have another one. beside: a folder that the nodes share; the files
    of the job are in a folder in it, and are removed in the end. say: shows the state of the job.
    Raises RunError if Slurm refuses the job, or if it ended without an exit code, as when its limit
    of time has killed it.
    """
    jobs.refuse_missing()
    name = f"mssbench-{secrets.token_hex(6)}"
    folder = Path(tempfile.mkdtemp(prefix=".slurm-", dir=beside.absolute()))
    try:
        with Takedown() as takedown:
            arguments = [(str(folder), tuple(words), str(Path.cwd()))]
            jobs.submit(execute, arguments, folder, name=name, minutes=minutes, options=options)
            _follow(folder, name, takedown.asked, say)
            if takedown.asked():
                return ExitCode.INTERRUPTED
        return _code(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _follow(
    folder: Path, name: str, stopped: Callable[[], bool], say: Callable[[str], None]
) -> None:
    """Copy the output of a job until it ends. If the user asks to stop, cancel it."""
    copied = {_OUT: 0, _ERR: 0}
    asked, deadline = 0.0, float("inf")
    while time.monotonic() < deadline:
        _copy(folder / _OUT, sys.stdout.buffer, copied)
        _copy(folder / _ERR, sys.stderr.buffer, copied)
        if stopped() and deadline == float("inf"):
            jobs.cancel(name=name)
            deadline = time.monotonic() + _END_SECONDS
        if time.monotonic() - asked > _POLL_SECONDS:
            tasks, asked = jobs.tasks(name), time.monotonic()
            if tasks == []:
                break
            say(_state(tasks))
        time.sleep(_LOOK_SECONDS)
    _copy(folder / _OUT, sys.stdout.buffer, copied)
    _copy(folder / _ERR, sys.stderr.buffer, copied)


def _copy(file: Path, to: BinaryIO, copied: dict[str, int]) -> None:
    """Copy what was appended to a file since the last call."""
    try:
        with file.open("rb") as source:
            source.seek(copied[file.name])
            new = source.read()
    except OSError:  # the job has not begun
        return
    if new:
        copied[file.name] += len(new)
        to.write(new)
        to.flush()


def _state(tasks: Sequence[jobs.Task] | None) -> str:
    if not tasks:
        return "Slurm does not answer"
    task = tasks[0]
    return f"waiting for a node ({task.reason})" if task.waits else f"on {task.nodes}"


def _code(folder: Path) -> int:
    """Return the exit code that the command has left. Raises RunError if there is none."""
    end = time.monotonic() + _LATE_SECONDS
    while time.monotonic() < end:
        try:
            return int((folder / _CODE).read_text())
        except (OSError, ValueError):
            time.sleep(_LOOK_SECONDS)
    logs = sorted(folder.glob("*.out"))
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines() if line]
    why = lines[-1][:200] if lines else "it has printed nothing"
    raise RunError(
        f"the job ended without an exit code; its log ends with: {why}. If its limit of time has "
        "ended it, ask for more by --slurm time=MINUTES."
    )


def execute(folder: str, words: Sequence[str], current: str) -> None:
    """Execute a command of mssbench on a node, and write its output and exit code to files.

    current: the folder to run it in.
    """
    here = Path(folder)
    with (here / _OUT).open("wb") as out, (here / _ERR).open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mssbench", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=current,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        with Takedown() as takedown:
            told = False
            while process.poll() is None:
                if takedown.asked() and not told:
                    process.terminate()
                    told = True
                time.sleep(_LOOK_SECONDS)
    (here / _CODE).write_text(str(process.returncode))
