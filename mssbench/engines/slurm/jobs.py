"""Submit an array of jobs to Slurm by submitit, and ask for and cancel its tasks by their name.

Jobs are found by their name, which is unique for each run: it is known before they are submitted,
so that a driver that is killed at any moment can find them again. That they have ended is known
from `squeue`, and not from submitit's own futures: these ask the accounting of Slurm, which many
clusters do not have.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from mssbench.engines.slurm.options import Options
from mssbench.errors import RunError

REMEDY = "pip install 'mssbench[slurm]'"
_TOOLS = ("sbatch", "squeue", "scancel", "srun")
_PATIENCE = 60  # seconds for an answer of Slurm: a busy controller may take long
# The columns of squeue that are asked for, with their widths.
_COLUMNS = {"JobArrayID": 40, "State": 20, "RestartCnt": 10, "Reason": 60, "NodeList": 60}


class Task(NamedTuple):
    """A task that Slurm has in its queue. job: its id, such as `17_3`. state: such as `PENDING`.

    restarts: how often Slurm has started it again. reason: why it waits. nodes: where it runs.
    """

    job: str
    state: str
    restarts: int
    reason: str
    nodes: str

    @property
    def waits(self) -> bool:
        """Whether the task has not been started yet."""
        return self.state == "PENDING"


def refuse_missing() -> None:
    """Raise RunError, with the remedy, if Slurm's tools or submitit are not installed here."""
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise RunError(
            f"--engine slurm: the command {missing[0]} of Slurm is not on the PATH. Run this on a "
            "login node of the cluster. For another scheduler, see --shard."
        )
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise RunError(f"--engine slurm needs submitit, which is not installed: {REMEDY}") from None


def submit(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    folder: Path,
    *,
    name: str,
    minutes: int,
    options: Options,
) -> None:
    """Submit an array with one task for each tuple of arguments of a function.

    function: of an importable module, in which the nodes find it. folder: shared with the nodes;
    it receives the arguments and the output of the tasks. name: of the jobs. minutes: the limit of
    time of a task, unless the options have another one.
    Raises RunError with the words of sbatch if it refuses the array.
    """
    import submitit

    # Without -P, a file such as random.py in the working folder would replace a module.
    executor = submitit.SlurmExecutor(
        folder, max_num_timeout=0, python=f"{shlex.quote(sys.executable)} -P"
    )
    # Slurm does not pass on the cores that the script asks for to srun, which starts the task.
    cores = options.get("cpus-per-task")
    executor.update_parameters(
        job_name=name,
        time=minutes,
        signal_delay_s=0,  # of the signal for a checkpoint, which mssbench does not need
        array_parallelism=len(arguments),
        stderr_to_stdout=True,
        use_srun=True,  # so that a cancelled task takes its processes along
        srun_args=[f"--cpus-per-task={cores}"] if cores else [],
        wckey=None,  # submitit's own, which some clusters refuse
        additional_parameters={"no-requeue": True, **options},
    )
    # Submitit writes a refusal to stderr too, which would be read twice there.
    with _outside_an_allocation(), redirect_stderr(StringIO()):
        try:
            executor.map_array(function, *zip(*arguments, strict=True))
        except submitit.core.utils.FailedJobError as error:
            given = ", ".join(_texts(options)) or "no options of yours"
            words = _words_of_sbatch(error)
            hint = (
                f"{len(arguments)} tasks may be too many for this cluster (MaxArraySize in "
                "`scontrol show config`): choose fewer --shards."
                if "array" in words.lower()
                else "`sinfo -o '%P %l %G'` shows the partitions, their limits of time and GPUs."
            )
            raise RunError(f"sbatch has refused the jobs ({given}): {words}. {hint}") from None


def tasks(name: str) -> list[Task] | None:
    """Return the tasks of this name that wait or run; None if Slurm does not answer."""
    try:
        done = _squeue(name)
    except subprocess.TimeoutExpired:
        return None
    return [_task(line) for line in done.stdout.splitlines()] if done.returncode == 0 else None


def why_silent(name: str) -> str:
    """Return what squeue says in place of an answer."""
    try:
        return " ".join(_squeue(name).stderr.split()) or "it says nothing"
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE} s"


def _squeue(name: str) -> "subprocess.CompletedProcess[str]":
    """Ask for the tasks of a name. Raises subprocess.TimeoutExpired without an answer in time."""
    columns = ",".join(f"{column}:{width}" for column, width in _COLUMNS.items())
    words = ["squeue", "--noheader", "--array", f"--name={name}", f"--Format={columns}"]
    return subprocess.run(
        words, capture_output=True, text=True, timeout=_PATIENCE, check=False, env=_own()
    )


def _task(line: str) -> Task:
    """Return the task in a line of squeue, whose columns have fixed widths."""
    texts, start = [], 0
    for width in _COLUMNS.values():
        texts.append(line[start : start + width].strip())
        start += width
    job, state, restarts, reason, nodes = texts
    return Task(job, state, int(restarts) if restarts.isdecimal() else 0, reason, nodes)


def cancel(*jobs: str, name: str = "") -> None:
    """Cancel tasks by their ids, or all tasks of a name. Tasks that have ended are left alone.

    If Slurm does not answer, nothing is raised: `tasks` tells which of them are still there.
    """
    chosen = [f"--name={name}"] if name else []
    if jobs or chosen:
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["scancel", *chosen, *jobs],
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
                env=_own(),
            )


def _is_inherited(variable: str) -> bool:
    """Whether a variable belongs to the job that this process itself may be running in."""
    return variable.startswith(("SLURM_", "SLURMD_", "SRUN_")) and variable != "SLURM_CONF"


def _own() -> dict[str, str]:
    """Return the environment of this process without the variables of a surrounding job."""
    return {key: value for key, value in os.environ.items() if not _is_inherited(key)}


@contextmanager
def _outside_an_allocation() -> Iterator[None]:
    """Hide the variables of a surrounding job, which sbatch would take for options of the new one.

    The variable SLURM_CONF stays, because it says where the configuration of the cluster is.
    """
    hidden = {key: os.environ.pop(key) for key in list(os.environ) if _is_inherited(key)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _texts(options: Options) -> Iterator[str]:
    """Yield options as they are written after --slurm: `partition=gpu`."""
    for name, value in options.items():
        yield name if value is True else f"{name}={value}"


def _words_of_sbatch(error: Exception) -> str:
    """Return what sbatch has said, in one line, from the error of submitit, which adds more."""
    said = [line for line in str(error).splitlines() if "sbatch: " in line]
    return "; ".join(line.split("sbatch: ", 1)[1].removeprefix("error: ") for line in said) or str(
        error
    )
